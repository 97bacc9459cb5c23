"""Metadata goes, pixels stay."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from wit.image_metadata import count_jpeg_scans, orientation, strip_metadata

SECRET = b"51.4779 N, 0.0015 W"


def bodies() -> dict[str, bytes]:
    """One image in each format, with a place in its EXIF, its XMP or its text, and bytes after its end."""
    image = Image.effect_noise((40, 30), 80).convert("RGB")
    exif = Image.Exif()
    exif[0x010E] = SECRET.decode()
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", SECRET.decode())
    options = {
        "jpeg": {"exif": exif, "comment": SECRET, "xmp": b"<x:xmpmeta>" + SECRET, "quality": 90},
        "png": {"exif": exif, "pnginfo": text},
        "webp": {"exif": exif, "xmp": b"<x:xmpmeta>" + SECRET, "lossless": True},
    }
    written = {}
    for name, extra in options.items():
        buffer = io.BytesIO()
        image.save(buffer, name.upper(), **extra)
        written[name] = buffer.getvalue() + SECRET
    return written


@pytest.mark.parametrize("name", ["jpeg", "png", "webp"])
def test_metadata_goes_and_pixels_stay(name: str) -> None:
    """EXIF, XMP, comments and trailing bytes are gone, every pixel is the same, and doing it again changes nothing."""
    body = bodies()[name]
    stripped = strip_metadata(body, name)
    assert SECRET in body
    assert SECRET not in stripped
    with Image.open(io.BytesIO(body)) as before, Image.open(io.BytesIO(stripped)) as after:
        assert np.array_equal(np.asarray(before), np.asarray(after))
        assert not after.getexif()
    assert strip_metadata(stripped, name) == stripped


@pytest.mark.parametrize("name", ["jpeg", "png", "webp"])
def test_a_clean_file_is_unchanged(name: str) -> None:
    """A file without metadata comes back byte for byte, an embedded profile and restart markers included."""
    buffer = io.BytesIO()
    options: dict[str, object] = {"restart_marker_rows": 1, "progressive": True} if name == "jpeg" else {}
    Image.effect_noise((300, 200), 80).convert("RGB").save(buffer, name.upper(), **options)
    assert strip_metadata(buffer.getvalue(), name) == buffer.getvalue()


def test_scans_are_counted() -> None:
    """A baseline JPEG has one scan, a progressive one several; FF bytes inside the data are not markers."""
    image = Image.effect_noise((200, 200), 100).convert("RGB")
    counts = []
    for progressive in (False, True):
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=100, progressive=progressive)
        counts.append(count_jpeg_scans(buffer.getvalue()))
    assert counts[0] == 1
    assert counts[1] == 10  # libjpeg's script for three components


@given(st.sampled_from(["jpeg", "png", "webp"]), st.binary(max_size=300), st.integers(0, 2000))
def test_nonsense_never_raises(name: str, noise: bytes, at: int) -> None:
    """Stripping and reading the orientation of a damaged file end without an exception."""
    body = bodies()[name]
    damaged = body[:at] + noise + body[at + len(noise) :]
    strip_metadata(damaged, name)
    assert 1 <= orientation(damaged, name) <= 8
