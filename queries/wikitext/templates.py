"""The pass over templates, parameters and tables, which nest in each other and are matched in one walk."""

from __future__ import annotations

import numpy as np

from queries.wikitext.kernel import I64, U8, kernel
from queries.wikitext.shared import GAP, PARTED, keep, put_gap, seek

_TAB, _LF = 9, 10
_BLANK, _BANG, _QUOTE, _EQUALS, _S, _OPEN, _BAR, _CLOSE = b" !'=s{|}"

_MARKS = np.isin(np.arange(256), list(b"\n{}"))  # first bytes of marks
_INDENT = np.isin(np.arange(256), list(b" \t\2:*#;"))  # what may stand before the mark of a table on its line

_BLANKS = np.isin(np.arange(256), list(b" \t\n"))

_WAITING, _TEMPLATES, _SPANS, _BARE = range(4)
"""Indices into `state`: how many openers wait for their closers, templates among them, spans to cut; and where the
front of a line ends of which nothing is left but blanks and list marks."""

_NOTHING = 0  # what is left of a span to cut: nothing, GAP, or the sign that a template is: `|`, `=`, `'`, s for `'s`
_LONGEST_SIGN = 16  # bytes of `{{!}}` with its braces and the white space in it


def cut_templates(text: U8, offsets: I64) -> tuple[U8, I64]:
    """Return the pages without templates, parameters and tables; of a template left open only its braces go.

    A table's marks count at the start of a line only, that of its beginning also behind templates; each page must
    begin with a line end.
    """
    out = np.empty(text.size, np.uint8)  # less is left of a template of 4 bytes or more, or of the braces of an opener
    out_offsets = np.zeros(offsets.size, np.int64)
    _cut_templates(text, offsets, out, out_offsets)
    return out[: out_offsets[-1]], out_offsets


@kernel
def _is_bare(text: U8, i: int, bare: int) -> bool:
    """Say whether nothing but blanks, list marks and what is cut up to `bare` lies between a line's start and i."""
    while i != bare and _INDENT[text[i - 1]]:
        i -= 1
    return i == bare or text[i - 1] == _LF


@kernel
def _cut(text: U8, start: int, end: int, fill: int, spans: I64, state: I64) -> None:
    """Cut a span, and forget those inside it."""
    while state[_SPANS] and spans[state[_SPANS] - 1, 0] >= start:
        state[_SPANS] -= 1
    spans[state[_SPANS], 0] = start
    spans[state[_SPANS], 1] = end
    spans[state[_SPANS], 2] = fill
    state[_SPANS] += 1
    if _is_bare(text, start, state[_BARE]):
        state[_BARE] = end


@kernel
def _sign(text: U8, start: int, end: int) -> int:
    """Return the sign that the template text[start:end] is in nearly every edition; a gap for another."""
    if end - start > _LONGEST_SIGN:
        return GAP
    start, end = start + 2, end - 2
    while start < end and _BLANKS[text[start]]:
        start += 1
    while start < end and _BLANKS[text[end - 1]]:
        end -= 1
    if end - start == 2:
        return _S if text[start] == _QUOTE and text[start + 1] == _S else GAP
    if end - start != 1:
        return GAP
    if text[start] == _BANG:
        return _BAR
    return int(text[start]) if text[start] == _EQUALS or text[start] == _QUOTE else GAP


@kernel
def _open(start: int, braces: int, waiting: I64, state: I64) -> None:
    """Push an opener: where it starts and how many `{` are left of its run, 0 for a table."""
    waiting[state[_WAITING], 0] = start
    waiting[state[_WAITING], 1] = braces
    state[_WAITING] += 1
    state[_TEMPLATES] += braces > 0


@kernel
def _close_table(text: U8, end: int, waiting: I64, spans: I64, state: I64) -> None:
    """Close the innermost table, giving up templates left open in it."""
    top = state[_WAITING] - 1
    while waiting[top, 1]:
        state[_TEMPLATES] -= 1
        top -= 1
    state[_WAITING] = top
    _cut(text, waiting[top, 0], end, GAP, spans, state)


@kernel
def _close_braces(text: U8, start: int, end: int, waiting: I64, spans: I64, state: I64) -> None:
    """Close templates (2 braces) and parameters (3) with a run of `}`, giving up tables left open in them."""
    while end - start >= 2 and state[_TEMPLATES]:
        top = state[_WAITING] - 1
        while not waiting[top, 1]:
            top -= 1
        used = min(end - start, waiting[top, 1], 3)
        start += used
        waiting[top, 1] -= used
        first = waiting[top, 0] + waiting[top, 1]
        _cut(text, first, start, _sign(text, first, start) if used == 2 else GAP, spans, state)
        if waiting[top, 1] < 2:  # a single brace is left over: text
            state[_TEMPLATES] -= 1
            top -= 1
        state[_WAITING] = top + 1


@kernel
def _run_end(text: U8, i: int, end: int) -> int:
    byte = text[i]
    while i < end and text[i] == byte:
        i += 1
    return i


@kernel
def _table_mark(text: U8, i: int, end: int) -> int:
    """Return where the mark of a table lies on the line that begins at i: `{|` or `|}`; -1 when there is none."""
    while i < end and (text[i] == _BLANK or text[i] == _TAB or text[i] == GAP):
        i += 1
    if i + 1 < end and text[i] == _BAR and text[i + 1] == _CLOSE:
        return i
    while i < end and _INDENT[text[i]]:
        i += 1
    return i if i + 1 < end and text[i] == _OPEN and text[i + 1] == _BAR else -1


@kernel
def _match(text: U8, start: int, end: int, waiting: I64, spans: I64, state: I64) -> None:
    """Match the marks of a page: fill `spans` with the outermost spans to cut, `waiting` with what stays open."""
    state[:] = 0
    state[_BARE] = -1
    i = start
    while True:
        i = seek(text, i, end, _MARKS)
        if i >= end:
            break
        if text[i] == _LF:
            mark = _table_mark(text, i + 1, end)
            if mark < 0:
                i += 1
            elif text[mark] == _OPEN:
                _open(mark, 0, waiting, state)
                i = mark + 2
            else:
                first = mark + 1
                i = _run_end(text, first, end)
                top = state[_WAITING] - 1
                in_table = top >= 0 and waiting[top, 1] == 0
                if state[_WAITING] > state[_TEMPLATES] and (in_table or i - first == 1):
                    first += 1
                    _close_table(text, first, waiting, spans, state)
                _close_braces(text, first, i, waiting, spans, state)
        else:
            first = i
            i = _run_end(text, i, end)
            if i - first >= 2 and text[first] == _OPEN:
                _open(first, i - first, waiting, state)
            elif text[first] == _OPEN and i < end and text[i] == _BAR and _is_bare(text, first, state[_BARE]):
                _open(first, 0, waiting, state)
            elif text[first] == _CLOSE:
                _close_braces(text, first, i, waiting, spans, state)


@kernel
def _put(fill: int, out: U8, o: int) -> int:
    """Append what is left of a span that is cut."""
    if fill == _NOTHING:
        return o
    if fill == GAP:
        return put_gap(out, o)
    if fill in (_QUOTE, _S) and out[o - 1] == _QUOTE:
        out[o] = PARTED
        o += 1
    if fill == _S:
        out[o] = _QUOTE
        o += 1
    out[o] = fill
    return o + 1


@kernel
def _without(text: U8, start: int, end: int, waiting: I64, spans: I64, state: I64, out: U8, o: int) -> int:
    """Copy a page without its cut spans and the braces of the openers left, both in order and apart from each other."""
    out[o] = _LF  # as the page begins
    o += 1
    kept = start + 1
    span = opener = 0
    while span < state[_SPANS] or opener < state[_WAITING]:
        if opener == state[_WAITING] or (span < state[_SPANS] and spans[span, 0] < waiting[opener, 0]):
            cut_start, cut_end, fill = spans[span, 0], spans[span, 1], spans[span, 2]
            span += 1
        else:
            cut_start, cut_end, fill = waiting[opener, 0], waiting[opener, 0] + waiting[opener, 1], _NOTHING
            opener += 1
        o = _put(fill, out, keep(text, kept, cut_start, out, o))
        kept = cut_end
    return keep(text, kept, end, out, o)


@kernel
def _cut_templates(text: U8, offsets: I64, out: U8, out_offsets: I64) -> None:
    longest = 0
    for page in range(offsets.size - 1):
        longest = max(longest, offsets[page + 1] - offsets[page])
    # an opener and a closer take 2 bytes or more each; every span to cut comes of a closer or of 2 of its braces
    waiting = np.empty((longest // 2 + 1, 2), np.int64)
    spans = np.empty((longest // 2 + 1, 3), np.int64)
    state = np.zeros(4, np.int64)
    o = 0
    for page in range(offsets.size - 1):
        _match(text, offsets[page], offsets[page + 1], waiting, spans, state)
        o = _without(text, offsets[page], offsets[page + 1], waiting, spans, state, out, o)
        out_offsets[page + 1] = o
