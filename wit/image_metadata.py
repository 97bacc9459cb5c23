"""What an image file holds beside its pixels: found, and taken out without touching the pixels.

Privacy is the default: EXIF (position, serial numbers, a thumbnail of the uncropped picture), XMP, IPTC, comments and
whatever is appended after the image's end go. What a decoder needs to show the right colours stays.

Structures: JPEG, ITU-T T.81 annex B; PNG, W3C PNG 3rd edition; WebP, RFC 9649; orientation, Exif 3.0 tag 0x0112.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator, Sequence

_JPEG_PARAMETERLESS = {0x01, *range(0xD0, 0xD9)}
_JPEG_SOS, _JPEG_EOI = 0xDA, 0xD9
_JPEG_MARKER = re.compile(rb"\xff[^\x00\xff]", re.DOTALL)  # sought, as decoders do: a stated length may be wrong
# Inside a scan FF 00 is a byte, FF D0 to D7 a restart, FF FF a fill.
_JPEG_ENDS_SCAN = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]", re.DOTALL)

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_KEEPS = {
    b"IHDR",
    b"PLTE",
    b"IDAT",
    b"IEND",
    b"tRNS",
    b"cHRM",
    b"gAMA",
    b"iCCP",
    b"sBIT",
    b"sRGB",
    b"cICP",
    b"pHYs",
}

_WEBP_KEEPS = {b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ICCP"}
_WEBP_METADATA_FLAGS = 0x08 | 0x04  # EXIF, XMP in the first byte of VP8X

_EXIF_MARK = b"Exif\0\0"
_ORIENTATION = 0x0112


def _jpeg_segments(body: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield (marker, start, end) of each segment, the scan's data included with its SOS; stops at EOI or the end."""
    at = 2
    while (begins := _JPEG_MARKER.search(body, at)) and begins.end() + 2 <= len(body):
        marker, at = begins.group()[1], begins.start()
        if marker == _JPEG_EOI:
            break
        end = at + 2 if marker in _JPEG_PARAMETERLESS else at + 2 + int.from_bytes(body[at + 2 : at + 4], "big")
        if marker == _JPEG_SOS:
            found = _JPEG_ENDS_SCAN.search(body, end)
            end = found.start() if found else len(body)
        yield marker, at, min(end, len(body))
        at = end


def count_jpeg_scans(body: bytes) -> int:
    """Return the number of scans of a JPEG; each costs a decoder a pass over the whole image."""
    return sum(1 for marker, _, _ in _jpeg_segments(body) if marker == _JPEG_SOS)


def _is_metadata(body: bytes, marker: int, start: int) -> bool:
    """Return whether a segment is metadata: not JFIF's, nor Adobe's colour transform, nor ICC's."""
    if marker == 0xE2:
        return not body.startswith(b"ICC_PROFILE\0", start + 4)
    return marker == 0xFE or (0xE0 <= marker <= 0xEF and marker not in (0xE0, 0xEE))


def _strip_jpeg(body: bytes) -> bytes:
    segments = (body[start:end] for marker, start, end in _jpeg_segments(body) if not _is_metadata(body, marker, start))
    return b"".join([body[:2], *segments, b"\xff\xd9"])


def strip_segments(body: bytes, segments: Sequence[tuple[int, int, int]], end_of_scan: int) -> bytes:
    """Return a JPEG of one scan without metadata and trailing bytes; itself when it has none.

    segments: (marker, start, end) of all that come before the scan's data, one behind the other; EOI follows the data.
    """
    kept = [(start, end) for marker, start, end in segments if not _is_metadata(body, marker, start)]
    if len(kept) == len(segments) and end_of_scan + 2 == len(body):
        return body
    return b"".join([body[:2], *(body[start:end] for start, end in kept), body[segments[-1][2] : end_of_scan + 2]])


def _png_chunks(body: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield (type, start, end) of each chunk; stops after IEND or where the file breaks off."""
    at, name = len(_PNG_SIGNATURE), b""
    while at + 12 <= len(body) and name != b"IEND":
        name = body[at + 4 : at + 8]
        end = at + 12 + int.from_bytes(body[at : at + 4], "big")
        yield name, at, min(end, len(body))
        at = end


def _strip_png(body: bytes) -> bytes:
    return _PNG_SIGNATURE + b"".join(body[start:end] for name, start, end in _png_chunks(body) if name in _PNG_KEEPS)


def _webp_chunks(body: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield (FourCC, start, end) of each chunk, padding included, within the length that the header states."""
    at, stop = 12, min(len(body), 8 + int.from_bytes(body[4:8], "little"))
    while at + 8 <= stop:
        length = int.from_bytes(body[at + 4 : at + 8], "little")
        end = at + 8 + length + length % 2
        yield body[at : at + 4], at, min(end, stop)
        at = end


def _strip_webp(body: bytes) -> bytes:
    kept = []
    for name, start, end in _webp_chunks(body):
        chunk = bytearray(body[start:end])
        if name == b"VP8X" and len(chunk) > 8:
            chunk[8] &= ~_WEBP_METADATA_FLAGS & 0xFF
        if name in _WEBP_KEEPS:
            kept.append(bytes(chunk))
    inside = b"WEBP" + b"".join(kept)
    return b"RIFF" + struct.pack("<I", len(inside)) + inside


_STRIP = {"jpeg": _strip_jpeg, "png": _strip_png, "webp": _strip_webp}


def strip_metadata(body: bytes, image_format: str) -> bytes:
    """Return a JPEG, PNG or WebP without EXIF, XMP, IPTC, comments and trailing bytes; its pixels are the same.

    A file that holds none of them comes back byte for byte.
    """
    return _STRIP[image_format](body)


def _jpeg_exif(body: bytes, segments: Iterable[tuple[int, int, int]]) -> bytes:
    for marker, start, end in segments:
        if marker == 0xE1 and body[start + 4 : start + 10] == _EXIF_MARK:
            return body[start + 10 : end]
    return b""


def _exif(body: bytes, image_format: str) -> bytes:
    """Return the EXIF block (a TIFF file) of an image, or nothing."""
    if image_format == "jpeg":
        return _jpeg_exif(body, _jpeg_segments(body))
    if image_format == "png":
        for name, start, end in _png_chunks(body):
            if name == b"eXIf":
                return body[start + 8 : end - 4]
    elif image_format == "webp":
        for name, start, end in _webp_chunks(body):
            if name == b"EXIF":
                return body[start + 8 : end].removeprefix(_EXIF_MARK)
    return b""


def orientation(body: bytes, image_format: str) -> int:
    """Return the EXIF orientation, 1 to 8, of a JPEG, PNG or WebP; 1 (upright) when it says none, or nonsense."""
    return _orientation(_exif(body, image_format))


def exif_orientation(body: bytes, segments: Iterable[tuple[int, int, int]]) -> int:
    """Return the EXIF orientation of a JPEG whose segments, (marker, start, end), are known."""
    return _orientation(_jpeg_exif(body, segments))


def _orientation(exif: bytes) -> int:
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None or len(exif) < 8:
        return 1
    (directory,) = struct.unpack_from(f"{order}I", exif, 4)
    if directory + 2 > len(exif):
        return 1
    (num_entries,) = struct.unpack_from(f"{order}H", exif, directory)
    for at in range(directory + 2, min(directory + 2 + 12 * num_entries, len(exif) - 11), 12):
        tag, kind, _, value = struct.unpack_from(f"{order}HHIH", exif, at)
        if tag == _ORIENTATION:
            return value if kind == 3 and 1 <= value <= 8 else 1  # kind 3: an unsigned 16-bit integer
    return 1
