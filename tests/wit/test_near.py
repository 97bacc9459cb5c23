"""Near-duplicates by a rule over prints: exactly those, and no quadratic work for copies."""

from __future__ import annotations

from itertools import combinations, product
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wit import near
from wit.fingerprint import Prints
from wit.near import Near, Rule, each_match, each_pair, near_matches, near_pairs

HASHES: tuple[Literal["phash", "pdq", "both"], ...] = ("phash", "pdq", "both")


def flipped(words: int, bits: list[int]) -> list[int]:
    """Words of zeros with some bits set."""
    value = sum(1 << bit for bit in set(bits))
    return [(value >> (64 * word)) & (2**64 - 1) for word in range(words)]


@st.composite
def near_prints(draw: st.DrawFn) -> Prints:
    """Prints with many near neighbours and copies: a few bits set in each hash, few qualities, few contents."""
    size = draw(st.integers(0, 24))
    bits = st.lists(st.integers(0, 255), max_size=3)
    pdq = [flipped(4, draw(bits)) for _ in range(size)]
    phash = [flipped(1, [bit % 64 for bit in draw(bits)])[0] for _ in range(size)]
    quality = [draw(st.sampled_from([0, 49, 50, 100])) for _ in range(size)]
    content = [draw(st.integers(-4, 12)) for _ in range(size)]
    return Prints(
        np.array(phash, np.uint64),
        np.array(pdq, np.uint64).reshape(size, 4),
        np.array(quality, np.int32),
        np.array(content, np.int64),
    )


rules = st.builds(Rule, hash=st.sampled_from(HASHES), phash_radius=st.integers(0, 3), pdq_radius=st.integers(0, 3))


def judged(ours: Prints, i: int, theirs: Prints, j: int, rule: Rule) -> tuple[int, int, int, int, int] | None:
    """The entry of a pair as the rule is written, or None: one pair at a time, in Python integers."""
    phash = (int(ours.phash[i]) ^ int(theirs.phash[j])).bit_count()
    pdq = sum((int(a) ^ int(b)).bit_count() for a, b in zip(ours.pdq[i], theirs.pdq[j], strict=True))
    distance = phash if rule.hash == "phash" else pdq
    if ours.content[i] == theirs.content[j]:
        return i, j, 0, phash, pdq
    within = {"phash": phash <= rule.phash_radius, "pdq": pdq <= rule.pdq_radius}
    within["both"] = within["phash"] and within["pdq"]
    good = min(ours.quality[i], theirs.quality[j]) >= rule.min_quality
    return (i, j, distance, phash, pdq) if within[rule.hash] and good else None


def as_tuples(found: Near) -> list[tuple[int, ...]]:
    return list(zip(*(column.tolist() for column in found), strict=True))


def components(size: int, edges: list[tuple[int, ...]]) -> list[int]:
    """The lowest member of each node's component."""
    parent = list(range(size))

    def root(node: int) -> int:
        while parent[node] != node:
            node = parent[node]
        return node

    for i, j, *_ in edges:
        one, other = sorted((root(i), root(j)))
        parent[other] = one
    return [root(node) for node in range(size)]


@settings(max_examples=150, deadline=None)
@given(ours=near_prints(), theirs=near_prints(), rule=rules)
def test_matches_are_those_of_the_rule(ours: Prints, theirs: Prints, rule: Rule) -> None:
    """near_matches gives every pair that the rule, applied to one pair at a time, calls near; once, sorted."""
    pairs = product(range(ours.num_rows), range(theirs.num_rows))
    expected = [entry for i, j in pairs if (entry := judged(ours, i, theirs, j, rule))]
    assert as_tuples(near_matches(ours, theirs, rule)) == expected


@settings(max_examples=150, deadline=None)
@given(prints=near_prints(), rule=rules)
def test_pairs_span_the_clusters_of_the_rule(prints: Prints, rule: Rule) -> None:
    """Each edge of near_pairs is a near pair, none comes twice, and they join what the rule joins."""
    size = prints.num_rows
    expected = [entry for i, j in combinations(range(size), 2) if (entry := judged(prints, i, prints, j, rule))]
    found = as_tuples(near_pairs(prints, rule))
    assert found == sorted(set(found))
    assert set(found) <= set(expected)
    assert components(size, found) == components(size, expected)


def random_prints(size: int) -> Prints:
    random = np.random.default_rng(size)
    return Prints(
        random.integers(0, 2**64, size, dtype=np.uint64),
        random.integers(0, 2**64, (size, 4), dtype=np.uint64),
        np.full(size, 100, np.int32),
        np.arange(size),
    )


@pytest.mark.parametrize("hash", HASHES)
def test_without_copies_all_pairs_are_edges(hash: Literal["phash", "pdq", "both"]) -> None:
    """Where no prints are equal, near_pairs gives every near pair and not just a spanning set."""
    prints = random_prints(200)
    pdq, phash = prints.pdq.copy(), prints.phash.copy()
    pdq[1:4], phash[1:4] = pdq[0], phash[0]
    pdq[1:4, 2] ^= np.array([1, 2, 4], np.uint64)
    phash[1:4] ^= np.array([1, 2, 4], np.uint64)
    found = near_pairs(prints._replace(phash=phash, pdq=pdq), Rule(hash))
    assert list(zip(found.i.tolist(), found.j.tolist(), strict=True)) == list(combinations(range(4), 2))
    assert found.distance.tolist() == [1, 1, 1, 2, 2, 2]


@pytest.mark.parametrize("hash", HASHES)
def test_copies_are_edges_to_the_first(hash: Literal["phash", "pdq", "both"]) -> None:
    """Of 300,000 images with equal hashes each has one edge, to the first; the same for equal content."""
    one = random_prints(1)
    copies = one.take(np.zeros(300_000, np.int64))
    of_hash = near_pairs(copies._replace(content=np.arange(300_000)), Rule(hash))
    of_content = near_pairs(copies._replace(quality=np.zeros(300_000, np.int32)), Rule(hash))
    for found in (of_hash, of_content):
        assert found.i.tolist() == [0] * 299_999
        assert found.j.tolist() == list(range(1, 300_000))
        assert not found.distance.any()


def test_low_quality_is_near_to_equal_content_only() -> None:
    """Two blank images with the same hashes are no near-duplicates, unless their bytes are the same."""
    prints = random_prints(1).take(np.zeros(4, np.int64))
    prints = prints._replace(quality=np.array([49, 49, 49, 100], np.int32), content=np.array([1, 2, 1, 3]))
    assert as_tuples(near_pairs(prints, Rule())) == [(0, 2, 0, 0, 0)]
    assert as_tuples(near_matches(prints, prints.take(slice(0, 1)), Rule())) == [(0, 0, 0, 0, 0), (2, 0, 0, 0, 0)]


def test_equal_content_has_distance_0() -> None:
    """Images of equal content are 0 bits apart by the rule; the distances of their hashes are told beside it."""
    prints = random_prints(2)
    prints = prints._replace(content=np.array([5, 5]))
    found = near_pairs(prints, Rule("pdq"))
    assert found.distance.tolist() == [0]
    assert found.pdq_distance.tolist() == [int(np.bitwise_count(prints.pdq[0] ^ prints.pdq[1]).sum())]


@settings(max_examples=50, deadline=None)
@given(ours=near_prints(), theirs=near_prints(), rule=rules)
def test_pieces_are_bounded_and_make_the_whole(ours: Prints, theirs: Prints, rule: Rule) -> None:
    """Whatever the bound on a piece, all pieces together are the same pairs."""
    whole = as_tuples(near_pairs(ours, rule)), as_tuples(near_matches(ours, theirs, rule))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(near, "CHUNK_ROWS", 3)
        pairs, matches = list(each_pair(ours, rule)), list(each_match(ours, theirs, rule))
    assert (as_tuples(Near.concat(pairs)), as_tuples(Near.concat(matches))) == whole


@pytest.mark.parametrize("crowd", [0, 10**9])
def test_which_hash_is_searched_changes_nothing(crowd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pairs and matches of both hashes are the same whichever of the two finds them."""
    random = np.random.default_rng(3)
    size = 300
    prints = Prints(
        random.integers(0, 8, size, dtype=np.uint64),
        random.integers(0, 4, (size, 4), dtype=np.uint64),
        np.full(size, 100, np.int32),
        np.arange(size),
    )
    rule = Rule(phash_radius=2, pdq_radius=5)
    expected = as_tuples(near_pairs(prints, rule)), as_tuples(near_matches(prints, prints.take(slice(0, 50)), rule))
    monkeypatch.setattr(near, "CROWD", crowd)
    assert as_tuples(near_pairs(prints, rule)) == expected[0]
    assert as_tuples(near_matches(prints, prints.take(slice(0, 50)), rule)) == expected[1]
    assert len(expected[0]) > 1000


@pytest.mark.parametrize("crowded", ["phash", "pdq"])
def test_a_crowded_hash_is_not_searched(crowded: str) -> None:
    """Of 200,000 pictures with one pHash and PDQs of their own (a template), or one PDQ, planted pairs are found."""
    random = np.random.default_rng(4)
    size, num_planted = 200_000, 40
    prints = Prints(
        random.integers(0, 2**64, size, dtype=np.uint64),
        random.integers(0, 2**64, (size, 4), dtype=np.uint64),
        np.full(size, 100, np.int32),
        np.arange(size),
    )
    first, last = slice(0, num_planted), slice(size - num_planted, size)
    prints.phash[last], prints.pdq[last] = prints.phash[first] ^ np.uint64(3), prints.pdq[first] ^ np.uint64(1)
    if crowded == "phash":
        prints.phash[:] = np.uint64(7)
    else:
        prints.pdq[:] = np.uint64(7)
    found = near_pairs(prints, Rule(phash_radius=4))  # by chance alone there are none
    assert list(zip(found.i, found.j, strict=True)) == [(i, size - num_planted + i) for i in range(num_planted)]
