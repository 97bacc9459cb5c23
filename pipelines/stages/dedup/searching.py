"""The search for near prints, by pairs of places: each task reads two of them, and places that are too far are none.

Two prints whose places differ in d bits have radius - d left for the others, so the search of two places heeds fewer
bits the farther they are from each other. All tasks together compare each pair of prints once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.stages.dedup.describing import read_cut
from pipelines.stages.dedup.entries import AS_IT_IS, CONTENT_SIDE, ENTRIES_AN_IMAGE, TURNED, Cut
from pipelines.stages.tables import part_names
from wit.fingerprint import Prints
from wit.near import Near, Rule, each_match, each_pair
from wit.schema import EDGES, ENTRIES, PACKED_MATCHES, PLACE_PAIRS
from wit.stage import KEPT, Output, Part
from wit.storage import join, open_input

I64 = npt.NDArray[np.int64]

PRINTS_TABLE = "dedup/prints"
PACKED_PRINTS_TABLE = "dedup/packed_prints"
PACKED = "packed"
_BATCH_ROWS = 65_536


@dataclass(frozen=True)
class PairPlaces:
    """Lists the pairs of places whose prints can be near each other, a task each."""

    rule: Rule

    name: ClassVar[str] = "pair_places"
    writes: ClassVar[pa.Schema] = PLACE_PAIRS

    def __call__(self, root: str) -> Iterator[pa.Table]:
        """Yield PLACE_PAIRS, one row a table."""
        cut = read_cut(root, self.rule)
        for place_a in range(1 << cut.place_bits):
            for place_b in range(place_a, 1 << cut.place_bits):
                if cut.rule_between(place_a, place_b):
                    yield pa.Table.from_pylist([{"place_a": place_a, "place_b": place_b}], schema=PLACE_PAIRS)


@dataclass(frozen=True)
class SearchPlaces:
    """Finds the near-duplicates between two places, and with packed images in them.

    Memory: 450 bytes for each distinct print of two places, the search's own (wit.near) among them; with packed images
    those of two more.
    """

    rule: Rule
    with_packed: bool

    name: ClassVar[str] = "search_places"
    reads: ClassVar[pa.Schema] = PLACE_PAIRS
    writes: ClassVar[Mapping[str, pa.Schema]] = {KEPT: EDGES, PACKED: PACKED_MATCHES}

    def __call__(self, batches: Iterator[pa.RecordBatch], part: Part) -> Iterator[Output]:
        """Yield edges in the search's own order, then of each entry that is near packed images the nearest."""
        cut = read_cut(part.root, self.rule)
        for row in (row for batch in batches for row in batch.to_pylist()):
            places = sorted({row["place_a"], row["place_b"]})
            search = _Search.between(cut, row["place_a"], row["place_b"])
            read = partial(_read_place, part.root, cut=cut, with_contents=self.with_packed)
            prints = [read(PRINTS_TABLE, place) for place in places]
            yield from ((KEPT, batch) for batch in search.edges(prints))
            if self.with_packed:
                packed = [read(PACKED_PRINTS_TABLE, place) for place in places]
                yield PACKED, search.packed(prints, packed)


class _Side(NamedTuple):
    """Distinct entries of one side in a place."""

    entries: I64
    keys: pa.ChunkedArray
    prints: Prints
    """Without the bits of their place. Their contents are made up, and all differ: contents are a side of their own."""

    def as_references(self) -> Prints:
        """Return the prints with contents that no other side has."""
        return self.prints._replace(content=~self.prints.content)


def _read_place(root: str, table: str, place: int, cut: Cut, *, with_contents: bool) -> list[_Side]:
    """Return the entries of a place, by side; that of contents is empty unless it is asked for."""
    rows: list[list[pa.RecordBatch]] = [[], [], []]
    with open_input(join(root, part_names(root, table)[place])) as file:
        for batch in pq.ParquetFile(file).iter_batches(_BATCH_ROWS):
            for side in (AS_IT_IS, TURNED, CONTENT_SIDE) if with_contents else (AS_IT_IS, TURNED):
                rows[side].append(batch.filter(pc.equal(batch.column("side"), side)).cast(ENTRIES))
    return [_side(rows.pop(0), cut) for _ in range(len(rows))]


def _side(batches: list[pa.RecordBatch], cut: Cut) -> _Side:
    rows = pa.Table.from_batches(batches, ENTRIES)
    batches.clear()
    value = rows["value"].to_numpy().view(np.uint64)
    pdq = np.empty((len(value), 4), np.uint64)
    for i in range(4):
        pdq[:, i] = rows[f"pdq_{i}"].to_numpy().view(np.uint64)
    if cut.rule.hash == "phash":
        value = value & ~cut.mask
    else:
        pdq[:, 3] &= ~cut.mask
    count = len(value)
    prints = Prints(value, pdq, np.zeros(count, np.int32), np.arange(count, dtype=np.int64))
    return _Side(rows["entry"].to_numpy(), rows["key"], prints)


class _Search(NamedTuple):
    """A search of two places; the prints of each are given in order of the places, once when the two are one."""

    rule: Rule
    """For the bits that are not their places'."""
    apart: int
    """Bits in which the places differ."""

    @classmethod
    def between(cls, cut: Cut, place_a: int, place_b: int) -> _Search:
        rule = cut.rule_between(place_a, place_b)
        assert rule is not None
        return cls(rule, (place_a ^ place_b).bit_count())

    def edges(self, places: list[list[_Side]]) -> Iterator[pa.RecordBatch]:
        """Yield EDGES between prints as they are, then between those and turned ones."""
        upright = [sides[AS_IT_IS] for sides in places]
        one, other = upright[0], upright[-1]
        if one is other:
            found = each_pair(one.prints, self.rule)
        else:
            found = each_match(one.prints, other.as_references(), self.rule)
        yield from (self._batch(near, one, other) for near in found)
        for i, sides in enumerate(places):
            one, turned = upright[-1 - i], sides[TURNED]
            for near in each_match(one.prints, turned.as_references(), self.rule):
                yield self._batch(near, one, turned)

    def packed(self, places: list[list[_Side]], packed: list[list[_Side]]) -> pa.RecordBatch:
        """Return PACKED_MATCHES: prints of each place with the packed ones of the other, and equal contents."""
        found = [PACKED_MATCHES.empty_table()]
        for i, sides in enumerate(places):
            there = packed[-1 - i][AS_IT_IS]
            for mine in (sides[AS_IT_IS], sides[TURNED]):
                for near in each_match(mine.prints, there.as_references(), self.rule):
                    found.append(self._matches(near.i, near.j, near.distance + self.apart, mine, there))
        if not self.apart:
            found.append(self._equal(places[0][CONTENT_SIDE], packed[0][CONTENT_SIDE]))
        return nearest(pa.concat_tables(found))

    def _batch(self, near: Near, one: _Side, other: _Side) -> pa.RecordBatch:
        """Return EDGES of what was found; between upright prints the lower number, so the lower key, comes first."""
        i, j = near.i, near.j
        entries = np.stack([one.entries[i], other.entries[j]])
        keys = [one.keys.take(pa.array(i)), other.keys.take(pa.array(j))]
        turn = entries[1] % ENTRIES_AN_IMAGE
        swap = (turn == 0) & (entries[0] > entries[1])
        entries[:, swap] = entries[::-1, swap]
        is_swapped = pa.array(swap)
        columns = [
            *(pc.if_else(is_swapped, *pair).combine_chunks() for pair in (keys[::-1], keys)),
            pa.array(turn.astype(np.int32)),
            pa.array(near.distance + np.int32(self.apart)),
            *self._distances(near),
            *map(pa.array, entries),
        ]
        return pa.RecordBatch.from_arrays(columns, schema=EDGES)

    def _distances(self, near: Near) -> tuple[pa.Array, pa.Array]:
        apart, nothing = np.int32(self.apart), pa.nulls(len(near.i), pa.int32())
        if self.rule.hash == "phash":
            return pa.array(near.phash_distance + apart), nothing
        phash = pa.array(near.phash_distance) if self.rule.hash == "both" else nothing
        return phash, pa.array(near.pdq_distance + apart)

    def _equal(self, mine: _Side, packed: _Side) -> pa.Table:
        """Return PACKED_MATCHES of contents."""
        contents = mine.prints.phash, packed.prints.phash
        _, i, j = np.intersect1d(*contents, assume_unique=True, return_indices=True)
        return self._matches(i, j, np.zeros(len(i), np.int32), mine, packed)

    def _matches(self, i: I64, j: I64, distance: npt.NDArray[np.int32], mine: _Side, packed: _Side) -> pa.Table:
        names = packed.keys.take(pa.array(j)).combine_chunks()
        found = pa.table([pa.array(mine.entries[i]), names, pa.array(distance)], schema=PACKED_MATCHES)
        return pa.Table.from_batches([nearest(found)])


def nearest(matches: pa.Table) -> pa.RecordBatch:
    """Return for each entry the nearest packed image, of several the first by name; PACKED_MATCHES by entry."""
    ordered = matches.sort_by([(name, "ascending") for name in ("entry", "distance", "packed")])
    entries = ordered["entry"].to_numpy()
    is_first = np.ones(len(entries), np.bool_)
    is_first[1:] = entries[1:] != entries[:-1]
    first = ordered.filter(pa.array(is_first)).combine_chunks()
    columns = [column.combine_chunks() for column in first.columns]
    return pa.RecordBatch.from_arrays(columns, schema=PACKED_MATCHES)
