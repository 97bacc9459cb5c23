"""Compiled parts of wit.resizing: the weights of a filter, and the rows of a plane resampled."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from wit.compiled import inlined, kernel

U8 = npt.NDArray[np.uint8]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]

STEPS = 1024
"""Entries of a filter's table from one sample to the next; between them it is taken for straight: 4.4e-7 off."""
WEIGHT_BITS = 18
"""Weights are integers that add up to about 1 << 18. Their sizes add up to 1.3 of that: times 255, within 31 bits."""
TILE = 16
"""Rows that are transposed at a time."""


@inlined
def _filter(table: F64, distance: Any) -> Any:
    """Return the filter at a distance in steps; 0 beyond its end."""
    at = min(distance, len(table) - 2.0)
    whole = np.int64(at)
    return table[whole] + (at - whole) * (table[whole + 1] - table[whole])


@kernel
def fill_weights(table: F64, size: int, begin: float, extent: float, starts: I64, weights: I32) -> None:
    """Fill in the first sample and the weights of each pixel: those of `extent` of `size` samples, from `begin` on.

    `table` has the filter, STEPS entries a lobe. Samples beyond the ends have no weight, the others the more.
    """
    num, room = len(starts), weights.shape[1]
    step = extent / num
    stretch = max(step, 1.0)
    support = (len(table) - 2) / STEPS * stretch
    for i in range(num):
        centre = begin + (i + 0.5) * step
        first: Any = min(max(np.int64(np.floor(centre - support + 0.5)), 0), size - 1)
        last: Any = min(np.int64(np.floor(centre + support + 0.5)), size, first + room)
        last = max(last, first + 1)
        starts[i] = first
        total = 0.0
        for k in range(first, last):
            total += _filter(table, abs(k + 0.5 - centre) / stretch * STEPS)
        for k in range(room):
            weight = 0.0
            if first + k < last:
                weight = _filter(table, abs(first + k + 0.5 - centre) / stretch * STEPS) / total
            weights[i, k] = np.int32(np.floor(weight * (1 << WEIGHT_BITS) + 0.5))


@kernel
def resample_rows(plane: U8, num_rows: int, starts: I64, weights: I32, sums: I32, tile: U8, transposed: U8) -> None:
    """Write weighted sums of the first `num_rows` rows of a plane as the columns of `transposed`.

    transposed (columns, pixels): as many columns as it has rows are read of each row of the plane. There are four
    weights to a row, or a multiple; sums (columns,) and tile (TILE, columns) are room. Four rows at a time go through
    the sums, in a loop that the compiler makes vectors of.
    """
    num_columns, last = len(transposed), num_rows - 1
    for begin in range(0, len(starts), TILE):
        end = min(begin + TILE, len(starts))
        for i in range(begin, end):
            sums[:] = 1 << (WEIGHT_BITS - 1)
            for k in range(0, weights.shape[1], 4):
                at = starts[i] + k
                if at > last:
                    break
                row_0, row_1 = plane[at], plane[min(at + 1, last)]
                row_2, row_3 = plane[min(at + 2, last)], plane[min(at + 3, last)]
                w_0, w_1, w_2, w_3 = weights[i, k], weights[i, k + 1], weights[i, k + 2], weights[i, k + 3]
                for c in range(num_columns):
                    two = w_0 * np.int32(row_0[c]) + w_1 * np.int32(row_1[c])
                    sums[c] += two + w_2 * np.int32(row_2[c]) + w_3 * np.int32(row_3[c])
            line = tile[i - begin]
            for c in range(num_columns):
                line[c] = np.uint8(min(max(sums[c] >> np.int32(WEIGHT_BITS), np.int32(0)), np.int32(255)))
        for c in range(num_columns):
            for i in range(end - begin):
                transposed[c, begin + i] = tile[i, c]


@kernel
def count_levels(plane: U8, counts: I64) -> None:
    """Add the pixels of each level, 0 to 255, to counts (4, 256): four in turn, so that none waits for the last."""
    for line in plane:
        for column in range(len(line)):
            counts[column & 3, line[column]] += 1
