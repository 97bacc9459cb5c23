"""References: the prints of evaluation images, and the samples that come near them.

Images of equal hashes, and of equal content, count as one on both sides before anything is searched, so that a
placeholder which a million samples show costs what one does, however each of them was encoded. Memory: about 130
bytes for each turn of an evaluation image, with its names.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from wit.fingerprint import Prints
from wit.near import Near, Rule, each_match
from wit.schema import REFERENCES

I64 = npt.NDArray[np.int64]
I32 = npt.NDArray[np.int32]

_ODD = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio: Fibonacci hashing (Knuth, TAOCP 3, 6.4)


class Distinct(NamedTuple):
    """Prints of which no two are equal, and the rows that have each."""

    prints: Prints
    order: I64
    """All rows, those of equal prints side by side, ascending among themselves."""
    starts: I64
    """Where the rows of each print begin in `order`; one more than there are prints."""

    @property
    def counts(self) -> I64:
        """How many rows have each print."""
        return np.diff(self.starts)


def distinct(prints: Prints) -> Distinct:
    """Return the prints of which no two are equal in all that they hold."""
    columns = (prints.phash, *prints.pdq.T, prints.quality, prints.content)
    mixed = _mixed(columns)
    order = np.argsort(mixed, kind="stable")
    is_new = _differs(columns, order)
    if (is_new & ~_differs((mixed,), order)).any():  # two prints have one number: a chance of 2^-64 a pair
        order = np.lexsort(columns)
        is_new = _differs(columns, order)
    starts = np.append(np.flatnonzero(is_new), len(order))
    return Distinct(prints.take(order[starts[:-1]]), order, starts)


def _mixed(columns: Sequence[npt.NDArray[Any]]) -> npt.NDArray[np.uint64]:
    """Return a number for each row, equal for equal rows: one sort of numbers takes a sixth of that by six columns."""
    mixed = np.zeros(len(columns[0]), np.uint64)
    for column in columns:
        mixed = (mixed ^ column.astype(np.uint64)) * _ODD
        mixed ^= mixed >> np.uint64(29)
    return mixed


def _differs(columns: Sequence[npt.NDArray[Any]], order: I64) -> npt.NDArray[np.bool_]:
    """Return which rows, taken in an order, differ from the one before; the first does."""
    differs = np.zeros(len(order), np.bool_)
    differs[:1] = True
    for column in columns:
        sorted_column = column[order]
        differs[1:] |= sorted_column[1:] != sorted_column[:-1]
    return differs


def expand(counts: I64) -> tuple[I64, I64]:
    """Return for groups of such sizes (group, place in it) of every member, group after group."""
    group = np.repeat(np.arange(len(counts), dtype=np.int64), counts)
    return group, np.arange(len(group), dtype=np.int64) - np.repeat(np.cumsum(counts) - counts, counts)


class Matches(NamedTuple):
    """Pairs of a sample and a reference, by their rows, and how far apart they are."""

    sample: I64
    reference: I64
    distance: I32


class Nearest(NamedTuple):
    """What is near among some samples: the nearest ones of each item, and the nearest reference of each sample."""

    items: Matches
    """By item, then distance, then sample; at most so many of an item, each sample once."""
    samples: Matches
    """By sample; of references as near the first by set and item."""


@dataclass(frozen=True)
class References:
    """Prints of evaluation images, sorted by set, item and turn, and the rule of each set."""

    table: pa.Table
    """REFERENCES."""
    rules: Mapping[str, Rule]

    @staticmethod
    def of(table: pa.Table, rules: Mapping[str, Rule]) -> References:
        """Return references in any order, sorted."""
        keys = [(name, "ascending") for name in ("set", "item", "turn")]
        return References(table.select(REFERENCES.names).sort_by(keys).combine_chunks(), rules)

    @cached_property
    def item_of(self) -> I64:
        """Number of the item of each row: rows that are turns of one image have the same."""
        return number_items(self.table)

    @cached_property
    def _by_rule(self) -> list[tuple[Rule, tuple[Distinct, Distinct]]]:
        """Rule and groups of the sets that have the same rule, by hash and by content."""
        sets_of: dict[Rule, list[str]] = defaultdict(list)
        for name, rule in self.rules.items():
            sets_of[rule].append(name)
        found = []
        for rule, names in sets_of.items():
            rows = np.flatnonzero(pc.is_in(self.table["set"], pa.array(names)).to_numpy())
            groups = _groups(Prints.of(self.table.take(rows)), rule)
            by_hash, by_content = (each._replace(order=rows[each.order]) for each in groups)
            apart = by_hash.prints._replace(content=~by_hash.prints.content)  # from those of samples
            found.append((rule, (by_hash._replace(prints=apart), by_content)))
        return found

    def nearest(self, samples: Prints, most: int) -> Nearest:
        """Return what is near among samples: of each item at most `most`, the nearest, the earlier of those as near."""
        found = [
            _expand(pairs, ours, theirs, most)
            for rule, references in self._by_rule
            for ours, theirs in zip(_groups(samples, rule), references, strict=True)
            for pairs in each_match(ours.prints, theirs.prints, rule)
        ]
        of_items = concat_matches([each.items for each in found])
        of_samples = concat_matches([each.samples for each in found])
        return Nearest(self._of_items(of_items, most), _of_samples(of_samples))

    def _of_items(self, found: Matches, most: int) -> Matches:
        item = self.item_of[found.reference]
        order = np.lexsort((found.reference, found.distance, found.sample, item))
        found, item = take(found, order), item[order]
        first = is_first(item, found.sample)  # of the turns of an image the nearest
        found, item = take(found, first), item[first]
        order = np.lexsort((found.sample, found.distance, item))
        return take(found, order[place_in_group(item[order]) < most])

    def names(self, matches: Matches, columns: Sequence[str]) -> dict[str, Any]:
        """Return columns of the references of matches."""
        rows = pa.array(matches.reference)
        return {name: self.table[name].take(rows) for name in columns}


def _groups(prints: Prints, rule: Rule) -> tuple[Distinct, Distinct]:
    """Return the groups of good images whose hashes, as far as the rule heeds them, are equal; and of equal content.

    Each group is near by that alone: groups by hash have contents that are made up and all differ, those by content a
    quality that is below every rule's.
    """
    rows = np.flatnonzero(prints.quality >= rule.min_quality)
    good = prints.take(rows)
    heeded = Prints(
        np.zeros_like(good.phash) if rule.hash == "pdq" else good.phash,
        np.zeros_like(good.pdq) if rule.hash == "phash" else good.pdq,
        np.full_like(good.quality, rule.min_quality),
        np.zeros_like(good.content),
    )
    by_hash = distinct(heeded)
    made_up = by_hash.prints._replace(content=np.arange(by_hash.prints.num_rows, dtype=np.int64))
    contents = Prints(
        np.zeros_like(prints.phash), np.zeros_like(prints.pdq), np.full_like(prints.quality, -1), prints.content
    )
    return by_hash._replace(prints=made_up, order=rows[by_hash.order]), distinct(contents)


def _expand(pairs: Near, unique: Distinct, references: Distinct, most: int) -> Nearest:
    """Return the pairs of rows that stand for pairs of groups: no more than can be among the nearest."""
    i, j, distance = pairs.i, pairs.j, pairs.distance
    pair, place = expand(np.minimum(unique.counts[i], most))
    sample = unique.order[unique.starts[i[pair]] + place]
    order = np.lexsort((sample, distance[pair], j[pair]))
    order = order[place_in_group(j[pair[order]]) < most]
    pair, sample = pair[order], sample[order]
    again, place = expand(references.counts[j[pair]])
    reference = references.order[references.starts[j[pair[again]]] + place]
    items = Matches(sample[again], reference, distance[pair[again]])
    first = references.order[references.starts[j]]
    order = np.lexsort((first, distance, i))
    order = order[is_first(i[order])]
    member, place = expand(unique.counts[i[order]])
    nearest = order[member]
    samples = Matches(unique.order[unique.starts[i[nearest]] + place], first[nearest], distance[nearest])
    return Nearest(items, samples)


def _of_samples(found: Matches) -> Matches:
    order = np.lexsort((found.reference, found.distance, found.sample))
    found = take(found, order)
    return take(found, is_first(found.sample))


def concat_matches(parts: Sequence[Matches]) -> Matches:
    """Return matches one behind the other."""
    nothing = Matches(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.int32))
    return Matches(*(np.concatenate(arrays) for arrays in zip(nothing, *parts, strict=True)))


def take(matches: Matches, rows: npt.NDArray[Any]) -> Matches:
    """Return some of the matches: those at positions, or where a mask is true."""
    return Matches(*(array[rows] for array in matches))


def number_items(table: pa.Table) -> I64:
    """Return a number for each row, from 0: one higher where its set and item are not those of the row before."""
    is_new = np.zeros(len(table), np.bool_)
    for name in ("set", "item"):
        column = table[name].combine_chunks()
        is_new[1:] |= pc.not_equal(column[1:], column[:-1]).to_numpy(zero_copy_only=False)
    return np.cumsum(is_new)


def is_first(*columns: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Return which rows are the first of those, side by side, that are equal in the columns."""
    first = np.ones(len(columns[0]), np.bool_)
    if len(first):
        first[1:] = np.any([column[1:] != column[:-1] for column in columns], axis=0)
    return first


def place_in_group(column: npt.NDArray[Any]) -> I64:
    """Return the place of each row among the rows, side by side, that are equal to it."""
    starts = np.flatnonzero(is_first(column))
    return np.arange(len(column), dtype=np.int64) - np.repeat(starts, np.diff(np.append(starts, len(column))))
