"""The two small pictures that an image's perceptual hashes are made of, exactly or fast, and the hashes.

Exact is what imagehash and PDQ define, from all pixels. Fast takes a tenth of the time and differs in 0 to 2 bits on
most photographs: luma alone, decoded once. A plain JPEG's luma is decoded without its chroma (wit.jpeg); where the
shorter side is longer than LEAST_PX, at a part of its size, and PDQ's smoothing is carried over to the larger samples.
What is summed after that are whole numbers below 2^53, so that every machine finds the same bits, of a picture of one
tone too: its PDQ is 0, not noise.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from wit import fingerprint_kernels as kernels
from wit import image_planes, jpeg
from wit.image import TOO_MANY_PIXELS, ImageRejected, decode
from wit.image_colour import changes_colours
from wit.image_metadata import exif_orientation
from wit.pdq import (
    MAX_CACHED_PX,
    SIDE,
    Bands,
    bands,
    is_hashable,
    is_too_long,
    quality,
    smoothed,
    smoothing,
    transform,
    words,
)
from wit.resizing import Fit, Span, resample

U8 = npt.NDArray[np.uint8]
I32 = npt.NDArray[np.int32]
F64 = npt.NDArray[np.float64]
U64 = npt.NDArray[np.uint64]

LEAST_PX = 512
"""Samples of luma on the shorter side that a large JPEG is decoded at, at least."""
PHASH_SIDE, NUM_PHASH_FREQUENCIES = 32, 8

# |picture| < 2^20, the sizes of 64 weights add up to < 2^16: 20 + 16 + 16 = 52 bits.
_PDQ_SCALE = 1 << 13
# 8 bits of a pixel, 32 weights of at most 2^16: 8 + 21 + 21 = 50 bits.
_PHASH_SCALE = 1 << 16
_NO_PICTURE = np.zeros((SIDE, SIDE))
_NO_COARSE = np.zeros((PHASH_SIDE, PHASH_SIDE), np.uint8)
_UNIT = 1 << kernels.PICTURE_BITS

_STEPS = (
    (False, False, False),
    (True, True, False),
    (False, True, True),
    (True, False, True),
    (False, False, True),
    (False, True, False),
    (True, False, False),
    (True, True, True),
)
"""The turns (wit.fingerprint.TURNS): whether rows and columns change places, then rows, then columns are reversed."""


class Pictures(NamedTuple):
    """The small pictures of an image."""

    coarse: U8
    """[32, 32]: of pHash."""
    smooth: F64
    """[64, 64]: of PDQ; in levels where they are exact, else in whole numbers of 1 / 4096 of a level."""
    quality: int


class Hashes(NamedTuple):
    """Hashes of N images: pHash [N], PDQ [N, 4] (most significant word first), quality [N]."""

    phash: U64
    pdq: U64
    quality: I32


class _Luma(NamedTuple):
    """Luma of an image of (width, height) pixels, as it lies in the plane: at `side` samples for 8 pixels."""

    plane: U8
    size: tuple[int, int]
    side: int


def exact_pictures(image: Image.Image) -> Pictures:
    """Return the small pictures of an 8-bit RGB or grey image, as imagehash and PDQ define them."""
    if is_too_long(image.size):
        return Pictures(_NO_COARSE, _NO_PICTURE, 0)
    coarse = np.asarray(image.convert("L").resize((PHASH_SIDE, PHASH_SIDE), Image.Resampling.LANCZOS))
    if not is_hashable(image.size):
        return Pictures(coarse, _NO_PICTURE, 0)
    smooth = smoothed(np.asarray(image))
    return Pictures(coarse, smooth, quality(smooth))


def fast_pictures(body: bytes, max_pixels: int, turns: tuple[int, ...]) -> list[Pictures]:
    """Return the small pictures of each turn of an image of at most `max_pixels`; raises ImageRejected."""
    luma = _luma_of_jpeg(body, max_pixels)
    if luma is None:
        grey = np.array(decode(body, max_pixels=max_pixels).convert("L"))
        luma = _Luma(grey, grey.shape[::-1], 8)
    coarse = _NO_COARSE if is_too_long(luma.size) else _fast_coarse(luma)
    smooth = {key: _fast_smoothed(luma, key) for key in {_reversed_axes(turn) for turn in turns}}
    return [_turned(coarse, *smooth[_reversed_axes(turn)], turn) for turn in turns]


def _fast_coarse(luma: _Luma) -> U8:
    """Return pHash's small picture."""
    across, down = (pixels * luma.side / 8 for pixels in luma.size)
    return resample(luma.plane, (across, down), Fit(_small(across), _small(down)))


def _luma_of_jpeg(body: bytes, max_pixels: int) -> _Luma | None:
    """Return the luma of a plain JPEG in sRGB; None: it is another image."""
    header = jpeg.read_header(body)
    if header is None or changes_colours(header.profile):
        return None
    if header.width * header.height > max_pixels:
        detail = f"{header.width} x {header.height} pixels, limit {max_pixels}"
        raise ImageRejected(TOO_MANY_PIXELS, detail)
    orientation = exif_orientation(body, header.segments)
    # The last sample of a part of the size is cut: where that is turned to the front, all of it is decoded.
    side = min(8, math.ceil(8 * LEAST_PX / min(header.size))) if orientation == 1 else 8
    decoded = jpeg.decode(body, header, (side, 0, 0)[: len(header.components)])
    if decoded is None:
        return None
    if orientation == 1:
        return _Luma(decoded.planes[0], header.size, side)
    upright = image_planes.upright(decoded.planes[0][: header.height, : header.width], orientation)
    return _Luma(np.ascontiguousarray(upright), upright.shape[::-1], side)


def _small(samples: float) -> Span:
    return Span(0.0, samples, PHASH_SIDE, 0, PHASH_SIDE)


def _reversed_axes(turn: int) -> tuple[bool, bool]:
    """Return whether the image's own rows, and its own columns, are reversed."""
    is_transposed, is_flipped, is_mirrored = _STEPS[turn]
    return (is_mirrored, is_flipped) if is_transposed else (is_flipped, is_mirrored)


def _fast_smoothed(luma: _Luma, reversed_axes: tuple[bool, bool]) -> tuple[F64, int]:
    """Return PDQ's small picture of an image whose rows, columns or both are reversed, and the quality.

    It is not that of the image reversed: PDQ's boxes are not symmetric. On photographs 16 to 20 bits lie between.
    """
    if not is_hashable(luma.size):
        return _NO_PICTURE, 0
    (width, height), (is_flipped, is_mirrored) = luma.size, reversed_axes
    columns = math.ceil(width * luma.side / 8)
    down, across = _weights(height, luma.side, is_flipped), _weights(width, luma.side, is_mirrored)
    picture = np.empty((SIDE, SIDE), np.int32)
    kernels.smooth(
        luma.plane, columns, down.starts, down.weights, across.starts, across.weights,
        np.empty(columns, np.int32), picture,
    )  # fmt: skip
    smooth = picture.astype(np.float64)
    return smooth, quality(smooth / _UNIT)


def _turned(coarse: U8, smooth: F64, detail: int, turn: int) -> Pictures:
    """Return the small pictures of an image turned, of the smooth one whose axes are reversed already."""
    is_transposed, is_flipped, is_mirrored = _STEPS[turn]
    coarse = coarse.T if is_transposed else coarse
    coarse = coarse[:: -1 if is_flipped else 1, :: -1 if is_mirrored else 1]
    return Pictures(coarse, smooth.T if is_transposed else smooth, detail)


def _computed_weights(size: int, side: int, is_reversed: bool) -> Bands:
    """Return how an axis of `size` pixels, or it reversed, is smoothed, `side` samples for 8 pixels; whole numbers.

    A sample that lies in the range of two pixels is shared between them. Rounded are the sums up to each sample, so
    that all of them together are 1.
    """
    starts, rows = [], []
    for start, room in zip(*smoothing(size), strict=True):
        row = room[: size - start]
        begin, row = (size - start - len(row), row[::-1]) if is_reversed else (start, row)
        end = begin + len(row)
        first, last = begin * side // 8, -(-end * side // 8)
        edges = np.clip(np.arange(first, last + 1) * 8 / side, begin, end)
        sums = np.concatenate(([0.0], np.cumsum(row)))
        whole = np.rint(np.interp(edges, np.arange(begin, end + 1), sums) * (1 << kernels.WEIGHT_BITS))
        starts.append(int(first))
        rows.append(np.diff(whole).astype(np.int32))
    return bands(starts, rows)


_cached_weights = lru_cache(maxsize=1024)(_computed_weights)


def _weights(size: int, side: int, is_reversed: bool) -> Bands:
    return (_cached_weights if size <= MAX_CACHED_PX else _computed_weights)(size, side, is_reversed)


@lru_cache(maxsize=2)
def whole_transform(*, is_pdq: bool) -> F64:
    """Return the matrix of a DCT, [16, 64] of PDQ or [8, 32] of pHash, as whole numbers."""
    if is_pdq:
        return np.rint(transform() * _PDQ_SCALE)
    frequencies = np.arange(NUM_PHASH_FREQUENCIES)[:, None]
    angles = np.pi / (2 * PHASH_SIDE) * frequencies * (2 * np.arange(PHASH_SIDE) + 1)
    matrix: F64 = np.rint(np.cos(angles) * _PHASH_SCALE)
    return matrix


def _frequencies(images: list[Pictures], *, exact: bool) -> tuple[F64, F64]:
    """Return the frequencies of pHash [N, 8, 8] and of PDQ [N, 16, 16]."""
    coarse, smooth = np.stack([each.coarse for each in images]), np.stack([each.smooth for each in images])
    if not exact:
        low, high = whole_transform(is_pdq=False), whole_transform(is_pdq=True)
        return low @ coarse.astype(np.float64) @ low.T, high @ smooth @ high.T
    from scipy.fftpack import dct  # takes a while to import; imagehash's own, to the last bit

    low = dct(dct(coarse, axis=1), axis=2)[:, :NUM_PHASH_FREQUENCIES, :NUM_PHASH_FREQUENCIES]
    return low, transform() @ smooth @ transform().T


def _phash_words(frequencies: F64) -> U64:
    """Return hashes [N] of frequencies [N, 8, 8]: one bit each for "above their median"."""
    flat = frequencies.reshape(len(frequencies), -1)
    middle = flat.shape[1] // 2
    ordered = np.partition(flat, (middle - 1, middle), axis=1)
    bits = 2 * flat > (ordered[:, middle - 1] + ordered[:, middle])[:, None]
    return np.packbits(bits, axis=1).view(">u8").astype(np.uint64)[:, 0]


def hashes(images: list[Pictures], *, exact: bool) -> Hashes:
    """Return the hashes of small pictures, all of them exact or none."""
    coarse, smooth = _frequencies(images, exact=exact)
    return Hashes(_phash_words(coarse), words(smooth), np.array([each.quality for each in images], np.int32))
