"""Exact nearest neighbours over descriptors, by FAISS's inner products. Shapes: M references, Q queries, D size."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from wit.errors import InputError

F32 = npt.NDArray[np.float32]
I64 = npt.NDArray[np.int64]

QUERIES_AT_ONCE = 4096  # of 10 neighbours and a few spare: 1 MB of candidates
_SPARE = 8  # neighbours asked for beyond `k`: FAISS sums in float32, in an order of its own
_DECIMALS = 6  # of a similarity; the sums of two machines agree in more


class Nearest(NamedTuple):
    """Pairs by query, then the nearest first: equal similarities in the order of the references."""

    query: I64
    reference: I64
    similarity: F32
    """Cosine, to six decimals."""


def nearest(references_MD: F32, queries_QD: F32, k: int, min_similarity: float) -> Nearest:
    """Return for each query its `k` nearest references of a cosine of at least `min_similarity`.

    Exact: every pair is compared; vectors are of unit length. Equal references are searched once, so that a million
    blank pictures cost and hide nothing: the first `k` of them are given. Raises InputError when the two sides have
    vectors of different sizes.
    """
    if not len(references_MD) or not len(queries_QD):
        return _concat([])
    if references_MD.shape[1] != queries_QD.shape[1]:
        raise InputError(
            f"expected vectors of one size, found {references_MD.shape[1]} and {queries_QD.shape[1]}; "
            "describe both sides with one descriptor"
        )
    groups = _Groups.of(references_MD)
    index = _index(references_MD[groups.first])
    starts = range(0, len(queries_QD), QUERIES_AT_ONCE)
    return _concat([_search(index, references_MD, groups, queries_QD, start, k, min_similarity) for start in starts])


class _Groups(NamedTuple):
    """References with equal vectors: `order` has the members of group g at starts[g] : starts[g] + counts[g]."""

    first: I64
    order: I64
    starts: I64
    counts: I64

    @classmethod
    def of(cls, vectors_MD: F32) -> _Groups:
        rows = np.ascontiguousarray(vectors_MD)
        whole = rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))).ravel()
        _, first, inverse, counts = np.unique(whole, return_index=True, return_inverse=True, return_counts=True)
        order = np.argsort(inverse.ravel(), kind="stable")
        return cls(first, order, np.cumsum(counts) - counts, counts)


def _index(vectors_GD: F32) -> object:
    import faiss

    faiss.omp_set_num_threads(1)  # processes share the work above
    index = faiss.IndexFlatIP(vectors_GD.shape[1])
    index.add(np.ascontiguousarray(vectors_GD, np.float32))
    return index


def _search(
    index: object, references_MD: F32, groups: _Groups, queries_QD: F32, start: int, k: int, min_similarity: float
) -> Nearest:
    """Return the pairs of the queries from `start` on."""
    queries = np.ascontiguousarray(queries_QD[start : start + QUERIES_AT_ONCE], np.float32)
    num_candidates = min(k + _SPARE, len(groups.first))
    similarity_QK, group_QK = index.search(queries, num_candidates)  # type: ignore[attr-defined]
    near_enough = similarity_QK >= min_similarity - 1e-4  # judged anew below
    query, group = np.nonzero(near_enough)[0], group_QK[near_enough]
    similarity = _similarities(queries[query], references_MD[groups.first[group]])
    is_in = similarity >= np.float32(min_similarity)
    query, group, similarity = query[is_in], group[is_in], similarity[is_in]
    num_members = np.minimum(groups.counts[group], k)
    pair = np.repeat(np.arange(len(group)), num_members)
    place = np.arange(len(pair)) - np.repeat(np.cumsum(num_members) - num_members, num_members)
    reference = groups.order[groups.starts[group[pair]] + place]
    return _first_k(query[pair] + start, reference, similarity[pair], k)


def _similarities(left_ND: F32, right_ND: F32) -> F32:
    products: npt.NDArray[np.float64] = np.einsum("nd,nd->n", left_ND, right_ND, dtype=np.float64)
    return np.round(products, _DECIMALS).astype(np.float32)


def _first_k(query: I64, reference: I64, similarity: F32, k: int) -> Nearest:
    order = np.lexsort((reference, -similarity, query))
    query, reference, similarity = query[order], reference[order], similarity[order]
    _, begins, counts = np.unique(query, return_index=True, return_counts=True)
    is_in = np.arange(len(query)) - np.repeat(begins, counts) < k
    return Nearest(query[is_in], reference[is_in], similarity[is_in])


def _concat(parts: list[Nearest]) -> Nearest:
    empty = Nearest(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))
    return Nearest(*(np.concatenate(columns) for columns in zip(empty, *parts, strict=True)))
