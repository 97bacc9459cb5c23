"""Titles with page views: both formats, redirects, namespaces, broken lines, disambiguators."""

from __future__ import annotations

import bz2
import gzip
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from queries.titles import Articles, Title, Views, split_disambiguator
from queries.wikipedia import site_of
from tests.support import real_data
from wit.errors import InputError

SITE = site_of("en", {4: "Wikipedia"})

HOURLY = b"""\
de Katze 7 0
en.b Cat 9 0
en Cat 5 0
en cat 1 0
en C%61t 2 0
en.m Cat 30 0
en Black_cat 4 0
en Kitty 100 0
en Caf%C3%A9 3 0
en Caf\xc3\xa9 1 0
en %FF 9 0
en Special:Search 900 0
en Wikipedia:About 900 0
en Cat_talk 1 0
en Cat x 0
en  5 0
en Cat 5
"""


def _read(tmp_path: Path, *contents: bytes) -> Views:
    views = Views()
    for number, content in enumerate(contents):
        file = tmp_path / f"pageviews-{number}"
        file.write_bytes(content)
        views.add_file(str(file))
    return views


def test_hourly_files(tmp_path: Path) -> None:
    """Desktop and mobile views, every spelling of a title and its redirects add up; no other line is lost uncounted."""
    views = _read(tmp_path, HOURLY, gzip.compress(b"en Cat 1000 0\n"), bz2.compress(b"en Cat 2000 0\n"))
    articles = Articles(SITE, {"Cat", "Black cat", "Café"}, {"Kitty": "Pussycat", "Pussycat": "Cat#Names"})
    titles, fates = views.titles(articles, 4)
    assert titles == [Title("Cat", 3138), Title("Black cat", 4), Title("Café", 4)]
    assert fates == {"kept": 3, "bad_encoding": 1, "namespace": 2, "not_in_dump": 1}
    assert views.lines == {"counted": 14, "other_domain": 2, "malformed": 3}


def test_threshold_is_inclusive_and_ties_go_by_term(tmp_path: Path) -> None:
    """A title with exactly the views asked stays; among equals the lower term, then title, comes first."""
    views = _read(tmp_path, b"Zebra 5\nAnt_(insect) 5\nAnt 5\nBee 4\n")
    titles, fates = views.titles(Articles(SITE, None), 5)
    assert [title.title for title in titles] == ["Ant", "Ant (insect)", "Zebra"]
    assert fates == {"kept": 3, "below_threshold": 1}


def test_a_circle_of_redirects_ends(tmp_path: Path) -> None:
    """Redirects in a circle, into another namespace or to nothing give views to no article."""
    views = _read(tmp_path, b"A 5\nB 6\nC 7\nD 8\n")
    articles = Articles(SITE, {"X"}, {"A": "B", "B": "A", "C": "Category:X", "D": "Nothing"})
    assert views.titles(articles, 0) == ([], {"not_in_dump": 3, "namespace": 1})


@pytest.mark.parametrize(
    ("title", "name", "disambiguator"),
    [
        ("Puma (genus)", "Puma", "genus"),
        ("Mercury (planet (old))", "Mercury", "planet (old)"),
        ("(Untitled)", "(Untitled)", None),
        ("f(x)", "f(x)", None),
        ("A (b) c", "A (b) c", None),
        ("A) (b", "A) (b", None),
        (" (a)", " (a)", None),
        ("Cat", "Cat", None),
        ("", "", None),
    ],
)
def test_disambiguator_is_split_off(title: str, name: str, disambiguator: str | None) -> None:
    """Only brackets at the end, after a space and a name, are a disambiguator."""
    assert split_disambiguator(title) == (name, disambiguator)


@settings(deadline=None)  # a busy machine is no failure
@given(st.text(alphabet="a ()", max_size=12))
def test_splitting_keeps_every_sign(title: str) -> None:
    """Name and disambiguator put together are the title, white space apart."""
    name, disambiguator = split_disambiguator(title)
    whole = name if disambiguator is None else f"{name} ({disambiguator})"
    assert whole.split() == title.split()


def test_terms_are_normal_forms_of_the_name() -> None:
    """What is sought in captions is the name without its disambiguator, in normal form."""
    assert Title("St. Elwin's Door (film)", 1).term == "st elwin 's door"
    assert Title("!!!", 1).term == ""


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "found an empty file"),
        (b"hello world\n", "found b'hello world"),
        (b"<html>\n", "found b'<html>"),
        (gzip.compress(b"en Cat 5 0\n" * 10_000)[:-20], "damaged or cut short"),
        (bz2.compress(b"en Cat 5 0\n" * 10_000)[:-20], "damaged or cut short"),
    ],
)
def test_a_file_that_is_no_pageview_file_is_named(tmp_path: Path, content: bytes, found: str) -> None:
    """An empty, foreign or broken file is one InputError that names it."""
    with pytest.raises(InputError, match=found) as caught:
        _read(tmp_path, content)
    assert "pageviews-0" in str(caught.value)


def test_real_lists_give_the_sums_that_their_source_gives() -> None:
    """Over three months of real views, the articles of the Leopardus subset have the sums of its expected output."""
    folder = real_data("pageviews", "onezoom")
    views = Views()
    expected: dict[str, int] = {}
    for month in ("202401", "202402", "202403"):
        views.add_file(str(folder / f"Felidae_pageviews-{month}-user"))
        for line in (folder / f"expected_filtered_Leopardus_pageviews-{month}-user").read_text().splitlines():
            title, count = line.split()
            expected[title.replace("_", " ")] = expected.get(title.replace("_", " "), 0) + int(count)
    titles, _ = views.titles(Articles(SITE, None), 0)
    found = {title.title: title.views for title in titles}
    assert len(found) == 47
    assert len(expected) == 9
    assert {title: found[title] for title in expected} == expected
