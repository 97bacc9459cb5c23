"""Pointwise mutual information: its definition, its normal form, and many at once equal to one at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from queries.association import associations, normalised_pmi, pointwise_mutual_information


@pytest.mark.parametrize(
    ("pair", "first", "second", "num_words", "num_pairs", "expected"),
    [
        (8, 8, 8, 1024, 1024, 7.0),  # always together: log2(N / c)
        (1, 32, 32, 1024, 1024, 0.0),  # as often as chance
        (20, 28, 28, 64_000, 60_000, math.log2(20 / 60_000 / (28 / 64_000) ** 2)),
        (10**9, 10**10, 10**10, 10**12, 10**12, math.log2(10)),
    ],
)
def test_pointwise_mutual_information(
    pair: int, first: int, second: int, num_words: int, num_pairs: int, expected: float
) -> None:
    """The formula gives what its definition gives by hand."""
    found = pointwise_mutual_information(pair, first, second, num_words, num_pairs)
    assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("pair", "first", "second", "total", "expected"),
    [
        (8, 8, 8, 1024, 1.0),  # never apart
        (1, 32, 32, 1024, 0.0),  # as often as chance
        (1, 512, 512, 1024, -0.8),  # log2(2^10 / 2^18) / log2(2^10)
        (7, 7, 7, 7, 1.0),  # nothing else was seen
    ],
)
def test_normalised_pmi(pair: int, first: int, second: int, total: int, expected: float) -> None:
    """Bouma's landmarks: 1 for words that are never apart, 0 for chance, negative below it."""
    pmi = pointwise_mutual_information(pair, first, second, total, total)
    assert normalised_pmi(pmi, pair, total) == pytest.approx(expected, abs=1e-12)


COUNTS = st.integers(1, 2**40)


@given(
    rows=st.lists(st.tuples(COUNTS, COUNTS, COUNTS), max_size=30),
    sentences=st.integers(0, 2**30),
    floor=st.sampled_from([None, -20.0, 0.0, 8.0]),
    place=st.integers(0, 1000),
)
def test_many_at_once_are_one_at_a_time(
    rows: list[tuple[int, int, int]], sentences: int, floor: float | None, place: int
) -> None:
    """Rows kept, PMI and NPMI equal those of the functions to the last bit, also with a floor that is a row's PMI."""
    rows = [(pair, max(pair, first), max(pair, second)) for pair, first, second in rows]
    num_pairs = sum(pair for pair, _, _ in rows) + 1
    num_words = max([num_pairs + sentences, *(sum(words) for _, *words in rows)])
    every = [pointwise_mutual_information(*row, num_words, num_pairs) for row in rows]
    if floor is not None and every:
        floor = [floor, every[place % len(every)], math.nextafter(every[place % len(every)], 99)][place % 3]
    columns = np.array(rows, np.int64).reshape(-1, 3).T
    kept, pmi, npmi = associations(*columns, num_words, num_pairs, floor)
    expected = [index for index, value in enumerate(every) if floor is None or value >= floor]
    assert kept.tolist() == expected
    assert pmi.tolist() == [every[index] for index in expected]
    assert npmi.tolist() == [normalised_pmi(every[index], rows[index][0], num_pairs) for index in expected]
    assert all(-1 <= value <= 1 for value in npmi)
