"""The one normaliser: idempotent, blind to what surrounds a word, the same on both sides."""

from __future__ import annotations

import pytest
from hypothesis import given

from tests.strategies import captions, words
from wit.text import fold, normalise, tokens


@given(captions)
def test_normalise_is_idempotent(text: str) -> None:
    """A normal form is its own normal form: terms and captions may be normalised any number of times."""
    assert normalise(normalise(text)) == normalise(text)


@given(captions)
def test_tokens_hold_no_white_space_and_join_to_the_normal_form(text: str) -> None:
    """The normal form is its tokens and single spaces, nothing else."""
    found = tokens(text)
    assert all(token and not any(character.isspace() for character in token) for token in found)
    assert normalise(text).split(" ") == (found or [""])


@given(words)
def test_punctuation_around_a_word_changes_nothing(word: str) -> None:
    """What MetaCLIP's rule loses, this one finds: "(dog)", "dog/cat", a no-break space, "St. Louis"."""
    for dressed in (f"({word})", f"{word}/", f"\u00a0{word}\u00a0", f"{word}.", f"“{word}”", f"-{word}-"):
        assert normalise(dressed) == normalise(word)


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("St. Louis", "st louis"),
        ("Washington, D.C.", "washington d c"),
        ("Who?", "who"),
        ("hot-dog", "hot dog"),
        ("the dog's bone", "the dog 's bone"),
        ("the dogs' bones", "the dogs bones"),
        ("Schindler’s List", "schindler 's list"),
        ("don't", "don't"),
        ("five o’clock", "five o'clock"),
        ("'quoted'", "quoted"),
        ("STRASSE Straße", "strasse strasse"),
        ("ﬁne ①", "fine 1"),
        ("e\u0301", "é"),
        ("  \t\u200b ", ""),
        ("日本 東京", "日本 東京"),
    ],
)
def test_pinned_normal_forms(text: str, normal: str) -> None:
    """The written definition of a word, by example."""
    assert normalise(text) == normal


def test_the_ascii_path_agrees_with_the_general_one() -> None:
    """The short cut for ASCII folds exactly as the general path does."""
    text = "".join(map(chr, range(128)))
    assert fold(text) == fold(text + "é")[:-1]
