"""The prose of the miniature encyclopedia: what its articles say, before any markup.

The words follow Zipf's law; the words of captions occur well over a hundred times each; some words and bigrams are
planted with exact counts on either side of a threshold. The expected counts are counted from this prose.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from wit.sample.titles import ARTICLES, NUM_ARTICLES
from wit.sample.vocabulary import Vocabulary, invent_names

Kind = Literal["paragraph", "heading", "item"]


@dataclass(frozen=True)
class Line:
    """One line of prose: a paragraph, a heading or an item of a list."""

    kind: Kind
    text: str


@dataclass(frozen=True)
class Article:
    """An article as its reader sees it."""

    title: str
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class PlantedBigram:
    """Two words that occur together `together` times on a line, and apart as often as is said."""

    first: str
    second: str
    together: int
    first_alone: int
    second_alone: int
    across_lines: int = 0


PLANTED_WORDS = {"lantern": 100, "compass": 100, "harbour": 101, "orchard": 99, "velvet": 99, "anvil": 98}
"""Word: its exact count in the whole encyclopedia; the threshold of the sample is 100."""

PLANTED_BIGRAMS = (
    PlantedBigram("hot", "air", 40, 10, 15),
    PlantedBigram("polar", "bear", 30, 5, 10),
    PlantedBigram("salt", "marsh", 24, 30, 30),
    PlantedBigram("copper", "kettle", 20, 8, 8),  # exactly at the threshold of 20
    PlantedBigram("silver", "birch", 19, 5, 5, across_lines=3),  # below it, unless lines are run together
    PlantedBigram("iron", "gate", 25, 10, 10),  # the same PMI as the next: a tie that the terms must break
    PlantedBigram("linen", "thread", 25, 10, 10),
    PlantedBigram("warm", "valley", 40, 260, 160),  # often, but 40 x 64,000 / (300 x 200) = 43: 5.4 bits, below 6
)

CANARIES = ("orchard", "velvet", "anvil", "silver birch")
"""What stands in all that is not prose: whoever counts it brings these over their thresholds."""

_CAPTION_TEMPLATES = (
    "A {texture} {colour} {shape} is on the {position} of the picture",
    "The drawing shows {count} {colour} {shapes} beside a small {shape}",
    "In this photo a large {colour} {shape} hangs above {count} {shapes}",
    "The {N} of {P} has {count} {texture} {shapes} and a {colour} background",
    "A {colour} {shape} stands near the {N}, below the large digit of the {N}",
    "The {position} wall shows a {texture} {shape} with {colour} {shapes} on a {colour2} background",
    "The number of {colour} {shapes} in the small picture is {count}",
    "A photo of a {texture} {shape}, a drawing of the {colour} {shapes} and the number {digit}",
    "Its {colour} banner, with a {shape} at the {position} and {count} {shapes} below, shows the digit {digit}",
)

_GENERAL_TEMPLATES = (
    "The {J} {N} of {P} was {V} in {year} by the {N} of {X}",
    "{X} {V} the {N} {adverb}, and the {N} {V} a {J} {N}",
    "It was {adverb} {V} near the {J} {N}, where {X} kept a {N}",
    "The {N}'s {N} is {J} and the {N} is {J}",
    "In {year} {X} and {X} {V} a {N} with a {J} {N}",
    "{P} is a {J} {N} in the {N} of {X}",
    "Many a {N} was {V} on the {J} {N}; the {N} of the {N} was {adverb} {V}",
    "The {foreign} of {X} is near a {J} {N}",
)

_HEADING_TEMPLATES = ("History of the {N}", "The {J} {N}", "{N} and {N}", "The {colour} {shape}", "Life in {P}")
_ITEM_TEMPLATES = (
    "the {J} {N}",
    "{X}, a {N}",
    "{count} {colour} {shapes}",
    "a {texture} {shape} ({year})",
    "the {N} of {P}",
)

# None ends with what it plants, so that neighbouring sentences make no bigram of it.
_PLANTED_TEMPLATES = (
    "{planted} was known to the {N} of {X}",
    "The {N} of {P} had {planted} in {year}",
    "In a {J} {N} stood {planted} by {X}",
    "{X} wrote of {planted} in {year}",
)


def _planted_sentences(vocabulary: Vocabulary, rng: random.Random) -> list[str]:
    planted = [word for word, count in PLANTED_WORDS.items() for _ in range(count)]
    for bigram in PLANTED_BIGRAMS:
        planted += [f"{bigram.first} {bigram.second}"] * bigram.together
        planted += [bigram.first] * (bigram.first_alone - bigram.across_lines)
        planted += [bigram.second] * (bigram.second_alone - bigram.across_lines)
    sentences = [vocabulary.fill(rng.choice(_PLANTED_TEMPLATES), planted=words) + "." for words in planted]
    rng.shuffle(sentences)
    return sentences


def _sentences(vocabulary: Vocabulary, rng: random.Random, number: int) -> list[str]:
    def one() -> str:
        templates = _CAPTION_TEMPLATES if rng.random() < 0.45 else _GENERAL_TEMPLATES
        return vocabulary.fill(rng.choice(templates)) + "."

    return [one() for _ in range(number)]


def _lines(title: str, vocabulary: Vocabulary, planted: list[str], rng: random.Random) -> tuple[Line, ...]:
    """Return an article's lines: an introduction and two sections with lists, the planted sentences among them."""
    subject = title.partition(" (")[0]
    paragraphs = [_sentences(vocabulary, rng, rng.choice((4, 5, 6))) for _ in range(3)]
    for sentence in planted:
        paragraph = rng.choice(paragraphs)
        paragraph.insert(rng.randrange(len(paragraph) + 1), sentence)
    introduction = vocabulary.fill("{subject} is a {J} {N} of {P}", subject=subject) + "."
    lines = [Line("paragraph", " ".join([introduction, *paragraphs[0]]))]
    for paragraph in paragraphs[1:]:
        lines.append(Line("heading", vocabulary.fill(rng.choice(_HEADING_TEMPLATES))))
        lines.append(Line("paragraph", " ".join(paragraph)))
        lines += [Line("item", vocabulary.fill(rng.choice(_ITEM_TEMPLATES))) for _ in range(rng.choice((0, 2, 3, 4)))]
    return tuple(lines)


def _across_lines(vocabulary: Vocabulary) -> Iterator[tuple[Line, Line]]:
    """Yield pairs of neighbouring lines that break a planted bigram in two."""
    for bigram in PLANTED_BIGRAMS:
        for _ in range(bigram.across_lines):
            first = Line("paragraph", vocabulary.fill("The {N} was {V} with {planted}", planted=bigram.first))
            yield first, Line("paragraph", vocabulary.fill("{planted} was {V} by {X}.", planted=bigram.second))


def write_prose(seed: int) -> list[Article]:
    """Return the articles of the encyclopedia, the same for the same seed, in the order of their page ids."""
    rng = random.Random(f"prose {seed}")
    vocabulary = Vocabulary(rng)
    planted = _planted_sentences(vocabulary, rng)
    titles = [*ARTICLES, *invent_names(rng, NUM_ARTICLES - len(ARTICLES))]
    rng.shuffle(titles)
    bodies = [
        list(_lines(title, vocabulary, planted[number :: len(titles)], rng)) for number, title in enumerate(titles)
    ]
    for body, pair in zip(bodies, _across_lines(vocabulary), strict=False):
        body += pair
    return [Article(title, tuple(body)) for title, body in zip(titles, bodies, strict=True)]
