"""The passes over links: plain ones, all others with the URLs in brackets, bare URLs."""

from __future__ import annotations

import numpy as np

from queries.wikitext.kernel import I64, U8, kernel
from queries.wikitext.letters import Prefixes
from queries.wikitext.shared import GAP, WHITE, WIDE, copy, seek, trim, white_or_gap

_TAB = 9
_BLANK, _SLASH, _COLON, _OPEN, _CLOSE, _UNDERSCORE, _BAR = b" /:[]_|"

_SCHEMES = ("http", "https", "ftp", "ftps", "gopher", "irc", "ircs", "sftp", "ssh", "svn", "git", "telnet", "nntp")
_PATH_SCHEMES = ("mailto", "news", "tel")  # have no `//` and count in brackets only
_SCHEME_BYTES = np.frombuffer("".join(_SCHEMES + _PATH_SCHEMES).encode(), np.uint8)
_SCHEME_OFFSETS = np.cumsum([0, *map(len, _SCHEMES + _PATH_SCHEMES)])
_NUM_SCHEMES = len(_SCHEMES)
_LONGEST_SCHEME = max(map(len, _SCHEMES))
_LONGEST_PREFIX = 60  # characters

_LOWER = np.arange(256, dtype=np.uint8)
_LOWER[ord("A") : ord("Z") + 1] += 32
_OPENS = np.arange(256) == _OPEN
_BRACKETS = np.isin(np.arange(256), (_OPEN, _CLOSE))
_COLONS = np.arange(256) == _COLON
_NOT_URL = np.where(np.isin(np.arange(256), list(b'[]<>"\0')), 1, WHITE)
_NOT_TARGET = np.isin(np.arange(256), list(b"[]|:"))
_NOT_LABEL = np.isin(np.arange(256), list(b"[]|"))
_NOT_PREFIX = np.isin(np.arange(256), list(b"[]|:{}<>\n"))


def resolve_plain_links(text: U8, offsets: I64) -> tuple[U8, I64]:
    """Return the pages with `[[a]]` and `[[a|b]]` replaced by what a reader sees, where nothing nests in them.

    Nearly all links are such, and what is left has few brackets.
    """
    out = np.empty(text.size, np.uint8)
    out_offsets = np.zeros(offsets.size, np.int64)
    _resolve_plain_links(text, offsets, out, out_offsets)
    return out[: out_offsets[-1]], out_offsets


def resolve_links(text: U8, offsets: I64, prefixes: Prefixes) -> tuple[U8, I64]:
    """Return the pages with each link, internal or a URL in brackets, replaced by what a reader sees of it."""
    out = np.empty(text.size, np.uint8)
    out_offsets = np.zeros(offsets.size, np.int64)
    _resolve_links(text, offsets, prefixes, out, out_offsets)
    return out[: out_offsets[-1]], out_offsets


def drop_urls(text: U8, offsets: I64, letters: U8) -> tuple[U8, I64]:
    """Return the pages without bare URLs; `letters` is what `alphabetic` returns."""
    out = np.empty(text.size, np.uint8)
    out_offsets = np.zeros(offsets.size, np.int64)
    _drop_urls(text, offsets, letters, out, out_offsets)
    return out[: out_offsets[-1]], out_offsets


@kernel
def _plain_link(text: U8, i: int, end: int) -> tuple[int, int]:
    """Return what a reader sees of the plain link whose text begins at i: (start, end), its `]]` follows; or (0, 0)."""
    start = i
    i = seek(text, i, end, _NOT_TARGET)
    if i < end and text[i] == _BAR and i > start:
        start = i + 1
        i = seek(text, start, end, _NOT_LABEL)
        first, last = trim(text, start, i)
        if first == last:
            return 0, 0
    closed = i + 1 < end and text[i] == _CLOSE and text[i + 1] == _CLOSE
    return (start, i) if closed and i > start else (0, 0)


@kernel
def _resolve_plain_links(text: U8, offsets: I64, out: U8, out_offsets: I64) -> None:
    o = 0
    for page in range(offsets.size - 1):
        end = offsets[page + 1]
        i = kept = offsets[page]
        while True:
            i = seek(text, i, end, _OPENS)
            if i + 1 >= end:
                break
            if text[i + 1] == _OPEN:
                first, last = _plain_link(text, i + 2, end)
                if last:
                    o = copy(text, kept, i, out, o)
                    o = copy(text, first, last, out, o)
                    i = kept = last + 2
                    continue
            i += 1
        o = copy(text, kept, end, out, o)
        out_offsets[page + 1] = o


@kernel
def _find_scheme(text: U8, start: int, end: int, first: int, last: int) -> bool:
    """Say whether text[start:end] is, in any case, one of the schemes with the indices first to last."""
    for scheme in range(first, last):
        name = _SCHEME_OFFSETS[scheme]
        length = _SCHEME_OFFSETS[scheme + 1] - name
        i = 0
        while i < length and length == end - start and _LOWER[text[start + i]] == _SCHEME_BYTES[name + i]:
            i += 1
        if i == length:
            return True
    return False


@kernel
def _url_end(text: U8, i: int, end: int) -> int:
    while i < end:
        stop = _NOT_URL[text[i]]
        if stop and (stop != WIDE or white_or_gap(text, i, end)):
            break
        i += 1
    return i


@kernel
def _bracketed_url_end(text: U8, i: int, end: int) -> int:
    """Return where a URL that begins at i, just after a bracket, and the blanks after it end; i when none does."""
    name = i
    while name < end and name - i <= _LONGEST_SCHEME and text[name] != _COLON:
        name += 1
    slashes = name + 2 < end and text[name + 1] == _SLASH and text[name + 2] == _SLASH
    if i + 1 < end and text[i] == _SLASH and text[i + 1] == _SLASH:
        address = i + 2
    elif name == end or text[name] != _COLON:
        return i
    elif slashes and _find_scheme(text, i, name, 0, _NUM_SCHEMES):
        address = name + 3
    elif _find_scheme(text, i, name, _NUM_SCHEMES, _SCHEME_OFFSETS.size - 1):
        address = name + 1
    else:
        return i
    after = _url_end(text, address, end)
    if after == address:
        return i
    while after < end and (text[after] == _BLANK or text[after] == _TAB):
        after += 1
    return after


@kernel
def _folded(text: U8, start: int, end: int, prefixes: Prefixes, key: U8) -> int:
    """Write a prefix with spaces for underscores and small letters for capitals; return its length."""
    size = 0
    i = start
    while i < end:
        if text[i] < 0x80:
            key[size] = _BLANK if text[i] == _UNDERSCORE else _LOWER[text[i]]
            size += 1
            i += 1
            continue
        width = _width(text[i])
        capital = np.searchsorted(prefixes.capitals, _code_point(text, i))
        if capital < prefixes.capitals.size and prefixes.capitals[capital] == _code_point(text, i):
            for j in range(4 * capital, 4 * capital + 4):
                if prefixes.small[j]:
                    key[size] = prefixes.small[j]
                    size += 1
        else:
            size = copy(text, i, i + width, key, size)
        i += width
    return size


@kernel
def _width(lead: int) -> int:
    """Return how many bytes a character has, from its first one."""
    return 1 + (lead >= 0xC0) + (lead >= 0xE0) + (lead >= 0xF0)


@kernel
def _code_point(text: U8, i: int) -> int:
    width = _width(text[i])
    point = int(text[i]) & (0x7F if width == 1 else 0x3F >> (width - 1))
    for j in range(i + 1, i + width):
        point = point << 6 | int(text[j]) & 0x3F
    return point


@kernel
def _is_name(prefixes: Prefixes, key: U8, size: int) -> bool:
    """Say whether the first `size` bytes of a key are one of the sorted names."""
    low, high = 0, prefixes.name_offsets.size - 1
    while low < high:
        middle = (low + high) // 2
        first = prefixes.name_offsets[middle]
        length = prefixes.name_offsets[middle + 1] - first
        i = 0
        while i < min(length, size) and key[i] == prefixes.names[first + i]:
            i += 1
        if i == length == size:
            return True
        if i < size and (i == length or key[i] > prefixes.names[first + i]):
            low = middle + 1
        else:
            high = middle
    return False


@kernel
def _vanishes(text: U8, start: int, end: int, prefixes: Prefixes, key: U8) -> bool:
    """Say whether the link whose text begins at `start` has a prefix that makes it vanish."""
    while start < end and white_or_gap(text, start, end):
        start += white_or_gap(text, start, end)
    i = start
    characters = 0
    while i < end and characters <= _LONGEST_PREFIX and not _NOT_PREFIX[text[i]]:
        characters += text[i] & 0xC0 != 0x80
        i += 1
    if i in (start, end) or characters > _LONGEST_PREFIX or text[i] != _COLON:
        return False
    start, i = trim(text, start, i)
    return _is_name(prefixes, key, _folded(text, start, i, prefixes, key))


@kernel
def _shown(out: U8, start: int, end: int) -> int:
    """Leave of a link's text out[start:end] what a reader sees of it; return its new end."""
    bar = start
    while bar < end and out[bar] != _BAR:
        bar += 1
    first, last = trim(out, min(bar + 1, end), end)
    if first < last:
        return copy(out, bar + 1, end, out, start)
    first, last = trim(out, start, bar)
    if first < last and out[first] == _COLON:
        first += 1
    return copy(out, first, last, out, start)


_START, _OUT, _NESTS, _URLS = range(4)
"""Columns of the stack of open links: where its text begins in the page and in what is written; whether a link has
ended in it; how many URLs are open in it."""


@kernel
def _resolve_page(text: U8, start: int, end: int, prefixes: Prefixes, stack: I64, key: U8, out: U8, o: int) -> int:
    stack[0] = 0  # the page itself, then the links that are open
    top = 0
    i = kept = start
    while True:
        i = seek(text, i, end, _BRACKETS)
        if i >= end:
            break
        double = i + 1 < end and text[i + 1] == text[i]
        after = i + 1 + double
        if text[i] == _OPEN and not double:
            after = _bracketed_url_end(text, i + 1, end)
            if after == i + 1:
                i += 1
                continue
        if text[i] == _CLOSE and not double and not stack[top, _URLS]:
            i += 1
            continue
        o = copy(text, kept, i, out, o)
        if not double:
            stack[top, _URLS] += 1 if text[i] == _OPEN else -1
        elif text[i] == _OPEN:
            top += 1
            stack[top] = 0
            stack[top, _START] = after
            stack[top, _OUT] = o
        elif top:
            if _vanishes(text, stack[top, _START], end, prefixes, key):
                out[stack[top, _OUT]] = GAP
                o = stack[top, _OUT] + 1
            elif not stack[top, _NESTS]:  # a link that holds links is text to MediaWiki: only its brackets go
                o = _shown(out, stack[top, _OUT], o)
            top -= 1
            stack[top, _NESTS] = 1
        i = kept = after
    return copy(text, kept, end, out, o)


@kernel
def _resolve_links(text: U8, offsets: I64, prefixes: Prefixes, out: U8, out_offsets: I64) -> None:
    longest = 0
    for page in range(offsets.size - 1):
        longest = max(longest, offsets[page + 1] - offsets[page])
    stack = np.empty((longest // 2 + 1, 4), np.int64)
    key = np.empty(4 * _LONGEST_PREFIX, np.uint8)
    o = 0
    for page in range(offsets.size - 1):
        o = _resolve_page(text, offsets[page], offsets[page + 1], prefixes, stack, key, out, o)
        out_offsets[page + 1] = o


@kernel
def _bare_url_start(text: U8, kept: int, mark: int, letters: U8) -> int:
    """Return where the URL whose `://` is at `mark` begins; `mark` when no scheme stands before it."""
    start = mark
    while start > kept and mark - start <= _LONGEST_SCHEME and _is_letter(text[start - 1]):
        start -= 1
    if start > kept and text[start - 1] >= 0x80:
        last = start - 1
        while text[last] & 0xC0 == 0x80:
            last -= 1
        point = _code_point(text, last)
        if letters[point >> 3] >> (7 - (point & 7)) & 1:
            return mark
    return start if _find_scheme(text, start, mark, 0, _NUM_SCHEMES) else mark


@kernel
def _is_letter(byte: int) -> bool:
    return bool(97 <= _LOWER[byte] <= 122)


@kernel
def _drop_urls(text: U8, offsets: I64, letters: U8, out: U8, out_offsets: I64) -> None:
    o = 0
    for page in range(offsets.size - 1):
        end = offsets[page + 1]
        i = kept = offsets[page]
        while True:
            i = seek(text, i, end, _COLONS)
            if i + 2 >= end:
                break
            if text[i + 1] != _SLASH or text[i + 2] != _SLASH:
                i += 1
                continue
            start = _bare_url_start(text, kept, i, letters)
            if start < i:
                o = copy(text, kept, start, out, o)
                i = kept = _url_end(text, i, end)
            else:
                i += 3
        o = copy(text, kept, end, out, o)
        out_offsets[page + 1] = o
