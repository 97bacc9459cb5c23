"""The kernels that several passes need: white space, seeking, copying, and what stands where something was cut."""

from __future__ import annotations

import numpy as np

from queries.wikitext.kernel import U8, Bools, kernel

PARTED, GAP = 1, 2
"""Bytes that the passes put: between apostrophes that a cut brought together; where words would meet."""

WIDE = 4
"""In WHITE: may begin a white space of more than one byte."""
WHITE = np.array([int(byte < 128 and chr(byte).isspace()) for byte in range(256)])
"""For each byte, how many bytes the white space has that it begins."""
WHITE[[0xC2, 0xE1, 0xE2, 0xE3]] = WIDE

_LF, _QUOTE = b"\n'"
_ONE = np.uint64(1)
_NO_GAP_BEHIND = np.isin(np.arange(256), list(b" \t\2"))
_NO_GAP_BEFORE = np.isin(np.arange(256), list(b" \t\n.,;:!?)"))


@kernel
def white(text: U8, i: int, end: int) -> int:
    """Return how many bytes the white space at i has, as str.isspace() sees it; 0 when there is none."""
    width = int(WHITE[text[i]])
    if width != WIDE:
        return width
    if text[i] == 0xC2:
        return 2 if i + 1 < end and (text[i + 1] == 0x85 or text[i + 1] == 0xA0) else 0
    if i + 2 >= end:
        return 0
    code = int(text[i]) << 16 | int(text[i + 1]) << 8 | int(text[i + 2])
    if 0xE28080 <= code <= 0xE2808A or code == 0xE280A8 or code == 0xE280A9 or code == 0xE280AF:
        return 3
    return 3 if code == 0xE19A80 or code == 0xE2819F or code == 0xE38080 else 0


@kernel
def white_or_gap(text: U8, i: int, end: int) -> int:
    """Return what `white` does, and 1 for a gap."""
    return 1 if text[i] == GAP else white(text, i, end)


@kernel
def trim(text: U8, start: int, end: int) -> tuple[int, int]:
    """Return the span without white space and gaps at its ends."""
    while start < end and white_or_gap(text, start, end):
        start += white_or_gap(text, start, end)
    while start < end:
        last = end - 1
        while last > start and text[last] & 0xC0 == 0x80:
            last -= 1
        if not white_or_gap(text, last, end):
            break
        end = last
    return start, end


@kernel
def copy(text: U8, start: int, end: int, out: U8, o: int) -> int:
    """Append text[start:end]; return the new end of `out`."""
    read, write = np.uint64(start), np.uint64(o)  # numba would look at each signed index whether it is negative
    for i in range(np.uint64(end - start)):
        out[write + i] = text[read + i]
    return o + end - start


@kernel
def seek(text: U8, start: int, end: int, marks: Bools) -> int:
    """Return where the first byte lies that is one of the marks; `end` when there is none."""
    i, stop = np.uint64(start), np.uint64(end)
    while i < stop and not marks[text[i]]:
        i += _ONE
    return int(np.int64(i))


@kernel
def put_gap(out: U8, o: int) -> int:
    """Append a gap for what is cut, unless a blank lies before it. Needs 0 < o."""
    if not _NO_GAP_BEHIND[out[o - 1]]:
        out[o] = GAP
        o += 1
    return o


@kernel
def keep(text: U8, start: int, end: int, out: U8, o: int) -> int:
    """Append what follows a cut, so that apostrophes on either side of it stay two marks.

    A gap goes when white space or closing punctuation follows, but not at the front of a line, which then is not
    preformatted. Needs 0 < o, and a line end at the front of the page.
    """
    if start < end:
        if out[o - 1] == GAP and out[o - 2] != _LF and _NO_GAP_BEFORE[text[start]]:
            o -= 1
        elif text[start] == _QUOTE and out[o - 1] == _QUOTE:
            out[o] = PARTED
            o += 1
    return copy(text, start, end, out, o)
