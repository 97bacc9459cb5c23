"""Comparing two lists: every difference of two dictionaries, counted by source and kind, and what lies behind it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings

from queries.difference import CHANGES, VALUES, Difference, compare
from queries.fitting import SOURCES
from queries.union import unite
from tests.queries.candidates import NaiveUnion, Rows, bigram, rows, synsets, title, word
from tests.queries.test_union import ANY, MEMORY_BYTES
from wit import manifest
from wit.errors import InputError
from wit.schema import DIFFERENCES, QUERIES, conform
from wit.storage import write_parquet

FAULTS: dict[str, tuple[dict[str, list[Any]], str]] = {
    "no ids": ({"query_id": ["a", "b"]}, "whole numbers in query_id, found text"),
    "terms twice": ({"term": ["dog", "dog"]}, "found 2 rows with 1 terms, 2 of them with a known source"),
    "no term": ({"term": ["dog", None]}, "found 2 rows with 1 terms"),
    "other sources": ({"sources": [["word"], ["rumour"]]}, "1 of them with a known source"),
    "no sources": ({"sources": [["word"], []]}, "1 of them with a known source"),
}

FOUND = Rows(
    [word("dog", 9), word("cat", 8)], [bigram("hot dog", 5, 7.5)], [title("Dog", 50), title("Owl", 40)], synsets("eel")
)


def _write(found: Rows, path: Path) -> dict[str, dict[str, Any]]:
    """Write a list as one file; return its rows by term."""
    import pyarrow as pa

    listed = NaiveUnion().add(found).rows(99)
    write_parquet(str(path), conform(pa.Table.from_pylist(listed, schema=QUERIES), QUERIES))
    return {row["term"]: row for row in listed}


def _naive(a: dict[str, dict[str, Any]], b: dict[str, dict[str, Any]]) -> list[tuple[str, str]]:
    """Return (term, change) for all that differs."""
    found = [(term, "removed") for term in a if term not in b] + [(term, "added") for term in b if term not in a]
    for term in set(a) & set(b):
        found += [(term, "moved")] if a[term]["query_id"] != b[term]["query_id"] else []
        found += [(term, "changed")] if any(a[term][name] != b[term][name] for name in VALUES) else []
    return sorted(found)


@settings(max_examples=25, deadline=None)
@given(rows(), rows())
def test_equals_a_comparison_of_dictionaries(tmp_path_factory: pytest.TempPathFactory, left: Rows, right: Rows) -> None:
    """Every change of every term is in the table with both ids and sources; the counts by source and value agree."""
    folder = tmp_path_factory.mktemp("lists")
    a, b = _write(left, folder / "a.parquet"), _write(right, folder / "b.parquet")
    found = compare(str(folder / "a.parquet"), str(folder / "b.parquet"), out=str(folder / "all.parquet"))
    table = pq.read_table(folder / "all.parquet")
    assert table.schema.equals(DIFFERENCES, check_metadata=True)
    written = table.to_pylist()
    assert sorted((row["term"], row["change"]) for row in written) == _naive(a, b)
    for row in written:
        for side, terms in (("a", a), ("b", b)):
            there = terms.get(row["term"], {})
            assert (row[f"id_{side}"], row[f"sources_{side}"]) == (there.get("query_id"), there.get("sources"))
    first = {term: row["sources"][0] for term, row in {**a, **b}.items()}
    counts = Counter((first[term], change) for term, change in _naive(a, b))
    assert found.by_source == {source: {change: counts[source, change] for change in CHANGES} for source in SOURCES}
    both = set(a) & set(b)
    assert found.values == {name: sum(a[term][name] != b[term][name] for term in both) for name in VALUES}
    assert found.num_same_id == sum(a[term]["query_id"] == b[term]["query_id"] for term in both)
    assert (found.num_a, found.num_b) == (len(a), len(b))
    assert found.is_same == (a == b)
    assert found.added == [term for term in b if term not in a][:10]
    assert found.removed == [term for term in a if term not in b][:10]


def test_a_list_equals_itself(tmp_path: Path) -> None:
    """The same list twice: no difference, one line, and an empty table."""
    _write(FOUND, tmp_path / "a.parquet")
    found = compare(str(tmp_path / "a.parquet"), str(tmp_path / "a.parquet"), out=str(tmp_path / "all.parquet"))
    assert found.is_same
    assert found.lines() == ["5 terms -> 5 terms; 5 keep their id", "made from: not known, a manifest is missing"]
    assert pq.read_table(tmp_path / "all.parquet").num_rows == 0


def _built(folder: Path, found: Rows, limit: int) -> str:
    unite(found.write(folder / "files"), replace(ANY, limit=limit), str(folder), str(folder), MEMORY_BYTES, threads=1)
    settings = {"limit": limit, "min_views": 0}
    manifest.write(str(folder / "manifest.json"), {"kind": "queries", "made_from": {"settings": settings}})
    return str(folder)


def test_the_summary_names_terms_values_and_settings(tmp_path: Path) -> None:
    """What is printed: sizes, changes by source, differing values, the highest-ranked terms, differing settings."""
    other = replace(FOUND, words=[word("dog", 9), word("ant", 8)], titles=[title("Dog", 60), title("Owl", 40)])
    found = compare(_built(tmp_path / "a", FOUND, 9), _built(tmp_path / "b", other, 4))
    assert [line.split() for line in found.lines()[1:6]] == [
        ["source", *CHANGES],
        ["word", "1", "1", "0", "1"],
        ["bigram", "0", "0", "0", "0"],
        ["title", "0", "0", "0", "0"],
        ["synset", "0", "1", "0", "0"],
    ]
    assert found.lines()[0] == "5 terms -> 4 terms; 3 keep their id"
    assert found.lines()[6:] == [
        "values that differ: views 1",
        "added: ant",
        "removed: cat, eel",
        "made from: settings.limit: 9 -> 4",
    ]


def test_a_remote_list_is_compared(tmp_path: Path) -> None:
    """A list under a URL is read like one on the disk."""
    import fsspec

    _write(FOUND, tmp_path / "a.parquet")
    with fsspec.open("memory://lists/b/queries.parquet", "wb") as file:
        file.write((tmp_path / "a.parquet").read_bytes())
    assert compare(str(tmp_path / "a.parquet"), "memory://lists/b").is_same


def test_a_folder_may_have_any_name(tmp_path: Path) -> None:
    """Signs that are patterns elsewhere, in the name of a folder, mean themselves."""
    _write(FOUND, tmp_path / "a.parquet")
    for name in ("a[1]*?", "term=dog", "it's"):
        (tmp_path / name).mkdir()
        _write(FOUND, tmp_path / name / "queries.parquet")
        assert compare(str(tmp_path / "a.parquet"), str(tmp_path / name)).is_same


def test_what_is_no_list_is_refused(tmp_path: Path) -> None:
    """A missing list, a file that is no Parquet, and another table are named."""
    _write(FOUND, tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"none/queries\.parquet: expected a file here"):
        compare(str(tmp_path / "a.parquet"), str(tmp_path / "none"))
    (tmp_path / "b.parquet").write_text("text")
    with pytest.raises(InputError, match=r"b\.parquet: not a readable Parquet file"):
        compare(str(tmp_path / "b.parquet"), str(tmp_path / "a.parquet"))
    write_parquet(str(tmp_path / "c.parquet"), pq.read_table(tmp_path / "a.parquet").drop_columns(["npmi"]))
    with pytest.raises(InputError, match=r"c\.parquet: expected a query list, found a table without npmi"):
        compare(str(tmp_path / "a.parquet"), str(tmp_path / "c.parquet"))
    assert isinstance(compare(str(tmp_path / "a.parquet"), str(tmp_path / "a.parquet")), Difference)


@pytest.mark.parametrize("name", FAULTS)
def test_a_table_that_is_no_list_is_refused(name: str, tmp_path: Path) -> None:
    """A column of another type, a term that is there twice or not at all, and unknown sources are InputErrors."""
    import pyarrow as pa

    _write(FOUND, tmp_path / "a.parquet")
    columns, message = FAULTS[name]
    table = pq.read_table(tmp_path / "a.parquet").slice(0, 2)
    for column, values in columns.items():
        array = pa.array(values, pa.list_(pa.string()) if column == "sources" else None)
        table = table.set_column(table.schema.get_field_index(column), column, array)
    pq.write_table(table, tmp_path / "b.parquet")
    with pytest.raises(InputError, match=rf"b\.parquet: expected a query list.*{message}"):
        compare(str(tmp_path / "a.parquet"), str(tmp_path / "b.parquet"))


def test_a_damaged_list_is_refused(tmp_path: Path) -> None:
    """A Parquet file with a whole footer and damaged pages is an InputError, whichever column they are of."""
    import pyarrow as pa

    _write(FOUND, tmp_path / "a.parquet")
    rows = [{"query_id": place, "term": str(place), "sources": ["word"], "views": place} for place in range(1000)]
    write_parquet(str(tmp_path / "b.parquet"), pa.Table.from_pylist(rows, schema=QUERIES))
    data = bytearray((tmp_path / "b.parquet").read_bytes())
    views = pq.read_metadata(tmp_path / "b.parquet").row_group(0).column(QUERIES.names.index("views"))
    start, length = views.dictionary_page_offset or views.data_page_offset, views.total_compressed_size
    data[start + 40 : start + length - 40] = bytes(length - 80)
    (tmp_path / "b.parquet").write_bytes(data)
    with pytest.raises(InputError, match=r"b\.parquet: cannot be read"):
        compare(str(tmp_path / "a.parquet"), str(tmp_path / "b.parquet"))
