"""Where an image's pixels go when it is resized, padded or cropped; and planes of samples resampled there.

The filter is Lanczos with three lobes, widened by the factor of reduction, as Pillow's LANCZOS is. A plane is resampled
by a box in its own samples, which need not be whole: so chroma of half the size, and a plane decoded at a part of its
size, stay where they belong.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from wit import resizing_kernels as kernels

U8 = npt.NDArray[np.uint8]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
_LOBES = 3


class Span(NamedTuple):
    """One axis of a resized image: `num` pixels from `begin` on, of `extent` pixels, laid at `offset` in `length`."""

    begin: float
    extent: float
    num: int
    offset: int
    length: int

    def scaled(self, factor: float) -> Span:
        """Return the span in samples, `factor` of them to a pixel."""
        return Span(self.begin * factor, self.extent * factor, self.num, self.offset, self.length)

    def halved(self) -> Span:
        """Return the axis of chroma at half the size: samples that begin at even pixels, and cover every pixel."""
        before = self.offset % 2
        num = (self.num + before + 1) // 2
        step = self.extent / self.num
        begin, extent = self.begin - before * step, 2 * num * step
        return Span(begin / 2, extent / 2, num, self.offset // 2, (self.length + 1) // 2)

    def mirrored(self, size: float) -> Span:
        """Return where the span lies on an axis of `size` pixels that runs the other way."""
        return Span(size - self.begin - self.extent, self.extent, self.num, self.offset, self.length)


class Fit(NamedTuple):
    """A resized image of (across.length, down.length) pixels."""

    across: Span
    down: Span

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, in pixels."""
        return self.across.length, self.down.length

    def halved(self) -> Fit:
        """Return the planes of chroma at half the size each way."""
        return Fit(self.across.halved(), self.down.halved())


def _whole(size: int) -> Span:
    return Span(0.0, size, size, 0, size)


def _scaled(width: int, height: int, side: int, side_px: int) -> tuple[int, int]:
    """Return (width, height) with `side`, one of the two, brought to `side_px`: rounded half up, never 0."""
    scaled_width, scaled_height = (max(1, (2 * length * side_px + side) // (2 * side)) for length in (width, height))
    return scaled_width, scaled_height


def _keep(width: int, height: int, side_px: int, enlarge: bool) -> tuple[Span, Span]:
    return _whole(width), _whole(height)


def _longer(width: int, height: int, side_px: int, enlarge: bool) -> tuple[Span, Span]:
    longer = max(width, height)
    side = side_px if enlarge or longer > side_px else longer
    sizes = _scaled(width, height, longer, side)
    return Span(0.0, width, sizes[0], 0, sizes[0]), Span(0.0, height, sizes[1], 0, sizes[1])


def _shorter(width: int, height: int, side_px: int, enlarge: bool) -> tuple[Span, Span]:
    shorter = min(width, height)
    side = side_px if enlarge or shorter > side_px else shorter
    sizes = _scaled(width, height, shorter, side)
    return Span(0.0, width, sizes[0], 0, sizes[0]), Span(0.0, height, sizes[1], 0, sizes[1])


def _border(width: int, height: int, side_px: int, enlarge: bool) -> tuple[Span, Span]:
    across, down = (
        Span(0.0, span.extent, span.num, (side_px - span.num) // 2, side_px)
        for span in _longer(width, height, side_px, enlarge)
    )
    return across, down


def _crop(width: int, height: int, side_px: int, enlarge: bool) -> tuple[Span, Span]:
    across, down = (_centre(span, side_px) for span in _shorter(width, height, side_px, enlarge))
    return across, down


def _centre(span: Span, side_px: int) -> Span:
    """Return the middle of a span, at most `side_px` pixels of it."""
    num = min(span.num, side_px)
    step = span.extent / span.num
    return Span((span.num - num) // 2 * step, num * step, num, 0, num)


MODES: dict[str, Callable[[int, int, int, bool], tuple[Span, Span]]] = {
    "keep": _keep,
    "longer": _longer,
    "shorter": _shorter,
    "border": _border,
    "crop": _crop,
}
"""How an image is resized, and the name that img2dataset has for it:

- keep (no): the size stays.
- longer (keep_ratio_largest): the longer side becomes side_px.
- shorter (keep_ratio): the shorter side becomes side_px.
- border (border): as `longer`, then white is put around it, to a square of side_px.
- crop (center_crop): as `shorter`, then the middle of the longer side is cut out, to a square of side_px.

What is smaller stays at its size unless it may be enlarged; `border` puts it on a square of side_px all the same, and
`crop` cuts a side that is longer than side_px, so that the result may be less high or wide than a square.
"""


def fit(width: int, height: int, mode: str, side_px: int, enlarge: bool) -> Fit:
    """Return how an image of width x height pixels is resized in one of MODES."""
    return Fit(*MODES[mode](width, height, side_px, enlarge))


def _lanczos() -> npt.NDArray[np.float64]:
    """Return the filter from its middle to its end and one entry more, 0."""
    at = np.arange(kernels.STEPS * _LOBES + 2) / kernels.STEPS
    values = np.sinc(at) * np.sinc(at / _LOBES)
    values[kernels.STEPS * _LOBES :] = 0
    return values


_LANCZOS = _lanczos()
_MAX_CACHED = 4096  # samples of an axis; weights of 256 axes take at most 35 MB, unless images are enlarged


def _computed_weights(size: int, begin: float, extent: float, num: int) -> tuple[I64, I32]:
    """Return the first sample, and the weights, of each of `num` pixels that show `extent` samples from `begin` on."""
    num_weights = math.ceil(2 * _LOBES * max(extent / num, 1.0))
    starts, weights = np.empty(num, np.int64), np.empty((num, -(-num_weights // 4) * 4), np.int32)
    kernels.fill_weights(_LANCZOS, size, begin, extent, starts, weights)
    return starts, weights


_cached_weights = lru_cache(maxsize=256)(_computed_weights)


def _resampled(plane: U8, used: tuple[int, int], begin: float, extent: float, num: int) -> U8:
    """Return the first used[0] rows and used[1] columns of a plane, its rows resampled to `num`, transposed."""
    weights_of = _cached_weights if used[0] <= _MAX_CACHED else _computed_weights
    starts, weights = weights_of(used[0], begin, extent, num)
    transposed = np.empty((used[1], num), np.uint8)
    room = np.empty(used[1], np.int32), np.empty((kernels.TILE, used[1]), np.uint8)
    kernels.resample_rows(plane, used[0], starts, weights, *room, transposed)
    return transposed


def resample(plane: U8, size: tuple[float, float], where: Fit) -> U8:
    """Return the pixels (where.down.num, where.across.num) of a plane that shows an image of `size` samples.

    `size` is (width, height) of the image, not whole where its last sample is cut; the plane (rows, columns) may reach
    beyond it, and is contiguous. `where` is in samples of the plane.
    """
    columns, rows = math.ceil(size[0]), math.ceil(size[1])
    across, down = where.across, where.down
    if (across.begin, across.extent, down.begin, down.extent) == (0, across.num, 0, down.num):
        return plane[: down.num, : across.num]
    turned = _resampled(plane, (rows, columns), down.begin, down.extent, down.num)
    return _resampled(turned, (columns, down.num), across.begin, across.extent, across.num)
