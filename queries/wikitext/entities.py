"""The last pass: magic words go, literals come back, entities are decoded, lines are stripped."""

from __future__ import annotations

import html
from html.entities import html5
from typing import NamedTuple

import numpy as np

from queries.wikitext.kernel import I64, U8, kernel
from queries.wikitext.shared import copy, seek, trim

_STRIPPED, _LF = 0, 10
_HASH, _AMPERSAND, _ZERO, _NINE, _SEMICOLON, _X, _UNDERSCORE = b"#&09;x_"

_MAGIC = np.array([byte >= 0x80 or byte in b"ABCDEFGHIJKLMNOPQRSTUVWXYZ_" for byte in range(256)])
_FEWEST_LETTERS, _MOST_LETTERS = 2, 30  # of a magic word, in any edition's language
_ALPHANUMERIC = np.array([byte < 128 and chr(byte).isalnum() for byte in range(256)])
_DIGITS = np.array(
    [int(chr(byte), 16) if byte < 128 and chr(byte) in "0123456789abcdefABCDEF" else 16 for byte in range(256)]
)
_LINE_ENDS = np.arange(256) == _LF
_MARKS = np.isin(np.arange(256), list(b"\n&_\0"))
_WORD_MARKS = np.isin(np.arange(256), list(b"_\0"))
_WORDS = np.array([byte >= 0x80 or chr(byte).isalnum() for byte in range(256)])
_REFERENCES = np.arange(256) == _AMPERSAND

_MOST_DIGITS, _MOST_HEX_DIGITS = 7, 6
_LONGEST_NAME = 32  # characters that are sought after `&`
_LONGEST_OPEN_NAME = max(len(name) for name in html5 if not name.endswith(";"))


class Entities(NamedTuple):
    """Named entities, and what the numbers below 256 stand for, which is not the code point for each of them."""

    names: U8
    """Without `&`, most with `;`; sorted."""
    name_offsets: I64
    texts: U8
    """UTF-8, of the named ones first, then of the numbers."""
    text_offsets: I64


def compile_entities() -> Entities:
    """Return the entities of HTML 5, as `html.unescape` decodes them."""
    named = {name.encode(): text.encode() for name, text in html5.items()}
    names = sorted(named)
    texts = [*(named[name] for name in names), *(html.unescape(f"&#{number};").encode() for number in range(256))]
    assert all(len(text) <= 2 * len(name) for name, text in named.items())  # `finish` relies on it
    return Entities(
        np.frombuffer(b"".join(names), np.uint8).copy(),
        np.cumsum([0, *map(len, names)]),
        np.frombuffer(b"".join(texts), np.uint8).copy(),
        np.cumsum([0, *map(len, texts)]),
    )


def finish(text: U8, offsets: I64, source: U8, literals: tuple[I64, I64, I64], entities: Entities) -> tuple[U8, I64]:
    """Return the pages' lines, joined by line ends, none blank, as a reader sees them.

    `literals` are spans of `source`, as `strip_tags` returns them.
    """
    starts, ends, first_literals = literals
    count = first_literals[-1]
    size = 2 * (text.size + int((ends[:count] - starts[:count]).sum()))  # no entity's text is twice as long as it
    out = np.empty(size, np.uint8)
    out_offsets = np.zeros(offsets.size, np.int64)
    scratch = (np.empty(size, np.uint8), np.empty(size, np.uint8))
    _finish(text, offsets, source, literals, entities, scratch, out, out_offsets)
    return out[: out_offsets[-1]], out_offsets


@kernel
def _magic_word_end(text: U8, i: int, end: int) -> int:
    """Return where the magic word that begins at i ends; i when none does."""
    if i + 2 >= end or text[i + 1] != _UNDERSCORE or text[i + 2] == _UNDERSCORE:
        return i
    after = i + 2
    letters = 0
    while after + 1 < end and letters < _MOST_LETTERS:
        if not _MAGIC[text[after]] or (text[after] == text[after + 1] == _UNDERSCORE):
            break
        after += 1
        while text[after] & 0xC0 == 0x80:
            after += 1
        letters += 1
    closed = after + 1 < end and text[after] == text[after + 1] == _UNDERSCORE
    return after + 2 if closed and letters >= _FEWEST_LETTERS else i


@kernel
def _put_literals(
    text: U8, start: int, end: int, source: U8, literals: tuple[I64, I64, I64], first: int, out: U8
) -> int:
    """Write a line without magic words and with its literals, of which `first` is the page's first; return its size."""
    o = 0
    i = kept = start
    while True:
        i = seek(text, i, end, _WORD_MARKS)
        if i >= end:
            break
        after = _magic_word_end(text, i, end) if text[i] == _UNDERSCORE else -1
        if after == i:
            i += 1
            continue
        o = copy(text, kept, i, out, o)
        if text[i] == _STRIPPED:
            number = 0
            after = i + 1
            while text[after] != _STRIPPED:
                number = 10 * number + text[after] - _ZERO
                after += 1
            after += 1
            o = copy(source, literals[0][first + number], literals[1][first + number], out, o)
        i = kept = after
    return copy(text, kept, end, out, o)


@kernel
def _put_point(point: int, out: U8, o: int) -> int:
    """Write a code point from 256 on, as a numeric entity stands for it."""
    if point > 0x10FFFF or 0xD800 <= point <= 0xDFFF:
        point = 0xFFFD
    if 0xFDD0 <= point <= 0xFDEF or point & 0xFFFE == 0xFFFE:  # no characters
        return o
    if point < 0x800:
        out[o] = 0xC0 | point >> 6
        o += 1
    else:
        if point < 0x10000:
            out[o] = 0xE0 | point >> 12
        else:
            out[o] = 0xF0 | point >> 18
            out[o + 1] = 0x80 | point >> 12 & 0x3F
            o += 1
        out[o + 1] = 0x80 | point >> 6 & 0x3F
        o += 2
    out[o] = 0x80 | point & 0x3F
    return o + 1


@kernel
def _find_entity(entities: Entities, text: U8, start: int, end: int) -> int:
    """Return the index of the named entity text[start:end], -1 when there is none."""
    low, high = 0, entities.name_offsets.size - 1
    size = end - start
    while low < high:
        middle = (low + high) // 2
        first = entities.name_offsets[middle]
        length = entities.name_offsets[middle + 1] - first
        i = 0
        while i < min(length, size) and text[start + i] == entities.names[first + i]:
            i += 1
        if i == length == size:
            return middle
        if i < size and (i == length or text[start + i] > entities.names[first + i]):
            low = middle + 1
        else:
            high = middle
    return -1


@kernel
def _put_text(entities: Entities, index: int, out: U8, o: int) -> int:
    return copy(entities.texts, entities.text_offsets[index], entities.text_offsets[index + 1], out, o)


@kernel
def _decode_number(text: U8, i: int, end: int, entities: Entities, out: U8, o: int) -> tuple[int, int]:
    """Decode the numeric entity whose `#` is at i; return where it ends, -1 when it is none, and new `o`."""
    i += 1
    base, most = 10, _MOST_DIGITS
    if i < end and text[i] | 32 == _X:
        i += 1
        base, most = 16, _MOST_HEX_DIGITS
    start = i
    point = 0
    while i < end and i - start <= most and _DIGITS[text[i]] < base:
        point = base * point + _DIGITS[text[i]]
        i += 1
    if not 1 <= i - start <= most or i == end or text[i] != _SEMICOLON:
        return -1, o
    if point < 256:
        return i + 1, _put_text(entities, entities.text_offsets.size - 257 + point, out, o)
    return i + 1, _put_point(point, out, o)


@kernel
def _decode_name(text: U8, i: int, end: int, entities: Entities, out: U8, o: int) -> tuple[int, int]:
    """Decode the named entity whose name begins at i; return where it ends, -1 when it is none, and new `o`.

    A name may go on behind one of those that need no `;`: the longest of these is decoded and the rest is text.
    """
    stop = i
    while stop < end and stop - i <= _LONGEST_NAME and _ALPHANUMERIC[text[stop]]:
        stop += 1
    if not 2 <= stop - i <= _LONGEST_NAME or stop == end or text[stop] != _SEMICOLON or text[i] <= _NINE:
        return -1, o
    index = _find_entity(entities, text, i, stop + 1)
    after = stop + 1
    if index < 0:
        after = min(stop, i + _LONGEST_OPEN_NAME)
        index = _find_entity(entities, text, i, after)
        while index < 0 and after > i + 2:
            after -= 1
            index = _find_entity(entities, text, i, after)
    if index < 0:
        return -1, o
    o = _put_text(entities, index, out, o)
    return stop + 1, copy(text, after, stop + 1, out, o)


@kernel
def _decode(text: U8, start: int, end: int, entities: Entities, out: U8) -> int:
    """Write a line with its entities decoded; return its size."""
    o = 0
    i = kept = start
    while True:
        i = seek(text, i, end, _REFERENCES)
        if i + 1 >= end:
            break
        o = copy(text, kept, i, out, o)
        kept = i
        if text[i + 1] == _HASH:
            after, o = _decode_number(text, i + 1, end, entities, out, o)
        else:
            after, o = _decode_name(text, i + 1, end, entities, out, o)
        i += 1
        if after > 0:
            i = kept = after
    return copy(text, kept, end, out, o)


@kernel
def _put_lines(text: U8, start: int, end: int, page_start: int, out: U8, o: int) -> int:
    """Append the lines of text[start:end], stripped, to what of a page begins at page_start.

    A line without a letter or digit is blank or left over from what was cut.
    """
    while start < end:
        stop = seek(text, start, end, _LINE_ENDS)
        first, last = trim(text, start, stop)
        if seek(text, first, last, _WORDS) < last:
            if o > page_start:
                out[o] = _LF
                o += 1
            o = copy(text, first, last, out, o)
        start = stop + 1
    return o


@kernel
def _finish(
    text: U8, offsets: I64, source: U8, literals: tuple[I64, I64, I64], entities: Entities,
    scratch: tuple[U8, U8], out: U8, out_offsets: I64,
) -> None:  # fmt: skip
    o = 0
    for page in range(offsets.size - 1):
        page_start = o
        start, end = offsets[page], offsets[page + 1]
        while start < end:
            plain = stop = seek(text, start, end, _MARKS)
            while text[stop] != _LF:
                stop = seek(text, stop + 1, end, _MARKS)
            if stop == plain:
                o = _put_lines(text, start, stop, page_start, out, o)
            else:
                size = _put_literals(text, start, stop, source, literals, literals[2][page], scratch[0])
                size = _decode(scratch[0], 0, size, entities, scratch[1])
                o = _put_lines(scratch[1], 0, size, page_start, out, o)
            start = stop + 1
        out_offsets[page + 1] = o
