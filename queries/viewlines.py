"""The lines of page view files, compiled: domain, title and count of each line of a block of text.

Titles come out as UTF-8 with the percent signs of URLs undone and runs of underscores and spaces as one space. What
takes Unicode's tables (composing, the capital of a letter beyond ASCII, white space beyond it) is left to the caller:
such titles are flagged. `queries.pageviews` says what the fields mean and where their format is documented.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

Function = TypeVar("Function", bound=Callable[..., Any])

FATES = ("counted", "other_domain", "malformed", "bad_encoding", "untitled")
_COUNTED, _OTHER_DOMAIN, _MALFORMED, _BAD_ENCODING, _UNTITLED = range(len(FATES))

MAX_VIEWS = 2**63 - 1
MAX_FIELDS = 6
MAX_TITLE_BYTES = 1024  # MediaWiki's have 255 at most; what NFC composes was up to three times as long
MAX_LINE_BYTES = 1 << 20  # the hours of a month in one line take some 10 KB

UNSAFE, UNSAFE_FIRST = 1, 2
"""Bits of the table of code points: needs the caller anywhere in a title, at its start."""

_CLEAN, _FLAGGED, _NOT_UTF8 = 0, 1, 2


def _kernel(function: Function) -> Function:
    compiled: Function = njit(cache=True, nogil=True)(function)
    return compiled


@_kernel
def _number(data: Any, start: int, end: int) -> int:
    """Return a decimal number; -1 when it is none, or above MAX_VIEWS."""
    if start >= end:
        return -1
    value = 0
    for index in range(start, end):
        digit = data[index] - 48
        if digit < 0 or digit > 9:
            return -1
        if value > (MAX_VIEWS - digit) // 10:
            return -1
        value = value * 10 + digit
    return value


@_kernel
def _hex(byte: int) -> int:
    if 48 <= byte <= 57:
        return byte - 48
    byte |= 32
    return byte - 87 if 97 <= byte <= 102 else -1


@_kernel
def _unescape(data: Any, start: int, end: int, text: Any, out: int) -> tuple[int, bool]:
    """Write a title to `text` from `out`; return where it ends, and whether it is ASCII. Never longer than it was."""
    begin = out
    ascii_only = True
    while start < end:
        byte = int(data[start])
        start += 1
        if byte == 37 and start + 1 < end:  # %
            high, low = _hex(int(data[start])), _hex(int(data[start + 1]))
            if high >= 0 and low >= 0:
                byte = high * 16 + low
                start += 2
        if byte == 95:  # _
            byte = 32
        if byte == 32 and (out == begin or text[out - 1] == 32):
            continue
        if byte >= 128:
            ascii_only = False
        text[out] = byte
        out += 1
    if out > begin and text[out - 1] == 32:
        out -= 1
    return out, ascii_only


@_kernel
def _code_point(text: Any, at: int, end: int) -> tuple[int, int]:
    """Return the code point at `at` and where the next begins; (-1, at) when that is not UTF-8 (RFC 3629)."""
    first = int(text[at])
    if first < 0x80:
        return first, at + 1
    if 0xC2 <= first <= 0xDF:
        length, value, least = 2, first & 0x1F, 0x80
    elif 0xE0 <= first <= 0xEF:
        length, value, least = 3, first & 0x0F, 0x800
    elif 0xF0 <= first <= 0xF4:
        length, value, least = 4, first & 0x07, 0x10000
    else:
        return -1, at
    if at + length > end:
        return -1, at
    for index in range(at + 1, at + length):
        byte = int(text[index])
        if byte & 0xC0 != 0x80:
            return -1, at
        value = (value << 6) | (byte & 0x3F)
    if value < least or value > 0x10FFFF or 0xD800 <= value <= 0xDFFF:
        return -1, at
    return value, at + length


@_kernel
def _judge(text: Any, begin: int, end: int, table: Any) -> int:
    """Return whether a title holds what the caller must see to (_FLAGGED), or is not UTF-8."""
    verdict = _CLEAN
    at = begin
    while at < end:
        code, following = _code_point(text, at, end)
        if code < 0:
            return _NOT_UTF8
        bits = table[code] if code < len(table) else UNSAFE
        if bits & UNSAFE or (bits & UNSAFE_FIRST and at == begin):
            verdict = _FLAGGED
        at = following
    return verdict


@_kernel
def _finish(text: Any, begin: int, end: int, is_ascii: bool, table: Any, capital: bool) -> int:
    """Judge a title, and write its first letter as a capital where that takes no table."""
    if not is_ascii:
        verdict: int = _judge(text, begin, end, table)
    else:
        verdict = _FLAGGED if table[text[begin]] & UNSAFE_FIRST else _CLEAN
    if capital and verdict == _CLEAN and 97 <= text[begin] <= 122:
        text[begin] -= 32
    return verdict


@_kernel
def _is_same(text: Any, first: int, second: int, end: int) -> bool:
    """Return whether text[first:second] equals text[second:end]."""
    if second - first != end - second:
        return False
    same = True
    for index in range(end - second):
        if text[first + index] != text[second + index]:
            same = False
            break
    return same


@_kernel
def _is_wanted(data: Any, start: int, end: int, codes: Any, code_offsets: Any) -> bool:
    """Return whether data[start:end] is one of the domain codes."""
    for code in range(len(code_offsets) - 1):
        first = code_offsets[code]
        if code_offsets[code + 1] - first != end - start:
            continue
        same = True
        for index in range(end - start):
            if data[start + index] != codes[first + index]:
                same = False
                break
        if same:
            return True
    return False


@_kernel
def _split(
    data: Any, start: int, end: int, layout: Any, codes: Any, code_offsets: Any, bounds: Any
) -> tuple[int, int, int, int]:
    """Return a line's fate, its views, and the start and end of its title. Layout: see `scan_lines`.

    bounds[i] becomes the start of field i; a field ends one before the next.
    """
    fewest, most, place = layout[0], layout[1], layout[2]
    domain_end = start
    while domain_end < end and data[domain_end] != 32:
        domain_end += 1
    if domain_end == end:
        return _MALFORMED, 0, 0, 0
    if not _is_wanted(data, start, domain_end, codes, code_offsets):
        return _OTHER_DOMAIN, 0, 0, 0
    bounds[0], bounds[1] = start, domain_end + 1
    num_fields = 2
    for index in range(domain_end + 1, end):
        if data[index] == 32:
            if num_fields == most:
                return _MALFORMED, 0, 0, 0
            bounds[num_fields] = index + 1
            num_fields += 1
    if num_fields < fewest:
        return _MALFORMED, 0, 0, 0
    bounds[num_fields] = end + 1
    if place < 0:
        place += num_fields
    views = _number(data, bounds[place], bounds[place + 1] - 1)
    if views < 0:
        return _MALFORMED, 0, 0, 0
    title, title_end = bounds[1], bounds[2] - 1
    if title_end - title == 1 and data[title] == 45:  # "-"
        return _UNTITLED, 0, 0, 0
    return _COUNTED, views, title, title_end


@_kernel
def _split_list(data: Any, start: int, end: int) -> tuple[int, int, int, int]:
    """Return what `_split` does for a line of a plain list: the title, a space or a tab, the count."""
    while end > start and (data[end - 1] == 32 or data[end - 1] == 9):
        end -= 1
    cut = end
    while cut > start and data[cut - 1] != 32 and data[cut - 1] != 9:
        cut -= 1
    views = _number(data, cut, end)
    while cut > start and (data[cut - 1] == 32 or data[cut - 1] == 9):
        cut -= 1
    if views < 0 or cut == start:
        return _MALFORMED, 0, 0, 0
    return _COUNTED, views, start, cut


@_kernel
def scan_lines(
    data: NDArray[np.uint8],
    layout: NDArray[np.int64],
    codes: NDArray[np.uint8],
    code_offsets: NDArray[np.int64],
    table: NDArray[np.uint8],
    capital: bool,
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_], NDArray[np.int64]]:
    """Return the titles of a block of whole lines: text, offsets, views, flags; and the number of lines by fate.

    `layout` is the least and the most number of fields, and the place of the count among them (below 0: from the end);
    most = 0 is a plain list. `codes` are the domain codes wanted, ragged; `table` the bits of each code point, those
    beyond it are unsafe. `capital`: an ASCII letter at the start becomes a capital. Neighbouring lines of one title are
    one row, but for titles whose flag is set: they hold code points marked in `table`.
    """
    num_lines = 0
    for byte in data:
        num_lines += byte == 10
    text = np.empty(len(data), np.uint8)  # a title is never longer than its line
    offsets = np.zeros(num_lines + 1, np.int64)
    views = np.empty(num_lines, np.int64)
    flags = np.empty(num_lines, np.bool_)
    fates = np.zeros(5, np.int64)
    bounds = np.empty(MAX_FIELDS + 1, np.int64)
    num_titles = 0
    line_end = -1
    for _ in range(num_lines):
        start = line_end + 1
        line_end = start
        while data[line_end] != 10:
            line_end += 1
        end = line_end - 1 if line_end > start and data[line_end - 1] == 13 else line_end
        if end - start > MAX_LINE_BYTES:
            fate, count, first, last = _MALFORMED, 0, 0, 0
        elif layout[1] == 0:
            fate, count, first, last = _split_list(data, start, end)
        else:
            fate, count, first, last = _split(data, start, end, layout, codes, code_offsets, bounds)
        if fate == _COUNTED:
            begin = offsets[num_titles]
            out, is_ascii = _unescape(data, first, last, text, begin)
            is_title = 0 < out - begin <= MAX_TITLE_BYTES
            verdict = _finish(text, begin, out, is_ascii, table, capital) if is_title else _CLEAN
            if not is_title:
                fate = _MALFORMED
            elif verdict == _NOT_UTF8:
                fate = _BAD_ENCODING
            elif (
                verdict == _CLEAN
                and num_titles
                and views[num_titles - 1] <= MAX_VIEWS - count
                and _is_same(text, offsets[num_titles - 1], begin, out)
            ):
                views[num_titles - 1] += count
            else:
                views[num_titles], flags[num_titles] = count, verdict == _FLAGGED
                num_titles += 1
                offsets[num_titles] = out
        fates[fate] += 1
    return text, offsets[: num_titles + 1], views[:num_titles], flags[:num_titles], fates
