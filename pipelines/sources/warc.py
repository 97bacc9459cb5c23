"""WARC files: pages are parsed for their images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from fastwarc.warc import response

from pipelines.sources import page
from pipelines.sources.archive import findings, read_body, skip_body
from pipelines.sources.charset import decode
from pipelines.sources.payload import decode_payload
from pipelines.sources.source import MALFORMED_RECORD, Fault, Link, Slice

_HTML_TYPES = ("text/html", "application/xhtml+xml")
MAX_PAGE_BYTES = 8 << 20  # what lies beyond is not looked at; Common Crawl itself cuts pages at 1 MiB


@dataclass(frozen=True)
class Warc:
    """Web archives: responses 2xx of an HTML type are pages."""

    kind: ClassVar[str] = "warc"

    def slices(self, url: str) -> Iterator[Slice]:
        """One slice: an archive is read from its beginning."""
        yield Slice(url)

    def findings(self, piece: Slice) -> Iterator[Link | Fault]:
        """Return the images of each page, in the order of records and of the document."""
        return findings(piece.url, _look)


def _look(record: Any) -> tuple[Iterable[Link | Fault], bool]:
    """Return what a record holds, and whether it is all there; raises OSError when the stream is broken."""
    if record.record_type != response or not record.is_http:
        return [], skip_body(record)
    try:
        record.parse_http()
    except OSError as error:
        return [_malformed(record, str(error))], skip_body(record)
    http = record.http_headers
    if http.status_code is None:
        return [_malformed(record, "no HTTP status line")], skip_body(record)
    if not 200 <= http.status_code < 300 or (record.http_content_type or "").lower() not in _HTML_TYPES:
        return [], skip_body(record)
    body = read_body(record, MAX_PAGE_BYTES)
    if body is None:
        return [], False
    body = decode_payload(body, http.get("Transfer-Encoding"), http.get("Content-Encoding"), MAX_PAGE_BYTES)
    return _page_links(record, decode(body, record.http_charset)), True


def _malformed(record: Any, detail: str) -> Fault:
    return Fault(MALFORMED_RECORD, detail, record.stream_pos)


def _page_links(record: Any, markup: str) -> Iterator[Link | Fault]:
    page_url = (record.headers.get("WARC-Target-URI") or "").strip("<> ")  # wget writes <URI>
    try:
        base, found = page.parse(markup, page_url)
    except page.PageError as error:
        yield _malformed(record, str(error))
        return
    for url, text, attribute in found:
        yield Link(url, base, text, page_url or None, record.stream_pos, attribute)
