"""From a body to a stored image: judged by its header, decoded, made upright and sRGB, resized, its facts counted.

Bodies are hostile. What a body is, its own first bytes say, never a header or a file name; only the seven formats below
are ever given to a decoder, and none before its stated pixel count is under the limit, so memory is bounded by
`max_pixels` (4 bytes a pixel, twice while it is converted).

Colour: CMYK, palette, 16-bit and LAB images become 8-bit RGB (grey ones 8-bit grey), an embedded ICC profile is carried
to sRGB, transparency is laid on white, an animation is its first frame.
"""

from __future__ import annotations

import hashlib
import io
import math
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError

from wit.image_metadata import count_jpeg_scans, orientation, strip_metadata

NOT_IMAGE = "not_image"
CORRUPT_IMAGE = "corrupt_image"
TOO_MANY_PIXELS = "too_many_pixels"

MAX_JPEG_SCANS = 100  # a progressive encoder writes about 10; a thousand scans of a large image cost minutes

_PILLOW_NAMES = {
    "jpeg": ["JPEG"],
    "png": ["PNG"],
    "gif": ["GIF"],
    "webp": ["WEBP"],
    "bmp": ["BMP"],
    "tiff": ["TIFF"],
    "avif": ["AVIF"],
}
_KEEPABLE = {"jpeg", "png", "webp"}
_GREY_MODES = {"1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B", "I;16N"}
_TRANSPOSES = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_BOMB = f"more than {2 * (Image.MAX_IMAGE_PIXELS or 0)} pixels"  # where Pillow itself refuses
# A decoder fed hostile bytes fails in any of these ways.
_DECODER_ERRORS = (
    OSError, SyntaxError, ValueError, TypeError, AttributeError, ArithmeticError, LookupError, RuntimeError,
    MemoryError, struct.error, zlib.error, Image.DecompressionBombError,
)  # fmt: skip


class ImageRejected(Exception):
    """A body that cannot become a stored image: `reason` is one of the three above, `detail` what was found."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True)
class Limits:
    """How an image is stored."""

    max_side_px: int = 512
    quality: int = 95
    max_pixels: int = 50_000_000


@dataclass(frozen=True)
class Header:
    """What a body says of itself before it is decoded; width and height with the orientation applied."""

    format: str
    width: int
    height: int
    num_frames: int
    orientation: int


@dataclass(frozen=True)
class Prepared:
    """A stored image and its facts; sizes in pixels with the orientation applied, lengths in bytes, entropy in bits."""

    body: bytes
    format: str
    width: int
    height: int
    sha256: str
    entropy: float
    num_frames: int
    original_format: str
    original_sha256: str
    original_length: int
    original_width: int
    original_height: int


def sniff(body: bytes) -> str | None:
    """Return the format that the first bytes of a body say, or None when it is none that is decoded."""
    if body.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if body.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if body[:6] in (b"GIF87a", b"GIF89a"):
        return "gif"
    if body[:4] == b"RIFF" and body[8:12] == b"WEBP":
        return "webp"
    if body[:4] in (b"II*\0", b"MM\0*"):
        return "tiff"
    if body[4:12] in (b"ftypavif", b"ftypavis"):
        return "avif"
    return "bmp" if body[:2] == b"BM" else None


@contextmanager
def opened(body: bytes) -> Iterator[tuple[str, Image.Image]]:
    """Yield the format of a body, and its image from the one decoder that its first bytes name; not decoded yet.

    Whatever the decoder fails with inside the block becomes an ImageRejected. Safe in threads.
    """
    found = sniff(body)
    if found is None:
        raise ImageRejected(NOT_IMAGE, f"begins with {body[:8].hex(' ')}" if body else "empty body")
    # Decoders warn of what is wrong with a file (and Pillow of its size); here that ends in facts or in a reason.
    # Per call and never undone: warnings.catch_warnings is not safe in threads.
    warnings.filterwarnings("ignore", module=r"PIL\.|wit\.image|trainer\.decode")
    try:
        with Image.open(io.BytesIO(body), formats=_PILLOW_NAMES[found]) as image:
            yield found, image
    except Image.DecompressionBombError as error:
        raise ImageRejected(TOO_MANY_PIXELS, _BOMB) from error
    except _DECODER_ERRORS as error:
        raise ImageRejected(CORRUPT_IMAGE, _one_line(error)) from error


def _one_line(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):  # its text holds a memory address
        return "its header cannot be parsed"
    text = " ".join(str(error).split())
    return (text or type(error).__name__)[:100]


def _header(body: bytes, found: str, image: Image.Image) -> Header:
    turned = image.getexif().get(ExifTags.Base.Orientation, 1) if found == "avif" else orientation(body, found)
    width, height = image.size if turned < 5 else image.size[::-1]
    # A JPEG with a second picture behind it (a gain map, a stereo pair) is one picture, not an animation.
    num_frames = 1 if found == "jpeg" else int(getattr(image, "n_frames", 1))
    return Header(found, width, height, num_frames, turned)


def inspect(body: bytes) -> Header:
    """Return the facts in a body's header, without decoding a pixel.

    Raises ImageRejected (not_image, corrupt_image, too_many_pixels).
    """
    with opened(body) as (found, image):
        return _header(body, found, image)


def fitted_size(width: int, height: int, max_side_px: int) -> tuple[int, int]:
    """Return the size, in pixels, with the longer side brought down to `max_side_px`; never enlarged, never 0."""
    longer = max(width, height)
    if longer <= max_side_px:
        return width, height
    fitted = ((2 * side * max_side_px + longer) // (2 * longer) for side in (width, height))  # half up, in integers
    fitted_width, fitted_height = (max(1, side) for side in fitted)
    return fitted_width, fitted_height


def _to_8_bit(image: Image.Image) -> Image.Image:
    """Return a 16-bit grey image as 8-bit grey: its high bytes, as Pillow does for 16-bit RGB."""
    values_HW = np.asarray(image)
    if image.mode == "I" and (values_HW.min() < 0 or values_HW.max() > 0xFFFF):
        raise ImageRejected(NOT_IMAGE, "32-bit integers: not a picture on any stated scale")
    return Image.fromarray((values_HW.astype(np.uint16) >> 8).astype(np.uint8))


def _on_white(image: Image.Image) -> Image.Image:
    rgba = image.convert("RGBA")
    white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, rgba).convert("RGB")


@lru_cache(maxsize=1)
def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def _profile(image: Image.Image) -> ImageCms.ImageCmsProfile | None:
    """Return the embedded profile, or None when there is none, it is sRGB already, or it is broken."""
    data = image.info.get("icc_profile")
    if not isinstance(data, bytes) or not data:
        return None
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(data))
        return None if "sRGB" in ImageCms.getProfileDescription(profile) else profile
    except (ImageCms.PyCMSError, OSError):
        return None


def _to_srgb(image: Image.Image, profile: ImageCms.ImageCmsProfile) -> Image.Image:
    """Return an RGB, grey or CMYK image in sRGB; as it is when its profile is for another kind of image."""
    try:
        converted = ImageCms.profileToProfile(image, profile, _srgb(), outputMode="RGB")
    except ImageCms.PyCMSError:
        return image
    assert converted is not None  # only an in-place conversion returns None
    return converted.convert("L") if image.mode == "L" else converted


def _to_plain(image: Image.Image) -> Image.Image:
    """Return an image as 8-bit RGB, grey or CMYK, without transparency."""
    if image.mode in ("F", "HSV"):
        raise ImageRejected(NOT_IMAGE, f"{image.mode} pixels: not a picture on any stated scale")
    if image.mode.startswith("I"):
        return _to_8_bit(image)
    if image.mode == "LAB":
        return _to_srgb(image, ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")))
    if "transparency" in image.info or image.mode in ("LA", "La", "PA", "RGBA", "RGBa"):
        plain = _on_white(image)
        return plain.convert("L") if image.mode in _GREY_MODES else plain
    if image.mode in ("RGB", "L", "CMYK"):
        return image
    return image.convert("L" if image.mode == "1" else "RGB")


def entropy_bits(image: Image.Image) -> float:
    """Return the Shannon entropy, in bits, of an image's 256-level grey histogram; 0 for one flat tone, 8 at most."""
    counts = [count for count in image.convert("L").histogram() if count]
    total = sum(counts)
    return math.fsum(-count / total * math.log2(count / total) for count in counts) + 0.0  # + 0.0: no negative zero


def _is_storable(body: bytes, header: Header, image: Image.Image) -> bool:
    """Return whether the body itself may be stored: what every reader decodes to the same 8-bit pixels."""
    is_8_bit = header.format != "png" or body[24] == 8  # the bit depth in IHDR
    is_plain = image.mode in ("RGB", "L") and "transparency" not in image.info
    return header.format in _KEEPABLE and header.num_frames == 1 and header.orientation == 1 and is_8_bit and is_plain


def _shows(body: bytes, found: str, image: Image.Image) -> bool:
    """Return whether a stripped body still decodes to `image`: in a malformed file more may hang on a segment."""
    try:
        with Image.open(io.BytesIO(body), formats=_PILLOW_NAMES[found]) as stripped:
            return stripped.mode == image.mode and stripped.tobytes() == image.tobytes()
    except _DECODER_ERRORS:
        return False


def _encode(image: Image.Image, quality: int) -> bytes:
    image.info = {}  # Pillow would write a comment it finds here
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def _store(body: bytes, header: Header, image: Image.Image, limits: Limits) -> tuple[bytes, str, Image.Image]:
    """Return (bytes, format, pixels) of the stored image."""
    size = fitted_size(header.width, header.height, limits.max_side_px)
    target = size if header.orientation < 5 else size[::-1]  # as the file lies, before it is turned
    is_storable = _is_storable(body, header, image)
    is_resized = size != (header.width, header.height)
    if is_resized and header.format == "jpeg":
        image.draft(None, target)  # decode at 1/2, 1/4 or 1/8, never below the target
    image.load()
    profile = _profile(image)
    if is_storable and not is_resized and profile is None:
        stripped = strip_metadata(body, header.format)
        if stripped == body or _shows(stripped, header.format, image):
            return stripped, header.format, image
    plain = _to_plain(image)
    if is_resized:
        plain = plain.resize(target, Image.Resampling.LANCZOS)
    if profile is not None:
        plain = _to_srgb(plain, profile)
    if plain.mode == "CMYK":
        plain = plain.convert("RGB")
    if header.orientation > 1:
        plain = plain.transpose(_TRANSPOSES[header.orientation])
    return _encode(plain, limits.quality), "jpeg", plain


def prepare(body: bytes, limits: Limits) -> Prepared:
    """Return the stored form of a body and its facts.

    The body's own bytes are stored when nothing needs to change (an upright 8-bit RGB or grey JPEG, PNG or WebP in
    sRGB, not larger than the limit), less its metadata (wit.image_metadata); else a JPEG. The entropy is that of the
    pixels handed to the encoder. The same body and limits give the same bytes with the same codec versions.
    Raises ImageRejected: not_image, corrupt_image (a decoder fails on it, or it breaks off), too_many_pixels.
    """
    with opened(body) as (found, image):
        header = _header(body, found, image)
        num_pixels = header.width * header.height
        if num_pixels > limits.max_pixels:
            detail = f"{header.width} x {header.height} pixels, limit {limits.max_pixels}"
            raise ImageRejected(TOO_MANY_PIXELS, detail)
        if found == "jpeg" and count_jpeg_scans(body) > MAX_JPEG_SCANS:
            raise ImageRejected(CORRUPT_IMAGE, f"more than {MAX_JPEG_SCANS} scans")
        stored, stored_format, pixels = _store(body, header, image, limits)
        entropy = entropy_bits(pixels)
    return Prepared(
        body=stored, format=stored_format, width=pixels.width, height=pixels.height, entropy=entropy,
        sha256=hashlib.sha256(stored).hexdigest(), num_frames=header.num_frames, original_format=header.format,
        original_sha256=hashlib.sha256(body).hexdigest(), original_length=len(body),
        original_width=header.width, original_height=header.height,
    )  # fmt: skip
