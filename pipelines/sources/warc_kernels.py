"""The kernel that finds the bodies of plain WARC records."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pipelines.sources.json_kernels import I64, U8, inlined, is_at, kernel, matches

I8 = npt.NDArray[np.int8]

ODD, OTHER, METADATA = -1, 0, 1
"""Kinds of records; ODD: not plain, whatever it is."""

_FIRST, _FIRST_NEXT = (np.frombuffer(line, np.uint8).copy() for line in (b"WARC/1.0\r\n", b"WARC/1.1\r\n"))
_TYPE, _METADATA = (np.frombuffer(word, np.uint8).copy() for word in (b"WARC-Type: ", b"metadata"))
_LENGTH = np.frombuffer(b"Content-Length: ", np.uint8).copy()
_CR, _LF, _ZERO, _NINE = 0x0D, 0x0A, ord("0"), ord("9")
_MAX_DIGITS = 15


@inlined
def _line_end(data: U8, i: int, end: int) -> int:
    """Return where the line from `i` on ends, behind its CR LF; -1 when it does not, or is no field."""
    if data[i] <= 0x20:
        return -1
    while i < end - 1:
        if data[i] == _LF:
            return -1
        if data[i] == _CR:
            return i + 2 if data[i + 1] == _LF else -1
        i += 1
    return -1


@inlined
def _number(data: U8, i: int) -> int:
    """Return the number that makes up the rest of a line, -1 when something else does."""
    value, first = 0, i
    while _ZERO <= data[i] <= _NINE and i - first < _MAX_DIGITS:
        digit: Any = np.int64(data[i])
        value = value * 10 + digit - _ZERO
        i += 1
    return value if i > first and data[i] == _CR else -1


@inlined
def _kind(data: U8, i: int, close: int) -> int:
    for j in range(i, close):
        if not 0x61 <= data[j] <= 0x7A:  # capitals mean the same
            return ODD
    return METADATA if matches(data, i, close, _METADATA) else OTHER


@kernel
def _body(data: U8, i: int, end: int) -> tuple[int, int, int]:
    """Return the kind of the record data[i:end], and where its body begins and ends."""
    if end - i < 32 or not (is_at(data, i, _FIRST) or is_at(data, i, _FIRST_NEXT)):
        return ODD, i, i
    i += 10
    kind, num_bytes = ODD, -1
    while i < end - 1 and data[i] != _CR:
        stop = _line_end(data, i, end)
        if stop < 0:
            return ODD, i, i
        if stop - i > 13 and is_at(data, i, _TYPE):
            if kind != ODD:
                return ODD, i, i
            kind = _kind(data, i + 11, stop - 2)
        elif stop - i > 16 and is_at(data, i, _LENGTH):
            if num_bytes >= 0:
                return ODD, i, i
            num_bytes = _number(data, i + 16)
        i = stop
    i += 2
    is_plain = kind != ODD and num_bytes >= 0 and i + num_bytes + 4 == end and data[i - 1] == _LF
    if not is_plain or data[end - 4] != _CR or data[end - 3] != _LF or data[end - 2] != _CR or data[end - 1] != _LF:
        return ODD, i, i
    return kind, i, end - 4


@kernel
def find_bodies(data: U8, bounds: I64, kinds: I8, starts: I64, stops: I64) -> None:
    """Write the kind of each record and where its body is: data[starts[r]:stops[r]].

    Record r is data[bounds[r]:bounds[r + 1]]: of WARC 1.0 or 1.1, with nothing before it and two line ends after it.
    PADDING_BYTES zeros follow the last one.
    """
    for record in range(len(bounds) - 1):
        kinds[record], starts[record], stops[record] = _body(data, bounds[record], bounds[record + 1])
