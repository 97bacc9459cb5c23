"""wit.captions.Rules.judge for many captions at once: the same reasons, several times as fast as match needs them.

Kernels measure each caption and its normal form (wit.caption_kernels). From that follows what is too short or too long,
and for each other rule a condition that every caption it rejects must meet; the rule itself is asked only of captions
that meet it. So a condition may let too much through, never too little.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from wit.captions import (
    CAMERAS,
    CODES,
    DATE_WORDS,
    NUMBERED_THINGS,
    NUMBERS,
    REASONS,
    SHORT_CAMERAS,
    TOOLS,
    Rules,
)
from wit.languages import BEYOND_LATIN, ENGLISH_WORDS, FOREIGN_WORDS, MAX_CHARS, MIN_WORDS, foreign_language
from wit.phrases import NUMBERED, PHRASES
from wit.ragged import frozen, ragged

Flags = npt.NDArray[np.bool_]
I32 = npt.NDArray[np.int32]

ORDER = tuple(REASONS)
KEPT = len(ORDER)
"""The code of a caption that stays; others are places in ORDER."""

_MOST_CODES = 4  # with a space after each
_LEAST_RUN = 3  # of one word
_LEAST_COMMAS = 4
_LEAST_KEYWORD = 4  # characters
_LONG_NUMBER, _COUNTER = 8, 3  # digits of an id in one run, and of a camera's name
_SLOT_WORDS = re.findall("[a-z]+", NUMBERED.pattern)  # the pattern is made of whole words and numbers

Conditions = Mapping[str, Callable[["Features"], Flags]]


class Features:
    """What the kernels found: a column by its number."""

    def __init__(self, table: I32, num_bytes: npt.NDArray[np.int64]) -> None:
        self._table = table
        self.num_bytes = num_bytes
        """Of the normal forms."""

    def __getitem__(self, column: int) -> I32:
        return self._table[:, column]

    def has(self, classes: int) -> Flags:
        """Return whether a character of one of these classes stands in each caption."""
        from wit.caption_kernels import CLASSES

        return self._table[:, CLASSES] & classes != 0


class Verdicts(NamedTuple):
    """What is said of the captions of a column."""

    codes: npt.NDArray[np.int8]
    """Place of the reason in ORDER; KEPT: it stays."""
    details: dict[int, str]
    """What was found, of some rows."""
    forms: Any
    """Normal forms, as an Arrow large_string array."""
    num_words: I32


def _may_lack_letters(found: Features) -> Flags:
    from wit.caption_kernels import LETTER

    return ~found.has(LETTER)


def _may_be_camera_name(found: Features) -> Flags:
    from wit.caption_kernels import FIRST_RUN, HASH_BEFORE_DIGIT, IS_ASCII

    is_listed = np.isin(found[HASH_BEFORE_DIGIT], _camera_hashes())
    return (found[FIRST_RUN] >= _COUNTER) & (is_listed | (found[IS_ASCII] == 0))


@lru_cache(maxsize=1)
def _camera_hashes() -> I32:
    return _letters_hashes((*CAMERAS, *SHORT_CAMERAS, *TOOLS))


@lru_cache(maxsize=1)
def _label_hashes() -> I32:
    labels = (thing + number for thing in ("", *NUMBERED_THINGS) for number in ("", *NUMBERS))
    return _letters_hashes((*CODES, *labels))


def _letters_hashes(texts: Iterable[str]) -> I32:
    """Return what the kernel makes of the letters of some ASCII texts."""
    from wit.caption_kernels import HASH_FACTOR, HASH_MASK

    hashes = set()
    for text in texts:
        value = 0
        for letter in filter(str.isalpha, text.lower()):
            value = (value * HASH_FACTOR + ord(letter)) & HASH_MASK
        hashes.add(value)
    return np.array(sorted(hashes), np.int32)


def _may_be_date(found: Features) -> Flags:
    from wit.caption_kernels import NUM_DATES, NUM_NUMBERS, NUM_WORDS

    return (found[NUM_NUMBERS] > 0) & (found[NUM_DATES] + found[NUM_NUMBERS] >= found[NUM_WORDS])


def _may_be_file_name(found: Features) -> Flags:
    from wit.caption_kernels import ENDS_AS_NAME, NUM_SPACES, UNDERSCORE

    return (found[NUM_SPACES] == 0) | found.has(UNDERSCORE) | (found[ENDS_AS_NAME] > 0)


def _may_be_id(found: Features) -> Flags:
    from wit.caption_kernels import DIGITS_AFTER, HASH_BEFORE_SPACE, IS_ASCII, NUM_DIGITS, NUM_SPACES

    is_labelled = np.isin(found[HASH_BEFORE_SPACE], _label_hashes()) | (found[IS_ASCII] == 0)
    are_codes = (found[NUM_DIGITS] >= _LONG_NUMBER) & (found[NUM_SPACES] <= _MOST_CODES)
    return (found[NUM_SPACES] == 0) | (is_labelled & (found[DIGITS_AFTER] > 0)) | are_codes


def _may_have_markup(found: Features) -> Flags:
    from wit.caption_kernels import NUM_FORMATS, OPENING

    return found.has(OPENING) | (found[NUM_FORMATS] > 0)


def _may_be_boilerplate(found: Features) -> Flags:
    from wit.caption_kernels import IS_PHRASE, NUM_NUMBERS, NUM_SLOT_WORDS, NUM_WORDS

    is_numbered = (found[NUM_NUMBERS] > 0) & (found[NUM_SLOT_WORDS] + found[NUM_NUMBERS] >= found[NUM_WORDS])
    return (found[IS_PHRASE] > 0) | is_numbered


def _may_be_repetitive(found: Features) -> Flags:
    """Of a list of search words: one that stands n times is n - 1 words of the normal form that are not distinct.

    Unless it has no letter or digit; and beyond ASCII what is one word or another may hang on more than its form.
    """
    from wit.caption_kernels import (
        IS_ASCII,
        LONGEST_RUN,
        MOST_SYMBOLS,
        NUM_COMMAS,
        NUM_COUNTED,
        NUM_DISTINCT,
        NUM_WORDS,
    )

    repeats = found[NUM_WORDS] - found[NUM_DISTINCT]
    may_repeat = (
        (2 * (repeats + 1) > found[NUM_COMMAS]) | (found[MOST_SYMBOLS] >= _LEAST_KEYWORD) | (found[IS_ASCII] == 0)
    )
    is_list = (found[NUM_COMMAS] >= _LEAST_COMMAS) & may_repeat
    return (2 * found[NUM_DISTINCT] <= found[NUM_COUNTED]) | (found[LONGEST_RUN] >= _LEAST_RUN) | is_list


def _may_be_foreign(found: Features, languages: tuple[str, ...]) -> Flags:
    from wit.caption_kernels import BEYOND_LATIN as BEYOND
    from wit.caption_kernels import NUM_ENGLISH, NUM_FOREIGN, NUM_WORDS, UNSURE

    has_words = found[NUM_WORDS] >= MIN_WORDS
    if "en" in languages:
        has_words &= (found[NUM_FOREIGN] > found[NUM_ENGLISH]) | (found.num_bytes > MAX_CHARS)
    return (has_words | found.has(BEYOND | UNSURE)) & bool(languages)


@dataclass(frozen=True)
class _Lexicon:
    """Words and phrases with their kinds, in a hash table."""

    text: npt.NDArray[np.uint8]
    offsets: npt.NDArray[np.int64]
    kinds: npt.NDArray[np.uint8]
    table: I32
    longest_phrase: int
    """Bytes."""


@lru_cache(maxsize=1)
def _lexicon() -> _Lexicon:
    from wit.caption_kernels import DATE, ENGLISH, FOREIGN, FREE, NUMBER_BITS, PHRASE, SLOT, fill_lexicon

    lists = (
        (ENGLISH, ENGLISH_WORDS),
        (FOREIGN, FOREIGN_WORDS),
        (DATE, DATE_WORDS),
        (SLOT, _SLOT_WORDS),
        (PHRASE, PHRASES),
    )
    kinds: dict[str, int] = {}
    for kind, words in lists:
        for word in words:
            kinds[word] = kinds.get(word, 0) | kind
    text, offsets = ragged(_strings(sorted(kinds)))
    assert len(kinds) < 1 << NUMBER_BITS
    table = np.full(1 << (2 * len(kinds)).bit_length(), FREE, np.uint64)
    fill_lexicon(text, offsets, table)
    longest = max(len(phrase.encode()) for phrase in PHRASES)
    return _Lexicon(text, offsets, frozen(np.array([kinds[word] for word in sorted(kinds)], np.uint8)), table, longest)


def _strings(texts: Iterable[str]) -> Any:
    import pyarrow as pa

    return pa.array(texts, pa.large_string())


@lru_cache(maxsize=1)
def _classes() -> npt.NDArray[np.uint8]:
    """Return the classes of each code point below NUM_CODE_POINTS; takes 60 ms."""
    from wit import caption_kernels as kernels

    tests: list[tuple[int, Callable[[str], object]]] = [
        (kernels.LETTER, str.isalpha), (kernels.DIGIT, str.isdigit), (kernels.SPACE, str.isspace),
        (kernels.BEYOND_LATIN, BEYOND_LATIN.match), (kernels.OPENING, "<[{".__contains__),
        (kernels.UNDERSCORE, "_".__contains__), (kernels.MARK, ".?%,".__contains__),
    ]  # fmt: skip
    characters = list(map(chr, range(kernels.NUM_CODE_POINTS)))
    classes = np.zeros(len(characters), np.uint8)
    for kind, test in tests:
        classes |= np.fromiter(map(bool, map(test, characters)), np.uint8, len(characters)) * np.uint8(kind)
    return frozen(classes)


class Judge:
    """Judges columns of captions by rules; holds nothing that differs from one column to the next."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self._conditions: Conditions = {
            "no_letters": _may_lack_letters,
            "camera_name": _may_be_camera_name,
            "date": _may_be_date,
            "file_name": _may_be_file_name,
            "id": _may_be_id,
            "markup": _may_have_markup,
            "boilerplate": _may_be_boilerplate,
            "repetition": _may_be_repetitive,
            "language": lambda found: _may_be_foreign(found, rules.languages),
        }

    def judge(self, captions: Any) -> Verdicts:
        """Return the verdicts on an Arrow array of captions, without nulls: `rules.judge` of each."""
        from wit.caption_kernels import NUM_WORDS
        from wit.tokens import normal_form_array

        forms = normal_form_array(captions)
        found = measure(captions, forms)
        codes = np.full(len(captions), KEPT, np.int8)
        self._judge_lengths(found, codes)
        details = self._judge_rest(captions, forms, found, codes)
        return Verdicts(codes, details, forms, found[NUM_WORDS])

    def _judge_lengths(self, found: Features, codes: npt.NDArray[np.int8]) -> None:
        from wit.caption_kernels import NUM_CHARS, NUM_WORDS

        rules = self.rules
        is_short = (found[NUM_WORDS] < rules.min_words) | (found[NUM_CHARS] < rules.min_chars)
        for reason, fits in (("too_long", found[NUM_CHARS] > rules.max_chars), ("too_short", is_short)):
            if reason not in rules.skip:
                codes[fits] = ORDER.index(reason)

    def _judge_rest(self, captions: Any, forms: Any, found: Features, codes: npt.NDArray[np.int8]) -> dict[int, str]:
        """Ask the rules whose conditions are met, in their order, and put the first that fits into `codes`."""
        import pyarrow as pa

        pending = np.zeros(len(captions), np.int32)  # a bit a reason
        for reason, condition in self._conditions.items():
            place = ORDER.index(reason)
            if reason not in self.rules.skip:
                pending |= (condition(found) & (codes > place)).astype(np.int32) << place
        rows = np.flatnonzero(pending)
        chosen = pa.array(rows)
        details = {}
        texts = zip(captions.take(chosen).to_pylist(), forms.take(chosen).to_pylist(), strict=True)
        for row, bits, (caption, words) in zip(rows.tolist(), pending[rows].tolist(), texts, strict=True):
            reason, detail = self._first(bits, caption, words)
            if reason is not None:
                codes[row] = ORDER.index(reason)
            if detail is not None:
                details[row] = detail
        return details

    def _first(self, bits: int, caption: str, words: str) -> tuple[str | None, str | None]:
        """Return the first of the reasons in `bits` that fits, and what was found."""
        for place, reason in enumerate(ORDER):
            if bits >> place & 1:
                if reason == "language":
                    language = foreign_language(caption, words, self.rules.languages)
                    return (None, None) if language is None else (reason, language)
                if self.rules.fits(reason, caption, words):
                    return reason, words if reason == "boilerplate" else None
        return None, None


def measure(captions: Any, forms: Any) -> Features:
    """Return the features of captions and of their normal forms, two Arrow arrays of as many texts without nulls."""
    from wit import caption_kernels as kernels

    features = np.empty((len(captions), kernels.NUM_FEATURES), np.int32)
    classes, lexicon = _classes(), _lexicon()
    kernels.measure_captions(*ragged(captions), classes, features)
    text, offsets = ragged(forms)
    slots = np.full(kernels.NUM_SLOTS, kernels.NONE, np.int32)
    kernels.measure_forms(
        text, offsets, classes, lexicon.text, lexicon.offsets, lexicon.kinds, lexicon.table, lexicon.longest_phrase,
        slots, features,
    )  # fmt: skip
    return Features(features, np.diff(offsets))
