"""How hashes are cut into bands for wit.hamming: by a model of what sorts, joins and comparisons cost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from math import comb

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]

LANE_BITS = 32
MAX_BANDS = 8
MAX_THRESHOLD = 4
MAX_WIDTH = 24  # a table of where the 2^24 buckets start takes 128 MB

# Nanoseconds, measured on a core of an AMD EPYC 9005 (Zen 5) among 1e6 and 1e7 hashes; only their ratios matter.
SORT_NS = 15.0
BUCKET_NS = 4.0
JOIN_NS = 6.0
COMPARE_NS = 0.02
WORDS_NS = 0.04  # a comparison of whole words
NEAR_BLOCK_NS = 10.0  # words compared after all, where the processor had guessed otherwise
BLOCK = 128  # comparisons at once

Cuts = tuple[tuple[int, int], ...]
"""(width in bits, threshold in bits) of each band, in the order in which they are searched."""


@dataclass(frozen=True)
class Band:
    """A band of a word of a hash, and how the words are permuted for it: the band on top, the lane at the bottom."""

    bits: tuple[int, ...]
    """Where in the word the bits of the band are, from that of the lowest bit of the bucket's number on."""
    others: tuple[int, ...]
    """Where the other bits are, from the lowest of the permuted word on."""
    width: int
    threshold: int
    lane_width: int
    """Bits of the lane, 32 at most."""
    is_by_lanes: bool
    """Whether comparing lanes before whole words saves time."""
    limits: tuple[int, ...]
    """limits[d] is the lane distance that a pair may have whose bands differ in d bits; no pair has more of these."""
    masks: tuple[int, ...]
    """The bits of each earlier band, in a permuted word."""
    floors: tuple[int, ...]
    """The bits in which a pair differs there at least, or that band would have found it."""

    @property
    def is_everything(self) -> bool:
        """Whether all pairs of hashes are compared."""
        return self.threshold >= self.width


def shares(radius: int, num_parts: int) -> tuple[int, ...]:
    """Return a threshold for each part of a hash, together radius - num_parts + 1; -1: it need not be searched."""
    return tuple((radius - part) // num_parts for part in range(num_parts))


@cache
def flips(width: int, most: int, block_bits: int) -> tuple[Hashes, npt.NDArray[np.uint64]]:
    """Return (all numbers of `width` bits with up to `most` ones, where groups of equal bits above the block begin).

    The groups are in order and end with the number of flips.
    """
    ones = (chosen for size in range(min(most, width) + 1) for chosen in combinations(range(width), size))
    numbers = np.array(sorted(sum(1 << bit for bit in chosen) for chosen in ones), np.uint64)
    _, starts = np.unique(numbers >> np.uint64(block_bits), return_index=True)
    return numbers, np.append(starts, len(numbers)).astype(np.uint64)


@cache
def plan(num_bits: int, radius: int, log_hashes: int, log_others: int, is_self: bool) -> Cuts:
    """Return how to cut `num_bits` for pairs within `radius` among 2^log_hashes hashes, or of them with others.

    The radius is below half of the bits: beyond that, chance alone makes most pairs near.
    """
    assert 2 * radius < num_bits
    costs = _Costs(num_bits, radius, 2.0**log_hashes, 2.0**log_others, is_self)
    return min((costs.widened(thresholds) for thresholds in _thresholds(num_bits, radius)), key=costs.total)


def _thresholds(num_bits: int, radius: int) -> Iterator[tuple[int, ...]]:
    """Yield thresholds of 1 to MAX_BANDS bands in ascending and in descending order."""
    for num_bands in range(1, min(MAX_BANDS, radius + 1) + 1):
        for thresholds in _partitions(radius - num_bands + 1, num_bands, MAX_THRESHOLD):
            yield thresholds
            yield thresholds[::-1]


def _partitions(total: int, num_parts: int, most: int) -> Iterator[tuple[int, ...]]:
    """Yield the descending tuples of numbers 0 to `most` with a sum."""
    if not num_parts:
        if not total:
            yield ()
        return
    for first in range(min(total, most), -1, -1):
        for rest in _partitions(total - first, num_parts - 1, first):
            yield (first, *rest)


@dataclass(frozen=True)
class _Costs:
    """What cuts cost, in nanoseconds, for random hashes."""

    num_bits: int
    radius: int
    num_hashes: float
    num_others: float
    is_self: bool

    def widened(self, thresholds: tuple[int, ...]) -> Cuts:
        """Return the best widths for thresholds, one bit after the other given to where it saves most."""
        widths = [threshold + 1 for threshold in thresholds]  # of fewer bits a band tells nothing; together radius + 1
        while sum(widths) < self.num_bits:
            saved = [
                self.band(width, threshold) - self.band(width + 1, threshold) if width < MAX_WIDTH else 0.0
                for width, threshold in zip(widths, thresholds, strict=True)
            ]
            best = max(range(len(saved)), key=saved.__getitem__)
            if saved[best] <= 0:
                break
            widths[best] += 1
        return tuple(zip(widths, thresholds, strict=True))

    def band(self, width: int, threshold: int) -> float:
        """Return what a band costs, but for the lanes that are near."""
        hashes, others, buckets = self.num_hashes, self.num_others, 2.0**width
        sorted_hashes = hashes if self.is_self else hashes + others
        size, other_size = hashes / buckets, others / buckets
        # a bucket is compared 8 at a time with 16 at a time: what stands beyond its end is compared in vain
        compared = (size + 4) * (other_size + 8) * min(1.0, size) * min(1.0, other_size)
        num_joins = buckets * _ball(width, threshold) / (2 if self.is_self else 1)
        joins = num_joins * (1 + min(1.0, size) * JOIN_NS + compared * COMPARE_NS)
        return sorted_hashes * SORT_NS + buckets * BUCKET_NS + joins

    def total(self, cuts: Cuts) -> float:
        """Return what all bands cost."""
        pairs = self.num_hashes * self.num_others / (2 if self.is_self else 1)
        total = sum(self.band(*cut) for cut in cuts)
        for index, (width, threshold) in enumerate(cuts):
            lane = _lane(cuts, index, self.num_bits, self.radius)
            compared = pairs * _ball(width, threshold) / 2.0**width
            total += compared * min(lane.near_ns, WORDS_NS - COMPARE_NS)
        return total


def _ball(width: int, radius: int) -> int:
    """Return how many numbers of `width` bits have up to `radius` ones."""
    return sum(comb(width, size) for size in range(min(width, radius) + 1))


@dataclass(frozen=True)
class _Lane:
    """Which bits the lane of a band has: those of no band, of later bands, and of the `num_earlier` bands before it."""

    num_earlier: int
    width: int
    limits: tuple[int, ...]
    """See `Band.limits`."""

    @property
    def share(self) -> float:
        """Of random pairs whose bands differ as much as they may, those that are near by their lanes."""
        return _ball(self.width, self.limits[-1]) / 2.0**self.width

    @property
    def near_ns(self) -> float:
        """What such pairs cost, in nanoseconds a comparison."""
        return min(1.0, BLOCK * self.share) * NEAR_BLOCK_NS / BLOCK

    @property
    def is_useful(self) -> bool:
        """Whether words are compared after their lanes, and not at once."""
        return self.near_ns < WORDS_NS - COMPARE_NS


def _lane(cuts: Cuts, index: int, num_bits: int, radius: int) -> _Lane:
    """Return the lane that lets fewest random pairs pass.

    Of the radius remains what the band itself and the earlier bands, which found nothing, do not use up. Bits of
    earlier bands that are in the lane count there.
    """
    width, threshold = cuts[index]
    remaining = radius - sum(earlier + 1 for _, earlier in cuts[:index])
    distances = range(min(width, threshold, remaining) + 1)
    lane_bits, lanes = max(0, num_bits - sum(width for width, _ in cuts[: index + 1])), []
    for num_earlier in range(index + 1):
        if num_earlier:
            earlier_width, earlier = cuts[index - num_earlier]
            lane_bits, remaining = lane_bits + earlier_width, remaining + earlier + 1
        limits = tuple(remaining - distance for distance in distances)
        lanes.append(_Lane(num_earlier, min(lane_bits, LANE_BITS), limits))
    return min(lanes, key=lambda lane: lane.share)


def layout(bits: list[int], cuts: Cuts, radius: int) -> tuple[Band, ...]:
    """Return the bands of a word of which some bits vary, given from the one that says most to the one that says least.

    The bits are dealt out, so that each band has good ones.
    """
    dealt: list[list[int]] = [[] for _ in cuts]
    rest = list(bits)
    while rest and any(len(hand) < width for hand, (width, _) in zip(dealt, cuts, strict=True)):
        for hand, (width, _) in zip(dealt, cuts, strict=True):
            if rest and len(hand) < width:
                hand.append(rest.pop(0))
    bands = []
    for index, (width, threshold) in enumerate(cuts):
        others = [*rest, *(bit for hand in dealt[index + 1 :] for bit in hand)]
        lane = _lane(cuts, index, len(bits), radius)
        others += [bit for hand in reversed(dealt[index - lane.num_earlier : index]) for bit in hand]
        others += [bit for hand in dealt[: index - lane.num_earlier] for bit in hand]
        place = {bit: at for at, bit in enumerate(others)}
        masks = tuple(sum(1 << place[bit] for bit in hand) for hand in dealt[:index])
        floors = tuple(earlier + 1 for _, earlier in cuts[:index])
        bands.append(
            Band(
                tuple(dealt[index]),
                tuple(others),
                width,
                threshold,
                lane.width,
                lane.is_useful,
                lane.limits,
                masks,
                floors,
            )
        )
    return tuple(bands)
