"""Which queries a caption matches, and where.

`default`: a query matches when its normal form (wit.text.normalise) is a run of whole tokens of the caption's normal
form. `metaclip`: the published rule of MetaCLIP, to the letter: " " + caption + " " with a space put on both sides of
each of , . ; : ? ! and the backtick, and tab, newline and carriage return as spaces, holds " " + term + " ",
case-sensitively. Source: MetaCLIP's substr_matching.py (Xu et al. 2023, algorithm 1).

Both are one search. A text is cut at single spaces into fields, and a term matches where its fields stand in a row:
" " + term + " " stands in " " + text + " " just where that is so, for fields hold no space, empty ones among them.
Compiled code finds the number of each field and walks a trie of such numbers from every field on.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from wit.matching_kernels import Trie

DEFAULT, METACLIP = "default", "metaclip"
MODES = (DEFAULT, METACLIP)

_MARKS, _SPACES = ",.;:?!`", "\t\n\r"
_SPACED_MARK = re.compile(rf" [{_MARKS}] ")
_NEVER_IN_TEXT = re.compile(rf"[{_MARKS}{_SPACES}]")
_BLOCK = 1024  # fields that are looked up before terms are sought among them
_EDGES_A_HINT = 16  # rows of the table of edges: 4 bits a row, 8 to 16 an edge
_LEAST_ROWS = 1024  # of a table of words: doubled as words come

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]
Integers = npt.NDArray[np.int32]


class Matches(NamedTuple):
    """Matches as three columns, sorted by (row, query_id); a query appears once a row."""

    rows: Integers
    """Index of the caption."""
    query_ids: Integers
    """Index of the term."""
    positions: Integers
    """First token of the first occurrence: in the normal form, or among the fields of `metaclip` that are not empty."""


class Matcher:
    """Finds terms in captions. Terms that cannot match (`unmatchable`) do not; equal normal forms all match."""

    def __init__(self, terms: Any, mode: str = DEFAULT) -> None:
        """Build the trie; `terms` is a sequence of strings or an Arrow array of them."""
        self.num_terms = len(terms)
        self._mode = mode
        text, offsets = _texts(terms, mode)
        if mode == DEFAULT:
            text, offsets = _normal(text, offsets)
        query_ids = np.flatnonzero(np.diff(offsets))  # an empty term would match between any two spaces
        offsets = np.concatenate([offsets[:1], offsets[1:][query_ids]])
        self._trie, self._reach = _trie(_padded(text), offsets, query_ids, self.num_terms)

    def match(self, captions: Any) -> Matches:
        """Return every match of every caption; `captions` is a sequence of strings or an Arrow array of them.

        Memory: that of the captions three times (`metaclip` four), of their matches, and 44 bytes a term. Time is in
        proportion to the captions, and where they repeat the beginning of a long term, to its length.
        """
        from wit.matching_kernels import Scratch, search

        text, offsets = _texts(captions, self._mode)
        text, offsets = (_normal if self._mode == DEFAULT else _spaced)(text, offsets)
        text = _padded(text)
        num_fields = _BLOCK + self._reach
        repeats = np.empty((2, 2 * self.num_terms + 1), np.int64)
        scratch = Scratch(np.empty(num_fields + 1, np.uint64), np.empty(num_fields + 1, np.int64), *repeats)
        found: list[Matches] = []
        row = 0
        while row < len(offsets) - 1:
            columns = np.empty((3, self.num_terms + len(text) // 4), np.int32)
            row, num = search(text, offsets, row, self._trie, self._reach, scratch, *columns)
            found.append(Matches(*columns[:, :num]))
        if len(found) == 1:
            return found[0]
        empty = [np.empty((3, 0), np.int32)]
        return Matches(*np.concatenate([*empty, *(np.stack(matches) for matches in found)], axis=1))


def _texts(strings: Any, mode: str) -> tuple[U8, I64]:
    """Return the UTF-8 of strings, ragged (see wit.ragged).

    A lone surrogate, which UTF-8 has not, separates words just as "?" does; `metaclip` takes it as it is.
    """
    from wit.ragged import joined, ragged

    if not isinstance(strings, Sequence):
        return ragged(strings)
    errors = "replace" if mode == DEFAULT else "surrogatepass"
    return joined([string.encode("utf-8", errors) for string in strings])


def _normal(text: U8, offsets: I64) -> tuple[U8, I64]:
    from wit.tokens import normal_forms

    return normal_forms(text, offsets)


def _spaced(text: U8, offsets: I64) -> tuple[U8, I64]:
    """Return the texts as `metaclip` looks at them, without the space that it puts at both ends."""
    from wit.ragged import frozen
    from wit.spacing_kernels import MAX_SPACED, space_marks

    kinds = np.zeros(256, np.uint8)
    kinds[list(_SPACES.encode())], kinds[list(_MARKS.encode())] = 1, 2
    out = np.empty(MAX_SPACED * int(offsets[-1] - offsets[0]), np.uint8)
    ends = np.empty(len(offsets), np.int64)
    space_marks(frozen(text), frozen(offsets), kinds, out, ends)
    return out[: ends[-1]], ends


def _padded(text: U8) -> U8:
    """Return a copy with PADDING bytes behind it, which kernels may read."""
    from wit.matching_kernels import PADDING

    padded = np.empty(len(text) + PADDING, np.uint8)
    padded[: len(text)] = text
    padded[len(text) :] = 0
    return padded


def _trie(text: U8, offsets: I64, query_ids: I64, num_terms: int) -> tuple[Trie, int]:
    """Return what finds the terms, which are padded, and how many fields follow the first in the longest of them."""
    from wit.matching_kernels import FREE, MAX_NODES, Trie, grow_trie

    num_fields = int(np.count_nonzero(text == ord(" "))) + len(query_ids)  # or more: terms that are left out
    assert num_fields < MAX_NODES - 1  # 2 GB of terms
    numbers, field_ends = np.empty(num_fields, np.int64), np.zeros(len(query_ids) + 1, np.int64)
    words, starts = _numbered(text, offsets, numbers, field_ends)
    num_edges = int(field_ends[-1]) - len(query_ids)
    edges = np.full((_rows_for(num_edges), 2), FREE)
    hints = np.zeros(len(edges) // _EDGES_A_HINT, np.uint64)
    entries = np.arange(len(starts) + num_edges, dtype=np.uint64)
    next_queries = np.full(num_terms, -1, np.int32)
    shifts = _shift(words), _shift(edges), _shift(hints)
    grow_trie(numbers, field_ends, query_ids, len(starts), edges, shifts[1], hints, shifts[2], entries, next_queries)
    for table, is_used in ((words, words[:, 2] != 0), (edges, edges[:, 0] != FREE)):
        table[is_used, -1] = entries[table[is_used, -1]]
    reach = int(np.diff(field_ends).max(initial=1)) - 1
    return Trie(words, edges, hints, *shifts, starts, text, next_queries), reach


def _numbered(text: U8, offsets: I64, numbers: I64, field_ends: I64) -> tuple[npt.NDArray[np.uint64], I64]:
    """Number the fields of the terms; return the table of words, and where each begins in `text`."""
    from wit.matching_kernels import move_words, number_fields

    words = np.zeros((_LEAST_ROWS, 4), np.uint64)
    words[0, 2] = 1  # the empty word, of length 0 and number 0; zeros are sought from row 0 on
    starts = np.zeros(len(numbers) + 1, np.int64)
    term, num_words = 0, 1
    while True:
        term, num_words = number_fields(
            text, offsets, term, num_words, words, _shift(words), starts, numbers, field_ends
        )
        if term == len(offsets) - 1:
            return words, starts[:num_words].copy()
        larger = np.zeros((2 * len(words), 4), np.uint64)
        move_words(words, larger, _shift(larger))
        words = larger


def _rows_for(num: int) -> int:
    """Return a power of two at least twice as large."""
    return 1 << max(5, (2 * num - 1).bit_length())


def _shift(table: npt.NDArray[np.uint64]) -> np.uint64:
    """Return what leaves of 64 bits those that number the rows of a table."""
    return np.uint64(65 - len(table).bit_length())


def unmatchable(terms: Sequence[str], mode: str = DEFAULT) -> list[int]:
    """Return the indices of the terms that no caption can match.

    `default`: those without a token. `metaclip`: those in which a mark of punctuation has no space of its own on
    both sides ("St. Louis", "Who?"), those with a tab or a line break, and the empty term.
    """
    if mode == DEFAULT:
        _, offsets = _normal(*_texts(terms, mode))
        lacking: list[int] = np.flatnonzero(np.diff(offsets) == 0).tolist()
        return lacking
    return [
        index
        for index, term in enumerate(terms)
        if not term or _NEVER_IN_TEXT.search(_SPACED_MARK.sub("", f" {term} "))
    ]
