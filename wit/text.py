"""What a word is: one normaliser and one tokeniser for both sides, captions and the terms that are sought in them.

Folding comes first, and is the same wherever a text is cut at a space:

- *Unicode*: NFKC, so that composed and decomposed spellings are one (e and U+0301 are "é"), and compatibility forms
  are what they stand for: "ﬁ" is "fi", full-width "Ａ" is "a", "①" is "1", "½" is "1⁄2", U+00A0 a space. Accents stay.
- *Case*: full case folding, by no language's own rule: "Straße" is "strasse", final "ς" is "σ", "İ" is "i" with
  U+0307. NFKC is applied again after it.
- *Apostrophes*: U+2018, U+2019, U+02B9, U+02BC, U+2032, U+FF07 and the backtick are "'". The spacing acute U+00B4 is
  not, though it is listed below: NFKC makes it a space and a combining acute first.

Then the words are found:

- A *word* is a maximal run of letters, marks and digits (categories L, M and N), in which single apostrophes may
  stand: "don't", "o'clock", "rock'n'roll" are each one word. An apostrophe at either end of a word is no part of it
  ("'quoted'", "dogs'"), nor are two in a row.
- *Possessives*: "'s" that no letter, mark or digit follows is a token of its own (`POSSESSIVE`), also after a space or
  another "'s". So "dog's" holds the word "dog", as "it's" holds "it"; "x's5" is one word.
- *Digits* are letters like any other: "1999", "covid19" and "²" ("2") are words or parts of them; "3.5" is "3" and "5".
- *Everything else separates*: white space, hyphens and dashes, the underscore, punctuation, symbols, emoji, control and
  format characters (the soft hyphen and zero-width joiners too), private use and unassigned code points. "hot-dog",
  "(dog)", "St. Louis", "AT&T" give "hot dog", "dog", "st louis", "at t".
- A script without spaces gives one word from one mark of punctuation to the next. Marks being parts of words, a mark
  that stands alone is one: the variation selector U+FE0F after an emoji.

Categories are those of the installed `regex`, folding is by the Python's own `unicodedata`: a newer version of either
may find words in newly encoded characters. `wit.tokens` does the same for many texts at once, in compiled code.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import Any

POSSESSIVE = "'s"

_APOSTROPHES = dict.fromkeys(map(ord, "\u2019\u2018\u02bc\u02b9\uff07\u2032\u00b4`"), "'")


@lru_cache(maxsize=1)
def _token_pattern() -> Any:
    import regex  # 30 ms to import: kept out of `wit --help`

    word = r"[\p{L}\p{M}\p{N}]"
    return regex.compile(rf"{word}+(?:'(?!s(?!{word})){word}+)*|'s(?!{word})")


def fold(text: str) -> str:
    """Return `text` in NFKC, case-folded, with every apostrophe-like character as "'"."""
    if text.isascii():
        return text.replace("`", "'").lower()
    folded = unicodedata.normalize("NFKC", text).translate(_APOSTROPHES).casefold()
    return unicodedata.normalize("NFKC", folded).translate(_APOSTROPHES)


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
