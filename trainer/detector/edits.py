"""Synthetic edits: what happens to a picture on its way to another site, at random (paper, appendix C).

The kinds are the paper's: cropping and zooming, another aspect, down- and up-scaling to other resolutions, small
rotations, JPEG compression, jitter of hue, saturation and value; every resampling by a kernel at random, point samples
without any filter among them, since the paper missed duplicates by the textures that resize kernels leave. It gives no
strengths; these are ours.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass, field
from random import Random
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance

from trainer.loader.decode import Pixels
from wit.descriptors import U8

FILTERED = (
    Image.Resampling.BOX,
    Image.Resampling.BILINEAR,
    Image.Resampling.HAMMING,
    Image.Resampling.BICUBIC,
    Image.Resampling.LANCZOS,
)
"""Kernels that grow with the scale, as Pillow and most image programs have them."""
POINTS = (Image.Resampling.NEAREST, Image.Resampling.BILINEAR, Image.Resampling.BICUBIC)
"""Kernels of a fixed size around points of the target, as OpenCV and TensorFlow have them."""
_LEAST_PX = 8


def _set(default: float, about: str, low: float, high: float) -> Any:
    return field(default=default, metadata={"help": about, "min": low, "max": high})


@dataclass(frozen=True)
class Edits:
    """Section [edits]: how strong the synthetic edits are."""

    share: float = _set(0.7, "probability of each kind of edit; a picture may get several, or none", 0, 1)
    crop_area: float = _set(0.4, "a crop keeps at least this share of the area", 0.05, 1)
    max_aspect: float = _set(1.5, "factor by which the aspect changes, at most", 1, 4)
    scale: float = _set(0.2, "sides are scaled down to at least this share before they are scaled up again", 0.02, 1)
    max_rotation: float = _set(10.0, "degrees, either way", 0, 45)
    jpeg_quality: int = field(default=20, metadata={"help": "of JPEG, at least", "min": 1, "max": 95})
    brightness: float = _set(0.4, "value, contrast and saturation change by this share at most", 0, 0.95)
    hue: float = _set(0.05, "share of the colour circle by which hues turn, at most", 0, 0.5)


def edited(picture_HW3: Pixels, side_px: int, edits: Edits, rng: Random) -> U8:
    """Return an edited copy of a picture, skewed to (S, S, 3); a function of its pixels and of what `rng` gives."""
    image = Image.fromarray(picture_HW3)
    for edit in (_crop, _rotate, _jitter, _rescale, _compress):
        if rng.random() < edits.share:
            image = edit(image, edits, rng)
    return np.asarray(_resized(image, (side_px, side_px), rng))


def plain(picture_HW3: Pixels, side_px: int) -> U8:
    """Return a picture skewed to (S, S, 3) as descriptors see it."""
    return np.asarray(Image.fromarray(picture_HW3).resize((side_px, side_px), Image.Resampling.BILINEAR))


def _resized(image: Image.Image, size: tuple[int, int], rng: Random) -> Image.Image:
    """Return an image resized by a kernel at random: one of five filters, or points of one of three."""
    if rng.random() < 0.7:
        return image.resize(size, rng.choice(FILTERED))
    across, down = image.width / size[0], image.height / size[1]
    return image.transform(size, Image.Transform.AFFINE, (across, 0, 0, 0, down, 0), rng.choice(POINTS))


def _crop(image: Image.Image, edits: Edits, rng: Random) -> Image.Image:
    """Cut out a part: between `crop_area` of the area and all of it, its aspect up to `max_aspect` off."""
    area = rng.uniform(edits.crop_area, 1.0)
    stretch = math.exp(rng.uniform(-1, 1) * math.log(edits.max_aspect) / 2)
    width = min(image.width, max(_LEAST_PX, round(image.width * math.sqrt(area) * stretch)))
    height = min(image.height, max(_LEAST_PX, round(image.height * math.sqrt(area) / stretch)))
    left, top = rng.randint(0, image.width - width), rng.randint(0, image.height - height)
    return image.crop((left, top, left + width, top + height))


def _rotate(image: Image.Image, edits: Edits, rng: Random) -> Image.Image:
    """Turn by a small angle; the corners become a grey at random, or are cut away with what is beside them."""
    degrees = rng.uniform(-edits.max_rotation, edits.max_rotation)
    grey = rng.choice((0, 128, 255))
    turned = image.rotate(degrees, Image.Resampling.BICUBIC, fillcolor=(grey, grey, grey))
    if rng.random() < 0.5:
        return turned
    radians = math.radians(abs(degrees))
    aspect = max(image.width / image.height, image.height / image.width)
    share = 1 / (math.cos(radians) + aspect * math.sin(radians))  # of the largest box of the same shape inside
    across, down = image.width * (1 - share) / 2, image.height * (1 - share) / 2
    left, top = round(across), round(down)
    right, bottom = round(image.width - across), round(image.height - down)
    return turned.crop((left, top, max(left + 1, right), max(top + 1, bottom)))  # of a sliver one pixel stays


def _jitter(image: Image.Image, edits: Edits, rng: Random) -> Image.Image:
    """Change value, contrast, saturation and hue."""
    for kind in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        image = kind(image).enhance(1 + rng.uniform(-edits.brightness, edits.brightness))
    turn = round(rng.uniform(-edits.hue, edits.hue) * 256) % 256
    if not turn:
        return image
    hsv = np.array(image.convert("HSV"))
    hsv[..., 0] += np.uint8(turn)  # wraps around, as the circle does
    return Image.frombytes("HSV", image.size, hsv.tobytes()).convert("RGB")


def _rescale(image: Image.Image, edits: Edits, rng: Random) -> Image.Image:
    """Bring to another resolution and aspect, and back half of the time."""
    scale = math.exp(rng.uniform(math.log(edits.scale), 0))
    stretch = math.exp(rng.uniform(-1, 1) * math.log(edits.max_aspect) / 2)
    size = max(_LEAST_PX, round(image.width * scale * stretch)), max(_LEAST_PX, round(image.height * scale / stretch))
    small = _resized(image, size, rng)
    return _resized(small, image.size, rng) if rng.random() < 0.5 else small


def _compress(image: Image.Image, edits: Edits, rng: Random) -> Image.Image:
    """Store as JPEG and open it again."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=rng.randint(edits.jpeg_quality, 95), subsampling=rng.choice((0, 2)))
    return Image.open(buffer).convert("RGB")
