"""Compiled parts of wit.jpeg: Huffman tables, entropy-coded data, inverse DCT (ITU-T T.81, "T.81" below).

Hostile data cannot lead a kernel outside its arrays. A place in the data is compared with the data's end before each
MCU, and `SLACK` bytes behind it are more than one MCU can use; a coefficient's place is looked up in a table that is
longer than any place that one step can lead to, and maps what is beyond 63 to a spare one; where a block's pixels go is
the header's arithmetic alone. What is not exactly as T.81 has it ends a kernel with False.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from wit.compiled import inlined, kernel

U8 = npt.NDArray[np.uint8]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
F32 = npt.NDArray[np.float32]

LOOKUP_BITS = 11
"""Bits that a table is looked up by: 16 KB a table."""
CODES_LENGTH = 18 + 18 + 256
"""For each length of a code: one more than the last such code, shifted to 16 bits; what to add to a code for its place
among the symbols; then the symbols."""
SLACK = 4096
"""Bytes behind entropy-coded data. An MCU has at most 10 blocks of 64 codes of at most 27 bits: 2,160 bytes."""
NUM_PLACES = 384
"""A place in zigzag order is at most 63 + 128 + 1 + 128 + 1 when it is looked up."""
SPARE_PLACE = 64
"""Where coefficients beyond the 63rd are written to."""

# An entry of a table, 64 bits. A code with its value, both within LOOKUP_BITS; a second one where that fits as well:
#   0-3 bits used by both | 4-7 by the first | 8-15 zeros before the first | 16 whether it has a value | 24-35 value
#   43-50 zeros before the second | 51 whether it has a value | 52-63 value
# A code whose value does not fit: 0-3 zero | 4-7 its bits | 8-15 zeros before it | 17-20 bits of its value.
# A longer code: 0.
_NO_CODE = 15 << 17  # a code of no bits, with a value of more than there are
_END_OF_BLOCK = 128  # as a number of zeros: beyond any place that 15 zeros lead to
_SHIFT = np.uint64(64 - LOOKUP_BITS)
_U0, _U1, _U3, _U8, _U56, _U63 = (np.uint64(number) for number in (0, 1, 3, 8, 56, 63))
_NO_FF = np.uint64(0x0101010101010101)
_HIGH_BITS = np.uint64(0x8080808080808080)
_BLACK, _WHITE, _MIDDLE, _EIGHTH = (np.float32(level) for level in (0, 255, 128.5, 0.125))


@kernel
def fill_table(counts: U8, symbols: U8, is_dc: bool, lookup: I64, codes: I32) -> bool:
    """Fill `lookup` and `codes` from a DHT segment's counts (16) and symbols; False where they are no prefix code."""
    lookup[:] = 0
    codes[:] = 0
    code, place = 0, 0
    for length in range(1, 17):
        count = np.int64(counts[length - 1])
        if place + count > len(symbols) or code + count > (1 << length):
            return False
        codes[18 + length] = place - code
        for _ in range(count):
            symbol = np.int64(symbols[place])
            if is_dc and symbol > 11:
                return False
            codes[36 + place] = symbol
            if length <= LOOKUP_BITS:
                _fill_entries(code, length, symbol, is_dc, lookup)
            code += 1
            place += 1
        codes[length] = code << (16 - length) if count else 0
        code <<= 1
    if not is_dc:
        _pair_entries(lookup)
    return place == len(symbols)


@inlined
def _fill_entries(code: int, length: int, symbol: Any, is_dc: bool, lookup: I64) -> None:
    """Fill the entries that begin with a code: every value that its following bits may hold."""
    run, size = symbol >> 4, symbol & 15
    spare = LOOKUP_BITS - length - size
    first = code << (LOOKUP_BITS - length)
    if size == 0 and not is_dc:
        if run and run != 15:  # a code that only progressive files have; not 0, or it would be sought among longer ones
            lookup[first : first + (1 << spare)] = _NO_CODE
            return
        run = 16 if run else _END_OF_BLOCK
    if spare < 0:
        lookup[first : first + (1 << (LOOKUP_BITS - length))] = (length << 4) | (run << 8) | (size << 17)
        return
    for bits in range(1 << size):
        value = bits if size == 0 or bits >= 1 << (size - 1) else bits - (1 << size) + 1
        used = length + size
        entry = used | (used << 4) | (run << 8) | ((size > 0) << 16) | ((value & 0xFFF) << 24)
        for rest in range(1 << spare):
            lookup[first + (bits << spare) + rest] = entry


@inlined
def _pair_entries(lookup: I64) -> None:
    """Add to each entry that leaves bits over the coefficient that they hold, if they hold all of it."""
    mask = (1 << LOOKUP_BITS) - 1
    for index in range(mask + 1):
        entry = lookup[index]
        used = (entry >> 4) & 15
        if (entry >> 16) & 1:
            after = lookup[(index << used) & mask]  # its own second coefficient, if it has one by now, is left out
            after_used = (after >> 4) & 15
            if after & 15 and after_used + used <= LOOKUP_BITS:
                pair = (((after >> 8) & 0xFF) << 43) | (((after >> 16) & 1) << 51) | (((after >> 24) & 0xFFF) << 52)
                lookup[index] = (entry + after_used) | pair


def _words(context: Any, builder: Any, kind: Any, array: Any, at: Any) -> Any:
    """Return a pointer to the 64 bits from array[at] on, of an array of bytes."""
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [at]), ir.IntType(64).as_pointer())


def _code_of_load(_: Any, data: Any, at: Any) -> Any:
    """Return the eight bytes from data[at] on as a number, the first byte the highest."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = _words(context, builder, signature.args[0], arguments[0], arguments[1])
        return builder.bswap(builder.load(place, align=1))

    return types.uint64(data, types.uint64), generate


def _code_of_store(_: Any, data: Any, at: Any, word: Any) -> Any:
    """Write a number to the eight bytes from data[at] on, the highest first."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = _words(context, builder, signature.args[0], arguments[0], arguments[1])
        builder.store(builder.bswap(arguments[2]), place, align=1)
        return context.get_dummy_value()

    return types.void(data, types.uint64, types.uint64), generate


_load, _store = intrinsic(_code_of_load), intrinsic(_code_of_store)


@kernel
def unstuff(body: U8, at: int, data: U8, starts: I64) -> int:
    """Copy entropy-coded data from body[at] on to `data`, FF 00 as FF; return where in `body` its last marker lies.

    starts[k] is where in `data` restart interval k begins, the last one the length of all; -1 where the restart markers
    are not as many as there is room for, or not in their order. `data` is at least as long as `body`.
    """
    size = len(body)
    length, intervals = 0, 0
    starts[0] = 0
    while True:
        while at + 8 <= size:
            word = _load(body, np.uint64(at))
            if (~word - _NO_FF) & word & _HIGH_BITS != _U0:  # one of the eight is FF
                break
            _store(data, np.uint64(length), word)
            at += 8
            length += 8
        while at < size and body[at] != 0xFF:
            data[length] = body[at]
            at += 1
            length += 1
        if at + 1 >= size:
            return -1
        follows = body[at + 1]
        at += 2
        if follows == 0:
            data[length] = 0xFF
            length += 1
            continue
        intervals += 1
        if intervals >= len(starts):
            return -1
        starts[intervals] = length
        if intervals == len(starts) - 1:
            return at - 2
        if follows != 0xD0 + ((intervals - 1) & 7):
            return -1


@inlined
def refill(data: U8, buffer: Any, held: Any, at: Any) -> Any:
    """Top up the bit buffer, its next bit its highest, to 56 bits or more, without a branch."""
    buffer |= _load(data, at) >> held
    at += (_U63 - held) >> _U3
    return buffer, held | _U56, at


@inlined
def long_code(buffer: Any, codes: I32) -> tuple[int, int]:
    """Return (symbol, length) of a code of more than LOOKUP_BITS bits at the buffer's head; length 0: there is none."""
    head = np.int64(buffer >> np.uint64(48))
    for length in range(LOOKUP_BITS + 1, 17):
        if head < codes[length]:
            return codes[36 + ((head >> (16 - length)) + codes[18 + length])], length
    return 0, 0


@inlined
def extended(buffer: Any, size: int) -> Any:
    """Return the signed value in the next `size` bits, 1 to 11 (T.81 F.2.2.1, EXTEND)."""
    bits = np.int64(buffer >> np.uint64(64 - size))
    return bits if bits >> (size - 1) else bits - (1 << size) + 1


def _line_of(num_terms: int) -> Any:
    """Return the intrinsic that computes one line of a block from its first `num_terms` frequencies each way.

    line(coefficients, matrix, row, pixels, at): the sum over k of matrix[k, row] coefficients[k, :], that times the
    matrix, + 128, rounded, within 0 and 255, to pixels[at : at + 8]. In vectors, which numba does not find by
    itself. Sums are in one order, and without fused multiply-add: the same bytes on any machine.
    """
    floats, octets = ir.VectorType(ir.FloatType(), 8), ir.VectorType(ir.IntType(8), 8)
    integers = ir.VectorType(ir.IntType(32), 8)

    def eight(builder: Any, base: Any, k: int) -> Any:
        return builder.load(builder.bitcast(builder.gep(base, [ir.IntType(64)(8 * k)]), floats.as_pointer()), align=4)

    def lane(builder: Any, vector: Any, k: int) -> Any:
        return builder.shuffle_vector(vector, vector, ir.Constant(integers, [k] * 8))

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        coefficients, matrix, pixels = (
            context.make_array(signature.args[i])(context, builder, arguments[i]).data for i in (0, 1, 3)
        )
        column = builder.gep(matrix, [arguments[2]])
        sums: Any = None
        for k in range(num_terms):
            weight = builder.load(builder.gep(column, [ir.IntType(64)(8 * k)]))
            weights = builder.insert_element(ir.Constant(floats, ir.Undefined), weight, ir.IntType(32)(0))
            term = builder.fmul(lane(builder, weights, 0), eight(builder, coefficients, k))
            sums = builder.fadd(sums, term) if k else term
        levels: Any = ir.Constant(floats, [float(_MIDDLE)] * 8)
        for k in range(num_terms):
            levels = builder.fadd(levels, builder.fmul(lane(builder, sums, k), eight(builder, matrix, k)))
        for comparison, limit in (("<", _BLACK), (">", _WHITE)):
            bound = ir.Constant(floats, [float(limit)] * 8)
            levels = builder.select(builder.fcmp_ordered(comparison, levels, bound), bound, levels)
        whole = builder.trunc(builder.fptoui(levels, integers), octets)
        place = builder.bitcast(builder.gep(pixels, [arguments[4]]), octets.as_pointer())
        builder.store(whole, place, align=1)
        return context.get_dummy_value()

    def line(_: Any, coefficients: Any, matrix: Any, row: Any, pixels: Any, at: Any) -> Any:
        return types.void(coefficients, matrix, types.uint64, pixels, types.uint64), generate

    return intrinsic(line)


_line_of_4, _line_of_8 = _line_of(4), _line_of(8)


@inlined
def write_block(coefficients: F32, is_flat: bool, matrix: F32, side: int, pixels: U8, at: Any, stride: Any) -> None:
    """Write a block's side x side pixels; and what is beyond them in 8 columns, for the next block to write over."""
    level = np.uint8(min(max(coefficients[0] * _EIGHTH + _MIDDLE, _BLACK), _WHITE))
    for row in range(np.uint64(side)):
        if is_flat:
            for column in range(_U8):
                pixels[at + row * stride + column] = level
        elif side > 4:
            _line_of_8(coefficients, matrix, row, pixels, at + row * stride)
        else:
            _line_of_4(coefficients, matrix, row, pixels, at + row * stride)


@inlined
def _read_dc(buffer: Any, held: Any, lookup: I64, codes: I32) -> Any:
    """Return (buffer, held, difference to the last block's DC); the difference is beyond all possible: no such code."""
    entry = lookup[buffer >> _SHIFT]
    used, difference = np.uint64(entry & 15), (entry << 28) >> 52
    if used == _U0:
        length, size = (entry >> 4) & 15, (entry >> 17) & 15
        if entry == 0:
            size, length = long_code(buffer, codes)
        difference = extended(buffer << np.uint64(length), size) if size else 0
        if length == 0:
            difference = 1 << 16
        used = np.uint64(length + size)
    return buffer << used, held - used, difference


@inlined
def _read_long(buffer: Any, entry: int, codes: I32) -> tuple[int, int, int]:
    """Return (zeros, bits of the code, bits of its value) of what a table does not hold; 255 zeros: not baseline."""
    zeros, length, size = 0, (entry >> 4) & 15, (entry >> 17) & 15
    if entry == 0:
        symbol, length = long_code(buffer, codes)
        zeros, size = symbol >> 4, symbol & 15
        if size == 0:
            zeros = _END_OF_BLOCK if zeros == 0 else 16
            if symbol & 0xEF and symbol != 0xF0:
                zeros = 255
    if length == 0 or size > 10:
        zeros = 255
    return zeros, length, size


@inlined
def _read_ac(
    data: U8, buffer: Any, held: Any, at: Any, lookup: I64, codes: I32, factors: F32, natural: U8, out: F32
) -> Any:
    """Write a block's coefficients times their factors; return (buffer, held, at, place reached in zigzag order).

    The place is 64 after the last coefficient, 129 where an end of block came first, more after another end of block,
    and else the block is broken.
    """
    place = _U1
    while place < 64:
        entry = lookup[buffer >> _SHIFT]
        used = np.uint64(entry & 15)
        place += np.uint64((entry >> 8) & 0xFF)
        if used:
            out[np.uint64(natural[place])] = np.float32((entry << 28) >> 52) * factors[place]
            place += np.uint64((entry >> 16) & 1)
            if place >= 64:
                used = np.uint64((entry >> 4) & 15)  # the second is the next block's
            else:
                place += np.uint64((entry >> 43) & 0xFF)
                out[np.uint64(natural[place])] = np.float32(entry >> 52) * factors[place]
                place += np.uint64((entry >> 51) & 1)
        else:
            zeros, length, size = _read_long(buffer, entry, codes)
            if zeros == 255:
                return buffer, held, at, np.uint64(65)
            place += np.uint64(zeros)
            if size:
                value = extended(buffer << np.uint64(length), size)
                out[np.uint64(natural[place])] = np.float32(value) * factors[place]
                place += _U1
            used = np.uint64(length + size)
        buffer, held, at = refill(data, buffer << used, held - used, at)
    return buffer, held, at, place


@inlined
def is_used_up(at: Any, held: Any, end: Any) -> Any:
    """Return whether fewer than eight bits are left of an interval that ends at data[end], and none was made up."""
    left = np.int64(end) * 8 - (np.int64(at) * 8 - np.int64(held))
    return left >= 0 and left < 8


@kernel
def decode_scan(
    data: U8, starts: I64, num_mcus: int, mcus_wide: int, restart_interval: int, blocks: I64, lookups: I64, codes: I32,
    factors: F32, natural: U8, matrices: F32, coefficients: F32, dcs: I64, pixels: U8,
) -> bool:  # fmt: skip
    """Decode a baseline scan's entropy-coded data (see `unstuff`); return whether every bit is as it should be.

    blocks (n, 8): of each block of an MCU its component, DC table, AC table, side in pixels (0: not wanted), stride of
    its plane, place of its first pixel in the first MCU, step to the next MCU, step to the next row of MCUs.
    factors (components, NUM_PLACES) in zigzag order; matrices (9, 64) by side; coefficients (65,) and dcs are room.
    """
    buffer, held, at, end = _U0, _U0, _U0, _U0
    interval, until_restart = 0, 0
    for mcu in range(num_mcus):
        if until_restart == 0:
            if (interval and not is_used_up(at, held, end)) or interval + 1 >= len(starts):
                return False
            dcs[:] = 0
            buffer, held, at, end = _U0, _U0, np.uint64(starts[interval]), np.uint64(starts[interval + 1])
            interval, until_restart = interval + 1, restart_interval
        until_restart -= 1
        if at > end + _U8:
            return False
        for i in range(len(blocks)):
            component, side = blocks[i, 0], blocks[i, 3]
            coefficients[:] = 0
            buffer, held, at = refill(data, buffer, held, at)
            buffer, held, difference = _read_dc(buffer, held, lookups[blocks[i, 1]], codes[blocks[i, 1]])
            dcs[component] += difference
            if dcs[component] < -2048 or dcs[component] > 2047:
                return False
            coefficients[0] = np.float32(dcs[component]) * factors[component, 0]
            ac = blocks[i, 2]
            buffer, held, at, place = _read_ac(
                data, buffer, held, at, lookups[ac], codes[ac], factors[component], natural, coefficients
            )
            if place > 64 and place <= 128:
                return False
            if side:
                start = blocks[i, 5] + mcu % mcus_wide * blocks[i, 6] + mcu // mcus_wide * blocks[i, 7]
                write_block(
                    coefficients, place == 129, matrices[side], side, pixels, np.uint64(start), np.uint64(blocks[i, 4])
                )
    return interval + 1 == len(starts) and is_used_up(at, held, end)
