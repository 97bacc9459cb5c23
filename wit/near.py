"""Which images are near-duplicates: a rule over their prints, and the search for all pairs that meet it.

A rule bounds how many bits two perceptual hashes may differ by. Images of low quality (blank, hardly any detail) have
hashes that say nothing, so the rule passes them over; images of equal content are near-duplicates whatever their hash.

Nothing here is quadratic in copies: equal prints are one print to the search (`wit.hamming`). Prints of one picture
that differ are as many pairs as are near: of 20,000 encodings, no two of which have the same print, 2e8.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from wit.hamming import distances, each_match_within, each_pair_within

if TYPE_CHECKING:
    from wit.fingerprint import Prints

I64 = npt.NDArray[np.int64]
I32 = npt.NDArray[np.int32]
U64 = npt.NDArray[np.uint64]

PHASH_RADIUS = 8
PDQ_RADIUS = 40
"""Radii of the pair for images among themselves, by the curves of docs/near-duplicates.md: no unrelated pictures in 29
million comparisons, and about ten pairs of them expected among 400 million images."""
MAX_PHASH_RADIUS, MAX_PDQ_RADIUS = 31, 127
"""One bit less than half of them, which is what two unrelated pictures differ by."""
MIN_QUALITY = 50
"""PDQ's documentation advises to discard hashes of quality 49 and less."""

SAMPLE_ROWS = 1_000
"""Prints by which it is judged whether a hash is crowded."""
CROWD = 64
"""Matches of a print by one hash above which searching the other may be faster than judging them."""
CHUNK_ROWS = 1 << 20
"""Pairs in one piece of what the iterators yield, at most."""


@dataclass(frozen=True)
class Rule:
    """When two images are near-duplicates: within the radius of the hash, or of each of both; equal content always is.

    Radii are in bits of 64 (pHash) and of 256 (PDQ). Both images must have `min_quality`, PDQ's from 0 to 100, unless
    their content is equal.
    """

    hash: Literal["phash", "pdq", "both"] = field(
        default="both",
        metadata={"choices": ("phash", "pdq", "both"), "help": "hashes that must be near: pHash, PDQ or both of them"},
    )
    phash_radius: int = field(
        default=PHASH_RADIUS,
        metadata={
            "min": 0,
            "max": MAX_PHASH_RADIUS,
            "help": "bits of 64 by which pHashes of near-duplicates may differ",
        },
    )
    pdq_radius: int = field(
        default=PDQ_RADIUS,
        metadata={
            "min": 0,
            "max": MAX_PDQ_RADIUS,
            "help": "bits of 256 by which PDQ hashes of near-duplicates may differ",
        },
    )
    min_quality: int = field(
        default=MIN_QUALITY,
        metadata={"min": 0, "max": 100, "help": "PDQ quality below which an image is no near-duplicate of another"},
    )

    @property
    def radius(self) -> int:
        """The largest distance that `Near.distance` can have, in bits."""
        return self.phash_radius if self.hash == "phash" else self.pdq_radius


def copy_rule(hash_name: Literal["phash", "pdq", "both"] = "both", min_quality: int = MIN_QUALITY) -> Rule:
    """Return when an image is a copy of an evaluation image, unless a threshold says otherwise.

    Wider than images among themselves, for evaluation sets are small and what is found is looked at; pHash has not the
    bits to go as far alone (docs/near-duplicates.md).
    """
    return Rule(hash_name, phash_radius=10 if hash_name == "phash" else 12, pdq_radius=60, min_quality=min_quality)


class Near(NamedTuple):
    """Pairs of near-duplicates, one an entry of each array."""

    i: I64
    j: I64
    distance: I32
    """In bits of the rule's hash, that is pHash for "phash", else PDQ; 0 where the content is equal."""
    phash_distance: I32
    pdq_distance: I32

    @classmethod
    def concat(cls, parts: Iterable[Near]) -> Near:
        """Return all pairs sorted by (i, j)."""
        i, j, *others = (np.concatenate(column) for column in zip(_NOTHING, *parts, strict=True))
        order = np.lexsort((j, i))
        return cls(i[order], j[order], *(column[order] for column in others))


_NO_ROWS, _NO_BITS = np.empty(0, np.int64), np.empty(0, np.int32)
_NOTHING = Near(_NO_ROWS, _NO_ROWS, _NO_BITS, _NO_BITS, _NO_BITS)


def near_pairs(prints: Prints, rule: Rule) -> Near:
    """Return edges i < j between near-duplicates that span their clusters, sorted by (i, j).

    See `each_pair` for which edges those are: without equal prints they are all pairs.
    """
    return Near.concat(each_pair(prints, rule))


def near_matches(prints: Prints, references: Prints, rule: Rule) -> Near:
    """Return every near-duplicate (i, j) of `prints[i]` and `references[j]`, sorted by (i, j)."""
    return Near.concat(each_match(prints, references, rule))


def each_pair(prints: Prints, rule: Rule) -> Iterator[Near]:
    """Yield the edges of `near_pairs` in pieces of bounded size, in an order that depends on the prints alone.

    Copies make no quadratic work. An edge goes from the first image to each other one of equal content; from the first
    to each other one with equal hashes (those of the rule); and between the first images of all pairs of hashes that
    the rule calls near. No edge comes twice, and every pair of near-duplicates is joined by a path of these edges.
    """
    firsts = _firsts(prints.content[:, None])
    copies = np.flatnonzero(firsts != np.arange(len(firsts)))
    for rows in _pieces(copies):
        yield _near(prints, prints, firsts[rows], rows, rule)
    rows = np.flatnonzero(prints.quality >= rule.min_quality)
    hashes = _hashes(prints, rule)[rows]
    firsts = _firsts(hashes)
    is_first = firsts == np.arange(len(firsts))
    for repeats in _pieces(np.flatnonzero(~is_first)):
        yield from _of_other_content(prints, prints, rows[firsts[repeats]], rows[repeats], rule)
    rows, hashes = rows[is_first], hashes[is_first]
    searched, radius = _searched(hashes, hashes, rule)
    for i, j, _ in each_pair_within(hashes[:, searched], radius):
        yield from _of_other_content(prints, prints, rows[i], rows[j], rule)


def each_match(prints: Prints, references: Prints, rule: Rule) -> Iterator[Near]:
    """Yield the matches of `near_matches` in pieces of bounded size, in an order that depends on the prints alone.

    The search sees equal prints once, but each of their pairs is yielded: a million copies of one reference are a
    million matches.
    """
    ours, theirs = _Groups.of(prints.content[:, None]), _Groups.of(references.content[:, None])
    contents = prints.content[ours.firsts], references.content[theirs.firsts]
    _, group, other = np.intersect1d(*contents, assume_unique=True, return_indices=True)
    for i, j in ours.products(group, theirs, other):
        yield _near(prints, references, i, j, rule)
    rows, their_rows = (np.flatnonzero(side.quality >= rule.min_quality) for side in (prints, references))
    hashes, their_hashes = _hashes(prints, rule)[rows], _hashes(references, rule)[their_rows]
    ours, theirs = _Groups.of(hashes), _Groups.of(their_hashes)
    hashes, their_hashes = hashes[ours.firsts], their_hashes[theirs.firsts]
    searched, radius = _searched(hashes, their_hashes, rule)
    for group, other, _ in each_match_within(hashes[:, searched], their_hashes[:, searched], radius):
        for i, j in ours.products(group, theirs, other):
            yield from _of_other_content(prints, references, rows[i], their_rows[j], rule)


def _hashes(prints: Prints, rule: Rule) -> U64:
    """Return the hashes that the rule heeds, [N, 1], [N, 4] or [N, 5] words."""
    columns = {"phash": (prints.phash[:, None],), "pdq": (prints.pdq,), "both": (prints.phash[:, None], prints.pdq)}
    return np.concatenate(columns[rule.hash], axis=1)


def _searched(hashes: U64, others: U64, rule: Rule) -> tuple[slice, int]:
    """Return which words of `_hashes` are searched, and within which radius; of both, the other judges what is found.

    Of both that is the one that is searched faster, unless it finds so many (pictures of one template have one pHash
    and a thousand PDQs) that judging them would take longer than searching the other.
    """
    by_phash, by_pdq = (slice(0, 1), rule.phash_radius), (slice(-4, None), rule.pdq_radius)
    if rule.hash != "both":
        return by_phash if rule.hash == "phash" else by_pdq
    # PDQ is searched in four words, by a quarter of its radius each; a word takes four times as long by two bits more.
    is_phash_faster = rule.phash_radius <= rule.pdq_radius // 4 + 2
    first, second = (by_phash, by_pdq) if is_phash_faster else (by_pdq, by_phash)
    sample = hashes[:: len(hashes) // SAMPLE_ROWS + 1]
    num_first = _num_found(sample, others, *first)
    if num_first <= CROWD * len(sample) or num_first <= _num_found(sample, others, *second):
        return first
    return second


def _num_found(sample: U64, others: U64, searched: slice, radius: int) -> int:
    """Return how many matches the words of a sample have; the counting stops where they are too many anyway."""
    count = 0
    for i, _, _ in each_match_within(sample[:, searched], others[:, searched], radius):
        count += len(i)
        if count > 64 * CROWD * len(sample):
            break
    return count


def _near(prints: Prints, references: Prints, i: I64, j: I64, rule: Rule) -> Near:
    """Return pairs with their distances."""
    phash_distance = distances(prints.phash, references.phash, i, j)
    pdq_distance = distances(prints.pdq, references.pdq, i, j)
    distance = phash_distance if rule.hash == "phash" else pdq_distance
    equal = prints.content[i] == references.content[j]
    return Near(i, j, np.where(equal, np.int32(0), distance), phash_distance, pdq_distance)


def _of_other_content(prints: Prints, references: Prints, i: I64, j: I64, rule: Rule) -> Iterator[Near]:
    """Yield the pairs that the rule calls near, but those of equal content, which are found by that."""
    found = _near(prints, references, i, j, rule)
    keep = prints.content[i] != references.content[j]
    if rule.hash == "both":
        keep &= (found.phash_distance <= rule.phash_radius) & (found.pdq_distance <= rule.pdq_radius)
    if keep.any():
        yield Near(*(column[keep] for column in found))


def _firsts(keys: npt.NDArray[np.uint64] | I64) -> I64:
    """Return for each row of `keys` [N, K] the first row equal to it."""
    firsts = np.arange(len(keys), dtype=np.int64)
    order = np.argsort(keys[:, 0])
    repeated = np.flatnonzero(keys[order[1:], 0] == keys[order[:-1], 0])
    rows = np.unique(np.concatenate([order[repeated], order[repeated + 1]]))  # the others equal no row
    if len(rows):
        shared = keys[rows]
        by_key = np.lexsort((rows, *shared.T))
        starts = np.ones(len(rows), np.bool_)
        starts[1:] = (shared[by_key[1:]] != shared[by_key[:-1]]).any(axis=1)
        firsts[rows[by_key]] = rows[by_key][starts][np.cumsum(starts) - 1]
    return firsts


def _pieces(rows: I64) -> Iterator[I64]:
    for start in range(0, len(rows), CHUNK_ROWS):
        yield rows[start : start + CHUNK_ROWS]


@dataclass(frozen=True)
class _Groups:
    """Equal rows taken together; group g is members[starts[g]:starts[g + 1]], in order of their first members."""

    firsts: I64
    members: I64
    starts: I64

    @classmethod
    def of(cls, keys: npt.NDArray[np.uint64] | I64) -> _Groups:
        """Group the rows of `keys` [N, K]."""
        first_of = _firsts(keys)
        firsts = np.flatnonzero(first_of == np.arange(len(first_of)))
        members = np.argsort(first_of, kind="stable")
        return cls(firsts, members, np.append(np.searchsorted(first_of[members], firsts), len(members)))

    def products(self, groups: I64, others: _Groups, other_groups: I64) -> Iterator[tuple[I64, I64]]:
        """Yield every pair of a member of `groups[k]` and one of `other_groups[k]` of the others, in pieces."""
        widths = others.starts[other_groups + 1] - others.starts[other_groups]
        ends = np.cumsum((self.starts[groups + 1] - self.starts[groups]) * widths)
        for start in range(0, int(ends[-1]) if len(ends) else 0, CHUNK_ROWS):
            row = np.arange(start, min(start + CHUNK_ROWS, int(ends[-1])), dtype=np.int64)
            k = np.searchsorted(ends, row, side="right")
            first_row = np.where(k > 0, ends[k - 1], 0)
            place, other_place = np.divmod(row - first_row, widths[k])
            i = self.members[self.starts[groups[k]] + place]
            yield i, others.members[others.starts[other_groups[k]] + other_place]
