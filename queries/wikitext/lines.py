"""The pass from source lines to lines of prose: apostrophe markup, headings, lists, paragraphs."""

from __future__ import annotations

import numpy as np

from queries.wikitext.kernel import I64, U8, kernel
from queries.wikitext.shared import GAP, PARTED, copy, seek, trim

_VERSE, _TAB, _LF = 3, 9, 10
_BLANK, _QUOTE, _DASH, _COLON, _SEMICOLON, _EQUALS, _OPEN, _BAR = b" '-:;={|"

_QUOTES = np.arange(256) == _QUOTE
_MARKS = np.isin(np.arange(256), list(b"\n\3'\1\2"))
_GAPS = np.arange(256) == GAP
_NO_GAP_BEFORE = np.isin(np.arange(256), list(b" \t.,;:!?)"))
_LIST = np.isin(np.arange(256), list(b"*#:;"))

_ITALIC, _BOLD, _BOTH = 2, 3, 5  # apostrophes of a mark
_NONE, _ALONE, _TERM, _ROW = range(4)
"""Kinds of lines: of a paragraph; a list item, heading, rule or preformatted; a term, maybe with its definition; a row
of a broken table."""


def lines(text: U8, offsets: I64) -> tuple[U8, I64]:
    """Return the pages' lines without marks, each with a line end: paragraphs, headings, list items."""
    # a source line with its line end is as long as what it adds; the last one of a page may lack a line end
    out = np.empty(text.size + offsets.size, np.uint8)
    out_offsets = np.zeros(offsets.size, np.int64)
    _lines(text, offsets, out, out_offsets)
    return out[: out_offsets[-1]], out_offsets


@kernel
def _literal_apostrophes(length: int) -> int:
    """Return how many of a run's first apostrophes are text; the others are a mark."""
    return length - 5 if length > 5 else int(length == 4)


@kernel
def _apostrophe_order(text: U8, start: int, mark: int) -> int:
    """Rank a bold mark as an apostrophe: 0 after a one-letter word, 1 after a longer one, 2 after a space."""
    if mark == start or text[mark - 1] == _BLANK:
        return 2
    letter = mark - 1
    while text[letter] & 0xC0 == 0x80:
        letter -= 1
    return 0 if letter > start and text[letter - 1] == _BLANK else 1


@kernel
def _run_end(text: U8, i: int, end: int) -> int:
    while i < end and text[i] == _QUOTE:
        i += 1
    return i


@kernel
def _mark_read_as_text(text: U8, start: int, end: int) -> int:
    """Return where the bold mark lies of which one apostrophe is text, as the marks do not pair; -1 for none."""
    italics = bolds = 0
    best, best_order = -1, 3
    i = start
    while True:
        i = seek(text, i, end, _QUOTES)
        if i >= end:
            break
        after = _run_end(text, i, end)
        mark = i + _literal_apostrophes(after - i)
        if after - i >= 2:
            italics += after - mark != _BOLD
            bolds += after - mark != _ITALIC
        if after - mark == _BOLD:
            order = _apostrophe_order(text, start, mark)
            if order < best_order:
                best, best_order = mark, order
        i = after
    return best if italics % 2 and bolds % 2 else -1


@kernel
def _drop_quotes(text: U8, start: int, end: int, out: U8) -> int:
    """Write a line without bold and italic marks, by the rule of MediaWiki's `doQuotes`; return its length.

    A run of 2 is italic, 3 bold, 5 both; of 4 the first is an apostrophe, as are all above 5. When a line has an
    odd number of both, one bold mark is an apostrophe and an italic mark: the first after a one-letter word, else
    after a longer word, else after a space.
    """
    as_text = _mark_read_as_text(text, start, end)
    o = 0
    i = start
    while i < end:
        mark = seek(text, i, end, _MARKS)
        o = copy(text, i, mark, out, o)
        i = mark
        if i < end and text[i] == _QUOTE:
            after = _run_end(text, i, end)
            kept = _literal_apostrophes(after - i) if after - i > 1 else 1
            if i + kept == as_text:
                kept += 1
            o = copy(text, i, i + kept, out, o)
            i = after
        else:
            i += 1  # apostrophes are parted no longer
    return o


@kernel
def _without_mark(line: U8, start: int, end: int) -> tuple[int, int, int]:
    """Return what kind of line a line is, and its span without the marks of its kind."""
    first = line[start]
    if _LIST[first]:
        while start < end and (_LIST[line[start]] or line[start] == _BLANK):
            start += 1
        return _TERM if first == _SEMICOLON else _ALONE, start, end
    if first == _BAR or (first == _OPEN and start + 1 < end and line[start + 1] == _BAR):
        return _ROW, end, end
    if first == _DASH and end - start >= 4 and line[start + 1] == line[start + 2] == line[start + 3] == _DASH:
        while start < end and line[start] == _DASH:
            start += 1
        return _ALONE, start, end
    if first == _EQUALS and line[end - 1] == _EQUALS and end - start > 2:
        while start < end and line[start] == _EQUALS:
            start += 1
        while start < end and line[end - 1] == _EQUALS:
            end -= 1
        return _ALONE, start, end
    return _NONE, start, end


@kernel
def _fill_gaps(text: U8, start: int, end: int, out: U8) -> int:
    """Write a line with a space for each gap inside it that has no white space or closing punctuation beside it."""
    o = 0
    i = start
    while True:
        gap = seek(text, i, end, _GAPS)
        o = copy(text, i, gap, out, o)
        if gap == end:
            return o
        i = gap
        while text[i] == GAP:
            i += 1
        if not (text[gap - 1] == _BLANK or text[gap - 1] == _TAB or _NO_GAP_BEFORE[text[i]]):
            out[o] = _BLANK
            o += 1


@kernel
def _part_definition(line: U8, start: int, end: int) -> None:
    """Turn the first colon of a term's line, with the space beside it, into a line end."""
    for i in range(start, end - 1):
        if (line[i] == _BLANK and line[i + 1] == _COLON) or (line[i] == _COLON and line[i + 1] == _BLANK):
            line[i] = _LF
            line[i + 1] = _BLANK
            return


@kernel
def _line_end(text: U8, i: int, end: int) -> tuple[int, bool, bool]:
    """Return where the line ends that i lies in, whether it holds gaps, and whether it may hold apostrophe markup."""
    gaps = quotes = False
    while True:
        i = seek(text, i, end, _MARKS)
        if i >= end or text[i] == _LF or text[i] == _VERSE:
            break
        gaps |= text[i] == GAP
        quotes |= text[i] == PARTED or (text[i] == _QUOTE and i + 1 < end and text[i + 1] == _QUOTE)
        i += 1
    return i, gaps, quotes


@kernel
def _page_lines(text: U8, start: int, end: int, filled: U8, unmarked: U8, out: U8, o: int) -> int:
    open_paragraph = False
    while start < end:
        stop, gaps, quotes = _line_end(text, start, end)
        line = text
        first, last = trim(text, start, stop)
        if gaps:
            first, last = 0, _fill_gaps(line, first, last, filled)
            line = filled
        if quotes:
            first, last = 0, _drop_quotes(line, first, last, unmarked)
            line = unmarked
        kind = _ROW
        if first < last:
            kind, first, last = _without_mark(line, first, last)
        if kind == _NONE and (text[start] == _BLANK or (stop < end and text[stop] == _VERSE)):
            kind = _ALONE  # preformatted, or a verse
        if open_paragraph:
            out[o] = _BLANK if kind == _NONE else _LF
            o += 1
        open_paragraph = kind == _NONE
        if first < last:
            o = copy(line, first, last, out, o)
            if kind == _TERM:
                _part_definition(out, o - (last - first), o)
            if not open_paragraph:
                out[o] = _LF
                o += 1
        start = stop + 1
    if open_paragraph:
        out[o] = _LF
        o += 1
    return o


@kernel
def _lines(text: U8, offsets: I64, out: U8, out_offsets: I64) -> None:
    filled, unmarked = np.empty(text.size, np.uint8), np.empty(text.size, np.uint8)
    o = 0
    for page in range(offsets.size - 1):
        o = _page_lines(text, offsets[page], offsets[page + 1], filled, unmarked, out, o)
        out_offsets[page + 1] = o
