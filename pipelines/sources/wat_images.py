"""The images of WAT records: the definition, which is plain Python, and the same by the kernel.

An image's text is its `alt`, or its `title` where there is no `alt` or a blank one. A page's `og:image` has
`og:image:alt`, or `og:description`; its `twitter:image` has `twitter:image:alt`. Records hold no lazy-loading
attributes and no `srcset`: the extractor leaves them out.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.sources.json_kernels import I64, U8, Bools, unescape
from pipelines.sources.links import resolve, unescape_attribute, valid_text
from pipelines.sources.page import ALT, TITLE
from pipelines.sources.previews import BLANK, OPEN_GRAPH, TWITTER, preview_images
from pipelines.sources.source import MALFORMED_RECORD, Fault, Links, LinksBuilder
from pipelines.sources.wat_kernels import (
    ATTRIBUTE,
    BASE_CLOSE,
    BASE_START,
    PAGE,
    PAGE_URL_CLOSE,
    PAGE_URL_START,
    PAGES,
    RECORD,
    ROWS,
    TEXT_CLOSE,
    TEXT_START,
    URL_CLOSE,
    URL_START,
    find_images,
    room,
)
from wit.errors import MAX_DETAIL_CHARACTERS
from wit.ragged import Ragged

ATTRIBUTES = (ALT, TITLE, OPEN_GRAPH, TWITTER)

_IMAGE_PATH = "IMG@/src"


class Bodies(NamedTuple):
    """The JSON of records: data[starts[r]:stops[r]] each, and PADDING_BYTES zeros behind the last one."""

    data: bytes
    starts: I64
    stops: I64
    offsets: I64
    """Where the records lie in their archive."""


def images(bodies: Bodies, has_references: bool) -> Iterator[Links | Fault]:
    """Yield what records hold, in order; those that are not plain go through the definition, one by one."""
    links, records, is_plain = plain_images(bodies, has_references)
    done = 0
    for number in np.flatnonzero(~is_plain).tolist():
        start, stop = np.searchsorted(records, (number, number + 1)).tolist()
        if start > done:
            yield _sliced(links, done, start)
        body = bodies.data[bodies.starts[number] : bodies.stops[number]]
        yield from record_images(body, int(bodies.offsets[number]), has_references)
        done = stop
    if len(links) > done:
        yield _sliced(links, done, len(links))


def plain_images(bodies: Bodies, has_references: bool) -> tuple[Links, I64, Bools]:
    """Return the images of records by the kernel, the record of each, and of each record whether it is plain.

    What rows there are of records that are not plain is to be ignored.
    """
    data, num_records = np.frombuffer(bodies.data, np.uint8), len(bodies.starts)
    found = room(int((bodies.stops - bodies.starts).sum()), num_records)
    is_plain = np.empty(num_records, np.bool_)
    find_images(data, bodies.starts, bodies.stops, found, is_plain)
    rows, pages = found.rows[: found.counts[ROWS]], found.pages[: found.counts[PAGES]]
    records = pages[rows[:, PAGE], RECORD]
    urls = _strings(data, rows[:, URL_START : URL_CLOSE + 1])
    texts = _strings(data, rows[:, TEXT_START : TEXT_CLOSE + 1])
    page_urls = _strings(data, pages[:, PAGE_URL_START : PAGE_URL_CLOSE + 1])
    bases = _strings(data, pages[:, BASE_START : BASE_CLOSE + 1])
    is_plain[records[~(urls.is_valid & texts.is_valid)]] = False
    is_plain[pages[~(page_urls.is_valid & bases.is_valid), RECORD]] = False
    links = Links(
        url=urls.texts,
        text=texts.texts,
        page=rows[:, PAGE].astype(np.int32),
        offset=bodies.offsets[records],
        attribute=rows[:, ATTRIBUTE].astype(np.int32),
        page_url=page_urls.texts,
        base=_absolute_bases(bases.texts, page_urls.texts, has_references),
        attributes=ATTRIBUTES,
        url_has_references=has_references,
        text_has_references=has_references,
    )
    return links, records, is_plain


class _Strings(NamedTuple):
    texts: pa.LargeStringArray
    is_valid: Bools


def _strings(data: U8, spans: I64) -> _Strings:
    """Return the JSON strings at `spans`, (start, close) each; one that is no UTF-8 is empty, and not valid."""
    starts, closes = np.ascontiguousarray(spans.T)
    out = np.empty(int((closes - starts).sum()), np.uint8)
    offsets, is_valid = np.empty(len(spans) + 1, np.int64), np.empty(len(spans), np.bool_)
    unescape(data, starts, closes, out, offsets, is_valid)
    return _Strings(Ragged(out, offsets).strings(), is_valid)


def _absolute_bases(
    bases: pa.LargeStringArray, page_urls: pa.LargeStringArray, has_references: bool
) -> pa.LargeStringArray:
    if not pc.max(pc.binary_length(bases)).as_py():
        return page_urls
    pairs = zip(bases.to_pylist(), page_urls.to_pylist(), strict=True)
    return pa.array([_absolute_base(base, page_url, has_references) for base, page_url in pairs], pa.large_string())


def _sliced(links: Links, start: int, stop: int) -> Links:
    """Return some rows of links, with all pages."""
    return dataclasses.replace(
        links,
        **{name: getattr(links, name)[start:stop] for name in ("url", "text", "page", "offset", "attribute")},
    )


def record_images(body: bytes, offset: int, has_references: bool) -> Iterator[Links | Fault]:
    """Yield the images of one record, or a Fault: the definition, which the kernel equals."""
    try:
        links = _image_links(_parse(body), offset, has_references)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        detail = f"not a WAT record: {type(error).__name__}: {error}"
        yield Fault(MALFORMED_RECORD, detail[:MAX_DETAIL_CHARACTERS], offset)
        return
    if len(links):
        yield links


def _parse(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return json.loads(body.decode("utf-8", "replace"), strict=False)  # lone surrogates, raw control characters


def _image_links(record: Any, offset: int, has_references: bool) -> Links:
    envelope = record["Envelope"]
    response = envelope["Payload-Metadata"].get("HTTP-Response-Metadata") or {}
    page = response.get("HTML-Metadata") or {}
    images: list[tuple[str, str, str]] = []
    for part in page:
        if part == "Head":
            images += preview_images(_metas((page["Head"] or {}).get("Metas") or ()))
        elif part == "Links":
            images += _tag_images(page["Links"] or ())
    builder = LinksBuilder(ATTRIBUTES)
    if images:
        page_url = envelope["WARC-Header-Metadata"]["WARC-Target-URI"]
        if not isinstance(page_url, str):
            raise TypeError("WARC-Target-URI is no string")
        base = (page.get("Head") or {}).get("Base") or ""
        builder.page(page_url, _absolute_base(valid_text(base), valid_text(page_url), has_references))
    for url, text, attribute in images:
        builder.add(url, text, offset, attribute)
    return dataclasses.replace(builder.flush(), url_has_references=has_references, text_has_references=has_references)


def _absolute_base(base: str, page_url: str, has_references: bool) -> str:
    """Return what links are relative to on a page whose <base> says `base`; "": it has none."""
    if not base:
        return page_url
    return resolve(unescape_attribute(base) if has_references else base, page_url)


def _tag_images(links: Any) -> Iterator[tuple[str, str, str]]:
    """Yield (URL, text, attribute) of each <img> that has an address and a text attribute."""
    for link in links:
        if link.get("path") == _IMAGE_PATH and link.get("url"):
            alt, title = link.get("alt"), link.get("title")
            if alt is not None and (title is None or alt.strip(BLANK) or not title.strip(BLANK)):
                yield link["url"], alt, ALT
            elif title is not None:
                yield link["url"], title, TITLE


def _metas(metas: Any) -> Iterator[tuple[str, str]]:
    """Yield (name, content) of each <meta> that has a content."""
    for meta in metas:
        name, content = meta.get("property") or meta.get("name") or "", meta.get("content")
        if content is not None:
            yield name, content
