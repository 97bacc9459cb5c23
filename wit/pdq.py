"""PDQ, the 256-bit perceptual hash of pictures, and its quality, after its authors' description ("The TMK+PDQF
video-hashing algorithm and the PDQ image-hashing algorithm", Facebook, 2019).

Luma is smoothed by a box filter along rows and along columns, twice (two boxes make a tent), whose width is that of
1/128 of the picture; sampled at 64 x 64 places; of the 64 x 64 picture's DCT-II the frequencies 1 to 16 each way are
taken, without those of 0; a bit says which are above their median. All up to the median is linear and goes along each
axis by itself, so it is two small matrices: SMOOTHED = S_down · LUMA · S_acrossᵀ, FREQUENCIES = D · SMOOTHED · Dᵀ.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]
U8 = npt.NDArray[np.uint8]
U64 = npt.NDArray[np.uint64]

SIDE = 64
"""Pixels a side of the smoothed picture."""
NUM_FREQUENCIES = 16
MIN_SIDE_PX = 5
"""A picture of less a side has no hash: 0, of quality 0."""
_BOXES_A_SIDE = 128
LUMA_WEIGHTS = (0.299, 0.587, 0.114)
"""Of R, G and B: ITU-R BT.601."""
_QUALITY_DIVISOR = 90
_BLOCK_PIXELS = 1 << 20


def _box(size: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the first sample, and the end, of the box around each of `size` samples, cut at the edges."""
    width = -(-size // _BOXES_A_SIDE)
    ends = np.arange(size) + (width + 2) // 2
    return np.maximum(ends - width, 0), np.minimum(ends, size)


@lru_cache(maxsize=64)
def smoothing(size: int) -> F64:
    """Return the matrix [64, size] that smooths an axis of `size` samples twice and samples it at 64 places."""
    first, end = _box(size)
    places = ((np.arange(SIDE) + 0.5) * size / SIDE).astype(np.int64)
    steps = np.zeros((SIDE, size + 1))
    for row, place in zip(steps, places.tolist(), strict=True):
        inner = np.arange(first[place], end[place])
        weights = 1.0 / (len(inner) * (end[inner] - first[inner]))
        np.add.at(row, first[inner], weights)
        np.add.at(row, end[inner], -weights)
    matrix: F64 = np.cumsum(steps, axis=1)[:, :size]
    return matrix


@lru_cache(maxsize=1)
def transform() -> F64:
    """Return the matrix [16, 64] of DCT-II's frequencies 1 to 16."""
    frequencies = np.arange(1, NUM_FREQUENCIES + 1)[:, None]
    angles = np.pi / (2 * SIDE) * frequencies * (2 * np.arange(SIDE) + 1)
    return np.sqrt(2 / SIDE) * np.cos(angles)


def _luma_blocks(pixels: U8) -> Iterator[tuple[int, int, F64]]:
    """Yield (first row, end, luma) of blocks of rows, so that a large picture is not held as floating point numbers."""
    rows = max(1, _BLOCK_PIXELS // pixels.shape[1])
    for start in range(0, len(pixels), rows):
        block = pixels[start : start + rows].astype(np.float64)
        yield start, start + len(block), block @ LUMA_WEIGHTS if block.ndim == 3 else block


def smoothed(pixels: U8) -> F64:
    """Return the smoothed picture [64, 64] of pixels [H, W] of luma, or [H, W, 3] of R, G and B."""
    down, across = smoothing(pixels.shape[0]), smoothing(pixels.shape[1])
    half = np.zeros((SIDE, pixels.shape[1]))
    for start, end, luma in _luma_blocks(pixels):
        half += down[:, start:end] @ luma
    return half @ across.T


def qualities(pictures: npt.NDArray[np.floating]) -> npt.NDArray[np.int32]:
    """Return PDQ's quality, 0 to 100, of smoothed pictures [N, 64, 64]: the sum of their steps from pixel to pixel.

    A step counts as a whole number of hundredths of the range of 255, cut off, so that faint noise counts nothing.
    """
    sums = sum(
        np.abs(np.trunc(np.diff(pictures, axis=axis) * (100 / 255))).sum(axis=(1, 2), dtype=np.float64)
        for axis in (1, 2)
    )
    quality: npt.NDArray[np.int32] = np.minimum(sums // _QUALITY_DIVISOR, 100).astype(np.int32)
    return quality


def words(frequencies: npt.NDArray[np.floating]) -> U64:
    """Return the hashes [N, 4] of frequencies [N, 16, 16]: bits above the lower median, the last one first."""
    flat = frequencies.reshape(-1, NUM_FREQUENCIES**2)
    middle = flat.shape[1] // 2 - 1
    bits = flat > np.partition(flat, middle, axis=1)[:, middle, None]
    return np.packbits(bits[:, ::-1], axis=1).view(">u8").astype(np.uint64)


def pdq(pixels: U8) -> tuple[U64, int]:
    """Return the hash, as 4 words [4] most significant first, and the quality of pixels [H, W] or [H, W, 3]."""
    if min(pixels.shape[:2]) < MIN_SIDE_PX:
        return np.zeros(4, np.uint64), 0
    picture = smoothed(pixels)
    frequencies = transform() @ picture @ transform().T
    return words(frequencies[None])[0], int(qualities(picture[None])[0])
