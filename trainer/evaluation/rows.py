"""Rows of tables of features that are read when they are needed: to pick, split and join them copies nothing.

Features of a large set do not fit the memory twice, and may be a file that is mapped to it: what fits on them reads
blocks of rows.

Shapes: N rows, D columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
BLOCK_VALUES: Final = 1 << 22
"""Of a block of rows: 16 MB of float32."""


@dataclass(frozen=True, eq=False)
class Rows:
    """Some rows of tables (each of D columns), those of the first table first; NumPy takes it for an array (N, D)."""

    tables: tuple[Floats, ...]
    picked: tuple[NDArray[np.int64], ...]
    """The rows of each table."""

    @staticmethod
    def of(features: Floats | Rows) -> Rows:
        """Return all rows of a table."""
        return features if isinstance(features, Rows) else Rows((features,), (np.arange(len(features)),))

    @property
    def shape(self) -> tuple[int, int]:
        """(N, D)."""
        return sum(len(rows) for rows in self.picked), self.tables[0].shape[1]

    @property
    def ndim(self) -> int:
        """Always 2."""
        return 2

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Floats:
        """Return the rows as an array, which is always a copy."""
        assert copy is not False
        found = np.concatenate([table[rows] for table, rows in zip(self.tables, self.picked, strict=True)])
        return found if dtype is None else found.astype(dtype, copy=False)

    def take(self, rows: NDArray[np.int64]) -> Rows:
        """Return some of the rows, in their order table by table."""
        starts = [0, *accumulate(len(each) for each in self.picked)]
        own = [rows[(rows >= start) & (rows < stop)] - start for start, stop in pairwise(starts)]
        return Rows(self.tables, tuple(each[some] for each, some in zip(self.picked, own, strict=True)))

    def join(self, other: Rows) -> Rows:
        """Return these rows, then the others."""
        return Rows(self.tables + other.tables, self.picked + other.picked)

    def blocks(self) -> Iterator[Floats]:
        """Yield all rows, some at a time, BLOCK_VALUES at most, as arrays of their own."""
        height = max(1, BLOCK_VALUES // max(1, self.shape[1]))
        for table, rows in zip(self.tables, self.picked, strict=True):
            for start in range(0, len(rows), height):
                yield table[rows[start : start + height]]
