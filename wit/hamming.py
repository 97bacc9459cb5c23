"""Exact search of hashes of 64 or more bits within a Hamming radius, without comparing all pairs.

Some bits are cut into m *bands*, and each is given a threshold t_k, together radius - m + 1. Two hashes within the
radius then differ in at most t_k bits of some band, or they would differ in more than the radius (the general
pigeonhole principle: Qin et al., "GPH: Similarity search in Hamming space", ICDE 2018). For each band the hashes are
sorted by it, and each bucket of equal bands is compared with the buckets whose bands differ in up to t_k bits (Norouzi,
Punjani and Fleet, "Fast search in Hamming space with multi-index hashing", CVPR 2012).

What is unusual here: candidates are cheap. Both buckets are contiguous, so that vectors of 16 words are compared (3e10
comparisons a second and core, where the processor counts the ones of a vector). So bands may be few and narrow, and
there are few sorts. How many bands, how wide, and their thresholds: what costs least for the number of hashes.

A pair is reported by the first band that finds it, so no table of pairs is kept beside the result. This also bounds the
bits that are left to differ, which the comparison of lanes makes use of. Hashes of several words are searched word by
word, by thresholds of the same kind. Where two buckets are far larger than chance makes them, the search begins anew
inside them, on the bits that vary there.

Memory is about 36 bytes a hash, whatever its width, plus what is found: nothing but a piece of it in the iterators.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import log2
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from wit.hamming_plan import Band, Cuts, flips, layout, plan, shares
from wit.ragged import frozen

if TYPE_CHECKING:
    from wit.hamming_kernels import Side

Hashes = npt.NDArray[np.uint64]
Positions = npt.NDArray[np.int64]
Matches = tuple[Positions, Positions, npt.NDArray[np.int32]]
Pairs = tuple[Positions, Positions]

FEW_COMPARISONS = 1 << 24  # done in less time than it takes to plan
PIECE_ROWS = 1 << 18  # pairs that are found before they are handed on, at most
HOT_COMPARISONS = 1 << 26  # done in the millisecond that it takes to begin anew inside two buckets
HOT_ROWS = 1 << 12
"""Joins put off at a time."""
SAMPLE_ROWS = 1 << 14
BLOCK_LANES = 1 << 15  # 128 KB of lanes: two blocks stay in the second cache
PARTS_BITS = 9  # a first pass that writes to 512 places at a time: they fit the first cache and its table of pages


def pairs_within(hashes: Hashes, radius: int) -> Matches:
    """Return every pair i < j of hashes at most `radius` bits apart, as (i, j, distance) sorted by (i, j).

    `hashes` are uint64, [N] or [N, words] of one hash each, in any order; 0 <= radius < their bits. Collapse equal ones
    first, so that a million copies of one placeholder are one hash and not 5e11 pairs.
    """
    return _sorted(each_pair_within(hashes, radius))


def matches_within(hashes: Hashes, references: Hashes, radius: int) -> Matches:
    """Return every (i, j) with `hashes[i]` at most `radius` bits from `references[j]`, and their distance.

    Sorted by (i, j). Both are uint64, [N] and [M] or [N, words] and [M, words], in any order; equal hashes are each
    reported.
    """
    return _sorted(each_match_within(hashes, references, radius))


def each_pair_within(hashes: Hashes, radius: int) -> Iterator[Matches]:
    """Yield the pairs of `pairs_within` in pieces of up to PIECE_ROWS, in an order that depends on the hashes alone."""
    rows = _rows(hashes)
    for i, j in _search(rows, None, radius):
        yield np.minimum(i, j), np.maximum(i, j), distances(rows, rows, i, j)


def each_match_within(hashes: Hashes, references: Hashes, radius: int) -> Iterator[Matches]:
    """Yield the matches of `matches_within` in pieces of up to PIECE_ROWS, in an order that hashes alone decide.

    Two ranges of hashes whose first bits are known to differ in d bits need only radius - d, and the other bits.
    """
    rows, others = _rows(hashes), _rows(references)
    for i, j in _search(rows, others, radius):
        yield i, j, distances(rows, others, i, j)


def distances(hashes: Hashes, references: Hashes, i: Positions, j: Positions) -> npt.NDArray[np.int32]:
    """Return the distances of pairs of `hashes[i]` and `references[j]`, in bits; hashes are [N] or [N, words]."""
    bits = np.bitwise_count(hashes[i] ^ references[j])
    total: npt.NDArray[np.int32] = (bits if hashes.ndim == 1 else bits.sum(axis=1)).astype(np.int32)
    return total


def _rows(hashes: Hashes) -> Hashes:
    """Return hashes as [N, words], in one piece and read-only, as kernels are compiled for."""
    assert hashes.dtype == np.uint64
    assert len(hashes) < 2**32, "positions are kept in 32 bits"
    rows: Hashes = frozen(hashes if hashes.ndim == 2 else hashes[:, None])
    return rows


def _sorted(pieces: Iterator[Matches]) -> Matches:
    nothing = np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.int32)
    i, j, distance = (np.concatenate(column) for column in zip(nothing, *pieces, strict=True))
    order = np.lexsort((j, i))
    return i[order], j[order], distance[order]


def _search(ours: Hashes, theirs: Hashes | None, radius: int) -> Iterator[Pairs]:
    """Yield all (i, j) within the radius, each once; without `theirs` of pairs in `ours`, either way around."""
    if not len(ours) or (theirs is not None and not len(theirs)):
        return
    varying = _varying(ours, theirs)
    num_words = max(1, -(-len(varying) // 64))
    if num_words < ours.shape[1]:
        ours, theirs = _packed(ours, varying), None if theirs is None else _packed(theirs, varying)
        varying = _varying(ours, theirs)
    others = ours if theirs is None else theirs
    thresholds = shares(radius, num_words)
    for word, threshold in enumerate(thresholds):
        if threshold < 0:
            continue
        bits = varying[varying // 64 == word] % 64
        for i, j in _WordSearch(ours, theirs, word, bits, threshold, radius).pairs():
            bits_apart = np.bitwise_count(ours[i] ^ others[j])
            keep = bits_apart.sum(axis=1) <= radius
            keep &= (bits_apart[:, :word] > thresholds[:word]).all(axis=1)
            if keep.any():
                yield i[keep], j[keep]


@dataclass(frozen=True)
class _WordSearch:
    """The search for pairs of which one word is within a threshold; not all that it finds are within the radius."""

    ours: Hashes
    theirs: Hashes | None
    word: int
    bits: Positions
    """Of the word, those that vary."""
    threshold: int
    radius: int
    """That of the whole hashes, for searches that begin anew."""

    @property
    def is_self(self) -> bool:
        return self.theirs is None

    @property
    def others(self) -> Hashes:
        return self.ours if self.theirs is None else self.theirs

    def pairs(self) -> Iterator[Pairs]:
        """Yield each pair once."""
        cuts: Cuts = ((1, self.threshold + 1),)  # all pairs
        if 2 * self.threshold < len(self.bits) and len(self.ours) * len(self.others) > FEW_COMPARISONS:
            logs = round(log2(len(self.ours))), round(log2(len(self.others)))
            cuts = plan(len(self.bits), self.threshold, *logs, self.is_self)
        bands = layout(self._by_use(), cuts, self.threshold)
        for index, band in enumerate(bands):
            side = _side(self.ours, self.word, band)
            other_side = side if self.theirs is None else _side(self.theirs, self.word, band)
            for found, hot in _joined(side, other_side, band, self.threshold, self.is_self):
                if len(found):
                    yield found[:, 0], found[:, 1]
                for bucket, other in hot.tolist():
                    rows, other_rows = _members(side, bucket), _members(other_side, other)
                    for i, j in self._inside(rows, other_rows, bucket ^ other, band):
                        keep = self._is_found_first(i, j, bands[:index])
                        yield i[keep], j[keep]

    def _by_use(self) -> list[int]:
        """Return the bits from the one that halves the hashes best to the one that does worst, judged by a sample."""
        sample = self.ours[:: -(-len(self.ours) // SAMPLE_ROWS), self.word]
        share = np.array([np.mean((sample >> np.uint64(bit)) & np.uint64(1)) for bit in self.bits])
        order: list[int] = self.bits[np.argsort(np.abs(share - 0.5), kind="stable")].tolist()
        return order

    def _inside(self, rows: Positions, other_rows: Positions, flip: int, band: Band) -> Iterator[Pairs]:
        """Yield the pairs of two hot buckets within the radius, by a search of the bits that vary in them."""
        ours, theirs = self.ours[rows], None
        if flip or not self.is_self:
            theirs = self.others[other_rows]
            theirs[:, self.word] ^= np.uint64(sum(1 << bit for at, bit in enumerate(band.bits) if flip >> at & 1))
        for i, j in _search(ours, theirs, self.radius - flip.bit_count()):
            yield rows[i], other_rows[j]

    def _is_found_first(self, i: Positions, j: Positions, earlier: tuple[Band, ...]) -> npt.NDArray[np.bool_]:
        """Return which pairs have the word within the threshold, and were not found by an earlier band."""
        difference = self.ours[i, self.word] ^ self.others[j, self.word]
        keep: npt.NDArray[np.bool_] = np.bitwise_count(difference) <= self.threshold
        for band in earlier:
            mask = np.uint64(sum(1 << bit for bit in band.bits))
            keep &= np.bitwise_count(difference & mask) > band.threshold
        return keep


def _joined(ours: Side, theirs: Side, band: Band, radius: int, is_self: bool) -> Iterator[tuple[Positions, Hashes]]:
    """Yield pairs of hashes [n, 2], and buckets [m, 2] that are too large to be compared."""
    from wit.hamming_kernels import Flips, Rules, join_all

    block_bits = min(band.width, max(0, (BLOCK_LANES * (len(ours.starts) - 1) // len(ours.places)).bit_length() - 1))
    numbers, groups = flips(band.width, len(band.limits) - 1, block_bits)
    limits = np.array(band.limits, np.uint32)[np.bitwise_count(numbers)]
    rules = Rules(
        np.uint64(radius),
        np.array(band.masks, np.uint64),
        np.array(band.floors, np.uint64),
        np.uint64(block_bits),
        np.uint64(2**63 if band.is_everything else HOT_COMPARISONS),
        np.uint32((1 << band.lane_width) - 1),
        np.bool_(band.is_by_lanes),
        np.bool_(is_self),
    )
    found, hot = np.empty((PIECE_ROWS, 2), np.uint32), np.empty((HOT_ROWS, 2), np.uint64)
    state = np.zeros(6, np.uint64)
    while state[0] < (len(ours.starts) - 1) >> block_bits:
        num_found, num_hot = join_all(ours, theirs, Flips(numbers, limits, groups), rules, state, found, hot)
        yield found[:num_found].astype(np.int64), hot[:num_hot].copy()


def _members(side: Side, bucket: int) -> Positions:
    """Return where the hashes of a bucket stand, in ascending order."""
    return side.places[int(side.starts[bucket]) : int(side.starts[bucket + 1])].astype(np.int64)


def _side(hashes: Hashes, word: int, band: Band) -> Side:
    """Return hashes sorted by a band, in two passes whose writes stay near each other."""
    from wit.hamming_kernels import PADDING, Side, count, part, sort

    sources = [*band.others, *[-1] * (64 - len(band.others) - band.width), *band.bits]
    tables = _tables(sources, 1)
    starts = np.zeros((1 << band.width) + 1, np.uint64)
    count(hashes, word, tables, np.uint64(64 - band.width), starts[1:])
    np.cumsum(starts, out=starts)
    parts = min(PARTS_BITS, band.width)
    words, places = np.empty(len(hashes), np.uint64), np.empty(len(hashes), np.uint32)
    ends = starts[: -1 : 1 << (band.width - parts)].copy()
    part(hashes, word, tables, np.uint64(64 - parts), ends, words, places)
    lanes, tops = np.zeros((2, len(hashes) + PADDING), np.uint32)
    side = Side(lanes, tops, np.empty_like(places), starts)
    sort(words, places, np.uint64(64 - band.width), starts[:-1].copy(), *side[:3])
    return side


def _varying(ours: Hashes, theirs: Hashes | None) -> Positions:
    """Return which bits are not the same in all hashes."""
    ones, zeros = np.bitwise_or.reduce(ours), ~np.bitwise_and.reduce(ours)
    if theirs is not None:
        ones |= np.bitwise_or.reduce(theirs)
        zeros |= ~np.bitwise_and.reduce(theirs)
    return np.flatnonzero(np.unpackbits((ones & zeros).view(np.uint8), bitorder="little"))


def _packed(hashes: Hashes, bits: Positions) -> Hashes:
    """Return hashes of nothing but some bits, dealt out to as few words as hold them."""
    from wit.hamming_kernels import permute

    num_words = max(1, -(-len(bits) // 64))
    packed = np.zeros((len(hashes), num_words), np.uint64)
    for word in range(num_words):
        permute(frozen(hashes), _tables(bits[word::num_words].tolist(), hashes.shape[1]), packed, word)
    rows: Hashes = frozen(packed)
    return rows


def _tables(bits: Sequence[int], num_words: int) -> Hashes:
    """Return what each byte of a hash adds to a word whose bit k is its bits[k], -1: none, [8 x num_words, 256]."""
    tables = np.zeros((8 * num_words, 256), np.uint64)
    values = np.arange(256, dtype=np.uint64)
    for to, source in enumerate(bits):
        if source >= 0:
            tables[source // 8] |= ((values >> np.uint64(source % 8)) & np.uint64(1)) << np.uint64(to)
    read_only: Hashes = frozen(tables)
    return read_only
