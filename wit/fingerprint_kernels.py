"""Compiled part of wit.fingerprint: a plane smoothed and sampled at few places, in whole numbers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from wit.compiled import kernel

U8 = npt.NDArray[np.uint8]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]

WEIGHT_BITS = 14
"""The weights of a place add up to 1 << 14; they are not negative, so 255 times them is within 22 bits."""
PICTURE_BITS = 12
"""Levels are given as whole numbers of 1 / (1 << 12)."""


@kernel
def smooth(
    plane: U8, columns: int, down: I64, down_weights: I32, across: I64, across_weights: I32, sums: I32, picture: I32
) -> None:
    """Write the weighted means of a plane around each place (row, column) into `picture` (rows, columns).

    down (rows,) and across (columns,) are the first sample of each place, beside them the weights of that and the next
    samples; those beyond the last one are 0. Of the plane `columns` samples a row are used; sums (columns,) is room.
    """
    half = np.int64(1) << np.int64(2 * WEIGHT_BITS - PICTURE_BITS - 1)
    last_row, last_column = len(plane) - 1, columns - 1
    for i in range(len(down)):
        sums[:] = 0
        for k in range(down_weights.shape[1]):
            weight = down_weights[i, k]
            if weight == 0:
                continue
            row = plane[min(down[i] + k, last_row)]
            for c in range(columns):
                sums[c] += weight * np.int32(row[c])
        for j in range(len(across)):
            total = half
            for k in range(across_weights.shape[1]):
                total += np.int64(across_weights[j, k]) * np.int64(sums[min(across[j] + k, last_column)])
            picture[i, j] = np.int32(total >> np.int64(2 * WEIGHT_BITS - PICTURE_BITS))
