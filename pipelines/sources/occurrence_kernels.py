"""The kernels of pipelines.sources.occurrences: folding white space, resolving addresses, a byte at a time.

Addresses are resolved here where every reading of the standards agrees: http(s) addresses with a plain host, and paths
relative to such a page. What is odd in any way is left to pipelines.sources.links.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt
from numba import njit

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]
I32 = npt.NDArray[np.int32]
Function = TypeVar("Function", bound=Callable[..., Any])

NUM_CODE_POINTS = 0x10000
COPIED, SPACED, DROPPED = 0, 1, 2
"""What becomes of a code point below NUM_CODE_POINTS in a caption; those above are copied."""

RESOLVED, IS_DATA, ODD = 0, 1, 2
"""Verdicts: an http(s) address with a host; a data: one; links.py must say."""

NO_BASE, ODD_BASE, GOOD_BASE = 0, 1, 2
BASE_COLUMNS = 3
"""What is known of a page's base: one of these, end of its host, end of its folder (past the last "/")."""

_SPACE, _DELETE, _SLASH, _DOT, _COLON = ord(" "), 0x7F, ord("/"), ord("."), ord(":")
_QUESTION, _NUMBER, _SEMICOLON, _ZERO = ord("?"), ord("#"), ord(";"), ord("0")
_DASH, _UNDERSCORE, _A, _Z = ord("-"), ord("_"), ord("a"), ord("z")
_LOWER = 0x20  # the bit that tells "a" from "A"
_MAX_PORT, _MAX_PORT_DIGITS = 65535, 5


def _kernel(function: Function) -> Function:
    return cast(Function, njit(cache=True, nogil=True, _nrt=False)(function))


def _inlined(function: Function) -> Function:
    return cast(Function, njit(cache=True, nogil=True, _nrt=False, forceinline=True)(function))


@_inlined
def _code_point(text: U8, i: int) -> tuple[int, int]:
    """Return the code point at `i` of valid UTF-8, NUM_CODE_POINTS for any from there on, and its size."""
    lead = np.int64(text[i])
    if lead < 0x80:
        return lead, 1
    if lead < 0xE0:
        return (lead & 0x1F) << 6 | np.int64(text[i + 1] & 0x3F), 2
    if lead < 0xF0:
        return (lead & 0xF) << 12 | np.int64(text[i + 1] & 0x3F) << 6 | np.int64(text[i + 2] & 0x3F), 3
    return NUM_CODE_POINTS, 4


@_kernel
def fold_spaces(text: U8, offsets: I64, kinds: U8, out: U8, ends: I64) -> None:
    """Write captions, dropped code points gone and runs of spaced ones made one space, and where each ends."""
    o = 0
    ends[0] = 0
    for row in range(len(offsets) - 1):
        i, end, begin = offsets[row], offsets[row + 1], o
        in_gap = False
        while i < end:
            code, size = _code_point(text, i)
            kind = kinds[code] if code < NUM_CODE_POINTS else COPIED
            if kind == COPIED:
                if in_gap and o > begin:
                    out[o] = _SPACE
                    o += 1
                in_gap = False
                for k in range(i, i + size):
                    out[o] = text[k]
                    o += 1
            elif kind == SPACED:
                in_gap = True
            i += size
        ends[row + 1] = o


@_inlined
def _is_host_byte(byte: int) -> bool:
    if _A <= byte | _LOWER <= _Z or _ZERO <= byte < _ZERO + 10:
        return True
    return byte == _DOT or byte == _DASH or byte == _UNDERSCORE


@_inlined
def _authority_end(text: U8, i: int, end: int) -> int:
    """Return where the host and port that begin at `i` end; -1 when they are not plain."""
    begin = i
    while i < end and _is_host_byte(text[i]):
        i += 1
    if i == begin:
        return -1
    if i < end and text[i] == _COLON:
        port, begin = 0, i + 1
        i = begin
        while i < end and i - begin < _MAX_PORT_DIGITS and _ZERO <= text[i] < _ZERO + 10:
            port = port * 10 + np.int64(text[i]) - _ZERO
            i += 1
        if i == begin or port > _MAX_PORT:
            return -1
    if i == end or text[i] == _SLASH or text[i] == _QUESTION or text[i] == _NUMBER:
        return i
    return -1


@_inlined
def _scheme_end(text: U8, i: int, end: int, schemes: U8) -> int:
    """Return where "http://" or "https://" ends at `i`; -1 when neither stands there."""
    k = 0
    while k < 4 and i + k < end and text[i + k] == schemes[k]:
        k += 1
    if k < 4:
        return -1
    i += 4
    if i < end and text[i] == schemes[4]:
        i += 1
    if i + 3 <= end and text[i] == _COLON and text[i + 1] == _SLASH and text[i + 2] == _SLASH:
        return i + 3
    return -1


@_inlined
def _is_dots(text: U8, begin: int, end: int) -> bool:
    """Return whether a path's segment is "." or ".."."""
    size = end - begin
    return 1 <= size <= 2 and text[begin] == _DOT and text[end - 1] == _DOT


@_inlined
def _path_end(text: U8, i: int, end: int, may_repeat: bool, is_base: bool) -> int:
    """Return where the path at `i`, just after a "/" or at its beginning, ends; -1 when it has segments to be removed.

    Those are ".", "..", and empty ones unless they may repeat. The last segment of a base does not matter.
    """
    segment = i
    while i < end and text[i] != _QUESTION and text[i] != _NUMBER:
        byte = text[i]
        if byte == _SLASH:
            if _is_dots(text, segment, i) or (i == segment and not may_repeat):
                return -1
            segment = i + 1
        elif byte == _SEMICOLON and not is_base:
            return -1
        i += 1
    return -1 if not is_base and _is_dots(text, segment, i) else i


@_kernel
def measure_bases(text: U8, offsets: I64, max_bytes: int, schemes: U8, bases: I64) -> None:
    """Write to bases[page] what is known of each page's base (BASE_COLUMNS), positions in `text`.

    Without a path the folder ends at the host: there the "/" is still to be written.
    """
    for page in range(len(offsets) - 1):
        i, end = offsets[page], offsets[page + 1]
        bases[page, 0] = NO_BASE if i == end else ODD_BASE
        if end - i > max_bytes or not _is_clean(text, i, end):
            continue
        begin = _scheme_end(text, i, end, schemes)
        host_end = _authority_end(text, begin, end) if begin >= 0 else -1
        if host_end < 0:
            continue
        folder = host_end
        if host_end < end and text[host_end] == _SLASH:
            path_end = _path_end(text, host_end + 1, end, False, True)
            if path_end < 0:
                continue
            folder = path_end
            while text[folder - 1] != _SLASH:
                folder -= 1
        bases[page, 0], bases[page, 1], bases[page, 2] = GOOD_BASE, host_end, folder


@_inlined
def _is_clean(text: U8, i: int, end: int) -> bool:
    """Return whether no control character is in a text."""
    while i < end and text[i] >= _SPACE and text[i] != _DELETE:
        i += 1
    return i == end


@_inlined
def _is_strip_byte(byte: int) -> bool:
    """Return whether str.strip takes an ASCII character away."""
    return byte == _SPACE or 9 <= byte <= 13 or 28 <= byte <= 31


@_inlined
def _is_data(text: U8, i: int, end: int, schemes: U8) -> bool:
    """Return whether an address begins with "data:", in any case; it stands in `schemes` from 5 on."""
    if end - i < 5 or text[i + 4] != _COLON:
        return False
    k = 0
    while k < 4 and text[i + k] | _LOWER == schemes[5 + k]:
        k += 1
    return k == 4


@_inlined
def _kept_end(text: U8, i: int, end: int) -> int:
    """Return where the address whose path begins at `i` ends, without its fragment.

    -1 when its parameters or its query are there but empty: whether they stay depends on more than them.
    """
    while i < end and text[i] != _QUESTION and text[i] != _NUMBER:
        i += 1
    if text[i - 1] == _SEMICOLON:
        return -1
    query = i
    while i < end and text[i] != _NUMBER:
        i += 1
    return -1 if i == query + 1 else i


@_inlined
def _copied(source: U8, start: int, end: int, target: U8, o: int) -> int:
    """Copy source[start:end] to target[o:]; return where it ends."""
    for i in range(start, end):
        target[o] = source[i]
        o += 1
    return o


@_inlined
def _without_breaks(text: U8, i: int, end: int, out: U8, o: int) -> int:
    for k in range(i, end):
        if text[k] != 9 and text[k] != 10 and text[k] != 13:
            out[o] = text[k]
            o += 1
    return o


@_inlined
def _relative(text: U8, i: int, end: int, base: U8, start: int, host_end: int, folder: int, out: U8, o: int) -> int:
    """Write text[i:end], a path relative to a page's folder, made absolute; return where it ends, -1 when it is odd."""
    k = i
    while k < end and text[k] != _SLASH and text[k] != _QUESTION:
        if text[k] == _COLON:
            return -1  # a scheme
        k += 1
    while i < end and text[i] == _DOT:
        if i + 1 < end and text[i + 1] == _SLASH:
            i += 2
        elif i + 2 < end and text[i + 1] == _DOT and text[i + 2] == _SLASH:
            i += 3
            if folder > host_end + 1:
                folder -= 1
                while base[folder - 1] != _SLASH:
                    folder -= 1
        else:
            break
    if i == end or text[i] == _SLASH or text[i] == _QUESTION or _path_end(text, i, end, False, False) < 0:
        return -1
    o = _copied(base, start, folder, out, o)
    if folder == host_end:
        out[o] = _SLASH
        o += 1
    return _copied(text, i, end, out, o)


@_inlined
def _absolute(
    text: U8, i: int, end: int, kind: int, base: U8, start: int, host_end: int, folder: int, schemes: U8, out: U8, o: int
) -> int:  # fmt: skip
    """Write text[i:end], clean and not empty, made absolute; return where it ends, -1 when it is odd."""
    begin = _scheme_end(text, i, end, schemes)
    is_bare = begin < 0 and end - i >= 2 and text[i] == _SLASH and text[i + 1] == _SLASH
    if begin < 0 and kind != GOOD_BASE:
        return -1
    if begin >= 0 or is_bare:
        path = _authority_end(text, begin if begin >= 0 else i + 2, end)
        stop = _kept_end(text, path, end) if path >= 0 else -1
        if stop < 0 or (stop < end and kind == ODD_BASE):
            return -1
        if is_bare:
            colon = start
            while base[colon] != _COLON:
                colon += 1
            o = _copied(base, start, colon + 1, out, o)
        return _copied(text, i, stop, out, o)
    if text[i] == _QUESTION or text[i] == _NUMBER:
        return -1
    stop = _kept_end(text, i, end)
    if stop < 0:
        return -1
    if text[i] != _SLASH:
        return _relative(text, i, stop, base, start, host_end, folder, out, o)
    if _path_end(text, i + 1, stop, True, False) < 0:
        return -1
    return _copied(text, i, stop, out, _copied(base, start, host_end, out, o))


@_kernel
def resolve_addresses(
    text: U8, offsets: I64, page: I32, base: U8, base_offsets: I64, bases: I64, max_bytes: int, schemes: U8,
    out: U8, ends: I64, verdicts: U8,
) -> None:  # fmt: skip
    """Write addresses made absolute, where each ends, and a verdict on each; nothing is written of an ODD one."""
    o = 0
    ends[0] = 0
    for row in range(len(offsets) - 1):
        i, end, place = offsets[row], offsets[row + 1], page[row]
        while i < end and _is_strip_byte(text[i]):
            i += 1
        while i < end and _is_strip_byte(text[end - 1]):
            end -= 1
        verdict, stop = ODD, np.int64(-1)
        if i < end and text[i] < 0x80 and text[end - 1] < 0x80:  # others may be white space
            if _is_data(text, i, end, schemes):
                verdict, stop = IS_DATA, _without_breaks(text, i, end, out, o)
            elif end - i <= max_bytes and _is_clean(text, i, end):
                kind, start, host_end, folder = NO_BASE, np.int64(0), np.int64(0), np.int64(0)
                if place >= 0:
                    kind, host_end, folder = bases[place, 0], bases[place, 1], bases[place, 2]
                    start = base_offsets[place]
                stop = _absolute(text, i, end, kind, base, start, host_end, folder, schemes, out, o)
                if 0 <= stop <= o + max_bytes:
                    verdict = RESOLVED
        verdicts[row] = verdict
        if verdict != ODD:
            o = stop
        ends[row + 1] = o
