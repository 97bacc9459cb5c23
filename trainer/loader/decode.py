"""From an image's bytes to uint8 pixels: resized so that the short side fits, then cropped (paper, section 2.5)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wit.image import TOO_MANY_PIXELS, ImageRejected, opened

MAX_PIXELS = 1 << 26  # 67 million, 200 MB as RGB; a small file may claim far more
MAX_ASPECT = 16  # a longer strip would grow without bound when its short side is scaled up

Pixels = NDArray[np.uint8]


def decode_short_side(body: bytes, side_px: int, mode: str = "exact") -> Pixels:
    """Return RGB pixels (height, width, 3) whose shorter side is `side_px`, by bicubic resampling.

    `draft` lets the JPEG decoder scale by 1/2, 1/4 or 1/8 as long as both sides stay at least twice what is needed:
    faster, and a few grey levels from `exact`. Raises ImageRejected: not_image, corrupt_image, too_many_pixels.
    """
    with opened(body) as (_, image):
        size = _size_to_decode(*image.size, side_px)
        if mode == "draft":
            image.draft("RGB", (2 * size[0], 2 * size[1]))
        return np.asarray(image.convert("RGB").resize(size, Image.Resampling.BICUBIC))


def _size_to_decode(width: int, height: int, side_px: int) -> tuple[int, int]:
    if width * height > MAX_PIXELS:
        raise ImageRejected(TOO_MANY_PIXELS, f"{width} x {height} pixels, limit {MAX_PIXELS}")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise ImageRejected(TOO_MANY_PIXELS, f"{width} x {height}, aspect limit {MAX_ASPECT}")
    return short_side_size(width, height, side_px)


def short_side_size(width: int, height: int, side_px: int) -> tuple[int, int]:
    """Return (width, height) with the shorter scaled to `side_px` and the longer rounded down, as torchvision does."""
    short = min(width, height)
    return side_px * width // short, side_px * height // short


def random_crop(pixels: Pixels, side_px: int, uniform_x: float, uniform_y: float) -> Pixels:
    """Return a square (side, side, 3) whose place is given by two numbers in [0, 1)."""
    height, width = pixels.shape[:2]
    left, top = int(uniform_x * (width - side_px + 1)), int(uniform_y * (height - side_px + 1))
    return pixels[top : top + side_px, left : left + side_px]


def center_crop(pixels: Pixels, side_px: int) -> Pixels:
    """Return the square (side, side, 3) in the middle, rounded as torchvision does."""
    height, width = pixels.shape[:2]
    left, top = round((width - side_px) / 2), round((height - side_px) / 2)
    return pixels[top : top + side_px, left : left + side_px]
