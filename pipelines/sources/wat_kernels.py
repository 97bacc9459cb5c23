"""The kernel of pipelines.sources.wat: it walks the JSON of many records and notes where images and their texts stand.

A record is walked strictly, token by token. Where it is not plain (no JSON, a key twice, an escaped key, another type
than expected, nested very deep) nothing of it is kept and it is marked: pipelines.sources.wat then asks a JSON library
about that record alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Function = TypeVar("Function", bound=Callable[..., Any])

PADDING_BYTES = 64
"""Zeros that stand behind the last record: 32 bytes are read at a time, and some beyond the end of a record."""

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

_QUOTE, _BACKSLASH, _COMMA, _COLON = ord('"'), ord("\\"), ord(","), ord(":")
_OPEN_OBJECT, _CLOSE_OBJECT, _OPEN_ARRAY, _CLOSE_ARRAY = ord("{"), ord("}"), ord("["), ord("]")
_ZERO, _NINE, _LOWER = ord("0"), ord("9"), 0x20
_SLASH, _B, _F, _N, _R, _T = ord("/"), ord("b"), ord("f"), ord("n"), ord("r"), ord("t")


def _bytes(text: str) -> U8:
    return np.frombuffer(text.encode(), np.uint8).copy()


_K_ENVELOPE, _K_HEADER, _K_PAYLOAD = _bytes("Envelope"), _bytes("WARC-Header-Metadata"), _bytes("Payload-Metadata")
_K_RESPONSE, _K_HTML = _bytes("HTTP-Response-Metadata"), _bytes("HTML-Metadata")
_K_HEAD, _K_LINKS, _K_METAS, _K_BASE = _bytes("Head"), _bytes("Links"), _bytes("Metas"), _bytes("Base")
_K_URI, _K_PATH, _K_URL, _K_ALT = _bytes("WARC-Target-URI"), _bytes("path"), _bytes("url"), _bytes("alt")
_K_TITLE, _K_PROPERTY, _K_NAME = _bytes("title"), _bytes("property"), _bytes("name")
_K_CONTENT, _V_IMAGE, _V_IMAGE_ESCAPED = _bytes("content"), _bytes("IMG@/src"), _bytes("IMG@\\/src")
_V_OPEN_GRAPH, _V_OPEN_GRAPH_ALT = _bytes("og:image"), _bytes("og:image:alt")
_V_TWITTER, _V_TWITTER_ALT, _V_DESCRIPTION = (
    _bytes("twitter:image"),
    _bytes("twitter:image:alt"),
    _bytes("og:description"),
)
_TRUE, _FALSE, _NULL = _bytes("true"), _bytes("false"), _bytes("null")
_MAX_NUMBER_BYTES = 64  # longer ones, no extractor writes them, have limits of their own in JSON libraries


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


def _kernel(function: Function) -> Function:
    return cast(Function, njit(cache=True, nogil=True, _nrt=False)(function))


def _inlined(function: Function) -> Function:
    return cast(Function, njit(cache=True, nogil=True, _nrt=False, forceinline=True)(function))


def _code_of_num_plain(_: Any, data: Any, index: Any) -> Any:
    """Return how many of the 32 bytes from data[index] on come before the first quote or backslash."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        vector = ir.VectorType(ir.IntType(8), 32)
        block = builder.load(builder.bitcast(builder.gep(array.data, [arguments[1]]), vector.as_pointer()), align=1)
        stops = [builder.icmp_unsigned("==", block, ir.Constant(vector, [stop] * 32)) for stop in (_QUOTE, _BACKSLASH)]
        mask = builder.zext(builder.bitcast(builder.or_(*stops), ir.IntType(32)), ir.IntType(64))
        sentinel = ir.Constant(ir.IntType(64), 1 << 32)
        return builder.cttz(builder.or_(mask, sentinel), ir.Constant(ir.IntType(1), 1))

    return types.int64(data, types.int64), generate


_num_plain = intrinsic(_code_of_num_plain)


@_inlined
def _space_end(data: U8, i: int) -> int:
    """Return where white space ends; the zeros behind the last record stop it at the latest."""
    while data[i] <= 0x20 and (data[i] == 0x20 or data[i] == 0x0A or data[i] == 0x0D or data[i] == 0x09):
        i += 1
    return i


@_inlined
def _hex(byte: int) -> int:
    """Return the value of a hexadecimal digit, -1 for what is none."""
    if _ZERO <= byte <= _NINE:
        return byte - _ZERO
    letter = byte | _LOWER
    return letter - 0x57 if 0x61 <= letter <= 0x66 else -1


@_inlined
def _hex4(data: U8, i: int) -> int:
    """Return the value of four hexadecimal digits, negative when one of them is none."""
    code, worst = 0, 0
    for j in range(4):
        byte: Any = np.int64(data[i + j])
        digit = _hex(byte)
        worst = min(worst, digit)
        code = code << 4 | (digit & 0xF)
    return worst if worst < 0 else code


@_kernel
def _escape_end(data: U8, i: int) -> int:
    """Return where the escape at data[i] ends, -1 when it is none."""
    kind = data[i + 1]
    if kind == ord("u"):
        return i + 6 if _hex4(data, i + 2) >= 0 else -1
    return i + 2 if kind in (_QUOTE, _BACKSLASH, _SLASH, _B, _F, _N, _R, _T) else -1


@_inlined
def _string_close(data: U8, i: int, end: int) -> tuple[int, int]:
    """Return where the string from `i` on closes, -1 when it does not, and whether it has escapes."""
    escaped = 0
    while i < end:
        step = _num_plain(data, i)
        i += step
        if step == 32:
            continue
        if i >= end:
            break
        if data[i] == _QUOTE:
            return i, escaped
        escaped = 1
        i = _escape_end(data, i)
        if i < 0:
            break
    return -1, escaped


@_inlined
def _is_at(data: U8, start: int, name: U8) -> bool:
    for j in range(len(name)):  # noqa: SIM110 - a generator is not compiled
        if data[start + j] != name[j]:
            return False
    return True


@_inlined
def _is(data: U8, start: int, close: int, name: U8) -> bool:
    return close - start == len(name) and _is_at(data, start, name)


@_kernel
def _digits_end(data: U8, i: int) -> int:
    while _ZERO <= data[i] <= _NINE:
        i += 1
    return i


@_kernel
def _number_end(data: U8, i: int) -> int:
    """Return where the number at data[i] ends, -1 when it is none. Source: RFC 8259, 6."""
    start = i
    if data[i] == ord("-"):
        i += 1
    first = i
    i = _digits_end(data, i)
    if i == first or (data[first] == _ZERO and i > first + 1):
        return -1
    if data[i] == ord("."):
        first = i + 1
        i = _digits_end(data, first)
        if i == first:
            return -1
    if data[i] | _LOWER == ord("e"):
        i += 2 if data[i + 1] == ord("+") or data[i + 1] == ord("-") else 1
        first = i
        i = _digits_end(data, i)
        if i == first:
            return -1
    return i if i - start <= _MAX_NUMBER_BYTES else -1


@_kernel
def _scalar_end(data: U8, i: int) -> int:
    """Return where the number or word at data[i] ends, -1 when it is none."""
    if data[i] == ord("t"):
        return i + 4 if _is_at(data, i, _TRUE) else -1
    if data[i] == ord("f"):
        return i + 5 if _is_at(data, i, _FALSE) else -1
    if data[i] == ord("n"):
        return i + 4 if _is_at(data, i, _NULL) else -1
    return _number_end(data, i)


@_inlined
def _page_field(data: U8, start: int, close: int, role: int) -> int:
    """Return which field a key is in a container that a record has once."""
    if role == _ROOT:
        return _ENVELOPE if _is(data, start, close, _K_ENVELOPE) else _OTHER
    if role == _ENVELOPE:
        if _is(data, start, close, _K_HEADER):
            return _HEADER
        return _PAYLOAD if _is(data, start, close, _K_PAYLOAD) else _OTHER
    if role == _HEADER:
        return _URI if _is(data, start, close, _K_URI) else _OTHER
    if role == _PAYLOAD:
        return _RESPONSE if _is(data, start, close, _K_RESPONSE) else _OTHER
    if role == _RESPONSE:
        return _HTML if _is(data, start, close, _K_HTML) else _OTHER
    if role == _HTML:
        if _is(data, start, close, _K_LINKS):
            return _LINKS
        return _HEAD if _is(data, start, close, _K_HEAD) else _OTHER
    if _is(data, start, close, _K_METAS):  # role: _HEAD
        return _METAS
    return _BASE if _is(data, start, close, _K_BASE) else _OTHER


@_inlined
def _field(data: U8, start: int, close: int, role: int) -> int:
    """Return which field a key is, _OTHER when it is none of interest."""
    if role == _LINK:
        if close - start == 3:
            if _is(data, start, close, _K_URL):
                return _LINK_URL
            return _LINK_ALT if _is(data, start, close, _K_ALT) else _OTHER
        if _is(data, start, close, _K_PATH):
            return _PATH
        return _LINK_TITLE if _is(data, start, close, _K_TITLE) else _OTHER
    if role == _META:
        if _is(data, start, close, _K_CONTENT):
            return _CONTENT
        if _is(data, start, close, _K_PROPERTY):
            return _PROPERTY
        return _NAME if _is(data, start, close, _K_NAME) else _OTHER
    return _OTHER if role == _OTHER_OBJECT else _page_field(data, start, close, role)


@_inlined
def _is_blank(data: U8, i: int, close: int) -> bool:
    """Return whether a string holds nothing but white space of ASCII, escaped or not."""
    while i < close:
        byte: Any = np.int64(data[i])
        size = 1
        if byte == _BACKSLASH:
            kind = data[i + 1]
            size = 2
            if kind == ord("u"):
                byte, size = _hex4(data, i + 2), 6
            elif kind in (_N, _T, _R, _F):
                byte = 0x20
        if byte != 0x20 and (byte < 0x09 or byte > 0x0D):
            return False
        i += size
    return True


@_kernel
def _add(found: Found, url_start: int, url_close: int, text_start: int, text_close: int, attribute: int) -> None:
    rows, number = found.rows, found.counts[ROWS]
    rows[number, URL_START], rows[number, URL_CLOSE] = url_start, url_close
    rows[number, TEXT_START], rows[number, TEXT_CLOSE] = text_start, text_close
    rows[number, ATTRIBUTE], rows[number, PAGE] = attribute, found.counts[PAGES]
    found.counts[ROWS] = number + 1


@_inlined
def _is_plain_name(data: U8, i: int, close: int) -> int:
    """Return 0 when a string has escapes other than that of the slash, which some writers of JSON escape."""
    while i < close:
        if data[i] == _BACKSLASH:
            i += 1
            if data[i] != _SLASH:
                return 0
        i += 1
    return 1


@_kernel
def _close_link(data: U8, found: Found) -> int:
    """Add the link that ends here if it is an image with an address and a text; 0 when it is not plain."""
    starts, closes = found.starts, found.closes
    if closes[_PATH] < 0 or closes[_LINK_URL] <= starts[_LINK_URL]:
        return 1
    start, close = starts[_PATH], closes[_PATH]
    if not _is(data, start, close, _V_IMAGE) and not _is(data, start, close, _V_IMAGE_ESCAPED):
        return _is_plain_name(data, start, close)
    field = _LINK_ALT
    if closes[_LINK_ALT] < 0 or (closes[_LINK_TITLE] >= 0 and _is_blank(data, starts[_LINK_ALT], closes[_LINK_ALT])):
        field = _LINK_TITLE
        if closes[_LINK_ALT] >= 0 and _is_blank(data, starts[_LINK_TITLE], closes[_LINK_TITLE]):
            field = _LINK_ALT
    if closes[field] >= 0:
        _add(found, starts[_LINK_URL], closes[_LINK_URL], starts[field], closes[field], field - _LINK_ALT)
    return 1


@_inlined
def _is_name(data: U8, start: int, close: int, name: U8) -> bool:
    """Return whether a string is `name`, in any case."""
    if close - start != len(name):
        return False
    for j in range(len(name)):
        byte = data[start + j]
        if byte != name[j] and not (0x41 <= byte <= 0x5A and byte | _LOWER == name[j]):
            return False
    return True


@_kernel
def _close_meta(data: U8, found: Found) -> int:
    """Note the preview image, alt or description that a <meta> has; 0 when it is not plain."""
    starts, closes, images = found.starts, found.closes, found.images
    field = _PROPERTY if closes[_PROPERTY] > starts[_PROPERTY] else _NAME
    start, close = starts[field], closes[field]
    if close < 0 or closes[_CONTENT] < 0:
        return 1
    if not _is_plain_name(data, start, close):
        return 0
    while start < close and _is_blank(data, start, start + 1):
        start += 1
    while start < close and _is_blank(data, close - 1, close):
        close -= 1
    num_images = found.counts[_IMAGES]
    is_open_graph = _is_name(data, start, close, _V_OPEN_GRAPH)
    if is_open_graph or _is_name(data, start, close, _V_TWITTER):
        if num_images == MAX_META_IMAGES:
            return 0
        images[num_images, URL_START], images[num_images, URL_CLOSE] = starts[_CONTENT], closes[_CONTENT]
        images[num_images, TEXT_START], images[num_images, TEXT_CLOSE] = 0, 0
        images[num_images, ATTRIBUTE] = OPEN_GRAPH if is_open_graph else TWITTER
        found.counts[_IMAGES] = num_images + 1
    elif num_images and _is_name(
        data, start, close, _V_OPEN_GRAPH_ALT if images[num_images - 1, ATTRIBUTE] == OPEN_GRAPH else _V_TWITTER_ALT
    ):
        images[num_images - 1, TEXT_START], images[num_images - 1, TEXT_CLOSE] = starts[_CONTENT], closes[_CONTENT]
    elif closes[_DESCRIPTION] <= starts[_DESCRIPTION] and _is_name(data, start, close, _V_DESCRIPTION):
        starts[_DESCRIPTION], closes[_DESCRIPTION] = starts[_CONTENT], closes[_CONTENT]
    return 1


@_kernel
def _close_metas(data: U8, found: Found) -> None:
    """Add the preview images that have an address and a text; the first `og:image` may have the description."""
    starts, closes, images = found.starts, found.closes, found.images
    is_first = True
    for number in range(found.counts[_IMAGES]):
        image = images[number]
        text_start, text_close = image[TEXT_START], image[TEXT_CLOSE]
        if is_first and image[ATTRIBUTE] == OPEN_GRAPH:
            is_first = False
            if closes[_DESCRIPTION] >= 0 and _is_blank(data, text_start, text_close):
                text_start, text_close = starts[_DESCRIPTION], closes[_DESCRIPTION]
        if not _is_blank(data, image[URL_START], image[URL_CLOSE]) and not _is_blank(data, text_start, text_close):
            _add(found, image[URL_START], image[URL_CLOSE], text_start, text_close, image[ATTRIBUTE])


@_inlined
def _close(data: U8, found: Found, role: int) -> int:
    """Do what is to be done where a container ends; 0 when it is not plain."""
    if role == _LINK:
        return _close_link(data, found)
    if role == _META:
        return _close_meta(data, found)
    if role == _METAS:
        _close_metas(data, found)
    return 1


@_inlined
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


@_inlined
def _note(found: Found, field: int, start: int, close: int) -> int:
    """Keep where the string that is the value of a field stands; 0 when the field has another type, or comes twice."""
    if field == _OTHER:
        return 1
    if field <= _META or (field <= _BASE and found.closes[field] >= 0):
        return 0
    found.starts[field], found.closes[field] = start, close
    return 1


@_inlined
def _element(role: int) -> int:
    """Return the field that each element of an array is."""
    return _LINK if role == _LINKS else _META if role == _METAS else _OTHER


@_inlined
def _key(data: U8, i: int, end: int, role: int) -> tuple[int, int]:
    """Return the field that the key at data[i] is, and where its value begins; -1 when it is not plain."""
    if data[i] != _QUOTE:
        return _OTHER, -1
    start = i + 1
    i, escaped = _string_close(data, start, end)
    if i < 0 or (escaped and role != _OTHER_OBJECT):
        return _OTHER, -1
    field = _field(data, start, i, role)
    i = _space_end(data, i + 1)
    return field, _space_end(data, i + 1) if data[i] == _COLON else -1


@_inlined
def _value_end(data: U8, i: int, end: int, found: Found, field: int) -> int:
    """Return where the string, number or word at data[i] ends, -1 when it is not plain."""
    if data[i] == _QUOTE:
        close, _ = _string_close(data, i + 1, end)
        return close + 1 if close >= 0 and _note(found, field, i + 1, close) else -1
    return _scalar_end(data, i) if field == _OTHER else -1


@_kernel
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
            i = _space_end(data, i + 1)
            is_value_next = data[i] != (_CLOSE_OBJECT if is_object else _CLOSE_ARRAY)
        else:
            i = _value_end(data, i, end, found, field)
            if i < 0 or not depth:
                return -1
            i = _space_end(data, i)
            is_value_next = data[i] == _COMMA
            if is_value_next:
                i = _space_end(data, i + 1)
        while not is_value_next:
            role = np.int64(roles[depth])
            if i >= end or data[i] != (_CLOSE_OBJECT if role >= _OTHER_OBJECT else _CLOSE_ARRAY):
                return -1
            if not _close(data, found, role):
                return -1
            depth -= 1
            i = _space_end(data, i + 1)
            if not depth:
                return i
            is_value_next = data[i] == _COMMA
            if is_value_next:
                i = _space_end(data, i + 1)
        role = np.int64(roles[depth])
        if role >= _OTHER_OBJECT:
            field, i = _key(data, i, end, role)
            if i < 0:
                return -1
        else:
            field = _element(role)
    return -1


@_kernel
def _record(data: U8, start: int, end: int, record: int, found: Found) -> bool:
    """Add the rows of a record, and its page if it has some; return whether it is plain."""
    starts, closes, num_rows = found.starts, found.closes, found.counts[ROWS]
    closes[:] = -1
    starts[:] = 0
    found.counts[_IMAGES] = 0
    i = _walk(data, _space_end(data, start), end, found)
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


@_kernel
def find_images(data: U8, offsets: I64, found: Found, is_plain: Bools) -> None:
    """Write the rows of all records, and of each record whether it is plain; those that are not have no rows.

    Record r is data[offsets[r]:offsets[r + 1]]; PADDING_BYTES zeros follow the last one.
    """
    for record in range(len(offsets) - 1):
        num_rows, num_pages = found.counts[ROWS], found.counts[PAGES]
        is_plain[record] = _record(data, offsets[record], offsets[record + 1], record, found)
        if not is_plain[record]:
            found.counts[ROWS], found.counts[PAGES] = num_rows, num_pages
