"""Content encodings undone as they come in, in bounded memory: gzip, deflate with and without zlib's header, Brotli."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Protocol

import brotli


class BrokenContent(Exception):
    """What is not in the encoding that its header names."""


class _Codec(Protocol):
    """One stream of an encoding."""

    @property
    def is_whole(self) -> bool: ...

    def decode(self, data: bytes, max_bytes: int) -> bytes: ...


class _Zlib:
    """gzip by its window bits, 31; deflate by 15, or bare as some servers send it: its first byte tells (RFC 1950)."""

    def __init__(self, window_bits: int) -> None:
        self._window_bits = window_bits
        self._inflater: zlib._Decompress | None = None

    @property
    def is_whole(self) -> bool:
        return self._inflater is not None and self._inflater.eof

    def decode(self, data: bytes, max_bytes: int) -> bytes:
        if self._inflater is None:
            is_bare = self._window_bits == zlib.MAX_WBITS and data[0] & 0x0F != zlib.DEFLATED
            self._inflater = zlib.decompressobj(-zlib.MAX_WBITS if is_bare else self._window_bits)
        try:
            return self._inflater.decompress(data, max_bytes)
        except zlib.error as error:
            raise BrokenContent from error


class _Brotli:
    def __init__(self) -> None:
        self._decompressor = brotli.Decompressor()

    @property
    def is_whole(self) -> bool:
        return bool(self._decompressor.is_finished())

    def decode(self, data: bytes, max_bytes: int) -> bytes:
        try:
            return bytes(self._decompressor.process(data, output_buffer_limit=max_bytes))
        except brotli.error as error:
            raise BrokenContent from error


CODECS: dict[str, Callable[[], _Codec]] = {
    "gzip": lambda: _Zlib(zlib.MAX_WBITS | 16),
    "x-gzip": lambda: _Zlib(zlib.MAX_WBITS | 16),
    "deflate": lambda: _Zlib(zlib.MAX_WBITS),
    "br": _Brotli,
}
"""By the name in Content-Encoding, in lower case."""


class Decoder:
    """Undoes one encoding of a body, chunk by chunk; gives out little more than `max_bytes` in all.

    Who goes on after that many has been told: more than `max_bytes` is what comes out. What follows the end of the
    compressed data is dropped.
    """

    def __init__(self, codec: Callable[[], _Codec], max_bytes: int) -> None:
        self._codec = codec()
        self._left = max_bytes + 1

    @property
    def is_whole(self) -> bool:
        """Whether the compressed data has come to its end."""
        return self._codec.is_whole

    def decode(self, chunk: bytes) -> bytes:
        """Return what a chunk, not empty, decodes to; raises BrokenContent."""
        if self._left <= 0 or self.is_whole:
            return b""
        data = self._codec.decode(chunk, self._left)
        self._left -= len(data)
        return data
