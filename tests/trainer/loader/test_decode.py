from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.support import real_data
from trainer.loader.decode import center_crop, decode_short_side, random_crop, short_side_size
from wit.image import ImageRejected


def encoded(image: Image.Image, image_format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)  # type: ignore[arg-type]
    return buffer.getvalue()


def gradient(width: int, height: int) -> Image.Image:
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.stack([x, y, 255 - x], axis=2).astype(np.uint8))


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(1, 400))
def test_the_short_side_fits_exactly(width: int, height: int, side: int) -> None:
    """The shorter side becomes what is asked, and the longer keeps the shape to within a pixel."""
    new_width, new_height = short_side_size(width, height, side)
    assert min(new_width, new_height) == side
    assert abs(new_width * height - new_height * width) < max(width, height)


@given(st.integers(8, 30), st.integers(8, 30), st.floats(0, 1, exclude_max=True), st.floats(0, 1, exclude_max=True))
def test_crops_lie_within_the_picture(width: int, height: int, x: float, y: float) -> None:
    """Any place in [0, 1) gives a whole square; 0 is the first corner."""
    pixels = np.arange(width * height * 3, dtype=np.uint8).reshape(height, width, 3)
    assert random_crop(pixels, 8, x, y).shape == center_crop(pixels, 8).shape == (8, 8, 3)
    assert np.array_equal(random_crop(pixels, 8, 0, 0), pixels[:8, :8])


def test_crops_reach_every_place() -> None:
    """The last place of the longer side is reached, and the middle is the middle."""
    pixels = np.zeros((8, 20, 3), np.uint8) + np.arange(20, dtype=np.uint8)[None, :, None]
    assert random_crop(pixels, 8, 0.999, 0)[0, :, 0].tolist() == list(range(12, 20))
    assert center_crop(pixels, 8)[0, :, 0].tolist() == list(range(6, 14))


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "GIF"])
def test_every_format_of_a_shard_is_decoded(image_format: str) -> None:
    """The pixels are RGB, resized, and those of the picture."""
    pixels = decode_short_side(encoded(gradient(90, 60), image_format), 30)
    wanted = np.asarray(gradient(90, 60).resize((45, 30), Image.Resampling.BICUBIC)).astype(int)
    assert pixels.shape == (30, 45, 3)
    assert np.abs(pixels - wanted).mean() < (12 if image_format == "GIF" else 4)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "1", "I;16"])
def test_other_pixel_kinds_become_rgb(mode: str) -> None:
    """Grey, palette and transparent pictures end as three channels, without a warning."""
    image = gradient(40, 40).convert("L").convert("I;16") if mode == "I;16" else gradient(40, 40).convert(mode)
    options = {"transparency": bytes(range(256))} if mode == "P" else {}
    assert decode_short_side(encoded(image, "PNG", **options), 16).shape == (16, 16, 3)


def test_draft_is_near_exact() -> None:
    """The scaled JPEG decode differs by a few grey levels at most on a smooth picture."""
    body = encoded(gradient(512, 384), "JPEG", quality=95)
    exact, draft = (decode_short_side(body, 48, mode).astype(int) for mode in ("exact", "draft"))
    assert exact.shape == draft.shape
    assert np.abs(exact - draft).max() <= 4


BOMB = encoded(Image.new("1", (20_000, 20_000)), "PNG")


@pytest.mark.parametrize(
    ("body", "reason"),
    [(b"", "not_image"), (b"<html>", "not_image"), (encoded(gradient(64, 64), "JPEG")[:300], "corrupt_image"),
     (encoded(gradient(64, 64), "PNG")[:-40], "corrupt_image"), (BOMB, "too_many_pixels"),
     (encoded(Image.new("1", (40_000, 2)), "PNG"), "too_many_pixels")],
    ids=["empty", "html", "cut JPEG", "cut PNG", "bomb", "strip"],
)  # fmt: skip
def test_what_cannot_be_trained_on_has_a_reason(body: bytes, reason: str) -> None:
    """Empty, foreign, cut and oversized bodies are rejected with a reason, before they cost memory."""
    with pytest.raises(ImageRejected) as rejected:
        decode_short_side(body, 32)
    assert rejected.value.reason == reason


def test_hostile_pictures_are_decoded_or_rejected() -> None:
    """Pillow's own collection of bombs, truncations and fuzzer's finds ends in pixels or in a reason."""
    outcomes = {"decoded": 0, "rejected": 0}
    for path in sorted(real_data("hostile", "pillow").rglob("*")):
        if not path.is_file():
            continue
        try:
            assert min(decode_short_side(path.read_bytes(), 16).shape[:2]) == 16
            outcomes["decoded"] += 1
        except ImageRejected:
            outcomes["rejected"] += 1
    assert outcomes["decoded"] > 50
    assert outcomes["rejected"] > 20
