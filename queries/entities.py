"""XML's character data to text: entities, character references and line ends, for many spans in one pass."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]

BLOCK = 32  # bytes looked at in one vector step

_AMPERSAND, _SEMICOLON, _NUMBER_SIGN = ord("&"), ord(";"), ord("#")
_LOWER_X = ord("x")
_TAB, _NEWLINE, _RETURN, _SPACE = 9, 10, 13, 32


def unescape(xml: bytes, starts: I64, ends: I64) -> tuple[U8, I64, npt.NDArray[np.bool_]]:
    r"""Return (text, offsets, well_formed) of spans of character data.

    XML 1.0: the five predefined entities and character references are decoded, "\r\n" and "\r" become "\n". A span that
    holds a control character, an unknown or broken reference, or one to a character that XML forbids is not well-formed
    and gives an empty document. `xml` is UTF-8; spans hold no markup.
    """
    source = np.frombuffer(xml, np.uint8)
    # No reference is shorter than the UTF-8 of its character: &lt; 4 > 1, &#128; 6 > 2, &#x800; 7 > 3, &#65536; 8 > 4.
    # BLOCK more, as a whole block is copied before it is known where its text ends.
    text = np.empty(int((ends - starts).sum()) + BLOCK, np.uint8)
    offsets = np.zeros(len(starts) + 1, np.int64)
    well_formed = np.ones(len(starts), np.bool_)
    _unescape(source, starts, ends, text, offsets, well_formed)
    return text[: offsets[-1]], offsets, well_formed


@njit(cache=True, nogil=True)
def _unescape(source, starts, ends, text, offsets, well_formed):  # type: ignore[no-untyped-def]
    written = 0
    for index in range(len(starts)):
        begin = written
        place, end = starts[index], ends[index]
        while place < end:
            if place + BLOCK <= end:
                special = False
                for step in range(BLOCK):
                    byte = source[place + step]
                    text[written + step] = byte
                    special |= (byte == _AMPERSAND) | ((byte < _SPACE) & (byte != _NEWLINE) & (byte != _TAB))
                if not special:
                    place += BLOCK
                    written += BLOCK
                    continue
            byte = source[place]
            while byte != _AMPERSAND and (byte >= _SPACE or byte in (_NEWLINE, _TAB)):
                text[written] = byte
                written += 1
                place += 1
                if place == end:
                    break
                byte = source[place]
            if place == end:
                break
            if byte == _RETURN:
                text[written] = _NEWLINE
                written += 1
                place += 2 if place + 1 < end and source[place + 1] == _NEWLINE else 1
                continue
            code, length = _reference(source, place, end) if byte == _AMPERSAND else (-1, 0)
            if code < 0:
                well_formed[index] = False
                written = begin
                break
            written = _put(text, written, code)
            place += length
        offsets[index + 1] = written


@njit(cache=True, nogil=True)
def _reference(source, place, end):  # type: ignore[no-untyped-def]
    """Return (code point, length) of the reference at `place`; code point -1 when it is none."""
    left = end - place
    if left >= 4 and source[place + 2] == 116 and source[place + 3] == _SEMICOLON:
        if source[place + 1] == 108:  # &lt;
            return 60, 4
        if source[place + 1] == 103:  # &gt;
            return 62, 4
    if left >= 6 and source[place + 5] == _SEMICOLON:
        a, b, c, d = source[place + 1], source[place + 2], source[place + 3], source[place + 4]
        if a == 113 and b == 117 and c == 111 and d == 116:  # &quot;
            return 34, 6
        if a == 97 and b == 112 and c == 111 and d == 115:  # &apos;
            return 39, 6
    if left >= 5 and source[place + 1] == 97 and source[place + 2] == 109 and source[place + 3] == 112:  # &amp;
        return (38, 5) if source[place + 4] == _SEMICOLON else (-1, 0)
    if left >= 4 and source[place + 1] == _NUMBER_SIGN:
        return _character_reference(source, place, end)
    return -1, 0


@njit(cache=True, nogil=True)
def _character_reference(source, place, end):  # type: ignore[no-untyped-def]
    base = 16 if source[place + 2] == _LOWER_X else 10
    first = place + (3 if base == 16 else 2)
    code = np.int64(0)
    for at in range(first, end):
        byte = np.int64(source[at])
        if byte == _SEMICOLON:
            return (code, at + 1 - place) if at > first and _is_character(code) else (-1, 0)
        if 48 <= byte <= 57:
            digit = byte - 48
        elif base == 16 and 97 <= (byte | 32) <= 102:  # a-f, A-F
            digit = (byte | 32) - 87
        else:
            return -1, 0
        code = code * base + digit
        if code > 0x110000:  # too large stays too large, without overflow
            code = np.int64(0x110000)
    return -1, 0


@njit(cache=True, nogil=True)
def _is_character(code):  # type: ignore[no-untyped-def]
    """Return whether XML 1.0 (section 2.2) allows a code point."""
    if code < _SPACE:
        return code in (_TAB, _NEWLINE, _RETURN)
    return code < 0xD800 or 0xE000 <= code < 0xFFFE or 0x10000 <= code < 0x110000


@njit(cache=True, nogil=True)
def _put(text, written, code):  # type: ignore[no-untyped-def]
    """Write a code point as UTF-8; return where the next one goes."""
    if code < 0x80:
        text[written] = code
        return written + 1
    if code < 0x800:
        text[written] = 0xC0 | (code >> 6)
        text[written + 1] = 0x80 | (code & 63)
        return written + 2
    if code < 0x10000:
        text[written] = 0xE0 | (code >> 12)
        text[written + 1] = 0x80 | ((code >> 6) & 63)
        text[written + 2] = 0x80 | (code & 63)
        return written + 3
    text[written] = 0xF0 | (code >> 18)
    text[written + 1] = 0x80 | ((code >> 12) & 63)
    text[written + 2] = 0x80 | ((code >> 6) & 63)
    text[written + 3] = 0x80 | (code & 63)
    return written + 4
