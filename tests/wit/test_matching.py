"""Matching: the same as the naive rule, in both modes, with the first position."""

from __future__ import annotations

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wit.matching import DEFAULT, METACLIP, Matcher, unmatchable
from wit.text import tokens

Found = set[tuple[int, int, int]]

WORDS = (
    "a",
    "red",
    "dog",
    "St.",
    "Louis",
    "'s",
    "dog's",
    "hot-dog",
    "é",
    "ß",
    "12",
    "!",
    ",",
    "Who?",
    "\u00a0",
    "  ",
    "`",
)
PHRASES = st.lists(st.sampled_from(WORDS), max_size=6).map(" ".join) | st.text("ab .,'-\n\u00a0İ1", max_size=12)


def found_by(terms: list[str], captions: list[str], mode: str) -> list[tuple[int, int, int]]:
    return list(zip(*(column.tolist() for column in Matcher(terms, mode).match(captions)), strict=True))


def naive_default(terms: list[str], captions: list[str]) -> Found:
    """A term is a run of whole tokens."""
    found = set()
    for row, caption in enumerate(captions):
        words = tokens(caption)
        for query_id, term in enumerate(terms):
            wanted = tokens(term)
            places = [at for at in range(len(words)) if wanted and words[at : at + len(wanted)] == wanted]
            if places:
                found.add((row, query_id, places[0]))
    return found


def naive_metaclip(terms: list[str], captions: list[str]) -> Found:
    """The published rule, word for word."""
    found = set()
    for row, caption in enumerate(captions):
        text = " " + re.sub(r"([,.;:?!`])", r" \1 ", re.sub(r"[\t\n\r]", " ", caption)) + " "
        for query_id, term in enumerate(terms):
            at = text.find(f" {term} ")
            if term and at >= 0:
                found.add((row, query_id, len([word for word in text[:at].split(" ") if word])))
    return found


@given(st.lists(PHRASES, max_size=12), st.lists(PHRASES, max_size=8))
def test_default_mode_is_the_naive_rule(terms: list[str], captions: list[str]) -> None:
    """A term matches when its tokens are a run of the caption's; sorted by row and query, each once, first position."""
    found = found_by(terms, captions, DEFAULT)
    assert set(found) == naive_default(terms, captions)
    assert found == sorted(found)
    assert len({match[:2] for match in found}) == len(found)


@given(st.lists(PHRASES, max_size=12), st.lists(PHRASES, max_size=8))
def test_metaclip_mode_is_the_published_rule(terms: list[str], captions: list[str]) -> None:
    """Substring search between spaces after the published spacing, to the letter."""
    found = found_by(terms, captions, METACLIP)
    assert set(found) == naive_metaclip(terms, captions)
    assert found == sorted(found)


@given(st.lists(PHRASES, max_size=8), st.lists(PHRASES, max_size=8))
def test_unmatchable_terms_match_nothing(terms: list[str], captions: list[str]) -> None:
    """No caption matches what `unmatchable` names, in either mode."""
    for mode, naive in ((DEFAULT, naive_default), (METACLIP, naive_metaclip)):
        out = set(unmatchable(terms, mode))
        assert not out & {query_id for _, query_id, _ in naive(terms, captions)}


@pytest.mark.parametrize(
    "caption", ["St. Louis at night", "(dog)", "dog's", "dog/cat", "hot\u00a0dog", "hot  dog", "HOT-DOG!"]
)
def test_default_mode_finds_what_the_published_rule_misses(caption: str) -> None:
    """Punctuation, possessives, case and no-break spaces do not hide a term."""
    terms = ["st louis", "dog", "hot dog"]
    assert found_by(terms, [caption], DEFAULT)
    assert not found_by(["St. Louis", "(dog", "hot dog"], [caption], METACLIP)


def test_unmatchable_in_metaclip_mode_are_those_whose_marks_touch_a_word() -> None:
    """Marks get spaces of their own in captions, so a term with a mark that shares its space can never be found."""
    terms = ["St. Louis", "Who?", "a , b", ", .", "a\tb", "", "plain", "a ,  . b"]
    assert [terms[index] for index in unmatchable(terms, METACLIP)] == ["St. Louis", "Who?", ", .", "a\tb", ""]
    assert found_by(terms, ["a,b a,.b"], METACLIP) == [(0, 2, 0), (0, 7, 3)]


def test_many_texts_match_as_few_do() -> None:
    """Compiled code normalises where there are many texts, and changes no match: line ends and lone surrogates too."""
    choose = random.Random(1)
    pieces = [*WORDS, "A\u030a", "\u1e8d\u0323", "\n", "\ud800", "o’clock", "’S"]
    captions = ["".join(choose.choices(pieces, k=choose.randint(0, 6))) for _ in range(5000)]
    terms = [" ".join(choose.choices(pieces, k=choose.randint(1, 2))) for _ in range(3000)]
    few = terms[:1500], terms[1500:]
    assert unmatchable(terms) == unmatchable(few[0]) + [1500 + index for index in unmatchable(few[1])]
    matchers = [Matcher(part) for part in few]
    found = [
        (start + row, 1500 * part + query_id, position)
        for part, matcher in enumerate(matchers)
        for start in range(0, 5000, 500)
        for row, query_id, position in zip(*matcher.match(captions[start : start + 500]), strict=True)
    ]
    assert len(found) > 5000
    assert found_by(terms, captions, DEFAULT) == sorted(found)


def test_many_captions_are_searched_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows and positions do not depend on how many captions are joined for a search."""
    captions = ["a red dog", "", "red red", "no", "dog a red"] * 3
    whole = found_by(["red", "a red", "dog"], captions, DEFAULT)
    monkeypatch.setattr("wit.matching._JOINED_CHARACTERS", 10)
    assert found_by(["red", "a red", "dog"], captions, DEFAULT) == whole
    assert (2, 0, 0) in whole
    assert (14, 1, 1) in whole
