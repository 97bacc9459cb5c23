"""Passes over tags: comments and tags whose content is not wikitext come first, the other HTML tags late.

Both take and give ragged pages and walk each page once: a tag's attributes are sought up to the next angle bracket
only, and a closing tag that a page lacks from some place on is sought there once.
"""

from __future__ import annotations

import numpy as np

from queries.wikitext.kernel import I64, U8, kernel
from queries.wikitext.shared import GAP, PARTED, copy, keep, put_gap, seek, white

_OPAQUE, _LITERAL, _BLOCK, _SPACE, _INLINE = range(5)

_TAGS = {
    _OPAQUE: """
        ce categorytree chem gallery graph hiero imagemap includeonly indicator inputbox mapframe maplink math ref
        references score script source style syntaxhighlight templatedata templatestyles timeline
    """,  # vanish with their content
    _LITERAL: "nowiki pre",  # their content is text, whatever markup it seems to hold
    _BLOCK: "blockquote center dd div dl dt h1 h2 h3 h4 h5 h6 hr li ol p poem table tbody td th thead tr ul",
    _SPACE: "br",
    _INLINE: """
        abbr b bdi bdo big blink caption charinsert cite code col colgroup data del dfn em font i ins kbd langconvert
        languages mark meta noinclude onlyinclude phonos q rb rp rt rtc ruby s samp section small span strike strong sub
        sup time translate tt tvar u var wbr
    """,
}
KIND_OF = dict(sorted((name, kind) for kind, names in _TAGS.items() for name in names.split()))
"""What becomes of each tag that MediaWiki knows; another one is text."""

_NAMES = np.frombuffer("".join(KIND_OF).encode(), np.uint8)
_NAME_OFFSETS = np.cumsum([0, *map(len, KIND_OF)])
_KINDS = np.array(list(KIND_OF.values()))
_INITIALS = np.array([sum(name < chr(byte) for name in KIND_OF) for byte in range(257)])
"""Names are sorted; those with the first letter b have the indices _INITIALS[b] to _INITIALS[b + 1]."""
_NO_TAG, _COMMENT = -2, -1  # in place of the index of a tag's name

_POEM = list(KIND_OF).index("poem")

_STRIPPED, _VERSE, _TAB, _LF = 0, 3, 9, 10
_BLANK, _BANG, _QUOTE, _DASH, _SLASH, _ZERO, _LESS, _GREATER = b" !'-/0<>"

_OPENS = np.arange(256) == _LESS
_DASHES = np.arange(256) == _DASH
_ENDS = np.isin(np.arange(256), (_LESS, _GREATER))
_LOWER = np.arange(256, dtype=np.uint8)
_LOWER[ord("A") : ord("Z") + 1] += 32
_ALPHANUMERIC = np.array([byte < 128 and chr(byte).isalnum() for byte in range(256)])


def strip_tags(text: U8, offsets: I64) -> tuple[U8, I64, tuple[I64, I64, I64]]:
    """Return the pages without comments and opaque tags, and with a mark for each literal.

    Each page gains a line end at its front. The mark of a page's i-th literal is \\0, i in decimal, \\0; literals
    come as their starts and ends in `text`, and how many there are before each page.
    """
    # Marks do not outgrow what they stand for: `<pre></pre>` has 11 bytes and a mark 11 from the billionth on. Nor
    # do bytes that hold apostrophes apart: at most one for a tag, of 4 bytes or more.
    out = np.empty(text.size + offsets.size, np.uint8)
    most = text.size // 11 + 1
    literals = (np.empty(most, np.int64), np.empty(most, np.int64), np.zeros(offsets.size, np.int64))
    out_offsets = np.zeros(offsets.size, np.int64)
    _strip_tags(text, offsets, out, out_offsets, *literals)
    return out[: out_offsets[-1]], out_offsets, literals


def drop_html(text: U8, offsets: I64) -> tuple[U8, I64]:
    """Return the pages without HTML tags: an empty line for a block tag, a gap for a break; content stays."""
    out = np.empty(text.size, np.uint8)  # the shortest tag, `<p>`, is as long as an empty line and a gap
    out_offsets = np.zeros(offsets.size, np.int64)
    _drop_html(text, offsets, out, out_offsets)
    return out[: out_offsets[-1]], out_offsets


@kernel
def _find_name(text: U8, start: int, end: int) -> int:
    """Return the index of the tag name text[start:end], in any case, or _NO_TAG."""
    initial = _LOWER[text[start]]
    for name in range(_INITIALS[initial], _INITIALS[initial + 1]):
        first = _NAME_OFFSETS[name]
        length = _NAME_OFFSETS[name + 1] - first
        if length == end - start:
            i = 1
            while i < length and _LOWER[text[start + i]] == _NAMES[first + i]:
                i += 1
            if i == length:
                return name
    return _NO_TAG


@kernel
def _tag(text: U8, start: int, end: int) -> tuple[int, int]:
    """Return the index of the name that begins at start, just after `<` or `</`, and where its tag ends."""
    i = start
    while i < end and _ALPHANUMERIC[text[i]]:
        i += 1
    if i in (start, end) or not (text[i] == _GREATER or text[i] == _SLASH or white(text, i, end)):
        return _NO_TAG, start
    name = _find_name(text, start, i)
    if name == _NO_TAG:
        return _NO_TAG, start
    i = seek(text, i, end, _ENDS)
    return (name, i + 1) if i < end and text[i] == _GREATER else (_NO_TAG, start)


@kernel
def _opener(text: U8, i: int, end: int) -> tuple[int, int]:
    """Return what the `<` at i opens, _COMMENT or the index of an opaque or literal tag's name, and where it ends."""
    if i + 1 < end and text[i + 1] == _BANG:
        if i + 3 < end and text[i + 2] == _DASH and text[i + 3] == _DASH:
            return _COMMENT, i + 4
        return _NO_TAG, i
    name, tag_end = _tag(text, i + 1, end)
    return (name, tag_end) if name >= 0 and _KINDS[name] <= _LITERAL else (_NO_TAG, i)


@kernel
def _comment_end(text: U8, i: int, end: int) -> int:
    dash = seek(text, i, end, _DASHES)
    while dash + 2 < end:
        if text[dash + 1] == _DASH and text[dash + 2] == _GREATER:
            return dash + 3
        dash = seek(text, dash + 1, end, _DASHES)
    return end


@kernel
def _comment(text: U8, page: int, kept: int, i: int, end: int) -> tuple[int, int]:
    """Return which span goes with the comment at i: a line that holds comments alone goes with one of its line ends."""
    front = i
    while front > kept and (text[front - 1] == _BLANK or text[front - 1] == _TAB):
        front -= 1
    first_end = after = _comment_end(text, i + 4, end)
    if front != page and (front == kept or text[front - 1] != _LF):
        return i, first_end
    while True:
        while after < end and (text[after] == _BLANK or text[after] == _TAB):
            after += 1
        if after == end or text[after] == _LF:
            return (front, after) if front == page else (front - 1, after)
        name, opened = _opener(text, after, end)
        if name != _COMMENT:
            return i, first_end
        after = _comment_end(text, opened, end)


@kernel
def _closer(text: U8, i: int, end: int, name: int) -> tuple[int, int]:
    """Return where the next closing tag of a name begins and ends; (end, end) without one."""
    first = int(_NAME_OFFSETS[name])
    length = int(_NAME_OFFSETS[name + 1]) - first
    while True:
        i = seek(text, i, end, _OPENS)
        if i + length + 2 >= end:
            break
        matched = 0
        while text[i + 1] == _SLASH and matched < length and _LOWER[text[i + 2 + matched]] == _NAMES[first + matched]:
            matched += 1
        stop = i + 2 + matched
        if matched == length:
            while stop < end and white(text, stop, end):
                stop += white(text, stop, end)
            if stop < end and text[stop] == _GREATER:
                return i, stop + 1
        i += 1
    return end, end


@kernel
def _mark(number: int, out: U8, o: int) -> int:
    """Write the mark of a literal."""
    out[o] = _STRIPPED
    unit = 1
    while number // unit >= 10:
        unit *= 10
    while unit:
        o += 1
        out[o] = _ZERO + number // unit % 10
        unit //= 10
    out[o + 1] = _STRIPPED
    return o + 2


@kernel
def _strip_page(text: U8, start: int, end: int, out: U8, o: int, starts: I64, ends: I64, count: int) -> tuple[int, int]:
    """Strip the page text[start:end], of which the first line end is written; return new `o` and `count`."""
    first = count
    unclosed = np.zeros(_KINDS.size, np.bool_)  # tags that close nowhere from here on
    i = kept = start
    while True:
        i = seek(text, i, end, _OPENS)
        if i >= end:
            break
        name, opened = _opener(text, i, end)
        if name == _NO_TAG:
            i += 1
            continue
        if name == _COMMENT:
            front, after = _comment(text, start, kept, i, end)
            o = keep(text, kept, front, out, o)
            i = kept = after
            continue
        o = keep(text, kept, i, out, o)
        i = kept = opened
        if text[opened - 2] == _SLASH:
            o = o if _KINDS[name] == _LITERAL else put_gap(out, o)
        elif not unclosed[name]:
            stop, after = _closer(text, opened, end, name)
            if stop == end:
                unclosed[name] = True
                continue
            if _KINDS[name] == _LITERAL:
                starts[count], ends[count] = opened, stop
                o = _mark(count - first, out, o)
                count += 1
            else:
                o = put_gap(out, o)
            i = kept = after
    return keep(text, kept, end, out, o), count


@kernel
def _strip_tags(text: U8, offsets: I64, out: U8, out_offsets: I64, starts: I64, ends: I64, first_literals: I64) -> None:
    o = count = 0
    for page in range(offsets.size - 1):
        out[o] = _LF
        o, count = _strip_page(text, offsets[page], offsets[page + 1], out, o + 1, starts, ends, count)
        out_offsets[page + 1] = o
        first_literals[page + 1] = count


@kernel
def _part_verses(out: U8, start: int, end: int) -> None:
    for i in range(start, end):
        if out[i] == _LF:
            out[i] = _VERSE


@kernel
def _drop_page_html(text: U8, start: int, end: int, out: U8, o: int) -> int:
    poem = -1  # where what is written of a poem begins
    i = kept = start
    while True:
        i = seek(text, i, end, _OPENS)
        if i >= end:
            return copy(text, kept, end, out, o)
        closing = i + 1 < end and text[i + 1] == _SLASH
        name, after = _tag(text, i + 1 + closing, end)
        if name == _NO_TAG:
            i += 1
            continue
        o = copy(text, kept, i, out, o)
        if name == _POEM and closing and poem >= 0:
            _part_verses(out, poem, o)
            poem = -1
        if _KINDS[name] == _BLOCK:
            out[o] = out[o + 1] = _LF
            out[o + 2] = GAP
            o += 3
        elif _KINDS[name] == _SPACE or text[i - 1] == _LF:
            out[o] = GAP  # also keeps a space behind a tag from beginning a line
            o += 1
        elif i > start and after < end and text[i - 1] == text[after] == _QUOTE:
            out[o] = PARTED
            o += 1
        if name == _POEM and not closing and poem < 0:
            poem = o
        i = kept = after


@kernel
def _drop_html(text: U8, offsets: I64, out: U8, out_offsets: I64) -> None:
    o = 0
    for page in range(offsets.size - 1):
        o = _drop_page_html(text, offsets[page], offsets[page + 1], out, o)
        out_offsets[page + 1] = o
