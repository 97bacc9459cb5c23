"""Exact search of 64-bit hashes within a Hamming radius, without comparing all pairs.

The bits are cut into `b` blocks. Two hashes within `r` bits differ in at most `r` blocks, so they agree in some
`b - r` blocks (pigeonhole). For each of the C(b, r) choices of blocks, the hashes are permuted so that the chosen
blocks stand on top, and sorted: candidates are neighbours whose top bits are equal, and are verified by popcount.
More blocks mean more sorts and fewer false candidates; `b` is chosen by the number of hashes
(Manku, Jain, Das Sarma, "Detecting near-duplicates for web crawling", WWW 2007, section 3).

A pair that several choices of blocks find is reported by the first of them, so nothing is found twice and no table
of pairs is kept beside the result. Memory is about 40 bytes a hash, plus 24 bytes a pair found.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, pairwise
from math import comb

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]
Positions = npt.NDArray[np.int64]
Matches = tuple[Positions, Positions, npt.NDArray[np.int32]]

NUM_BITS = 64
SORT_COST = 8  # sorting a hash into a table costs about as much as verifying 8 candidates (measured at 1e6 hashes)
MAX_EXTRA_BLOCKS = 5
CHUNK_HASHES = 1 << 20  # hashes compared at a time, which bounds what stands beside the tables


def pairs_within(hashes: Hashes, radius: int) -> Matches:
    """Return every pair i < j of distinct hashes at most `radius` bits apart, as (i, j, distance) sorted by (i, j).

    `hashes` [N] uint64 is strictly increasing: collapse equal ones first with `np.unique`, so that a million copies
    of one placeholder are one hash and not 5e11 pairs.
    """
    assert hashes.dtype == np.uint64
    assert bool(np.all(hashes[1:] > hashes[:-1])), "hashes must be strictly increasing"
    lower, higher = [hashes[:0]], [hashes[:0]]
    for table in _tables(radius, len(hashes), len(hashes) ** 2 / 2):
        permuted = np.sort(table.permute(hashes))
        for first, second in _neighbours(permuted, table.low_mask, radius):
            one, other = table.restore(first), table.restore(second)
            mine = table.is_first(one ^ other)
            lower.append(np.minimum(one, other)[mine])
            higher.append(np.maximum(one, other)[mine])
    i = np.searchsorted(hashes, np.concatenate(lower))
    j = np.searchsorted(hashes, np.concatenate(higher))
    return _matches(hashes, i, hashes, j)


def matches_within(hashes: Hashes, references: Hashes, radius: int) -> Matches:
    """Return every (i, j) with `hashes[i]` at most `radius` bits from `references[j]`, and their distance.

    Sorted by (i, j). Both arrays are uint64, [N] and [M], in any order; equal hashes are each reported.
    """
    assert hashes.dtype == references.dtype == np.uint64
    nothing = np.empty(0, dtype=np.int64)
    all_i, all_j = [nothing], [nothing]
    for table in _tables(radius, len(hashes) + len(references), len(hashes) * len(references)):
        permuted = table.permute(references)
        order = np.argsort(permuted, kind="stable")
        permuted = permuted[order]
        for start in range(0, len(hashes), CHUNK_HASHES):
            chunk = hashes[start : start + CHUNK_HASHES]
            for i, j in _lookups(table.permute(chunk), permuted, table.low_mask, radius):
                mine = table.is_first(chunk[i] ^ references[order[j]])
                all_i.append(i[mine] + start)
                all_j.append(order[j[mine]])
    return _matches(hashes, np.concatenate(all_i), references, np.concatenate(all_j))


def distances(hashes: Hashes, references: Hashes, i: Positions, j: Positions) -> npt.NDArray[np.int32]:
    """Return the distances of pairs of `hashes[i]` and `references[j]`, in bits; hashes are [N] or [N, words]."""
    bits = np.bitwise_count(hashes[i] ^ references[j])
    total: npt.NDArray[np.int32] = (bits if hashes.ndim == 1 else bits.sum(axis=1)).astype(np.int32)
    return total


def each_pair_within(hashes: Hashes, radius: int) -> Iterator[Matches]:
    """Yield every pair i < j of hashes, [N] or [N, 4], at most `radius` bits apart, in pieces."""
    for i, j, distance in each_match_within(hashes, hashes, radius):
        yield i[i < j], j[i < j], distance[i < j]


def each_match_within(hashes: Hashes, references: Hashes, radius: int) -> Iterator[Matches]:
    """Yield every (i, j) with `hashes[i]` at most `radius` bits from `references[j]`, and their distance, in pieces."""
    for start in range(0, len(hashes), 16):
        bits = np.bitwise_count(hashes[start : start + 16, None] ^ references[None, :])
        distance = bits if hashes.ndim == 1 else bits.sum(axis=2)
        i, j = np.nonzero(distance <= radius)
        yield i + start, j, distance[i, j].astype(np.int32)


def _matches(hashes: Hashes, i: Positions, references: Hashes, j: Positions) -> Matches:
    """Return pairs of positions sorted, with their distances."""
    order = np.lexsort((j, i))
    i, j = i[order], j[order]
    return i, j, np.bitwise_count(hashes[i] ^ references[j]).astype(np.int32)


@dataclass(frozen=True)
class _Table:
    """One choice of the blocks that must agree; blocks are numbered from the most significant."""

    blocks: tuple[tuple[int, int], ...]
    """(lowest bit, width) of each block."""
    agreeing: tuple[int, ...]

    @property
    def _order(self) -> tuple[int, ...]:
        rest = (block for block in range(len(self.blocks)) if block not in self.agreeing)
        return (*self.agreeing, *rest)

    @property
    def low_mask(self) -> np.uint64:
        """Ones in the bits below the agreeing blocks of a permuted hash."""
        top = sum(self.blocks[block][1] for block in self.agreeing)
        return np.uint64((1 << (NUM_BITS - top)) - 1)

    def permute(self, hashes: Hashes) -> Hashes:
        """Return the hashes with the agreeing blocks moved to the top, the order of the others kept."""
        permuted = np.zeros_like(hashes)
        to = NUM_BITS
        for block in self._order:
            start, width = self.blocks[block]
            to -= width
            permuted |= ((hashes >> np.uint64(start)) & _ones(width)) << np.uint64(to)
        return permuted

    def restore(self, permuted: Hashes) -> Hashes:
        """Return the hashes that `permute` moved."""
        hashes = np.zeros_like(permuted)
        at = NUM_BITS
        for block in self._order:
            start, width = self.blocks[block]
            at -= width
            hashes |= ((permuted >> np.uint64(at)) & _ones(width)) << np.uint64(start)
        return hashes

    def is_first(self, differences: Hashes) -> npt.NDArray[np.bool_]:
        """Return which pairs, given as xor of their hashes, no earlier table finds.

        Tables come in lexicographic order of their agreeing blocks, so the first to find a pair is the one whose
        blocks are the first that agree: any block before the last of them that is not chosen differs.
        """
        first = np.ones(len(differences), dtype=np.bool_)
        for block in range(self.agreeing[-1]):
            if block not in self.agreeing:
                start, width = self.blocks[block]
                first &= (differences & (_ones(width) << np.uint64(start))) != 0
        return first


def _ones(width: int) -> np.uint64:
    return np.uint64((1 << width) - 1)


def _tables(radius: int, num_sorted: int, num_products: float) -> list[_Table]:
    """Return the tables that together find every pair within `radius` (0 <= radius < 64)."""
    assert 0 <= radius < NUM_BITS
    most = min(radius + MAX_EXTRA_BLOCKS, NUM_BITS)

    def cost(num_blocks: int) -> float:
        agreeing_bits = NUM_BITS * (num_blocks - radius) // num_blocks
        return comb(num_blocks, radius) * (SORT_COST * num_sorted + num_products * 0.5**agreeing_bits)

    num_blocks = min(range(radius + 1, most + 1), key=cost)
    edges = [NUM_BITS - NUM_BITS * block // num_blocks for block in range(num_blocks + 1)]
    blocks = tuple((low, high - low) for high, low in pairwise(edges))
    return [_Table(blocks, agreeing) for agreeing in combinations(range(num_blocks), num_blocks - radius)]


def _neighbours(permuted: Hashes, low_mask: np.uint64, radius: int) -> Iterator[tuple[Hashes, Hashes]]:
    """Yield pairs within `radius` among sorted hashes that agree above `low_mask`.

    Step s compares each hash with the s-th after it, as long as their top bits are equal.
    """
    for start in range(0, len(permuted) - 1, CHUNK_HASHES):
        position = np.arange(start, min(start + CHUNK_HASHES, len(permuted) - 1), dtype=np.int64)
        step = 1
        while len(position):
            difference = permuted[position] ^ permuted[position + step]
            same = difference <= low_mask
            position, difference = position[same], difference[same]
            close = position[np.bitwise_count(difference) <= radius]
            if len(close):
                yield permuted[close], permuted[close + step]
            step += 1
            position = position[position + step < len(permuted)]


def _lookups(
    hashes: Hashes, references: Hashes, low_mask: np.uint64, radius: int
) -> Iterator[tuple[Positions, Positions]]:
    """Yield positions (i, j) of hashes and sorted references that agree above `low_mask`, within `radius`."""
    start = np.searchsorted(references, hashes & ~low_mask, side="left")
    stop = np.searchsorted(references, hashes | low_mask, side="right")
    i = np.flatnonzero(start < stop)
    j = start[i]
    while len(i):
        close = np.bitwise_count(hashes[i] ^ references[j]) <= radius
        if close.any():
            yield i[close], j[close]
        j = j + 1
        more = j < stop[i]
        i, j = i[more], j[more]
