"""The texts beside the pictures."""

from __future__ import annotations

import re
from random import Random

import pytest

from wit.sample import captions
from wit.sample.lexicon import NONSENSE
from wit.sample.scenes import random_scene
from wit.text import tokens


def test_descriptions_name_what_is_shown() -> None:
    """Each object's colour and shape are named, and nothing that is not there."""
    for number in range(500):
        scene = random_scene(str(number))
        words = tokens(captions.describe(scene, Random(number)))
        for group in scene.groups:
            assert group.colour in words
            assert any(word.startswith(group.shape) for word in words)
        assert len(words) >= 4


def test_grey_pictures_are_described_without_colours() -> None:
    """A caption of a picture without colours names none of its objects' colours."""
    for number in range(200):
        scene = random_scene(str(number))
        words = set(tokens(captions.describe(scene, Random(number), grey=True)))
        assert not words & {group.colour for group in scene.groups}


_CLEARLY = {
    "too_short": lambda text: len(tokens(text)) < 2 or len(text) < 5,
    "too_long": lambda text: len(text) > 1000,
    "no_letters": lambda text: not any(character.isalpha() for character in text),
    "camera_name": lambda text: re.match(r"(IMG|DSC|screenshot)[-_]", text) and len(tokens(text)) >= 2,
    "date": lambda text: re.search(r"\b(2019|2021|2023)\b", text) and len(tokens(text)) >= 3,
    "id": lambda text: sum(map(str.isdigit, text)) >= 7 and len(tokens(text)) >= 2,
    "file_name": lambda text: re.search(r"\.(jpg|jpeg|gif|webp)$", text) and len(tokens(text)) >= 2,
    "repetition": lambda text: len(set(tokens(text))) <= len(tokens(text)) / 2,
    "markup": lambda text: re.search(r"<[a-z]+[^>]*>", text),
    "language": lambda text: len(tokens(text)) >= 5,
    "boilerplate": lambda text: len(tokens(text)) >= 2,
}


@pytest.mark.parametrize("reason", sorted(_CLEARLY))
def test_faulty_captions_have_their_fault(reason: str) -> None:
    """A caption planted for a reason has it plainly, and is long enough to be judged for it."""
    for index in range(60):
        text = captions.faulty(reason, index, Random(index))
        assert _CLEARLY[reason](text), text
        assert text == " ".join(text.split())


def test_unmatched_captions_hold_nonsense_alone() -> None:
    """Two or three words, none of which any query holds."""
    for number in range(50):
        words = tokens(captions.unmatched(Random(number)))
        assert 2 <= len(words) <= 3
        assert set(words) <= set(NONSENSE)
