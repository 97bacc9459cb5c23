"""What the miniature web's pictures show."""

from __future__ import annotations

from collections import Counter

from wit.sample.lexicon import COLOURS, SHAPES
from wit.sample.scenes import CLASSES, HELD_OUT, random_scene, single_object


def test_held_out_classes_are_never_shown() -> None:
    """At least 20 combinations are held out, every colour and shape is still shown, and no scene holds one of them."""
    assert len(HELD_OUT) >= 20
    assert len(HELD_OUT) + len(CLASSES) == len(COLOURS) * len(SHAPES)
    shown = Counter((group.colour, group.shape) for number in range(5000) for group in random_scene(str(number)).groups)
    assert not set(shown) & HELD_OUT
    assert {colour for colour, _ in shown} == set(COLOURS)
    assert {shape for _, shape in shown} == set(SHAPES)


def test_a_scene_is_a_function_of_its_seed() -> None:
    """The same seed gives the same scene; seeds differ in what they show."""
    assert random_scene("7") == random_scene("7")
    assert len({random_scene(str(number)).groups for number in range(200)}) > 150


def test_objects_differ_from_their_background_and_are_at_most_five() -> None:
    """An object of the background's colour could not be seen, and a caption counts to five."""
    for number in range(1000):
        scene = random_scene(str(number))
        assert all(group.colour != scene.background for group in scene.groups)
        assert 1 <= sum(group.count for group in scene.groups) <= 5


def test_evaluation_scenes_hold_one_object_of_their_class() -> None:
    """An evaluation picture shows one object of the class it stands for."""
    scene = single_object("1", "red", "circle")
    assert [(group.count, group.colour, group.shape) for group in scene.groups] == [(1, "red", "circle")]
    assert scene.background != "red"
