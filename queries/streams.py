"""Compressed files as streams: gzip of many members, zstd of many frames, bzip2 of many streams."""

from __future__ import annotations

import bz2
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO

from wit.errors import InputError

_STORED_BYTES = 1 << 14  # decompressed at a time: what the last step before a damaged place gives is lost
_BZIP2_STEP = 64  # only heads are read so
_ZSTD_STEP = 1 << 12  # decompressed at a time, for the same reason
_INFLATED_BYTES = 1 << 20  # the most that a step gives at once, however well it is compressed
_GZIP = b"\x1f\x8b"

_MAGICS = {b"BZh": "bzip2", _GZIP: "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_SKIPPABLE = b"*M\x18"  # a zstd frame without content; its first byte is 0x50 to 0x5F
_OTHERS = {b"\xfd7zXZ": "an xz file", b"7z\xbc\xaf": "a 7z archive", b"PK\x03\x04": "a zip archive"}


@dataclass(frozen=True)
class Failure:
    """Why a stream cannot be read any further."""

    reason: str
    """One of DAMAGE_REASONS."""
    detail: str
    padding: bool = False
    """No part of the stream is damaged: what follows it is none."""


def compression_of(magic: bytes, url: str) -> str:
    """Return bzip2, gzip, zstd or none by a file's first bytes; raises InputError for what cannot be read."""
    for signature, found in _OTHERS.items():
        if magic.startswith(signature):
            raise InputError(f"{url}: expected plain XML, .bz2, .gz or .zst, found {found}; unpack it first")
    if magic[1:4] == _SKIPPABLE and magic[0] >> 4 == 5:
        return "zstd"
    return next((name for signature, name in _MAGICS.items() if magic.startswith(signature)), "none")


def content(raw: IO[bytes], compression: str) -> Iterator[bytes | Failure]:
    """Yield a file's content in small pieces, and, where it cannot be read any further, why."""
    return _CONTENTS[compression](raw)


def _read_plain(raw: IO[bytes]) -> Iterator[bytes | Failure]:
    while data := raw.read(_STORED_BYTES):
        yield data


def _inflate_bzip2(raw: IO[bytes]) -> Iterator[bytes | Failure]:
    stored = raw.read(_BZIP2_STEP)
    while stored:
        stream = bz2.BZ2Decompressor()
        while not stream.eof:
            if not stored:
                yield Failure("cut_short", "the file ends inside a bzip2 stream")
                return
            try:
                data = stream.decompress(stored)
            except OSError as error:
                yield Failure("corrupt_block", str(error))
                return
            if data:
                yield data
            stored = b"" if stream.eof else raw.read(_BZIP2_STEP)
        stored = stream.unused_data or raw.read(_BZIP2_STEP)


def _inflate_gzip(raw: IO[bytes]) -> Iterator[bytes | Failure]:
    stored = raw.read(_STORED_BYTES)
    while stored:
        member = zlib.decompressobj(16 + zlib.MAX_WBITS)
        while not member.eof:
            if not stored:
                yield Failure("cut_short", "the file ends inside a gzip member")
                return
            try:
                data = member.decompress(stored, _INFLATED_BYTES)
            except zlib.error as error:
                yield Failure("corrupt_gzip", str(error))
                return
            if data:
                yield data
            stored = member.unconsumed_tail or (b"" if member.eof else raw.read(_STORED_BYTES))
        stored = member.unused_data or raw.read(_STORED_BYTES)
        if len(stored) < len(_GZIP):
            stored += raw.read(_STORED_BYTES)
        if stored and not stored.startswith(_GZIP):
            yield Failure("corrupt_gzip", "what follows a gzip member is none", padding=True)
            return


def _inflate_zstd(raw: IO[bytes]) -> Iterator[bytes | Failure]:
    import pyarrow as pa

    stream = pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), "zstd")
    try:
        while data := stream.read(_ZSTD_STEP):
            yield data
    except OSError as error:
        reason = "cut_short" if "Truncated" in str(error) else "corrupt_zstd"
        yield Failure(reason, str(error), padding="Unknown frame descriptor" in str(error))


_CONTENTS: dict[str, Callable[[IO[bytes]], Iterator[bytes | Failure]]] = {
    "none": _read_plain,
    "bzip2": _inflate_bzip2,
    "gzip": _inflate_gzip,
    "zstd": _inflate_zstd,
}
