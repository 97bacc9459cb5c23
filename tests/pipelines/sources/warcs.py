"""Small archives for tests, byte by byte."""

from __future__ import annotations

import gzip


def record(kind: str, uri: str, block: bytes, content_type: str = "application/http; msgtype=response") -> bytes:
    """A WARC record."""
    head = f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Target-URI: {uri}\r\nContent-Type: {content_type}\r\n"
    return f"{head}Content-Length: {len(block)}\r\n\r\n".encode() + block + b"\r\n\r\n"


def page(uri: str, body: bytes, headers: str = "Content-Type: text/html\r\n", status: str = "200 OK") -> bytes:
    """A response record with an HTML page."""
    return record("response", uri, f"HTTP/1.1 {status}\r\n{headers}\r\n".encode() + body)


def gzipped(*records: bytes) -> bytes:
    """One gzip member a record, as Common Crawl writes them."""
    return b"".join(gzip.compress(each, mtime=0) for each in records)


def arc_record(uri: str, block: bytes, media_type: str = "text/html") -> bytes:
    """An ARC record."""
    return f"{uri} 1.2.3.4 20080430204825 {media_type} {len(block)}\n".encode() + block + b"\n"
