"""The quick look at an image's header never differs from Pillow's."""

from __future__ import annotations

import hashlib
import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image

from tests.support import real_data
from wit.image import ImageRejected, inspect
from wit.image_checks import check_image, plain_size


def encoded(width: int, height: int, image_format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, image_format, **options)
    return buffer.getvalue()


@given(st.integers(1, 300), st.integers(1, 300), st.booleans(), st.sampled_from(["JPEG", "PNG"]))
def test_plain_images(width: int, height: int, progressive: bool, image_format: str) -> None:
    """Of JPEGs and PNGs as libraries write them, format and size are what `inspect` says, without Pillow."""
    body = encoded(width, height, image_format, progressive=progressive)
    header = inspect(body)
    assert plain_size(body) == (header.format, header.width, header.height) == (image_format.lower(), width, height)


def test_real_and_hostile_files() -> None:
    """Of every file of the real data whose header it takes, it says what `inspect` says; the others it leaves alone."""
    files = [path for name in ("hostile", "image_text") for path in real_data(name).rglob("*") if path.is_file()]
    num_plain = 0
    for path in files:
        body = path.read_bytes()[: 1 << 22]
        found = plain_size(body)
        if found is None:
            continue
        num_plain += 1
        try:
            header = inspect(body)
        except ImageRejected:
            continue  # a broken file behind a sound beginning: its hash is checked, and it is in no shard of ours
        assert found == (header.format, header.width, header.height), path
    assert num_plain > 20


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP"])
def test_a_turned_picture_is_left_to_pillow(image_format: str) -> None:
    """What EXIF turns has other sides than its header says."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    body = encoded(30, 20, image_format, exif=exif)
    assert plain_size(body) is None
    assert (inspect(body).width, inspect(body).height) == (20, 30)


@given(st.binary(max_size=200), st.integers(0, 30))
def test_no_bytes_make_it_fail(tail: bytes, start: int) -> None:
    """Whatever follows the first bytes, it returns."""
    for body in (encoded(3, 4, "JPEG")[:start] + tail, encoded(3, 4, "PNG")[:start] + tail):
        plain_size(body)


def test_what_differs_is_told() -> None:
    """Another hash, another size, no image: each is a problem; a row without a size asks for the hash alone."""
    body = encoded(30, 20, "JPEG")
    row = {"sha256": hashlib.sha256(body).hexdigest(), "width": 30, "height": 20}
    assert list(check_image(row, body)) == []
    assert list(check_image(row | {"sha256": "0"}, body)) == [
        "the image's bytes are not those that the index has the hash of"
    ]
    assert list(check_image(row | {"width": 31}, body)) == ["the image is 30 x 20 px, the index says 31 x 20"]
    assert ["the image cannot be read" in each for each in check_image(row, b"no image")] == [False, True]
    assert len(list(check_image(row | {"width": 0, "height": 0}, b"no image"))) == 1
