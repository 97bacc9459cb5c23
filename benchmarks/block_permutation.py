"""A peer of wit.hamming in plain numpy: block permutation (Manku, Jain, Das Sarma, WWW 2007, section 3), 64 bits.

The bits are cut into blocks. Two hashes within `radius` bits agree in some choice of len(blocks) - radius of them: for
each choice the hashes are permuted so that these blocks stand on top, and sorted; neighbours of equal top bits are
compared.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, pairwise
from math import comb

import numpy as np
import numpy.typing as npt

U64 = npt.NDArray[np.uint64]

SORT_COST = 8  # sorting a hash into a table costs about as much as comparing 8 pairs
MAX_EXTRA_BLOCKS = 5


def choose_blocks(num_hashes: int, radius: int) -> int:
    """Return the number of blocks that costs least for so many random hashes."""

    def cost(num_blocks: int) -> float:
        agreeing_bits = 64 * (num_blocks - radius) // num_blocks
        return comb(num_blocks, radius) * (SORT_COST * num_hashes + num_hashes**2 / 2 * 0.5**agreeing_bits)

    return min(range(radius + 1, radius + MAX_EXTRA_BLOCKS + 1), key=cost)


def each_table(hashes: U64, radius: int, num_blocks: int) -> Iterator[tuple[U64, U64]]:
    """Yield of each table the pairs of hashes within the radius that no earlier table found."""
    edges = [64 - 64 * block // num_blocks for block in range(num_blocks + 1)]
    blocks = [(low, high - low) for high, low in pairwise(edges)]
    for agreeing in combinations(range(num_blocks), num_blocks - radius):
        order = [*agreeing, *(block for block in range(num_blocks) if block not in agreeing)]
        low_bits = 64 - sum(blocks[block][1] for block in agreeing)
        table = np.sort(_moved(hashes, [blocks[block] for block in order]))
        pairs = list(_neighbours(table, np.uint64((1 << low_bits) - 1), radius))
        one, other = (np.concatenate([table[:0], *column]) for column in ([p[0] for p in pairs], [p[1] for p in pairs]))
        one, other = (_moved_back(side, [blocks[block] for block in order]) for side in (one, other))
        first = np.ones(len(one), np.bool_)
        for block in set(range(agreeing[-1])) - set(agreeing):
            start, width = blocks[block]
            first &= ((one ^ other) >> np.uint64(start)) & np.uint64((1 << width) - 1) != 0
        yield one[first], other[first]


def _moved(hashes: U64, order: list[tuple[int, int]]) -> U64:
    """Return the hashes with blocks, (lowest bit, width), one below the other from the top on."""
    moved, to = np.zeros_like(hashes), 64
    for start, width in order:
        to -= width
        moved |= ((hashes >> np.uint64(start)) & np.uint64((1 << width) - 1)) << np.uint64(to)
    return moved


def _moved_back(hashes: U64, order: list[tuple[int, int]]) -> U64:
    moved, at = np.zeros_like(hashes), 64
    for start, width in order:
        at -= width
        moved |= ((hashes >> np.uint64(at)) & np.uint64((1 << width) - 1)) << np.uint64(start)
    return moved


def _neighbours(table: U64, low_mask: np.uint64, radius: int) -> Iterator[tuple[U64, U64]]:
    """Yield pairs within the radius among sorted hashes that agree above the mask, step by step."""
    for start in range(0, len(table) - 1, 1 << 20):
        position = np.arange(start, min(start + (1 << 20), len(table) - 1))
        step = 1
        while len(position):
            difference = table[position] ^ table[position + step]
            same = difference <= low_mask
            position, difference = position[same], difference[same]
            close = position[np.bitwise_count(difference) <= radius]
            yield table[close], table[close + step]
            step += 1
            position = position[position + step < len(table)]
