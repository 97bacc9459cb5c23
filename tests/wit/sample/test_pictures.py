"""How scenes are drawn."""

from __future__ import annotations

import imagehash
import numpy as np
import pytest

from wit.sample.lexicon import SHAPES
from wit.sample.pictures import draw
from wit.sample.scenes import Group, Scene, random_scene


def test_hashes_of_a_thousand_scenes_are_far_apart() -> None:
    """No two of 1,000 unrelated pictures have perceptual hashes within 6 bits of each other."""
    pictures = (draw(random_scene(f"apart {number}"), 160, 120) for number in range(1000))
    hashes = np.array([int(str(imagehash.phash(picture)), 16) for picture in pictures], np.uint64)
    nearest = min(int(np.bitwise_count(hashes[i] ^ hashes[i + 1 :]).min()) for i in range(len(hashes) - 1))
    assert nearest > 6


@pytest.mark.parametrize("shape", SHAPES)
def test_an_object_covers_its_share_in_its_colour(shape: str) -> None:
    """A red object on white covers a part of the picture in a colour that is near red, whatever the shape."""
    scene = Scene(f"cover {shape}", "white", (Group(1, "red", shape),), size="large")
    pixels = np.asarray(draw(scene, 200, 200), np.int64)
    red = (pixels[:, :, 0] - pixels[:, :, 1] > 80) & (pixels[:, :, 0] - pixels[:, :, 2] > 80)
    assert 0.08 < red.mean() < 0.6


def test_shapes_can_be_told_apart() -> None:
    """The outlines of any two shapes differ in at least a twentieth of their joint area."""
    masks = {}
    for shape in SHAPES:
        pixels = np.asarray(
            draw(Scene("same", "white", (Group(1, "red", shape),), size="large", position="center"), 96, 96), np.int64
        )
        masks[shape] = pixels[:, :, 0] - pixels[:, :, 1] > 80
    for first in SHAPES:
        for second in SHAPES:
            if first < second:
                joint = masks[first] | masks[second]
                assert (masks[first] ^ masks[second]).sum() > 0.05 * joint.sum(), (first, second)


def test_a_position_is_where_the_caption_says() -> None:
    """The object of a scene with a position lies in that part of the picture."""
    for position, axis, low, high in (
        ("left", 1, 0, 0.5),
        ("right", 1, 0.5, 1),
        ("top", 0, 0, 0.5),
        ("bottom", 0, 0.5, 1),
    ):
        pixels = np.asarray(
            draw(Scene("p", "white", (Group(1, "blue", "circle"),), position=position), 200, 200), np.int64
        )
        where = np.nonzero(pixels[:, :, 2] - pixels[:, :, 0] > 60)
        assert low <= where[axis].mean() / 200 <= high


def test_drawing_is_a_function_of_the_scene() -> None:
    """The same scene at the same size gives the same pixels."""
    assert draw(random_scene("x"), 120, 90).tobytes() == draw(random_scene("x"), 120, 90).tobytes()
