"""Matching: the same as the naive rule, in both modes, with the first position."""

from __future__ import annotations

import random
import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import real_data
from wit.errors import ContractError
from wit.matching import DEFAULT, METACLIP, MODES, Matcher, unmatchable
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


PREFIX = "abcdefghijklmnopqrstuvwxyz"
LONG_WORDS = [
    word
    for length in (6, 7, 8, 9, 15, 16, 17, 24, 25, 40)
    for plain in [(PREFIX * 2)[:length]]
    for word in (plain, "_" + plain[1:], plain[:-1] + "_", plain[: length // 2] + "_" + plain[length // 2 + 1 :])
]


@given(
    st.lists(st.lists(st.sampled_from(LONG_WORDS), min_size=1, max_size=3).map(" ".join), max_size=30),
    st.lists(st.lists(st.sampled_from(LONG_WORDS), max_size=8).map(" ".join), max_size=5),
)
def test_words_that_differ_in_one_byte_are_told_apart(terms: list[str], captions: list[str]) -> None:
    """Words of every length at which they are held otherwise, alike but for the first, the last or a middle byte."""
    assert set(found_by(terms, captions, METACLIP)) == naive_metaclip(terms, captions)


@given(
    st.lists(st.text("a ", min_size=1, max_size=8), max_size=12),
    st.lists(st.text("a ,", max_size=40), max_size=8),
    st.integers(1, 3),
)
def test_repeats_overlaps_and_empty_fields(terms: list[str], captions: list[str], block: int) -> None:
    """Terms of one letter and of spaces alone, in captions cut into the smallest blocks: each once, the first place."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("wit.matching._BLOCK", block)
        for mode, naive in ((DEFAULT, naive_default), (METACLIP, naive_metaclip)):
            found = found_by(terms, captions, mode)
            assert found == sorted(naive(terms, captions))


def test_a_long_caption_is_as_the_naive_rule_has_it() -> None:
    """Thousands of fields and of repeated matches, terms of up to 5 words: more than any table of the search holds."""
    choose = random.Random(2)
    words = ["red", "dog", "é", "of", "cat", "no-term"]
    terms = sorted({" ".join(choose.choices(words[:5], k=choose.randint(1, 5))) for _ in range(60)})
    captions = ["red dog", " ".join(choose.choices(words, k=5000)), "", "cat " * 3000]
    for mode, naive in ((DEFAULT, naive_default), (METACLIP, naive_metaclip)):
        assert found_by(terms, captions, mode) == sorted(naive(terms, captions))


def test_more_matches_than_there_is_room_for() -> None:
    """Short captions that hold many equal terms: rows go on where the columns were full, and all are there."""
    terms = ["Dog"] * 30 + ["dog dog", "DOG"]
    captions = ["dog", "a dog dog", "", "dog"] * 50
    assert found_by(terms, captions, DEFAULT) == sorted(naive_default(terms, captions))


def test_each_of_many_terms_matches_itself() -> None:
    """Tables that grow as words come lose none: of 20,000 distinct terms, each finds its caption, and no other."""
    terms = [f"{number:x} and{number % 7} {number // 3}" for number in range(20_000)]
    for mode in MODES:
        assert found_by(terms, terms, mode) == [(number, number, 0) for number in range(20_000)]


@pytest.mark.parametrize("mode", MODES)
def test_arrow_arrays_match_as_lists_do(mode: str) -> None:
    """Both widths of offsets, slices and chunks, of terms and captions; an array with nulls breaks the contract."""
    terms, captions = ["red dog", "é", "", "dog", ","], ["A red dog, é", "", "dog", "é . é", "red dog"]
    expected = found_by(terms[1:], captions[1:4], mode)
    for kind in (pa.string(), pa.large_string()):
        long, short = pa.array(terms, kind), pa.array(captions, kind)
        chunked = pa.chunked_array([short[1:2], short[2:4]])
        for found in (Matcher(long[1:], mode).match(short[1:4]), Matcher(long[1:], mode).match(chunked)):
            assert list(zip(*(column.tolist() for column in found), strict=True)) == expected
    with pytest.raises(ContractError, match="1 nulls"):
        Matcher(terms, mode).match(pa.array(["a", None]))


def test_lone_surrogates_and_nul_are_characters() -> None:
    """What UTF-8 cannot write is no letter, and does not hide what stands beside it; a NUL does not end a word."""
    captions = ["\ud800 dog", "dog\ud800dog", "a\0", "a"]
    assert found_by(["dog", "dog dog", "a"], captions, DEFAULT) == sorted(
        naive_default(["dog", "dog dog", "a"], captions)
    )
    terms = ["dog", "\ud800", "dog\ud800dog", "?", "a", "a\0", "\0"]
    assert found_by(terms, captions, METACLIP) == sorted(naive_metaclip(terms, captions))


def test_real_captions_match_by_the_published_rule() -> None:
    """10,000 alt texts of the web against terms cut from them, marks and double spaces too, and common words."""
    path = real_data("peers", "img2dataset", "test_files", "test_10000.parquet")
    captions = pq.read_table(path).column("TEXT").to_pylist()
    choose = random.Random(4)
    terms = ["the", "of the", "in", " ", ",", ", ", " , ", "- ", "&", "|"]
    for caption in choose.sample(captions, 150):
        fields = re.sub(r"([,.;:?!`])", r" \1 ", caption).split(" ")
        start = choose.randrange(len(fields))
        terms.append(" ".join(fields[start : start + choose.randint(1, 3)]))
    found = found_by(terms, captions, METACLIP)
    assert len(found) > 10_000
    assert found == sorted(naive_metaclip(terms, captions))
