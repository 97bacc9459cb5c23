"""Compiled decoding of a baseline JPEG whose facts are read (wit.jpeg_header_kernels): all of it in one call.

What keeps hostile data inside the arrays is told in wit.jpeg_kernels. The room that a file needs is its header's
arithmetic, which is its caller's; see `decode_baseline`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from wit import jpeg_header_kernels, jpeg_kernels
from wit.compiled import inlined, kernel_upon
from wit.jpeg_header_kernels import (
    AC,
    ACROSS,
    COMPONENT_FACTS,
    COMPONENTS,
    DC,
    DOWN,
    HEIGHT,
    HUFFMAN,
    NUM_COMPONENTS,
    QUANTISER,
    QUANTISERS,
    RESTART_INTERVAL,
    SCAN_AT,
    WIDTH,
)
from wit.jpeg_kernels import NUM_PLACES, decode_scan, fill_table, unstuff

U8 = npt.NDArray[np.uint8]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
F32 = npt.NDArray[np.float32]

TABLE_BYTES = 16 + 256
"""The most that a Huffman table has in a file."""
BLOCK_FACTS, MAX_BLOCKS = 8, 6
"""What decode_scan asks of a block; and of luma and chroma there are so many in an MCU at most."""
NUM_INTS = MAX_BLOCKS * BLOCK_FACTS + 3
NUM_FLOATS = 3 * NUM_PLACES + 65
_EOI = 0xD9
kernel = kernel_upon(jpeg_kernels.__file__, jpeg_header_kernels.__file__)


@inlined
def count_mcus(facts: I64) -> tuple[int, int]:
    """Return the MCUs of a file, across and down: the first component has the most samples in each."""
    across, down = 8 * facts[COMPONENTS + ACROSS], 8 * facts[COMPONENTS + DOWN]
    return (facts[WIDTH] + across - 1) // across, (facts[HEIGHT] + down - 1) // down


@kernel
def plane_shape(facts: I64, component: int, side: int) -> tuple[int, int]:
    """Return (rows, stride) of a component's plane at `side` pixels a block; a block's lines are 8 bytes long."""
    one = facts[COMPONENTS + COMPONENT_FACTS * component :]
    wide, high = count_mcus(facts)
    return high * one[DOWN] * side + 1 if side else 0, wide * one[ACROSS] * side + 8


@kernel
def count_intervals(facts: I64) -> int:
    """Return how many restart intervals a file has, one where there are none."""
    wide, high = count_mcus(facts)
    interval = facts[RESTART_INTERVAL] if facts[RESTART_INTERVAL] else wide * high
    return (wide * high + interval - 1) // interval


@inlined
def _is_kept(table: U8, kept: U8) -> bool:
    is_same = True
    for i in range(len(table)):
        is_same = is_same and table[i] == kept[i]
    return is_same


@kernel
def _take_table(body: U8, place: int, slot: int, kept: U8, lookups: I64, codes: I32) -> bool:
    """Make the Huffman table at body[place] the one of `slot`, unless it is; False where it is no prefix code."""
    size: Any = 16
    for i in range(16):
        size += np.int64(body[place + i])
    table = body[place : place + size]
    if _is_kept(table, kept[slot]):
        return True
    kept[slot, :] = 0xFF  # no table: the counts alone are more than its symbols may be
    if not fill_table(table[:16], table[16:], slot < 4, lookups[slot], codes[slot]):
        return False
    for i in range(size):
        kept[slot, i] = table[i]
    return True


@inlined
def _fill_blocks(facts: I64, sides: I64, blocks: I64) -> int:
    """Fill in what `decode_scan` asks of each block of an MCU; return how many there are."""
    num, begin = 0, 0
    for i in range(facts[NUM_COMPONENTS]):
        one = facts[COMPONENTS + COMPONENT_FACTS * i :]
        rows, stride = plane_shape(facts, i, sides[i])
        for y in range(one[DOWN]):
            for x in range(one[ACROSS]):
                block = blocks[num]
                block[0], block[1], block[2], block[3], block[4] = i, one[DC], 4 + one[AC], sides[i], stride
                block[5] = begin + (y * stride + x) * sides[i]
                block[6], block[7] = one[ACROSS] * sides[i], one[DOWN] * sides[i] * stride
                num += 1
        begin += rows * stride
    return num


@kernel
def decode_baseline(
    body: U8, facts: I64, sides: I64, tables: Any, fixed: Any, data: U8, starts: I64, ints: I64, floats: F32,
    pixels: U8,
) -> int:  # fmt: skip
    """Write the planes of a plain baseline file, one behind the other; return where its scan ends, -1: not plain.

    sides: pixels a block by component, 0: not wanted. tables: (bytes (8, TABLE_BYTES), lookups, codes) of the Huffman
    tables used last, four DC then four AC, which are kept; bytes of 0xFF: none. fixed: (natural, matrices) as
    `decode_scan` has them. Room: data, SLACK bytes more than the body from its scan on; starts, one more than
    `count_intervals`; ints (NUM_INTS,); floats (NUM_FLOATS,); pixels as `plane_shape` has them.
    """
    kept, lookups, codes = tables
    factors = floats[: 3 * NUM_PLACES].reshape(3, NUM_PLACES)
    factors[:] = 0
    for i in range(facts[NUM_COMPONENTS]):
        one = facts[COMPONENTS + COMPONENT_FACTS * i :]
        for slot in (one[DC], 4 + one[AC]):
            if not _take_table(body, facts[HUFFMAN + slot], slot, kept, lookups, codes):
                return -1
        for k in range(64):
            factors[i, k] = body[facts[QUANTISERS + one[QUANTISER]] + k]
    used = starts[: count_intervals(facts) + 1]
    end = unstuff(body, facts[SCAN_AT], data, used)
    if end < 0 or body[end + 1] != _EOI:
        return -1
    wide, high = count_mcus(facts)
    interval = facts[RESTART_INTERVAL] if facts[RESTART_INTERVAL] else wide * high
    blocks = ints[: MAX_BLOCKS * BLOCK_FACTS].reshape(MAX_BLOCKS, BLOCK_FACTS)
    num = _fill_blocks(facts, sides, blocks)
    is_whole = decode_scan(
        data, used, wide * high, wide, interval, blocks[:num], lookups, codes, factors, fixed[0], fixed[1],
        floats[3 * NUM_PLACES : NUM_FLOATS], ints[MAX_BLOCKS * BLOCK_FACTS : NUM_INTS], pixels,
    )  # fmt: skip
    return end if is_whole else -1
