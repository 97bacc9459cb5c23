"""What golden_peers.json was made of: weights, pictures and captions that any machine has alike; numpy alone.

benchmarks/foreign_checkpoints_golden.py gives them to others' own code and writes down what it makes of them.
"""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

SIDE_PX = 32
VOCABULARY_SIZE, CONTEXT_LENGTH = 516, 16
MERGES = (("t", "h"), ("r", "e"))
COLOURS = {"blue": (40, 60, 210), "green": (50, 200, 70), "red": (220, 40, 30)}
TEMPLATE = "a {label} thing"
TOKENS = (
    (514, 320, 65, 75, 84, 324, 512, 72, 77, 326, 515),
    (514, 320, 70, 513, 68, 333, 512, 72, 77, 326, 515),
    (514, 320, 513, 323, 512, 72, 77, 326, 515),
)
"""Of the prompts of the colours, start and end marks included."""


def tensor(name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return a weight of a model at random, by its name: gains near 1, the logit scale 2, rows of length near 1."""
    values = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape)
    if not shape:
        return np.array(2, np.float32)
    if len(shape) == 1:
        is_gain = name.endswith("weight")
        return (values * 0.1 + is_gain).astype(np.float32)
    return (values * np.prod(shape[1:]) ** -0.5).astype(np.float32)


def pictures() -> dict[str, NDArray[np.uint8]]:
    """Return [S, S, 3] by path: two of each colour, of the model's size, so that nothing is resized."""
    found = {}
    for name, colour in COLOURS.items():
        for number in range(2):
            rng = np.random.default_rng(zlib.crc32(f"{name} {number}".encode()))
            noise = rng.integers(-30, 31, (SIDE_PX, SIDE_PX, 3))
            found[f"{name}/{number}.png"] = np.clip(noise + colour, 0, 255).astype(np.uint8)
    return found
