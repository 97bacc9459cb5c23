"""The kernels of pipelines.sources.occurrences: folding white space, resolving addresses, a byte at a time.

Addresses are resolved here where every reading of the standards agrees: http(s) addresses with a plain host, and paths
relative to such a page. What is odd in any way is left to pipelines.sources.links.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from wit.compiled import inlined, kernel

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]
I32 = npt.NDArray[np.int32]

NUM_CODE_POINTS = 0x10000
COPIED, SPACED, DROPPED = 0, 1, 2
"""What becomes of a code point below NUM_CODE_POINTS in a caption; those above are copied."""

RESOLVED, IS_DATA, ODD = 0, 1, 2
"""Verdicts: an http(s) address with a host; a data: one; links.py must say."""

NO_BASE, ODD_BASE, GOOD_BASE = 0, 1, 2
KIND, START, HOST_END, FOLDER_END = range(4)
"""Columns of what is known of a page's base: one of these, and where itself, its host and its folder begin or end."""
BASE_COLUMNS = 4

_SPACE, _DELETE, _SLASH, _DOT, _COLON = ord(" "), 0x7F, ord("/"), ord("."), ord(":")
_QUESTION, _NUMBER, _SEMICOLON, _ZERO = ord("?"), ord("#"), ord(";"), ord("0")
_IS_OF_HOST = np.array([chr(byte) in ".-_" or chr(byte).isalnum() for byte in range(0x80)] + [False] * 0x80)
_LOWER = 0x20  # the bit that tells "a" from "A"
_HTTPS, _DATA = np.frombuffer(b"https", np.uint8), np.frombuffer(b"data", np.uint8)
_MAX_PORT, _MAX_PORT_DIGITS = 65535, 5


@inlined
def _code_point(text: U8, i: int, end: int) -> tuple[int, int]:
    """Return the code point at `i` of UTF-8, NUM_CODE_POINTS for any from there on, and its size."""
    lead: Any = np.int64(text[i])
    if lead < 0x80:
        return lead, 1
    size = 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
    if i + size > end:
        return NUM_CODE_POINTS, end - i  # no UTF-8, which sources do not give; but nothing is read beyond
    if size == 4:
        return NUM_CODE_POINTS, 4
    code = lead & (0x1F if size == 2 else 0xF)
    for j in range(i + 1, i + size):
        code = code << 6 | np.int64(text[j] & 0x3F)
    return code, size


@kernel
def fold_spaces(text: U8, offsets: I64, kinds: U8, out: U8, ends: I64) -> None:
    """Write captions, dropped code points gone and runs of spaced ones made one space, and where each ends."""
    o = 0
    ends[0] = 0
    for row in range(len(offsets) - 1):
        i, end, begin = offsets[row], offsets[row + 1], o
        in_gap = False
        while i < end:
            code, size = _code_point(text, i, end)
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


@inlined
def _authority_end(text: U8, i: int, end: int) -> int:
    """Return where the host and port that begin at `i` end; -1 when they are not plain."""
    begin = i
    while i < end and _IS_OF_HOST[text[i]]:
        i += 1
    if i == begin:
        return -1
    if i < end and text[i] == _COLON:
        port: Any = 0
        i += 1
        begin = i
        while i < end and i - begin < _MAX_PORT_DIGITS and _ZERO <= text[i] < _ZERO + 10:
            port = port * 10 + np.int64(text[i]) - _ZERO
            i += 1
        if port > _MAX_PORT:
            return -1
    if i == end or text[i] == _SLASH or text[i] == _QUESTION or text[i] == _NUMBER:
        return i
    return -1


@inlined
def _scheme_end(text: U8, i: int, end: int) -> int:
    """Return where "http://" or "https://" ends at `i`; -1 when neither stands there."""
    k = 0
    while k < 4 and i + k < end and text[i + k] == _HTTPS[k]:
        k += 1
    if k < 4:
        return -1
    i += 4
    if i < end and text[i] == _HTTPS[4]:
        i += 1
    if i + 3 <= end and text[i] == _COLON and text[i + 1] == _SLASH and text[i + 2] == _SLASH:
        return i + 3
    return -1


@inlined
def _is_dots(text: U8, begin: int, end: int) -> bool:
    """Return whether a path's segment is "." or ".."."""
    size = end - begin
    return 1 <= size <= 2 and text[begin] == _DOT and text[end - 1] == _DOT


@inlined
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


@kernel
def measure_bases(text: U8, offsets: I64, max_bytes: int, bases: I64) -> None:
    """Write to bases[page] what is known of each page's base (BASE_COLUMNS), positions in `text`.

    The last row is for links without a page. Without a path the folder ends with the host: the "/" is still to be
    written.
    """
    bases[len(offsets) - 1, KIND] = NO_BASE
    for page in range(len(offsets) - 1):
        i, end = offsets[page], offsets[page + 1]
        bases[page, KIND] = NO_BASE if i == end else ODD_BASE
        if end - i > max_bytes or not _is_clean(text, i, end):
            continue
        begin = _scheme_end(text, i, end)
        host_end = _authority_end(text, begin, end) if begin >= 0 else -1
        if host_end < 0:
            continue
        folder = host_end
        if host_end < end and text[host_end] == _SLASH:
            folder = _path_end(text, host_end + 1, end, False, True)
            if folder < 0:
                continue
            while text[folder - 1] != _SLASH:
                folder -= 1
        bases[page, KIND], bases[page, START] = GOOD_BASE, i
        bases[page, HOST_END], bases[page, FOLDER_END] = host_end, folder


@inlined
def _is_clean(text: U8, i: int, end: int) -> bool:
    """Return whether no control character is in a text."""
    while i < end and text[i] >= _SPACE and text[i] != _DELETE:
        i += 1
    return i == end


@inlined
def _is_strip_byte(byte: int) -> bool:
    """Return whether str.strip takes an ASCII character away."""
    return byte == _SPACE or 9 <= byte <= 13 or 28 <= byte <= 31


@inlined
def _is_data(text: U8, i: int, end: int) -> bool:
    """Return whether an address begins with "data:", in any case."""
    if end - i < 5 or text[i + 4] != _COLON:
        return False
    k = 0
    while k < 4 and text[i + k] | _LOWER == _DATA[k]:
        k += 1
    return k == 4


@inlined
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


@inlined
def _copied(source: U8, start: int, end: int, target: U8, o: int) -> int:
    """Copy source[start:end] to target[o:]; return where it ends."""
    for i in range(start, end):
        target[o] = source[i]
        o += 1
    return o


@inlined
def _without_breaks(text: U8, i: int, end: int, out: U8, o: int) -> int:
    for k in range(i, end):
        if text[k] != 9 and text[k] != 10 and text[k] != 13:
            out[o] = text[k]
            o += 1
    return o


@inlined
def _above(text: U8, folder: int, host_end: int) -> int:
    """Return where the folder above the one that ends at `folder` ends: that of the host has none above it."""
    if folder <= host_end + 1:
        return folder
    folder -= 1
    while text[folder - 1] != _SLASH:
        folder -= 1
    return folder


@inlined
def _relative(text: U8, i: int, end: int, base: U8, bases: I64, page: int, out: U8, o: int) -> int:
    """Write text[i:end], a path relative to a page's folder, made absolute; return where it ends, -1 when it is odd."""
    host_end, folder = bases[page, HOST_END], bases[page, FOLDER_END]
    k = i
    while k < end and text[k] != _SLASH and text[k] != _QUESTION:
        if text[k] == _COLON:
            return -1  # a scheme
        k += 1
    while i < end and text[i] == _DOT:
        if i + 1 < end and text[i + 1] == _SLASH:
            i += 2
        elif i + 2 < end and text[i + 1] == _DOT and text[i + 2] == _SLASH:
            i, folder = i + 3, _above(base, folder, host_end)
        else:
            break
    if i == end or text[i] == _SLASH or text[i] == _QUESTION or _path_end(text, i, end, False, False) < 0:
        return -1
    o = _copied(base, bases[page, START], folder, out, o)
    if folder == host_end:
        out[o] = _SLASH
        o += 1
    return _copied(text, i, end, out, o)


@inlined
def _absolute(text: U8, i: int, end: int, base: U8, bases: I64, page: int, out: U8, o: int) -> int:
    """Write text[i:end], clean and not empty, made absolute; return where it ends, -1 when it is odd."""
    begin = _scheme_end(text, i, end)
    is_bare = begin < 0 and end - i >= 2 and text[i] == _SLASH and text[i + 1] == _SLASH
    if begin < 0 and bases[page, KIND] != GOOD_BASE:
        return -1
    start, host_end = bases[page, START], bases[page, HOST_END]
    if begin >= 0 or is_bare:
        path = _authority_end(text, begin if begin >= 0 else i + 2, end)
        stop = _kept_end(text, path, end) if path >= 0 else -1
        if stop < 0 or (stop < end and bases[page, KIND] == ODD_BASE):
            return -1  # the fragment stays where the base cannot be parsed
        if is_bare:
            o = _copied(base, start, _colon_end(base, start, host_end), out, o)
        return _copied(text, i, stop, out, o)
    if text[i] == _QUESTION or text[i] == _NUMBER:
        return -1
    stop = _kept_end(text, i, end)
    if stop < 0:
        return -1
    if text[i] != _SLASH:
        return _relative(text, i, stop, base, bases, page, out, o)
    if _path_end(text, i + 1, stop, True, False) < 0:
        return -1
    return _copied(text, i, stop, out, _copied(base, start, host_end, out, o))


@inlined
def _colon_end(text: U8, i: int, end: int) -> int:
    while i < end and text[i] != _COLON:
        i += 1
    return i + 1


@kernel
def resolve_addresses(
    text: U8, offsets: I64, page: I32, base: U8, bases: I64, max_bytes: int, out: U8, ends: I64, verdicts: U8
) -> None:
    """Write addresses made absolute, where each ends, and a verdict on each; nothing is written of an ODD one."""
    o: Any = 0
    ends[0] = 0
    for row in range(len(offsets) - 1):
        i, end = offsets[row], offsets[row + 1]
        while i < end and _is_strip_byte(text[i]):
            i += 1
        while i < end and _is_strip_byte(text[end - 1]):
            end -= 1
        verdict = ODD
        stop: Any = -1
        if i < end and text[i] < 0x80 and text[end - 1] < 0x80:  # others may be white space
            if _is_data(text, i, end):
                verdict, stop = IS_DATA, _without_breaks(text, i, end, out, o)
            elif end - i <= max_bytes and _is_clean(text, i, end):
                place = page[row] if page[row] >= 0 else len(bases) - 1
                stop = _absolute(text, i, end, base, bases, place, out, o)
                if 0 <= stop <= o + max_bytes:
                    verdict = RESOLVED
        verdicts[row] = verdict
        if verdict != ODD:
            o = stop
        ends[row + 1] = o
