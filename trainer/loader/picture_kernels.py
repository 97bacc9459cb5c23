"""Compiled parts of trainer.loader.decode: windows of many baseline JPEGs, scaled, from their bytes to RGB in one call.

What a file needs of the room is reckoned first, by `plan`, from its header's facts and its window alone.

Shapes: B pictures, P rows and Q columns of a window.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.loader import pixel_kernels
from trainer.loader.pixel_kernels import SQUARE, planes_to_rgb, resize_plane
from wit import jpeg_baseline_kernels, jpeg_header_kernels, jpeg_kernels
from wit.compiled import inlined, kernel_upon
from wit.jpeg_baseline_kernels import count_intervals, decode_baseline, plane_shape
from wit.jpeg_header_kernels import ACROSS, COMPONENT_FACTS, COMPONENTS, DOWN, HEIGHT, NUM_COMPONENTS, SCAN_AT, WIDTH
from wit.jpeg_kernels import SLACK

U8 = npt.NDArray[np.uint8]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
F32 = npt.NDArray[np.float32]

NEEDS = ("data", "starts", "pixels", "ints", "weights", "turned", "planes")
"""What `plan` reckons, in numbers, not bytes, of each kind of room."""
kernel = kernel_upon(
    pixel_kernels.__file__, jpeg_baseline_kernels.__file__, jpeg_header_kernels.__file__, jpeg_kernels.__file__
)


@inlined
def _up(number: int) -> int:
    """Return the number, rounded up to whole squares."""
    return (number + SQUARE - 1) // SQUARE * SQUARE


@inlined
def _samples(facts: I64, i: int) -> tuple[float, float]:
    """Return the samples of a component that the picture is wide and high; the first component has the most."""
    one = facts[COMPONENTS + COMPONENT_FACTS * i :]
    first = facts[COMPONENTS:]
    return facts[WIDTH] * one[ACROSS] / first[ACROSS], facts[HEIGHT] * one[DOWN] / first[DOWN]


@inlined
def _num_weights(num_samples: float, num_pixels: int) -> Any:
    """Return how many weights a pixel has at most."""
    return 2 * np.int64(np.ceil(2.0 * max(num_samples / num_pixels, 1.0))) + 1


@kernel
def plan(num_bytes: int, facts: I64, window: I64, oversampling: tuple[float, float], sides: I64, needs: I64) -> None:
    """Fill in at how many pixels a block each component of a file is decoded; raise `needs` to what it needs.

    So that a pixel gets `oversampling` samples of luma, and of chroma, each way, if the file has as many. `num_bytes`
    is the length of the file; the window is as `resize` has it.
    """
    width, height, num_columns, num_rows = window[0], window[1], window[4], window[5]
    wide, high = _up(num_columns), _up(num_rows)
    num_pixels = 0
    for i in range(facts[NUM_COMPONENTS]):
        across, down = _samples(facts, i)
        needed = max(width / across, height / down) * oversampling[min(i, 1)]
        sides[i] = min(8, int(np.ceil(8 * needed - 1e-9)))
        across, down = across * sides[i] / 8, down * sides[i] / 8
        num_weights = wide * _num_weights(across, width) + high * _num_weights(down, height)
        needs[4] = max(needs[4], num_weights)
        needs[5] = max(needs[5], SQUARE * SQUARE + _up(int(np.ceil(across))) * high)
        rows, stride = plane_shape(facts, i, sides[i])
        num_pixels += rows * stride
    needs[0] = max(needs[0], num_bytes - facts[SCAN_AT] + SLACK)
    needs[1] = max(needs[1], count_intervals(facts) + 1)
    needs[2] = max(needs[2], num_pixels)
    needs[3] = max(needs[3], 2 * (wide + high))
    needs[6] = max(needs[6], facts[NUM_COMPONENTS] * wide * high)


@kernel
def plan_all(
    chosen: I64, spans_B2: I64, facts_BF: I64, windows_B6: I64, oversampling: tuple[float, float], sides_B3: I64,
    needs: I64,
) -> None:  # fmt: skip
    """Do what `plan` does for the chosen of B files, whose bytes lie between `spans_B2`."""
    for i in chosen:
        num_bytes = spans_B2[i, 1] - spans_B2[i, 0]
        plan(num_bytes, facts_BF[i], windows_B6[i], oversampling, sides_B3[i], needs)


@kernel
def render(facts: I64, sides: I64, pixels: U8, window: I64, room: Any, out_3PQ: U8) -> None:
    """Write a window of a picture whose planes lie in `pixels`; room: (ints, weights, turned, planes) as planned."""
    ints, weights, turned, planes = room
    where = (window[0], window[1], window[2], window[3], window[4], window[5])
    wide, high = _up(window[4]), _up(window[5])
    num, begin = facts[NUM_COMPONENTS], 0
    found = planes[: num * high * wide].reshape(num, high, wide)
    for i in range(num):
        rows, stride = plane_shape(facts, i, sides[i])
        across, down = _samples(facts, i)
        size = (across * sides[i] / 8, down * sides[i] / 8)
        plane = pixels[begin : begin + rows * stride].reshape(rows, stride)
        resize_plane(plane, size, where, ints[: 2 * (wide + high)], weights, turned, found[i])
        begin += rows * stride
    if num == 3:
        planes_to_rgb(found[0], found[1], found[2], out_3PQ)
        return
    for colour in range(3):
        for p in range(out_3PQ.shape[1]):
            for q in range(out_3PQ.shape[2]):
                out_3PQ[colour, p, q] = found[0, p, q]


@kernel
def decode_all(
    chosen: I64, bodies: U8, spans_B2: I64, facts_BF: I64, windows_B6: I64, sides_B3: I64, tables: Any, fixed: Any,
    room: Any, out_B3PQ: U8, is_done_B: npt.NDArray[np.bool_],
) -> None:  # fmt: skip
    """Write the windows of the chosen of B baseline files, and note which are: those that are plain to their end.

    tables and fixed are as `decode_baseline` has them; room: (data, starts, ints, floats, pixels) for that, and what
    `render` has.
    """
    data, starts, numbers, floats, pixels = room[0]
    for i in chosen:
        body, facts, sides = bodies[spans_B2[i, 0] : spans_B2[i, 1]], facts_BF[i], sides_B3[i]
        end = decode_baseline(body, facts, sides, tables, fixed, data, starts, numbers, floats, pixels)
        if end >= 0:
            render(facts, sides, pixels, windows_B6[i], room[1], out_B3PQ[i])
            is_done_B[i] = True
