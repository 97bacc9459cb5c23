"""The bytes of a picture: every format a crawl meets, edited copies, and bodies that are not what they should be."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass, replace
from random import Random

import imagehash
import numpy as np
from PIL import Image

from wit.sample.pictures import draw
from wit.sample.scenes import Scene, random_scene

MEDIA_TYPES = {"jpeg": "image/jpeg", "png": "image/png", "webp": "image/webp", "gif": "image/gif"}
EXTENSIONS = {"jpeg": "jpg", "png": "png", "webp": "webp", "gif": "gif"}

GREY_VARIANTS = ("grey", "grey16")
"""Variants that show no colour, so that a caption may name none."""


@dataclass(frozen=True)
class Picture:
    """How the body of an image is made."""

    scene: Scene
    width: int
    height: int
    format: str = "jpeg"
    variant: str = ""
    """progressive, grey, orientation (JPEG); palette, rgba, grey16 (PNG); a fault: one of FAULTS; or empty."""
    quality: int = 88
    copy_of: Picture | None = None
    """Of an edited copy: the original, which is resized and encoded anew."""


def encode(picture: Picture) -> bytes:
    """Return the bytes of a picture."""
    if picture.variant in FAULTS:
        return FAULTS[picture.variant](picture)
    if picture.copy_of is not None:
        return _edited_copy(picture, picture.copy_of)
    return _WRITERS[picture.format](draw(picture.scene, picture.width, picture.height), picture)


def perceptual_hash(body: bytes) -> int:
    """Return the 64-bit perceptual hash of an encoded picture, by the library that defines it."""
    with Image.open(io.BytesIO(body)) as image:
        return int(str(imagehash.phash(image)), 16)


_EDITS = (
    (Image.Resampling.LANCZOS, 0),
    (Image.Resampling.LANCZOS, 90),
    (Image.Resampling.BICUBIC, 95),
    (Image.Resampling.BOX, 98),
    (Image.Resampling.LANCZOS, 98),
    (Image.Resampling.HAMMING, 98),
)
"""Ways to resize, with a least quality of encoding: each gentler than the one before."""

EDIT_BITS = 2
"""Bits by which the hash of an edited copy may differ from its original's."""


def _edited_copy(picture: Picture, original: Picture) -> bytes:
    """Return the first edit that stays within EDIT_BITS of the original, or else the nearest."""
    body = encode(original)
    wanted = perceptual_hash(body)
    found: list[tuple[int, bytes]] = []
    for resampling, quality in _EDITS:
        with Image.open(io.BytesIO(body)) as image:
            resized = image.convert("RGB").resize((picture.width, picture.height), resampling)
        edited = _WRITERS[picture.format](resized, replace(picture, quality=max(picture.quality, quality)))
        found.append(((perceptual_hash(edited) ^ wanted).bit_count(), edited))
        if found[-1][0] <= EDIT_BITS:
            break
    return min(found, key=lambda each: each[0])[1]


def _save(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _jpeg(image: Image.Image, picture: Picture) -> bytes:
    if picture.variant == "grey":
        image = image.convert("L")
    if picture.variant == "orientation":
        return _turned_jpeg(image, picture)
    return _save(image, "JPEG", quality=picture.quality, progressive=picture.variant == "progressive")


_ORIENTATION_TAG = 0x0112
_UNDO = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
"""EXIF orientation: the turn of the stored pixels that a viewer undoes."""


def _turned_jpeg(image: Image.Image, picture: Picture) -> bytes:
    orientation = Random(f"turn {picture.scene.seed}").choice(tuple(_UNDO))
    exif = Image.Exif()
    exif[_ORIENTATION_TAG] = orientation
    return _save(image.transpose(_UNDO[orientation]), "JPEG", quality=picture.quality, exif=exif)


def _png(image: Image.Image, picture: Picture) -> bytes:
    if picture.variant == "palette":
        image = image.quantize(64)
    elif picture.variant == "rgba":
        image = image.convert("RGBA")
    elif picture.variant == "grey16":
        grey = np.asarray(image.convert("L"), np.uint16)
        image = Image.fromarray(grey * np.uint16(257))
    return _save(image, "PNG", compress_level=2)


def _webp(image: Image.Image, picture: Picture) -> bytes:
    return _save(image, "WEBP", quality=picture.quality, method=1)


def _gif(image: Image.Image, picture: Picture) -> bytes:
    return _save(image.quantize(64), "GIF")


_WRITERS = {"jpeg": _jpeg, "png": _png, "webp": _webp, "gif": _gif}


# --- bodies that a pipeline must turn away ---


def _blank(picture: Picture) -> bytes:
    image = Image.new("RGB", (picture.width, picture.height), (240, 240, 240))
    return _save(image, picture.format.upper())


def _animated(picture: Picture) -> bytes:
    frames = [draw(random_scene(f"{picture.scene.seed} frame {i}"), picture.width, picture.height) for i in range(4)]
    if picture.format == "gif":
        frames = [frame.quantize(32) for frame in frames]
    return _save(frames[0], picture.format.upper(), save_all=True, append_images=frames[1:], duration=120, loop=0)


def _corrupt(picture: Picture) -> bytes:
    """Return a body whose header is sound and whose pixels break off: what a broken upload leaves behind."""
    whole = _WRITERS[picture.format](draw(picture.scene, picture.width, picture.height), picture)
    return whole[: len(whole) * 2 // 5]


def _bomb(picture: Picture) -> bytes:
    """Return a small body that declares 30,000 x 30,000 px."""
    if picture.format == "jpeg":
        small = bytearray(_save(Image.new("RGB", (64, 64)), "JPEG"))
        at = small.index(b"\xff\xc0") + 5  # the frame header: marker, length, precision, then height and width
        small[at : at + 4] = struct.pack(">HH", 30_000, 30_000)
        return bytes(small)
    header = struct.pack(">IIBBBBB", 30_000, 30_000, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes((30_000 // 8 + 1) * 400), 9)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", rows) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _html(picture: Picture) -> bytes:
    return f"<!DOCTYPE html><title>Sign in</title><p>Sign in to see picture {picture.scene.seed}.".encode()


def _svg(picture: Picture) -> bytes:
    size = f'width="{picture.width}" height="{picture.height}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}><circle cx="80" cy="80" r="60" fill="red"/></svg>'.encode()


def _nothing(picture: Picture) -> bytes:
    return b""


FAULTS = {
    "blank": _blank,
    "animated": _animated,
    "corrupt": _corrupt,
    "bomb": _bomb,
    "html": _html,
    "svg": _svg,
    "nothing": _nothing,
}
"""Variants that are not a usable still picture."""
