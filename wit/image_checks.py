"""A stored image against its row of an index: its hash, and its size as its header says."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from wit.image import ImageRejected, inspect

_PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
_JPEG = b"\xff\xd8\xff"
_JPEG_FRAMES = (0xC0, 0xC1, 0xC2)  # baseline, extended and progressive Huffman (ITU-T T.81, table B.1)
_JPEG_PASSED = {0xC4, 0xDB, 0xDD, 0xE0, 0xE2, 0xEE, 0xFE}  # tables, JFIF, ICC, Adobe, comment: none turns a picture


class PlainSize(NamedTuple):
    """Format, and width and height in px."""

    format: str
    width: int
    height: int


def plain_size(body: bytes) -> PlainSize | None:
    """Return format and size of a JPEG or PNG without EXIF; None for any other body, which `wit.image.inspect` judges.

    PNG: W3C PNG 3rd edition, 11.2.1; JPEG: ITU-T T.81, B.2.2. So a check of a million samples has Pillow open few.
    """
    if body.startswith(_PNG) and b"eXIf" not in body:
        return _sized("png", body[16:20], body[20:24])
    return _jpeg_size(body) if body.startswith(_JPEG) else None


def _jpeg_size(body: bytes) -> PlainSize | None:
    at = 2
    while body[at : at + 1] == b"\xff" and at + 9 <= len(body):
        marker, length = body[at + 1], int.from_bytes(body[at + 2 : at + 4], "big")
        if marker in _JPEG_FRAMES:
            return _sized("jpeg", body[at + 7 : at + 9], body[at + 5 : at + 7])
        if marker not in _JPEG_PASSED:
            return None
        at += 2 + length
    return None


def _sized(found: str, width: bytes, height: bytes) -> PlainSize | None:
    size = PlainSize(found, int.from_bytes(width, "big"), int.from_bytes(height, "big"))
    return size if size.width and size.height else None


def check_image(row: Mapping[str, Any], image: bytes) -> Iterator[str]:
    """Yield what differs between an image and `sha256`, `width` and `height` of its row; a size of 0 says nothing."""
    if hashlib.sha256(image).hexdigest() != row["sha256"]:
        yield "the image's bytes are not those that the index has the hash of"
    if not row["width"]:
        return
    plain = plain_size(image)
    if plain and plain[1:] == (row["width"], row["height"]):
        return
    try:
        header = inspect(image)
    except ImageRejected as error:
        yield f"the image cannot be read: {error}"
        return
    if (header.width, header.height) != (row["width"], row["height"]):
        yield f"the image is {header.width} x {header.height} px, the index says {row['width']} x {row['height']}"
