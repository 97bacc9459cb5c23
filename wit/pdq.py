"""PDQ, the 256-bit perceptual hash of pictures, and its quality.

After its authors' description ("The TMK+PDQF video-hashing algorithm and the PDQ image-hashing algorithm", Facebook,
2019). Luma is smoothed by a box filter along rows and along columns, twice (two boxes make a tent), whose width is
1/128 of the picture's; sampled at 64 x 64 places; of the 64 x 64 picture's DCT-II the frequencies 1 to 16 each way are
taken; a bit says which are above their median. All up to the median is linear, and goes along each axis by itself.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
U8 = npt.NDArray[np.uint8]
U64 = npt.NDArray[np.uint64]

SIDE = 64
"""Pixels a side of the smoothed picture."""
NUM_FREQUENCIES = 16
_SIDES_PX = range(5, 65_536)
"""A picture with another side has no hash: 0, of quality 0. The reference has the lower limit; the upper one is that of
JPEG, without which a PNG of 9,000,000 x 5 takes minutes, and a pHash gigabytes."""
_BOXES_A_SIDE = 128
_LUMA_WEIGHTS = np.array([0.299, 0.587, 0.114])  # of R, G and B: ITU-R BT.601
_QUALITY_DIVISOR = 90


class Bands(NamedTuple):
    """Weighted means of neighbouring samples of an axis, one for each of 64 places."""

    starts: I64
    """[64]: the first sample of each."""
    weights: npt.NDArray[Any]
    """[64, samples], float64, or int32: of that sample and the next; 0 behind the last."""


def is_too_long(size: tuple[int, ...]) -> bool:
    """Return whether a picture has a side, in pixels, that is too long for any hash."""
    return max(size) >= _SIDES_PX.stop


def is_hashable(size: tuple[int, ...]) -> bool:
    """Return whether a picture of these sides, in pixels, has a hash."""
    return all(side in _SIDES_PX for side in size)


def _box(at: I64, size: int) -> tuple[I64, I64]:
    """Return the first sample, and the end, of the boxes around samples of an axis of `size`, cut at its ends."""
    width = -(-size // _BOXES_A_SIDE)
    ends = at + (width + 2) // 2
    return np.maximum(ends - width, 0), np.minimum(ends, size)


def bands(starts: list[int], rows: list[npt.NDArray[Any]]) -> Bands:
    """Return the means whose weights are given from their first sample on."""
    weights = np.zeros((len(rows), max(map(len, rows))), rows[0].dtype)
    for line, row in zip(weights, rows, strict=True):
        line[: len(row)] = row
    return Bands(np.array(starts), weights)


def _computed_smoothing(size: int) -> Bands:
    starts, rows = [], []
    for place in ((np.arange(SIDE) + 0.5) * size / SIDE).astype(np.int64):
        inner = np.arange(*np.ravel(_box(place, size)))
        first, end = _box(inner, size)
        share = 1 / (len(inner) * (end - first))
        steps = np.zeros(end[-1] - first[0] + 1)
        np.add.at(steps, first - first[0], share)
        np.add.at(steps, end - first[0], -share)
        starts.append(int(first[0]))
        rows.append(np.cumsum(steps[:-1]))
    return bands(starts, rows)


_cached_smoothing = lru_cache(maxsize=32)(_computed_smoothing)
MAX_CACHED_PX = 4096
"""Longest axis whose weights are kept for the next image: they take 33 KB."""


def smoothing(size: int) -> Bands:
    """Return how an axis of `size` samples is smoothed twice and sampled at 64 places; the weights are float64."""
    return (_cached_smoothing if size <= MAX_CACHED_PX else _computed_smoothing)(size)


@lru_cache(maxsize=1)
def transform() -> F64:
    """Return the matrix [16, 64] of DCT-II's frequencies 1 to 16."""
    frequencies = np.arange(1, NUM_FREQUENCIES + 1)[:, None]
    matrix: F64 = np.sqrt(2 / SIDE) * np.cos(np.pi / (2 * SIDE) * frequencies * (2 * np.arange(SIDE) + 1))
    return matrix


def _mean_row(pixels: U8, start: int, weights: F64) -> F64:
    """Return the weighted mean of the luma of some rows; so a large picture is never all floating point numbers."""
    rows = pixels[start : start + len(weights)]
    mean = np.tensordot(weights[: len(rows)], rows, axes=1)
    return mean @ _LUMA_WEIGHTS if pixels.ndim == 3 else mean


def smoothed(pixels: U8) -> F64:
    """Return the smoothed picture [64, 64] of pixels [H, W] of luma, or [H, W, 3] of R, G and B."""
    down, across = smoothing(pixels.shape[0]), smoothing(pixels.shape[1])
    rows = np.stack([_mean_row(pixels, *each) for each in zip(*down, strict=True)])
    picture = [
        rows[:, start : start + len(weights)] @ weights[: rows.shape[1] - start]
        for start, weights in zip(*across, strict=True)
    ]
    return np.stack(picture, axis=1)


def quality(picture: F64) -> int:
    """Return PDQ's quality, 0 to 100, of a smoothed picture [64, 64]: the sum of its steps from pixel to pixel.

    A step counts as a whole number of hundredths of the range of 255, cut off, so that faint noise counts nothing.
    """
    steps = sum(int(np.abs(np.trunc(np.diff(picture, axis=axis) * 100 / 255)).sum()) for axis in (0, 1))
    return min(steps // _QUALITY_DIVISOR, 100)


def words(frequencies: F64) -> U64:
    """Return the hashes [N, 4] of frequencies [N, 16, 16]: bits above the lower median, the last one first."""
    flat = frequencies.reshape(-1, NUM_FREQUENCIES**2)
    middle = flat.shape[1] // 2 - 1
    bits = flat > np.partition(flat, middle, axis=1)[:, middle, None]
    return np.packbits(bits[:, ::-1], axis=1).view(">u8").astype(np.uint64)
