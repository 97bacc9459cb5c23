"""Images that earlier shards hold: their prints from the shards' indexes, or from the pixels where those have none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import IO, Any, ClassVar, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.stages.dedup.describing import read_cut
from pipelines.stages.fingerprint import Fingerprint
from wit.errors import ContractError, InputError
from wit.fingerprint import Prints, contents_of_sha256, fingerprint
from wit.foreign import MAX_IMAGE_BYTES, read_tar
from wit.image import ImageRejected
from wit.integrity import shards_of
from wit.near import Rule
from wit.schema import ENTRIES, PACKED_SHARDS, UNREADABLE
from wit.shards import folder_of, read_any_index, stated_shards
from wit.stage import KEPT, Output, Part
from wit.storage import base_name, open_input, size

UNREADABLE_TABLE = "unreadable"
_NUMBER_BITS = 32
"""Of the number of a packed image, those that count in its tar; the others number the tar."""
_BATCH_ROWS = 1_000
_TASK_SAMPLES = 100_000
_SAMPLE_BYTES = 10_000
"""Of a tar about which nothing is said: less than most images have, so that places are rather too many than too few."""


class _Hashed(NamedTuple):
    """Some samples of a tar."""

    keys: list[str]
    prints: Prints
    unreadable: list[tuple[str, str]]
    """Keys of others, and why their images cannot be decoded."""

    def rejects(self, shards: str, name: str) -> pa.RecordBatch:
        """Return UNREADABLE."""
        rows = [{"set": shards, "item": f"{name}/{key}", "detail": why} for key, why in self.unreadable]
        return pa.RecordBatch.from_pylist(rows, schema=UNREADABLE)


@dataclass(frozen=True)
class ListPacked:
    """Lists the tars of sets of shards, some 100,000 samples a task; manifests say how many a tar has, or its size."""

    against: tuple[str, ...]

    name: ClassVar[str] = "list_packed"
    writes: ClassVar[pa.Schema] = PACKED_SHARDS

    def __call__(self, root: str) -> Iterator[pa.Table]:
        """Yield PACKED_SHARDS of each task; raises InputError for a set without shards."""
        task: list[dict[str, Any]] = []
        for shards in self.against:
            counts: dict[str, Mapping[str, int]] = {}
            for url in shards_of(shards)[0]:
                task.append({"shards": shards, "url": url, "num_samples": _num_samples(url, counts)})
                if sum(row["num_samples"] for row in task) >= _TASK_SAMPLES:
                    yield pa.Table.from_pylist(task, schema=PACKED_SHARDS)
                    task = []
        if task:
            yield pa.Table.from_pylist(task, schema=PACKED_SHARDS)


def _num_samples(shard: str, counts: dict[str, Mapping[str, int]]) -> int:
    """Return about how many samples a tar has; `counts` remembers the manifest of each folder."""
    folder = folder_of(shard)
    if folder not in counts:
        counts[folder] = {name: each.of_shard["num_samples"] for name, each in stated_shards(folder).items()}
    known = counts[folder].get(base_name(shard))
    return size(shard) // _SAMPLE_BYTES + 1 if known is None else known


@dataclass(frozen=True)
class DescribePacked:
    """Lists the entries of the images in tars.

    An index that has prints is believed, as are those that packing writes; the run's own images are hashed as the
    recipe says. Memory: the index and prints of one tar, and one image.
    """

    rule: Rule
    hashing: Fingerprint

    name: ClassVar[str] = "describe_packed"
    reads: ClassVar[pa.Schema] = PACKED_SHARDS
    writes: ClassVar[Mapping[str, pa.Schema]] = {KEPT: ENTRIES, UNREADABLE_TABLE: UNREADABLE}

    def __call__(self, batches: Iterator[pa.RecordBatch], part: Part) -> Iterator[Output]:
        """Yield entries, and a row for each image that cannot be decoded; raises InputError for a broken tar."""
        cut = read_cut(part.root, self.rule)
        number = part.index << _NUMBER_BITS
        for row in (row for batch in batches for row in batch.to_pylist()):
            name = base_name(row["url"])
            for hashed in self._hashed(row["url"]):
                keys = pa.array([f"{row['shards']}/{name}/{key}" for key in hashed.keys], pa.string())
                numbers = np.arange(number, number + len(keys), dtype=np.int64)
                number += len(keys)
                yield KEPT, cut.prints(numbers, keys, hashed.prints)
                yield KEPT, cut.contents(numbers, keys, hashed.prints)
                yield UNREADABLE_TABLE, hashed.rejects(row["shards"], name)

    def _hashed(self, shard: str) -> Iterator[_Hashed]:
        """Yield the prints of a tar: those that its index has, then those of the other images."""
        images: Iterator[tuple[str, int, int]]
        with open_input(shard) as file:
            index = _index(shard)
            if index is not None:
                known, others = self._known(index)
                yield known
                places = others.select(["key", "image_offset", "image_length"])
                images = zip(*(column.to_pylist() for column in places.columns), strict=True)
            else:
                images = _walk(file, shard)
            while some := list(islice(images, _BATCH_ROWS)):
                yield self._hash(file, some)

    def _known(self, index: pa.Table) -> tuple[_Hashed, pa.Table]:
        """Return the prints in an index with contents of the recipe's kind, and the rows that have none such.

        The index says the digest of the bytes, too, so a content that is another one is that of the pixels.
        """
        by_bytes = contents_of_sha256(index["sha256"])
        is_known = pc.is_valid(index["phash"])
        if self._by_pixels:
            is_known = pc.and_(is_known, pc.not_equal(index["content"], pa.array(by_bytes)))
            is_known = pc.fill_null(is_known, False)
        known = index.filter(is_known)
        prints = Prints.of(known)
        if not self._by_pixels:
            prints = prints._replace(content=by_bytes[is_known.to_numpy()])
        return _Hashed(known["key"].to_pylist(), prints, []), index.filter(pc.invert(is_known))

    @property
    def _by_pixels(self) -> bool:
        return self.hashing.content == "pixels"

    def _hash(self, file: IO[bytes], images: list[tuple[str, int, int]]) -> _Hashed:
        keys, prints, unreadable = [], [], []
        for key, offset, length in images:
            if length > MAX_IMAGE_BYTES:
                unreadable.append((key, f"{length} bytes, limit {MAX_IMAGE_BYTES}"))
                continue
            file.seek(offset)
            try:
                prints.append(fingerprint(file.read(length), exact=self.hashing.exact, pixels=self._by_pixels))
                keys.append(key)
            except ImageRejected as error:
                unreadable.append((key, str(error)))
        return _Hashed(keys, Prints.concat(prints), unreadable)


def _index(shard: str) -> pa.Table | None:
    """Return the index of a tar; None where there is none, or another's table in its place (img2dataset's)."""
    try:
        return read_any_index(shard)
    except (InputError, ContractError):
        return None


def _walk(file: IO[bytes], shard: str) -> Iterator[tuple[str, int, int]]:
    """Yield (stem, offset, length) of each image in a tar without an index; raises InputError where it is broken."""
    for sample in read_tar(file, shard):
        member = sample.indexed_image()
        if member is not None:
            yield sample.stem, member.offset, member.length


def packed_inputs(against: tuple[str, ...]) -> tuple[str, ...]:
    """Return the sets of shards as inputs of a run; raises InputError now for one that has none."""
    for shards in against:
        try:
            shards_of(shards)
        except InputError as error:
            raise InputError(f"dedup.against: {error}") from error
    return against
