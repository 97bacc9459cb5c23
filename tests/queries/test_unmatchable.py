"""What can never match: listed with its reason, counted, not in the list; and what matches without its symbols."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from queries import sql
from queries.union import unite
from queries.unmatchable import REASONS, loses_symbols
from tests.queries.candidates import Rows, rows, synsets, title, word
from tests.queries.test_union import ANY, MEMORY_BYTES
from wit.matching import METACLIP, MODES, Matcher, unmatchable
from wit.schema import UNMATCHABLE
from wit.text import normalise

FOUND = Rows(
    [word("dog", 9), word("st.", 8)],
    titles=[title(*row) for row in [("!!!", 90), ("C++", 80), ("Dog", 70), ("Fire & Ice", 60), ("♥", 50), ("Who?", 5)]],
    synsets=synsets(".22", "dog", "%"),
)  # fmt: skip


def _written(found: Rows, folder: Path) -> tuple[list[dict[str, Any]], list[str], Any]:
    facts = unite(found.write(folder / "files"), ANY, str(folder), str(folder), MEMORY_BYTES, threads=1)
    terms = pq.read_table(folder / "queries.parquet")["term"].to_pylist()
    return pq.read_table(folder / "unmatchable.parquet").to_pylist(), terms, facts


def test_each_kind_is_listed_with_its_reason(tmp_path: Path) -> None:
    """Names without a word, names that lose symbols, a term that `metaclip` cannot find; the rest is not there."""
    written, terms, facts = _written(FOUND, tmp_path)
    assert [
        (row["source"], row["text"], row["term"], row["mode"], row["reason"], row["amount"]) for row in written
    ] == [
        ("title", "!!!", "", "default", "no_word", 90),
        ("title", "C++", "c", "default", "symbols_lost", 80),
        ("title", "Fire & Ice", "fire ice", "default", "symbols_lost", 60),
        ("title", "♥", "", "default", "no_word", 50),
        ("synset", ".22", "22", "default", "symbols_lost", None),
        ("synset", "%", "", "default", "no_word", None),
        ("list", "st.", "st.", "metaclip", "mark", None),
    ]
    assert {row["reason"] for row in written} == set(REASONS)
    assert pq.read_schema(tmp_path / "unmatchable.parquet").equals(UNMATCHABLE, check_metadata=True)
    assert "" not in terms
    assert {"c", "fire ice", "who", "22"} <= set(terms)
    assert facts.unmatchable == {
        "word": {"no_word": 0}, "bigram": {"no_word": 0}, "title": {"no_word": 2}, "synset": {"no_word": 1}
    }  # fmt: skip
    assert facts.symbols_lost == {"word": 0, "bigram": 0, "title": 2, "synset": 1}
    assert facts.unmatchable_metaclip == {"mark": 1}


@settings(max_examples=10, deadline=None)
@given(rows())
def test_every_listed_term_matches_a_caption_that_is_it(tmp_path_factory: pytest.TempPathFactory, found: Rows) -> None:
    """No term of a list is one that no caption can match, by either way of matching."""
    _, terms, _ = _written(found, tmp_path_factory.mktemp("list"))
    for mode in MODES:
        assert unmatchable(terms, mode) == []
        matches = Matcher(terms, mode).match(terms) if terms else None
        if matches is not None:
            hits = set(zip(matches.rows.tolist(), matches.query_ids.tolist(), strict=True))
            assert {(index, index) for index in range(len(terms))} <= hits


@given(st.text(max_size=30))
def test_metaclip_can_find_every_normal_form(text: str) -> None:
    """A normal form has no mark that `metaclip` sets apart, whatever the text was."""
    term = normalise(text)
    assert unmatchable([term] if term else [], METACLIP) == []


SYMBOLS = {"C++": True, "C#": True, ".NET": True, "AT&T": True, "100% Wool": True, "I ♥ NY": True, "Ke$ha": True,
           "Notepad++": True, "M*A*S*H": True, "St. Louis": False, "Who?": False, "Rock 'n' Roll": False,
           "Foo™": False, "Jack-o'-lantern": False, "Sea/Sky": False, "Mercury (planet)": False, "Wait...": False,
           "Straße der Lieder": False, "1½": True, "＃1": True}  # fmt: skip


@pytest.mark.parametrize("name", SYMBOLS)
def test_symbols_are_told_from_punctuation(name: str) -> None:
    """What carries meaning is a symbol; what only separates words is none; what becomes letters is not lost."""
    assert loses_symbols(name) == SYMBOLS[name]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.text(max_size=6), st.sampled_from([*SYMBOLS, ". x", "x .y"])), min_size=1, max_size=20))
def test_the_query_lets_every_name_with_symbols_through(names: list[str]) -> None:
    """What the statement picks out for a closer look holds every name that loses symbols."""
    num = len(names)
    admitted = pa.table(
        {
            "source": [2] * num,
            "place": range(num),
            "name": names,
            "text": names,
            "term": ["x"] * num,
            "amount": [0] * num,
        }
    )
    with duckdb.connect() as connection:
        connection.register("admitted", admitted)
        suspects = {row[1] for row in connection.sql(sql.read("union_suspects")).fetchall()}
    assert {name for name in names if loses_symbols(name)} <= suspects
