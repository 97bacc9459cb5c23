from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("faiss")

from wit import descriptor_search
from wit.descriptor_search import F32, nearest
from wit.errors import InputError


def unit(vectors: F32) -> F32:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def drawn(seed: int, count: int, size: int, num_distinct: int) -> F32:
    """Return vectors of which many are equal, and many cosines are."""
    rng = np.random.default_rng(seed)
    palette = unit(rng.integers(-2, 3, (num_distinct, size)) + np.full(size, 0.25))
    return palette[rng.integers(0, num_distinct, count)]


def brute(references: F32, queries: F32, k: int, least: float) -> list[tuple[int, int, float]]:
    """Return the pairs by the definition: every cosine, sorted by (-cosine, reference)."""
    cosines = np.round(queries.astype(np.float64) @ references.astype(np.float64).T, 6).astype(np.float32)
    return [
        (query, reference, float(cosines[query, reference]))
        for query in range(len(queries))
        for reference in sorted(range(len(references)), key=lambda j: (-cosines[query, j], j))[:k]
        if cosines[query, reference] >= np.float32(least)
    ]


@settings(max_examples=60)
@given(
    seed=st.integers(0, 1 << 30),
    sizes=st.tuples(st.integers(1, 60), st.integers(1, 30)),
    size=st.integers(1, 9),
    num_distinct=st.integers(1, 40),
    k=st.integers(1, 12),
    least=st.sampled_from([-1.0, 0.0, 0.5, 0.9, 1.0]),
)
def test_neighbours_are_those_of_every_comparison(
    seed: int, sizes: tuple[int, int], size: int, num_distinct: int, k: int, least: float
) -> None:
    """Equal vectors and equal cosines included, the pairs and their order are those of the definition."""
    references = drawn(seed, sizes[0], size, num_distinct)
    queries = drawn(seed, sizes[1], size, num_distinct)
    found = nearest(references, queries, k, least)
    assert list(zip(*(column.tolist() for column in found), strict=True)) == brute(references, queries, k, least)


def test_planted_copies_are_found() -> None:
    """Of 20,000 directions at random, each query's nearest is the one that it was made from, at the planted cosine."""
    rng = np.random.default_rng(0)
    references = unit(rng.standard_normal((20_000, 64)).astype(np.float32))
    sources = rng.permutation(len(references))[:500]
    noise = unit(rng.standard_normal((500, 64)).astype(np.float32))
    queries = unit(references[sources] + 0.3 * noise)
    found = nearest(references, queries, 1, 0.9)
    assert found.query.tolist() == list(range(500))
    assert found.reference.tolist() == sources.tolist()
    expected = np.einsum("nd,nd->n", queries.astype(np.float64), references[sources].astype(np.float64))
    np.testing.assert_allclose(found.similarity, expected, atol=1e-6)


def test_a_million_equal_references_are_one() -> None:
    """A hot vector does not hide its neighbours, nor yield more than k of its copies."""
    references = np.zeros((200_003, 4), np.float32)
    references[:, 0] = 1
    references[7], references[8] = unit(np.array([[1, 0.1, 0, 0], [1, 0.2, 0, 0]], np.float32))
    found = nearest(references, references[7:8], 3, 0.0)
    assert found.reference.tolist() == [7, 8, 0] or found.reference.tolist() == [7, 0, 1]
    assert len(nearest(references, references[:1], 10, 0.0).reference) == 10


def test_pieces_of_queries_are_one_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """Queries are searched a bounded number at a time, which shows in nothing."""
    references, queries = drawn(1, 300, 8, 200), drawn(2, 100, 8, 200)
    whole = nearest(references, queries, 5, 0.2)
    monkeypatch.setattr(descriptor_search, "QUERIES_AT_ONCE", 7)
    for left, right in zip(whole, nearest(references, queries, 5, 0.2), strict=True):
        np.testing.assert_array_equal(left, right)


def test_nothing_to_compare_is_no_pairs() -> None:
    """An empty side has no pairs; vectors of different sizes are a mistake that says what to do."""
    some = unit(np.ones((3, 4), np.float32))
    assert len(nearest(np.empty((0, 0), np.float32), some, 5, 0.0).query) == 0
    assert len(nearest(some, np.empty((0, 0), np.float32), 5, 0.0).query) == 0
    with pytest.raises(InputError, match="expected vectors of one size, found 4 and 5; describe both sides"):
        nearest(some, np.ones((1, 5), np.float32), 5, 0.0)
