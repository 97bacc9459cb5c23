"""The kernel of pipelines.sources.references: character references in texts, a byte at a time."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from wit.compiled import inlined, kernel

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]
I32 = npt.NDArray[np.int32]

FNV_OFFSET, FNV_PRIME = 0xCBF29CE484222325, 0x100000001B3
"""Of the 64-bit FNV-1a hash (Fowler, Noll, Vo)."""
MAX_NAME_BYTES = 32
"""The longest names of html.entities.html5, as "CounterClockwiseContourIntegral;"."""
NUM_CODES = 0x100
"""Below it, `codes` says which character a number stands for, or NOTHING."""
NOTHING = -1

_AMPERSAND, _NUMBER, _SEMICOLON, _EQUALS, _ZERO = ord("&"), ord("#"), ord(";"), ord("="), ord("0")
_LOWER = 0x20  # the bit that tells "a" from "A"
_X, _A, _F, _Z = ord("x"), ord("a"), ord("f"), ord("z")
_UNKNOWN = 0xFFFD
_LAST_CODE = 0x10FFFF


class Names(NamedTuple):
    """Named references: an open-addressing table of `slots`, number of the name + 1 or 0, by FNV-1a of the name."""

    slots: I32
    names: U8
    name_offsets: I64
    values: U8
    value_offsets: I64


@inlined
def _is_letter(byte: int) -> bool:
    return _A <= (byte | _LOWER) <= _Z


@inlined
def _is_digit(byte: int) -> bool:
    return _ZERO <= byte < _ZERO + 10


@inlined
def _digit(byte: int, radix: int) -> int:
    """Return the value of a digit, or -1."""
    if _is_digit(byte):
        return byte - _ZERO
    if radix == 16 and _A <= (byte | _LOWER) <= _F:
        return (byte | _LOWER) - _A + 10
    return -1


@inlined
def _number(text: U8, i: int, end: int) -> tuple[int, int]:
    """Return the number after "&#" at `i` and where its reference ends, at `i` for none; too large ones are clamped."""
    begin, radix = i + 2, 10
    if begin < end and text[begin] | _LOWER == _X:
        begin, radix = i + 3, 16
    j = begin
    code: Any = 0
    while j < end and _digit(text[j], radix) >= 0:
        code = min(code * radix + _digit(text[j], radix), _LAST_CODE + 1)
        j += 1
    if j == begin:
        return 0, i
    return code, j + 1 if j < end and text[j] == _SEMICOLON else j


@inlined
def _character(code: int, codes: I32) -> int:
    """Return the character that a number stands for, or NOTHING, as html.unescape has it."""
    if code < NUM_CODES:
        small: int = codes[code]
        return small
    if 0xD800 <= code < 0xE000 or code > _LAST_CODE:
        return _UNKNOWN
    return NOTHING if code & 0xFFFE == 0xFFFE or 0xFDD0 <= code < 0xFDF0 else code


@inlined
def _encoded(code: int, out: U8, o: int) -> int:
    """Write a character as UTF-8, none for NOTHING; return where it ends."""
    if code == NOTHING:
        return o
    if code < 0x80:
        out[o] = code
        return o + 1
    size = 2 if code < 0x800 else 3 if code < 0x10000 else 4
    for k in range(size - 1, 0, -1):
        out[o + k] = 0x80 | (code & 0x3F)
        code >>= 6
    out[o] = (0xF00 >> size & 0xFF) | code
    return o + size


@inlined
def _name_end(text: U8, i: int, end: int) -> int:
    """Return where the name after "&" at `i` ends, with its ";" if it has one; `i` for none.

    A name that "=" follows is that of a query's parameter.
    """
    j = i + 1
    if j == end or not _is_letter(text[j]):
        return i
    while j < end and (_is_letter(text[j]) or _is_digit(text[j])):
        j += 1
    if j < end and text[j] == _SEMICOLON:
        return j + 1
    return i if j < end and text[j] == _EQUALS else j


@inlined
def _find(text: U8, i: int, end: int, slots: I32, names: U8, name_offsets: I64) -> int:
    """Return the number of the name text[i:end], or -1."""
    state = np.uint64(FNV_OFFSET)
    for k in range(i, end):
        state = (state ^ np.uint64(text[k])) * np.uint64(FNV_PRIME)
    slot = np.int64(state & np.uint64(len(slots) - 1))
    while slots[slot]:
        name: Any = np.int64(slots[slot]) - 1
        begin = name_offsets[name]
        if name_offsets[name + 1] - begin == end - i:
            k = 0
            while k < end - i and names[begin + k] == text[i + k]:
                k += 1
            if k == end - i:
                number: int = name
                return number
        slot = (slot + 1) & (len(slots) - 1)
    return -1


@inlined
def _reference(
    text: U8, i: int, end: int, slots: I32, names: U8, name_offsets: I64, values: U8, value_offsets: I64, codes: I32,
    out: U8, o: int,
) -> tuple[int, int]:  # fmt: skip
    """Write what the "&" at `i` begins; return where that ends in text and output."""
    if i + 1 < end and text[i + 1] == _NUMBER:
        code, stop = _number(text, i, end)
        if stop > i:
            return stop, _encoded(_character(code, codes), out, o)
    else:
        stop = _name_end(text, i, end)
        if i < stop <= i + 1 + MAX_NAME_BYTES:
            name = _find(text, i + 1, stop, slots, names, name_offsets)
            if name >= 0:
                for k in range(value_offsets[name], value_offsets[name + 1]):
                    out[o] = values[k]
                    o += 1
                return stop, o
    out[o] = _AMPERSAND
    return i + 1, o + 1


@kernel
def decode_references(
    text: U8, offsets: I64, slots: I32, names: U8, name_offsets: I64, values: U8, value_offsets: I64, codes: I32,
    out: U8, ends: I64,
) -> None:  # fmt: skip
    """Write texts with their character references decoded to `out`, and where each ends to `ends`."""
    o = 0
    ends[0] = 0
    for row in range(len(offsets) - 1):
        i, end = offsets[row], offsets[row + 1]
        while i < end:
            if text[i] == _AMPERSAND:
                i, o = _reference(text, i, end, slots, names, name_offsets, values, value_offsets, codes, out, o)
            else:
                out[o] = text[i]
                i, o = i + 1, o + 1
        ends[row + 1] = o
