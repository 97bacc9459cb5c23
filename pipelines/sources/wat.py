"""WAT files: the links and the metadata that Common Crawl extracted of each page, as JSON.

An image's text is its `alt`, or its `title` where there is no `alt` or a blank one. A page's `og:image` has
`og:image:alt`, or `og:description`; its `twitter:image` has `twitter:image:alt`. Records hold no lazy-loading
attributes and no `srcset`: the extractor leaves them out.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import orjson
from fastwarc.warc import metadata, warcinfo

from pipelines.sources.archive import read_body, records, skip_body
from pipelines.sources.links import resolve, unescape_attribute
from pipelines.sources.page import ALT, OPEN_GRAPH, TITLE
from pipelines.sources.source import MALFORMED_RECORD, UNREADABLE_ARCHIVE, Fault, Links, LinksBuilder, Slice

TWITTER = "twitter:image"
ATTRIBUTES = (ALT, TITLE, OPEN_GRAPH, TWITTER)

_IMAGE_PATH = "IMG@/src"
_HTML = b'"HTML-Metadata"'
_BLANK = " \t\n\v\f\r"
_MAX_RECORD_BYTES = 64 << 20  # the largest of a crawl are a few MiB: Common Crawl cuts pages at 1 MiB

_SOFTWARE = re.compile(rb"ia-web-commons\S*-(\d{8})\d{6}\b")
_DECODES_SINCE = b"20190613"
"""From this build on the extractor decodes character references; before, values are as the page writes them.

Source: commoncrawl/ia-web-commons, issue 14; first crawl: CC-MAIN-2019-26.
"""


@dataclass(frozen=True)
class Wat:
    """Web archive transformations: images with a text."""

    kind: ClassVar[str] = "wat"

    def slices(self, url: str) -> Iterator[Slice]:
        """One slice: an archive is read from its beginning."""
        yield Slice(url)

    def findings(self, piece: Slice) -> Iterator[Links | Fault]:
        """Yield the images of each page that have a text attribute, in the order of records and links."""
        has_references = True
        for record in records(piece.url):
            if isinstance(record, Fault):
                yield record
                continue
            offset = record.stream_pos
            try:
                if record.record_type not in (metadata, warcinfo):
                    body = b"" if skip_body(record) else None
                else:
                    body = read_body(record, _MAX_RECORD_BYTES)
            except OSError as error:
                yield Fault(UNREADABLE_ARCHIVE, f"at byte {offset}: {error}", None)
                return
            if body is None:
                yield Fault(UNREADABLE_ARCHIVE, f"the file ends inside the record at byte {offset}", None)
                return
            if record.record_type == warcinfo:
                has_references = _has_references(body)
            elif body:
                yield from page_links(body, offset, has_references)


def _has_references(info: bytes) -> bool:
    """Return whether values have their character references, by the warcinfo record of the file."""
    software = _SOFTWARE.search(info)
    return software is None or software.group(1) < _DECODES_SINCE


def page_links(body: bytes, offset: int, has_references: bool) -> Iterator[Links | Fault]:
    """Yield the images of one record, or a Fault: the definition, which the kernel equals."""
    # Two records in three (requests, crawl metadata) need no parsing; one that is cut must be told of.
    if _HTML not in body and body.rstrip().endswith(b"}"):
        return
    try:
        links = _image_links(_parse(body), offset, has_references)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        yield Fault(MALFORMED_RECORD, f"not a WAT record: {type(error).__name__}: {error}"[:200], offset)
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
            images += _meta_images((page["Head"] or {}).get("Metas") or ())
        elif part == "Links":
            images += _tag_images(page["Links"] or ())
    builder = LinksBuilder(ATTRIBUTES)
    if images:
        page_url = envelope["WARC-Header-Metadata"]["WARC-Target-URI"]
        if not isinstance(page_url, str):
            raise TypeError("WARC-Target-URI is no string")
        base = (page.get("Head") or {}).get("Base") or ""
        builder.page(page_url, absolute_base(base, page_url, has_references))
    for url, text, attribute in images:
        builder.add(url, text, offset, attribute)
    return dataclasses.replace(builder.flush(), url_has_references=has_references, text_has_references=has_references)


def absolute_base(base: str, page_url: str, has_references: bool) -> str:
    """Return what links are relative to on a page whose <base> says `base`; "": it has none."""
    if not base:
        return page_url
    return resolve(unescape_attribute(base) if has_references else base, page_url)


def _tag_images(links: Any) -> Iterator[tuple[str, str, str]]:
    """Yield (URL, text, attribute) of each <img> that has an address and a text attribute."""
    for link in links:
        if link.get("path") == _IMAGE_PATH and link.get("url"):
            alt, title = link.get("alt"), link.get("title")
            if alt is not None and (title is None or alt.strip(_BLANK) or not title.strip(_BLANK)):
                yield link["url"], alt, ALT
            elif title is not None:
                yield link["url"], title, TITLE


def _meta_images(metas: Any) -> Iterable[tuple[str, str, str]]:
    """Return (URL, text, attribute) of each preview image with a text; an alt belongs to the image before it.

    The first `og:image` of a page has the page's first `og:description` where it has no alt.
    """
    images: list[list[str]] = []  # [URL, text, attribute]
    description = ""
    for meta in metas:
        name, content = (meta.get("property") or meta.get("name") or "").strip(_BLANK).lower(), meta.get("content")
        if content is None:
            continue
        if name in (OPEN_GRAPH, TWITTER):
            images.append([content, "", name])
        elif name in (f"{OPEN_GRAPH}:alt", f"{TWITTER}:alt") and images and name.startswith(images[-1][2]):
            images[-1][1] = content
        elif name == "og:description" and not description:
            description = content
    first = next((image for image in images if image[2] == OPEN_GRAPH), None)
    if first and not first[1].strip(_BLANK):
        first[1] = description
    return ((url, text, name) for url, text, name in images if url.strip(_BLANK) and text.strip(_BLANK))
