"""What the links' passes need to know of Unicode: the case of the names of namespaces, and what is a letter."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from functools import lru_cache
from itertools import product
from typing import NamedTuple

import numpy as np

from queries.wikitext.kernel import I64, U8


class Prefixes(NamedTuple):
    """The prefixes of links that vanish, compiled: sorted names and what folds the case of a prefix to theirs."""

    names: U8
    name_offsets: I64
    capitals: I64
    """Code points, sorted, whose lower case the names hold; without ASCII."""
    small: U8
    """The lower case of each capital, 4 bytes each, filled with zeros."""


def compile_prefixes(names: Iterable[str]) -> Prefixes:
    """Return the prefixes whose `str.lower()`, with spaces for underscores, is one of the names.

    The lower case of a code point does not depend on its neighbours, but for that of the Greek sigma: a name with
    sigmas stands for its spellings with some of them capital (with more than 6 of them, for those with none or all).
    """
    names = list(names)
    spelled = sorted({spelling.encode() for name in names for spelling in _spellings(name)})
    letters = set("".join(names))
    capitals = [c for c in _capitals() if c != "Σ" and letters & set(c.lower())]
    return Prefixes(
        np.frombuffer(b"".join(spelled), np.uint8).copy(),
        np.cumsum([0, *map(len, spelled)]),
        np.array([ord(c) for c in capitals], np.int64),
        np.frombuffer(b"".join(c.lower().encode().ljust(4, b"\0") for c in capitals), np.uint8).copy(),
    )


@lru_cache(maxsize=1)
def _capitals() -> tuple[str, ...]:
    return tuple(c for c in map(chr, range(128, sys.maxunicode + 1)) if c.lower() != c)


def _spellings(name: str) -> set[str]:
    """Return what has the lower case `name` when all but sigmas is in lower case."""
    sigmas = sum(letter in "σς" for letter in name)
    choices = [(letter, "Σ") if letter in "σς" and sigmas <= 6 else (letter,) for letter in name]
    spelled = {"".join(letters) for letters in product(*choices)} | {name.replace("σ", "Σ").replace("ς", "Σ")}
    return {spelling for spelling in spelled if spelling.lower() == name}


def alphabetic() -> U8:
    """Return for each code point a bit that says whether it is a letter, as `str.isalpha()` sees it."""
    points = np.arange(0x110000, dtype=np.uint32).view("<U1")
    return np.packbits(np.strings.isalpha(points))
