"""The radius search is exact, whatever the hashes, their width, their number and the cuts."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wit import hamming
from wit.hamming import each_match_within, each_pair_within, matches_within, pairs_within
from wit.hamming_plan import MAX_WIDTH, flips, plan, shares

WIDTHS = (1, 2, 4)


@st.composite
def clustered_hashes(draw: st.DrawFn, num_words: int) -> np.ndarray:
    """Hashes with many near neighbours and copies: a few centres, each with up to 8 bits flipped."""
    num_bits = 64 * num_words
    centres = draw(st.lists(st.integers(0, 2**num_bits - 1), min_size=1, max_size=4))
    bits = st.lists(st.integers(0, num_bits - 1), max_size=8)
    members = draw(st.lists(st.tuples(st.sampled_from(centres), bits), max_size=40))
    values = [centre ^ sum(1 << bit for bit in set(chosen)) for centre, chosen in members]
    words = [[value >> (64 * word) & (2**64 - 1) for word in range(num_words)] for value in values]
    hashes = np.array(words, dtype=np.uint64).reshape(len(values), num_words)
    return hashes[:, 0] if num_words == 1 else hashes


def brute_force(hashes: np.ndarray, references: np.ndarray, radius: int) -> list[tuple[int, int, int]]:
    """Every (i, j, distance) by comparing all with all."""
    if hashes.ndim == 1:
        hashes, references = hashes[:, None], references[:, None]
    distances = np.bitwise_count(hashes[:, None] ^ references[None, :]).sum(axis=2)
    return [(int(i), int(j), int(distances[i, j])) for i, j in np.argwhere(distances <= radius)]


def brute_pairs(hashes: np.ndarray, radius: int) -> list[tuple[int, int, int]]:
    return [found for found in brute_force(hashes, hashes, radius) if found[0] < found[1]]


def as_tuples(found: hamming.Matches) -> list[tuple[int, int, int]]:
    return list(zip(*(column.tolist() for column in found), strict=True))


@pytest.fixture(params=["chosen", "many bands", "hot"], scope="class")
def cuts(request: pytest.FixtureRequest) -> Iterator[None]:
    """Ways to search that small inputs would not take by themselves.

    Many bands: cut as a thousand hashes and more would be. Hot: joins of more than twelve
    comparisons begin anew.
    """
    with pytest.MonkeyPatch.context() as patch:
        if request.param != "chosen":
            patch.setattr(hamming, "FEW_COMPARISONS", 0)
            patch.setattr(hamming, "plan", lambda bits, radius, *_: plan(bits, radius, 11, 11, True))
        if request.param == "hot":
            patch.setattr(hamming, "HOT_COMPARISONS", 12)
        yield


@pytest.mark.usefixtures("cuts")
class TestAgainstBruteForce:
    """Both searches give exactly what comparing all with all gives."""

    @settings(max_examples=60, deadline=None)
    @given(data=st.data(), num_words=st.sampled_from(WIDTHS), radius=st.integers(0, 12))
    def test_pairs(self, data: st.DataObject, num_words: int, radius: int) -> None:
        """Every pair i < j within the radius, once, sorted, with its distance; copies included."""
        hashes = data.draw(clustered_hashes(num_words))
        assert as_tuples(pairs_within(hashes, radius)) == brute_pairs(hashes, radius)

    @settings(max_examples=60, deadline=None)
    @given(data=st.data(), num_words=st.sampled_from(WIDTHS), radius=st.integers(0, 12))
    def test_matches(self, data: st.DataObject, num_words: int, radius: int) -> None:
        """Every (hash, reference) within the radius, repeats included; half of one side taken from the other."""
        hashes, references = data.draw(clustered_hashes(num_words)), data.draw(clustered_hashes(num_words))
        references = np.concatenate([references, hashes[: len(hashes) // 2] ^ np.uint64(5)])
        assert as_tuples(matches_within(hashes, references, radius)) == brute_force(hashes, references, radius)


@pytest.mark.parametrize(("num_words", "radius"), [(1, 22), (2, 40), (4, 96)])
def test_a_wide_radius(num_words: int, radius: int) -> None:
    """Radii that chance alone meets often, up to all pairs."""
    random = np.random.default_rng(radius)
    hashes = random.integers(0, 2**64, (60, num_words), dtype=np.uint64)
    for within in (radius, 64 * num_words - 1):
        assert as_tuples(pairs_within(hashes, within)) == brute_pairs(hashes, within)


def planted(num_hashes: int, num_words: int, radius: int) -> tuple[np.ndarray, set[tuple[int, int]]]:
    """Random hashes of which the last 500 are the first with `radius` bits flipped, and those pairs."""
    random = np.random.default_rng(radius)
    hashes = random.integers(0, 2**64, (num_hashes, num_words), dtype=np.uint64)
    for row in range(500):
        hashes[row - 500] = hashes[row]
        for bit in random.choice(64 * num_words, radius, replace=False):
            hashes[row - 500, bit // 64] ^= np.uint64(1 << int(bit % 64))
    return hashes, {(row, num_hashes - 500 + row) for row in range(500)}


@pytest.mark.parametrize(("num_words", "radius"), [(1, 3), (1, 6), (1, 10), (2, 10), (4, 31)])
def test_planted_pairs_among_many(num_words: int, radius: int) -> None:
    """Among 200,000 random hashes every planted pair is found; what chance adds is within the radius too."""
    hashes, expected = planted(200_000, num_words, radius)
    i, j, distance = pairs_within(hashes, radius)
    found = set(zip(i.tolist(), j.tolist(), strict=True))
    assert expected <= found
    assert len(found - expected) < 600  # 2e10 pairs, of which 1e-8 are within 10 bits of 64 by chance: 200 (radius 10)
    assert len(found) == len(i)
    assert np.array_equal(np.bitwise_count(hashes[i] ^ hashes[j]).sum(axis=1), distance)
    assert int(distance.max()) == radius


@pytest.mark.parametrize("sizes", [(100, 20_000), (20_000, 100), (3_000, 3_000)])
def test_sides_of_different_sizes(sizes: tuple[int, int]) -> None:
    """Few hashes against many references, and the other way around, give what brute force gives."""
    random = np.random.default_rng(0)
    hashes, references = (random.integers(0, 2**64, size, dtype=np.uint64) for size in sizes)
    for k in range(100):
        references[-k] = hashes[k] ^ np.uint64((1 << k % 9) - 1)
    assert as_tuples(matches_within(hashes, references, 8)) == brute_force(hashes, references, 8)


class TestHotBuckets:
    """Hashes that agree in most bits are searched by the bits in which they do not."""

    @pytest.mark.parametrize("num_words", WIDTHS)
    def test_hashes_that_differ_in_few_bits(self, num_words: int) -> None:
        """2^17 hashes that agree in all bits but 17: exactly 17 x 2^16 pairs are one bit apart."""
        values = np.arange(1 << 17, dtype=np.uint64)
        hashes = np.full((len(values), num_words), 0x0123_4567_89AB_CDEF, np.uint64)
        hashes[:, 0] ^= (values & np.uint64(0xFF)) << np.uint64(3)
        hashes[:, -1] ^= (values >> np.uint64(8)) << np.uint64(40)
        count = sum(len(i) for i, _, _ in each_pair_within(hashes, 1))
        assert count == 17 << 16

    def test_a_hot_bucket_among_many(self) -> None:
        """Of 300,000 hashes a third agrees in all but 20 bits, all in the same places: the planted pairs are found."""
        hashes, expected = planted(300_000, 1, 2)
        random = np.random.default_rng(0)
        hashes[1000:101_000, 0] = random.choice(1 << 20, 100_000, replace=False).astype(np.uint64) << np.uint64(17)
        i, j, _ = pairs_within(hashes, 2)
        assert expected <= set(zip(i.tolist(), j.tolist(), strict=True))
        sample = hashes[1000:2500, 0]
        inside = (i >= 1000) & (j < 2500)
        assert list(zip((i[inside] - 1000).tolist(), (j[inside] - 1000).tolist(), strict=True)) == [
            pair[:2] for pair in brute_pairs(sample, 2)
        ]

    def test_work_begins_anew_in_them(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A word in which 40,000 of 60,000 hashes agree is not compared pair by pair: the other words are searched."""
        calls = []
        search = hamming._search
        monkeypatch.setattr(hamming, "_search", lambda *args: calls.append(len(args[0])) or search(*args))
        random = np.random.default_rng(0)
        hashes = random.integers(0, 2**64, (60_000, 4), dtype=np.uint64)
        hashes[:40_000, 1] = 99
        hashes[17, 2:], hashes[20_000, 2:] = 5, 4
        hashes[17, 0], hashes[20_000, 0] = 5, 4
        assert as_tuples(pairs_within(hashes, 31)) == [(17, 20_000, 3)]
        assert calls[0] == 60_000
        assert 40_000 in calls[1:]


def test_pieces_are_bounded_and_make_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces of 150 pairs at most, or of any size, make the same pairs and matches, in the same order every time."""
    random = np.random.default_rng(1)
    hashes = random.integers(0, 1 << 12, size=2_000, dtype=np.uint64)
    pairs, matches = as_tuples(pairs_within(hashes, 2)), as_tuples(matches_within(hashes, hashes[::-3], 2))
    assert pairs == brute_pairs(hashes, 2)
    monkeypatch.setattr(hamming, "PIECE_ROWS", 150)
    monkeypatch.setattr(hamming, "HOT_ROWS", 1)
    pieces = list(each_pair_within(hashes, 2))
    assert max(len(i) for i, _, _ in pieces) <= 150
    assert sorted(found for piece in pieces for found in as_tuples(piece)) == pairs
    assert [as_tuples(piece) for piece in each_pair_within(hashes, 2)] == [as_tuples(piece) for piece in pieces]
    cut = [found for piece in each_match_within(hashes, hashes[::-3], 2) for found in as_tuples(piece)]
    assert sorted(cut) == matches


@pytest.mark.parametrize("size", [0, 1])
@pytest.mark.parametrize("num_words", WIDTHS)
def test_nothing_to_find(size: int, num_words: int) -> None:
    """No hashes, or one, make no pair; no references, no match."""
    hashes = np.arange(size * num_words, dtype=np.uint64).reshape(size, num_words)
    assert as_tuples(pairs_within(hashes, 3)) == []
    assert as_tuples(matches_within(hashes, hashes[:0], 3)) == []
    assert as_tuples(matches_within(hashes[:0], hashes, 3)) == []


@pytest.mark.parametrize("radius", [0, 3, 63])
def test_equal_hashes_are_each_reported(radius: int) -> None:
    """Copies are pairs of distance 0 at any radius."""
    hashes = np.full(40, 7, np.uint64)
    assert as_tuples(pairs_within(hashes, radius)) == [(i, j, 0) for i in range(40) for j in range(i + 1, 40)]


class TestPlan:
    """Cuts obey the pigeonhole principle whatever they are chosen for."""

    @settings(max_examples=40, deadline=None)
    @given(
        num_bits=st.integers(1, 64),
        radius=st.integers(0, 31),
        logs=st.tuples(st.integers(1, 32), st.integers(1, 32)),
        is_self=st.booleans(),
    )
    def test_thresholds(self, num_bits: int, radius: int, logs: tuple[int, int], is_self: bool) -> None:
        """m bands with thresholds of together radius - m + 1, of bits that there are."""
        radius = min(radius, (num_bits - 1) // 2)
        cuts = plan(num_bits, radius, *logs, is_self)
        assert sum(threshold for _, threshold in cuts) == radius - len(cuts) + 1
        assert sum(width for width, _ in cuts) <= num_bits
        assert all(1 <= width <= MAX_WIDTH for width, _ in cuts)

    @given(radius=st.integers(0, 127), num_parts=st.integers(1, 8))
    def test_shares(self, radius: int, num_parts: int) -> None:
        """Equal parts have equal thresholds, or one less, of the same sum; -1 is the least."""
        thresholds = shares(radius, num_parts)
        assert sum(thresholds) == radius - num_parts + 1
        assert max(thresholds) - min(thresholds) <= 1
        assert min(thresholds) >= -1

    def test_flips(self) -> None:
        """All numbers with up to so many ones, in groups of equal upper bits."""
        numbers, groups = flips(6, 2, 4)
        assert numbers.tolist() == [number for number in range(64) if number.bit_count() <= 2]
        assert [numbers[start] >> 4 for start in groups[:-1].astype(int)] == [0, 1, 2, 3]
        assert groups[-1] == len(numbers)
