"""What is measured of a column of captions: the tables that wit.caption_kernels reads, and the columns it writes."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from wit import caption_kernels as kernels
from wit.captions import DATE_WORDS
from wit.languages import (
    BEYOND_LATIN,
    DENSE_SCRIPTS,
    ENGLISH_WORDS,
    FOREIGN_WORDS,
    MAX_CHARS,
    WRITTEN_IN,
    is_unwanted,
    script_of,
)
from wit.phrases import NUMBERED, PHRASES
from wit.ragged import frozen, ragged

Flags = npt.NDArray[np.bool_]
I32 = npt.NDArray[np.int32]

_ASCII_LETTER = re.compile("[a-z]", re.IGNORECASE)
_SLOT_WORDS = re.findall("[a-z]+", NUMBERED.pattern)  # the pattern is made of whole words and numbers

_SCRIPTS = ("", *sorted({"Latn", *WRITTEN_IN}))
"""Scripts by name, as ties are decided by it; the first: none."""
_NUM_SCRIPT_CODES = 0x40000  # no letter is encoded beyond them


@dataclass(frozen=True)
class Features:
    """The features of captions and of their normal forms: `features[NUM_WORDS]` is a column of wit.caption_kernels."""

    table: I32
    """[rows, NUM_FEATURES]"""
    num_bytes: npt.NDArray[np.int64]
    """Of the normal forms."""

    def __getitem__(self, column: int) -> I32:
        return self.table[:, column]

    def has(self, classes: int) -> Flags:
        """Return whether a character of one of these classes stands in each caption."""
        found: Flags = self.table[:, kernels.CLASSES] & classes != 0
        return found


@dataclass(frozen=True)
class _Lexicon:
    """Words and phrases with their kinds, in a hash table."""

    text: npt.NDArray[np.uint8]
    offsets: npt.NDArray[np.int64]
    kinds: npt.NDArray[np.uint8]
    table: npt.NDArray[np.uint64]
    longest_phrase: int
    """Bytes."""


def measure(captions: pa.Array, forms: pa.Array) -> Features:
    """Return the features of captions and of their normal forms: two arrays of as many texts, without nulls."""
    features = np.empty((len(captions), kernels.NUM_FEATURES), np.int32)
    classes, lexicon = _classes(), _lexicon()
    kernels.measure_captions(*ragged(captions), classes, features)
    text, offsets = ragged(forms)
    slots = np.full((kernels.NUM_SLOTS, 2), kernels.NONE, np.int32)
    kernels.measure_forms(
        text, offsets, classes, lexicon.text, lexicon.offsets, lexicon.kinds, lexicon.table, lexicon.longest_phrase,
        slots, features,
    )  # fmt: skip
    return Features(features, np.diff(offsets))


def measure_scripts(captions: pa.Array, languages: tuple[str, ...]) -> tuple[list[str], npt.NDArray[np.int32]]:
    """Return the commonest of the scripts of each caption that no language is written in, and their share in percent.

    The name (ISO 15924) holds where the share is over 0.
    """
    found, percents = np.empty((2, len(captions)), np.int32)
    weights = np.array([2 if script in DENSE_SCRIPTS else 1 for script in _SCRIPTS], np.uint8)
    unwanted = np.array([script != "" and is_unwanted(script, languages) for script in _SCRIPTS], np.bool_)
    counts = np.empty(len(_SCRIPTS), np.int64)
    kernels.measure_scripts(*ragged(captions), _scripts(), weights, unwanted, MAX_CHARS, counts, found, percents)
    return [_SCRIPTS[script] for script in found.tolist()], percents


@lru_cache(maxsize=1)
def _scripts() -> npt.NDArray[np.uint8]:
    """Return the script of each code point below _NUM_SCRIPT_CODES, by its place in _SCRIPTS; takes 0.1 s."""
    places = {script: place for place, script in enumerate(_SCRIPTS)}
    scripts = (places[script_of(chr(code)) or ""] for code in range(_NUM_SCRIPT_CODES))
    return frozen(np.fromiter(scripts, np.uint8, _NUM_SCRIPT_CODES))


@lru_cache(maxsize=1)
def _lexicon() -> _Lexicon:
    lists = (
        (kernels.ENGLISH, ENGLISH_WORDS),
        (kernels.FOREIGN, FOREIGN_WORDS),
        (kernels.DATE, DATE_WORDS),
        (kernels.SLOT, _SLOT_WORDS),
        (kernels.PHRASE, PHRASES),
    )
    kinds: dict[str, int] = {}
    for kind, words in lists:
        for word in words:
            kinds[word] = kinds.get(word, 0) | kind
    assert len(kinds) < 1 << kernels.NUMBER_BITS
    words = sorted(kinds)
    text, offsets = ragged(pa.array(words, pa.large_string()))
    table = np.full(1 << (2 * len(words)).bit_length(), kernels.FREE, np.uint64)
    kernels.fill_lexicon(text, offsets, table)
    longest = max(len(phrase.encode()) for phrase in PHRASES)
    return _Lexicon(text, offsets, frozen(np.array([kinds[word] for word in words], np.uint8)), frozen(table), longest)


@lru_cache(maxsize=1)
def _classes() -> npt.NDArray[np.uint16]:
    """Return the classes of each code point below NUM_CODE_POINTS; takes 0.1 s."""
    tests: tuple[tuple[int, Callable[[str], object]], ...] = (
        (kernels.LETTER, str.isalpha),
        (kernels.DIGIT, str.isdigit),
        (kernels.SPACE, str.isspace),
        (kernels.BEYOND_LATIN, BEYOND_LATIN.match),
        (kernels.OPENING, "<[{".__contains__),
        (kernels.UNDERSCORE, "_".__contains__),
        (kernels.MARK, ".?%,".__contains__),
        (kernels.ODD_CASE, lambda char: not char.isascii() and _ASCII_LETTER.match(char)),
    )
    characters = list(map(chr, range(kernels.NUM_CODE_POINTS)))
    classes = np.zeros(len(characters), np.uint16)
    for kind, test in tests:
        classes |= np.fromiter(map(bool, map(test, characters)), np.bool_, len(characters)) * np.uint16(kind)
    return frozen(classes)
