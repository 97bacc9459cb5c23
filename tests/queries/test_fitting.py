"""Fitted thresholds: the list holds exactly its limit whenever there are candidates for it, by a written rule."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from queries.fitting import FIT, NAMES, PROPORTIONS, Thresholds
from tests.queries.candidates import NaiveUnion, Rows, bigram, naive_fit, rows, synsets, title, word
from tests.queries.test_union import ANY, reached, united

FITTED = st.lists(st.sampled_from(["word", "bigram", "title"]), min_size=1, unique=True).map(
    lambda fitted: [source for source in PROPORTIONS if source in fitted]
)
VALUES = {"word": "count", "bigram": "pmi", "title": "views"}


def fit(thresholds: Thresholds, sources: list[str]) -> Thresholds:
    """Return thresholds with those of some sources to be fitted."""
    return replace(thresholds, **dict.fromkeys((NAMES[source] for source in sources), FIT))


@settings(max_examples=25, deadline=None)
@given(rows(), FITTED, st.integers(1, 30))
def test_equals_the_rule_tried_prefix_by_prefix(found: Rows, fitted: list[str], limit: int) -> None:
    """The list, and the thresholds told, are those of a search that takes one candidate more at a time."""
    listed, facts = united(found, replace(fit(ANY, fitted), limit=limit))
    given_rows = replace(found, **{f"{source}s": [] for source in fitted})
    admitted = naive_fit(given_rows, found, fitted, limit)
    assert listed == NaiveUnion().add(admitted).rows(limit)
    for source in fitted:
        taken = getattr(admitted, f"{source}s")
        rest = getattr(found, f"{source}s")[len(taken) :]
        value = taken[-1][VALUES[source]] if taken else None
        told = facts.thresholds[NAMES[source]]
        assert (told["value"], told["fitted"]) == (value, True)
        assert told["ties_cut"] == sum(row[VALUES[source]] == value for row in rest)


@settings(max_examples=15, deadline=None)
@given(rows(), FITTED, st.integers(1, 30))
def test_the_limit_is_hit_exactly_when_it_can_be(found: Rows, fitted: list[str], limit: int) -> None:
    """With candidates enough for it the list holds exactly its limit; else it holds all, and every fit is exhausted."""
    listed, facts = united(found, replace(fit(ANY, fitted), limit=limit))
    possible = len(NaiveUnion().add(reached(found, ANY)).terms)
    assert len(listed) == min(limit, possible)
    if possible < limit:
        assert all(facts.thresholds[NAMES[source]]["exhausted"] for source in fitted)
    if len(NaiveUnion().add(replace(found, **{f"{source}s": [] for source in fitted})).terms) <= limit:
        assert facts.num_over_limit == 0
        assert {term for row in found.synsets if (term := row["term"])} <= {row["term"] for row in listed}


@settings(max_examples=10, deadline=None)
@given(rows(), st.sampled_from(["word", "bigram", "title"]), st.integers(1, 20), st.integers(1, 20))
def test_more_room_admits_more(found: Rows, source: str, limit: int, more: int) -> None:
    """One fitted source: a higher limit keeps every term, and its threshold does not rise."""
    lower, lower_facts = united(found, replace(fit(ANY, [source]), limit=limit))
    higher, higher_facts = united(found, replace(fit(ANY, [source]), limit=limit + more))
    given_alone = len(NaiveUnion().add(replace(found, **{f"{source}s": []})).terms)
    if given_alone <= limit:
        assert {row["term"] for row in lower} <= {row["term"] for row in higher}
    values = [facts.thresholds[NAMES[source]]["value"] for facts in (higher_facts, lower_facts)]
    assert values[1] is None or values[0] <= values[1]


@settings(max_examples=10, deadline=None)
@given(rows(), st.sampled_from(["word", "bigram", "title"]), st.integers(1, 20))
def test_a_fitted_threshold_given_admits_the_ties_too(found: Rows, source: str, limit: int) -> None:
    """The fitted value given as a threshold admits what the fit did and its ties, which the fit says it cut."""
    _, fitted = united(found, replace(fit(ANY, [source]), limit=limit))
    told = fitted.thresholds[NAMES[source]]
    if told["value"] is None:
        return
    _, given_facts = united(found, replace(ANY, **{NAMES[source]: told["value"]}, limit=limit))
    candidates = [facts.by_source[source]["candidates"] for facts in (fitted, given_facts)]
    assert candidates[1] == candidates[0] + told["ties_cut"]


def _plenty(num: int) -> Rows:
    return Rows(
        [word(f"w{number:05}", num - number) for number in range(num)],
        [bigram(f"a b{number:05}", 100, 10.0) for number in range(num)],
        [title(f"T{number:05}", num - number) for number in range(num)],
        synsets("eel", "w00000"),
    )


def test_several_share_the_room_as_metaclip_did() -> None:
    """With enough candidates, the terms of three fitted sources are in the published proportions, and ties are told."""
    _, facts = united(_plenty(3000), replace(fit(ANY, list(PROPORTIONS)), limit=4000))
    room = 4000 - 2
    shares = {source: room * size / sum(PROPORTIONS.values()) for source, size in PROPORTIONS.items()}
    new = {source: facts.by_source[source]["candidates"] for source in PROPORTIONS}
    assert new["word"] == int(shares["word"]) + 1  # "w00000" is a synset: it adds no term
    assert new["bigram"] == pytest.approx(shares["bigram"], abs=1)
    assert new["title"] == pytest.approx(shares["title"], abs=2)
    assert facts.num_terms == 4000
    assert facts.thresholds["min_pmi"] == {
        "value": 10.0, "fitted": True, "ties_cut": 3000 - new["bigram"], "exhausted": False
    }  # fmt: skip


def test_what_one_cannot_fill_goes_to_the_others() -> None:
    """A source that is too short for its share is exhausted; the earlier one takes what is left."""
    found = replace(_plenty(1000), titles=[title("T", 5)])
    listed, facts = united(found, replace(fit(ANY, ["word", "title"]), min_pmi=99.0, limit=800))
    assert len(listed) == 800
    assert facts.by_source["title"]["candidates"] == 1
    assert facts.thresholds["min_views"] == {"value": 5, "fitted": True, "ties_cut": 0, "exhausted": True}
    assert not facts.thresholds["min_word_count"]["exhausted"]


def test_no_room_leaves_the_fitted_sources_out() -> None:
    """When what is given fills the limit alone, nothing of a fitted source is admitted, and its threshold is None."""
    listed, facts = united(_plenty(10), replace(fit(ANY, ["title"]), limit=12))
    assert [row["query_id"] for row in listed] == list(range(12))
    assert facts.thresholds["min_views"] == {"value": None, "fitted": True, "ties_cut": 0, "exhausted": False}
    assert facts.num_over_limit == 10 + 10 + 1 - 12
    assert facts.by_source["title"]["candidates"] == 0
    assert [row["title"] for row in facts.margins["title"]["below"]][:2] == ["T00000", "T00001"]
