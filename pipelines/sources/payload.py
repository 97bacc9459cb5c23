"""The body of an HTTP message as it lies in an archive: transfer and content encodings undone, in bounded memory."""

from __future__ import annotations

import re
import zlib

import brotli

_CHUNK_SIZE = re.compile(rb"\s*([0-9A-Fa-f]{1,8})[^\r\n]{0,200}\r?\n")
_PIECE_BYTES = 1 << 16
_DEFLATE_WINDOWS = (zlib.MAX_WBITS, -zlib.MAX_WBITS)  # servers send deflate with and without zlib's header


def decode_payload(body: bytes, transfer_encoding: str | None, content_encoding: str | None, limit_bytes: int) -> bytes:
    """Return the body as a browser would see it, at most `limit_bytes` of it.

    Many crawlers store the decoded body under the original headers, so a body that is not in the encoding its header
    names is returned as it is. A compressed body that breaks off gives what came before.
    """
    if "chunked" in (transfer_encoding or "").lower():
        body = _join_chunks(body)
    encoding = (content_encoding or "").strip().lower()
    if encoding in ("gzip", "x-gzip") and body.startswith(b"\x1f\x8b"):
        return _inflate(body, zlib.MAX_WBITS | 16, limit_bytes)
    if encoding == "deflate" and not body.lstrip().startswith(b"<"):
        decoded = (_inflate(body, window, limit_bytes) for window in _DEFLATE_WINDOWS)
        return next(filter(None, decoded), body)
    if encoding == "br" and not body.lstrip().startswith(b"<"):
        return _unbrotli(body, limit_bytes)
    return body[:limit_bytes]


def _join_chunks(body: bytes) -> bytes:
    chunks: list[bytes] = []
    position = 0
    while match := _CHUNK_SIZE.match(body, position):
        size = int(match.group(1), 16)
        if size == 0:
            return b"".join(chunks)
        chunks.append(body[match.end() : match.end() + size])
        position = match.end() + size
    return b"".join(chunks) if chunks and position >= len(body) else body


def _inflate(body: bytes, window: int, limit_bytes: int) -> bytes:
    inflater = zlib.decompressobj(window)
    pieces, left = [], limit_bytes
    try:
        while left and body and not inflater.eof:
            pieces.append(inflater.decompress(body, min(left, _PIECE_BYTES)))
            left -= len(pieces[-1])
            body = inflater.unconsumed_tail
    except zlib.error:
        pass  # what was inflated before the damage is kept
    return b"".join(pieces)


def _unbrotli(body: bytes, limit_bytes: int) -> bytes:
    decompressor, pieces, left = brotli.Decompressor(), [], limit_bytes
    try:
        piece = decompressor.process(body, output_buffer_limit=min(left, _PIECE_BYTES))
        while piece:
            pieces.append(piece[:left])
            left -= len(pieces[-1])
            piece = decompressor.process(b"", output_buffer_limit=min(left, _PIECE_BYTES)) if left else b""
    except brotli.error:
        return b"".join(pieces) or body[:limit_bytes]
    return b"".join(pieces)
