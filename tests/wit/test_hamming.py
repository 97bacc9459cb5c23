"""The radius search is exact, whatever the hashes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wit import hamming
from wit.hamming import matches_within, pairs_within


@st.composite
def clustered_hashes(draw: st.DrawFn) -> np.ndarray:
    """Hashes with many near neighbours: a few centres, each with up to 8 bits flipped."""
    centres = draw(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=4))
    flips = st.lists(st.integers(0, 63), max_size=8)
    members = draw(st.lists(st.tuples(st.sampled_from(centres), flips), max_size=40))
    values = [centre ^ sum(1 << bit for bit in set(bits)) for centre, bits in members]
    return np.array(values, dtype=np.uint64)


def brute_force(hashes: np.ndarray, references: np.ndarray, radius: int) -> list[tuple[int, int, int]]:
    """Every (i, j, distance) by comparing all with all."""
    distances = np.bitwise_count(hashes[:, None] ^ references[None, :])
    return [(int(i), int(j), int(distances[i, j])) for i, j in np.argwhere(distances <= radius)]


def as_tuples(found: hamming.Matches) -> list[tuple[int, int, int]]:
    return list(zip(*(column.tolist() for column in found), strict=True))


@pytest.fixture(params=[1, 2, 3, 5])
def extra_blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Force the number of blocks, which small inputs would otherwise never vary."""
    cheap_sorts = 0 if request.param > 1 else 10**9
    monkeypatch.setattr(hamming, "MAX_EXTRA_BLOCKS", request.param)
    monkeypatch.setattr(hamming, "SORT_COST", cheap_sorts)


@pytest.mark.usefixtures("extra_blocks")
class TestAgainstBruteForce:
    """Both searches give exactly what comparing all with all gives."""

    @settings(max_examples=25, deadline=None)
    @given(hashes=clustered_hashes(), radius=st.integers(0, 7))
    def test_pairs(self, hashes: np.ndarray, radius: int) -> None:
        """Every pair i < j within the radius, once, sorted, with its distance."""
        hashes = np.unique(hashes)
        expected = [found for found in brute_force(hashes, hashes, radius) if found[0] < found[1]]
        assert as_tuples(pairs_within(hashes, radius)) == expected

    @settings(max_examples=25, deadline=None)
    @given(both=st.tuples(clustered_hashes(), clustered_hashes()), radius=st.integers(0, 7))
    def test_matches(self, both: tuple[np.ndarray, np.ndarray], radius: int) -> None:
        """Every (hash, reference) within the radius, repeats included; half of one side taken from the other."""
        hashes, references = both
        references = np.concatenate([references, hashes[: len(hashes) // 2] ^ np.uint64(5)])
        assert as_tuples(matches_within(hashes, references, radius)) == brute_force(hashes, references, radius)


def test_planted_pairs_among_many() -> None:
    """Among 200,000 random hashes every planted pair is found, at 3 and at 6 bits; chance adds none at these sizes."""
    random = np.random.default_rng(0)
    hashes = random.integers(0, 2**64, size=200_000, dtype=np.uint64, endpoint=False)
    for radius in (3, 6):
        flips = [sum(1 << int(bit) for bit in random.choice(64, radius, replace=False)) for _ in range(500)]
        edited = hashes[:500] ^ np.array(flips, dtype=np.uint64)
        everything = np.unique(np.concatenate([hashes, edited]))
        i, j, distance = pairs_within(everything, radius)
        found = {(int(a), int(b)) for a, b in zip(everything[i], everything[j], strict=True)}
        planted = {(min(a, b), max(a, b)) for a, b in zip(hashes[:500].tolist(), edited.tolist(), strict=True)}
        assert found == planted
        assert set(distance.tolist()) == {radius}


def test_results_do_not_depend_on_the_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Comparing seven hashes at a time gives the same pairs and matches as all at once."""
    random = np.random.default_rng(1)
    hashes = random.integers(0, 64, size=100, dtype=np.uint64)
    distinct = np.unique(hashes)
    whole = as_tuples(matches_within(hashes, hashes[::-3], 2)), as_tuples(pairs_within(distinct, 2))
    monkeypatch.setattr(hamming, "CHUNK_HASHES", 7)
    assert (as_tuples(matches_within(hashes, hashes[::-3], 2)), as_tuples(pairs_within(distinct, 2))) == whole
    assert all(whole)


@pytest.mark.parametrize("size", [0, 1])
def test_nothing_to_find(size: int) -> None:
    """No hashes, or one, make no pair; no references, no match."""
    hashes = np.arange(size, dtype=np.uint64)
    assert as_tuples(pairs_within(hashes, 3)) == []
    assert as_tuples(matches_within(hashes, hashes[:0], 3)) == []


def test_a_dense_neighbourhood() -> None:
    """All 3,000 hashes agree in all but 12 bits, the hot bucket of a real table: the pairs are still exact."""
    hashes = np.arange(3_000, dtype=np.uint64)
    assert as_tuples(pairs_within(hashes, 1)) == [
        found for found in brute_force(hashes, hashes, 1) if found[0] < found[1]
    ]
