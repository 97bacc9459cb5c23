"""Looking a term up: its row, its neighbours, and for one that is not there, why and what is close."""

from __future__ import annotations

import random
import string
from pathlib import Path

import pyarrow as pa
import pytest

from queries.listing import Found, find, load
from queries.union import unite
from tests.queries.candidates import NaiveUnion, Rows, bigram, synsets, title, word
from tests.queries.test_union import ANY, MEMORY_BYTES
from wit.errors import InputError
from wit.schema import QUERIES
from wit.storage import write_parquet

FOUND = Rows(
    [word("dog", 9), word("cat", 8), word("new", 7), word("lantern", 6)],
    [bigram("hot dog", 5, 7.5, 0.25), bigram("new york", 4, 7.0)],
    [title("Dog", 50, "band"), title("C++", 40), title("!!!", 30), title("Lanterns", 20)],
    synsets("hot dog", "eel", "dog", "new york city"),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a small list."""
    folder = tmp_path_factory.mktemp("list")
    unite(FOUND.write(folder / "files"), ANY, str(folder), str(folder), MEMORY_BYTES, threads=1)
    return str(folder)


def test_load_gives_the_whole_list_by_folder_or_file(folder: str) -> None:
    """The folder of a list and its Parquet file name the same table, of schema QUERIES."""
    table = load(folder)
    assert table.schema.equals(QUERIES)
    assert table.to_pylist() == NaiveUnion().add(FOUND).rows(99) == load(f"{folder}/queries.parquet").to_pylist()


def test_a_term_is_found_by_its_normal_form(folder: str) -> None:
    """Any spelling with the same normal form finds the row, with all that the sources say and the terms beside it."""
    for asked in ("hot dog", "Hot-Dog!", "HOT DOG"):
        found = find(folder, asked)
        assert found.row == load(folder).to_pylist()[4]
        assert (found.term, found.num_terms) == ("hot dog", 10)
        assert (found.before, found.after) == (["cat", "new", "lantern"], ["new york", "c", "lanterns"])
        assert found.closest == found.unmatchable == []
    shown = dict(line.split(maxsplit=1) for line in find(folder, "Hot-Dog").lines())
    assert shown["asked"] == "Hot-Dog"
    assert (shown["query_id"], shown["sources"], shown["npmi"], shown["title"], shown["synsets"]) == (
        "4", "bigram, synset", "0.25", "-", "n0"
    )  # fmt: skip
    assert shown["after"] == "new york, c, lanterns"


def test_the_ends_of_the_list_have_neighbours_on_one_side(folder: str) -> None:
    """The first term has none before it, the last none after."""
    assert (find(folder, "dog").before, find(folder, "dog").after) == ([], ["cat", "new", "lantern"])
    assert (find(folder, "new york city").before, find(folder, "new york city").after) == (["c", "lanterns", "eel"], [])


def test_a_name_that_lost_its_symbols_says_so(folder: str) -> None:
    """ "C++" is found as "c", with a note that the symbols are not sought; "c" itself has no such note."""
    assert find(folder, "c++").lines()[-1].startswith("note          title 'C++': symbols_lost (")
    assert find(folder, "c").unmatchable == []


def test_an_absent_term_has_a_reason_or_close_ones(folder: str) -> None:
    """One line: the normal form, what the file of unmatchable names says, terms that resemble it or begin with it."""
    lost = find(folder, "!!!").absence()
    assert "no normal form: nothing in it can match" in lost
    assert "title '!!!': no_word (nothing in it is a letter or a digit; not in the list)" in lost
    assert find(folder, "lantrens").closest == ["lanterns", "lantern"]
    assert find(folder, "new yo").closest[0] == "new york"
    assert "new york city" in find(folder, "new yo").closest
    absent = find(folder, "Zzz").absence()
    assert absent == f"{folder}/queries.parquet: expected 'Zzz' (normal form 'zzz') among 10 terms, found it not"


def test_a_list_may_lie_alone(folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Parquet file with nothing beside it can be asked, by a bare name too."""
    write_parquet(str(tmp_path / "mine.parquet"), load(folder))
    monkeypatch.chdir(tmp_path)
    assert find("mine.parquet", "c++").unmatchable == []
    assert isinstance(find("mine.parquet", "!!!"), Found)


def test_what_is_no_list_is_refused(tmp_path: Path) -> None:
    """A folder without a list, and a table with other columns, are named with what is missing."""
    with pytest.raises(InputError, match=r"queries\.parquet: expected a file here"):
        find(str(tmp_path), "dog")
    write_parquet(str(tmp_path / "x.parquet"), pa.table({"term": ["dog"], "query_id": [0]}))
    with pytest.raises(InputError, match=r"x\.parquet: expected a query list, found a table without sources"):
        load(str(tmp_path / "x.parquet"))
    row = {"query_id": 0, "term": "dog", "sources": ["word"]}
    write_parquet(str(tmp_path / "queries.parquet"), pa.Table.from_pylist([row], schema=QUERIES))
    write_parquet(str(tmp_path / "unmatchable.parquet"), pa.table({"text": [1]}))
    with pytest.raises(InputError, match=r"unmatchable\.parquet: .* without source"):
        find(str(tmp_path), "dog")


def test_a_long_term_in_a_long_list_is_answered(tmp_path: Path) -> None:
    """Neither a term of a megabyte nor 100,000 terms that all end alike are compared one by one."""
    rng = random.Random(0)
    terms = sorted({"".join(rng.choices(string.ascii_lowercase, k=6)) + "ing" for _ in range(100_000)})
    rows = [{"query_id": number, "term": term, "sources": ["word"]} for number, term in enumerate(terms)]
    write_parquet(str(tmp_path / "long.parquet"), pa.Table.from_pylist(rows, schema=QUERIES))
    assert find(str(tmp_path / "long.parquet"), "x" * 1_000_000).closest == []
    assert len(find(str(tmp_path / "long.parquet"), "qqqqqqing").closest) <= 5
