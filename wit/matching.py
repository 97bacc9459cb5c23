"""Which queries a caption matches, and where.

`default`: a query matches when its normal form (wit.text.normalise) is a run of whole tokens of the caption's normal
form. `metaclip`: the published rule of MetaCLIP, to the letter: " " + caption + " " with a space put on both sides of
each of , . ; : ? ! and the backtick, and tab, newline and carriage return as spaces, holds " " + term + " ",
case-sensitively. Source: MetaCLIP's substr_matching.py (Xu et al. 2023, algorithm 1).

Both are one search for space-padded strings by an Aho-Corasick automaton, every overlapping occurrence.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import ahocorasick_rs
import numpy as np
import numpy.typing as npt

from wit.text import normalise

DEFAULT, METACLIP = "default", "metaclip"
MODES = (DEFAULT, METACLIP)

_SPACED = str.maketrans({**{mark: f" {mark} " for mark in ",.;:?!`"}, "\t": " ", "\n": " ", "\r": " "})
_SPACED_MARK = re.compile(r" [,.;:?!`] ")
_NEVER_IN_TEXT = re.compile(r"[,.;:?!`\t\n\r]")

_SEPARATOR = "\n"  # in no padded caption and no term that can match
_JOINED_CHARACTERS = 1_000_000
_MANY_TEXTS = 2_000  # loading takes 0.3 s, once a process, and saves 3 s in a million captions of 60 characters

Integers = npt.NDArray[np.int32]


class Matches(NamedTuple):
    """Matches as three columns, sorted by (row, query_id); a query appears once a row."""

    rows: Integers
    """Index of the caption."""
    query_ids: Integers
    """Index of the term."""
    positions: Integers
    """First token of the first occurrence: in the normal form, or between the spaces of `metaclip`."""


class Matcher:
    """Finds terms in captions. Terms that cannot match (`unmatchable`) are left out; equal normal forms all match."""

    def __init__(self, terms: Any, mode: str = DEFAULT) -> None:
        self._padded = _normal_padded if mode == DEFAULT else _metaclip_padded
        terms = terms if isinstance(terms, list) else terms.to_pylist()
        self.num_terms = len(terms)
        ids: dict[str, list[int]] = {}
        out = set(unmatchable(terms, mode))
        for query_id, term in enumerate(_normal_padded(terms) if mode == DEFAULT else _padded(terms)):
            if query_id not in out:
                ids.setdefault(term, []).append(query_id)
        self._ids = np.array([query_id for group in ids.values() for query_id in group], np.int32)
        self._num_ids = np.array([len(group) for group in ids.values()], np.int64)
        self._first_id = np.cumsum(self._num_ids) - self._num_ids
        self._automaton: Any = ahocorasick_rs.AhoCorasick(list(ids))

    def match(self, captions: Any) -> Matches:
        """Return every match of every caption.

        Captions are searched joined, some at a time: what Python does once a caption costs more than the search.
        """
        captions = captions if isinstance(captions, list) else captions.to_pylist()
        found: list[Matches] = []
        first_row = num_characters = 0
        for row, caption in enumerate(captions):
            num_characters += len(caption)
            if num_characters >= _JOINED_CHARACTERS or row == len(captions) - 1:
                found.append(self._match_joined(self._padded(captions[first_row : row + 1]), first_row))
                first_row, num_characters = row + 1, 0
        if not found:
            return Matches(*(np.empty(0, np.int32) for _ in Matches._fields))
        return Matches(*(np.concatenate(columns) for columns in zip(*found, strict=True)))

    def _match_joined(self, texts: list[str], first_row: int) -> Matches:
        joined = _SEPARATOR.join(texts)
        lengths = np.array([len(text) + 1 for text in texts], np.int64)
        begins = np.cumsum(lengths) - lengths
        hits = np.array(self._automaton.find_matches_as_indexes(joined, overlapping=True), np.int64).reshape(-1, 3)
        patterns, starts = hits[:, 0], hits[:, 1]
        num_ids = self._num_ids[patterns]
        places = np.arange(num_ids.sum()) - np.repeat(np.cumsum(num_ids) - num_ids, num_ids)
        query_ids = self._ids[np.repeat(self._first_id[patterns], num_ids) + places]
        starts = np.repeat(starts, num_ids)
        rows = np.searchsorted(begins, starts, "right") - 1
        order = np.lexsort((starts, query_ids, rows))
        rows, query_ids, starts = rows[order], query_ids[order], starts[order]
        is_first = np.ones(len(rows), np.bool_)
        is_first[1:] = (rows[1:] != rows[:-1]) | (query_ids[1:] != query_ids[:-1])
        rows, query_ids, starts = rows[is_first], query_ids[is_first], starts[is_first]
        num_begun = _num_tokens_begun(joined)
        positions = num_begun[starts] - num_begun[begins[rows]]
        return Matches((rows + first_row).astype(np.int32), query_ids, positions.astype(np.int32))


def _num_tokens_begun(text: str) -> npt.NDArray[np.int64]:
    """Return, for each character, how many runs of non-spaces begin at it or before."""
    characters = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    is_space = (characters == ord(" ")) | (characters == ord(_SEPARATOR))
    begins = ~is_space
    begins[1:] &= is_space[:-1]
    return np.cumsum(begins, dtype=np.int64)


def _padded(texts: Sequence[str]) -> list[str]:
    return [f" {text} " for text in texts]


def _normal_padded(texts: Sequence[str]) -> list[str]:
    return _padded(_normal_forms(texts))


def _metaclip_padded(captions: Sequence[str]) -> list[str]:
    return [caption.translate(_SPACED) for caption in _padded(captions)]


def _normal_forms(texts: Sequence[str]) -> list[str]:
    """Return the normal form of each text, by compiled code where they are many enough to pay for its loading."""
    if len(texts) < _MANY_TEXTS:
        return [normalise(text) for text in texts]
    from wit.tokens import normal_lines

    # A line end and a lone surrogate, which UTF-8 has not, separate words just as a space and "?" do.
    joined = "\n".join(text.replace("\n", " ") for text in texts).encode("utf-8", "replace")
    forms, _ = normal_lines(np.frombuffer(joined, np.uint8), np.array([0, len(joined)], np.int64))
    return forms.tobytes().decode().split("\n")


def unmatchable(terms: Sequence[str], mode: str = DEFAULT) -> list[int]:
    """Return the indices of the terms that no caption can match.

    `default`: those without a token. `metaclip`: those in which a mark of punctuation has no space of its own on
    both sides ("St. Louis", "Who?"), those with a tab or a line break, and the empty term.
    """
    if mode == DEFAULT:
        return [index for index, form in enumerate(_normal_forms(terms)) if not form]
    return [
        index
        for index, term in enumerate(terms)
        if not term or _NEVER_IN_TEXT.search(_SPACED_MARK.sub("", f" {term} "))
    ]
