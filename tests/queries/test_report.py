"""The report says what the list's facts say, stays small and safe whatever the terms are, and has the same bytes."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from queries.report import EXAMPLES, MAX_DAMAGE_ROWS, MAX_INPUT_ROWS, SAMPLE_SALT, SAMPLE_TERMS, write_report
from tests.html import check_nesting, shown_text, tags
from wit.errors import OutputError
from wit.keys import uniform_rank
from wit.schema import QUERIES, UNMATCHABLE

HOSTILE = [
    '<script>alert("1")</script>',
    "</td></table><img src=x onerror=y>",
    "\u202eevil \u202d order",
    "zero\u200bwidth",
    "bell\x07 nul\0",
    "مرحبا بالعالم",
    "A" * 100_000,
]

FACTS: dict[str, Any] = {
    "num_terms": 7,
    "num_over_limit": 3,
    "by_source": {
        "word": {"candidates": 3, "new": 3, "duplicate": 0, "unmatchable": 0, "listed": 3, "listed_first": 3},
        "bigram": {"candidates": 2, "new": 2, "duplicate": 0, "unmatchable": 0, "listed": 2, "listed_first": 2},
        "title": {"candidates": 5, "new": 2, "duplicate": 2, "unmatchable": 1, "listed": 3, "listed_first": 1},
        "synset": {"candidates": 8, "new": 3, "duplicate": 5, "unmatchable": 0, "listed": 4, "listed_first": 1},
    },
    "overlaps": [
        {"sources": ["word", "synset"], "terms": 2},
        {"sources": ["bigram"], "terms": 1},
        {"sources": ["bigram", "title", "synset"], "terms": 1},
        {"sources": ["word", "title"], "terms": 1},
        {"sources": ["title"], "terms": 1},
        {"sources": ["synset"], "terms": 1},
    ],
    "thresholds": {
        "min_word_count": {"value": 100, "fitted": False},
        "min_bigram_count": {"value": 20, "fitted": False},
        "min_pmi": {"value": 8.125, "fitted": True, "ties_cut": 41, "exhausted": False},
        "min_npmi": {"value": None, "fitted": False},
        "min_views": {"value": None, "fitted": True, "ties_cut": 0, "exhausted": False},
    },
    "margins": {
        "word": {"above": [{"term": "near", "count": 100}, {"term": "far", "count": 107}], "below": []},
        "bigram": {
            "above": [{"term": "in view", "count": 33, "pmi": 8.125, "npmi": 0.51}],
            "below": [{"term": "of view", "count": 34, "pmi": 8.124, "npmi": 0.5}],
        },
        "title": {"above": [], "below": [{"term": "x", "title": title, "views": 5} for title in HOSTILE]},
    },
    "ranks": {"word": [[1, 5000], [2, 900], [9, 100], [30, 1]], "bigram": [[1, 20]], "title": [[1, 5], [2, 0]]},
    "unmatchable": {source: {"no_word": int(source == "title")} for source in ("word", "bigram", "title", "synset")},
    "symbols_lost": {"word": 0, "bigram": 0, "title": 9, "synset": 0},
    "unmatchable_metaclip": {"mark": 0},
    "pages": {"article": 106, "redirect": 99, "other_namespace": 1},
    "num_words": 462050,
    "num_pairs": 448222,
    "pageview_lines": {"counted": 141},
    "titles": {"kept": 5, "not_in_dump": 7},
    "damage": [],
}

MADE_FROM = {
    "settings": {"limit": 7, "min_npmi": None, "min_pmi": "fit", "language": "en"},
    "inputs": {"dumps": {"/data/<b>dump</b>.xml": f"12345:{'a' * 64}"}, "pageviews": {}, "wordnets": {"s3://x": "9:"}},
    "code": "c" * 64,
}


def query_list(num_terms: int) -> pa.Table:
    """A list of hostile terms and many others, from every source."""
    terms = [*HOSTILE, *(f"term {number}" for number in range(num_terms - len(HOSTILE)))]
    sources = [["word", "title"], ["bigram"], ["title"], ["title", "synset"], ["synset"]]
    return pa.table(
        {
            "query_id": pa.array(range(num_terms), pa.int32()),
            "term": terms,
            "sources": [sources[number % 5] for number in range(num_terms)],
            "word_count": [7 if number % 5 == 0 else None for number in range(num_terms)],
            "bigram_count": [8 if number % 5 == 1 else None for number in range(num_terms)],
            "pmi": [9.5 if number % 5 == 1 else None for number in range(num_terms)],
            "npmi": [0.5 if number % 5 == 1 else None for number in range(num_terms)],
            "title": [term.upper() if number % 5 in (0, 2, 3) else None for number, term in enumerate(terms)],
            "disambiguator": pa.nulls(num_terms, pa.string()),
            "views": [10 if number % 5 in (0, 2, 3) else None for number in range(num_terms)],
            "synsets": [["n1"] * 9 if number % 5 >= 3 else None for number in range(num_terms)],
        },
        schema=QUERIES,
    )


def unmatchable_table() -> pa.Table:
    rows = [("title", "!!!", "", "default", "no_word", 4000)]
    rows += [("title", f"C{'+' * number}", "c", "default", "symbols_lost", number) for number in range(1, 10)]
    return pa.Table.from_pylist([dict(zip(UNMATCHABLE.names, row, strict=True)) for row in rows], schema=UNMATCHABLE)


def page_of(folder: Path, facts: dict[str, Any], num_terms: int = 40, **more: Any) -> str:
    path = folder / "report.html"
    write_report(query_list(num_terms), facts, str(path), **{"made_from": MADE_FROM, **more})
    page = path.read_text(encoding="utf-8")
    check_nesting(page)
    return page


def rows_of(page: str, section: str) -> list[list[str]]:
    """The rows of the tables of a section, as text."""
    body = page.split(f'<section id="{section}">')[1].split("</section>")[0]
    rows = (re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in body.split("<tr")[1:])
    return [[shown_text(cell) for cell in row] for row in rows]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    return page_of(tmp_path_factory.mktemp("report"), FACTS, unmatchable=unmatchable_table())


def test_it_opens_with_the_numbers(page: str) -> None:
    """Terms, limit, what was cut, input files, pages, words, bigrams; without damage no warning."""
    numbers = re.findall(r"<div><dt>(.*?)</dt><dd>(.*?)</dd></div>", page.split("<nav")[0])
    assert [number for _, number in numbers] == ["7", "7", "3", "2", "206", "462,050", "448,222"]
    assert "<aside" not in page


def test_every_section_is_linked(page: str) -> None:
    """Each heading is in the contents, and each link of them leads to a section."""
    found = tags(page)
    links = [attributes["href"] for tag, attributes in found if tag == "a"]
    assert links == [f"#{attributes['id']}" for tag, attributes in found if tag == "section"]
    assert len(links) == 8


def test_terms_by_source_are_the_facts(page: str) -> None:
    """A line a source, in the paper's order, each number as it is in the facts."""
    names = ["words", "bigrams", "titles", "synsets"]
    expected = [
        [name, *map(str, fates.values())] for name, fates in zip(names, FACTS["by_source"].values(), strict=True)
    ]
    assert rows_of(page, "sources")[1:] == expected


def test_overlaps_are_dots_and_bars(page: str) -> None:
    """A line a set of sources: which ones, how many terms, their share; the bar of the largest set is full."""
    rows = rows_of(page, "overlaps")[1:]
    assert rows[0][:6] == ["yes", "no", "no", "yes", "2", "28.57"]
    assert rows[2][:6] == ["no", "yes", "yes", "yes", "1", "14.29"]
    joined = re.findall(r'<span class="(dot[^"]*)">', page)[:4]
    assert joined == ["dot filled right", "dot left right", "dot left right", "dot filled left"]
    assert re.findall(r'class="bar" style="width: ([0-9.]+)%"', page) == ["100.00"] + ["50.00"] * 5


def test_each_source_has_its_curve(page: str) -> None:
    """Three labelled figures, the threshold among their words; a curve of one point and an amount of 0 are drawn."""
    labels = [attributes["aria-label"] for tag, attributes in tags(page) if tag == "svg"]
    assert [str(label).split(":")[0] for label in labels] == ["Words", "Bigrams", "Titles"]
    assert "from 5,000 at rank 1 down to 1 at rank 30; the threshold is 100" in str(labels[0])
    assert page.count(">threshold 100</text>") == 1


def test_the_threshold_stands_between_its_neighbours(page: str) -> None:
    """Above it the highest first, below it what just missed it; a fitted threshold is marked wherever it is named."""
    rows = rows_of(page, "thresholds")
    assert rows[1:6] == [
        ["words", "--min-word-count", "100", "least number of times that a word is seen in the prose of the articles"],
        ["bigrams", "--min-bigram-count", "20", "least number of times that two words are seen side by side"],
        [
            "bigrams", "--min-pmi", "fitted 8.125",
            "least pointwise mutual information, in bits; "
            "41 more of just this value are left out, by the order of ties",
        ],
        ["bigrams", "--min-npmi", "–", "least normalised pointwise mutual information"],
        [
            "titles", "--min-views", "fitted –",
            "least number of views of an article, those of its redirects included; the list was full without any",
        ],
    ]  # fmt: skip
    assert rows[6:14] == [
        ["word", "count"], ["far", "107"], ["near", "100"], ["given: --min-word-count 100"],
        ["bigram", "count", "PMI", "NPMI"], ["in view", "33", "8.125", "0.510"], ["fitted: --min-pmi 8.125"],
        ["of view", "34", "8.124", "0.500"],
    ]  # fmt: skip


def test_hostile_terms_are_shown_and_do_nothing(page: str) -> None:
    """No element but the page's own; directions are isolated, controls shown, length is cut."""
    assert {tag for tag, _ in tags(page)} & {"script", "img", "iframe", "object", "link"} == set()
    assert not any(name.startswith("on") for _, attributes in tags(page) for name in attributes)
    assert not re.search("[\u202a-\u202e\u2066-\u2069\u200b\x00-\x09\x0b-\x1f]", page)
    assert "<bdi>مرحبا بالعالم</bdi>" in page
    words = shown_text(page)
    assert '<script>alert("1")</script>' in words
    assert "U+202Eevil U+202D order" in words
    assert "bellU+0007 nulU+0000" in words
    assert "… 99,900 more" in words
    assert "/data/<b>dump</b>.xml" in words


def test_the_sample_is_drawn_by_hash(page: str) -> None:
    """Of each source the terms of the lowest ranks, as the list orders them, with what the source says of them."""
    queries = query_list(40)
    words = [row["term"] for row in queries.to_pylist() if "word" in row["sources"]]
    rows = rows_of(page, "sample")
    assert len(words) < SAMPLE_TERMS
    assert [row[0][:20] for row in rows[1 : 1 + len(words)]] == [
        {"A" * 100_000: "A" * 20}.get(word, word)[:20] for word in words
    ]
    assert rows[2] == ["مرحبا بالعالم", "7", "title"]


def test_the_sample_of_a_longer_list(tmp_path: Path) -> None:
    """It has as many terms as it says and no others than the hash gives."""
    longer = page_of(tmp_path, FACTS, 2000)
    words = [row["term"] for row in query_list(2000).to_pylist() if "word" in row["sources"]]
    drawn = sorted(words, key=lambda word: uniform_rank(SAMPLE_SALT, word))[:SAMPLE_TERMS]
    shown = [row[0] for row in rows_of(longer, "sample")[1 : 1 + SAMPLE_TERMS]]
    assert shown == [word for word in words if word in drawn]


def test_the_unmatchable_by_reason(page: str) -> None:
    """Every reason with its number and meaning; examples, the most frequent first, no more than there is room for."""
    body = shown_text(page.split('<section id="unmatchable">')[1].split("</section>")[0])
    assert "No word: 1" in body
    assert "Symbols lost: 9" in body
    assert "Mark: 0" in body
    rows = rows_of(page, "unmatchable")
    assert rows[1] == ["title", "!!!", "–", "4,000"]
    assert [row[1] for row in rows[3:]] == ["C" + "+" * number for number in range(9, 9 - EXAMPLES, -1)]


def test_what_was_read_and_how_it_was_made(page: str) -> None:
    """Every fate of every line and page, every setting and every input with its size and hash."""
    assert rows_of(page, "read")[1:] == [
        ["pages of the dumps", "article", "106"], ["pages of the dumps", "redirect", "99"],
        ["pages of the dumps", "other namespace", "1"], ["lines of page views", "counted", "141"],
        ["names with page views", "not in dump", "7"], ["names with page views", "kept", "5"],
    ]  # fmt: skip
    rows = rows_of(page, "made")
    assert rows[1:5] == [["--language", "en"], ["--limit", "7"], ["--min-npmi", "–"], ["--min-pmi", "fit"]]
    assert rows[6:] == [["dumps", "/data/<b>dump</b>.xml", "12,345", "a" * 64], ["wordnets", "s3://x", "9", "–"]]


def test_damage_cannot_be_overlooked(tmp_path: Path) -> None:
    """A box before everything else names the files, places and reasons, and sums up the pages lost."""
    damage = [
        {
            "url": HOSTILE[0],
            "offset": 1000 + number,
            "reason": "bad_block",
            "detail": HOSTILE[1],
            "pages": number or None,
        }
        for number in range(3)
    ]
    page = page_of(tmp_path, {**FACTS, "damage": damage, "num_damaged": len(damage), "num_lost_pages": 3})
    box = shown_text(page.split("<aside")[1].split("</aside>")[0])
    assert page.index("<aside") < page.index("<nav")
    assert "Places with damage: 3; pages known to be lost: 3." in box
    assert HOSTILE[0] in box
    assert "1,002" in box
    assert "bad block" in box


def test_it_stays_small(tmp_path: Path) -> None:
    """Thousands of inputs and damages with endless names: under a megabyte, and it says what it left out."""
    damage = [{"url": "u" * 10_000, "offset": 1, "reason": "bad_block", "detail": "d" * 10_000, "pages": 1}] * 5000
    inputs = {"pageviews": {f"https://x/{number:05d}/{'y' * 1000}": f"1:{'f' * 64}" for number in range(9000)}}
    page = page_of(
        tmp_path,
        {**FACTS, "damage": damage, "num_damaged": len(damage), "num_lost_pages": 3},
        20_000,
        made_from={**MADE_FROM, "inputs": inputs},
        unmatchable=unmatchable_table(),
    )
    assert len(page.encode()) < 1_000_000
    assert f"The first {MAX_DAMAGE_ROWS} of 5,000; damage.jsonl has all." in page
    assert f"The first {MAX_INPUT_ROWS} of 9,000; manifest.json has all." in page


def test_the_same_bytes_each_time(tmp_path: Path, page: str) -> None:
    """They depend on the list and the facts, not on the order in which dictionaries were filled."""
    turned = dict(reversed(copy.deepcopy(FACTS).items()))
    turned["pages"] = dict(reversed(FACTS["pages"].items()))
    made = {
        key: dict(reversed(value.items())) if isinstance(value, dict) else value for key, value in MADE_FROM.items()
    }
    assert page_of(tmp_path, turned, made_from=made, unmatchable=unmatchable_table()) == page


def test_a_list_of_nothing(tmp_path: Path) -> None:
    """A list without terms, from no input, still has its report."""
    facts = {
        **{key: FACTS[key] for key in ("thresholds", "unmatchable", "symbols_lost", "unmatchable_metaclip")},
        "num_terms": 0, "num_over_limit": 0, "overlaps": [], "ranks": {"word": [], "bigram": [], "title": []},
        "by_source": {source: dict.fromkeys(fates, 0) for source, fates in FACTS["by_source"].items()},
        "margins": {source: {"above": [], "below": []} for source in ("word", "bigram", "title")},
    }  # fmt: skip
    path = tmp_path / "report.html"
    write_report(QUERIES.empty_table(), facts, str(path))
    page = path.read_text(encoding="utf-8")
    check_nesting(page)
    words = shown_text(page)
    for sentence in ("The list is empty.", "Nothing was counted.", "There are no bigrams."):
        assert sentence in words


def test_a_place_that_cannot_be_written_to(tmp_path: Path) -> None:
    """It is one clear error."""
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file"):
        write_report(query_list(9), FACTS, str(tmp_path / "file" / "report.html"))
