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


def tables_in(content: bytes, length: int | None = None) -> list[tuple[int, bytes]] | None:
    """Return (number, bytes) of the tables in a DHT segment (class << 4 | number), or of `length` bytes in a DQT one.

    None: not plain (T.81 B.2.4.1 and B.2.4.2; of 16-bit factors there are none at 8 bits a sample).
    """
    tables = []
    while content:
        size = length or sum(content[1:17]) + 16
        number, table, content = content[0], content[1 : 1 + size], content[1 + size :]
        if len(table) != size or number & (0xFC if length else 0xEC):
            return None
        tables.append((number, table))
    return tables


@lru_cache(maxsize=64)  # 70 kB each; most of the web's files have one of a few sets of tables
def lookups(tables: tuple[tuple[bool, bytes], ...]) -> tuple[I64, I32] | None:
    """Return what kernels.decode_scan looks codes up in, a row for each table; None: one is no prefix code.

    Tables are (whether of DC, counts and symbols as DHT has them).
    """
    lookup = np.empty((len(tables), 1 << kernels.LOOKUP_BITS), np.int64)
    codes = np.empty((len(tables), kernels.CODES_LENGTH), np.int32)
    for i, (is_dc, table) in enumerate(tables):
        values = np.frombuffer(table, np.uint8)
        if not kernels.fill_table(values[:16], values[16:], is_dc, lookup[i], codes[i]):
            return None
    return lookup, codes


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
