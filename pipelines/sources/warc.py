"""Web archives, WARC or ARC: pages are parsed for their images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from pipelines.sources import page
from pipelines.sources.answers import MAX_HEAD_BYTES, parse_answer
from pipelines.sources.archive import Record, records
from pipelines.sources.charset import decode
from pipelines.sources.payload import decode_payload
from pipelines.sources.source import MALFORMED_RECORD, Fault, Links, LinksBuilder, Slice

_HTML_TYPES = ("text/html", "application/xhtml+xml")
MAX_PAGE_BYTES = 8 << 20  # what lies beyond is lost, and told; Common Crawl itself cuts pages at 1 MiB
_PACKED = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd")  # gzip (RFC 1952), Zstandard (RFC 8878): no page begins so


class Markup(NamedTuple):
    """The text of a page."""

    text: str
    is_cut: bool
    """Whether the page has more than MAX_PAGE_BYTES, of which these are the first."""


@dataclass(frozen=True)
class Warc:
    """Web archives: responses 2xx of an HTML type are pages."""

    kind: ClassVar[str] = "warc"

    def slices(self, url: str) -> Iterator[Slice]:
        """One slice: an archive is read from its beginning."""
        yield Slice(url)

    def findings(self, piece: Slice) -> Iterator[Links | Fault]:
        """Yield the images of each page, in the order of records and of the document."""
        builder = LinksBuilder(tuple(page.ATTRIBUTES))
        for record in records(piece.url, ("response",), MAX_PAGE_BYTES + MAX_HEAD_BYTES):
            fault = record if isinstance(record, Fault) else add_page(record, builder)
            if fault or builder.is_full:
                if len(builder):
                    yield builder.flush()
                if fault:
                    yield fault
        if len(builder):
            yield builder.flush()


def add_page(record: Record, builder: LinksBuilder) -> Fault | None:
    """Add the images of a record, when it is a page; return what is wrong with it, or what of it is lost."""
    markup = page_markup(record)
    if not isinstance(markup, Markup):
        return markup
    try:
        base, found = page.parse(markup.text, record.url)
    except page.PageError as error:
        return Fault(MALFORMED_RECORD, str(error), record.offset)
    builder.page(record.url, base)
    for url, text, attribute in found:
        builder.add(url, text, record.offset, attribute)
    detail = f"a page of more than {MAX_PAGE_BYTES} bytes: what lies beyond is lost"
    return Fault(MALFORMED_RECORD, detail, record.offset) if markup.is_cut else None


def page_markup(record: Record) -> Markup | Fault | None:
    """Return the page that a record holds; None when it holds none, a Fault when it is of HTTP and cannot be read."""
    if record.kind != "response":
        return None
    answer = parse_answer(record.body)
    if answer is None:
        is_http = record.url.startswith("http")
        return Fault(MALFORMED_RECORD, "no HTTP status line", record.offset) if is_http else None
    if not 200 <= answer.status < 300 or answer.media_type not in _HTML_TYPES:
        return None
    if not answer.body and record.num_bytes > MAX_HEAD_BYTES:
        return Fault(MALFORMED_RECORD, f"an HTTP head of more than {MAX_HEAD_BYTES} bytes", record.offset)
    encodings = answer.get("transfer-encoding"), answer.get("content-encoding")
    body = decode_payload(answer.body, *encodings, MAX_PAGE_BYTES + 1)
    if body.startswith(_PACKED):
        detail = f"a page still compressed: content-encoding {encodings[1][:50]!r}"
        return Fault(MALFORMED_RECORD, detail, record.offset)
    is_cut = len(body) > MAX_PAGE_BYTES or record.num_bytes > len(record.body)
    return Markup(decode(body[:MAX_PAGE_BYTES], answer.charset), is_cut)
