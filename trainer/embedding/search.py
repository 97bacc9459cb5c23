"""Exact search: of all embeddings in a folder the k nearest to each query, by cosine.

Shapes: N rows of a block, Q queries, D embedding, K hits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from trainer.embedding.encoder import Embeddings
from trainer.embedding.folder import EmbeddingFolder
from wit.errors import InputError

GRID = 2.0**24
"""Numbers are rounded to multiples of 1 / GRID, as every fp16 is one.

Products are multiples of 2^-48 then, and sums of unit vectors stay under 2^4, so fp64 holds each without rounding: a
score does not hang on the order of adding, the size of a block or the number of threads, and equal rows score equally.
What rounding an fp32 embedding changes of a cosine is below D^(1/2) 2^-25: 1e-6 at 1,024 dimensions.
"""
BLOCK_ROWS = 8_192  # in fp32 at once: 34 MB at 1,024 dimensions


def rough_error(dim: int) -> float:
    """Return a bound of how far an fp32 product of unit vectors is from the one on the grid.

    D roundings of 2^-24 for each of the sum's terms, whose absolute values add up to 1 at most (Higham, Accuracy and
    Stability of Numerical Algorithms, section 3.1), the grid's own, and a quarter for lengths that are not quite 1.
    """
    return float(1.25 * (dim + dim**0.5) * 2.0**-24)


@dataclass(frozen=True)
class Hit:
    """A row that was found."""

    rank: int
    """From 1."""
    score: float
    """Cosine with the query."""
    part: int
    place: int
    """Row in its part."""
    row: dict[str, Any]
    """What the table says of it: of EMBEDDED_IMAGES or EMBEDDED_TEXTS."""


@dataclass(frozen=True)
class _Best:
    """The best rows so far of one query, the best first, of equal scores the first in the folder; each array (K,)."""

    scores: NDArray[np.float64]
    parts: NDArray[np.int64]
    places: NDArray[np.int64]


def search(
    folder: EmbeddingFolder,
    table: str,
    query_QD: Embeddings,
    k: int,
    advance: Callable[[int], None] = lambda _: None,
) -> list[list[Hit]]:
    """Return the `k` nearest rows of a table for each query, the best first, of equal ones the first in the folder.

    Exact and deterministic: see GRID. Memory: one part. `advance(n)` is called as n more rows are seen. Raises
    InputError for a part that is not what the manifest says, or holds what is no number.
    """
    query = _on_grid(torch.from_numpy(query_QD))
    empty = np.empty(0, np.int64)
    best = [_Best(np.empty(0), empty, empty) for _ in query]
    for part, vectors in folder.vectors(table):
        for start in range(0, len(vectors), BLOCK_ROWS):
            block = torch.from_numpy(vectors[start : start + BLOCK_ROWS].copy())  # Arrow's memory is not to be written
            rough_QN = (query.float() @ block.float().T).numpy()
            if not np.isfinite(rough_QN).all():
                raise InputError(f"{folder.url}: part {part}: expected embeddings of finite numbers, found others")
            near = _near(best, rough_QN, k, 2 * rough_error(folder.dim))
            score_Qn = (query @ _on_grid(block[near]).T).numpy()
            found = zip(best, score_Qn, strict=True)
            best = [_merged(old, scores, part, start + near, k) for old, scores in found]
        advance(len(vectors))
    return _hits(folder, table, best)


def _on_grid(vectors: torch.Tensor) -> torch.Tensor:
    if vectors.dtype == torch.float16:
        return vectors.double()
    return (vectors.double() * GRID).round() / GRID


def _near(best: list[_Best], rough_QN: NDArray[np.float32], k: int, margin: float) -> NDArray[np.int64]:
    """Return the rows of a block that may be among the best `k` of any query; scores are off by half of `margin`."""
    count = min(k, rough_QN.shape[1])
    floor_Q = np.partition(rough_QN, -count, axis=1)[:, -count] if count == k else np.full(len(best), -np.inf)
    known_Q = np.array([old.scores[-1] if len(old.scores) == k else -np.inf for old in best])
    floor_Q1 = np.maximum(floor_Q, known_Q)[:, None] - margin
    return np.flatnonzero((rough_QN >= floor_Q1).any(axis=0))


def _merged(old: _Best, scores_n: NDArray[np.float64], part: int, places_n: NDArray[np.int64], k: int) -> _Best:
    """Return the best of those before and of some rows, which come after all of those before."""
    scores = np.concatenate([old.scores, scores_n])
    parts = np.concatenate([old.parts, np.full(len(places_n), part)])
    places = np.concatenate([old.places, places_n])
    order = np.argsort(-scores, kind="stable")[:k]
    return _Best(scores[order], parts[order], places[order])


def _hits(folder: EmbeddingFolder, table: str, best: list[_Best]) -> list[list[Hit]]:
    """Return hits with their rows; a part's table is read once."""
    wanted: dict[int, set[int]] = {}
    for one in best:
        for part, place in zip(one.parts.tolist(), one.places.tolist(), strict=True):
            wanted.setdefault(part, set()).add(place)
    rows: dict[tuple[int, int], dict[str, Any]] = {}
    for part, places in sorted(wanted.items()):
        ordered = np.array(sorted(places), np.int64)
        found = folder.rows(table, part, ordered)
        rows |= {(part, place): row for place, row in zip(ordered.tolist(), found, strict=True)}
    return [[Hit(*each, rows[each[2], each[3]]) for each in _ranked(one)] for one in best]


def _ranked(best: _Best) -> Iterator[tuple[int, float, int, int]]:
    found = zip(best.scores.tolist(), best.parts.tolist(), best.places.tolist(), strict=True)
    for rank, (score, part, place) in enumerate(found, 1):
        yield rank, score, part, place
