"""Draws scenes.

The light of a picture is a sum of the 63 lowest cosine waves with random signs and like amplitudes, the very waves
whose signs a 64-bit perceptual hash records. So the hashes of different scenes are far apart, as those of real
photographs are, and the hash of a scene survives re-encoding and resizing.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from random import Random

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from wit.sample.lexicon import COLOURS
from wit.sample.scenes import Group, Scene

Pixels = npt.NDArray[np.float32]
Outline = list[tuple[float, float]]

_WAVES = 8  # a 64-bit perceptual hash looks at the 8 x 8 lowest waves of the cosine transform
_LIGHT = 3.4  # mean amplitude of a wave, in grey levels: the 63 together have a standard deviation near 15
_SUPERSAMPLING = 3
_MARGIN = 24.0  # colours are squeezed into [24, 220], so that the light rarely clips
_GAIN = 0.8


def generator(seed: str) -> np.random.Generator:
    """Return a numpy generator for a text seed."""
    return np.random.Generator(np.random.PCG64(int.from_bytes(hashlib.sha256(seed.encode()).digest()[:16], "big")))


def draw(scene: Scene, width: int, height: int) -> Image.Image:
    """Return the picture of a scene, RGB, `width` x `height` px."""
    rng = Random(f"draw {scene.seed}")
    canvas = np.empty((height, width, 3), np.float32)
    canvas[:] = _rgb(scene.background)
    boxes = _layout(scene, rng, width, height)
    for group, x, y, radius in boxes:
        _paint(canvas, group, x, y, radius, rng)
    if scene.digit:
        _write_digit(canvas, scene, boxes, rng)
    canvas += _light(generator(f"light {scene.seed}"), width, height)[:, :, None]
    return Image.fromarray(np.clip(np.rint(canvas), 0, 255).astype(np.uint8))


def _rgb(colour: str) -> Pixels:
    return np.array(COLOURS[colour], np.float32) * np.float32(_GAIN) + np.float32(_MARGIN)


def _light(rng: np.random.Generator, width: int, height: int) -> Pixels:
    amplitude = rng.choice([-1.0, 1.0], (_WAVES, _WAVES)) * rng.uniform(0.75, 1.25, (_WAVES, _WAVES)) * _LIGHT
    amplitude[0, 0] = 0.0
    # Sums of products one after the other: a matrix product would differ in its last bits from library to library.
    mixed = np.einsum("yv,vu->uy", _basis(height), amplitude).astype(np.float32)
    light = np.zeros((height, width), np.float32)
    for column, wave in zip(mixed, _basis(width).T.astype(np.float32), strict=True):
        light += np.multiply.outer(column, wave)
    return light


def _basis(length: int) -> npt.NDArray[np.float64]:
    """Return the waves of a DCT-II over `length` samples, shape (length, _WAVES)."""
    return np.cos(np.pi * np.outer(np.arange(length) + 0.5, np.arange(_WAVES)) / length)


# --- where things lie ---


def _layout(scene: Scene, rng: Random, width: int, height: int) -> list[tuple[Group, float, float, float]]:
    """Return (group, centre x, centre y, radius) of every object, in px; objects do not overlap."""
    objects = [(group, _zone(scene, index)) for index, group in enumerate(scene.groups) for _ in range(group.count)]
    side = min(width, height)
    scale = 1.0
    while True:
        placed: list[tuple[Group, float, float, float]] = []
        for group, zone in objects:
            radius = _radius(scene, len(objects), rng) * side * scale
            spot = _free_spot(rng, zone, width, height, radius, placed)
            if spot is None:
                break
            placed.append((group, *spot, radius))
        if len(placed) == len(objects):
            return placed
        scale *= 0.92


def _radius(scene: Scene, num_objects: int, rng: Random) -> float:
    if scene.size == "large":
        return rng.uniform(0.36, 0.42)
    if scene.size == "small":
        return rng.uniform(0.11, 0.14)
    return rng.uniform(0.2, 0.3) if num_objects == 1 else rng.uniform(0.14, 0.21)


_ZONES = {
    "": (0.0, 0.0, 1.0, 1.0),
    "left": (0.0, 0.0, 0.4, 1.0),
    "right": (0.6, 0.0, 1.0, 1.0),
    "top": (0.0, 0.0, 1.0, 0.4),
    "bottom": (0.0, 0.6, 1.0, 1.0),
    "center": (0.4, 0.4, 0.6, 0.6),
}
"""Where an object's centre may lie: left, top, right, bottom as fractions."""

_SIDES = {"above": ("top", "bottom"), "below": ("bottom", "top")}


def _zone(scene: Scene, group_index: int) -> tuple[float, float, float, float]:
    if scene.relation == "beside":
        sides = ("left", "right") if Random(scene.seed).random() < 0.5 else ("right", "left")
        left, _, right, _ = _ZONES[sides[group_index]]
        return left, 0.3, right, 0.7
    if scene.relation:
        return _ZONES[_SIDES[scene.relation][group_index]]
    return _ZONES[scene.position]


def _free_spot(
    rng: Random,
    zone: tuple[float, float, float, float],
    width: int,
    height: int,
    radius: float,
    placed: list[tuple[Group, float, float, float]],
) -> tuple[float, float] | None:
    left, top, right, bottom = zone
    low_x, high_x = max(left * width, radius), min(right * width, width - radius)
    low_y, high_y = max(top * height, radius), min(bottom * height, height - radius)
    if low_x > high_x:
        low_x = high_x = min(max(low_x, radius), width - radius)
    if low_y > high_y:
        low_y = high_y = min(max(low_y, radius), height - radius)
    for _ in range(40):
        x, y = rng.uniform(low_x, high_x), rng.uniform(low_y, high_y)
        if all(math.hypot(x - other_x, y - other_y) > radius + other for _, other_x, other_y, other in placed):
            return x, y
    return None


# --- objects ---


def _paint(canvas: Pixels, group: Group, x: float, y: float, radius: float, rng: Random) -> None:
    side = 2 * math.ceil(radius) + 2
    left, top = round(x - side / 2), round(y - side / 2)
    mask = _mask(group.shape, side, radius, rng)
    colours = _textured(group, side, radius, rng)
    height, width = canvas.shape[:2]
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + side, width), min(top + side, height)
    inside = (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
    alpha = mask[inside][:, :, None]
    region = canvas[y0:y1, x0:x1]
    region += alpha * (colours[inside] - region)


def _mask(shape: str, side: int, radius: float, rng: Random) -> Pixels:
    """Return the coverage of an object's pixels in [0, 1], shape (side, side), rotated as the shape allows."""
    outline, most_turn = _SHAPES[shape]
    turn = math.radians(rng.uniform(-most_turn, most_turn))
    size = side * _SUPERSAMPLING
    image = Image.new("L", (size, size), 0)
    pen = ImageDraw.Draw(image)
    for level, points in enumerate(outline()):
        pen.polygon(_place(points, turn, size, radius * _SUPERSAMPLING), fill=0 if level else 255)
    return np.asarray(image.resize((side, side), Image.Resampling.BOX), np.float32) / np.float32(255)


def _place(points: Outline, turn: float, size: int, radius: float) -> Outline:
    cosine, sine = math.cos(turn) * radius, math.sin(turn) * radius
    return [(size / 2 + x * cosine - y * sine, size / 2 + x * sine + y * cosine) for x, y in points]


def _textured(group: Group, side: int, radius: float, rng: Random) -> Pixels:
    plain = _rgb(group.colour)
    colours = np.empty((side, side, 3), np.float32)
    colours[:] = plain
    if group.texture == "plain":
        return colours
    contrast = np.float32(240.0) if plain.mean() < 110 else np.float32(30.0)
    accent = plain * np.float32(0.25) + contrast * np.float32(0.75)
    row, column = np.mgrid[0:side, 0:side].astype(np.float32)
    period = radius / rng.uniform(1.6, 2.2)
    marked = _PATTERNS[group.texture](row, column, period)
    colours[marked] = accent
    return colours


_PATTERNS: dict[str, Callable[[Pixels, Pixels, float], npt.NDArray[np.bool_]]] = {
    "striped": lambda row, column, period: (row + column) % period < 0.4 * period,
    "dotted": lambda row, column, period: (
        np.hypot(row % period - period / 2, column % period - period / 2) < 0.27 * period
    ),
    "checkered": lambda row, column, period: (row // (period * 0.55) + column // (period * 0.55)) % 2 == 0,
}


def _write_digit(canvas: Pixels, scene: Scene, boxes: list[tuple[Group, float, float, float]], rng: Random) -> None:
    """Write the scene's digit in the corner that is farthest from the objects."""
    height, width = canvas.shape[:2]
    size = max(18, round(0.26 * min(width, height)))
    inset = size * 0.62
    corners = [(inset, inset), (width - inset, inset), (inset, height - inset), (width - inset, height - inset)]
    x, y = max(
        corners, key=lambda corner: min(math.hypot(corner[0] - bx, corner[1] - by) - r for _, bx, by, r in boxes)
    )
    mask = Image.new("L", (width, height), 0)
    ImageDraw.Draw(mask).text((x, y), scene.digit, fill=255, font=ImageFont.load_default(size), anchor="mm")
    alpha = np.asarray(mask, np.float32)[:, :, None] / 255
    dark = _rgb(scene.background).mean() > 120
    ink = np.float32(25.0 if dark else 232.0) + np.float32(rng.uniform(-5, 5))
    canvas += alpha * (ink - canvas)


# --- outlines, in units of the radius, y downwards; the first polygon is filled, later ones are cut out ---


def _ellipse(cx: float = 0.0, cy: float = 0.0, r: float = 1.0, steps: int = 60) -> Outline:
    return [
        (cx + r * math.cos(2 * math.pi * i / steps), cy + r * math.sin(2 * math.pi * i / steps)) for i in range(steps)
    ]


def _regular(corners: int, start: float = -90.0) -> Outline:
    angles = [math.radians(start + 360 * i / corners) for i in range(corners)]
    return [(math.cos(a), math.sin(a)) for a in angles]


def _star() -> Outline:
    angles = [math.radians(-90 + 36 * i) for i in range(10)]
    return [
        ((1.0 if i % 2 == 0 else 0.42) * math.cos(a), (1.0 if i % 2 == 0 else 0.42) * math.sin(a))
        for i, a in enumerate(angles)
    ]


def _heart() -> Outline:
    """The curve x = 16 sin^3 t, y = 13 cos t - 5 cos 2t - 2 cos 3t - cos 4t, scaled into the unit circle."""
    turns = [2 * math.pi * i / 60 for i in range(60)]
    return [
        (
            16 * math.sin(t) ** 3 / 17,
            -(13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)) / 17,
        )
        for t in turns
    ]


def _cross() -> Outline:
    a, b = 0.3, 0.95
    return [(-a, -b), (a, -b), (a, -a), (b, -a), (b, a), (a, a), (a, b), (-a, b), (-a, a), (-b, a), (-b, -a), (-a, -a)]


def _flower() -> Outline:
    turns = [2 * math.pi * i / 90 for i in range(90)]
    return [((0.7 + 0.3 * math.cos(6 * t)) * math.cos(t), (0.7 + 0.3 * math.cos(6 * t)) * math.sin(t)) for t in turns]


_ARROW: Outline = [(-1.0, -0.24), (0.1, -0.24), (0.1, -0.7), (1.0, 0.0), (0.1, 0.7), (0.1, 0.24), (-1.0, 0.24)]
_DIAMOND: Outline = [(0.0, -1.0), (0.6, 0.0), (0.0, 1.0), (-0.6, 0.0)]
_SQUARE: Outline = [(-0.8, -0.8), (0.8, -0.8), (0.8, 0.8), (-0.8, 0.8)]

_SHAPES: dict[str, tuple[Callable[[], list[Outline]], float]] = {
    "circle": (lambda: [_ellipse(r=0.92)], 0),
    "square": (lambda: [_SQUARE], 12),
    "triangle": (lambda: [_regular(3)], 20),
    "star": (lambda: [_star()], 36),
    "heart": (lambda: [_heart()], 20),
    "cross": (lambda: [_cross()], 15),
    "ring": (lambda: [_ellipse(r=0.95), _ellipse(r=0.55)], 0),
    "crescent": (lambda: [_ellipse(r=0.95), _ellipse(cx=0.42, r=0.78)], 40),
    "arrow": (lambda: [_ARROW], 180),
    "diamond": (lambda: [_DIAMOND], 12),
    "hexagon": (lambda: [_regular(6)], 30),
    "flower": (lambda: [_flower()], 30),
}
"""Each shape's polygons, and the most it may be turned, in degrees, and still be that shape."""
