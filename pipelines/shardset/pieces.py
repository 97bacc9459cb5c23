"""Which samples go into which file of an export, and reading them from their shards.

A piece is what becomes one file. It is cut from the indexes alone, before a byte of an image is read, so the pieces
depend on the samples and the limits, never on processes, and each can be made by itself.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from wit.errors import ContractError, InputError
from wit.fitting import bytes_between, last_fitting
from wit.foreign import IMAGE_SUFFIXES
from wit.shards import PARTS, index_name, read_index
from wit.storage import reading, size

PLACES = ("image_offset", "image_length", "json_offset", "json_length")
VERIFY = "wit shards verify"


@dataclass(frozen=True)
class Cut:
    """Where a file ends: before the sample that would pass a limit. 0: no limit."""

    max_samples: int
    max_bytes: int
    """Of images, captions and metadata as they stand in the shards."""


@dataclass(frozen=True)
class Stretch:
    """Samples of one shard, next to each other: rows `start` to `stop` of its index."""

    shard: str
    start: int
    stop: int


@dataclass(frozen=True)
class Piece:
    """The samples of one file, in order."""

    number: int
    of: int
    """How many pieces there are."""
    largest: int
    """Samples of the largest of them."""
    stretches: tuple[Stretch, ...]

    @property
    def num_samples(self) -> int:
        """How many samples it holds."""
        return _count(self.stretches)


@dataclass(frozen=True)
class Plan:
    """All pieces, and what the indexes say of the whole."""

    pieces: tuple[Piece, ...]
    num_image_bytes: int
    suffixes: Mapping[str, int]
    """Images by the suffix of their member (".jpg"), most frequent first."""

    @property
    def num_samples(self) -> int:
        """How many samples there are."""
        return sum(piece.num_samples for piece in self.pieces)


@dataclass(frozen=True)
class Batch:
    """Samples next to each other, of one shard."""

    rows: pa.Table
    """Their SHARD_INDEX."""
    images: list[bytes]
    metadata: list[bytes]
    """Their JSON members; empty where there is none."""


def plan(shards: Sequence[str], cut: Cut) -> Plan:
    """Cut the samples of shards, in order, into pieces; reads the indexes alone, one at a time.

    Raises InputError when a shard has no index, or when there is no sample.
    """
    suffixes: Counter[str] = Counter()
    num_image_bytes = 0
    pieces: list[tuple[Stretch, ...]] = []
    cutter = _Cutter(cut)
    for shard in shards:
        rows = index_of(shard)
        names = pc.utf8_lower(pc.replace_substring_regex(rows["image_member"], r"^.*\.", ""))
        for item in names.value_counts().to_pylist():
            suffixes[_kind(item["values"])] += item["counts"]
        num_image_bytes += pc.sum(rows["image_length"]).as_py() or 0
        pieces += cutter.add(shard, lengths(rows))
    pieces += cutter.end()
    if not pieces:
        raise InputError(f"{shards[0]}: expected samples, found {len(shards)} shards that hold none")
    largest = max(map(_count, pieces))
    by_count = dict(sorted(suffixes.items(), key=lambda item: (-item[1], item[0])))
    made = tuple(Piece(number, len(pieces), largest, stretches) for number, stretches in enumerate(pieces))
    return Plan(made, num_image_bytes, by_count)


def _kind(suffix: str) -> str:
    return f".{suffix}" if suffix in IMAGE_SUFFIXES else "of other names"  # which may hold anything


def _count(stretches: Iterable[Stretch]) -> int:
    return sum(stretch.stop - stretch.start for stretch in stretches)


def index_of(shard: str) -> pa.Table:
    """Return the index of a shard; raises InputError when there is none, or another table in its place."""
    try:
        return read_index(shard)
    except ContractError as error:
        raise InputError(f"{index_name(shard)}: expected the index of a shard, found another table: {error}") from error


def require_places(shard: str, rows: pa.Table) -> None:
    """Raise InputError when the index names bytes that its shard does not have."""
    num_bytes = size(shard)
    for part in PARTS:
        offset, length = (rows[f"{part}_{name}"].to_numpy() for name in ("offset", "length"))
        if not ((offset >= 0) & (length >= 0) & (length <= num_bytes) & (offset <= num_bytes - length)).all():
            raise InputError(
                f"{shard}: expected the bytes that {index_name(shard)} names, found {num_bytes} in all; see {VERIFY}"
            )


def lengths(rows: pa.Table) -> npt.NDArray[np.int64]:
    """Return the bytes of each sample of an index: image, caption and metadata."""
    total = np.zeros(len(rows), np.int64)
    for part in PARTS:
        total += rows[f"{part}_length"].to_numpy()
    return total


class _Cutter:
    """Cuts samples into files as they come."""

    def __init__(self, cut: Cut) -> None:
        self._cut = cut
        self._open: list[Stretch] = []
        self._num_samples = self._num_bytes = 0

    def add(self, shard: str, sizes: npt.NDArray[np.int64]) -> Iterator[tuple[Stretch, ...]]:
        """Yield the files that end within a shard, given the bytes of each of its samples."""
        ends = np.cumsum(sizes)
        start = 0
        while start < len(sizes):
            free_samples = self._cut.max_samples - self._num_samples if self._cut.max_samples else None
            free_bytes = self._cut.max_bytes - self._num_bytes if self._cut.max_bytes else None
            stop = last_fitting(ends, start, free_samples, free_bytes, is_begun=bool(self._open))
            if stop == start:
                yield from self.end()
                continue
            self._open.append(Stretch(shard, start, stop))
            self._num_samples += stop - start
            self._num_bytes += bytes_between(ends, start, stop)
            start = stop

    def end(self) -> Iterator[tuple[Stretch, ...]]:
        """Yield the file that is open, if any."""
        if self._open:
            yield tuple(self._open)
        self._open, self._num_samples, self._num_bytes = [], 0, 0


def read_batches(piece: Piece, cut: Cut) -> Iterator[Batch]:
    """Yield the samples of a piece in order, within `cut` a batch (one sample may pass the bytes).

    Each image is checked against the hash in its index. Memory: a batch, and one index. Raises InputError where a
    shard is not what its index says.
    """
    for stretch in piece.stretches:
        rows = index_of(stretch.shard).slice(stretch.start, stretch.stop - stretch.start).combine_chunks()
        require_places(stretch.shard, rows)
        cutter = _Cutter(cut)
        batches = [*cutter.add(stretch.shard, lengths(rows)), *cutter.end()]
        with reading(stretch.shard) as file:
            for (batch,) in batches:
                yield _read(file, stretch.shard, rows.slice(batch.start, batch.stop - batch.start))


def _read(file: IO[bytes], shard: str, rows: pa.Table) -> Batch:
    images: list[bytes] = []
    metadata: list[bytes] = []
    for row in rows.select(("key", "sha256", *PLACES)).to_pylist():
        image = _range(file, row, "image")
        if hashlib.sha256(image).hexdigest() != row["sha256"]:
            raise InputError(
                f"{shard}: the image of {row['key']} is not the one that the index has the hash of; see {VERIFY}"
            )
        images.append(image)
        metadata.append(_range(file, row, "json"))
    return Batch(rows, images, metadata)


def _range(file: IO[bytes], row: Mapping[str, Any], part: str) -> bytes:
    file.seek(row[f"{part}_offset"])
    return file.read(row[f"{part}_length"])
