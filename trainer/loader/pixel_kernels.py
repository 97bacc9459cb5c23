"""Compiled parts of trainer.loader.decode: Pillow's bicubic resampling, bit by bit, of a window; planes to RGB.

A pixel is four bytes, the last of which does not matter. Kernels do not check indices: what they are given is made by
trainer.loader.decode from sizes alone, never from an image's bytes.

Shapes: H rows and W columns of a picture, P rows and Q columns of the window, K weights of a pixel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.types.containers import UniTuple
from numba.extending import intrinsic

from wit.compiled import inlined, kernel

U8 = npt.NDArray[np.uint8]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]

TOGETHER = 4
"""Rows that are resampled across, and pixels of a row that are resampled down, together."""
SQUARE = 16
"""Rows and columns of a plane that are resampled, and change places, together."""
_BITS = 22  # of the weights: Pillow's PRECISION_BITS, 32 - 8 - 2; 255 times the sum of their sizes, 1.3, is in 31 bits
_WORD = ir.IntType(64)
_U0, _U1, _U4 = np.uint64(0), np.uint64(1), np.uint64(4)
# JFIF's colours: R = Y + 1.402 Cr, G = Y - 0.344136 Cb - 0.714136 Cr, B = Y + 1.772 Cb; times 1 << 16, rounded.
_RED, _GREEN_BLUE, _GREEN_RED, _BLUE = (np.int32(factor) for factor in (91_881, 22_554, 46_802, 116_130))
_16, _ROUND, _MIDDLE = np.int32(16), np.int32(1 << 15), np.int32(128)


@inlined
def _bicubic(distance: Any) -> Any:
    """Return Pillow's BICUBIC, a = -0.5, at a distance: in its order of operations, so that every bit agrees."""
    x = abs(distance)
    if x < 1.0:
        return ((-0.5 + 2.0) * x - (-0.5 + 3.0)) * x * x + 1
    if x < 2.0:
        return (((x - 5) * x + 8) * x - 4) * -0.5
    return 0.0


@inlined
def _num_weights(scale: float) -> Any:
    """Return how many weights a pixel has at most, at `scale` samples a pixel."""
    return 2 * np.int64(np.ceil(2.0 * max(scale, 1.0))) + 1


@kernel
def fill_bicubic(size: int, scale: float, first: int, starts: I64, weights: I32, counts: I64) -> None:
    """Fill in the first sample, the weights and their number for pixels `first` on, `scale` of `size` samples a pixel.

    As Pillow's precompute_coeffs and normalize_coeffs_8bpc (src/libImaging/Resample.c): in doubles, then integers of 22
    bits. weights (pixels, _num_weights(scale)).
    """
    stretch = max(scale, 1.0)
    support, inverse = 2.0 * stretch, 1.0 / stretch
    for i in range(len(starts)):
        centre = (first + i + 0.5) * scale
        begin: Any = max(np.int64(centre - support + 0.5), 0)
        end: Any = min(np.int64(centre + support + 0.5), size)
        starts[i], counts[i] = begin, end - begin
        total = 0.0
        for k in range(end - begin):
            total += _bicubic((k + begin - centre + 0.5) * inverse)
        for k in range(end - begin):
            weight = _bicubic((k + begin - centre + 0.5) * inverse) / total * (1 << _BITS)
            weights[i, k] = np.int32(weight - 0.5) if weight < 0 else np.int32(weight + 0.5)


def _lanes(num: int, bits: int) -> ir.VectorType:
    return ir.VectorType(ir.IntType(bits), num)


def _spread(builder: Any, value: Any, num: int) -> Any:
    one = builder.insert_element(ir.Constant(_lanes(num, 32), ir.Undefined), value, ir.IntType(32)(0))
    return builder.shuffle_vector(one, one, ir.Constant(_lanes(num, 32), [0] * num))


def _arrays(context: Any, builder: Any, signature: Any, arguments: Any) -> list[Any]:
    """Return where the data of the arrays among an intrinsic's arguments begin."""
    kinds = zip(signature.args, arguments, strict=True)
    return [
        context.make_array(kind)(context, builder, value).data for kind, value in kinds if isinstance(kind, types.Array)
    ]


def _sums(builder: Any, arrays: list[Any], numbers: list[Any], shape: tuple[int, int]) -> list[Any]:
    """Return `shape[0]` vectors of `shape[1]` levels, each the weighted sum over k of bytes that lie k * step on.

    In vectors, which numba does not find by itself: it has to reckon with arrays that overlap.
    """
    num_vectors, num_lanes = shape
    pixels, weights, _ = arrays
    at, step, vector_step, first, num, _, _ = numbers
    wide, narrow = _lanes(num_lanes, 32), _lanes(num_lanes, 8)
    sums = [cgutils.alloca_once(builder, wide) for _ in range(num_vectors)]
    for total in sums:
        builder.store(ir.Constant(wide, [1 << (_BITS - 1)] * num_lanes), total)
    with cgutils.for_range(builder, num) as loop:
        weight = _spread(builder, builder.load(builder.gep(weights, [builder.add(first, loop.index)])), num_lanes)
        base = builder.add(at, builder.mul(loop.index, step))
        for number, total in enumerate(sums):
            place = builder.gep(pixels, [builder.add(base, builder.mul(vector_step, _WORD(number)))])
            levels = builder.load(builder.bitcast(place, narrow.as_pointer()), align=1)
            product = builder.mul(weight, builder.zext(levels, wide))
            builder.store(builder.add(builder.load(total), product), total)
    return [_levels(builder, builder.load(total), num_lanes) for total in sums]


def _levels(builder: Any, sums: Any, num_lanes: int) -> Any:
    """Return sums of weighted levels as levels."""
    wide = _lanes(num_lanes, 32)
    found = builder.ashr(sums, ir.Constant(wide, [_BITS] * num_lanes))
    for comparison, limit in (("<", 0), (">", 255)):
        bound = ir.Constant(wide, [limit] * num_lanes)
        found = builder.select(builder.icmp_signed(comparison, found, bound), bound, found)
    return builder.trunc(found, _lanes(num_lanes, 8))


def _store(builder: Any, levels: Any, base: Any, place: Any) -> None:
    builder.store(levels, builder.bitcast(builder.gep(base, [place]), levels.type.as_pointer()), align=1)


def _summing(shape: tuple[int, int], parts: Callable[[Any, list[Any]], list[Any]]) -> Any:
    """Return the intrinsic that writes `parts` of weighted sums to out[to], out[to + to_step], ...

    Its arguments: bytes, weights, out, and the numbers (place of the first byte, step to the next sample, step to the
    next vector, place of the first weight, number of weights, to, to_step).
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        arrays = _arrays(context, builder, signature, arguments)
        numbers = cgutils.unpack_tuple(builder, arguments[3])
        for i, part in enumerate(parts(builder, _sums(builder, arrays, numbers, shape))):
            _store(builder, part, arrays[2], builder.add(numbers[5], builder.mul(numbers[6], _WORD(i))))
        return context.get_dummy_value()

    def code(_: Any, data: Any, weights: Any, out: Any, numbers: Any) -> Any:
        return types.void(data, weights, out, UniTuple(types.uint64, 7)), generate

    return intrinsic(code)


def _as_they_are(_: Any, vectors: list[Any]) -> list[Any]:
    return vectors


def _by_colour(builder: Any, vectors: list[Any]) -> list[Any]:
    """Return the levels of red, of green and of blue in TOGETHER pixels."""
    (pixels,) = vectors
    lanes = (ir.Constant(_lanes(TOGETHER, 32), [4 * i + colour for i in range(TOGETHER)]) for colour in range(3))
    return [builder.shuffle_vector(pixels, pixels, which) for which in lanes]


def _code_of_turn(_: Any, tile: Any, out: Any, to: Any, to_step: Any) -> Any:
    """Write the columns of a tile, SQUARE lines of SQUARE bytes, to out[to] on, out[to + to_step] on, ..."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data, base = _arrays(context, builder, signature, arguments)
        kind, half = _lanes(SQUARE, 8).as_pointer(), SQUARE // 2
        lines = [
            builder.load(builder.bitcast(builder.gep(data, [_WORD(SQUARE * i)]), kind), align=1) for i in range(SQUARE)
        ]
        mixed = [
            ir.Constant(_lanes(SQUARE, 32), [lane for k in range(begin, begin + half) for lane in (k, SQUARE + k)])
            for begin in (0, half)
        ]
        for _ in range(4):  # each time a bit of the line's number changes places with one of the column's: 2^4 = SQUARE
            lines = [builder.shuffle_vector(lines[i // 2], lines[i // 2 + half], mixed[i % 2]) for i in range(SQUARE)]
        for number, line in enumerate(lines):
            _store(builder, line, base, builder.add(arguments[2], builder.mul(arguments[3], _WORD(number))))
        return context.get_dummy_value()

    return types.void(tile, out, types.uint64, types.uint64), generate


_across = _summing((TOGETHER, 4), _as_they_are)  # a pixel of each of TOGETHER rows
_down = _summing((1, 4 * TOGETHER), _by_colour)  # TOGETHER pixels of a row
_line = _summing((1, SQUARE), _as_they_are)  # SQUARE levels of a row
_turn = intrinsic(_code_of_turn)


@kernel
def _resample_across(pixels: U8, stride: int, starts_Q: I64, weights_QK: I32, counts_Q: I64, rows: U8) -> None:
    """Resample a picture's rows, `stride` bytes each, to the window's columns: as many rows as `rows` has.

    The first `counts_Q` of a column's weights are used, for the samples from `starts_Q` on.
    """
    num_columns, num_weights, wide = len(starts_Q), np.uint64(weights_QK.shape[1]), np.uint64(stride)
    line = np.uint64(4 * num_columns)
    num_rows = np.uint64(len(rows)) // line
    flat = weights_QK.reshape(weights_QK.size)
    at: Any = _U0
    while at < num_rows:
        is_full = at + np.uint64(TOGETHER) <= num_rows
        row_step, to_step = (wide, line) if is_full else (_U0, _U0)
        for q in range(num_columns):
            column = np.uint64(q)
            begin, to = at * wide + _U4 * np.uint64(starts_Q[q]), at * line + _U4 * column
            weights = column * num_weights, np.uint64(counts_Q[q])
            _across(pixels, flat, rows, (begin, _U4, row_step, weights[0], weights[1], to, to_step))
        at += np.uint64(TOGETHER) if is_full else _U1


@kernel
def _resample_down(rows: U8, starts_P: I64, weights_PK: I32, counts_P: I64, out_3PQ: U8) -> None:
    """Resample rows of Q pixels to the window's, red, green and blue apart; Q is TOGETHER at least."""
    num_columns, num_weights = np.uint64(out_3PQ.shape[2]), np.uint64(weights_PK.shape[1])
    flat, out = weights_PK.reshape(weights_PK.size), out_3PQ.reshape(out_3PQ.size)
    line, plane = _U4 * num_columns, np.uint64(out_3PQ.shape[1]) * num_columns
    for p in range(len(starts_P)):
        row = np.uint64(p)
        for number in range((out_3PQ.shape[2] + TOGETHER - 1) // TOGETHER):
            column = min(np.uint64(TOGETHER * number), num_columns - np.uint64(TOGETHER))
            begin, to = np.uint64(starts_P[p]) * line + _U4 * column, row * num_columns + column
            weights = row * num_weights, np.uint64(counts_P[p])
            _down(rows, flat, out, (begin, line, _U0, weights[0], weights[1], to, plane))


@kernel
def _resample_turned(
    plane: U8, at: int, stride: int, starts: I64, weights: I32, counts: I64, tile: U8, turned: U8
) -> None:  # fmt: skip
    """Resample the rows of a plane, the first byte at plane[at], to as many as there are `starts`; they become columns.

    turned (columns of the plane that are wanted, pixels): both are multiples of SQUARE. `tile` (SQUARE * SQUARE,) is
    room. Where the columns were rounded up, what lies behind a row is read: SQUARE - 1 bytes behind the last one too.
    """
    flat, out = weights.reshape(weights.size), turned.reshape(turned.size)
    num_weights, num_pixels = np.uint64(weights.shape[1]), np.uint64(turned.shape[1])
    line, begin, square = np.uint64(stride), np.uint64(at), np.uint64(SQUARE)
    for block in range(len(starts) // SQUARE):
        for number in range(turned.shape[0] // SQUARE):
            column = square * np.uint64(number)
            for i in range(SQUARE):
                pixel = np.uint64(SQUARE * block + i)
                first = begin + np.uint64(starts[pixel]) * line + column
                these = pixel * num_weights, np.uint64(counts[pixel])
                _line(plane, flat, tile, (first, line, _U0, these[0], these[1], square * np.uint64(i), _U0))
            _turn(tile, out, column * num_pixels + square * np.uint64(block), num_pixels)


@kernel
def resize(
    pixels: U8, size: tuple[int, int], window: tuple[int, ...], ints: I64, weights: I32, rows: U8, out_3PQ: U8
) -> None:  # fmt: skip
    """Write a window of a picture of `size` (width, height) to `out_3PQ`, bit by bit as Pillow's BICUBIC gives it.

    window: (width, height) of the whole picture when it is resized, then (left, top, Q, P); Q is TOGETHER at least.
    ints (2 Q + 2 P,), weights (Q + P times those of a pixel) and rows (4 Q times the samples' rows) are room.
    """
    width, height, left, top, num_columns, num_rows = window
    scale_x, scale_y = size[0] / width, size[1] / height
    begin = 2 * num_columns
    end = num_columns * _num_weights(scale_x)
    starts_Q, counts_Q = ints[:num_columns], ints[num_columns:begin]
    starts_P, counts_P = ints[begin : begin + num_rows], ints[begin + num_rows : begin + 2 * num_rows]
    weights_QK = weights[:end].reshape(num_columns, _num_weights(scale_x))
    weights_PK = weights[end : end + num_rows * _num_weights(scale_y)].reshape(num_rows, _num_weights(scale_y))
    fill_bicubic(size[0], scale_x, left, starts_Q, weights_QK, counts_Q)
    fill_bicubic(size[1], scale_y, top, starts_P, weights_PK, counts_P)
    first, last = starts_P[0], starts_P[num_rows - 1] + counts_P[num_rows - 1]
    used = rows[: (last - first) * 4 * num_columns]
    _resample_across(pixels[4 * size[0] * first :], 4 * size[0], starts_Q, weights_QK, counts_Q, used)
    for row in range(num_rows):
        starts_P[row] -= first
    _resample_down(used, starts_P, weights_PK, counts_P, out_3PQ)


@kernel
def resize_plane(
    plane: U8, size: tuple[float, float], window: tuple[int, ...], ints: I64, weights: I32, room: U8, found: U8
) -> None:  # fmt: skip
    """Write a window of a plane that shows a picture in `size` samples to `found`, P and Q rounded up to SQUAREs.

    `size` is not whole where the last sample is cut; the plane has more columns, eight at least, and a row more.
    window, ints and weights as in `resize`, for P and Q rounded up; room: SQUARE ** 2 bytes and the turned plane.
    """
    width, height, left, top, num_columns, num_rows = window
    scale_x, scale_y = size[0] / width, size[1] / height
    wide, high = found.shape[1], found.shape[0]
    ints[:] = 0
    starts, counts = ints[:high], ints[high : 2 * high]
    these = weights[: high * _num_weights(scale_y)].reshape(high, _num_weights(scale_y))
    fill_bicubic(int(np.ceil(size[1])), scale_y, top, starts[:num_rows], these, counts)
    columns, nums = ints[2 * high : 2 * high + wide], ints[2 * high + wide : 2 * high + 2 * wide]
    others = weights[these.size : these.size + wide * _num_weights(scale_x)].reshape(wide, _num_weights(scale_x))
    fill_bicubic(int(np.ceil(size[0])), scale_x, left, columns[:num_columns], others, nums)
    first, last = columns[0], columns[num_columns - 1] + nums[num_columns - 1]
    num_turned = (last - first + SQUARE - 1) // SQUARE * SQUARE
    tile, turned = room[: SQUARE * SQUARE], room[SQUARE * SQUARE : SQUARE * SQUARE + num_turned * high]
    _resample_turned(
        plane.reshape(plane.size), first, plane.shape[1], starts, these, counts, tile, turned.reshape(num_turned, high)
    )
    for column in range(num_columns):
        columns[column] -= first
    _resample_turned(turned, 0, high, columns, others, nums, tile, found)


@inlined
def _byte(level: Any) -> Any:
    return np.uint8(min(max(level >> _16, np.int32(0)), np.int32(255)))


@kernel
def planes_to_rgb(luma: U8, blue: U8, red: U8, out_3PQ: U8) -> None:
    """Write luma and chroma of one size, no smaller than the window, as red, green and blue (JFIF), rounded."""
    num_columns = out_3PQ.shape[2]
    for p in range(out_3PQ.shape[1]):
        lights, blues, reds = luma[p], blue[p], red[p]
        to_red, to_green, to_blue = out_3PQ[0, p], out_3PQ[1, p], out_3PQ[2, p]
        for q in range(num_columns):
            light = (np.int32(lights[q]) << _16) + _ROUND
            u, v = np.int32(blues[q]) - _MIDDLE, np.int32(reds[q]) - _MIDDLE
            to_red[q] = _byte(light + _RED * v)
            to_green[q] = _byte(light - _GREEN_BLUE * u - _GREEN_RED * v)
            to_blue[q] = _byte(light + _BLUE * u)
