"""Kernels that walk through JSON as it stands in bytes, and turn its strings into UTF-8.

Bytes are read some way ahead: PADDING_BYTES zeros stand behind the last of them.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from wit import compiled
from wit.compiled import Function

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

PADDING_BYTES = 64
"""32 bytes are read at a time, and an escape's 6 beyond."""

QUOTE, BACKSLASH, SLASH = ord('"'), ord("\\"), ord("/")
_B, _F, _N, _R, _T, _U = ord("b"), ord("f"), ord("n"), ord("r"), ord("t"), ord("u")
_ZERO, _NINE, _LONE = ord("0"), ord("9"), ord("?")
LOWER = 0x20
"""The bit that a capital of ASCII lacks."""
_TRUE, _FALSE, _NULL = (np.frombuffer(word, np.uint8).copy() for word in (b"true", b"false", b"null"))
_MAX_NUMBER_BYTES = 64  # longer ones, no extractor writes them, have limits of their own in JSON libraries

_THIS_FILE = Path(__file__)


def _stamped(function: Function) -> Function:
    """Have the cache of a compiled function heed changes of its own file, as numba does, and of this file as well."""
    cache = getattr(function, "_cache", None)
    if cache is not None:  # a plain function, where NUMBA_DISABLE_JIT is set, has none
        index = cache._cache_file
        index._source_stamp = (index._source_stamp, zlib.crc32(_THIS_FILE.read_bytes()))
    return function


def kernel(function: Function) -> Function:
    """Compile a function that allocates nothing, of this file or of one that calls the functions of this file."""
    return _stamped(compiled.kernel(function))


def inlined(function: Function) -> Function:
    """Compile a function into each that calls it."""
    return _stamped(compiled.inlined(function))


def _code_of_num_plain(_: Any, data: Any, index: Any) -> Any:
    """Return how many of the 32 bytes from data[index] on come before the first quote or backslash."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        vector = ir.VectorType(ir.IntType(8), 32)
        block = builder.load(builder.bitcast(builder.gep(array.data, [arguments[1]]), vector.as_pointer()), align=1)
        stops = [builder.icmp_unsigned("==", block, ir.Constant(vector, [stop] * 32)) for stop in (QUOTE, BACKSLASH)]
        mask = builder.zext(builder.bitcast(builder.or_(*stops), ir.IntType(32)), ir.IntType(64))
        sentinel = ir.Constant(ir.IntType(64), 1 << 32)
        return builder.cttz(builder.or_(mask, sentinel), ir.Constant(ir.IntType(1), 1))

    return types.int64(data, types.int64), generate


_num_plain = intrinsic(_code_of_num_plain)


@inlined
def space_end(data: U8, i: int) -> int:
    """Return where white space ends; the zeros behind the last record stop it at the latest."""
    while data[i] <= 0x20 and (data[i] == 0x20 or data[i] == 0x0A or data[i] == 0x0D or data[i] == 0x09):
        i += 1
    return i


@inlined
def _hex(byte: int) -> int:
    """Return the value of a hexadecimal digit, -1 for what is none."""
    if _ZERO <= byte <= _NINE:
        return byte - _ZERO
    letter = byte | LOWER
    return letter - 0x57 if 0x61 <= letter <= 0x66 else -1


@inlined
def _hex4(data: U8, i: int) -> int:
    """Return the value of four hexadecimal digits, negative when one of them is none."""
    code, worst = 0, 0
    for j in range(4):
        byte: Any = np.int64(data[i + j])
        digit = _hex(byte)
        worst = min(worst, digit)
        code = code << 4 | (digit & 0xF)
    return worst if worst < 0 else code


@kernel
def _escape_end(data: U8, i: int) -> int:
    """Return where the escape at data[i] ends, -1 when it is none."""
    kind = data[i + 1]
    if kind == _U:
        return i + 6 if _hex4(data, i + 2) >= 0 else -1
    return i + 2 if kind in (QUOTE, BACKSLASH, SLASH, _B, _F, _N, _R, _T) else -1


@inlined
def string_close(data: U8, i: int, end: int) -> tuple[int, int]:
    """Return where the string from `i` on closes, -1 when it does not, and whether it has escapes."""
    escaped = 0
    while i < end:
        step = _num_plain(data, i)
        i += step
        if step == 32:
            continue
        if i >= end:
            break
        if data[i] == QUOTE:
            return i, escaped
        escaped = 1
        i = _escape_end(data, i)
        if i < 0:
            break
    return -1, escaped


@inlined
def is_at(data: U8, start: int, name: U8) -> bool:
    """Return whether bytes stand at `start`."""
    for j in range(len(name)):  # noqa: SIM110 - a generator is not compiled
        if data[start + j] != name[j]:
            return False
    return True


@inlined
def matches(data: U8, start: int, close: int, name: U8) -> bool:
    """Return whether data[start:close] is `name`."""
    return close - start == len(name) and is_at(data, start, name)


@kernel
def _digits_end(data: U8, i: int) -> int:
    while _ZERO <= data[i] <= _NINE:
        i += 1
    return i


@kernel
def _number_end(data: U8, i: int) -> int:
    """Return where the number at data[i] ends, -1 when it is none. Source: RFC 8259, 6."""
    start = i
    if data[i] == ord("-"):
        i += 1
    first = i
    i = _digits_end(data, i)
    if i == first or (data[first] == _ZERO and i > first + 1):
        return -1
    if data[i] == ord("."):
        first = i + 1
        i = _digits_end(data, first)
        if i == first:
            return -1
    if data[i] | LOWER == ord("e"):
        i += 2 if data[i + 1] == ord("+") or data[i + 1] == ord("-") else 1
        first = i
        i = _digits_end(data, i)
        if i == first:
            return -1
    return i if i - start <= _MAX_NUMBER_BYTES else -1


@kernel
def scalar_end(data: U8, i: int) -> int:
    """Return where the number or word at data[i] ends, -1 when it is none."""
    if data[i] == _T:
        return i + 4 if is_at(data, i, _TRUE) else -1
    if data[i] == _F:
        return i + 5 if is_at(data, i, _FALSE) else -1
    if data[i] == _N:
        return i + 4 if is_at(data, i, _NULL) else -1
    return _number_end(data, i)


@inlined
def is_blank(data: U8, i: int, close: int) -> bool:
    """Return whether a string holds nothing but white space of ASCII, escaped or not."""
    while i < close:
        byte: Any = np.int64(data[i])
        size = 1
        if byte == BACKSLASH:
            kind = data[i + 1]
            size = 2
            if kind == _U:
                byte, size = _hex4(data, i + 2), 6
            elif kind in (_N, _T, _R, _F):
                byte = 0x20
        if byte != 0x20 and (byte < 0x09 or byte > 0x0D):
            return False
        i += size
    return True


@kernel
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


@inlined
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


@kernel
def _unescape(data: U8, i: int, close: int, out: U8, o: int) -> tuple[int, int]:
    """Write what the escape at data[i] means; return where it ends, and where that ends."""
    kind = data[i + 1]
    if kind == _U:
        code = _hex4(data, i + 2)
        i += 6
        if 0xD800 <= code < 0xDC00 and i + 6 <= close and data[i] == BACKSLASH and data[i + 1] == _U:
            low = _hex4(data, i + 2)
            if 0xDC00 <= low < 0xE000:
                code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00)
                i += 6
        return i, _encode(code, out, o)
    if kind == _N:
        kind = 0x0A
    elif kind == _T:
        kind = 0x09
    elif kind == _R:
        kind = 0x0D
    elif kind == _B:
        kind = 0x08
    elif kind == _F:
        kind = 0x0C
    out[o] = kind
    return i + 2, o + 1


@kernel
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
            if byte == BACKSLASH:
                i, o = _unescape(data, i, close, out, o)
            else:
                out[o] = byte
                i, o = i + 1, o + 1
        is_valid[row] = bits < 0x80 or _is_utf8(data, starts[row], close)
        if not is_valid[row]:
            o = offsets[row]
        offsets[row + 1] = o
