"""Reading words: of a list of words, the one whose prompt is nearest to the picture of a word (paper, appendix).

Rendered SST2, Hateful Memes, MNIST and SVHN are classification; this is for sets such as IIIT5K, where a picture has
its own list of words ("lexicon") or all pictures share one. A word is right when its letters are, in either case.

Shapes: N pictures, C words, D embedding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trainer.evaluation.protocols.findings import Bools, Finding, Floats, require_rows, share_of, similarities
from trainer.evaluation.tables import read_rows
from wit.errors import InputError

TEMPLATES = ('a photo of the word "{label}".',)
"""Ours: no prompts are published for IIIT5K or SVHN."""


@dataclass(frozen=True)
class Words:
    """Pictures by name, all words in order, each picture's word, and the words that it is chosen from."""

    images: tuple[str, ...]
    words: tuple[str, ...]
    """Case folded, each once."""
    own: tuple[int, ...]
    lexicons: tuple[tuple[int, ...], ...]
    """A picture's choices, with its own word among them."""

    def keep(self, kept: Sequence[int]) -> Words:
        """Return some of the pictures, by number, with all words."""
        return Words(
            tuple(self.images[place] for place in kept),
            self.words,
            tuple(self.own[place] for place in kept),
            tuple(self.lexicons[place] for place in kept),
        )


def read_words(url: str) -> Words:
    """Return the rows of image, word and, if there is one, lexicon (words with | between, or a JSON list).

    Without lexicons a picture's choices are the words of all. Raises InputError where a lexicon lacks its word.
    """
    rows = read_rows(url, ("image", "word"), once="image")
    own = [row.text("word").casefold() for row in rows]
    lists = [tuple(dict.fromkeys(text.casefold() for text in row.texts("lexicon"))) for row in rows]
    for row, word, choices in zip(rows, own, lists, strict=True):
        if choices and word not in choices:
            raise InputError(f"{row.where}: expected {word!r} in its lexicon, found {len(choices)} other words; add it")
    words = sorted({*own, *(word for choices in lists for word in choices)})
    places = {word: place for place, word in enumerate(words)}
    shared = tuple(sorted({places[word] for word in own}))
    lexicons = tuple(tuple(sorted(places[word] for word in choices)) or shared for choices in lists)
    images = tuple(row.text("image") for row in rows)
    return Words(images, tuple(words), tuple(places[word] for word in own), lexicons)


def read_right(image_ND: Floats, word_CD: Floats, words: Words) -> Bools:
    """Return whether the nearest (N,) of each picture's words is its own; of equal ones the first in `words.words`."""
    right = np.zeros(len(image_ND), np.bool_)
    for place, (own, lexicon) in enumerate(zip(words.own, words.lexicons, strict=True)):
        scores = similarities(image_ND[place : place + 1], word_CD[list(lexicon)])[0]
        right[place] = lexicon[int(scores.argmax())] == own
    return right


def measure_words(image_ND: Floats, word_CD: Floats, words: Words, task: str) -> Finding:
    """Return the share of words that are read; raises InputError when embeddings differ in number from `words`."""
    require_rows("pictures of words", len(image_ND), len(words.images))
    require_rows("words", len(word_CD), len(words.words))
    return Finding(
        task,
        "reading",
        "accuracy",
        share_of(read_right(image_ND, word_CD, words)),
        num_classes=len(words.words),
        chance=float(np.mean([1 / len(lexicon) for lexicon in words.lexicons])),
        details={"words_to_choose_from": sorted({len(lexicon) for lexicon in words.lexicons})},
    )
