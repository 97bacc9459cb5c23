"""What must become of each candidate of the miniature web, worked out by the plainest code there is.

The plan says what is wrong with each caption, server and picture, and which pictures show the same; this module plays
the stages in their order on those facts. It shares no code with them but the tokens, the key and the rank, which are
contracts.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import pyarrow as pa

from wit.keys import sample_key, uniform_rank
from wit.sample.model import Block, Candidate
from wit.text import normalise, tokens

TRUTH = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),
        pa.field("key", pa.string(), nullable=False),
        pa.field("url", pa.string(), nullable=False),
        pa.field("caption", pa.string(), nullable=False),
        pa.field("stage", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=True),
    ]
)
"""One row for each candidate of each source; stage `pack` without a reason: it is a sample."""

VIEWS = ("warc", "wat")
"""What a reader sees of a page: all of its HTML, or the links that a WAT lists."""

SOURCES: Mapping[str, tuple[str, bool]] = {
    "warc": ("warc", False),
    "wat": ("wat", False),
    "table": ("warc", False),
    "warc_bodies": ("warc", True),
}
"""Source: (view, whether images come out of the WARC files instead of over HTTP)."""

SALT = "wit"

Fate = tuple[str, str | None]


def candidates(block: Block, view: str) -> dict[str, Candidate]:
    """Return the distinct candidates of a block by key, in the order of the pages."""
    found: dict[str, Candidate] = {}
    for page in block.pages:
        for pair in (*page.pairs, *page.repeats):
            candidate = pair.warc if view == "warc" else pair.wat
            if candidate is not None:
                found.setdefault(sample_key(candidate.url, candidate.caption), candidate)
    return found


def matching_terms(caption: str, terms: Mapping[str, int], longest: int) -> list[int]:
    """Return the ids of the terms that are a run of whole tokens of the caption; `longest` is in tokens."""
    words = tokens(caption)
    runs = {" ".join(words[i:j]) for i in range(len(words)) for j in range(i + 1, min(i + longest, len(words)) + 1)}
    return sorted(terms[run] for run in runs if run in terms)


Matched = list[tuple[int, str, list[int]]]
"""(rank, key, ids of the terms) of candidates."""


def matched(block: Block, view: str, terms: Mapping[str, int], longest: int) -> Matched:
    """Return the candidates of a block that reach the balance stage."""
    rows: Matched = []
    for key, candidate in candidates(block, view).items():
        if candidate.extract_reason or candidate.text_reason:
            continue
        ids = matching_terms(candidate.caption, terms, longest)
        if ids:
            rows.append((uniform_rank(SALT, key), key, ids))
    return rows


class Census:
    """The lowest ranks of each term, no more than `cap`.

    Ranks alone, 8 bytes each: two of a million equal each other with probability (1e6)^2 / 2^64 = 5e-8.
    """

    def __init__(self, cap: int) -> None:
        self._cap = cap
        self._lowest: dict[int, array[int]] = {}

    def add(self, rows: Matched) -> None:
        """Count the candidates of a block."""
        for rank, _, ids in rows:
            for term in ids:
                lowest = self._lowest.setdefault(term, array("q"))
                lowest.append(rank)
                if len(lowest) >= 2 * self._cap:
                    self._lowest[term] = array("q", sorted(lowest)[: self._cap])

    def last_kept(self) -> dict[int, int]:
        """Return the highest rank that each term keeps."""
        return {term: sorted(lowest)[: self._cap][-1] for term, lowest in self._lowest.items()}


@dataclass(frozen=True)
class Judge:
    """Knows what balance needs of all blocks, and judges one block at a time."""

    terms: Mapping[str, int]
    longest: int
    last_kept: Mapping[str, Mapping[int, int]]
    """By view: for each term, the highest rank that it keeps."""

    def fates(self, block: Block, source: str) -> Iterator[tuple[str, Candidate, Fate]]:
        """Yield (key, candidate, (stage, reason)) of every candidate that the source has of a block."""
        view, from_archive = SOURCES[source]
        seen = candidates(block, view)
        last_kept = self.last_kept[view]
        stays = {
            key: any(rank <= last_kept[term] for term in ids)
            for rank, key, ids in matched(block, view, self.terms, self.longest)
        }
        fates: dict[str, Fate] = {}
        survivors: dict[str, Candidate] = {}
        for key, candidate in seen.items():
            fate = _before_fetch(candidate, stays.get(key)) or _of_picture(candidate, from_archive)
            if fate:
                fates[key] = fate
            else:
                survivors[key] = candidate
        fates |= _after_dedup(survivors)
        for key, candidate in seen.items():
            yield key, candidate, fates[key]


def _before_fetch(candidate: Candidate, stays: bool | None) -> Fate | None:
    """`stays`: whether a term keeps the candidate; None when none matches it."""
    if candidate.extract_reason:
        return "extract", candidate.extract_reason
    if candidate.text_reason:
        return "filter_text", candidate.text_reason
    if stays is None:
        return "match", "no_match"
    return None if stays else ("balance", "over_cap")


def _of_picture(candidate: Candidate, from_archive: bool) -> Fate | None:
    if from_archive and not candidate.archived:
        return "fetch", "not_in_archive"
    if candidate.fetch_reason:
        return "fetch", candidate.fetch_reason
    return ("filter_image", candidate.image_reason) if candidate.image_reason else None


def _after_dedup(survivors: Mapping[str, Candidate]) -> dict[str, Fate]:
    """Return the fates of what passed the image filter: of each thing shown, the largest picture goes on."""
    by_scene: dict[str, list[str]] = {}
    for key, candidate in survivors.items():
        by_scene.setdefault(candidate.shows, []).append(key)
    fates: dict[str, Fate] = {}
    for keys in by_scene.values():
        first, *others = sorted(keys, key=lambda key: _survival(key, survivors[key]))
        fates |= dict.fromkeys(others, ("dedup", "near_duplicate"))
        fates[first] = ("overlap", "test_overlap") if survivors[first].planted else ("pack", None)
    return fates


def _survival(key: str, candidate: Candidate) -> tuple[int, int, int, str]:
    """Return what orders near-duplicates, the one that stays first: dedup's rule as the recipe has it."""
    return -candidate.num_pixels, -len(normalise(candidate.caption)), uniform_rank(SALT, key), key


def truth_table(rows: Iterable[tuple[str, str, Candidate, Fate]]) -> pa.Table:
    """Return (source, key, candidate, fate) as a table of TRUTH."""
    columns: dict[str, list[str | None]] = {name: [] for name in TRUTH.names}
    for source, key, candidate, (stage, reason) in rows:
        for name, value in zip(
            TRUTH.names, (source, key, candidate.url, candidate.caption, stage, reason), strict=True
        ):
            columns[name].append(value)
    return pa.table(columns, schema=TRUTH)
