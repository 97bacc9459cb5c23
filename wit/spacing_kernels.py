"""How the published rule of MetaCLIP spaces captions: see `wit.matching`."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from wit.compiled import kernel

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]

MAX_SPACED = 3
"""A mark is written as three bytes."""

_SPACE = np.uint8(ord(" "))


@kernel
def space_marks(text: U8, offsets: I64, kinds: U8, out: U8, ends: I64) -> None:
    """Write each text with its bytes as `kinds` wants them: 0 as it is, 1 a space, 2 between two spaces.

    `out` has room for MAX_SPACED times the bytes of the texts.
    """
    o = 0
    ends[0] = 0
    for row in range(len(offsets) - 1):
        for i in range(offsets[row], offsets[row + 1]):
            kind = kinds[text[i]]
            if kind == 0:
                out[o] = text[i]
                o += 1
            elif kind == 1:
                out[o] = _SPACE
                o += 1
            else:
                out[o], out[o + 1], out[o + 2] = _SPACE, text[i], _SPACE
                o += 3
        ends[row + 1] = o
