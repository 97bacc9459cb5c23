"""The kernel that turns strings of JSON, as they stand in a text, into UTF-8."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt
from numba import njit

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Function = TypeVar("Function", bound=Callable[..., Any])

_BACKSLASH, _LONE = ord("\\"), ord("?")


def _kernel(function: Function) -> Function:
    return cast(Function, njit(cache=True, nogil=True, _nrt=False)(function))


def _inlined(function: Function) -> Function:
    return cast(Function, njit(cache=True, nogil=True, _nrt=False, forceinline=True)(function))


@_kernel
def _is_utf8(data: U8, i: int, end: int) -> bool:
    """Return whether data[i:end] is well-formed. Source: The Unicode Standard 16, table 3-7."""
    while i < end:
        lead = np.int64(data[i])
        if lead < 0x80:
            i += 1
            continue
        size = 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
        if lead < 0xC2 or lead > 0xF4 or i + size > end:
            return False
        second = np.int64(data[i + 1])
        low = 0xA0 if lead == 0xE0 else 0x90 if lead == 0xF0 else 0x80
        high = 0x9F if lead == 0xED else 0x8F if lead == 0xF4 else 0xBF
        if second < low or second > high:
            return False
        for j in range(i + 2, i + size):
            if data[j] & 0xC0 != 0x80:
                return False
        i += size
    return True


@_inlined
def _code_unit(data: U8, i: int) -> int:
    """Return the value of the four hexadecimal digits at data[i]."""
    code = 0
    for j in range(i, i + 4):
        byte: Any = np.int64(data[j])
        code = code << 4 | (byte - 0x30 if byte <= 0x39 else (byte | 0x20) - 0x57)
    return code


@_inlined
def _encode(code: int, out: U8, o: int) -> int:
    """Write a code point, "?" for a lone surrogate; return where it ends."""
    if code < 0x80 or 0xD800 <= code <= 0xDFFF:
        out[o] = code if code < 0x80 else _LONE
        return o + 1
    size = 2 if code < 0x800 else 3 if code < 0x10000 else 4
    for j in range(o + size - 1, o, -1):
        out[j] = 0x80 | (code & 0x3F)
        code >>= 6
    out[o] = code | (0xC0 if size == 2 else 0xE0 if size == 3 else 0xF0)
    return o + size


@_kernel
def _unescape(data: U8, i: int, close: int, out: U8, o: int) -> tuple[int, int]:
    """Write what the escape at data[i] means; return where it ends, and where that ends."""
    kind = data[i + 1]
    if kind == ord("u"):
        code = _code_unit(data, i + 2)
        i += 6
        if 0xD800 <= code < 0xDC00 and i + 6 <= close and data[i] == _BACKSLASH and data[i + 1] == ord("u"):
            low = _code_unit(data, i + 2)
            if 0xDC00 <= low < 0xE000:
                code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00)
                i += 6
        return i, _encode(code, out, o)
    if kind == ord("n"):
        kind = 0x0A
    elif kind == ord("t"):
        kind = 0x09
    elif kind == ord("r"):
        kind = 0x0D
    elif kind == ord("b"):
        kind = 0x08
    elif kind == ord("f"):
        kind = 0x0C
    out[o] = kind
    return i + 2, o + 1


@_kernel
def unescape(data: U8, starts: I64, closes: I64, out: U8, offsets: I64, is_valid: Bools) -> None:
    """Write the strings data[starts[r]:closes[r]], of which all escapes are well-formed, as ragged texts.

    `out` has room for the sum of their lengths: the longest a byte becomes is itself, the longest 6 of an escape become
    is 3, 12 of a pair 4. `offsets` has a place more than there are strings. What is no UTF-8 is empty, and not valid.
    """
    o = 0
    offsets[0] = 0
    for row in range(len(starts)):
        i, close = starts[row], closes[row]
        bits = 0
        while i < close:
            byte = data[i]
            bits |= byte
            if byte == _BACKSLASH:
                i, o = _unescape(data, i, close, out, o)
            else:
                out[o] = byte
                i, o = i + 1, o + 1
        is_valid[row] = bits < 0x80 or _is_utf8(data, starts[row], close)
        if not is_valid[row]:
            o = offsets[row]
        offsets[row + 1] = o
