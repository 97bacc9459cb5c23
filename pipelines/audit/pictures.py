"""Thumbnails of matched images, made in one pass over sets and shards, and what shards say of the samples."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.audit.training import read_shard
from pipelines.executors.parts import parts_of
from pipelines.report.overlap.results import EVALUATION, TRAINING, Thumbs
from pipelines.stages.tables import read_small
from wit.evaluation_sets import read_items
from wit.image import ImageRejected, decode
from wit.schema import EVALUATION_INPUTS
from wit.schema.evaluation import PICTURES, TRAINING_INPUTS
from wit.stage import KEPT, Output, Part
from wit.storage import join, output_error, read_parquet, read_range

SIDE_PX = 160
_QUALITY = 85
_BATCH_ROWS = 1_000

WANTED = pa.schema([pa.field("group", pa.string(), nullable=False), pa.field("name", pa.string(), nullable=False)])
"""Images that are shown: set and item, or shard and key."""


def thumbnail(body: bytes) -> bytes:
    """Return an image as a JPEG of at most 160 px a side; raises ImageRejected, as wit.image.decode does."""
    image = decode(body, SIDE_PX)
    image.thumbnail((SIDE_PX, SIDE_PX))
    image.info = {}  # Pillow would write a comment it finds here
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()


@lru_cache(maxsize=2)
def _wanted(root: str, table: str) -> dict[str, frozenset[str]]:
    """Return the names that are wanted of each set or shard."""
    rows = read_small(root, table, WANTED).sort_by("group").to_pylist()
    return {group: frozenset(row["name"] for row in some) for group, some in groupby(rows, lambda row: row["group"])}


@lru_cache(maxsize=2)
def _wanted_pairs(root: str, table: str) -> frozenset[tuple[str, str]]:
    return frozenset((group, name) for group, names in _wanted(root, table).items() for name in names)


class _Album:
    """The blob that a task appends thumbnails to, and their rows."""

    def __init__(self, part: Part) -> None:
        self._name, self._file = part.blob("jpgs")
        self._url = join(part.root, self._name)
        self._rows: list[dict[str, Any]] = []

    def add(self, name: str, body: bytes | None, caption: str | None = None, url: str | None = None) -> None:
        """Add an image; one that cannot be decoded, or was not read, has a thumbnail of no bytes.

        Raises OutputError when the disk is full.
        """
        try:
            picture = thumbnail(body) if body else b""
        except ImageRejected:
            picture = b""
        place = {"offset": self._file.tell(), "length": len(picture), "blob": self._name}
        self._rows.append({"id": name, **place, "caption": caption, "url": url})
        try:
            self._file.write(picture)
        except OSError as error:
            raise output_error(self._url, error) from error

    def flush(self, least: int = 1) -> Iterator[Output]:
        """Yield the rows that wait, if there are so many."""
        if len(self._rows) >= least:
            yield KEPT, pa.RecordBatch.from_pylist(self._rows, schema=PICTURES)
            self._rows = []


@dataclass(frozen=True)
class ShowItems:
    """Makes the thumbnails of evaluation images that `wanted`, a table of WANTED, names."""

    wanted: str

    name: ClassVar[str] = "audit"
    reads: ClassVar[pa.Schema] = EVALUATION_INPUTS
    writes: ClassVar[Mapping[str, pa.Schema]] = {KEPT: PICTURES}

    def __call__(self, batches: Iterator[pa.RecordBatch], part: Part) -> Iterator[Output]:
        """Yield rows of PICTURES."""
        album = _Album(part)
        rows = (row for batch in batches for row in batch.to_pylist())
        for each in read_items(rows, _wanted_pairs(part.root, self.wanted)):
            album.add(f"{each.set}/{each.item}", each.body)
            yield from album.flush(_BATCH_ROWS)
        yield from album.flush()


@dataclass(frozen=True)
class ShowSamples:
    """Makes the thumbnails of training samples that `wanted`, a table of WANTED, names."""

    wanted: str

    name: ClassVar[str] = "audit"
    reads: ClassVar[pa.Schema] = TRAINING_INPUTS
    writes: ClassVar[Mapping[str, pa.Schema]] = {KEPT: PICTURES}

    def __call__(self, batches: Iterator[pa.RecordBatch], part: Part) -> Iterator[Output]:
        """Yield rows of PICTURES."""
        album = _Album(part)
        for row in (row for batch in batches for row in batch.to_pylist()):
            for each in read_shard(row["url"], _wanted(part.root, self.wanted).get(row["shard"], frozenset())):
                album.add(f"{row['shard']}/{each.key}", each.image, each.caption, each.url)
                yield from album.flush(_BATCH_ROWS)
        yield from album.flush()


def open_thumbs(root: str, evaluation: str, training: str) -> Thumbs:
    """Return the function that pages ask for thumbnails; it reads them from the blobs of two tables of PICTURES.

    Memory: about 350 bytes a picture.
    """
    sides = {side: _places(root, table) for side, table in ((EVALUATION, evaluation), (TRAINING, training))}

    def thumbs(side: str, name: str) -> bytes | None:
        found = sides[side].get(name)
        return read_range(join(root, found[0]), *found[1:]) if found and found[2] else None

    return thumbs


def _places(root: str, table: str) -> dict[str, tuple[str, int, int]]:
    places: dict[str, tuple[str, int, int]] = {}
    for part in parts_of(root, f"{table}/{KEPT}"):
        columns = [read_parquet(part)[name].to_pylist() for name in ("id", "blob", "offset", "length")]
        places |= {name: (blob, offset, length) for name, blob, offset, length in zip(*columns, strict=True)}
    return places


def with_words(matches: pa.Table, pictures: pa.Table) -> pa.Table:
    """Return matches (shard, key) with the columns caption and url, from PICTURES of the training side."""
    ids = pc.binary_join_element_wise(matches["shard"], matches["key"], "/")
    rows = pc.index_in(ids, value_set=pictures["id"].combine_chunks()).combine_chunks()
    for name in ("caption", "url"):
        matches = matches.append_column(PICTURES.field(name), pictures[name].combine_chunks().take(rows))
    return matches
