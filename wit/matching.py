"""Which queries a caption matches, and where.

`default`: a query matches when its normal form (wit.text.normalise) is a run of whole tokens of the caption's normal
form. `metaclip`: the published rule of MetaCLIP, to the letter: " " + caption + " " with a space put on both sides of
each of , . ; : ? ! and the backtick, and tab, newline and carriage return as spaces, holds " " + term + " ",
case-sensitively. Source: MetaCLIP's substr_matching.py (Xu et al. 2023, algorithm 1).

Both are one search for space-padded strings by an Aho-Corasick automaton, every overlapping occurrence.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
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
    """Finds terms in captions. Terms that cannot match (`unmatchable`) are left out.

    500,000 terms take about a second and 100 MB; see benchmarks.
    """

    def __init__(self, terms: Sequence[str], mode: str = DEFAULT) -> None:
        self._padded = _padded_caption if mode == DEFAULT else _metaclip_caption
        ids: dict[str, list[int]] = {}
        out = set(unmatchable(terms, mode))
        for query_id, term in enumerate(terms):
            if query_id not in out:
                ids.setdefault(_padded_term(term, mode), []).append(query_id)
        self._ids = list(ids.values())
        self._automaton: Any = ahocorasick_rs.AhoCorasick(list(ids))

    def match(self, captions: Iterable[str]) -> Matches:
        """Return every match of every caption."""
        rows: list[int] = []
        query_ids: list[int] = []
        positions: list[int] = []
        for row, caption in enumerate(captions):
            text = self._padded(caption)
            first: dict[int, int] = {}
            for pattern, start, _ in self._automaton.find_matches_as_indexes(text, overlapping=True):
                first.setdefault(pattern, start)
            found = sorted((query_id, start) for pattern, start in first.items() for query_id in self._ids[pattern])
            rows += [row] * len(found)
            query_ids += [query_id for query_id, _ in found]
            positions += [_num_tokens_before(text, start) for _, start in found]
        return Matches(*(np.array(column, np.int32) for column in (rows, query_ids, positions)))


def _num_tokens_before(text: str, start: int) -> int:
    return len(text[:start].split(" ")) - 1


def _padded_caption(caption: str) -> str:
    return f" {normalise(caption)} "


def _metaclip_caption(caption: str) -> str:
    return f" {caption} ".translate(_SPACED)


def _padded_term(term: str, mode: str) -> str:
    return f" {normalise(term)} " if mode == DEFAULT else f" {term} "


def unmatchable(terms: Sequence[str], mode: str = DEFAULT) -> list[int]:
    """Return the indices of the terms that no caption can match.

    `default`: those without a token. `metaclip`: those in which a mark of punctuation has no space of its own on
    both sides ("St. Louis", "Who?"), those with a tab or a line break, and the empty term.
    """
    if mode == DEFAULT:
        return [index for index, term in enumerate(terms) if not normalise(term)]
    return [
        index
        for index, term in enumerate(terms)
        if not term or _NEVER_IN_TEXT.search(_SPACED_MARK.sub("", f" {term} "))
    ]
