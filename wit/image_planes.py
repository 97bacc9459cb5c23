"""Planes of 8-bit samples: out of a plain JPEG at the size that is needed, turned upright, laid on their ground."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from wit import jpeg
from wit.jpeg import PlainJpeg
from wit.resizing import Fit, resample
from wit.resizing_kernels import count_levels

U8 = npt.NDArray[np.uint8]
WHITE, NO_COLOUR = 255, 128
"""The levels of white in luma or R, G and B, and in chroma."""

OVERSAMPLING = (1.25, 1.0)
"""Samples of luma, and of chroma, that are decoded for a pixel each way, at least."""

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


def _side(where: Fit, full: tuple[float, float], samples: tuple[float, float], oversampling: float) -> int:
    """Return the pixels a block to decode at, so that no pixel of `where` gets less than `oversampling` samples."""
    needed = (
        span.num * oversampling * pixels / (span.extent * num)
        for span, pixels, num in zip((where.across, where.down), full, samples, strict=True)
    )
    return min(8, math.ceil(8 * max(needed) - 1e-9))


class _Wanted(NamedTuple):
    """What is wanted of a component: where its pixels go in the upright plane, and what they are resampled from."""

    where: Fit
    in_file: Fit
    """The same as the file lies."""
    full: tuple[float, float]
    """Width and height of the component's plane at full size, in pixels of `where`."""
    samples: tuple[float, float]
    """Width and height as it is decoded."""
    side: int
    """Pixels a block that it is decoded at."""


def _wanted(header: PlainJpeg, i: int, where: Fit, orientation: int, *, is_halved: bool) -> _Wanted:
    """Return what is wanted of component `i`, for a plane of the size of `where`, or half its sides."""
    scale = 2 if is_halved else 1
    where = where.halved() if is_halved else where
    full = header.width / scale, header.height / scale
    lying = in_file(where, full if orientation < 5 else full[::-1], orientation)
    samples = header.samples_of(header.components[i])
    side = _side(lying, full, samples, OVERSAMPLING[min(i, 1)])
    return _Wanted(where, lying, full, (samples[0] * side / 8, samples[1] * side / 8), side)


def planes_of_jpeg(
    body: bytes, header: PlainJpeg, where: Fit, orientation: int, *, is_halved: bool = True
) -> tuple[U8, ...] | None:
    """Return luma, and chroma of half its sides (rounded up) or as large, of a plain JPEG; None: it is not plain.

    `where` is in pixels of the upright image.
    """
    wanted = [
        _wanted(header, i, where, orientation, is_halved=is_halved and i > 0) for i in range(len(header.components))
    ]
    decoded = jpeg.decode(body, header, tuple(each.side for each in wanted))
    if decoded is None:
        return None
    upright_planes = (
        resized(plane, each.samples, each.in_file, each.full, orientation)
        for plane, each in zip(decoded.planes, wanted, strict=True)
    )
    return tuple(laid_on(NO_COLOUR if i else WHITE, plane, wanted[i].where) for i, plane in enumerate(upright_planes))
