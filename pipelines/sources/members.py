"""The bytes of an archive, gzip members inflated one by one; a damaged member costs itself only."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from enum import Enum
from typing import IO, NamedTuple, cast

from zlib_ng import zlib_ng

READ_BYTES = 1 << 14  # a member of Common Crawl has 5 to 30 KB; what is read too much is copied once a member
PIECE_BYTES = 1 << 18
_SEARCH_BYTES = 1 << 15
_HEAD_BYTES = 512  # of a member, to see whether a record begins in it
_FIRST_LINE_BYTES = 8192

LOOK_BACK_BYTES = 1 << 17
"""How far before the place where damage shows the next member may begin.

A damaged stream that still inflates runs over the next members until it meets an impossible code: a stored block,
the longest thing that is not checked on the way, has at most 64 KiB.
"""

_MAGIC = b"\x1f\x8b\x08"
_DamageError = cast("type[Exception]", zlib_ng.error)  # its own types call it an instance
_GZIP = 31  # window bits of zlib that ask for a gzip header


class Edge(Enum):
    """What stands between a piece and the one before it."""

    NONE = "the same stream goes on"
    START = "a member that begins a record, or the beginning of the file"
    DAMAGE = "something that cannot be inflated"
    CUT = "the file ends inside a member"
    END = "the file ends"


class Piece(NamedTuple):
    """Bytes as the crawler wrote them, and where they lie in the file."""

    edge: Edge
    data: bytes
    offset: int
    """In bytes: of the first byte in a file as it is; of the member in a compressed one."""
    is_plain: bool = False
    detail: str = ""


def pieces(file: IO[bytes], begins_record: Callable[[bytes], bool], start: int = 0) -> Iterator[Piece]:
    """Yield the content of an archive from an offset on, compressed or not, in bounded memory.

    `begins_record` says whether bytes begin with a record's first line. Raises OSError when the file cannot be read.
    """
    file.seek(start)
    is_gzip = file.read(len(_MAGIC)) == _MAGIC
    file.seek(start)
    if is_gzip:
        yield from _Members(file, begins_record, start).pieces()
        return
    edge, offset = Edge.START, start
    while data := file.read(PIECE_BYTES):
        yield Piece(edge, data, offset, is_plain=True)
        edge, offset = Edge.NONE, offset + len(data)


class _Members:
    """Gzip members one after the other; `_raw` is what was read and not yet inflated, `_at` where it lies."""

    def __init__(self, file: IO[bytes], begins_record: Callable[[bytes], bool], start: int) -> None:
        self._file = file
        self._begins_record = begins_record
        self._raw, self._at = b"", start
        self._has_begun = False  # whether there was a piece of the present member

    def pieces(self) -> Iterator[Piece]:
        is_first = True
        while self._more():
            member = self._at
            if not self._raw.startswith(_MAGIC) and not self._has_magic():
                if self._skip_padding():
                    continue
                yield Piece(Edge.START, b"", member)  # so that the record before is not blamed
                yield Piece(Edge.DAMAGE, b"", member, detail="no gzip member where one should begin")
            else:
                inflater = zlib_ng.decompressobj(_GZIP)
                try:
                    yield from self._inflate(inflater, is_first)
                    is_first = False
                    continue
                except _DamageError as error:
                    is_first = False
                    if not self._has_begun:
                        yield Piece(Edge.START, b"", member)
                    yield Piece(Edge.DAMAGE, b"", member, detail=f"damaged gzip member: {error}")
            self._seek_member(max(member + 1, self._at - LOOK_BACK_BYTES))

    def _inflate(self, inflater: zlib_ng._Decompress, is_first: bool) -> Iterator[Piece]:
        """Yield the content of the member that begins here; raises _DamageError when it is damaged."""
        member, edge, held = self._at, Edge.START, b""
        self._has_begun = False
        while True:
            data = held + inflater.decompress(self._raw, PIECE_BYTES)
            left = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
            self._at += len(self._raw) - len(left)
            self._raw = left
            is_line = b"\n" in data or len(data) >= _FIRST_LINE_BYTES
            if inflater.eof or edge is Edge.NONE or is_line:
                if edge is Edge.START and not is_first and not self._begins_record(data):
                    edge = Edge.NONE
                if data or edge is Edge.START:
                    yield Piece(edge, data, member)
                edge, held, self._has_begun = Edge.NONE, b"", True
            else:
                held = data
            if inflater.eof:
                return
            if not self._raw and not self._more():
                yield Piece(edge, held, member)
                yield Piece(Edge.CUT, b"", member)
                return

    def _more(self) -> bool:
        """Have something to inflate; return whether there is."""
        self._raw = self._raw or self._file.read(READ_BYTES)
        return bool(self._raw)

    def _has_magic(self) -> bool:
        """Return whether a member begins here when its magic number lies across two reads."""
        if len(self._raw) < len(_MAGIC) and _MAGIC.startswith(self._raw):
            self._raw += self._file.read(READ_BYTES)
        return self._raw.startswith(_MAGIC) or _MAGIC.startswith(self._raw)

    def _skip_padding(self) -> bool:
        """Skip null bytes, which fill up a block of a tape; return whether there were any."""
        rest = self._raw.lstrip(b"\0")
        self._at += len(self._raw) - len(rest)
        is_padding, self._raw = len(rest) < len(self._raw), rest
        return is_padding

    def _seek_member(self, offset: int) -> None:
        """Go to the next member that begins a record, from an offset on; to the end when there is none."""
        self._file.seek(offset)
        window, is_last = b"", False
        while not is_last:
            block = self._file.read(_SEARCH_BYTES)
            window, is_last = window + block, not block
            stop = len(window) if is_last else len(window) - _HEAD_BYTES
            found = window.find(_MAGIC, 0, max(stop, 0))
            while found >= 0 and not self._begins_with_record(window[found : found + _HEAD_BYTES]):
                found = window.find(_MAGIC, found + 1, max(stop, 0))
            if found >= 0:
                self._raw, self._at = b"", offset + found
                self._file.seek(self._at)
                return
            if stop > 0:
                offset, window = offset + stop, window[stop:]
        self._raw, self._at = b"", offset

    def _begins_with_record(self, head: bytes) -> bool:
        try:
            start = zlib_ng.decompressobj(_GZIP).decompress(head, _HEAD_BYTES)
        except _DamageError:
            return False
        return bool(_SCHEME.match(start))


_SCHEME = re.compile(rb"WARC/|[a-z][a-z0-9+.-]{1,15}:")  # what a record's first line begins with
