"""One normaliser and one tokeniser for both sides: captions, and the terms that are sought in them.

A word is a maximal run of letters, marks and digits (Unicode categories L, M, N) after NFKC and case
folding; apostrophes inside it belong to it ("don't", "o'clock"), and every apostrophe-like character counts as
"'". An English possessive "'s" is a token of its own, so that "dog's" holds the word "dog". Everything else,
hyphens included, separates words: "hot-dog", "(dog)", "St. Louis" give "hot dog", "dog", "st louis".
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
