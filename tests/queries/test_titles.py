"""Titles with page views: sums, redirects, namespaces, what becomes of every name, disambiguators."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from queries.pageviews import VIEWS, read_views
from queries.titles import MAX_REDIRECTS, TITLES, split_disambiguator, write_titles
from queries.wikipedia import Site, site_of
from tests.support import real_data
from wit.text import normalise

EN = site_of("en", {4: "Wikipedia"})
PAGES = pa.schema([pa.field("title", pa.string(), nullable=False), pa.field("target", pa.string())])
MEMORY_BYTES = 256 << 20

Pages = Sequence[tuple[str, str | None]]


def run(
    folder: Path,
    views: Sequence[Mapping[str, int]],
    pages: Sequence[Pages] | None,
    *,
    site: Site = EN,
    min_views: int = 1,
    threads: int | None = 1,
) -> tuple[list[dict[str, object]], Counter[str]]:
    """Write each mapping and each list of pages to a file of its own, then the titles; return their rows and fates."""
    files = [str(folder / f"views-{number}.parquet") for number in range(len(views))]
    for file, sums in zip(files, views, strict=True):
        pq.write_table(pa.table([list(sums), list(sums.values())], schema=VIEWS), file)
    dumps = None if pages is None else [str(folder / f"pages-{number}.parquet") for number in range(len(pages))]
    for file, rows in zip(dumps or [], pages or [], strict=True):
        columns = [[title for title, _ in rows], [target for _, target in rows]]
        pq.write_table(pa.table(columns, schema=PAGES), file)
    out = folder / "titles.parquet"
    fates = write_titles(files, dumps, site, str(out), min_views, MEMORY_BYTES, threads)
    table = pq.read_table(out)
    assert table.schema.equals(TITLES)
    return table.to_pylist(), fates


def sums(rows: list[dict[str, object]]) -> dict[object, object]:
    return {row["title"]: row["views"] for row in rows}


def test_views_are_summed_over_files_and_redirects(tmp_path: Path) -> None:
    """Views of all files and of chains of redirects go to the article; what names no article is counted."""
    views = [{"Cat": 5, "Kitty": 100, "Special:Search": 900}, {"Cat": 30, "Pussycat": 7, "Nope": 2, "Dog": 1}]
    pages: Pages = [("Cat", None), ("Dog", None), ("Kitty", "Pussycat"), ("Pussycat", "Cat#Names")]
    rows, fates = run(tmp_path, views, [pages], min_views=2)
    assert rows == [{"title": "Cat", "name": "Cat", "disambiguator": None, "term": "cat", "views": 142}]
    assert fates == {"kept": 1, "below_threshold": 1, "namespace": 1, "not_in_dump": 1}


def test_threshold_is_inclusive_and_ties_go_by_term(tmp_path: Path) -> None:
    """A title with exactly the views asked stays; among equals the lower term, then title, by code point, is first."""
    views = {"Zebra": 5, "Ant (insect)": 5, "Ant": 5, "ANT": 5, "Ärger": 5, "Bee": 4}
    rows, fates = run(tmp_path, [views], None, min_views=5)
    assert [row["title"] for row in rows] == ["ANT", "Ant", "Ant (insect)", "Zebra", "Ärger"]
    assert fates == {"kept": 5, "below_threshold": 1}


def test_circles_of_redirects_end(tmp_path: Path) -> None:
    """Redirects in a circle, to themselves, into another namespace or to nothing give views to no article."""
    pages: Pages = [("X", None), ("A", "B"), ("B", "A"), ("C", "Category:X"), ("D", "Nothing"), ("E", "E"), ("F", "A")]
    rows, fates = run(tmp_path, [dict.fromkeys("ABCDEF", 5)], [[*pages, ("G", "")]])
    assert rows == []
    assert fates == {"not_in_dump": 5, "namespace": 1}


@pytest.mark.parametrize("length", [1, 2, MAX_REDIRECTS, MAX_REDIRECTS + 1])
def test_chains_of_redirects_are_followed_ten_steps(tmp_path: Path, length: int) -> None:
    """A chain of ten gives its views to the article; the first of a longer one has none to give."""
    chain: Pages = [(f"R{step}", f"R{step - 1}") for step in range(1, length + 1)]
    rows, fates = run(tmp_path, [{f"R{length}": 3}], [[("R0", None), *chain]])
    assert sums(rows) == ({"R0": 3} if length <= MAX_REDIRECTS else {})
    assert sum(fates.values()) == 1


def test_dumps_that_overlap_count_once(tmp_path: Path) -> None:
    """A page that stands in two dumps counts once; where they differ, an article is an article."""
    first: Pages = [("Cat", None), ("Kitty", "Cat"), ("Dog", None), ("Moved", "Dog")]
    second: Pages = [("Cat", None), ("Kitty", "Cat"), ("Dog", "Cat"), ("Moved", "Cat")]
    views = {"Cat": 1, "Kitty": 10, "Dog": 100, "Moved": 1000}
    for pages in ([first, second], [second, first], [[*first, *second]]):
        rows, fates = run(tmp_path, [views], pages)
        assert sums(rows) == {"Cat": 1011, "Dog": 100}
        assert fates == {"kept": 2}


def test_namespaces_of_the_wiki(tmp_path: Path) -> None:
    """The wiki's own names of namespaces count, in any case, beside those of every wiki; other colons do not."""
    site = site_of("de", {6: "Datei", 2: "Benutzer"})
    names = ["Datei:Katze.jpg", "datei :Katze.jpg", "File:Katze.jpg", "BENUTZER:A", "Star Trek: Picard", ":", "Katze"]
    rows, fates = run(tmp_path, [dict.fromkeys(names, 1)], None, site=site)
    assert [row["title"] for row in rows] == [":", "Katze", "Star Trek: Picard"]
    assert fates == {"kept": 3, "namespace": 4}


def test_a_wiki_that_tells_cases_apart(tmp_path: Path) -> None:
    """In Wiktionary "cat" and "Cat" are two titles; elsewhere they are one."""
    file = tmp_path / "list"
    file.write_text("cat 5\nCat 7\n")
    for capital_links, expected in ((False, {"cat": 5, "Cat": 7}), (True, {"Cat": 12})):
        site = site_of("en", {}, capital_links)
        read_views(str(file), str(tmp_path / "views.parquet"), site)
        write_titles([str(tmp_path / "views.parquet")], None, site, str(tmp_path / "out"), 1, MEMORY_BYTES)
        assert sums(pq.read_table(tmp_path / "out").to_pylist()) == expected


def test_nothing_gives_nothing(tmp_path: Path) -> None:
    """No views, no pages and both give an empty table; a dump without pages has no article."""
    assert run(tmp_path, [], None) == ([], {})
    assert run(tmp_path, [{}], [[]]) == ([], {})
    assert run(tmp_path, [{"Cat": 1}], []) == ([], {"not_in_dump": 1})


def oracle(
    views: Sequence[Mapping[str, int]], pages: Pages | None, min_views: int
) -> tuple[dict[str, int], Counter[str]]:
    """The rules again, a name at a time."""
    articles = {title for title, target in pages or [] if target is None}
    redirects: dict[str, str] = {}
    for title, target in sorted((title, target) for title, target in pages or [] if target is not None):
        if title not in articles:
            redirects.setdefault(title, target.partition("#")[0])
    found: Counter[str] = Counter()
    fates: Counter[str] = Counter()
    names = Counter[str]()
    for file in views:
        names.update(file)
    for name, count in names.items():
        place = name
        for _ in range(MAX_REDIRECTS):
            place = redirects.get(place, place)
        place = name if place in redirects else place
        if EN.namespace(name) or EN.namespace(place):
            fates["namespace"] += 1
        elif pages is not None and place not in articles:
            fates["not_in_dump"] += 1
        else:
            found[place] += count
    kept = {title: count for title, count in found.items() if count >= min_views}
    fates["kept"], fates["below_threshold"] = len(kept), len(found) - len(kept)
    return kept, +fates


NAMES = st.sampled_from([*"ABCDEFGHIJKLMN", "A (b)", "File:A", "X: y", "Ä"])
COUNTS = st.dictionaries(NAMES, st.integers(1, 9))
ROWS = st.lists(st.tuples(NAMES, st.none() | NAMES | st.sampled_from(["A#b", "Talk:A", "Z"])), max_size=20)


@settings(deadline=None, max_examples=60)  # a busy machine is no failure
@given(st.lists(COUNTS, max_size=3), st.none() | st.lists(ROWS, min_size=1, max_size=2), st.integers(1, 12))
def test_views_go_where_the_rules_say(
    tmp_path_factory: pytest.TempPathFactory,
    views: list[dict[str, int]],
    pages: list[list[tuple[str, str | None]]] | None,
    min_views: int,
) -> None:
    """For any views and pages, sums and fates are those of a slow reading of the rules, and rows are in order."""
    rows, fates = run(tmp_path_factory.mktemp("titles"), views, pages, min_views=min_views)
    expected, expected_fates = oracle(
        views, None if pages is None else [row for file in pages for row in file], min_views
    )
    assert sums(rows) == expected
    assert fates == expected_fates
    assert rows == sorted(rows, key=lambda row: (-int(str(row["views"])), row["term"], row["title"]))
    assert all(row["term"] == normalise(str(row["name"])) for row in rows)
    assert all((row["name"], row["disambiguator"]) == split_disambiguator(str(row["title"])) for row in rows)


def test_the_bytes_depend_on_neither_threads_nor_files(tmp_path: Path) -> None:
    """One thread or two, views in one file or in three, give the same bytes; no view is lost on the way."""
    everything = {f"T{number * 7919 % 100_000}": number % 13 + 1 for number in range(100_000)}
    items = list(everything.items())
    parts = [dict(items[start::3]) for start in range(3)]
    pages: Pages = [(title, None if number % 2 else "T1") for number, title in enumerate(sorted(everything))]
    outputs = set()
    for views in ([everything], parts, parts[::-1]):
        for threads in (1, 2):
            rows, fates = run(tmp_path, views, [pages], threads=threads)
            outputs.add((tmp_path / "titles.parquet").read_bytes())
            assert sum(int(str(row["views"])) for row in rows) == sum(everything.values())
            assert fates == {"kept": 50_000}
    assert len(outputs) == 1
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == []


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
        ("A ()", "A", ""),
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


def test_terms_are_normal_forms_of_the_name(tmp_path: Path) -> None:
    """What is sought in captions is the name without its disambiguator, in normal form; it may be empty."""
    rows, _ = run(tmp_path, [{"St. Elwin's Door (film)": 2, "!!!": 1}], None)
    assert [(row["name"], row["disambiguator"], row["term"]) for row in rows] == [
        ("St. Elwin's Door", "film", "st elwin 's door"),
        ("!!!", None, ""),
    ]


def test_real_lists_give_the_sums_that_their_source_gives(tmp_path: Path) -> None:
    """Over three months of real views, the articles of the Leopardus subset have the sums of its expected output."""
    folder = real_data("pageviews", "onezoom")
    months = ("202401", "202402", "202403")
    expected: Counter[str] = Counter()
    files, num_views = [], 0
    for month in months:
        source = folder / f"Felidae_pageviews-{month}-user"
        files.append(str(tmp_path / month))
        read_views(str(source), files[-1], EN)
        num_views += sum(int(line.split()[1]) for line in source.read_text().splitlines())
        for line in (folder / f"expected_filtered_Leopardus_pageviews-{month}-user").read_text().splitlines():
            title, count = line.split()
            expected[title.replace("_", " ")] += int(count)
    fates = write_titles(files, None, EN, str(tmp_path / "titles"), 0, MEMORY_BYTES)
    found = sums(pq.read_table(tmp_path / "titles").to_pylist())
    assert fates == {"kept": 47}
    assert len(expected) == 9
    assert {title: found[title] for title in expected} == expected
    assert sum(int(str(count)) for count in found.values()) == num_views
