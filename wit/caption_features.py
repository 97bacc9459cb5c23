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
from wit.languages import BEYOND_LATIN, ENGLISH_WORDS, FOREIGN_WORDS
from wit.phrases import NUMBERED, PHRASES
from wit.ragged import frozen, ragged

Flags = npt.NDArray[np.bool_]
I32 = npt.NDArray[np.int32]

_ASCII_LETTER = re.compile("[a-z]", re.IGNORECASE)
_SLOT_WORDS = re.findall("[a-z]+", NUMBERED.pattern)  # the pattern is made of whole words and numbers


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
