"""WAT files: the links that Common Crawl extracted of each page, as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import orjson
from fastwarc.warc import metadata

from pipelines.sources.archive import findings, read_body, skip_body
from pipelines.sources.links import resolve, unescape_attribute
from pipelines.sources.page import ALT
from pipelines.sources.source import MALFORMED_RECORD, Fault, Link, Slice

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
        """Return the images with `alt` of each page, in the order of records and links."""
        return findings(piece.url, _look)


def _look(record: Any) -> tuple[Iterable[Link | Fault], bool]:
    """Return what a record holds, and whether it is all there; raises OSError when the stream is broken."""
    if record.record_type != metadata:
        return [], skip_body(record)
    offset = record.stream_pos
    body = read_body(record, _MAX_RECORD_BYTES)
    return ([], False) if body is None else (_page_links(body, offset), True)


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
