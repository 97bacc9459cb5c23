"""The pass over templates, parameters and tables, which nest in each other and are matched in one walk."""

from __future__ import annotations

import numpy as np

from queries.wikitext.kernel import I64, U8, Bools, kernel

_PARTED, _TAB, _LF = 1, 9, 10
_BLANK, _QUOTE, _OPEN, _BAR, _CLOSE = b" '{|}"

_ONE = np.uint64(1)
_MARKS = np.isin(np.arange(256), list(b"\n{}"))  # first bytes of marks
_INDENT = np.isin(np.arange(256), list(b" \t:*#;"))  # what may stand before the mark of a table on its line

_WAITING, _TEMPLATES, _SPANS = range(3)
"""Indices into `counts`: openers that wait for their closers, templates among them, spans to cut."""


def cut_templates(text: U8, offsets: I64) -> tuple[U8, I64]:
    """Return the pages without templates, parameters and tables; of a template left open only its braces go.

    A table's marks count at the start of a line only; each page must begin with a line end.
    """
    out = np.empty(text.size, np.uint8)  # a cut of 2 bytes or more leaves at most 1 that holds apostrophes apart
    out_offsets = np.zeros(offsets.size, np.int64)
    _cut_templates(text, offsets, out, out_offsets)
    return out[: out_offsets[-1]], out_offsets


@kernel
def _copy(text: U8, start: int, end: int, out: U8, o: int) -> int:
    read, write = np.uint64(start), np.uint64(o)  # numba would look at each signed index whether it is negative
    for i in range(np.uint64(end - start)):
        out[write + i] = text[read + i]
    return o + end - start


@kernel
def _seek(text: U8, start: int, end: int, marks: Bools) -> int:
    """Return where the first byte lies that is one of the marks; `end` when there is none."""
    i, stop = np.uint64(start), np.uint64(end)
    while i < stop and not marks[text[i]]:
        i += _ONE
    return int(np.int64(i))


@kernel
def _cut(start: int, end: int, spans: I64, counts: I64) -> None:
    """Cut a span, and forget those inside it."""
    while counts[_SPANS] and spans[counts[_SPANS] - 1, 0] >= start:
        counts[_SPANS] -= 1
    spans[counts[_SPANS], 0] = start
    spans[counts[_SPANS], 1] = end
    counts[_SPANS] += 1


@kernel
def _open(start: int, braces: int, waiting: I64, counts: I64) -> None:
    """Push an opener: where it starts and how many `{` are left of its run, 0 for a table."""
    waiting[counts[_WAITING], 0] = start
    waiting[counts[_WAITING], 1] = braces
    counts[_WAITING] += 1
    counts[_TEMPLATES] += braces > 0


@kernel
def _close_table(end: int, waiting: I64, spans: I64, counts: I64) -> None:
    """Close the innermost table, giving up templates left open in it."""
    top = counts[_WAITING] - 1
    while waiting[top, 1]:
        counts[_TEMPLATES] -= 1
        top -= 1
    counts[_WAITING] = top
    _cut(waiting[top, 0], end, spans, counts)


@kernel
def _close_braces(start: int, end: int, waiting: I64, spans: I64, counts: I64) -> None:
    """Close templates (2 braces) and parameters (3) with a run of `}`, giving up tables left open in them."""
    while end - start >= 2 and counts[_TEMPLATES]:
        top = counts[_WAITING] - 1
        while not waiting[top, 1]:
            top -= 1
        used = min(end - start, waiting[top, 1], 3)
        start += used
        waiting[top, 1] -= used
        _cut(waiting[top, 0] + waiting[top, 1], start, spans, counts)
        if waiting[top, 1] < 2:  # a single brace is left over: text
            counts[_TEMPLATES] -= 1
            top -= 1
        counts[_WAITING] = top + 1


@kernel
def _run_end(text: U8, i: int, end: int) -> int:
    byte = text[i]
    while i < end and text[i] == byte:
        i += 1
    return i


@kernel
def _table_mark(text: U8, i: int, end: int) -> int:
    """Return where the mark of a table lies on the line that begins at i: `{|` or `|}`; -1 when there is none."""
    while i < end and (text[i] == _BLANK or text[i] == _TAB):
        i += 1
    if i + 1 < end and text[i] == _BAR and text[i + 1] == _CLOSE:
        return i
    while i < end and _INDENT[text[i]]:
        i += 1
    return i if i + 1 < end and text[i] == _OPEN and text[i + 1] == _BAR else -1


@kernel
def _match(text: U8, start: int, end: int, waiting: I64, spans: I64, counts: I64) -> None:
    """Match the marks of a page: fill `spans` with the outermost spans to cut, `waiting` with what stays open."""
    counts[:] = 0
    i = start
    while True:
        i = _seek(text, i, end, _MARKS)
        if i >= end:
            break
        if text[i] == _LF:
            mark = _table_mark(text, i + 1, end)
            if mark < 0:
                i += 1
            elif text[mark] == _OPEN:
                _open(mark, 0, waiting, counts)
                i = mark + 2
            else:
                first = mark + 1
                i = _run_end(text, first, end)
                top = counts[_WAITING] - 1
                in_table = top >= 0 and waiting[top, 1] == 0
                if counts[_WAITING] > counts[_TEMPLATES] and (in_table or i - first == 1):
                    first += 1
                    _close_table(first, waiting, spans, counts)
                _close_braces(first, i, waiting, spans, counts)
        else:
            first = i
            i = _run_end(text, i, end)
            if i - first >= 2 and text[first] == _OPEN:
                _open(first, i - first, waiting, counts)
            elif i - first >= 2:
                _close_braces(first, i, waiting, spans, counts)


@kernel
def _keep(text: U8, start: int, end: int, out: U8, o: int) -> int:
    """Append what follows a cut, so that apostrophes on either side of it stay two marks. Needs 0 < o or no text."""
    if start < end and text[start] == _QUOTE and out[o - 1] == _QUOTE:
        out[o] = _PARTED
        o += 1
    return _copy(text, start, end, out, o)


@kernel
def _without(text: U8, start: int, end: int, waiting: I64, spans: I64, counts: I64, out: U8, o: int) -> int:
    """Copy a page without its cut spans and the braces of the openers left, both in order and apart from each other."""
    kept = start
    span = opener = 0
    while span < counts[_SPANS] or opener < counts[_WAITING]:
        if opener == counts[_WAITING] or (span < counts[_SPANS] and spans[span, 0] < waiting[opener, 0]):
            cut_start, cut_end = spans[span, 0], spans[span, 1]
            span += 1
        else:
            cut_start, cut_end = waiting[opener, 0], waiting[opener, 0] + waiting[opener, 1]
            opener += 1
        o = _keep(text, kept, cut_start, out, o)
        kept = cut_end
    return _keep(text, kept, end, out, o)


@kernel
def _cut_templates(text: U8, offsets: I64, out: U8, out_offsets: I64) -> None:
    longest = 0
    for page in range(offsets.size - 1):
        longest = max(longest, offsets[page + 1] - offsets[page])
    # an opener and a closer take 2 bytes or more each; every span to cut comes of a closer or of 2 of its braces
    waiting = np.empty((longest // 2 + 1, 2), np.int64)
    spans = np.empty((longest // 2 + 1, 2), np.int64)
    counts = np.zeros(3, np.int64)
    o = 0
    for page in range(offsets.size - 1):
        _match(text, offsets[page], offsets[page + 1], waiting, spans, counts)
        o = _without(text, offsets[page], offsets[page + 1], waiting, spans, counts, out, o)
        out_offsets[page + 1] = o
