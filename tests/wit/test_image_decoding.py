"""Images as upright sRGB pixels, scaled while they are decoded."""

from __future__ import annotations

import io
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from tests.support import real_data
from wit.image import ImageRejected, decode


def test_decoding_shows_what_is_stored() -> None:
    """`decode` gives the upright sRGB pixels that `prepare` stores, for every kind of image that is stored lossless."""
    picture = np.random.default_rng(5).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    for kind in ("PNG", "BMP", "TIFF"):
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, kind)
        assert (np.asarray(decode(buffer.getvalue(), 1)) == picture).all()
    grey = io.BytesIO()
    Image.fromarray(picture[..., 0]).save(grey, "PNG")
    assert (np.asarray(decode(grey.getvalue(), 1)) == picture[..., :1]).all()


@pytest.mark.parametrize("least_px", [1, 30, 60, 61, 120, 240, 241, 10_000])
def test_decoding_keeps_the_shorter_side(least_px: int) -> None:
    """A JPEG is decoded at a scale of 1, 1/2, 1/4 or 1/8, never below what is asked for, never above what it has."""
    buffer = io.BytesIO()
    Image.new("RGB", (480, 240), "red").save(buffer, "JPEG")
    found = decode(buffer.getvalue(), least_px)
    assert min(found.size) in (240, 120, 60, 30)
    assert min(found.size) >= min(least_px, 240)
    assert min(found.size) // 2 < least_px or min(found.size) == 30


def test_decoding_rejects_what_is_too_large_or_none() -> None:
    """A stated size beyond the limit is refused before a pixel is decoded; other bytes have a reason."""
    buffer = io.BytesIO()
    Image.new("L", (101, 100)).save(buffer, "PNG")
    for body, limit, reason in ((buffer.getvalue(), 10_000, "too_many_pixels"), (b"GIF", 10_000, "not_image")):
        with pytest.raises(ImageRejected) as caught:
            decode(body, 1, limit)
        assert caught.value.reason == reason


def test_hostile_files_are_decoded_or_rejected() -> None:
    """Every file of Pillow's collection of bombs, crashes and oddities gives RGB pixels or an ImageRejected."""
    outcomes = Counter[str]()
    for path in sorted(real_data("hostile", "pillow").rglob("*")):
        if path.is_file():
            try:
                found = decode(path.read_bytes(), 64)
            except ImageRejected as error:
                outcomes[error.reason] += 1
            else:
                assert found.mode == "RGB"
                outcomes["decoded"] += 1
    assert outcomes["decoded"] > 100
    assert outcomes["corrupt_image"] > 10
