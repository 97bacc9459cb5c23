"""The prose of the miniature encyclopedia: what its articles say, before any markup.

The words follow Zipf's law; the words of captions occur well over a hundred times each; some words and bigrams are
planted with exact counts on either side of a threshold. The expected counts are counted from this prose.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

from wit.sample.lexicon import COLOURS, COUNTS, NONSENSE, PLACES, POSITIONS, SHAPES, TEXTURES
from wit.sample.titles import ARTICLES, NUM_ARTICLES

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

NOUNS = [
    "village",
    "castle",
    "church",
    "bridge",
    "mountain",
    "forest",
    "island",
    "station",
    "market",
    "garden",
    "school",
    "library",
    "museum",
    "tower",
    "palace",
    "temple",
    "theatre",
    "hospital",
    "factory",
    "railway",
    "canal",
    "lake",
    "coast",
    "road",
    "street",
    "field",
    "farm",
    "mill",
    "mine",
    "quarry",
    "hill",
    "cliff",
    "beach",
    "desert",
    "river",
    "town",
    "city",
    "county",
    "province",
    "kingdom",
    "empire",
    "republic",
    "army",
    "navy",
    "war",
    "battle",
    "treaty",
    "law",
    "court",
    "council",
    "parliament",
    "king",
    "queen",
    "prince",
    "bishop",
    "priest",
    "monk",
    "knight",
    "soldier",
    "sailor",
    "merchant",
    "farmer",
    "miner",
    "weaver",
    "potter",
    "painter",
    "sculptor",
    "poet",
    "writer",
    "singer",
    "dancer",
    "actor",
    "composer",
    "architect",
    "engineer",
    "doctor",
    "teacher",
    "student",
    "child",
    "woman",
    "man",
    "family",
    "people",
    "animal",
    "horse",
    "dog",
    "cat",
    "bird",
    "fish",
    "wolf",
    "fox",
    "deer",
    "rabbit",
    "mouse",
    "eagle",
    "owl",
    "swan",
    "goose",
    "duck",
    "hen",
    "sheep",
    "goat",
    "cow",
    "pig",
    "bee",
    "ant",
    "spider",
    "tree",
    "oak",
    "pine",
    "elm",
    "rose",
    "lily",
    "grass",
    "wheat",
    "barley",
    "apple",
    "pear",
    "cherry",
    "grape",
    "bread",
    "cheese",
    "butter",
    "honey",
    "wine",
    "beer",
    "tea",
    "coffee",
    "stone",
    "brick",
    "wood",
    "glass",
    "paper",
    "cloth",
    "silk",
    "wool",
    "leather",
    "gold",
    "coin",
    "crown",
    "sword",
    "shield",
    "arrowhead",
    "bow",
    "drum",
    "flute",
    "violin",
    "organ",
    "bell",
    "book",
    "letter",
    "map",
    "painting",
    "statue",
    "window",
    "door",
    "wall",
    "roof",
    "floor",
    "stair",
    "table",
    "chair",
    "bed",
    "lamp",
    "candle",
    "fire",
    "water",
    "ice",
    "snow",
    "rain",
    "wind",
    "storm",
    "cloud",
    "sun",
    "moon",
    "planet",
    "comet",
    "winter",
    "summer",
    "spring",
    "autumn",
    "morning",
    "evening",
    "night",
    "century",
    "year",
]

ADJECTIVES = [
    "old",
    "new",
    "ancient",
    "modern",
    "early",
    "late",
    "great",
    "little",
    "long",
    "short",
    "high",
    "low",
    "wide",
    "narrow",
    "deep",
    "shallow",
    "young",
    "famous",
    "royal",
    "public",
    "private",
    "common",
    "rare",
    "local",
    "foreign",
    "northern",
    "southern",
    "eastern",
    "western",
    "upper",
    "lower",
    "rich",
    "poor",
    "strong",
    "weak",
    "heavy",
    "light",
    "bright",
    "dark",
    "quiet",
    "loud",
    "cold",
    "dry",
    "wet",
    "fresh",
    "sweet",
    "bitter",
    "wooden",
    "stony",
    "golden",
    "rough",
    "smooth",
    "round",
    "flat",
    "steep",
    "holy",
    "secret",
    "open",
    "closed",
    "busy",
    "empty",
    "full",
    "broken",
    "whole",
    "simple",
    "complex",
    "early-medieval",
    "well-known",
    "twelfth-century",
]

VERBS = [
    "built",
    "founded",
    "visited",
    "described",
    "painted",
    "carved",
    "sold",
    "bought",
    "kept",
    "lost",
    "found",
    "ruled",
    "defended",
    "attacked",
    "burned",
    "rebuilt",
    "opened",
    "closed",
    "crossed",
    "followed",
    "measured",
    "mapped",
    "named",
    "wrote",
    "praised",
    "copied",
    "studied",
    "collected",
    "traded",
    "planted",
    "harvested",
    "moved",
    "carried",
    "guarded",
    "restored",
    "abandoned",
    "surveyed",
    "inherited",
    "crowned",
    "taught",
]

ADVERBS = [
    "often",
    "rarely",
    "later",
    "soon",
    "never",
    "always",
    "slowly",
    "quickly",
    "carefully",
    "twice",
    "again",
    "perhaps",
    "mostly",
    "nearly",
]

FOREIGN = ("café", "naïve", "façade", "Škarnik", "Österby", "piñata", "straße", "o'clock", "don't", "rock-n-roll")

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

_PLANTED_TEMPLATES = (
    "{planted} was known to the {N} of {X}",
    "The {N} of {P} had {planted} in {year}",
    "In a {J} {N} stood {planted}",
    "{X} wrote of {planted}",
)


def plural(noun: str) -> str:
    """Return the regular English plural: star, stars; cross, crosses."""
    return noun + ("es" if noun.endswith(("s", "x", "ch", "sh")) else "s")


class _Vocabulary:
    """Fills the slots of templates: general words by Zipf's law, caption words in turn, so that none is rare."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        turns = {
            "colour": tuple(COLOURS),
            "colour2": tuple(COLOURS),
            "shape": SHAPES,
            "shapes": tuple(map(plural, SHAPES)),
            "count": COUNTS,
            "texture": TEXTURES,
            "position": POSITIONS,
            "digit": tuple("0123456789"),
            "P": PLACES,
            "foreign": FOREIGN,
        }
        self._slots: dict[str, Callable[[], str]] = {name: self._in_turn(words) for name, words in turns.items()}
        names = _names(rng, 1500)
        for name, words in {"N": NOUNS, "J": ADJECTIVES, "V": VERBS, "adverb": ADVERBS, "X": names}.items():
            self._slots[name] = self._zipf(words)
        self._slots["year"] = lambda: str(rng.randrange(1100, 2000))

    def _in_turn(self, words: Sequence[str]) -> Callable[[], str]:
        def cycle() -> Iterator[str]:
            while True:
                yield from self._rng.sample(words, len(words))

        return cycle().__next__

    def _zipf(self, words: Sequence[str]) -> Callable[[], str]:
        ordered = self._rng.sample(words, len(words))
        cumulative = list(accumulate(1 / (rank + 8) for rank in range(len(ordered))))  # Zipf-Mandelbrot
        return lambda: self._rng.choices(ordered, cum_weights=cumulative)[0]

    def fill(self, template: str, **fixed: str) -> str:
        """Return `template` with every slot filled, the first letter a capital."""
        head, *rest = template.split("{")
        text = head
        for piece in rest:
            slot, _, tail = piece.partition("}")
            text += (fixed[slot] if slot in fixed else self._slots[slot]()) + tail
        return text[:1].upper() + text[1:]


def _names(rng: random.Random, number: int) -> list[str]:
    """Return distinct invented surnames, the long tail of the vocabulary."""
    heads = (
        "Bal",
        "Cor",
        "Dren",
        "El",
        "Far",
        "Gor",
        "Hal",
        "Is",
        "Jor",
        "Kel",
        "Lom",
        "Mar",
        "Nor",
        "Os",
        "Pel",
        "Ros",
    )
    middles = ("a", "an", "ar", "e", "el", "en", "i", "in", "o", "or", "u", "und")
    tails = (
        "bert",
        "dale",
        "dric",
        "fast",
        "gard",
        "hart",
        "lin",
        "mond",
        "nus",
        "rick",
        "son",
        "thal",
        "ton",
        "vik",
        "win",
    )
    known = {word.lower() for words in (NOUNS, ADJECTIVES, NONSENSE, PLACES) for word in words}
    names = [head + middle + tail for head in heads for middle in middles for tail in tails]
    return rng.sample([name for name in names if name.lower() not in known], number)


def _planted_sentences(vocabulary: _Vocabulary, rng: random.Random) -> list[str]:
    planted = [word for word, count in PLANTED_WORDS.items() for _ in range(count)]
    for bigram in PLANTED_BIGRAMS:
        planted += [f"{bigram.first} {bigram.second}"] * bigram.together
        planted += [bigram.first] * (bigram.first_alone - bigram.across_lines)
        planted += [bigram.second] * (bigram.second_alone - bigram.across_lines)
    sentences = [vocabulary.fill(rng.choice(_PLANTED_TEMPLATES), planted=words) + "." for words in planted]
    rng.shuffle(sentences)
    return sentences


def _sentences(vocabulary: _Vocabulary, rng: random.Random, number: int) -> list[str]:
    def one() -> str:
        templates = _CAPTION_TEMPLATES if rng.random() < 0.45 else _GENERAL_TEMPLATES
        return vocabulary.fill(rng.choice(templates)) + "."

    return [one() for _ in range(number)]


def _lines(title: str, vocabulary: _Vocabulary, planted: list[str], rng: random.Random) -> tuple[Line, ...]:
    """Return an article's lines: an introduction, then two sections with a list, the planted sentences spread over them."""
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


def _across_lines(vocabulary: _Vocabulary) -> Iterator[tuple[Line, Line]]:
    """Yield pairs of neighbouring lines that break a planted bigram in two."""
    for bigram in PLANTED_BIGRAMS:
        for _ in range(bigram.across_lines):
            first = Line("paragraph", vocabulary.fill("The {N} was {V} with {planted}", planted=bigram.first))
            yield first, Line("paragraph", vocabulary.fill("{planted} was {V} by {X}.", planted=bigram.second))


def write_prose(seed: int) -> list[Article]:
    """Return the articles of the encyclopedia, the same for the same seed, in the order of their page ids."""
    rng = random.Random(f"prose {seed}")
    vocabulary = _Vocabulary(rng)
    planted = _planted_sentences(vocabulary, rng)
    titles = [*ARTICLES, *_names(rng, NUM_ARTICLES - len(ARTICLES))]
    rng.shuffle(titles)
    bodies = [
        list(_lines(title, vocabulary, planted[number :: len(titles)], rng)) for number, title in enumerate(titles)
    ]
    for body, pair in zip(bodies, _across_lines(vocabulary), strict=False):
        body += pair
    return [Article(title, tuple(body)) for title, body in zip(titles, bodies, strict=True)]
