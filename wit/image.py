"""From a body to a stored image: judged by its header, decoded, made upright and sRGB, resized, its facts counted.

Bodies are hostile. What a body is, its own first bytes say, never a header or a file name; only the seven formats below
are ever given to a decoder, and none before its stated pixel count is under the limit, so memory is bounded by
`max_pixels` (4 bytes a pixel, twice while it is converted; a progressive JPEG's coefficients are 6 bytes a pixel).

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

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, UnidentifiedImageError

from wit import image_planes, jpeg
from wit.image_colour import NoPicture, changes_colours, to_plain, to_srgb
from wit.image_metadata import count_jpeg_scans, exif_orientation, orientation, strip_metadata, strip_segments
from wit.image_planes import entropy_bits
from wit.resizing import Fit, fit

U8 = npt.NDArray[np.uint8]

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
    """How an image is stored: resized in a mode of wit.resizing.MODES to `side_px`; a JPEG's quality, 1 to 95."""

    resize: str = "longer"
    side_px: int = 512
    quality: int = 95
    max_pixels: int = 50_000_000
    """Of an image as it comes; and of one that is enlarged."""
    enlarge: bool = False
    """Whether a smaller image is brought to the size as well."""
    keep_metadata: bool = False
    """Whether a body that is stored as it came keeps its EXIF, XMP, IPTC, comments and what is appended to it."""


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
    warnings.filterwarnings("ignore", module=r"PIL\.|wit\.image|trainer\.loader\.decode")
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


@dataclass(frozen=True)
class _Stored:
    body: bytes
    format: str
    size: tuple[int, int]
    entropy: float


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


def _resize(image: Image.Image, where: Fit, header: Header) -> Image.Image:
    """Return the upright content, without its ground, of an image as the file lies; bands are done one by one."""
    full = (header.width, header.height) if header.orientation < 5 else (header.height, header.width)
    in_file = image_planes.in_file(where, (header.width, header.height), header.orientation)
    bands = [
        Image.fromarray(
            np.ascontiguousarray(
                image_planes.resized(np.asarray(image.getchannel(i)), image.size, in_file, full, header.orientation)
            )
        )
        for i in range(len(image.getbands()))
    ]
    return Image.merge(image.mode, bands)


def _require_jpeg_size(size: tuple[int, int]) -> None:
    """Raise ImageRejected for a size that cannot be stored as a JPEG."""
    if max(size) > jpeg.MAX_SIDE_PX:
        raise ImageRejected(TOO_MANY_PIXELS, f"{size[0]} x {size[1]}, a JPEG has {jpeg.MAX_SIDE_PX} a side")


def _encode(image: Image.Image, quality: int) -> bytes:
    _require_jpeg_size(image.size)
    image.info = {}  # Pillow would write a comment it finds here
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def _luma(image: Image.Image) -> U8:
    return np.asarray(image.convert("L"))


def _store(body: bytes, header: Header, image: Image.Image, limits: Limits) -> _Stored:
    """Decode any image by Pillow and store it."""
    where = _fit(header, limits)
    is_resized = _is_resized(header, where)
    if is_resized and header.format == "jpeg":
        across, down = (where.across, where.down) if header.orientation < 5 else (where.down, where.across)
        width, height = (
            math.ceil(side * span.num * image_planes.OVERSAMPLING[0] / span.extent)
            for side, span in zip(image.size, (across, down), strict=True)
        )
        image.draft(None, (width, height))  # decode at 1/2, 1/4 or 1/8
    image.load()
    profile = _profile_data(image)
    if _is_storable(body, header, image) and not is_resized and not changes_colours(profile):
        stripped = body if limits.keep_metadata else strip_metadata(body, header.format)
        if stripped == body or _shows(stripped, header.format, image):
            return _Stored(stripped, header.format, image.size, entropy_bits(_luma(image)))
    plain = to_plain(image)
    if is_resized:
        plain = _resize(plain, where, header)
    elif header.orientation > 1:
        plain = plain.transpose(_TRANSPOSES[header.orientation])
    if changes_colours(profile):
        plain = to_srgb(plain, profile)
    if plain.mode == "CMYK":
        plain = plain.convert("RGB")
    if plain.size != where.size:
        content, plain = plain, Image.new(plain.mode, where.size, "white")
        plain.paste(content, (where.across.offset, where.down.offset))
    return _Stored(_encode(plain, limits.quality), "jpeg", plain.size, entropy_bits(_luma(plain)))


def _profile_data(image: Image.Image) -> bytes:
    data = image.info.get("icc_profile")
    return data if isinstance(data, bytes) else b""


def _fit(header: Header, limits: Limits) -> Fit:
    """Return how an image is resized; raises ImageRejected where it has too many pixels, before or after."""
    where = fit(header.width, header.height, limits.resize, limits.side_px, limits.enlarge)
    for what, (width, height) in (("", (header.width, header.height)), (" when enlarged", where.size)):
        if width * height > limits.max_pixels:
            raise ImageRejected(TOO_MANY_PIXELS, f"{width} x {height} pixels{what}, limit {limits.max_pixels}")
    return where


def _is_resized(header: Header, where: Fit) -> bool:
    return where != fit(header.width, header.height, "keep", 0, False)


def _store_plain_jpeg(body: bytes, plain: jpeg.PlainJpeg, header: Header, limits: Limits) -> _Stored | None:
    """Store a plain JPEG, its luma and chroma apart all the way; None: it is not plain."""
    where = _fit(header, limits)
    if changes_colours(plain.profile):
        planes = image_planes.planes_of_jpeg(body, plain, where, header.orientation, is_halved=False)
        return None if planes is None else _store_in_srgb(planes, plain.profile, limits)
    if header.orientation == 1 and not _is_resized(header, where):
        decoded = jpeg.decode(body, plain, (8, 0, 0)[: len(plain.components)])
        if decoded is None:
            return None
        stored = body if limits.keep_metadata else strip_segments(body, plain.segments, decoded.scan_end)
        return _Stored(stored, "jpeg", where.size, entropy_bits(decoded.planes[0][: header.height, : header.width]))
    planes = image_planes.planes_of_jpeg(body, plain, where, header.orientation)
    if planes is None:
        return None
    _require_jpeg_size(where.size)
    return _Stored(jpeg.encode(planes, limits.quality), "jpeg", where.size, entropy_bits(planes[0]))


def _store_in_srgb(planes: tuple[U8, ...], profile: bytes, limits: Limits) -> _Stored:
    """Store luma, or luma and chroma of its size, that are not in sRGB."""
    bands = [Image.fromarray(plane) for plane in planes]
    image = to_srgb(Image.merge("YCbCr", bands).convert("RGB") if len(bands) == 3 else bands[0], profile)
    return _Stored(_encode(image, limits.quality), "jpeg", image.size, entropy_bits(_luma(image)))


def _prepare_plain_jpeg(body: bytes, limits: Limits) -> Prepared | None:
    plain = jpeg.read_header(body)
    if plain is None:
        return None
    turned = exif_orientation(body, plain.segments)
    width, height = plain.size if turned < 5 else plain.size[::-1]
    header = Header("jpeg", width, height, 1, turned)
    stored = _store_plain_jpeg(body, plain, header, limits)
    return None if stored is None else _prepared(body, header, stored)


def _prepare_any(body: bytes, limits: Limits) -> Prepared:
    with opened(body) as (found, image):
        header = _header(body, found, image)
        _fit(header, limits)
        if found == "jpeg":
            _require_few_scans(body)
        try:
            return _prepared(body, header, _store(body, header, image, limits))
        except NoPicture as error:
            raise ImageRejected(NOT_IMAGE, str(error)) from error


def _prepared(body: bytes, header: Header, stored: _Stored) -> Prepared:
    original = hashlib.sha256(body).hexdigest()
    return Prepared(
        body=stored.body, format=stored.format, width=stored.size[0], height=stored.size[1], entropy=stored.entropy,
        sha256=original if stored.body is body else hashlib.sha256(stored.body).hexdigest(),
        num_frames=header.num_frames, original_format=header.format, original_sha256=original,
        original_length=len(body), original_width=header.width, original_height=header.height,
    )  # fmt: skip


def decode(body: bytes, least_px: int | None = None, max_pixels: int = Limits.max_pixels) -> Image.Image:
    """Return what an image shows as 8-bit RGB: upright, in sRGB, its transparency laid on white, its first frame.

    With `least_px` a JPEG may come scaled by 1/2, 1/4 or 1/8, its shorter side no smaller. Raises ImageRejected:
    not_image, corrupt_image, too_many_pixels (more than `max_pixels`).
    """
    with opened(body) as (found, image):
        header = _header(body, found, image)
        if header.width * header.height > max_pixels:
            detail = f"{header.width} x {header.height} pixels, limit {max_pixels}"
            raise ImageRejected(TOO_MANY_PIXELS, detail)
        if found == "jpeg":
            _require_few_scans(body)
        if found == "jpeg" and least_px is not None:
            share = least_px / min(image.size)
            image.draft(None, (math.ceil(image.width * share), math.ceil(image.height * share)))
        image.load()
        try:
            plain = to_plain(image)
        except NoPicture as error:
            raise ImageRejected(NOT_IMAGE, str(error)) from error
        if header.orientation > 1:
            plain = plain.transpose(_TRANSPOSES[header.orientation])
        return to_srgb(plain, _profile_data(image)).convert("RGB")


def _require_few_scans(body: bytes) -> None:
    if count_jpeg_scans(body) > MAX_JPEG_SCANS:
        raise ImageRejected(CORRUPT_IMAGE, f"more than {MAX_JPEG_SCANS} scans")


def prepare(body: bytes, limits: Limits) -> Prepared:
    """Return the stored form of a body and its facts.

    The body's own bytes are stored when nothing needs to change (an upright 8-bit RGB or grey JPEG, PNG or WebP in
    sRGB, of the right size), less its metadata (wit.image_metadata); else a JPEG. The entropy is that of the luma
    handed to the encoder, or of the stored body's. The same body and limits give the same bytes with the same codec
    versions. Plain JPEGs (wit.jpeg) are decoded here, all others, and the broken ones, by Pillow.
    Raises ImageRejected: not_image, corrupt_image (a decoder fails on it, or it breaks off), too_many_pixels.
    """
    return _prepare_plain_jpeg(body, limits) or _prepare_any(body, limits)
