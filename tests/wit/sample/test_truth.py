"""What must become of each candidate."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from wit.keys import sample_key, uniform_rank
from wit.sample.model import Block, Candidate, Page, Pair
from wit.sample.truth import SALT, SOURCES, Census, Judge, matched, matching_terms

OPT_OUTS = {f"opted_out_{said}" for said in ("noai", "noimageai", "noindex", "noimageindex", "none", "noml", "tdm")}
REASONS = {
    "extract": {"empty_caption", "bad_url", "malformed_record", "unreadable_archive"},
    "filter_text": {
        "too_short", "too_long", "no_letters", "camera_name", "date", "id", "file_name", "repetition", "boilerplate",
        "markup", "language",
    },
    "match": {"no_match"},
    "balance": {"over_cap"},
    "fetch": {
        "unsupported_url", "robots_disallowed", *OPT_OUTS, "private_address", "connection_error", "timeout",
        "too_many_redirects", "http_status", "rate_limited", "too_large", "truncated_body", "not_image",
        "corrupt_image", "too_many_pixels",
    },
    "filter_image": {"too_small", "extreme_aspect", "low_entropy", "animated"},
    "dedup": {"near_duplicate"},
    "overlap": {"test_overlap"},
    "pack": {None},
}  # fmt: skip
"""dns_error cannot arise where one address stands for all names, nor pack/over_cap without oversampling."""


@pytest.mark.parametrize("source", ["warc", "wat"])
def test_every_reason_happens_a_few_times(miniature_web: Path, source: str) -> None:
    """Of a thousand pairs, every stage rejects some for every reason it has.

    Two at least; one for a file that breaks off, and for each way to opt out.
    """
    rows = pq.read_table(miniature_web / "truth.parquet").to_pylist()
    counts = Counter((row["stage"], row["reason"]) for row in rows if row["source"] == source)
    assert set(counts) == {(stage, reason) for stage, reasons in REASONS.items() for reason in reasons}
    assert all(count >= 2 for (_, reason), count in counts.items() if reason not in OPT_OUTS | {"unreadable_archive"})


def test_bodies_out_of_archives_fail_in_their_own_ways(miniature_web: Path) -> None:
    """Without a network nothing times out; what no crawler could get is not in the archive."""
    rows = pq.read_table(miniature_web / "truth.parquet").to_pylist()
    reasons = {row["reason"] for row in rows if row["source"] == "warc_bodies" and row["stage"] == "fetch"}
    assert reasons == {"not_in_archive", *OPT_OUTS, "not_image", "corrupt_image", "too_many_pixels"}


def test_each_candidate_has_one_fate(miniature_web: Path) -> None:
    """No key occurs twice for a source, and keys are those of their URL and caption."""
    rows = [row for row in pq.read_table(miniature_web / "truth.parquet").to_pylist() if row["url"]]
    assert len({(row["source"], row["key"]) for row in rows}) == len(rows)
    assert all(row["key"] == sample_key(row["url"], row["caption"]) for row in rows)
    assert {row["source"] for row in rows} == set(SOURCES)


def test_most_candidates_survive(miniature_web: Path) -> None:
    """More than half of the WARC's candidates are packed; between 5 and 15 % are over the cap."""
    rows = [row for row in pq.read_table(miniature_web / "truth.parquet").to_pylist() if row["source"] == "warc"]
    stages = Counter(row["stage"] for row in rows)
    assert stages["pack"] / len(rows) > 0.55
    assert 0.05 < stages["balance"] / len(rows) < 0.15


TERMS = {"red": 0, "red circle": 1, "blue ring on": 2, "a": 3}


def test_terms_match_whole_tokens_in_a_row() -> None:
    """Case and punctuation do not matter; parts of words and gaps do."""
    assert matching_terms("A RED-circle", TERMS, 3) == [0, 1, 3]
    assert matching_terms("redder circles (red: circle)", TERMS, 3) == [0, 1]
    assert matching_terms("blue ring, on", TERMS, 3) == [2]
    assert matching_terms("blue ring on", TERMS, 2) == []


def test_a_census_keeps_the_lowest() -> None:
    """The last kept of a term is the cap-th lowest rank, however the rows are split."""
    rows = [(uniform_rank(SALT, str(number)), str(number), [number % 3]) for number in range(1000)]
    census = Census(7)
    for start in range(0, 1000, 10):
        census.add(rows[start : start + 10])
    expected = {term: sorted(rank for rank, _, ids in rows if ids == [term])[6] for term in range(3)}
    assert census.last_kept() == expected


def _block(candidates: list[Candidate]) -> Block:
    pairs = tuple(Pair(index, "good", "img", candidate, candidate) for index, candidate in enumerate(candidates))
    return Block(0, (Page("http://h.test/p", "utf-8", "", pairs),))


def _fates(candidates: list[Candidate], cap: int = 100, source: str = "warc") -> list[tuple[str, str | None]]:
    block = _block(candidates)
    census = Census(cap)
    census.add(matched(block, "warc", TERMS, 3))
    judge = Judge(TERMS, 3, {"warc": census.last_kept()})
    return [fate for _, _, fate in judge.fates(block, source)]


def test_the_first_stage_that_objects_decides() -> None:
    """A candidate with several faults is rejected by the earliest stage."""
    faults = Candidate("u", "red", "bad_url", "too_short", "timeout", "animated")
    assert _fates([faults]) == [("extract", "bad_url")]
    assert _fates([Candidate("u", "red", "", "too_short", "timeout", "animated")]) == [("filter_text", "too_short")]
    assert _fates([Candidate("u", "green", "", "", "timeout", "animated")]) == [("match", "no_match")]
    assert _fates([Candidate("u", "red", "", "", "timeout", "animated")]) == [("fetch", "timeout")]
    assert _fates([Candidate("u", "red", image_reason="animated")]) == [("filter_image", "animated")]
    assert _fates([Candidate("u", "red", archived=False)], source="warc_bodies") == [("fetch", "not_in_archive")]


def test_the_largest_of_what_shows_the_same_goes_on() -> None:
    """Among near-duplicates the most pixels win, then the lowest rank; what never arrived does not count."""
    small, large = Candidate("s", "red", shows="x", num_pixels=10), Candidate("l", "red", shows="x", num_pixels=20)
    lost = Candidate("b", "red", shows="x", num_pixels=30, fetch_reason="timeout")
    assert _fates([small, large, lost]) == [("dedup", "near_duplicate"), ("pack", None), ("fetch", "timeout")]
    equals = [Candidate(str(number), "red", shows="x", num_pixels=10) for number in range(5)]
    lowest = min(range(5), key=lambda number: uniform_rank(SALT, sample_key(str(number), "red")))
    assert [number for number, (stage, _) in enumerate(_fates(equals)) if stage == "pack"] == [lowest]


def test_the_cap_keeps_a_pair_while_any_term_does() -> None:
    """With a cap of 1, one pair a term stays, and a pair that another term keeps stays too."""
    pairs = [Candidate(str(number), "red", shows=str(number)) for number in range(6)]
    rare = Candidate("rare", "a red circle", shows="rare")
    fates = _fates([*pairs, rare], cap=1)
    assert fates[-1] == ("pack", None)
    assert Counter(fates[:-1])[("balance", "over_cap")] >= 5


def test_planted_pictures_overlap() -> None:
    """A survivor of which an evaluation set has a copy is rejected by overlap."""
    assert _fates([Candidate("u", "red", shows="x", planted=True)]) == [("overlap", "test_overlap")]
