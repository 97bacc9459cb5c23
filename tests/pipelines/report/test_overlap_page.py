"""The pages of an audit show every pair once, hold hostile text as text, link only to each other, and stand alone."""

from __future__ import annotations

import re
import shutil
import subprocess
from base64 import b64encode
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, fisher_exact

from pipelines.report.overlap import pairs
from pipelines.report.overlap.page import write_comparison, write_report
from pipelines.report.overlap.pairs import PAIRS_A_PAGE, books
from pipelines.report.overlap.results import EVALUATION, TRAINING, Accuracies, Comparison
from tests.html import check_nesting, shown_text, tags
from tests.pipelines.report.overlap_world import HOSTILE, Row, matches, no_thumbs, result, set_result, thumbs

RIGHT = Accuracies(1000, 700, 100, 95)


def pages(out: Path) -> list[Path]:
    return [out / "report.html", *sorted((out / "pages").glob("*.html"))]


def links(page: Path) -> list[str]:
    """The addresses of a page that are not those of the web."""
    found = [str(attributes["href"]) for tag, attributes in tags(page.read_text()) if tag == "a"]
    return [link for link in found if not link.startswith("https://")]


def check_pages(out: Path) -> None:
    """Every page nests, runs nothing, loads nothing, and every link leads somewhere; no page is out of reach."""
    reached = {out / "report.html"}
    for page in pages(out):
        text = page.read_text()
        check_nesting(text)
        found = tags(text)
        assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in found}
        assert not any(name.startswith("on") for _, attributes in found for name in attributes)
        for tag, attributes in found:
            assert tag != "img" or str(attributes["src"]).startswith("data:image/jpeg;base64,")
        ids = {attributes["id"] for _, attributes in found if "id" in attributes}
        for link in links(page):
            target, _, place = link.partition("#")
            assert not place or place in ids
            if target:
                assert (page.parent / target).exists()
                reached.add((page.parent / target).resolve())
    assert {page.resolve() for page in pages(out)} <= {page.resolve() for page in reached}


def many(num_items: int, num_samples: int) -> list[Row]:
    return [
        ("pets", f"cat/{item:04d}.jpg", f"{item:04d}-{sample}", (item * 7 + sample) % 32)
        for item in range(num_items)
        for sample in range(num_samples)
    ]


def test_every_pair_stands_once_with_both_pictures(tmp_path: Path) -> None:
    """Over all pages each matched sample is shown once, with its picture, beside its item's picture."""
    rows = many(150, 3)
    write_report(str(tmp_path), result(set_result("pets", 1000, 150)), matches(rows, "a cat"), thumbs)
    check_pages(tmp_path)
    text = "".join(page.read_text() for page in pages(tmp_path)[1:])
    for _, item, key, _ in rows:
        assert text.count(f"<bdi>{key}</bdi>") == 1
        assert text.count(b64encode(thumbs(TRAINING, f"00000.tar/{key}")).decode()) == 1
        assert text.count(b64encode(thumbs(EVALUATION, f"pets/{item}")).decode()) == 1
    assert len(pages(tmp_path)) == 1 + 3  # 66 items, whole, on each page of 200 pairs


def test_the_nearest_come_first(tmp_path: Path) -> None:
    """Items are in the order of their nearest samples, and of an item its samples are."""
    rows = [("s", "b", "k1", 5), ("s", "a", "k2", 9), ("s", "a", "k3", 2), ("s", "c", "k4", 5)]
    write_report(str(tmp_path), result(set_result("s", 9, 3)), matches(rows), no_thumbs)
    shown = re.findall(r"<bdi>(k\d)</bdi>", (tmp_path / "pages" / "s-00001.html").read_text())
    assert shown == ["k3", "k2", "k1", "k4"]


@given(st.lists(st.integers(1, 700), max_size=9))
def test_pages_are_cut_between_items(sizes: list[int]) -> None:
    """The pages cover all rows in order, none over its size; an item is cut only if it alone is more than a page."""
    starts = [sum(sizes[:index]) for index in range(len(sizes))]
    cut = list(pairs._cut(starts, sum(sizes)))
    assert [row for begin, stop in cut for row in range(begin, stop)] == list(range(sum(sizes)))
    assert all(0 < stop - begin <= PAIRS_A_PAGE for begin, stop in cut)
    for begin, _ in cut:
        inside = max((start for start in starts if start <= begin), default=0)
        assert begin == inside or sizes[starts.index(inside)] > PAIRS_A_PAGE


def test_hostile_words_are_text_everywhere(tmp_path: Path) -> None:
    """Names of sets, items and keys, labels, captions, addresses, versions and paths of shards run nothing."""
    rows = [(HOSTILE, HOSTILE, HOSTILE, 3), ("other", "../../up.jpg", "k", 1)]
    found = result(set_result(HOSTILE, 10, 1, RIGHT), set_result("other", 10, 1, RIGHT), words=HOSTILE)
    write_report(str(tmp_path), found, matches(rows, HOSTILE), thumbs)
    check_pages(tmp_path)
    report, *others = pages(tmp_path)
    assert shown_text(report.read_text()).count(HOSTILE) >= 10
    assert sum(shown_text(page.read_text()).count(HOSTILE) for page in others) >= 8
    assert all(re.fullmatch(r"[a-z0-9-]+-\d{5}\.html", page.name) for page in others)


def test_addresses_are_links_only_when_they_are_of_the_web(tmp_path: Path) -> None:
    """A script's address is text; one of the web is a link that tells its host nothing of where it was followed."""
    for word, is_link in (("javascript:alert(1)", False), ("https://e.org/a.jpg", True), ("file:///etc/passwd", False)):
        write_report(str(tmp_path), result(set_result("s", 1, 1)), matches([("s", "a", "k", 0)], word), no_thumbs)
        found = [
            attributes for tag, attributes in tags((tmp_path / "pages" / "s-00001.html").read_text()) if tag == "a"
        ]
        assert [attributes["rel"] for attributes in found if attributes["href"] == word] == (
            ["noopener noreferrer nofollow"] if is_link else []
        )


def test_names_that_would_be_the_same_file_are_told_apart(tmp_path: Path) -> None:
    """Sets whose names differ in signs or case alone have pages of their own; no name leads out of the folder."""
    names = ["a/b", "A B", "a-b", "..", "中文", "x" * 500, "a-b-2"]
    rows = [(name, f"item of {index}", f"k{index}", 0) for index, name in enumerate(names)]
    write_report(str(tmp_path), result(*(set_result(name, 2, 1) for name in names)), matches(rows), no_thumbs)
    check_pages(tmp_path)
    assert len(pages(tmp_path)) == 1 + len(names)
    for index, page in enumerate(book.file(0) for book in books(names, matches(rows), "bits")):
        assert f"<bdi>item of {index}</bdi>" in (tmp_path / "pages" / page).read_text()


def test_the_same_bytes_for_any_order_of_rows_and_nothing_of_an_earlier_audit(tmp_path: Path) -> None:
    """Pages and figure depend on what was found alone; pages and figure of a larger audit do not stay behind."""
    rows = many(120, 2)
    found = result(set_result("pets", 1000, 120, RIGHT))
    write_report(str(tmp_path / "a"), found, matches(rows, "w"), thumbs)
    write_report(str(tmp_path / "b"), result(set_result("pets", 1, 1)), matches(many(300, 2), "w"), thumbs)
    write_report(str(tmp_path / "b"), found, matches(rows[::-1], "w"), thumbs)
    names = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*"))
    assert names == sorted(path.relative_to(tmp_path / "b") for path in (tmp_path / "b").rglob("*"))
    for name in names:
        if (tmp_path / "a" / name).is_file():
            assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    write_report(str(tmp_path / "b"), result(set_result("pets", 1000, 120)), matches(rows), thumbs)
    assert not (tmp_path / "b" / "figure.svg").exists()


def test_an_audit_that_found_nothing(tmp_path: Path) -> None:
    """No pairs, no pages, no predictions: the report says so, as it does of a set without readable images."""
    write_report(str(tmp_path), result(set_result("a", 10, 0), set_result("b", 0, 0)), matches([]), thumbs)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html"]
    check_pages(tmp_path)
    assert shown_text((tmp_path / "report.html").read_text()).count("None of its images was found.") == 2


def test_the_figures_of_the_tables(tmp_path: Path) -> None:
    """Shares, accuracies, difference and p-values are those of the result; only a significant set is tagged so."""
    found = result(
        set_result("helped", 1100, 100, RIGHT),
        set_result("not", 1100, 100, Accuracies(1000, 700, 100, 71)),
        set_result("harmed", 1100, 100, Accuracies(1000, 700, 100, 20)),
        set_result("alone", 1100, 100, Accuracies(1000, 700, 100, 79)),
        set_result("clean", 1100, 0, Accuracies(1000, 700, 0, 0)),
        set_result("none", 1100, 100),
    )
    write_report(str(tmp_path), found, matches([]), thumbs)
    tables = re.findall(r"<table>.*?</table>", (tmp_path / "report.html").read_text(), re.DOTALL)
    rows = [[shown_text(cell) for cell in re.findall(r"<t[hd].*?</t[hd]>", row)] for row in tables[1].split("</tr>")]
    by_set = {row[0]: row[1:] for row in rows[1:] if row}
    test = binomtest(95, 100, 0.7, alternative="greater")
    low, high = binomtest(95, 100).proportion_ci(0.995, "exact")
    fisher = fisher_exact([[95, 5], [700, 300]], "greater")[1]
    assert by_set["helped"][:5] == ["72.27%", "70.00%", "95.00% of 100", f"{low:.2%} to {high:.2%}", "+2.27"]
    assert by_set["helped"][5:] == [f"{test.pvalue:.2g}", f"{fisher:.2g}", "yes"]
    assert {name: row[-1] for name, row in by_set.items()} == {
        "helped": "yes", "not": "no", "harmed": "worse", "alone": "only alone", "clean": "no",
    }  # fmt: skip
    assert by_set["clean"][2:7] == ["–", "–", "+0.00", "–", "–"]


def test_unreadable_missing_and_cut_are_told(tmp_path: Path) -> None:
    """What is in no split, and items that the pages do not show, are counted on the page."""
    found = replace(set_result("s", 10, 7, RIGHT), num_missing=4, num_unknown=5)
    write_report(
        str(tmp_path),
        replace(result(found), num_unreadable_samples=17),
        matches([("s", "a", "k", 0)]),
        no_thumbs,
    )
    text = shown_text((tmp_path / "report.html").read_text())
    assert "17 training samples could not be compared" in text
    assert "They show 1 of the images" in text
    assert re.search(r"images without a prediction.*s45", text)
    assert text.count("no picture") == 2


@pytest.mark.parametrize("other", [None, HOSTILE])
def test_two_training_sets(tmp_path: Path, other: str | None) -> None:
    """Pairs within a set, or of two, have the same pages; the report counts samples, pairs and groups."""
    found = Comparison(HOSTILE, other, "an image within 31 bits", "bits", 31, 1000, 2000 if other else 0, 5, 9, 4)
    rows = [(found.name, f"00001.tar/k{index}", f"m{index}", index) for index in range(3)]
    write_comparison(str(tmp_path), found, matches(rows, HOSTILE), thumbs)
    check_pages(tmp_path)
    text = shown_text((tmp_path / "report.html").read_text())
    assert "They show 3 of 5" in text
    assert "9 (0.90%)" in text
    assert ("2,000" in text) == (other is not None)
    write_comparison(str(tmp_path), found, matches([]), thumbs)
    assert "There are none." in (tmp_path / "report.html").read_text()
    assert not list((tmp_path / "pages").glob("*")) if (tmp_path / "pages").exists() else True


def test_distances_of_descriptors_are_no_whole_numbers(tmp_path: Path) -> None:
    """A cosine distance is shown with four decimals, and pages are found by hundredths."""
    table = matches([("s", f"i{index:03d}", f"k{index}", 0) for index in range(400)])
    distances = pa.array([index / 1000 for index in range(400)], pa.float32())
    table = table.set_column(table.schema.get_field_index("distance"), "distance", distances)
    found = result(set_result("s", 400, 400))
    write_report(str(tmp_path), replace(found, unit="cosine distance"), table, no_thumbs)
    check_pages(tmp_path)
    text = shown_text((tmp_path / "pages" / "s-00001.html").read_text())
    assert "0.1230 cosine distance" in text
    assert "0.19" in text


def test_the_turn_of_a_copy_is_told(tmp_path: Path) -> None:
    """Two pictures that look unlike side by side are said to be one after a turn of the first."""
    table = matches([("s", "a", "k", 2), ("s", "b", "k", 2)])
    table = table.set_column(table.schema.get_field_index("turn"), "turn", pa.array(["rotate_90", "none"]))
    write_report(str(tmp_path), result(set_result("s", 2, 2)), table, no_thumbs)
    for name in ("report.html", "pages/s-00001.html"):
        text = shown_text((tmp_path / name).read_text())
        assert (text.count("2 bits, rotate 90"), text.count("2 bits")) == (1, 2)


def test_bits_are_whole_whatever_the_type_of_their_column(tmp_path: Path) -> None:
    """A table that holds bits as floats gives the same pages as one that holds integers."""
    table = matches(many(30, 2))
    place = table.schema.get_field_index("distance")
    floats = table.set_column(place, "distance", table["distance"].cast(pa.float32()))
    for name, each in (("a", table), ("b", floats)):
        write_report(str(tmp_path / name), result(set_result("pets", 90, 30)), each, no_thumbs)
    page = "pages/pets-00001.html"
    assert (tmp_path / "a" / page).read_bytes() == (tmp_path / "b" / page).read_bytes()
    assert "1 bit<" in (tmp_path / "a" / page).read_text()


def test_pages_go_where_fsspec_goes(tmp_path: Path) -> None:
    """A remote folder gets the same bytes as a local one."""
    import fsspec

    found, table = result(set_result("pets", 90, 30, RIGHT)), matches(many(30, 2))
    write_report(str(tmp_path), found, table, thumbs)
    write_report("memory://audit-pages", found, table, thumbs)
    store = fsspec.filesystem("memory")
    for path in tmp_path.rglob("*.*"):
        assert store.cat_file(f"/audit-pages/{path.relative_to(tmp_path)}") == path.read_bytes()
    store.rm("/audit-pages", recursive=True)


@pytest.mark.slow
def test_a_browser_sees_what_was_meant(tmp_path: Path) -> None:
    """Chromium's own parser finds the hostile words as text, no element that they name, and asks for no other file."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if not browser:
        pytest.skip("no Chromium here")
    rows = [(HOSTILE, f"{HOSTILE} {n}", HOSTILE, n) for n in range(4)]
    write_report(
        str(tmp_path), result(set_result(HOSTILE, 10, 4, RIGHT), words=HOSTILE), matches(rows, HOSTILE), thumbs
    )
    for page in pages(tmp_path):
        command = [browser, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/profile"]
        done = subprocess.run(
            [*command, "--dump-dom", page.as_uri()], capture_output=True, text=True, timeout=60, check=True
        )
        found = tags(done.stdout)
        assert not {"script", "iframe", "object", "link"} & {tag for tag, _ in found}
        assert not any(name.startswith("on") for _, attributes in found for name in attributes)
        pictures = [str(attributes["src"]) for tag, attributes in found if tag == "img"]
        assert len(pictures) == 8
        assert all(picture.startswith("data:image/jpeg") for picture in pictures)
        assert shown_text(done.stdout).count(HOSTILE) >= 8
