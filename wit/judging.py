"""wit.captions.Rules.judge for many captions at once: the same reasons, a million captions a second.

Kernels measure each caption and its normal form (wit.caption_features). From that follows what is too short or too
long, and for each other rule a condition that every caption it rejects meets; the rule itself is asked only of captions
that meet it. So a condition may let too many through, never too few.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from wit.caption_features import I32, Features, Flags, measure, measure_scripts
from wit.caption_kernels import (
    BEYOND_LATIN,
    DIGITS_AFTER,
    ENDS_AS_NAME,
    FIRST_RUN,
    HASH_BEFORE_DIGIT,
    HASH_BEFORE_SPACE,
    HASH_FACTOR,
    HASH_MASK,
    IS_ASCII,
    IS_PHRASE,
    LETTER,
    LONGEST_RUN,
    MOST_ALIKE,
    MOST_GAPS,
    MOST_SYMBOLS,
    NUM_CHARS,
    NUM_COMMAS,
    NUM_COUNTED,
    NUM_DATES,
    NUM_DIGITS,
    NUM_DISTINCT,
    NUM_ENGLISH,
    NUM_FOREIGN,
    NUM_FORMATS,
    NUM_NUMBERS,
    NUM_SLOT_WORDS,
    NUM_SPACES,
    NUM_WORDS,
    ODD_CASE,
    OPENING,
    UNDERSCORE,
    UNSURE,
)
from wit.captions import (
    CAMERAS,
    CODES,
    MAX_ITEM_WORDS,
    NUMBERED_THINGS,
    NUMBERS,
    REASONS,
    RULES,
    SHORT_CAMERAS,
    TOOLS,
    Rules,
)
from wit.languages import MAX_CHARS, MIN_SCRIPT_PERCENT, MIN_WORDS, foreign_by_words
from wit.tokens import normal_form_array

ORDER = tuple(REASONS)
KEPT = len(ORDER)
"""The code of a caption that stays; others are places in ORDER."""

_MOST_CODES = 4  # with a space after each
_LEAST_RUN = 3  # of one word
_LEAST_COMMAS, _LEAST_ALIKE = 4, 3  # of a list of search words
_LEAST_KEYWORD = 4  # characters
_UUID_CHARS = 36  # whose hexadecimal digits may all be letters
_LONG_NUMBER, _COUNTER = 8, 3  # digits of an id in all, and of a camera's name in one run


class Verdicts(NamedTuple):
    """What is said of the captions of a column."""

    codes: npt.NDArray[np.int8]
    """Place of the reason in ORDER; KEPT: it stays."""
    details: dict[int, str]
    """What was found, of some rows."""
    forms: pa.LargeStringArray
    """Normal forms."""
    num_words: I32


class Judge:
    """Judges columns of captions by rules; holds nothing that differs from one column to the next."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules

    def judge(self, captions: pa.Array) -> Verdicts:
        """Return the verdicts on captions, without nulls: `rules.judge` of each."""
        forms = normal_form_array(captions)
        found = measure(captions, forms)
        codes = np.full(len(captions), KEPT, np.int8)
        self._judge_lengths(found, codes)
        details = self._judge_scripts(captions, found, codes)
        self._judge_rest(captions, forms, found, codes, details)
        return Verdicts(codes, details, forms, found[NUM_WORDS])

    def _judge_lengths(self, found: Features, codes: npt.NDArray[np.int8]) -> None:
        rules = self.rules
        is_short = (found[NUM_WORDS] < rules.min_words) | (found[NUM_CHARS] < rules.min_chars)
        for reason, fits in (("too_long", found[NUM_CHARS] > rules.max_chars), ("too_short", is_short)):
            if reason not in rules.skip:
                codes[fits] = ORDER.index(reason)

    def _judge_scripts(self, captions: pa.Array, found: Features, codes: npt.NDArray[np.int8]) -> dict[int, str]:
        """Reject what is written in a foreign script, before any word of it is looked at; return what was found."""
        if "language" in self.rules.skip or not self.rules.languages:
            return {}
        place = ORDER.index("language")
        rows = np.flatnonzero(found.has(BEYOND_LATIN | UNSURE) & (codes > place))
        names, percents = measure_scripts(captions.take(pa.array(rows)), self.rules.languages)
        is_foreign = percents >= MIN_SCRIPT_PERCENT
        codes[rows[is_foreign]] = place
        facts = zip(rows.tolist(), names, percents.tolist(), is_foreign.tolist(), strict=True)
        return {row: f"{name} {percent}" for row, name, percent, foreign in facts if foreign}

    def _judge_rest(
        self, captions: pa.Array, forms: pa.Array, found: Features, codes: npt.NDArray[np.int8], details: dict[int, str]
    ) -> None:
        """Ask the rules whose conditions are met, in their order, and put the first that fits into `codes`."""
        pending = np.zeros(len(captions), np.int32)  # a bit a reason
        for reason, condition in self._conditions().items():
            place = ORDER.index(reason)
            if reason not in self.rules.skip:
                pending |= (condition(found) & (codes > place)).astype(np.int32) << place
        rows = np.flatnonzero(pending)
        chosen = pa.array(rows)
        texts = zip(captions.take(chosen).to_pylist(), forms.take(chosen).to_pylist(), strict=True)
        for row, bits, (caption, words) in zip(rows.tolist(), pending[rows].tolist(), texts, strict=True):
            place, detail = self._first(bits, caption, words)
            if place != KEPT:
                codes[row] = place
                details.pop(row, None)
            if detail is not None:
                details[row] = detail

    def _first(self, bits: int, caption: str, words: str) -> tuple[int, str | None]:
        """Return the place of the first of the reasons in `bits` that fits, and what was found; KEPT: none fits."""
        while bits:
            lowest = bits & -bits
            bits ^= lowest
            place = lowest.bit_length() - 1
            reason = ORDER[place]
            if reason == "language":
                language = foreign_by_words(caption, words, self.rules.languages)
                return (KEPT if language is None else place), language
            if RULES[reason](caption, words):
                return place, words if reason == "boilerplate" else None
        return KEPT, None

    def _conditions(self) -> Mapping[str, Callable[[Features], Flags]]:
        return {**_CONDITIONS, "language": partial(_may_be_foreign, self.rules.languages)}


def _may_lack_letters(found: Features) -> Flags:
    return ~found.has(LETTER)


def _may_be_camera_name(found: Features) -> Flags:
    is_listed = np.isin(found[HASH_BEFORE_DIGIT], _CAMERA_HASHES) | found.has(ODD_CASE)
    return (found[FIRST_RUN] >= _COUNTER) & is_listed


def _may_be_date(found: Features) -> Flags:
    return (found[NUM_NUMBERS] > 0) & (found[NUM_DATES] + found[NUM_NUMBERS] >= found[NUM_WORDS])


def _may_be_id(found: Features) -> Flags:
    is_one = (found[NUM_SPACES] == 0) & ((found[NUM_DIGITS] > 0) | (found[NUM_CHARS] == _UUID_CHARS))
    is_labelled = np.isin(found[HASH_BEFORE_SPACE], _LABEL_HASHES) | found.has(ODD_CASE)
    are_codes = (found[NUM_DIGITS] >= _LONG_NUMBER) & (found[NUM_SPACES] <= _MOST_CODES)
    may_be: Flags = is_one | (is_labelled & (found[DIGITS_AFTER] > 0)) | are_codes
    return may_be


def _may_be_file_name(found: Features) -> Flags:
    may_be: Flags = (found[NUM_SPACES] == 0) | found.has(UNDERSCORE) | (found[ENDS_AS_NAME] > 0)
    return may_be


def _may_have_markup(found: Features) -> Flags:
    return found.has(OPENING) | (found[NUM_FORMATS] > 0)


def _may_be_boilerplate(found: Features) -> Flags:
    is_numbered = (found[NUM_NUMBERS] > 0) & (found[NUM_SLOT_WORDS] + found[NUM_NUMBERS] >= found[NUM_WORDS])
    return (found[IS_PHRASE] > 0) | is_numbered


def _may_be_repetitive(found: Features) -> Flags:
    """Return whether words are repeated enough; a search word in n items is a word of the normal form n times.

    Unless it has neither letter nor digit, or is a possessive; and beyond ASCII what is one word may hang on more.
    """
    most = found[MOST_ALIKE]
    is_list = (most >= _LEAST_ALIKE) & (2 * most > found[NUM_COMMAS])
    is_list |= (
        (found[MOST_SYMBOLS] >= _LEAST_KEYWORD) | (found[IS_ASCII] == 0) | (found[NUM_WORDS] > found[NUM_COUNTED])
    )
    is_list &= (found[NUM_COMMAS] >= _LEAST_COMMAS) & (found[MOST_GAPS] <= MAX_ITEM_WORDS + 1)
    return (2 * found[NUM_DISTINCT] <= found[NUM_COUNTED]) | (found[LONGEST_RUN] >= _LEAST_RUN) | is_list


def _may_be_foreign(languages: tuple[str, ...], found: Features) -> Flags:
    """Return whether the words may be foreign; scripts have been judged."""
    has_words = found[NUM_WORDS] >= MIN_WORDS
    if "en" in languages:
        has_words &= (found[NUM_FOREIGN] > found[NUM_ENGLISH]) | (found.num_bytes > MAX_CHARS)
    return has_words & bool(languages)


_CONDITIONS: Mapping[str, Callable[[Features], Flags]] = {
    "no_letters": _may_lack_letters,
    "camera_name": _may_be_camera_name,
    "date": _may_be_date,
    "id": _may_be_id,
    "file_name": _may_be_file_name,
    "markup": _may_have_markup,
    "boilerplate": _may_be_boilerplate,
    "repetition": _may_be_repetitive,
}


def _letters_hashes(texts: Iterable[str]) -> I32:
    """Return what the kernel makes of the letters of ASCII texts."""
    hashes = set()
    for text in texts:
        value = 0
        for letter in filter(str.isalpha, text.lower()):
            value = (value * HASH_FACTOR + ord(letter)) & HASH_MASK
        hashes.add(value)
    return np.array(sorted(hashes), np.int32)


_CAMERA_HASHES = _letters_hashes((*CAMERAS, *SHORT_CAMERAS, *TOOLS))
_LABEL_HASHES = _letters_hashes(
    (*CODES, *(thing + number for thing in ("", *NUMBERED_THINGS) for number in ("", *NUMBERS)))
)
