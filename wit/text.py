"""What a word is: one normaliser and one tokeniser for both sides, captions and the terms that are sought in them.

Folding comes first, and is the same wherever a text is cut at a space. It is toNFKC_Casefold (The Unicode Standard,
section 3.13, R5) and one rule of our own, for apostrophes:

- *Ignorable code points* (Default_Ignorable_Code_Point) go, and what stood around them is together: soft hyphen,
  zero-width space and joiners, variation selectors, fillers, tags. "co\u00adoperate" is "cooperate".
- *Apostrophes*: U+2018, U+2019, U+02B9, U+02BC, U+2032, U+00B4, U+FF07 and the backtick are "'", and so is what is
  canonically equivalent to one of them (U+1FFD, U+0374, U+1FEF) or holds one for compatibility (U+FF40, U+2033, "ŉ").
  Other spacing accents and quotation marks are not.
- *Unicode*: NFKC, so that composed and decomposed spellings are one (e and U+0301 are "é"), and compatibility forms
  are what they stand for: "ﬁ" is "fi", full-width "Ａ" is "a", "①" is "1", "½" is "1⁄2", U+00A0 a space. Accents stay.
- *Case*: full case folding, by no language's own rule: "Straße" is "strasse", final "ς" is "σ", "İ" is "i" with
  U+0307. NFKC is applied again after it.

NFKC comes before case folding, not only after it, so that canonically equivalent spellings fold alike; by R5 alone they
do not. The results differ only where a letter has U+0345, the Greek iota below, and other marks: case folding makes it
a letter, and the marks written after it come to stand on that letter in R5, but here on the one that NFKC puts them on.

Then the words are found:

- A *word* begins with a letter or digit and goes on with letters, digits and marks (categories L, N and M) as far as it
  can. Single apostrophes may stand in it, before a letter or digit: "don't", "o'clock", "rock'n'roll" are each a word.
  An apostrophe at either end of a word is no part of it ("'quoted'", "dogs'"), nor are two in a row.
- *Possessives*: "'s" that no letter, mark or digit follows is a token of its own (`POSSESSIVE`), also after a space or
  another "'s". So "dog's" holds the word "dog", as "it's" holds "it"; "x's5" is one word.
- *Digits* are letters like any other: "1999", "covid19" and "²" ("2") are words or parts of them; "3.5" is "3" and "5".
- *Everything else separates*: white space, hyphens and dashes, the underscore, punctuation, symbols, emoji, control
  characters, private use and unassigned code points, and marks that follow no letter or digit: on a symbol, a space, an
  apostrophe. "hot-dog", "(dog)", "St. Louis", "AT&T" give "hot dog", "dog", "st louis", "at t".
- A script without spaces gives one word from one mark of punctuation to the next.

Categories are those of the installed `regex`, folding is by the Python's own `unicodedata`: a newer version of either
may find words in newly encoded characters. `wit.tokens` does the same for many texts at once, in compiled code.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from itertools import groupby
from typing import Any

POSSESSIVE = "'s"

_IGNORABLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]+"
)
"""Default_Ignorable_Code_Point of DerivedCoreProperties.txt, Unicode 14.0 to 17.0; it holds code points kept for it."""
_APOSTROPHES = re.compile("[\u2019\u2018\u02bc\u02b9\uff07\u2032\u00b4\u1ffd`]")
_LONG_RUN = 32  # marks; sorting them in CPython's normaliser takes time quadratic in their number


@lru_cache(maxsize=1)
def _token_pattern() -> Any:
    import regex  # 30 ms to import: kept out of `wit --help`

    part = r"[\p{L}\p{M}\p{N}]"
    word = rf"[\p{{L}}\p{{N}}]{part}*"
    return regex.compile(rf"{word}(?:'(?!s(?!{part})){word})*|'s(?!{part})")


@lru_cache(maxsize=1)
def _long_runs() -> Any:
    import regex

    # Halfwidth voiced sound marks are letters that decompose to marks; no other letter does.
    return regex.compile(rf"[\p{{M}}\uFF9E\uFF9F]{{{_LONG_RUN},}}+")


def simplified(text: str) -> str:
    """Return `text` without ignorable code points, and with apostrophe-like characters as "'": fold's first step."""
    return _APOSTROPHES.sub("'", _IGNORABLE.sub("", text))


def fold(text: str) -> str:
    """Return `text` without ignorable code points, in NFKC, case-folded, its apostrophe-like characters as "'".

    Idempotent: `fold(fold(x)) == fold(x)`. Takes time in proportion to the text, however many marks are in a row.
    """
    if text.isascii():
        return text.replace("`", "'").lower()
    folded = unicodedata.normalize("NFKC", _with_marks_in_order(simplified(text))).casefold()
    return _APOSTROPHES.sub("'", unicodedata.normalize("NFKC", folded))


def _with_marks_in_order(text: str) -> str:
    """Return a text of the same NFKC, whose long runs of marks are decomposed and sorted by combining class."""
    if len(text) < _LONG_RUN:
        return text
    ordered: str = _long_runs().sub(lambda match: _sorted_marks(match.group()), text)
    return ordered


def _sorted_marks(run: str) -> str:
    marks = "".join(unicodedata.normalize("NFKD", mark) for mark in run)
    parts = groupby(marks, key=lambda mark: unicodedata.combining(mark) > 0)
    return "".join("".join(sorted(part, key=unicodedata.combining) if moves else part) for moves, part in parts)


def tokens(text: str) -> list[str]:
    """Return the tokens of `text` in order: words and possessives, folded."""
    found: list[str] = _token_pattern().findall(fold(text))
    return found


def normalise(text: str) -> str:
    """Return the tokens of `text` joined by single spaces; the empty string when it has none.

    Idempotent: `normalise(normalise(x)) == normalise(x)`. A term matches a caption when its normal form is
    a run of whole tokens of the caption's normal form.
    """
    return " ".join(tokens(text))
