"""Planes of 8-bit samples: out of a plain JPEG at the size that is needed, turned upright, laid on their ground."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from wit import jpeg
from wit.jpeg import PlainJpeg
from wit.resizing import Fit, resample
from wit.resizing_kernels import count_levels

U8 = npt.NDArray[np.uint8]
WHITE, NO_COLOUR = 255, 128
"""The levels of white in luma or R, G and B, and in chroma."""

# What EXIF's orientations ask for, after rows and columns have changed places in those from 5 on.
_MIRRORED_ACROSS, _MIRRORED_DOWN = (2, 3, 6, 7), (3, 4, 7, 8)


def entropy_bits(plane: U8) -> float:
    """Return the Shannon entropy of a plane's 256 levels, to a millionth of a bit: 0 for one flat tone, 8 at most."""
    counts = np.zeros((4, 256), np.int64)
    count_levels(plane, counts)
    totals = counts.sum(axis=0)
    shares = totals[totals > 0] / plane.size
    # Rounded: logarithms differ in their last bit from machine to machine. + 0.0: no negative zero.
    return round(-math.fsum(shares * np.log2(shares)), 6) + 0.0


def in_file(where: Fit, size: tuple[float, float], orientation: int) -> Fit:
    """Return where in the file the pixels of an upright image of `size` lie, when it is turned."""
    across = where.across.mirrored(size[0]) if orientation in _MIRRORED_ACROSS else where.across
    down = where.down.mirrored(size[1]) if orientation in _MIRRORED_DOWN else where.down
    return Fit(across, down) if orientation < 5 else Fit(down, across)


def upright(plane: U8, orientation: int) -> U8:
    """Return a plane as it is to be seen; a view."""
    plane = plane.T if orientation >= 5 else plane
    steps = (-1 if orientation in mirrored else 1 for mirrored in (_MIRRORED_DOWN, _MIRRORED_ACROSS))
    return plane[tuple(slice(None, None, step) for step in steps)]


def laid_on(level: int, plane: U8, where: Fit) -> U8:
    """Return a plane in its place on a ground of one level, contiguous."""
    if plane.shape[::-1] == where.size:
        return np.ascontiguousarray(plane)
    ground = np.full(where.size[::-1], level, np.uint8)
    ground[where.down.offset :, where.across.offset :][: plane.shape[0], : plane.shape[1]] = plane
    return ground


def resized(plane: U8, size: tuple[float, float], where: Fit, full: tuple[float, float], orientation: int) -> U8:
    """Return the upright pixels of a plane whose `size` samples show an image of `full` pixels as the file lies."""
    across, down = where.across.scaled(size[0] / full[0]), where.down.scaled(size[1] / full[1])
    return upright(resample(plane, size, Fit(across, down)), orientation)


_OVERSAMPLING = (1.25, 1.0)
"""Samples of luma, and of chroma, that are decoded for a pixel each way, at least."""


def _side(where: Fit, full: tuple[float, float], samples: tuple[float, float], oversampling: float) -> int:
    """Return the pixels a block to decode at, so that no pixel of `where` gets less than `oversampling` samples."""
    needed = (
        span.num * oversampling * pixels / (span.extent * num)
        for span, pixels, num in zip((where.across, where.down), full, samples, strict=True)
    )
    return min(8, math.ceil(8 * max(needed) - 1e-9))


def planes_of_jpeg(
    body: bytes, header: PlainJpeg, where: Fit, orientation: int, *, is_halved: bool = True
) -> tuple[U8, ...] | None:
    """Return luma, and chroma of half its sides (rounded up) or as large, of a plain JPEG; None: it is not plain.

    `where` is in pixels of the upright image.
    """
    upright_size = header.size if orientation < 5 else header.size[::-1]
    asked: list[tuple[Fit, Fit, tuple[float, float], tuple[float, float]]] = []
    sides = []
    for i, component in enumerate(header.components):
        half = 2 if i and is_halved else 1
        ground = where.halved() if half == 2 else where
        lying = in_file(ground, (upright_size[0] / half, upright_size[1] / half), orientation)
        full = header.width / half, header.height / half
        samples = header.samples_of(component)
        sides.append(_side(lying, full, samples, _OVERSAMPLING[min(i, 1)]))
        asked.append((ground, lying, full, (samples[0] * sides[i] / 8, samples[1] * sides[i] / 8)))
    decoded = jpeg.decode(body, header, tuple(sides))
    if decoded is None:
        return None
    return tuple(
        laid_on(NO_COLOUR if i else WHITE, resized(plane, samples, lying, full, orientation), ground)
        for i, (plane, (ground, lying, full, samples)) in enumerate(zip(decoded.planes, asked, strict=True))
    )
