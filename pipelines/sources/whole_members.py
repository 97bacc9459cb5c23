"""The usual compressed archive, read fast: each gzip member is one plain record.

Where that is not so, whatever the reason, it stops: pipelines.sources.archive, which knows all of them, reads on there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, NamedTuple, cast

from zlib_ng import zlib_ng

MAX_MEMBER_BYTES = 16 << 20

_MAGIC = b"\x1f\x8b\x08\x00"  # without a name or comment, as archives have it
_GZIP = 31  # window bits of zlib that ask for a gzip header
_DAMAGED = cast(type[Exception], zlib_ng.error)
_READ_BYTES = 1 << 20
_MAX_PACKED_BYTES = 4 << 20


class Member(NamedTuple):
    """A gzip member, its checksum found right."""

    start: int
    """Where it lies in the file; the next one begins at `stop`."""
    stop: int
    data: bytes


def whole_members(file: IO[bytes]) -> Iterator[Member]:
    """Yield the gzip members of a file from its beginning, up to the end or to the first that is in any way unusual.

    A member is taken to end where the next magic number stands; its checksum tells whether it does.
    """
    window, is_last = b"", False
    at = start = 0  # the next member begins at window[start], and at + start in the file
    while window.startswith(_MAGIC, start) or not (window or is_last):
        stop = window.find(_MAGIC, start + 1)
        if stop < 0 and not is_last:
            if len(window) - start > _MAX_PACKED_BYTES:
                return
            try:
                block = file.read(_READ_BYTES)
            except OSError:
                return  # whoever reads on says so
            window, at, start, is_last = window[start:] + block, at + start, 0, not block
            continue
        stop = stop if stop >= 0 else len(window)
        data = _inflated(window[start:stop])
        if data is None:
            return
        yield Member(at + start, at + stop, data)
        start = stop


def _inflated(packed: bytes) -> bytes | None:
    """Return what a gzip member holds; None when it is damaged, very large, or not one member."""
    inflater = zlib_ng.decompressobj(_GZIP)
    try:
        data = inflater.decompress(packed, MAX_MEMBER_BYTES)
    except _DAMAGED:
        return None
    return data if inflater.eof and not inflater.unused_data else None
