"""Compiled parts of wit.jpeg for progressive files: their scans (ITU-T T.81, annex G), and blocks to pixels.

What keeps hostile data inside the arrays is told in wit.jpeg_kernels; a coefficient's place is compared with the end of
its band, 63 at most, before it is written.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from wit import jpeg_kernels
from wit.compiled import inlined, kernel_upon
from wit.jpeg_kernels import LOOKUP_BITS, extended, is_used_up, long_code, refill, write_block

U8 = npt.NDArray[np.uint8]
U64 = npt.NDArray[np.uint64]
I16 = npt.NDArray[np.int16]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
F32 = npt.NDArray[np.float32]

DC_FIRST, DC_REFINED, AC_FIRST, AC_REFINED = range(4)
_SHIFT = np.uint64(64 - LOOKUP_BITS)
_U0, _U1, _U8, _U63 = (np.uint64(number) for number in (0, 1, 8, 63))
_BROKEN = 1 << 20  # as blocks to the end of a band: more than an image has in a row of one
kernel = kernel_upon(jpeg_kernels.__file__)


@kernel
def fill_symbols(counts: U8, symbols: U8, lookup: I64, codes: I32) -> bool:
    """Fill the tables of a progressive scan: by the next LOOKUP_BITS bits, length of the code | symbol << 8, or 0.

    `codes` is as in wit.jpeg_kernels. False where a DHT segment's counts and symbols are no prefix code.
    """
    lookup[:] = 0
    codes[:] = 0
    code, place = 0, 0
    for length in range(1, 17):
        count = np.int64(counts[length - 1])
        if place + count > len(symbols) or code + count > (1 << length):
            return False
        codes[18 + length] = place - code
        for _ in range(count):
            codes[36 + place] = symbols[place]
            if length <= LOOKUP_BITS:
                spare = LOOKUP_BITS - length
                lookup[code << spare : (code + 1) << spare] = length | (np.int64(symbols[place]) << 8)
            code += 1
            place += 1
        codes[length] = code << (16 - length) if count else 0
        code <<= 1
    return place == len(symbols)


def _code_of_trailing_zeros(_: Any, word: Any) -> Any:
    """Return the zeros below the lowest 1 of 64 bits; 64 where there is none."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.uint64(types.uint64), generate


_trailing_zeros = intrinsic(_code_of_trailing_zeros)


@inlined
def _symbol(buffer: Any, lookup: I64, codes: I32) -> Any:
    """Return (symbol, bits of its code; 0: there is no such code)."""
    entry = lookup[buffer >> _SHIFT]
    if entry:
        return entry >> 8, entry & 0xFF
    symbol, length = long_code(buffer, codes)
    return np.int64(symbol), np.int64(length)


@inlined
def _first(data: U8, state: Any, band: Any, lookup: I64, codes: I32, natural: U8, block: I16, seen: U64) -> Any:
    """Read a block's band for the first time; return (buffer, held, at, blocks that have none of it)."""
    buffer, held, at, run = state
    begin, end, low = band
    if run:
        return buffer, held, at, run - 1
    place = begin
    while place <= end:
        symbol, length = _symbol(buffer, lookup, codes)
        zeros, size = symbol >> 4, symbol & 15
        buffer <<= np.uint64(length)
        used = length + size
        if length == 0 or size > 10:
            return buffer, held, at, _BROKEN
        if size == 0 and zeros < 15:
            run = (1 << zeros) - 1
            if zeros:
                run += np.int64(buffer >> np.uint64(64 - zeros))
            buffer, held, at = refill(data, buffer << np.uint64(zeros), held - np.uint64(length + zeros), at)
            return buffer, held, at, run
        place += zeros
        if place > end:
            return buffer, held, at, _BROKEN
        if size:
            block[np.uint64(natural[place])] = np.int16(extended(buffer, size) << low)
            seen[0] |= _U1 << np.uint64(place)
        place += 1
        buffer, held, at = refill(data, buffer << np.uint64(size), held - np.uint64(used), at)
    return buffer, held, at, 0


@inlined
def _corrected(
    data: U8,
    buffer: Any,
    held: Any,
    at: Any,
    place: Any,
    end: int,
    bit: int,
    zeros: int,
    natural: U8,
    block: I16,
    seen: U64,
) -> Any:
    """Read a bit for each coefficient that is there, until `zeros` others are passed, or the band is.

    Return (buffer, held, at, place of the next coefficient that is not there, or end + 1).
    """
    while place <= end:
        gap = min(np.int64(_trailing_zeros(seen[0] >> np.uint64(place))), end + 1 - place)
        if zeros < gap:
            place += zeros
            break
        zeros -= gap
        place += gap
        if place <= end:
            at_place = np.uint64(natural[place])
            old = block[at_place]
            if buffer >> _U63 and not old & bit:
                block[at_place] = np.int16(old + bit if old > 0 else old - bit)
            buffer <<= _U1
            held -= _U1
            if held < _U8:
                buffer, held, at = refill(data, buffer, held, at)
            place += 1
    return buffer, held, at, place


@inlined
def _refined(data: U8, state: Any, band: Any, lookup: I64, codes: I32, natural: U8, block: I16, seen: U64) -> Any:
    """Read one bit more of a block's band; return (buffer, held, at, blocks that have nothing new in it)."""
    buffer, held, at, run = state
    begin, end, low = band
    place, bit = begin, 1 << low
    while place <= end:
        new, zeros = 0, 64
        if run == 0:
            symbol, length = _symbol(buffer, lookup, codes)
            zeros, size = symbol >> 4, symbol & 15
            if length == 0 or size > 1:
                return buffer, held, at, _BROKEN
            buffer <<= np.uint64(length)
            held -= np.uint64(length)
            if size:
                new = bit if buffer >> _U63 else -bit
                buffer <<= _U1
                held -= _U1
            elif zeros < 15:
                run = 1 << zeros
                if zeros:
                    run += np.int64(buffer >> np.uint64(64 - zeros))
                buffer <<= np.uint64(zeros)
                held -= np.uint64(zeros)
                zeros = 64
        buffer, held, at = refill(data, buffer, held, at)
        buffer, held, at, place = _corrected(data, buffer, held, at, place, end, bit, zeros, natural, block, seen)
        if run == 0 and place > end:
            return buffer, held, at, _BROKEN
        if new:
            block[np.uint64(natural[place])] = np.int16(new)
            seen[0] |= _U1 << np.uint64(place)
        place += 1
        buffer, held, at = refill(data, buffer, held, at)
    return buffer, held, at, max(run - 1, 0)


@inlined
def _dc(buffer: Any, held: Any, kind: int, low: int, lookup: I64, codes: I32, dcs: I64, block: I16) -> Any:
    """Read a block's DC, or one bit more of it; return (buffer, held, whether it is as it should be)."""
    if kind == DC_REFINED:
        if buffer >> _U63:
            block[0] |= np.int16(1 << low)
        return buffer << _U1, held - _U1, True
    size, length = _symbol(buffer, lookup, codes)
    if length == 0 or size > 11:
        return buffer, held, False
    buffer <<= np.uint64(length)
    if size:
        dcs[0] += extended(buffer, size)
    level = dcs[0] << low
    block[0] = np.int16(level)
    return buffer << np.uint64(size), held - np.uint64(length + size), level >= -2048 and level <= 2047


@kernel
def decode_pass(
    kind: int, data: U8, starts: I64, across: int, down: int, restart_interval: int, begin: int, end: int, low: int,
    blocks: I64, lookups: I64, codes: I32, natural: U8, coefficients: I16, seen: U64, dcs: I64,
) -> bool:  # fmt: skip
    """Add a scan to the coefficients (blocks, 64), in natural order; return whether every bit is as it should be.

    The scan is of across x down MCUs, or single blocks; of places begin to end in zigzag order, `low` bits to the left.
    blocks (n, 5): of each block of an MCU its component in the scan, table, number in the first MCU, step to the next
    MCU, step to the next row. seen (blocks, 1): a bit for each place in zigzag order whose coefficient is not 0. dcs
    (components, 1) is room.
    """
    buffer, held, at, stop = _U0, _U0, _U0, _U0
    interval, until_restart, run = 0, 0, 0
    for unit in range(across * down):
        if until_restart == 0:
            if (interval and not is_used_up(at, held, stop)) or interval + 1 >= len(starts) or run:
                return False
            dcs[:] = 0
            buffer, held, at, stop = _U0, _U0, np.uint64(starts[interval]), np.uint64(starts[interval + 1])
            interval, until_restart = interval + 1, restart_interval
        until_restart -= 1
        if at > stop + _U8:
            return False
        for i in range(len(blocks)):
            number = blocks[i, 2] + unit % across * blocks[i, 3] + unit // across * blocks[i, 4]
            block = coefficients[number]
            lookup, code = lookups[blocks[i, 1]], codes[blocks[i, 1]]
            buffer, held, at = refill(data, buffer, held, at)
            if kind in (DC_FIRST, DC_REFINED):
                buffer, held, is_right = _dc(buffer, held, kind, low, lookup, code, dcs[blocks[i, 0]], block)
                if not is_right:
                    return False
            elif kind == AC_FIRST:
                state, band = (buffer, held, at, run), (begin, end, low)
                buffer, held, at, run = _first(data, state, band, lookup, code, natural, block, seen[number])
            else:
                state, band = (buffer, held, at, run), (begin, end, low)
                buffer, held, at, run = _refined(data, state, band, lookup, code, natural, block, seen[number])
            if run >= _BROKEN:
                return False
    return run == 0 and interval + 1 == len(starts) and is_used_up(at, held, stop)


@kernel
def write_plane(
    coefficients: I16, seen: U64, first: int, across: int, down: int, factors: F32, side: int, matrices: F32, room: F32,
    pixels: U8, begin: int, stride: int,
) -> None:  # fmt: skip
    """Write across x down blocks, from the first on row by row, at `side` pixels a block; factors in natural order."""
    for number in range(across * down):
        block = coefficients[first + number]
        is_flat = seen[first + number, 0] == _U0
        for k in range(np.uint64(1 if is_flat else 64)):
            room[k] = np.float32(block[k]) * factors[k]
        place = begin + (number // across * stride + number % across) * side
        write_block(room, is_flat, matrices[side], side, pixels, np.uint64(place), np.uint64(stride))
