"""Records of a WARC file (WAT files are WARC files), compressed or not, local or remote."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import Any

from fastwarc.warc import ArchiveIterator

from pipelines.sources.source import MALFORMED_RECORD, UNREADABLE_ARCHIVE, Fault
from wit.storage import is_remote, local_path, open_input

_ARC = b"filedesc://"  # how the format before WARC begins
_HEAD_BYTES = 1 << 16


def records(url: str) -> Iterator[Any | Fault]:
    """Yield the records of an archive in order; a Fault stands for a broken one, the last for a file that breaks off.

    A record's body must be read before the next record is asked for. Between records FastWARC's quirks mode skips
    rubbish up to the next "WARC/" line.
    """
    with ExitStack() as stack:
        stream = stack.enter_context(open_input(url)) if is_remote(url) else local_path(url)
        iterator = ArchiveIterator(stream, parse_http=False, quirks_mode=True)
        num_records = 0
        headless: int | None = None  # where a header without a length is: cut, if nothing follows
        while True:
            try:
                record = next(iterator, None)
            except OSError as error:
                yield Fault(UNREADABLE_ARCHIVE, f"after {num_records} records: {error}", None)
                return
            if record is None:
                break
            num_records += 1
            if headless is not None:
                yield Fault(MALFORMED_RECORD, "no Content-Length", headless)
            has_length = (record.headers.get("Content-Length") or "").strip().isdecimal()
            headless = None if has_length else record.stream_pos
            if has_length:
                yield record
        if headless is not None:
            yield Fault(UNREADABLE_ARCHIVE, f"the file ends inside the header at byte {headless}", None)
        elif not num_records and (wrong := _what_else(url)):
            yield Fault(UNREADABLE_ARCHIVE, wrong, None)


def read_body(record: Any, limit_bytes: int) -> bytes | None:
    """Return the body of a record (up to a limit), or None when the archive ends inside it.

    Raises OSError when the compressed stream is broken.
    """
    expected = record.content_length
    body: bytes = record.reader.read(min(expected, limit_bytes))
    return body if len(body) + record.consume() == expected else None


def skip_body(record: Any) -> bool:
    """Skip the body of a record; return whether all of it was there."""
    expected: int = record.content_length
    return bool(record.consume() == expected)


def _what_else(url: str) -> str:
    """Return what a file without a WARC record is; nothing when it is empty."""
    with open_input(url) as file:
        head = file.read(_HEAD_BYTES)
    start = head
    if head.startswith(b"\x1f\x8b"):
        with suppress(zlib.error):
            start = zlib.decompressobj(wbits=31).decompress(head, len(_ARC))
    if start.startswith(_ARC):
        return "an ARC file: only WARC is read; convert it"
    return "no WARC record found" if head else ""
