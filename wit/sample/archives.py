"""WARC and WAT files as Common Crawl writes them, with the same bytes for the same records.

One gzip member a record. A WARC holds request and response of each page, and the response of each picture that a
crawler got with 200; a WAT holds one metadata record for each record of its WARC.
"""

from __future__ import annotations

import base64
import hashlib
import struct
import uuid
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import IO, Any
from urllib.parse import urlsplit

import orjson

from wit.sample.pages import Rendered

DATE = "2024-01-01T00:00:00Z"
_INFO = {
    "isPartOf": "SAMPLE-2024-01",
    "publisher": "wit sample",
    "description": "The miniature web with known answers",
    "format": "WARC File Format 1.1",
    "conformsTo": "https://iipc.github.io/warc-specifications/specifications/warc-format/warc-1.1/",
}
_AGENT = "CCBot/2.0 (https://commoncrawl.org/faq/)"
_ADDRESS = "192.0.2.1"  # TEST-NET-1: an address that stands for no machine

Headers = list[tuple[str, str]]


@dataclass(frozen=True)
class Member:
    """A record as it lies in an archive: where, and what a WAT says of it."""

    offset: int
    headers: Headers
    header_length: int
    block: bytes
    deflated: int
    inflated: int
    crc: int


def gzip_member(data: bytes) -> bytes:
    """Return `data` as one gzip member: no name, no time, so the same bytes for the same data."""
    deflate = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    head = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03"
    return (
        head + deflate.compress(data) + deflate.flush() + struct.pack("<II", zlib.crc32(data), len(data) & 0xFFFFFFFF)
    )


def _digest(data: bytes) -> str:
    return "sha1:" + base64.b32encode(hashlib.sha1(data, usedforsecurity=False).digest()).decode()


def _record_id(*parts: str) -> str:
    return f"<urn:uuid:{uuid.UUID(bytes=hashlib.sha256(chr(0).join(parts).encode()).digest()[:16], version=4)}>"


class Archive:
    """Writes records to an open file."""

    def __init__(self, file: IO[bytes], name: str) -> None:
        self._file = file
        self.name = name
        self._offset = 0

    def write(self, headers: Headers, block: bytes) -> Member:
        """Append one record and return how it lies there."""
        head = "".join(f"{name}: {value}\r\n" for name, value in headers)
        start = f"WARC/1.0\r\n{head}\r\n".encode()
        record = start + block + b"\r\n\r\n"
        member = gzip_member(record)
        self._file.write(member)
        written = Member(self._offset, headers, len(start), block, len(member), len(record), zlib.crc32(record))
        self._offset += len(member)
        return written


class WarcWriter:
    """Writes a WARC and, beside it, its WAT."""

    def __init__(self, warc: IO[bytes], wat: IO[bytes], name: str) -> None:
        self._warc = Archive(warc, f"{name}.warc.gz")
        self._wat = Archive(wat, f"{name}.warc.wat.gz")
        self._info_id = _record_id(self._warc.name, "warcinfo")
        self._num_records = 0
        self._write_info()

    def _write_info(self) -> None:
        block = "".join(f"{name}: {value}\r\n" for name, value in _INFO.items()).encode() + b"\r\n"
        self._warc.write(self._info_headers(self._warc.name, self._info_id, block), block)
        notes = f"Software-Info: wit sample\r\nExtracted-Date: {DATE}\r\nformat: WARC File Format 1.0\r\n\r\n".encode()
        self._wat.write(self._info_headers(self._wat.name, _record_id(self._wat.name, "warcinfo"), notes), notes)

    @staticmethod
    def _info_headers(name: str, record_id: str, block: bytes) -> Headers:
        return [
            ("WARC-Type", "warcinfo"),
            ("WARC-Date", DATE),
            ("WARC-Record-ID", record_id),
            ("WARC-Filename", name),
            ("Content-Type", "application/warc-fields"),
            ("Content-Length", str(len(block))),
            ("WARC-Block-Digest", _digest(block)),
        ]

    def page(self, url: str, rendered: Rendered) -> None:
        """Write the request and the response of a page."""
        parts = urlsplit(url)
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        lines = (f"GET {path} HTTP/1.1", f"User-Agent: {_AGENT}", f"Host: {parts.netloc}", "Connection: Keep-Alive")
        request = "".join(f"{line}\r\n" for line in (*lines, ""))
        member = self._record("request", url, request.encode(), b"")
        message: dict[str, Any] = {"Method": "GET", "Path": path, "Version": "HTTP/1.1"}
        self._metadata(
            member, url, "HTTP-Request-Metadata", {"Request-Message": message} | _http_facts(request.encode(), b"")
        )
        headers = (("Content-Type", rendered.media_type), ("Server", "sample"))
        self._response(url, headers, rendered.body, {"HTML-Metadata": _html_metadata(rendered)})

    def image(self, url: str, headers: Iterable[tuple[str, str]], body: bytes) -> None:
        """Write the response of an image URL."""
        self._response(url, tuple(headers), body, {})

    def malformed(self, url: str) -> None:
        """Write a response without an HTTP message, and a metadata record without JSON."""
        block = b"\x00\x01 this is no HTTP message"
        member = self._record("response", url, block, block)
        self._wat.write(self._wat_headers(member, url, b'{"Envelope": {"Payl'), b'{"Envelope": {"Payl')

    def _response(self, url: str, headers: tuple[tuple[str, str], ...], body: bytes, more: dict[str, Any]) -> None:
        lines = [*headers, ("Date", "Mon, 01 Jan 2024 00:00:00 GMT"), ("Content-Length", str(len(body)))]
        head = ("HTTP/1.1 200 OK\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines) + "\r\n").encode()
        member = self._record("response", url, head + body, body)
        message = {"Version": "HTTP/1.1", "Status": "200", "Reason": "OK"}
        facts = {"Response-Message": message} | _http_facts(head, body) | more
        self._metadata(member, url, "HTTP-Response-Metadata", facts)

    def _record(self, kind: str, url: str, block: bytes, payload: bytes) -> Member:
        self._num_records += 1
        headers = [
            ("WARC-Type", kind),
            ("WARC-Date", DATE),
            ("WARC-Record-ID", _record_id(self._warc.name, kind, str(self._num_records))),
            ("Content-Length", str(len(block))),
            ("Content-Type", f"application/http; msgtype={kind}"),
            ("WARC-Warcinfo-ID", self._info_id),
            ("WARC-IP-Address", _ADDRESS),
            ("WARC-Target-URI", url),
            ("WARC-Payload-Digest", _digest(payload)),
            ("WARC-Block-Digest", _digest(block)),
        ]
        return self._warc.write(headers, block)

    def _metadata(self, member: Member, url: str, name: str, facts: dict[str, Any]) -> None:
        header = dict(member.headers)
        container = {
            "Filename": self._warc.name,
            "Compressed": True,
            "Offset": str(member.offset),
            "Gzip-Metadata": {
                "Deflate-Length": str(member.deflated),
                "Header-Length": "10",
                "Footer-Length": "8",
                "Inflated-CRC": str(struct.unpack("<i", struct.pack("<I", member.crc))[0]),
                "Inflated-Length": str(member.inflated),
            },
        }
        payload = {
            "Actual-Content-Type": header["Content-Type"],
            name: facts,
            "Actual-Content-Length": str(len(member.block)),
            "Trailing-Slop-Length": "4",
            "Block-Digest": header["WARC-Block-Digest"],
        }
        envelope = {
            "Payload-Metadata": payload,
            "Format": "WARC/1.0",
            "WARC-Header-Length": str(member.header_length),
            "WARC-Header-Metadata": header,
        }
        block = orjson.dumps({"Container": container, "Envelope": envelope})
        self._wat.write(self._wat_headers(member, url, block), block)

    @staticmethod
    def _wat_headers(member: Member, url: str, block: bytes) -> Headers:
        refers_to = dict(member.headers)["WARC-Record-ID"]
        return [
            ("WARC-Type", "metadata"),
            ("WARC-Target-URI", url),
            ("WARC-Date", DATE),
            ("WARC-Record-ID", _record_id("wat", refers_to)),
            ("WARC-Refers-To", refers_to),
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(block))),
            ("WARC-Payload-Digest", _digest(block)),
            ("WARC-Block-Digest", _digest(block)),
        ]


def _http_facts(head: bytes, body: bytes) -> dict[str, Any]:
    lines = head.decode().split("\r\n")[1:]
    return {
        "Headers-Length": str(len(head)),
        "Headers": dict(line.split(": ", 1) for line in lines if line),
        "Entity-Length": str(len(body)),
        "Entity-Digest": _digest(body),
        "Entity-Trailing-Slop-Length": "0",
    }


def _html_metadata(rendered: Rendered) -> dict[str, Any]:
    head: dict[str, Any] = {"Base": rendered.base} if rendered.base else {}
    head["Title"] = rendered.title
    if rendered.metas:
        head["Metas"] = [dict(meta) for meta in rendered.metas]
    return {"Head": head, "Links": [{"path": link.path} | dict(link.fields) for link in rendered.links]}
