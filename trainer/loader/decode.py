"""From an image's bytes to uint8 pixels: resized so that the short side fits, then cropped (paper, section 2.5).

A crop is known before a picture is decoded, so only what it shows is resampled. Plain JPEGs (wit.jpeg) are decoded by
libjpeg-turbo or, scaled, by our own decoder; all others, and the broken ones, by Pillow. The samples are resampled by
the kernels here. Threads share the interpreter's lock: baseline JPEGs are therefore done many in a call, without it.

Shapes: S side of a crop in px; P, Q rows and columns of a window of the resized picture.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from trainer.loader import picture_kernels as pictures
from trainer.loader import pixel_kernels as kernels
from trainer.loader.buffers import Room
from wit import jpeg
from wit import jpeg_header_kernels as headers
from wit.image import CORRUPT_IMAGE, MAX_JPEG_SCANS, TOO_MANY_PIXELS, ImageRejected, opened
from wit.image_metadata import count_jpeg_scans
from wit.jpeg import PlainJpeg
from wit.jpeg_baseline_kernels import NUM_FLOATS, NUM_INTS
from wit.jpeg_tables import NATURAL

MAX_PIXELS = 1 << 26  # 67 million, 200 MB as RGB; a small file may claim far more
MAX_ASPECT = 16  # a longer strip would grow without bound when its short side is scaled up

OVERSAMPLING = {"draft": (2.0, 2.0), "fast": (1.25, 1.0)}
"""Samples of luma, and of chroma, that are decoded for a pixel each way, at least, if the file has as many.

On photographs of 512 to 1,024 px brought to 224 the mean PSNR against `exact` is 47 dB (draft) and 45 dB (fast).
"""

Pixels = NDArray[np.uint8]
_Ints = NDArray[np.int64]
_FIRST: _Ints = np.zeros(1, np.int64)


class Window(NamedTuple):
    """A part of a picture that is resized to (width, height) in full, in pixels."""

    width: int
    height: int
    left: int
    top: int
    num_columns: int
    num_rows: int


Choose = Callable[[int, int], Window]
"""Says which window of a picture of (width, height) pixels is wanted; raises ImageRejected."""


def decode_short_side(body: bytes, side_px: int, mode: str = "exact") -> Pixels:
    """Return RGB pixels (height, width, 3) whose shorter side is `side_px`, by bicubic resampling.

    `exact` gives what Pillow's decoder and its BICUBIC give; `draft` and `fast` decode JPEGs at OVERSAMPLING times the
    size that is needed. Raises ImageRejected: not_image, corrupt_image, too_many_pixels.
    """

    def whole(width: int, height: int) -> Window:
        size = _size_to_decode(width, height, side_px)
        return Window(*size, 0, 0, *size)

    return np.ascontiguousarray(_decode(body, whole, mode, None).transpose(1, 2, 0))


class Crop(NamedTuple):
    """A square of `side_px`, of a picture whose shorter side is `short_px`, at a place given in [0, 1) each way."""

    short_px: int
    side_px: int
    uniform_x: float
    uniform_y: float


def decode_crop(body: bytes, crop: Crop, mode: str = "exact", out_3SS: Pixels | None = None) -> Pixels:
    """Return the crop (3, S, S) that `random_crop` cuts from `decode_short_side`'s pixels, in `out_3SS` if it is given.

    `out_3SS` is contiguous. Raises ImageRejected as `decode_short_side` does.
    """

    def square(width: int, height: int) -> Window:
        size = _size_to_decode(width, height, crop.short_px)
        return Window(*size, *_corner(*size, crop), crop.side_px, crop.side_px)

    return _decode(body, square, mode, out_3SS)


class Crops(NamedTuple):
    """A `Crop` of each of B pictures, their places (B, 2)."""

    short_px: int
    side_px: int
    uniform: NDArray[np.float64]


def decode_crops(data: Pixels, spans_B2: _Ints, crops: Crops, mode: str, out_B3SS: Pixels) -> NDArray[np.bool_]:
    """Write the crops of B files that lie in `data`, each between its `spans_B2`; return which are written.

    They are as `decode_crop` has them, and many at a time take no longer under the interpreter's lock than one. What
    is not written that one has to decode: other files than baseline JPEGs, and what is wrong with them.
    """
    facts, is_plain = np.empty((len(spans_B2), headers.NUM_FACTS), np.int64), np.zeros(len(spans_B2), np.bool_)
    headers.read_all_facts(data, spans_B2, facts, is_plain)
    width, height = facts[:, headers.WIDTH], facts[:, headers.HEIGHT]
    short = np.minimum(width, height)
    is_plain &= (facts[:, headers.IS_PROGRESSIVE] == 0) & (width * height <= MAX_PIXELS)
    is_plain &= np.maximum(width, height) <= MAX_ASPECT * short
    full = crops.short_px * facts[:, [headers.WIDTH, headers.HEIGHT]] // np.maximum(short, 1)[:, None]
    corners = (crops.uniform * (full - crops.side_px + 1)).astype(np.int64)
    windows = np.concatenate([full, corners, np.full_like(full, crops.side_px)], axis=1)
    chosen = np.flatnonzero(is_plain)
    if mode != "exact":
        return _decode_all(_Pictures(data, spans_B2, facts, windows), chosen, OVERSAMPLING[mode], out_B3SS)
    for i in chosen.tolist():
        body, size = data[spans_B2[i, 0] : spans_B2[i, 1]], (width.item(i), height.item(i))
        is_plain[i] = _turbo(body, size, Window(*windows[i].tolist()), out_B3SS[i])
    return is_plain


def decode_center(body: bytes, side_px: int, mode: str = "exact", out_3SS: Pixels | None = None) -> Pixels:
    """Return the square (3, S, S) in the middle of `decode_short_side`'s pixels, its place rounded as torchvision does.

    In `out_3SS`, contiguous, if it is given. Raises ImageRejected as `decode_short_side` does.
    """

    def middle(width: int, height: int) -> Window:
        size = _size_to_decode(width, height, side_px)
        left, top = (round((length - side_px) / 2) for length in size)
        return Window(*size, left, top, side_px, side_px)

    return _decode(body, middle, mode, out_3SS)


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


def _corner(width: int, height: int, crop: Crop) -> tuple[int, int]:
    return int(crop.uniform_x * (width - crop.side_px + 1)), int(crop.uniform_y * (height - crop.side_px + 1))


def random_crop(pixels: Pixels, side_px: int, uniform_x: float, uniform_y: float) -> Pixels:
    """Return a square (side, side, 3) whose place is given by two numbers in [0, 1)."""
    height, width = pixels.shape[:2]
    left, top = _corner(width, height, Crop(0, side_px, uniform_x, uniform_y))
    return pixels[top : top + side_px, left : left + side_px]


def _decode(body: bytes, choose: Choose, mode: str, out: Pixels | None) -> Pixels:
    """Return the window (3, P, Q) that is wanted of an image, in `out` if it is given."""
    plain = jpeg.read_header(body)
    if plain is not None:
        window = choose(*plain.size)
        room = _room(window) if out is None else out
        if plain.is_progressive:
            _require_few_scans(body)
        if mode == "exact":
            is_done = _turbo(body, plain.size, window, room)
        else:
            is_done = _scaled(body, plain, window, OVERSAMPLING[mode], room)
        if is_done:
            return room
    return _pillow(body, choose, mode, out)


def _room(window: Window) -> Pixels:
    return np.empty((3, window.num_rows, window.num_columns), np.uint8)


def _require_few_scans(body: bytes) -> None:
    if count_jpeg_scans(body) > MAX_JPEG_SCANS:
        raise ImageRejected(CORRUPT_IMAGE, f"more than {MAX_JPEG_SCANS} scans")


def _pillow(body: bytes, choose: Choose, mode: str, out: Pixels | None) -> Pixels:
    with opened(body) as (found, image):
        window = choose(*image.size)
        room = _room(window) if out is None else out
        if found == "jpeg":
            _require_few_scans(body)
            if mode != "exact":
                image.draft("RGB", (2 * window.width, 2 * window.height))
        rgb = image.convert("RGB")
        pixels = None if _is_for_pillow(rgb.size, window) else _pixels_of(rgb)
        if pixels is None:
            _resize_by_pillow(rgb, window, room)
        else:
            _resize(pixels, (rgb.width, rgb.height), window, room)
        return room


def _pixels_of(image: Image.Image) -> Pixels | None:
    """Return an RGB image's pixels, four bytes each, where they lie; None: what has more than 16 MB lies in pieces."""
    try:
        pixels: Pixels = pa.array(image).flatten().to_numpy()
    except ValueError:
        return None
    return pixels


def _is_for_pillow(size: tuple[int, int], window: Window) -> bool:
    """Return whether Pillow has to resample.

    From version 13 on it takes rows before columns of a picture of (width, height) that is as tall as this; and the
    kernels take some columns at a time.
    """
    return size[1] > 2 * size[0] or window.num_columns < kernels.TOGETHER


def _resize_by_pillow(image: Image.Image, window: Window, out: Pixels) -> None:
    _, _, left, top, num_columns, num_rows = window
    resized = image.resize((window.width, window.height), Image.Resampling.BICUBIC)
    out[:] = np.asarray(resized.crop((left, top, left + num_columns, top + num_rows))).transpose(2, 0, 1)


def _turbo(body: bytes | Pixels, size: tuple[int, int], window: Window, out: Pixels) -> bool:
    """Write the window of a JPEG decoded as Pillow does, which has the same library; False: Pillow has to do it."""
    if _is_for_pillow(size, window):
        return False
    try:
        room = _ROOM.take("picture", np.uint8, 4 * size[0] * size[1])
        pixels = simplejpeg.decode_jpeg(body, "RGBX", buffer=room)
    except ValueError:
        return False
    _resize(pixels.reshape(-1), size, window, out)
    return True


_ROOM = Room()


def _resize(pixels: Pixels, size: tuple[int, int], window: Window, out: Pixels) -> None:
    """Write a window of a picture of `size`, four bytes a pixel, bit by bit as Pillow's BICUBIC gives it."""
    width, height, _, _, num_columns, num_rows = window
    scales = size[0] / width, size[1] / height
    of_column, of_row = (2 * math.ceil(2 * max(scale, 1.0)) + 1 for scale in scales)
    ints = _ROOM.take("ints", np.int64, 2 * (num_columns + num_rows))
    weights = _ROOM.take("weights", np.int32, num_columns * of_column + num_rows * of_row)
    num_used = min(size[1], math.ceil(num_rows * scales[1] + 4 * max(scales[1], 1.0)) + 2)
    rows = _ROOM.take("rows", np.uint8, 4 * num_columns * num_used)
    kernels.resize(pixels, size, tuple(window), ints, weights, rows, out)


def _scaled(body: bytes, plain: PlainJpeg, window: Window, oversampling: tuple[float, float], out: Pixels) -> bool:
    """Write the window of a plain JPEG, decoded at `oversampling` of luma and of chroma; False: it is not plain."""
    data = np.frombuffer(body, np.uint8)
    one = _Pictures(data, np.array([[0, len(body)]]), plain.facts[None], np.array([window]))
    if not plain.is_progressive:
        return bool(_decode_all(one, _FIRST, oversampling, out[None])[0])
    sides, needs = _planned(one, _FIRST, oversampling)
    decoded = jpeg.decode(body, plain, tuple(sides[0, : len(plain.components)].tolist()))
    if decoded is None:
        return False
    pictures.render(plain.facts, sides[0], decoded.pixels, one.windows[0], _room_to_render(needs), out)
    return True


class _Pictures(NamedTuple):
    """B files that lie in `data` between their `spans` (B, 2), the facts of their headers, and the windows wanted."""

    data: Pixels
    spans: _Ints
    facts: _Ints
    windows: _Ints


def _planned(some: _Pictures, chosen: _Ints, oversampling: tuple[float, float]) -> tuple[_Ints, dict[str, int]]:
    """Return at how many pixels a block each component of the chosen is decoded, and the room for any of them."""
    sides, needs = np.zeros((len(some.spans), 3), np.int64), np.zeros(len(pictures.NEEDS), np.int64)
    pictures.plan_all(chosen, some.spans, some.facts, some.windows, oversampling, sides, needs)
    return sides, dict(zip(pictures.NEEDS, needs.tolist(), strict=True))


def _decode_all(
    some: _Pictures, chosen: _Ints, oversampling: tuple[float, float], out_B3PQ: Pixels
) -> NDArray[np.bool_]:
    """Write the windows of the chosen, which are baseline; return which of all are written: those that are plain."""
    sides, needs = _planned(some, chosen, oversampling)
    room = (
        _ROOM.take("data", np.uint8, needs["data"]), _ROOM.take("starts", np.int64, needs["starts"]),
        _ROOM.take("numbers", np.int64, NUM_INTS), _ROOM.take("floats", np.float32, NUM_FLOATS),
        _ROOM.take("pixels", np.uint8, needs["pixels"]),
    )  # fmt: skip
    is_done = np.zeros(len(some.spans), np.bool_)
    pictures.decode_all(
        chosen, *some, sides, jpeg.TABLES.arrays, (NATURAL, jpeg.MATRICES), (room, _room_to_render(needs)),
        out_B3PQ, is_done.view(np.uint8),
    )  # fmt: skip
    return is_done


def _room_to_render(needs: dict[str, int]) -> tuple[_Ints, NDArray[np.int32], Pixels, Pixels]:
    return (
        _ROOM.take("ints", np.int64, needs["ints"]), _ROOM.take("weights", np.int32, needs["weights"]),
        _ROOM.take("turned", np.uint8, needs["turned"]), _ROOM.take("planes", np.uint8, needs["planes"]),
    )  # fmt: skip
