"""The kernel of pipelines.sources.wat: it walks the JSON of many records and notes where images and their texts stand.

A record is walked strictly, token by token. Where it is not plain (no JSON, a key twice, an escaped key, another type
than expected, nested very deep) nothing of it is kept and it is marked: pipelines.sources.wat then asks a JSON library
about that record alone.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from pipelines.sources.json_kernels import (
    BACKSLASH,
    I64,
    LOWER,
    QUOTE,
    SLASH,
    U8,
    Bools,
    inlined,
    is_blank,
    kernel,
    matches,
    scalar_end,
    space_end,
    string_close,
)

MIN_ROW_BYTES = 32
"""No row comes of less: {"name":"og:image","content":"x"} has 33 bytes, a link with a path, a URL and an alt 38."""

MAX_DEPTH = 100
MAX_META_IMAGES = 64

ALT, TITLE, OPEN_GRAPH, TWITTER = 0, 1, 2, 3
"""Attributes of rows: indices into pipelines.sources.wat.ATTRIBUTES."""

# What a container is. Fields of these numbers have it as their value; arrays first.
_OTHER, _LINKS, _METAS, _OTHER_OBJECT = 0, 1, 2, 3
_ROOT, _ENVELOPE, _HEADER, _PAYLOAD, _RESPONSE, _HTML, _HEAD, _LINK, _META = 4, 5, 6, 7, 8, 9, 10, 11, 12
# Fields whose value is a string.
_URI, _BASE, _PATH, _LINK_URL, _LINK_ALT, _LINK_TITLE, _PROPERTY, _NAME, _CONTENT = 13, 14, 15, 16, 17, 18, 19, 20, 21
_DESCRIPTION, _NUM_FIELDS = 22, 23

# Columns of Found.rows and Found.pages. A span is where a string begins and where its closing quote is.
URL_START, URL_CLOSE, TEXT_START, TEXT_CLOSE, ATTRIBUTE, PAGE, _NUM_COLUMNS = 0, 1, 2, 3, 4, 5, 6
RECORD, PAGE_URL_START, PAGE_URL_CLOSE, BASE_START, BASE_CLOSE, _NUM_PAGE_COLUMNS = 0, 1, 2, 3, 4, 5
ROWS, PAGES, _IMAGES, _NUM_COUNTS = 0, 1, 2, 3
"""Places in Found.counts: rows and pages found so far; images in the <meta> tags of this page."""

_COMMA, _COLON = ord(","), ord(":")
_OPEN_OBJECT, _CLOSE_OBJECT, _OPEN_ARRAY, _CLOSE_ARRAY = ord("{"), ord("}"), ord("["), ord("]")


def _bytes(text: str) -> U8:
    return np.frombuffer(text.encode(), np.uint8).copy()


_K_ENVELOPE, _K_HEADER, _K_PAYLOAD = _bytes("Envelope"), _bytes("WARC-Header-Metadata"), _bytes("Payload-Metadata")
_K_RESPONSE, _K_HTML = _bytes("HTTP-Response-Metadata"), _bytes("HTML-Metadata")
_K_HEAD, _K_LINKS, _K_METAS, _K_BASE = _bytes("Head"), _bytes("Links"), _bytes("Metas"), _bytes("Base")
_K_URI, _K_PATH, _K_URL, _K_ALT = _bytes("WARC-Target-URI"), _bytes("path"), _bytes("url"), _bytes("alt")
_K_TITLE, _K_PROPERTY, _K_NAME = _bytes("title"), _bytes("property"), _bytes("name")
_K_CONTENT, _V_IMAGE, _V_IMAGE_ESCAPED = _bytes("content"), _bytes("IMG@/src"), _bytes("IMG@\\/src")
_V_OPEN_GRAPH, _V_OPEN_GRAPH_ALT = _bytes("og:image"), _bytes("og:image:alt")
_V_OPEN_GRAPH_URL, _V_OPEN_GRAPH_SECURE = _bytes("og:image:url"), _bytes("og:image:secure_url")
_V_TWITTER_SRC = _bytes("twitter:image:src")
_V_TWITTER, _V_TWITTER_ALT, _V_DESCRIPTION = (
    _bytes("twitter:image"),
    _bytes("twitter:image:alt"),
    _bytes("og:description"),
)


class Found(NamedTuple):
    """What the kernel writes, and what it keeps in mind of the record that it is in."""

    rows: I64
    pages: I64
    counts: I64
    starts: I64
    """By field: where its string begins in this record."""
    closes: I64
    """By field: where its closing quote is; -1: not seen."""
    roles: U8
    """What each open container is."""
    images: I64
    """Those of <meta> tags, in columns as rows."""


def room(num_bytes: int, num_records: int) -> Found:
    """Return room for what records of so many bytes may hold."""
    return Found(
        np.empty((num_bytes // MIN_ROW_BYTES + 1, _NUM_COLUMNS), np.int64),
        np.empty((num_records, _NUM_PAGE_COLUMNS), np.int64),
        np.zeros(_NUM_COUNTS, np.int64),
        np.empty(_NUM_FIELDS, np.int64),
        np.empty(_NUM_FIELDS, np.int64),
        np.empty(MAX_DEPTH + 1, np.uint8),
        np.empty((MAX_META_IMAGES, _NUM_COLUMNS), np.int64),
    )


@inlined
def _page_field(data: U8, start: int, close: int, role: int) -> int:
    """Return which field a key is in a container that a record has once."""
    if role == _ROOT:
        return _ENVELOPE if matches(data, start, close, _K_ENVELOPE) else _OTHER
    if role == _ENVELOPE:
        if matches(data, start, close, _K_HEADER):
            return _HEADER
        return _PAYLOAD if matches(data, start, close, _K_PAYLOAD) else _OTHER
    if role == _HEADER:
        return _URI if matches(data, start, close, _K_URI) else _OTHER
    if role == _PAYLOAD:
        return _RESPONSE if matches(data, start, close, _K_RESPONSE) else _OTHER
    if role == _RESPONSE:
        return _HTML if matches(data, start, close, _K_HTML) else _OTHER
    if role == _HTML:
        if matches(data, start, close, _K_LINKS):
            return _LINKS
        return _HEAD if matches(data, start, close, _K_HEAD) else _OTHER
    if matches(data, start, close, _K_METAS):  # role: _HEAD
        return _METAS
    return _BASE if matches(data, start, close, _K_BASE) else _OTHER


@inlined
def _field(data: U8, start: int, close: int, role: int) -> int:
    """Return which field a key is, _OTHER when it is none of interest."""
    if role == _LINK:
        if close - start == 3:
            if matches(data, start, close, _K_URL):
                return _LINK_URL
            return _LINK_ALT if matches(data, start, close, _K_ALT) else _OTHER
        if matches(data, start, close, _K_PATH):
            return _PATH
        return _LINK_TITLE if matches(data, start, close, _K_TITLE) else _OTHER
    if role == _META:
        if matches(data, start, close, _K_CONTENT):
            return _CONTENT
        if matches(data, start, close, _K_PROPERTY):
            return _PROPERTY
        return _NAME if matches(data, start, close, _K_NAME) else _OTHER
    return _OTHER if role == _OTHER_OBJECT else _page_field(data, start, close, role)


@kernel
def _add(found: Found, url_start: int, url_close: int, text_start: int, text_close: int, attribute: int) -> None:
    rows, number = found.rows, found.counts[ROWS]
    rows[number, URL_START], rows[number, URL_CLOSE] = url_start, url_close
    rows[number, TEXT_START], rows[number, TEXT_CLOSE] = text_start, text_close
    rows[number, ATTRIBUTE], rows[number, PAGE] = attribute, found.counts[PAGES]
    found.counts[ROWS] = number + 1


@inlined
def _is_plain_name(data: U8, i: int, close: int) -> int:
    """Return 0 when a string has escapes other than that of the slash, which some writers of JSON escape."""
    while i < close:
        if data[i] == BACKSLASH:
            i += 1
            if data[i] != SLASH:
                return 0
        i += 1
    return 1


@kernel
def _close_link(data: U8, found: Found) -> int:
    """Add the link that ends here if it is an image with an address and a text; 0 when it is not plain."""
    starts, closes = found.starts, found.closes
    if closes[_PATH] < 0 or closes[_LINK_URL] <= starts[_LINK_URL]:
        return 1
    start, close = starts[_PATH], closes[_PATH]
    if not matches(data, start, close, _V_IMAGE) and not matches(data, start, close, _V_IMAGE_ESCAPED):
        return _is_plain_name(data, start, close)
    field = _LINK_ALT
    if closes[_LINK_ALT] < 0 or (closes[_LINK_TITLE] >= 0 and is_blank(data, starts[_LINK_ALT], closes[_LINK_ALT])):
        field = _LINK_TITLE
        if closes[_LINK_ALT] >= 0 and is_blank(data, starts[_LINK_TITLE], closes[_LINK_TITLE]):
            field = _LINK_ALT
    if closes[field] >= 0:
        _add(found, starts[_LINK_URL], closes[_LINK_URL], starts[field], closes[field], field - _LINK_ALT)
    return 1


@inlined
def _is_name(data: U8, start: int, close: int, name: U8) -> bool:
    """Return whether a string is `name`, in any case."""
    if close - start != len(name):
        return False
    for j in range(len(name)):
        byte = data[start + j]
        if byte != name[j] and not (0x41 <= byte <= 0x5A and byte | LOWER == name[j]):
            return False
    return True


@inlined
def _preview(data: U8, start: int, close: int) -> tuple[int, bool]:
    """Return which attribute a <meta> with an image's address has, -1 for others; and whether it always begins one."""
    if _is_name(data, start, close, _V_OPEN_GRAPH):
        return OPEN_GRAPH, True
    if _is_name(data, start, close, _V_TWITTER):
        return TWITTER, True
    if _is_name(data, start, close, _V_OPEN_GRAPH_URL) or _is_name(data, start, close, _V_OPEN_GRAPH_SECURE):
        return OPEN_GRAPH, False
    return TWITTER if _is_name(data, start, close, _V_TWITTER_SRC) else -1, False


@kernel
def _close_meta(data: U8, found: Found) -> int:
    """Note the preview image, alt or description that a <meta> has; 0 when it is not plain."""
    starts, closes, images = found.starts, found.closes, found.images
    field = _PROPERTY if closes[_PROPERTY] > starts[_PROPERTY] else _NAME
    start, close = starts[field], closes[field]
    if close < 0 or closes[_CONTENT] < 0:
        return 1
    if not _is_plain_name(data, start, close):
        return 0
    while start < close and is_blank(data, start, start + 1):
        start += 1
    while start < close and is_blank(data, close - 1, close):
        close -= 1
    num_images = found.counts[_IMAGES]
    attribute, is_new = _preview(data, start, close)
    if attribute >= 0:
        if not is_new and num_images and images[num_images - 1, ATTRIBUTE] == attribute:
            return 1
        if num_images == MAX_META_IMAGES:
            return 0
        images[num_images, URL_START], images[num_images, URL_CLOSE] = starts[_CONTENT], closes[_CONTENT]
        images[num_images, TEXT_START], images[num_images, TEXT_CLOSE] = 0, 0
        images[num_images, ATTRIBUTE] = attribute
        found.counts[_IMAGES] = num_images + 1
    elif num_images and _is_name(
        data, start, close, _V_OPEN_GRAPH_ALT if images[num_images - 1, ATTRIBUTE] == OPEN_GRAPH else _V_TWITTER_ALT
    ):
        images[num_images - 1, TEXT_START], images[num_images - 1, TEXT_CLOSE] = starts[_CONTENT], closes[_CONTENT]
    elif closes[_DESCRIPTION] <= starts[_DESCRIPTION] and _is_name(data, start, close, _V_DESCRIPTION):
        starts[_DESCRIPTION], closes[_DESCRIPTION] = starts[_CONTENT], closes[_CONTENT]
    return 1


@kernel
def _close_metas(data: U8, found: Found) -> None:
    """Add the preview images that have an address and a text; the first `og:image` may have the description."""
    starts, closes, images = found.starts, found.closes, found.images
    is_first = True
    for number in range(found.counts[_IMAGES]):
        image = images[number]
        text_start, text_close = image[TEXT_START], image[TEXT_CLOSE]
        if is_first and image[ATTRIBUTE] == OPEN_GRAPH:
            is_first = False
            if closes[_DESCRIPTION] >= 0 and is_blank(data, text_start, text_close):
                text_start, text_close = starts[_DESCRIPTION], closes[_DESCRIPTION]
        if not is_blank(data, image[URL_START], image[URL_CLOSE]) and not is_blank(data, text_start, text_close):
            _add(found, image[URL_START], image[URL_CLOSE], text_start, text_close, image[ATTRIBUTE])


@inlined
def _close(data: U8, found: Found, role: int) -> int:
    """Do what is to be done where a container ends; 0 when it is not plain."""
    if role == _LINK:
        return _close_link(data, found)
    if role == _META:
        return _close_meta(data, found)
    if role == _METAS:
        _close_metas(data, found)
    return 1


@inlined
def _opened(found: Found, field: int, is_object: bool) -> int:
    """Return the role of the container that is the value of a field, -1 when the field has another type."""
    if field == _OTHER:
        return _OTHER_OBJECT if is_object else _OTHER
    if field > _META or is_object == (field in (_LINKS, _METAS)):
        return -1
    if field == _LINK:
        found.closes[_PATH : _LINK_TITLE + 1] = -1
    elif field == _META:
        found.closes[_PROPERTY : _CONTENT + 1] = -1
    elif found.closes[field] >= 0:
        return -1  # twice
    else:
        found.closes[field] = 0
    return field


@inlined
def _note(found: Found, field: int, start: int, close: int) -> int:
    """Keep where the string that is the value of a field stands; 0 when the field has another type, or comes twice."""
    if field == _OTHER:
        return 1
    if field <= _META or (field <= _BASE and found.closes[field] >= 0):
        return 0
    found.starts[field], found.closes[field] = start, close
    return 1


@inlined
def _element(role: int) -> int:
    """Return the field that each element of an array is."""
    return _LINK if role == _LINKS else _META if role == _METAS else _OTHER


@inlined
def _key(data: U8, i: int, end: int, role: int) -> tuple[int, int]:
    """Return the field that the key at data[i] is, and where its value begins; -1 when it is not plain."""
    if data[i] != QUOTE:
        return _OTHER, -1
    start = i + 1
    i, escaped = string_close(data, start, end)
    if i < 0 or (escaped and role != _OTHER_OBJECT):
        return _OTHER, -1
    field = _field(data, start, i, role)
    i = space_end(data, i + 1)
    return field, space_end(data, i + 1) if data[i] == _COLON else -1


@inlined
def _value_end(data: U8, i: int, end: int, found: Found, field: int) -> int:
    """Return where the string, number or word at data[i] ends, -1 when it is not plain."""
    if data[i] == QUOTE:
        close, _ = string_close(data, i + 1, end)
        return close + 1 if close >= 0 and _note(found, field, i + 1, close) else -1
    return scalar_end(data, i) if field == _OTHER else -1


@inlined
def _comma_end(data: U8, i: int) -> tuple[int, bool]:
    """Return where the next token is after a value, and whether a comma stood before it."""
    i = space_end(data, i)
    if data[i] != _COMMA:
        return i, False
    return space_end(data, i + 1), True


@kernel
def _walk(data: U8, i: int, end: int, found: Found) -> int:
    """Walk through the value at data[i]; return where it ends, -1 when it is not plain."""
    roles = found.roles
    role: Any = _ROOT
    field, depth = _ROOT, 0
    while i < end:
        is_object = data[i] == _OPEN_OBJECT
        if is_object or data[i] == _OPEN_ARRAY:
            role, depth = _opened(found, field, is_object), depth + 1
            if role < 0 or depth > MAX_DEPTH:
                return -1
            roles[depth] = role
            i = space_end(data, i + 1)
            has_next = data[i] != (_CLOSE_OBJECT if is_object else _CLOSE_ARRAY)
        else:
            i = _value_end(data, i, end, found, field)
            if i < 0 or not depth:
                return -1
            i, has_next = _comma_end(data, i)
        while not has_next:
            role = np.int64(roles[depth])
            closing = _CLOSE_OBJECT if role >= _OTHER_OBJECT else _CLOSE_ARRAY
            if i >= end or data[i] != closing or not _close(data, found, role):
                return -1
            depth -= 1
            if not depth:
                return space_end(data, i + 1)
            i, has_next = _comma_end(data, i + 1)
        role = np.int64(roles[depth])
        if role < _OTHER_OBJECT:
            field = _element(role)
            continue
        field, i = _key(data, i, end, role)
        if i < 0:
            return -1
    return -1


@kernel
def _record(data: U8, start: int, end: int, record: int, found: Found) -> bool:
    """Add the rows of a record, and its page if it has some; return whether it is plain."""
    starts, closes, num_rows = found.starts, found.closes, found.counts[ROWS]
    closes[:] = -1
    starts[:] = 0
    found.counts[_IMAGES] = 0
    i = _walk(data, space_end(data, start), end, found)
    if i < end or closes[_ENVELOPE] < 0 or closes[_PAYLOAD] < 0:
        return False
    if found.counts[ROWS] > num_rows:
        if closes[_URI] < 0:
            return False
        page = found.pages[found.counts[PAGES]]
        page[RECORD], page[PAGE_URL_START], page[PAGE_URL_CLOSE] = record, starts[_URI], closes[_URI]
        page[BASE_START], page[BASE_CLOSE] = starts[_BASE], max(closes[_BASE], starts[_BASE])
        found.counts[PAGES] += 1
    return True


@kernel
def find_images(data: U8, starts: I64, stops: I64, found: Found, is_plain: Bools) -> None:
    """Write the rows of all records, and of each record whether it is plain; those that are not have no rows.

    Record r is data[starts[r]:stops[r]]; PADDING_BYTES zeros follow the last one.
    """
    for record in range(len(starts)):
        num_rows, num_pages = found.counts[ROWS], found.counts[PAGES]
        is_plain[record] = _record(data, starts[record], stops[record], record, found)
        if not is_plain[record]:
            found.counts[ROWS], found.counts[PAGES] = num_rows, num_pages
