"""What a picture of the miniature web shows, before it is drawn: objects, colours, counts, positions, digits.

A scene is a pure function of its seed. Some combinations of colour and shape are held out: no picture of the web
shows them, so that a model which names them has composed what it learnt, and zero-shot accuracy is honest.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from wit.sample.lexicon import COLOURS, COUNTS, DIGITS, POSITIONS, SHAPES, TEXTURES

_PALETTE = tuple(COLOURS)


def _held_out() -> frozenset[tuple[str, str]]:
    """Return two shapes of each colour: 22 of the 132 combinations, every shape in one to three of them."""
    steps = ((i, (5 * i + turn) % len(SHAPES)) for i in range(len(_PALETTE)) for turn in (0, 7))
    return frozenset((_PALETTE[i], SHAPES[j]) for i, j in steps)


HELD_OUT = _held_out()
"""(colour, shape) that no picture of the web shows."""

CLASSES = tuple((colour, shape) for colour in _PALETTE for shape in SHAPES if (colour, shape) not in HELD_OUT)
"""(colour, shape) that pictures of the web show."""


@dataclass(frozen=True)
class Group:
    """Like objects: how many, and what."""

    count: int
    colour: str
    shape: str
    texture: str = "plain"


@dataclass(frozen=True)
class Scene:
    """What a picture shows; everything else about it (places, angles, light) is drawn from `seed`."""

    seed: str
    background: str
    groups: tuple[Group, ...]
    relation: str = ""
    """How the first group lies to the second: beside, above, below; empty with one group."""
    position: str = ""
    """Where a lone object lies: one of POSITIONS, or empty when the caption may not say."""
    size: str = ""
    """large or small for a lone object, or empty."""
    digit: str = ""
    """A digit written in a corner, or empty."""


def single_object(seed: str, colour: str, shape: str) -> Scene:
    """Return a scene with one plain object, as the evaluation sets use it."""
    rng = Random(f"single {seed}")
    background = rng.choice([name for name in _PALETTE if name != colour])
    return Scene(seed, background, (Group(1, colour, shape),), size=rng.choice(("", "", "large")))


def random_scene(seed: str) -> Scene:
    """Return the scene of a seed: one to five objects in one or two groups of CLASSES."""
    rng = Random(f"scene {seed}")
    background = rng.choice(_PALETTE)
    groups = _groups(rng, background)
    lone = len(groups) == 1 and groups[0].count == 1
    return Scene(
        seed=seed,
        background=background,
        groups=groups,
        relation=rng.choice(("beside", "above", "below")) if len(groups) == 2 else "",
        position=rng.choice(POSITIONS) if lone and rng.random() < 0.4 else "",
        size=rng.choice(("large", "small")) if lone and rng.random() < 0.4 else "",
        digit=rng.choice(DIGITS) if rng.random() < 0.12 else "",
    )


def _groups(rng: Random, background: str) -> tuple[Group, ...]:
    classes = [named for named in CLASSES if named[0] != background]
    if rng.random() < 0.65:
        colour, shape = rng.choice(classes)
        count = rng.choices(range(1, len(COUNTS) + 1), weights=(12, 3, 2, 1, 1))[0]
        return (Group(count, colour, shape, _texture(rng)),)
    first, second = rng.sample(classes, 2)
    counts = (1, rng.choice((1, 1, 1, 2))) if first[1] != second[1] else (1, 1)
    return tuple(
        Group(count, colour, shape, _texture(rng))
        for count, (colour, shape) in zip(counts, (first, second), strict=True)
    )


def _texture(rng: Random) -> str:
    return rng.choices(TEXTURES, weights=(6, 1, 1, 1))[0]
