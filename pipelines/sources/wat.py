"""WAT files: the links that Common Crawl extracted of each page, as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import orjson
from fastwarc.warc import metadata

from pipelines.sources.archive import read_body, records, skip_body
from pipelines.sources.links import resolve, unescape_attribute
from pipelines.sources.page import ALT
from pipelines.sources.source import MALFORMED_RECORD, UNREADABLE_ARCHIVE, Fault, Link, Slice

_IMAGE_PATH = "IMG@/src"
_MAX_RECORD_BYTES = 64 << 20  # the largest of a crawl are a few MiB: Common Crawl cuts pages at 1 MiB


@dataclass(frozen=True)
class Wat:
    """Web archive transformations: images with `alt`. On real files, attribute values have their entities."""

    kind: ClassVar[str] = "wat"

    def slices(self, url: str) -> Iterator[Slice]:
        """One slice: an archive is read from its beginning."""
        yield Slice(url)

    def findings(self, piece: Slice) -> Iterator[Link | Fault]:
        """Yield the images with `alt` of each page, in the order of records and links."""
        for record in records(piece.url):
            if isinstance(record, Fault):
                yield record
                continue
            offset = record.stream_pos
            try:
                body = read_body(record, _MAX_RECORD_BYTES) if record.record_type == metadata else b""
                whole = body is not None if body else skip_body(record)
            except OSError as error:
                yield Fault(UNREADABLE_ARCHIVE, f"at byte {offset}: {error}", None)
                return
            if not whole or body is None:
                yield Fault(UNREADABLE_ARCHIVE, f"the file ends inside the record at byte {offset}", None)
                return
            yield from _page_links(body, offset)


def _page_links(body: bytes, offset: int) -> Iterator[Link | Fault]:
    # Two records in three (requests, pages without images) need no parsing; one that is cut must be told of.
    if b"IMG@" not in body and (not body or body.rstrip().endswith(b"}")):
        return
    try:
        yield from _image_links(_parse(body), offset)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        yield Fault(MALFORMED_RECORD, f"not a WAT record: {type(error).__name__}: {error}"[:200], offset)


def _parse(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return json.loads(body.decode("utf-8", "replace"), strict=False)  # lone surrogates, raw control characters


def _image_links(record: Any, offset: int) -> list[Link]:
    envelope = record["Envelope"]
    response = envelope["Payload-Metadata"].get("HTTP-Response-Metadata") or {}
    page = response.get("HTML-Metadata") or {}
    page_url: str = envelope["WARC-Header-Metadata"]["WARC-Target-URI"]
    base = (page.get("Head") or {}).get("Base")
    address = resolve(unescape_attribute(base), page_url) if base else page_url
    return [
        Link(unescape_attribute(link["url"]), address, unescape_attribute(link["alt"]), page_url, offset, ALT)
        for link in page.get("Links") or ()
        if link.get("path") == _IMAGE_PATH and "alt" in link and link.get("url")
    ]
