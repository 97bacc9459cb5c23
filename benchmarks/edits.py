"""What happens to pictures on the web, one edit at a time: kinds and strengths, planted to measure detectors.

An edit takes the pixels of a photo and gives the body of a file, as a site would serve it. What is not an encoding
itself is stored as JPEG of quality 90, so that a row of the table shows one edit and not one edit and a codec's
worst. The same photo and edit give the same pixels: where something is random (where a crop lies, the noise), it
is drawn by a generator seeded by a digest of the edit's name and the photo's pixels.

The kinds are those of the paper's appendix C (crop and zoom, aspect, scale, small rotations, JPEG, HSV, random kernels)
and those that people add: borders, text, logos, screenshots, palettes, and several at once.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont, ImageOps

from wit.image import decode

STORED_QUALITY = 90
LONGER_PX = 512
"""The longer side of a photo before it is edited: what shards hold by default (wit.image.Limits)."""

Random = np.random.Generator
Change = Callable[[Image.Image, Random], Image.Image]
Resampling = Image.Resampling

KERNELS = (Resampling.NEAREST, Resampling.BOX, Resampling.BILINEAR, Resampling.BICUBIC, Resampling.LANCZOS)


@dataclass(frozen=True)
class Edit:
    """One kind of edit at one strength."""

    kind: str
    strength: str
    apply: Callable[[Image.Image, Random], bytes]
    turns: bool = False
    """Whether it is one of the symmetries of the square, that prints without turns are not meant to find."""

    @property
    def name(self) -> str:
        """The kind and the strength, as tables show them."""
        return f"{self.kind} {self.strength}".strip()


def edited(edit: Edit, photo: Image.Image) -> bytes:
    """Return the body of an edited photo; `photo` is RGB, upright."""
    digest = hashlib.sha256(edit.name.encode() + photo.tobytes()).digest()
    return edit.apply(photo, np.random.default_rng(int.from_bytes(digest[:8], "big")))


def photo_of(body: bytes) -> Image.Image:
    """Return the pixels of a file as shards show them, at most LONGER_PX on the longer side: what edits start from."""
    photo = decode(body)
    photo.thumbnail((LONGER_PX, LONGER_PX), Resampling.LANCZOS, reducing_gap=None)
    return photo


def encoded(image: Image.Image, format: str = "JPEG", **options: int | bool) -> bytes:
    """Return an image as a file."""
    image.info = {}
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def scaled(image: Image.Image, factor: float, kernel: Resampling = Resampling.LANCZOS) -> Image.Image:
    """Return an image of `factor` times the sides."""
    width, height = image.size
    return image.resize((max(1, round(width * factor)), max(1, round(height * factor))), kernel)


def _stored(change: Change, photo: Image.Image, random: Random) -> bytes:
    return encoded(change(photo, random), quality=STORED_QUALITY)


def _as(format: str, options: dict[str, int | bool], photo: Image.Image, _: Random) -> bytes:
    return encoded(photo.copy(), format, **options)


def _gif(photo: Image.Image, _: Random) -> bytes:
    return encoded(photo.quantize(64, Image.Quantize.MEDIANCUT), "GIF")


def _to_side(side_px: int, photo: Image.Image, _: Random) -> Image.Image:
    return scaled(photo, side_px / max(photo.size))


def _by_kernel(kernel: Resampling, photo: Image.Image, _: Random) -> Image.Image:
    return scaled(photo, 0.37, kernel)


def _to_square(side_px: int, photo: Image.Image, _: Random) -> Image.Image:
    return photo.resize((side_px, side_px), Resampling.BILINEAR)


def _by_skipping(photo: Image.Image, _: Random) -> Image.Image:
    """Every third pixel: what a resize without anti-aliasing does to fine textures."""
    return Image.fromarray(np.ascontiguousarray(np.asarray(photo)[::3, ::3]))


def _by_factor(factor: float, photo: Image.Image, _: Random) -> Image.Image:
    return scaled(photo, factor)


def _wider(factor: float, photo: Image.Image, _: Random) -> Image.Image:
    return photo.resize((round(photo.width * factor), photo.height), Resampling.BICUBIC)


def _cropped(removed: float, photo: Image.Image, random: Random) -> Image.Image:
    """Remove a share of the area, at a random place, the aspect kept."""
    side = (1 - removed) ** 0.5
    width, height = round(photo.width * side), round(photo.height * side)
    left = int(random.integers(0, photo.width - width + 1))
    top = int(random.integers(0, photo.height - height + 1))
    return photo.crop((left, top, left + width, top + height))


def _cropped_to_square(photo: Image.Image, _: Random) -> Image.Image:
    side = min(photo.size)
    return ImageOps.fit(photo, (side, side))


def _zoomed(factor: float, photo: Image.Image, _: Random) -> Image.Image:
    width, height = photo.size
    margin_x, margin_y = width * (1 - 1 / factor) / 2, height * (1 - 1 / factor) / 2
    box = (margin_x, margin_y, width - margin_x, height - margin_y)
    return photo.resize(photo.size, Resampling.BICUBIC, box=box)


def _rotated(degrees: float, photo: Image.Image, _: Random) -> Image.Image:
    """Turn about the middle, the frame kept: the corners become black."""
    return photo.rotate(degrees, Resampling.BICUBIC)


def _transposed(how: Image.Transpose, photo: Image.Image, _: Random) -> Image.Image:
    return photo.transpose(how)


def _enhanced(
    enhance: Callable[[Image.Image], ImageEnhance._Enhance], factor: float, photo: Image.Image, _: Random
) -> Image.Image:
    return enhance(photo).enhance(factor)


def _hue(degrees: float, photo: Image.Image, _: Random) -> Image.Image:
    hue, saturation, value = photo.convert("HSV").split()
    hue = hue.point([(level + round(degrees * 256 / 360)) % 256 for level in range(256)])
    return Image.merge("HSV", (hue, saturation, value)).convert("RGB")


def _gamma(gamma: float, photo: Image.Image, _: Random) -> Image.Image:
    return photo.point([round(255 * (level / 255) ** gamma) for level in range(256)] * 3)


def _grey(photo: Image.Image, _: Random) -> Image.Image:
    return photo.convert("L")


def _posterised(bits: int, photo: Image.Image, _: Random) -> Image.Image:
    return ImageOps.posterize(photo, bits)


def _filtered(filter_: ImageFilter.Filter, photo: Image.Image, _: Random) -> Image.Image:
    return photo.filter(filter_)


def _noisy(sigma: float, photo: Image.Image, random: Random) -> Image.Image:
    levels = np.asarray(photo) + random.normal(0, sigma, (photo.height, photo.width, 3))
    return Image.fromarray(np.clip(np.rint(levels), 0, 255).astype(np.uint8))


def _bordered(share: float, colour: str, photo: Image.Image, _: Random) -> Image.Image:
    """A frame as wide as a share of the longer side."""
    return ImageOps.expand(photo, round(share * max(photo.size)), colour)


def _letterboxed(photo: Image.Image, _: Random) -> Image.Image:
    side = max(photo.size)
    return ImageOps.pad(photo, (side, side), color="black")


def _written_on(photo: Image.Image, _: Random) -> Image.Image:
    """A line of white text with a black edge over the lower part, as wide as the picture."""
    changed = photo.copy()
    size = photo.height / 10
    ImageDraw.Draw(changed).text(
        (photo.width / 2, photo.height * 0.9), "WHEN YOU SEE IT", "white", ImageFont.load_default(size), "mm",
        stroke_width=2, stroke_fill="black",
    )  # fmt: skip
    return changed


def _captioned(photo: Image.Image, random: Random) -> Image.Image:
    """A white bar with a line of text above the picture, a sixth of its height."""
    bar = photo.height // 6
    changed = ImageOps.expand(photo, (0, bar, 0, 0), "white")
    ImageDraw.Draw(changed).text(
        (photo.width / 2, bar / 2), "nobody: me on a Monday", "black", ImageFont.load_default(bar / 2.5), "mm"
    )
    return changed


def _with_logo(photo: Image.Image, _: Random) -> Image.Image:
    """A disc with a letter in the lower right corner, a sixth of the shorter side across, half transparent."""
    side = min(photo.size) // 6
    logo = Image.new("RGBA", (side, side))
    draw = ImageDraw.Draw(logo)
    draw.ellipse((0, 0, side - 1, side - 1), (220, 30, 40, 200))
    draw.text((side / 2, side / 2), "W", "white", ImageFont.load_default(side / 2), "mm")
    changed = photo.copy()
    changed.paste(logo, (photo.width - side - side // 4, photo.height - side - side // 4), logo)
    return changed


def _watermarked(photo: Image.Image, _: Random) -> Image.Image:
    """Grey letters over the whole picture, a third opaque, as agencies of photographs write them."""
    size = max(12, photo.height // 8)
    mask = Image.new("L", photo.size)
    draw = ImageDraw.Draw(mask)
    for line, top in enumerate(range(0, photo.height, 2 * size)):
        draw.text((-line * size, top), "specimen   " * 8, 85, ImageFont.load_default(size))
    changed = photo.copy()
    changed.paste((200, 200, 200), mask=mask)
    return changed


def _on_screen(photo: Image.Image, _: Random) -> Image.Image:
    """The picture in a window: a grey bar above, a frame, then scaled by 0.83 without the factor being a whole."""
    framed = ImageOps.expand(photo, (8, 28, 8, 8), (222, 225, 230))
    draw = ImageDraw.Draw(framed)
    for button, colour in enumerate(("#ff5f57", "#febc2e", "#28c840")):
        draw.ellipse((12 + 18 * button, 9, 22 + 18 * button, 19), colour)
    return scaled(framed, 0.83, Resampling.BILINEAR)


def _republished(photo: Image.Image, random: Random) -> bytes:
    """Cropped by 2 %, halved, JPEG of quality 60: a copy of a copy."""
    return encoded(scaled(_cropped(0.02, photo, random), 0.5), quality=60)


def _shared(photo: Image.Image, random: Random) -> bytes:
    """Cropped by 5 %, brighter, with a logo, JPEG of quality 40: passed on in a messenger."""
    cropped = _cropped(0.05, photo, random)
    return encoded(_with_logo(ImageEnhance.Brightness(cropped).enhance(1.15), random), quality=40)


def _twice_encoded(photo: Image.Image, random: Random) -> bytes:
    small = scaled(photo, 0.7, Resampling.BILINEAR)
    body = encoded(small, quality=50)
    with Image.open(io.BytesIO(body)) as image:
        return encoded(scaled(image, 1 / 0.6), "WEBP", quality=50)


def _kept(kind: str, strength: object, change: Change, *, turns: bool = False) -> Edit:
    return Edit(kind, str(strength), partial(_stored, change), turns)


def _encodings() -> list[Edit]:
    jpegs = [Edit("jpeg", str(q), partial(_as, "JPEG", {"quality": q})) for q in (90, 60, 30, 10)]
    webps = [Edit("webp", str(q), partial(_as, "WEBP", {"quality": q})) for q in (80, 20)]
    png = Edit("png", "", partial(_as, "PNG", {"compress_level": 1}))
    return [*jpegs, *webps, png, Edit("gif", "64 colours", _gif)]


def _sizes() -> list[Edit]:
    return [
        *(_kept("scale", f"x {factor}", partial(_by_factor, factor)) for factor in (0.5, 0.25, 2.0)),
        *(_kept("scale", f"to {side} px", partial(_to_side, side)) for side in (64, 32)),
        *(_kept("kernel", kernel.name.lower(), partial(_by_kernel, kernel)) for kernel in KERNELS),
        _kept("kernel", "every third pixel", _by_skipping),
        *(_kept("aspect", factor, partial(_wider, factor)) for factor in (1.1, 1.25, 1.5)),
        *(_kept("squashed", f"to {side} px square", partial(_to_square, side)) for side in (224, 32)),
    ]


def _frames() -> list[Edit]:
    return [
        *(_kept("crop", f"{share:.0%}", partial(_cropped, share)) for share in (0.02, 0.05, 0.1, 0.2, 0.4)),
        _kept("crop", "to the middle square", _cropped_to_square),
        *(_kept("zoom", factor, partial(_zoomed, factor)) for factor in (1.05, 1.1, 1.25)),
        *(_kept("rotate", f"{degrees} deg", partial(_rotated, degrees)) for degrees in (1, 2, 5, 10)),
        *(
            _kept("border", f"{share:.0%} {colour}", partial(_bordered, share, colour))
            for share in (0.02, 0.05, 0.1)
            for colour in ("white", "black")
        ),
        _kept("border", "letterbox to a square", _letterboxed),
    ]


def _tones() -> list[Edit]:
    enhancers = {
        "brightness": (ImageEnhance.Brightness, (0.6, 0.8, 1.25, 1.6)),
        "contrast": (ImageEnhance.Contrast, (0.5, 0.75, 1.5)),
        "saturation": (ImageEnhance.Color, (0.5, 1.7)),
    }
    return [
        *(
            _kept(kind, factor, partial(_enhanced, enhance, factor))
            for kind, (enhance, factors) in enhancers.items()
            for factor in factors
        ),
        *(_kept("hue", f"{degrees} deg", partial(_hue, degrees)) for degrees in (15, 60, 180)),
        *(_kept("gamma", gamma, partial(_gamma, gamma)) for gamma in (0.6, 1.6)),
        _kept("grey", "", _grey),
        *(_kept("posterise", f"{bits} bits", partial(_posterised, bits)) for bits in (4, 2)),
        *(_kept("blur", f"{px} px", partial(_filtered, ImageFilter.GaussianBlur(px))) for px in (1, 3)),
        _kept("sharpen", "", partial(_filtered, ImageFilter.UnsharpMask(2, 200, 0))),
        *(_kept("noise", f"sigma {sigma}", partial(_noisy, sigma)) for sigma in (5, 15, 40)),
    ]


def _additions() -> list[Edit]:
    return [
        _kept("text", "a line over it", _written_on),
        _kept("text", "a bar above it", _captioned),
        _kept("text", "watermark", _watermarked),
        _kept("logo", "", _with_logo),
        _kept("screenshot", "", _on_screen),
        Edit("several", "republished", _republished),
        Edit("several", "shared", _shared),
        Edit("several", "encoded twice", _twice_encoded),
    ]


def _turned() -> list[Edit]:
    names = {
        "mirror": Image.Transpose.FLIP_LEFT_RIGHT,
        "upside down": Image.Transpose.FLIP_TOP_BOTTOM,
        "90 deg": Image.Transpose.ROTATE_90,
        "180 deg": Image.Transpose.ROTATE_180,
    }
    return [_kept("turn", name, partial(_transposed, how), turns=True) for name, how in names.items()]


EDITS: tuple[Edit, ...] = (*_encodings(), *_sizes(), *_frames(), *_tones(), *_additions(), *_turned())
