"""Tar archives: plain ustar written, and the members of any common tar found without trusting them.

No path is ever taken from a member: a name is a label, never a place on a disk.
"""

from __future__ import annotations

import errno
import gzip
import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import IO, cast

from wit.errors import InputError

BLOCK = 512
END = bytes(2 * BLOCK)  # POSIX: an archive ends with two blocks of zeros
MAX_NAME_BYTES = 1 << 16  # of an extended header; real ones hold a name and a time

MAX_LENGTH = 1 << 50
"""Of a member in bytes; a header that states more, or less than nothing, is none."""

_FILES = b"0\0007"
_NAME_BYTES, _MAX_OCTAL = 100, 8**11 - 1
# Fields of a header (POSIX.1, "ustar Interchange Format"): name, mode to gid, size, mtime, checksum, type and the rest.
_MODE, _MTIME, _TAIL = (
    b"0000644\0" + b"0000000\0" * 2,
    b"\0" + b"00000000000\0",
    b"0" + bytes(100) + b"ustar\00000" + bytes(247),
)
_REST_SUM = sum(_MODE) + sum(_MTIME) + sum(_TAIL) + 8 * ord(" ")  # its own field counts as blanks
_LONG_NAME, _PAX, _PAX_GLOBAL, _SPARSE = b"L", b"x", b"g", b"S"
_EXTENDED = (_LONG_NAME, _PAX)
_SPARSE_PAX = b"GNU.sparse."
_PART_BYTES = 1 << 20
_GZIP = b"\x1f\x8b"  # how a gzip file begins


@dataclass(frozen=True)
class Member:
    """A regular file in an archive."""

    name: str
    offset: int
    """Where its bytes begin."""
    length: int
    header: bytes
    """Its header block."""
    start: int
    """Where its headers begin: of a long name, the block that says so."""

    @property
    def stop(self) -> int:
        """Where the next member's headers begin."""
        return self.offset + self.length + -self.length % BLOCK


def header(name: str, length: int) -> bytes:
    """Return the plain ustar header block of a regular file: mode 0644, mtime 0, uid and gid 0, no owner names.

    `name` is in ASCII and fits, `length` is under 8 GiB. (tarfile's own takes ten times as long.)
    """
    encoded = name.encode("ascii")
    if len(encoded) > _NAME_BYTES or length > _MAX_OCTAL:
        return _info(name, length).tobuf(tarfile.USTAR_FORMAT, "ascii", "strict")
    size = b"%011o" % length
    checksum = _REST_SUM + sum(encoded) + sum(size)
    return b"".join((encoded.ljust(_NAME_BYTES, b"\0"), _MODE, size, _MTIME, b"%06o\0 " % checksum, _TAIL))


def long_header(name: str, length: int) -> bytes:
    """Return the header of a regular file whose name may be long or not ASCII: pax where ustar cannot hold it."""
    return _info(name, length).tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _info(name: str, length: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size = length
    return member


def padding(length: int) -> bytes:
    """Return the zeros that fill a member up to a whole block."""
    return bytes(-length % BLOCK)


def members(file: IO[bytes], url: str, start: int = 0) -> Iterator[Member]:
    """Yield the regular files of an uncompressed tar in order; links, folders and devices are passed over.

    So are sparse files. Begins at byte `start`, where a member's headers are. Long names of GNU and pax archives are
    read. The file may be read elsewhere between members. Raises InputError when the archive breaks off or a header is
    not one; `url` names it in the message.
    """
    position, extended = start, _PLAIN
    while True:
        block = _read(file, position, BLOCK, url)
        if not any(block):
            return
        length = _length(block, position, url)
        kind, data = block[156:157], position + BLOCK
        if kind in _EXTENDED:
            extended = _extend(extended, kind, _read(file, data, min(length, MAX_NAME_BYTES + 1), url), url)
        elif kind != _PAX_GLOBAL:
            length = length if extended.length is None else extended.length
            data = _sparse_data(file, block, data, url) if kind == _SPARSE else data
            if kind in _FILES and not extended.is_sparse:
                yield Member(extended.name or _name(block), data, length, block, start)
            extended = _PLAIN
        position = data + length + len(padding(length))
        start = start if kind in _EXTENDED else position


def member_at(file: IO[bytes], offset: int, url: str) -> Member:
    """Return the regular file whose header is at `offset`, its name cut where an extended header has the whole.

    Raises InputError when there is none.
    """
    block = _read(file, offset, BLOCK, url)
    if not any(block) or block[156:157] not in _FILES:
        raise InputError(f"{url}: expected the tar header of a file at byte {offset}, found something else")
    return Member(_name(block), offset + BLOCK, _length(block, offset, url), block, offset)


def read_member(file: IO[bytes], member: Member, url: str) -> bytes:
    """Return the bytes of a member; raises InputError when the archive breaks off inside it."""
    return _read(file, member.offset, member.length, url)


def _read(file: IO[bytes], position: int, length: int, url: str) -> bytes:
    """Return bytes of an archive; memory is taken for those that are there, whatever number it states."""
    try:
        file.seek(position)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise _broken_off(url, file.seek(0, os.SEEK_END)) from error  # further than the file system counts
    parts, missing = [], length
    while missing and (part := file.read(min(missing, _PART_BYTES))):
        parts.append(part)
        missing -= len(part)
    if missing:
        raise _broken_off(url, position + length - missing)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _broken_off(url: str, position: int) -> InputError:
    return InputError(f"{url}: the tar breaks off at byte {position}; fetch or make it again")


def _length(block: bytes, position: int, url: str) -> int:
    """Return the size of the member, after the header's checksum has been checked."""
    try:
        stated = int(block[148:156].strip(b" \0"), 8)
        size_field = block[124:136]
        if size_field[0] & 0x80:  # GNU: base 256 above 8 GiB
            length = int.from_bytes(size_field[1:], "big")
        else:
            length = int(size_field.strip(b" \0") or b"0", 8)
    except ValueError as error:
        raise InputError(f"{url}: expected a tar header at byte {position}, found something else") from error
    if not 0 <= length <= MAX_LENGTH:
        raise InputError(f"{url}: the tar header at byte {position} states a length of {length} bytes")
    if stated != sum(block[:148]) + 8 * ord(" ") + sum(block[156:]):
        raise InputError(f"{url}: the checksum of the tar header at byte {position} is wrong")
    return length


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "backslashreplace")


def _name(block: bytes) -> str:
    prefix = _text(block[345:500]) if block[257:263] == b"ustar\0" else ""
    return f"{prefix}/{_text(block[:100])}" if prefix else _text(block[:100])


@dataclass(frozen=True)
class _Extended:
    """What extended headers say of the next member."""

    name: str = ""
    length: int | None = None
    is_sparse: bool = False
    """Its bytes are not those of the file, but a map of them and what is not zero."""


_PLAIN = _Extended()


def _extend(before: _Extended, kind: bytes, data: bytes, url: str) -> _Extended:
    """Return what an extended header says of the next member, in addition to what one before it said."""
    if len(data) > MAX_NAME_BYTES:
        raise InputError(f"{url}: an extended tar header is larger than {MAX_NAME_BYTES} bytes")
    if kind == _LONG_NAME:
        return replace(before, name=_text(data))
    records = dict(_pax_records(data, url))
    stated = records.get(b"size")
    if stated is not None and not (stated.isdigit() and len(stated) < 20 and int(stated) <= MAX_LENGTH):
        raise _malformed(url)
    return _Extended(
        _text(records.get(b"path", b"")) or before.name,
        before.length if stated is None else int(stated),
        before.is_sparse or any(key.startswith(_SPARSE_PAX) for key in records),
    )


def _pax_records(data: bytes, url: str) -> Iterator[tuple[bytes, bytes]]:
    """Yield the keys and values of a pax header, records of "LENGTH key=value" and a line feed."""
    position = 0
    while position < len(data):
        blank = data.find(b" ", position, position + 20)
        number = data[position : max(blank, position)]
        if not number.isdigit() or not blank < position + int(number) <= len(data):
            raise _malformed(url)
        end = position + int(number)
        key, _, value = data[blank + 1 : end - 1].partition(b"=")
        yield key, value
        position = end


def _malformed(url: str) -> InputError:
    return InputError(f"{url}: a pax header is malformed")


def _sparse_data(file: IO[bytes], block: bytes, position: int, url: str) -> int:
    """Return where the data of a sparse file of GNU's older kind begin: behind the rest of its map, block by block."""
    goes_on = block[482]
    while goes_on:
        goes_on = _read(file, position, BLOCK, url)[504]
        position += BLOCK
    return position


def unpacked(file: IO[bytes]) -> IO[bytes]:
    """Return a tar as it is, or the tar in a gzip file; seek forward only in that."""
    is_packed = file.read(len(_GZIP)) == _GZIP
    file.seek(0)
    return cast(IO[bytes], gzip.GzipFile(fileobj=file)) if is_packed else file
