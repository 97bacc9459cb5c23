"""The audit by a learned descriptor: stages in the place of those that hash and search, with tables of the same kind.

Both sides become vectors (wit.descriptors); a distance is 1 - cosine. Every sample is compared with every evaluation
image, by FAISS's exact inner products, twice (for each image the nearest samples, for each sample the nearest image):
10,000 samples and 100,000 images of 512 numbers are 1e9 pairs, at 1.2e8 a second and core some 17 seconds. Memory in
each process: 6 KB an image at 512 numbers, and as much a sample of the 32 MB that a task searches.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.audit.search import MAX_SAMPLES_AN_ITEM, found_table, read_samples
from pipelines.audit.training import read_shard
from pipelines.stages.references import number_items, place_in_group
from pipelines.stages.tables import read_small
from wit import manifest
from wit.descriptor_search import nearest
from wit.descriptors import U8, Descriptor, distances, load, sidecar_name
from wit.evaluation_sets import read_items
from wit.fingerprint import TURN_OPTIONS, TURNS
from wit.foreign import MAX_IMAGE_BYTES
from wit.image import ImageRejected
from wit.schema import EVALUATION_INPUTS, UNREADABLE
from wit.schema.described import DESCRIBED_ITEMS, DESCRIBED_SAMPLES
from wit.schema.evaluation import FOUND, OVERLAPPING, SEARCH_INPUTS, TRAINING_INPUTS, TRAINING_READ
from wit.stage import KEPT, Output, Part
from wit.storage import exists

F32 = npt.NDArray[np.float32]
I64 = npt.NDArray[np.int64]

UNIT = "cosine distance"
_PICTURES_AT_ONCE = 128  # an image in eight turns is eight; decoded: 39 MB at 320 px


def turned(pixels_SS3: U8, turn: int) -> U8:
    """Return a square picture in one of TURNS."""
    name = TURNS[turn]
    if name.startswith("rotate_"):
        return np.rot90(pixels_SS3, int(name.removeprefix("rotate_")) // 90)
    if name.startswith("trans"):
        return (pixels_SS3 if name == "transpose" else np.rot90(pixels_SS3, 2)).swapaxes(0, 1)
    return {"none": pixels_SS3, "mirror": pixels_SS3[:, ::-1], "flip": pixels_SS3[::-1]}[name]


def default_distance(descriptor: str) -> float:
    """Return the greatest distance of copies that a descriptor proposes; raises UserError when it cannot be loaded."""
    return round(1 - load(descriptor).preparation.threshold, 6)


def made_from(descriptor: str) -> list[str]:
    """Return what tells that a descriptor is still the same: digests of its file and of what says how to use it."""
    files = [descriptor, *(one for one in [sidecar_name(descriptor)] if exists(one))]
    return [manifest.fingerprint_file(file) for file in files]


@lru_cache(maxsize=1)
def _loaded(path: str) -> Descriptor:
    return load(path)


class _Picture(NamedTuple):
    """An image with its names, as columns of the table that it goes to."""

    names: dict[str, Any]
    body: bytes | None
    """None: it is too large to be read."""
    unreadable: dict[str, Any]
    """Its names, if it cannot be decoded, as columns of UNREADABLE."""


def _described(
    pictures: Iterator[_Picture], descriptor: Descriptor, turns: tuple[int, ...], schema: pa.Schema
) -> Iterator[Output]:
    """Yield rows of `schema`, one for each turn of each picture, or rows of UNREADABLE."""
    prepared = ((each.names, each.unreadable, _pixels(each.body, descriptor)) for each in pictures)
    while some := list(islice(prepared, _PICTURES_AT_ONCE // len(turns))):
        good = [(names, upright) for names, _, upright in some if not isinstance(upright, str)]
        if good:
            rows = [{**names, "turn": turn} for names, _ in good for turn in turns]
            pixels = np.stack([turned(upright, turn) for _, upright in good for turn in turns])
            yield KEPT, _with_vectors(rows, descriptor.vectors(pixels), schema)
        unreadable = [{**names, "detail": why} for _, names, why in some if isinstance(why, str)]
        yield "unreadable", pa.RecordBatch.from_pylist(unreadable, schema=UNREADABLE)


def _with_vectors(rows: list[dict[str, Any]], vectors_ND: F32, schema: pa.Schema) -> pa.RecordBatch:
    """Return rows of `schema`, whose last column is the vector, in 16 bits."""
    columns = [pa.array([row[name] for row in rows], schema.field(name).type) for name in schema.names[:-1]]
    offsets = pa.array(np.arange(len(rows) + 1, dtype=np.int32) * vectors_ND.shape[1])
    vectors = pa.ListArray.from_arrays(offsets, pa.array(vectors_ND.astype(np.float16).ravel()))
    return pa.RecordBatch.from_arrays([*columns, vectors], schema=schema)


def _pixels(body: bytes | None, descriptor: Descriptor) -> U8 | str:
    """Return an image as the descriptor is shown it, or why it cannot be; its bytes are not held any longer."""
    try:
        if body is None:
            raise ImageRejected("too_large", f"expected an image of at most {MAX_IMAGE_BYTES >> 20} MiB")
        return descriptor.pixels(body)
    except ImageRejected as error:
        return str(error)


@dataclass(frozen=True)
class DescribeItems:
    """Describes evaluation images, in the place of HashReferences; `turns` as there."""

    descriptor: str
    turns: str = "none"

    name: ClassVar[str] = "audit"
    reads: ClassVar[pa.Schema] = EVALUATION_INPUTS
    writes: ClassVar[Mapping[str, pa.Schema]] = {KEPT: DESCRIBED_ITEMS, "unreadable": UNREADABLE}

    def __call__(self, batches: Iterator[pa.RecordBatch], part: Part) -> Iterator[Output]:
        """Yield a row for each turn of an image, or of UNREADABLE."""
        items = read_items(row for batch in batches for row in batch.to_pylist())
        named = (({"set": each.set, "item": each.item, "label": each.label}, each.body) for each in items)
        pictures = (_Picture(names, body, names) for names, body in named)
        yield from _described(pictures, _loaded(self.descriptor), TURN_OPTIONS[self.turns], DESCRIBED_ITEMS)


@dataclass(frozen=True)
class DescribeTraining:
    """Describes the samples of shards, in the place of HashTraining."""

    descriptor: str

    name: ClassVar[str] = "audit"
    reads: ClassVar[pa.Schema] = TRAINING_INPUTS
    writes: ClassVar[Mapping[str, pa.Schema]] = {
        KEPT: DESCRIBED_SAMPLES,
        "unreadable": UNREADABLE,
        "read": TRAINING_READ,
    }

    def __call__(self, batches: Iterator[pa.RecordBatch], part: Part) -> Iterator[Output]:
        """Yield vectors in the order of the shard; rows of UNREADABLE for images that cannot be decoded."""
        for shard in (row for batch in batches for row in batch.to_pylist()):
            name, num_samples = shard["shard"], 0
            pictures = (
                _Picture(
                    {"key": each.key, "shard": name},
                    each.image,
                    {"set": None, "item": f"{name}/{each.key}", "label": None},
                )
                for each in read_shard(shard["url"])
            )
            for table, batch in _described(pictures, _loaded(self.descriptor), (0,), DESCRIBED_SAMPLES):
                num_samples += batch.num_rows if table == KEPT else 0
                yield table, batch
            read = {"shard": name, "num_samples": num_samples, "num_from_index": 0}
            yield "read", pa.RecordBatch.from_pylist([read], schema=TRAINING_READ)


@dataclass(frozen=True)
class SearchDescribed:
    """Finds the samples whose vectors are near those of evaluation images, in the place of Search."""

    tables: tuple[str, ...]
    """Of DESCRIBED_ITEMS, relative to the audit's work."""
    thresholds: tuple[tuple[str, float], ...]
    """Of each set, the greatest distance of a copy."""

    name: ClassVar[str] = "audit"
    reads: ClassVar[pa.Schema] = SEARCH_INPUTS
    writes: ClassVar[Mapping[str, pa.Schema]] = {KEPT: FOUND, "samples": OVERLAPPING}

    def __call__(self, batches: Iterator[pa.RecordBatch], part: Part) -> Iterator[Output]:
        """Yield the nearest samples of each item, ten at most, and the nearest item of each sample."""
        items = _items(part.root, self.tables, self.thresholds)
        samples = read_samples(part.root, batches)
        vectors = unpacked(samples)
        for table, schema, pairs in (
            (KEPT, FOUND, _of_items(items, vectors)),
            ("samples", OVERLAPPING, _of_samples(items, vectors)),
        ):
            found = found_table(items.table, pairs.item, samples, pairs.sample, pairs.distance, schema)
            for batch in found.to_batches():
                yield table, batch


class _Group(NamedTuple):
    """Sets that have the same threshold."""

    least: float
    """Cosine of a copy."""
    rows: I64
    """Of the table of items."""
    vectors: F32


class _Items(NamedTuple):
    """Vectors of evaluation images, sorted by set, item and turn."""

    table: pa.Table
    """DESCRIBED_ITEMS without the vectors."""
    number: I64
    """Of the image of each row."""
    groups: list[_Group]


class _Pairs(NamedTuple):
    """Pairs of an item's row and a sample's row, and their distance."""

    item: I64
    sample: I64
    distance: npt.NDArray[np.float64]

    def take(self, rows: npt.NDArray[Any]) -> _Pairs:
        return _Pairs(*(column[rows] for column in self))


def unpacked(table: pa.Table) -> F32:
    """Return the vectors of a table as an array (N, D), of unit length again after their rounding to 16 bits."""
    if not len(table):
        return np.empty((0, 0), np.float32)
    column = table["vector"].combine_chunks()
    values = column.flatten().to_numpy().astype(np.float32).reshape(len(column), -1)
    unit: F32 = values / np.linalg.norm(values, axis=1, keepdims=True)
    return unit


@lru_cache(maxsize=1)
def _items(root: str, tables: tuple[str, ...], thresholds: tuple[tuple[str, float], ...]) -> _Items:
    """Return the items, which every task of a process looks up."""
    keys = [(name, "ascending") for name in ("set", "item", "turn")]
    table = pa.concat_tables([read_small(root, each, DESCRIBED_ITEMS) for each in tables]).sort_by(keys)
    vectors = unpacked(table)
    table = table.drop_columns(["vector"]).combine_chunks()
    sets_of: dict[float, list[str]] = defaultdict(list)
    for name, most in thresholds:
        sets_of[most].append(name)
    groups = []
    for most, names in sorted(sets_of.items()):
        rows = np.flatnonzero(pc.is_in(table["set"], pa.array(names)).to_numpy())
        groups.append(_Group(1 - most, rows, vectors[rows]))
    return _Items(table, number_items(table), groups)


def _of_items(items: _Items, samples_ND: F32) -> _Pairs:
    """Return of each item the nearest samples, ten at most, each by the nearest of the item's turns."""
    parts = []
    for group in items.groups:
        near = nearest(samples_ND, group.vectors, MAX_SAMPLES_AN_ITEM, group.least)
        parts.append(_Pairs(group.rows[near.query], near.reference, distances(near.similarity)))
    found = _concat(parts)
    found = found.take(np.lexsort((found.item, found.distance, found.sample, items.number[found.item])))
    number = items.number[found.item]
    found = found.take(place_in_group(_numbered(number, found.sample)) == 0)
    number = items.number[found.item]
    order = np.lexsort((found.sample, found.distance, number))
    return found.take(order[place_in_group(number[order]) < MAX_SAMPLES_AN_ITEM])


def _of_samples(items: _Items, samples_ND: F32) -> _Pairs:
    """Return of each sample that is near any item the nearest one; of those as near the first by set and item."""
    parts = []
    for group in items.groups:
        near = nearest(group.vectors, samples_ND, 1, group.least)
        parts.append(_Pairs(group.rows[near.reference], near.query, distances(near.similarity)))
    found = _concat(parts)
    found = found.take(np.lexsort((found.item, found.distance, found.sample)))
    return found.take(place_in_group(found.sample) == 0)


def _numbered(*columns: I64) -> I64:
    """Return a number for each row: one higher where any of the columns changes."""
    numbers: I64 = np.cumsum(np.any([np.diff(column, prepend=column[:1]) != 0 for column in columns], axis=0))
    return numbers


def _concat(parts: list[_Pairs]) -> _Pairs:
    nothing = _Pairs(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float64))
    return _Pairs(*(np.concatenate(columns) for columns in zip(nothing, *parts, strict=True)))
