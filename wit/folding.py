"""What wit.text.fold does to each code point, as arrays: the tables that wit.token_kernels reads.

fold() removes ignorable code points, and then is apostrophes, NFKC, case folding, NFKC and apostrophes again. All but
NFKC look at one code point at a time; NFKC also looks at neighbours, in two ways only (Unicode Standard Annex #15):
marks are sorted by canonical combining class, and some code points compose with an earlier one. So when the images of
neighbours under both NFKC passes neither compose nor are out of order, the fold of a text is the folds of its code
points, one after the other (the quick check of UAX #15, section 9, with a table of pairs in place of its "maybe");
neighbours are what stands together without the ignorable ones. The tables hold, for each code point, its fold and what
is needed to see that. Whatever is rarer or harder is marked SLOW, and left to wit.text: nothing here is needed for the
result to be right, but that an entry other than SLOW be true.

The tables are made from the Python's own Unicode data, in 0.1 s, once a process.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from wit.text import fold, simplified
from wit.token_kernels import (
    APOSTROPHE,
    BEGINS_BIT,
    COPY,
    EMPTY,
    GROUP_MASK,
    GROUP_SHIFT,
    IS_S_BIT,
    MAP,
    MARK,
    MAX_GROWTH,
    NUM_CODE_POINTS,
    PAYLOAD_SHIFT,
    SEPARATOR,
    SLOW,
    SOFT_SEPARATOR,
)

_BLOCK = 256

_L, _V, _T = range(0x1100, 0x1113), range(0x1161, 0x1176), range(0x11A8, 0x11C3)
_LV = range(0xAC00, 0xD7A4, len(_T) + 1)
"""Hangul, which composes by arithmetic: The Unicode Standard, section 3.12."""


@dataclass(frozen=True)
class FoldTable:
    """The fold of every code point below NUM_CODE_POINTS."""

    entries: npt.NDArray[np.int32]
    """[NUM_CODE_POINTS] class, flag, group and payload."""
    maps: npt.NDArray[np.uint8]
    """UTF-8 of the folds of MAPs, one after the other."""
    map_offsets: npt.NDArray[np.int32]
    """[maps + 1] where each begins."""
    composes: npt.NDArray[np.bool_]
    """[groups, columns] whether a MARK of the column may compose with a last starter of the group."""


@dataclass(frozen=True)
class _Pairs:
    """Which code points compose."""

    columns: dict[int, int]
    """Number of each code point that composes with an earlier one; 0 is kept for those that do not."""
    followers: dict[int, set[int]]
    """The columns that compose with each code point."""
    stems: dict[int, int]
    """What each composite is composed of, without its last part."""


@lru_cache(maxsize=1)
def fold_table() -> FoldTable:
    """Return the tables; takes 0.1 s the first time."""
    characters = list(map(chr, range(NUM_CODE_POINTS)))
    pairs = _pairs(characters)
    return _Builder(characters, pairs).table()


def _pairs(characters: list[str]) -> _Pairs:
    pairs = _Pairs({}, {}, {})
    for composite, decomposition in enumerate(map(unicodedata.decomposition, characters)):
        if " " in decomposition and decomposition[0] != "<":
            first, second = (int(part, 16) for part in decomposition.split())
            if unicodedata.normalize("NFC", chr(first) + chr(second)) == chr(composite):  # else excluded from it
                _add_pairs(pairs, [first], [second])
                pairs.stems[composite] = first
    _add_pairs(pairs, _L, _V)
    _add_pairs(pairs, _LV, _T)
    return pairs


def _add_pairs(pairs: _Pairs, firsts: Iterable[int], seconds: Iterable[int]) -> None:
    columns = {pairs.columns.setdefault(second, len(pairs.columns) + 1) for second in seconds}
    for first in firsts:
        pairs.followers.setdefault(first, set()).update(columns)


def _flags(characters: list[str], categories: str) -> npt.NDArray[np.bool_]:
    """Return which code points are of the categories, by the tables of `regex`, as in wit.text."""
    import regex

    flags = np.zeros(len(characters), np.bool_)
    for match in regex.finditer(f"[{categories}]+", "".join(characters)):
        flags[match.start() : match.end()] = True
    return flags


class _Builder:
    """Fills the tables one code point at a time, for the few that are not words or separators of their own."""

    def __init__(self, characters: list[str], pairs: _Pairs) -> None:
        self._characters = characters
        self._pairs = pairs
        self._begins = _flags(characters, r"\p{L}\p{N}")
        self._is_word = self._begins | _flags(characters, r"\p{M}")
        self._classes = np.fromiter(map(unicodedata.combining, characters), np.uint8, len(characters))
        self._groups: dict[frozenset[int], int] = {frozenset(): 0}
        self._any_mark = frozenset(range(len(pairs.columns) + 1))
        self._maps: list[bytes] = []

    def table(self) -> FoldTable:
        entries = (np.where(self._is_word, COPY, SEPARATOR) | self._begins * BEGINS_BIT).astype(np.int32)
        for code in self._special():
            entries[code] = self._entry(code)
        composes = np.zeros((len(self._groups), len(self._pairs.columns) + 1), np.bool_)
        for columns, group in self._groups.items():
            composes[group, list(columns)] = True
        assert len(self._groups) <= GROUP_MASK
        assert composes.shape[1] <= 0x100
        assert len(self._maps) <= 0xFFFF
        maps = np.frombuffer(b"".join(self._maps), np.uint8)
        return FoldTable(entries, maps, np.cumsum([0, *map(len, self._maps)], dtype=np.int32), composes)

    def _special(self) -> list[int]:
        """Return the code points that fold to something else, are apostrophes, combine or are combined with."""
        pairs = self._pairs
        found = {ord("'"), *np.flatnonzero(self._classes).tolist(), *pairs.columns, *pairs.followers, *pairs.stems}
        for start in range(ord(" "), NUM_CODE_POINTS, _BLOCK):
            block = self._characters[start : start + _BLOCK]
            text = "\n".join(block)  # a line end neither composes nor lets marks pass
            folded = fold(text)
            if folded != text:
                found.update(
                    start + index
                    for index, (old, new) in enumerate(zip(block, folded.split("\n"), strict=True))
                    if old != new
                )
        return sorted(found)

    def _entry(self, code: int) -> int:
        character = self._characters[code]
        folded = fold(character)
        if not folded:
            return EMPTY
        before = unicodedata.normalize("NFKC", simplified(character))  # as the first pass of NFKC leaves it
        group = self._groups.setdefault(self._followers(before) | self._followers(folded), len(self._groups))
        if folded == character and self._interacts(code):
            return self._mark(code, group) if self._is_word[code] else SLOW
        if self._interacts(ord(before[0])) or self._interacts(ord(folded[0])):
            return SLOW
        if folded == "'":
            return APOSTROPHE if group == 0 else SLOW
        if "'" in folded:
            return SLOW
        word = [bool(self._is_word[ord(each)]) for each in folded]
        begins = [bool(self._begins[ord(each)]) for each in folded]
        if not word[0] and not any(begins):
            return (SEPARATOR if group == 0 else SOFT_SEPARATOR) | group << GROUP_SHIFT
        if not all(word) or len(folded.encode()) > MAX_GROWTH * len(character.encode()):
            return SLOW
        payload = 0 if folded == character else self._add_map(folded)
        kind = COPY if folded == character else MAP
        flags = (folded == "s") * IS_S_BIT | begins[0] * BEGINS_BIT
        return kind | flags | group << GROUP_SHIFT | payload << PAYLOAD_SHIFT

    def _interacts(self, code: int) -> bool:
        """Return whether the code point may compose with, or change places with, what stands before it."""
        return bool(self._classes[code]) or self._stem(code) in self._pairs.columns

    def _stem(self, code: int) -> int:
        """Return the first code point of the canonical decomposition."""
        while code in self._pairs.stems:
            code = self._pairs.stems[code]
        return code

    def _followers(self, folded: str) -> frozenset[int]:
        """Return the columns of the marks that may change what the text ends in.

        They compose with the last starter, or with what is left of it without its marks of higher class: H with caron
        and a breve below are h with breve below and a caron, for the breve is sorted before the caron.
        """
        last = ord(folded[-1])
        if self._classes[last]:
            return self._any_mark
        columns = set(self._pairs.followers.get(last, ()))
        while last in self._pairs.stems:
            last = self._pairs.stems[last]
            columns |= self._pairs.followers[last]
        return frozenset(columns)

    def _mark(self, code: int, group: int) -> int:
        column = self._pairs.columns.get(self._stem(code), 0)
        payload = int(self._classes[code]) << 8 | column
        begins = bool(self._begins[code]) * BEGINS_BIT  # vowels and finals of Hangul are letters
        return MARK | begins | group << GROUP_SHIFT | payload << PAYLOAD_SHIFT

    def _add_map(self, folded: str) -> int:
        self._maps.append(folded.encode())
        return len(self._maps) - 1
