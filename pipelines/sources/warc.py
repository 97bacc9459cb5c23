"""WARC files: pages are parsed for their images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from fastwarc.warc import response

from pipelines.sources import page
from pipelines.sources.archive import read_body, records, skip_body
from pipelines.sources.charset import decode
from pipelines.sources.payload import decode_payload
from pipelines.sources.source import FLUSH_ROWS, MALFORMED_RECORD, UNREADABLE_ARCHIVE, Fault, Links, LinksBuilder, Slice

_HTML_TYPES = ("text/html", "application/xhtml+xml")
MAX_PAGE_BYTES = 8 << 20  # what lies beyond is not looked at; Common Crawl itself cuts pages at 1 MiB


@dataclass(frozen=True)
class Warc:
    """Web archives: responses 2xx of an HTML type are pages."""

    kind: ClassVar[str] = "warc"

    def slices(self, url: str) -> Iterator[Slice]:
        """One slice: an archive is read from its beginning."""
        yield Slice(url)

    def findings(self, piece: Slice) -> Iterator[Links | Fault]:
        """Yield the images of each page, in the order of records and of the document."""
        builder = LinksBuilder(page.ATTRIBUTES)
        for record in records(piece.url):
            fault = record if isinstance(record, Fault) else _look(record, builder)
            if fault or len(builder) >= FLUSH_ROWS:
                if len(builder):
                    yield builder.flush()
                if fault:
                    yield fault
                    if fault.offset is None:
                        return
        if len(builder):
            yield builder.flush()


def _look(record: Any, builder: LinksBuilder) -> Fault | None:
    """Add what a record holds, when it is a page; return what is wrong with it."""
    try:
        is_whole, fault = _add_page(record, builder)
    except OSError as error:
        return Fault(UNREADABLE_ARCHIVE, f"at byte {record.stream_pos}: {error}", None)
    if not is_whole:
        return Fault(UNREADABLE_ARCHIVE, f"the file ends inside the record at byte {record.stream_pos}", None)
    return fault


def _add_page(record: Any, builder: LinksBuilder) -> tuple[bool, Fault | None]:
    """Return whether a record is all there, and what is wrong with it; raises OSError when the stream is broken."""
    if record.record_type != response or not record.is_http:
        return skip_body(record), None
    try:
        record.parse_http()
    except OSError as error:
        return skip_body(record), _malformed(record, str(error))
    http = record.http_headers
    if http.status_code is None:
        return skip_body(record), _malformed(record, "no HTTP status line")
    if not 200 <= http.status_code < 300 or (record.http_content_type or "").lower() not in _HTML_TYPES:
        return skip_body(record), None
    body = read_body(record, MAX_PAGE_BYTES)
    if body is None:
        return False, None
    body = decode_payload(body, http.get("Transfer-Encoding"), http.get("Content-Encoding"), MAX_PAGE_BYTES)
    return True, _add_links(record, decode(body, record.http_charset), builder)


def _malformed(record: Any, detail: str) -> Fault:
    return Fault(MALFORMED_RECORD, detail, record.stream_pos)


def _add_links(record: Any, markup: str, builder: LinksBuilder) -> Fault | None:
    page_url = (record.headers.get("WARC-Target-URI") or "").strip("<> ")  # wget writes <URI>
    try:
        base, found = page.parse(markup, page_url)
    except page.PageError as error:
        return _malformed(record, str(error))
    builder.page(page_url, base)
    for url, text, attribute in found:
        builder.add(url, text, record.stream_pos, attribute)
    return None
