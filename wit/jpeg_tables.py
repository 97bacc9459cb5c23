"""Tables of JPEGs: out of their segments, and as the kernels want them (ITU-T T.81, "T.81" below)."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from wit import jpeg_kernels as kernels
from wit import jpeg_progressive_kernels as passes

U8 = npt.NDArray[np.uint8]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
MAX_TABLE_BYTES = 16 + 256  # counts, and as many symbols as a byte has values


def tables_in(content: bytes) -> list[tuple[int, bytes]] | None:
    """Return (class << 4 | number, bytes) of the tables in a DHT segment; None: not plain (T.81 B.2.4.2)."""
    tables = []
    while content:
        size = sum(content[1:17]) + 16
        number, table, content = content[0], content[1 : 1 + size], content[1 + size :]
        if len(table) != size or size > MAX_TABLE_BYTES or number & 0xEC:
            return None
        tables.append((number, table))
    return tables


@lru_cache(maxsize=64)  # 18 kB each
def symbols(table: bytes) -> tuple[I64, I32] | None:
    """Return what passes.decode_pass looks the symbols of a table of DHT up in; None: it is no prefix code."""
    lookup = np.empty(1 << kernels.LOOKUP_BITS, np.int64)
    codes = np.empty(kernels.CODES_LENGTH, np.int32)
    values = np.frombuffer(table, np.uint8)
    return (lookup, codes) if passes.fill_symbols(values[:16], values[16:], lookup, codes) else None


def _zigzag() -> U8:
    """Return the place in a block, row by row, of each place in zigzag order (T.81 figure A.6)."""
    order = sorted(
        ((row, column) for row in range(8) for column in range(8)),
        key=lambda at: (at[0] + at[1], at[0] if (at[0] + at[1]) % 2 else at[1]),
    )
    places = np.full(kernels.NUM_PLACES, kernels.SPARE_PLACE, np.uint8)
    places[:64] = [8 * row + column for row, column in order]
    return places


NATURAL = _zigzag()
"""For each place in zigzag order its place row by row; kernels.SPARE_PLACE for what is beyond a block."""
