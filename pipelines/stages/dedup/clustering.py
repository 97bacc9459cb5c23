"""Clusters and survivors, in one task over what the search found: a cluster respects no cut of keys or hashes.

Only images with a near-duplicate are held, with 200 bytes each: 3.7 million of 10 million took 14 s and 0.7 GB, so a
fifth of 400 million would take 16 GB.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.stages.dedup.claiming import Claims, Neighbourhood, claim
from pipelines.stages.dedup.describing import CAPTIONS, FINGERPRINTS_TABLE
from pipelines.stages.dedup.entries import ENTRIES_AN_IMAGE
from pipelines.stages.dedup.searching import PACKED, nearest
from pipelines.stages.tables import parts, read_small
from wit.schema import CAPTION_FACTS, CLUSTERS, FINGERPRINTS, FIRST_NUMBERS, PACKED_MATCHES
from wit.stage import KEPT, Output, Part
from wit.storage import open_input

I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

IMAGES_TABLE = "dedup/images"
COPIES_TABLE = "dedup/copies"
EDGES_TABLE = "dedup/edges"
_BATCH_ROWS = 65_536

CAPTIONS_TABLE = f"{IMAGES_TABLE}/{CAPTIONS}"
CRITERIA: Mapping[str, tuple[str, pa.Field, int]] = {
    "pixels": (FINGERPRINTS_TABLE, FINGERPRINTS.field("num_pixels"), -1),
    "caption": (CAPTIONS_TABLE, CAPTION_FACTS.field("num_chars"), -1),
    "rank": (FINGERPRINTS_TABLE, FINGERPRINTS.field("rank"), 1),
}
"""What may decide which image stays: the column that says it, and 1 where the least is the best."""


@dataclass(frozen=True)
class FindClusters:
    """Finds who stays for whom; see `claiming`.

    `limit`: None for stars, else the bits of the longest chain. `survivor`: names of CRITERIA, the first before the
    others; the lowest key decides at last. `keep_captions`: in a cluster one image stays for each caption.
    """

    limit: int | None
    survivor: tuple[str, ...]
    keep_captions: bool

    name: ClassVar[str] = "find_clusters"
    reads: ClassVar[pa.Schema] = FIRST_NUMBERS
    writes: ClassVar[Mapping[str, pa.Schema]] = {KEPT: CLUSTERS}

    def __call__(self, batches: Iterator[pa.RecordBatch], part: Part) -> Iterator[Output]:
        """Yield CLUSTERS by number. The part only says that there is one task: it reads the tables of the search."""
        for _ in batches:
            pass
        found = _Found.read(part.root)
        order = self._order(part.root, found.images)
        claims = claim(found.neighbourhood(), order, found.is_packed, self.limit)
        stays = self._by_caption(part.root, found.images, claims, order) if self.keep_captions else claims.survivors
        for batch in _clusters(part.root, found, claims, stays):
            yield KEPT, batch

    def _order(self, root: str, images: I64) -> I32:
        """Return the images, the best first."""
        columns = [images]
        for criterion in reversed(self.survivor):
            table, column, sign = CRITERIA[criterion]
            columns.append(sign * read_rows(root, table, column, images).to_numpy())
        return np.lexsort(columns).astype(np.int32)

    def _by_caption(self, root: str, images: I64, claims: Claims, order: I32) -> I32:
        """Return who stays for each image when a cluster keeps one image for each caption: the best with it."""
        captions = read_rows(root, CAPTIONS_TABLE, CAPTION_FACTS.field("caption"), images).to_numpy()
        place = np.empty(len(order), np.int32)
        place[order] = np.arange(len(order), dtype=np.int32)
        by_group = np.lexsort((place, captions, claims.survivors))
        is_first = np.ones(len(by_group), np.bool_)
        groups = captions[by_group], claims.survivors[by_group]
        is_first[1:] = np.logical_or(*(column[1:] != column[:-1] for column in groups))
        stays = np.empty(len(by_group), np.int32)
        stays[by_group] = by_group[is_first][np.cumsum(is_first) - 1]
        return stays


class _Found(NamedTuple):
    """What the search found, images and labels by their positions among those that it names."""

    images: I64
    """Numbers of the images, ascending."""
    num_labels: int
    members: tuple[I32, I32]
    """(image, label)"""
    edges: tuple[I32, I32, I32]
    """(label, label, distance)"""
    packed: pa.Table
    """PACKED_MATCHES, one row a label that has any, by label."""
    packed_labels: I32
    """Labels of its rows."""

    @classmethod
    def read(cls, root: str) -> _Found:
        """Read edges, copies and packed matches of a run."""
        copies, firsts = (_column(root, COPIES_TABLE, name) for name in ("entry", "first"))
        one, other, distances = (
            _column(root, f"{EDGES_TABLE}/{KEPT}", name) for name in ("entry_a", "entry_b", "distance")
        )
        matches = read_small(root, f"{EDGES_TABLE}/{PACKED}", PACKED_MATCHES)
        packed = pa.Table.from_batches([nearest(matches)])
        entries = packed["entry"].to_numpy()
        labels = _union(firsts, one, other, entries)
        images = _union(copies // ENTRIES_AN_IMAGE, labels // ENTRIES_AN_IMAGE)
        owners = np.concatenate([copies // ENTRIES_AN_IMAGE, labels // ENTRIES_AN_IMAGE])
        members = _positions(images, owners), _positions(labels, np.concatenate([firsts, labels]))
        edges = _positions(labels, one), _positions(labels, other), distances
        return cls(images, len(labels), members, edges, packed, _positions(labels, entries))

    def neighbourhood(self) -> Neighbourhood:
        """Return who is next to whom."""
        return Neighbourhood.of(len(self.images), self.num_labels, self.members, self.edges)

    @property
    def is_packed(self) -> Bools:
        """Which images have a label that a packed one has, or nearly."""
        is_label = np.zeros(self.num_labels, np.bool_)
        is_label[self.packed_labels] = True
        images, labels = self.members
        is_packed = np.zeros(len(self.images), np.bool_)
        is_packed[images[is_label[labels]]] = True
        return is_packed

    def nearest_packed(self) -> pa.Table:
        """Return PACKED_MATCHES with positions of images in place of entries: the nearest of each, by image."""
        row_of = np.full(self.num_labels, -1, np.int64)
        row_of[self.packed_labels] = np.arange(len(self.packed_labels))
        images, labels = self.members
        rows = row_of[labels]
        matches = self.packed.take(pa.array(rows[rows >= 0]))
        matches = matches.set_column(0, PACKED_MATCHES.field("entry"), pa.array(images[rows >= 0].astype(np.int64)))
        return pa.Table.from_batches([nearest(matches)])


def _clusters(root: str, found: _Found, claims: Claims, stays: I32) -> Iterator[pa.RecordBatch]:
    """Yield CLUSTERS: images that are not alone, and those that a packed image is near."""
    centres = claims.survivors
    here = np.flatnonzero(centres >= 0)
    sizes = np.bincount(centres[here], minlength=len(centres))
    here = here[sizes[centres[here]] > 1]
    wanted = np.unique(np.concatenate([centres[here], stays[here]]))
    keys = read_rows(root, FINGERPRINTS_TABLE, FINGERPRINTS.field("key"), found.images[wanted])
    packed = found.nearest_packed()
    rows = np.concatenate([here, packed["entry"].to_numpy()])
    names = pa.concat_arrays([keys, packed["packed"].combine_chunks()])
    of_packed = np.arange(len(keys), len(names))
    cluster = np.concatenate([np.searchsorted(wanted, centres[here]), of_packed])
    survivor = np.concatenate([np.searchsorted(wanted, stays[here]), of_packed])
    distances = np.concatenate([claims.distances[here], packed["distance"].to_numpy()]).astype(np.int32)
    order = np.argsort(rows)
    for start in range(0, len(order), _BATCH_ROWS):
        at = order[start : start + _BATCH_ROWS]
        columns = [
            pa.array(found.images[rows[at]]),
            *(names.take(pa.array(column[at])) for column in (cluster, survivor)),
            pa.array(distances[at]),
            pa.array(at >= len(here)),
        ]
        yield pa.RecordBatch.from_arrays(columns, schema=CLUSTERS)


def read_rows(root: str, table: str, column: pa.Field, numbers: I64) -> pa.Array:
    """Return a column of some rows of a table, given by their ascending numbers over all its parts."""
    found = [pa.array([], column.type)]
    first, next_row = 0, 0
    for batch in _batches(root, table, [column.name]):
        stop = next_row + int(np.searchsorted(numbers[next_row:], first + batch.num_rows))
        if stop > next_row:
            found.append(batch.column(0).take(pa.array(numbers[next_row:stop] - first)))
        first, next_row = first + batch.num_rows, stop
    assert next_row == len(numbers)
    return pa.concat_arrays(found)


def _batches(root: str, table: str, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    for part in parts(root, table):
        with open_input(part) as file:
            yield from pq.ParquetFile(file).iter_batches(_BATCH_ROWS, columns=list(columns))


def _column(root: str, table: str, name: str) -> npt.NDArray[Any]:
    """Return a column of numbers of a whole table."""
    empty = np.empty(0, np.int32 if name == "distance" else np.int64)
    return np.concatenate([empty, *(batch.column(0).to_numpy() for batch in _batches(root, table, [name]))])


def _union(*columns: I64) -> I64:
    return np.unique(np.concatenate(columns))


def _positions(ascending: I64, values: I64) -> I32:
    """Return where each value stands among those that ascend; looked up in order, several times as fast for many."""
    order = np.argsort(values)
    positions = np.empty(len(values), np.int32)
    positions[order] = np.searchsorted(ascending, values[order])
    return positions
