"""The union: the paper's order, unique terms, a true stop, every source of a term, the same bytes always."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from queries.fitting import SOURCES
from queries.union import NUM_MARGIN_ROWS, Candidates, Thresholds, UnionFacts, unite
from tests.queries.candidates import NaiveUnion, Rows, bigram, rows, synsets, title, word
from wit.errors import UserError
from wit.schema import QUERIES
from wit.storage import ROW_GROUP_ROWS

MEMORY_BYTES = 256 << 20
ANY = Thresholds(min_word_count=1, min_bigram_count=1, min_pmi=-99.0, min_views=0)
THRESHOLDS = st.builds(
    Thresholds,
    min_word_count=st.integers(1, 6),
    min_bigram_count=st.integers(1, 3),
    min_pmi=st.sampled_from([-2.5, -1.0, 0.0, 2.0, 9.0]),
    min_npmi=st.sampled_from([None, 0.6]),
    min_views=st.integers(0, 6),
    limit=st.integers(1, 30),
)


def reached(found: Rows, thresholds: Thresholds) -> Rows:
    """Return the rows that reach given thresholds."""
    least = thresholds.min_npmi if thresholds.min_npmi is not None else -1.0
    return Rows(
        [row for row in found.words if row["count"] >= thresholds.min_word_count],
        [
            row
            for row in found.bigrams
            if row["count"] >= thresholds.min_bigram_count and row["pmi"] >= thresholds.min_pmi and row["npmi"] >= least
        ],
        [row for row in found.titles if row["views"] >= thresholds.min_views],
        found.synsets,
    )


def united(found: Rows, thresholds: Thresholds) -> tuple[list[dict[str, Any]], UnionFacts]:
    """Return the list of some rows, and its facts."""
    with tempfile.TemporaryDirectory() as folder:
        facts = unite(found.write(Path(folder, "files")), thresholds, folder, folder, MEMORY_BYTES, threads=1)
        return pq.read_table(Path(folder, "queries.parquet")).to_pylist(), facts


@settings(max_examples=25, deadline=None)
@given(rows(), THRESHOLDS)
def test_equals_the_plainest_union(found: Rows, thresholds: Thresholds) -> None:
    """Rows, order, ids, every value and all counts equal those of a dictionary that grows term by term."""
    listed, facts = united(found, thresholds)
    admitted = reached(found, thresholds)
    naive = NaiveUnion().add(admitted)
    assert listed == naive.rows(thresholds.limit)
    assert facts.num_terms == len(listed)
    assert facts.num_over_limit == len(naive.terms) - len(listed)
    assert sum(row["terms"] for row in facts.overlaps) == len(listed)
    for source in SOURCES:
        counts = facts.by_source[source]
        assert counts["candidates"] == len(getattr(admitted, f"{source}s"))
        assert counts["unmatchable"] == naive.empty[source] == facts.unmatchable[source]["no_word"]
        assert counts["new"] == sum(term.sources[0] == source for term in naive.terms.values())
        assert counts["candidates"] == counts["new"] + counts["duplicate"] + counts["unmatchable"]
        assert counts["listed"] == sum(source in row["sources"] for row in listed)
        assert counts["listed_first"] == sum(source == row["sources"][0] for row in listed)


def test_a_term_stands_at_its_first_source_and_names_all() -> None:
    """Words, bigrams, titles, synsets in this order; a term that several hold has one row with what each says."""
    found = Rows(
        [word("dog", 9), word("cat", 8)],
        [bigram("hot dog", 5, 7.5, 0.4)],
        [title("Dog", 50, "band"), title("Dog", 40), title("!!!", 30), title("Hot dog", 20), title("Owl", 10)],
        synsets("dog", "hot dog", "eel", "dog"),
    )
    listed, facts = united(found, ANY)
    assert [(row["query_id"], row["term"], row["sources"]) for row in listed] == [
        (0, "dog", ["word", "title", "synset"]),
        (1, "cat", ["word"]),
        (2, "hot dog", ["bigram", "title", "synset"]),
        (3, "owl", ["title"]),
        (4, "eel", ["synset"]),
    ]
    dog, _, hot_dog, owl, _ = listed
    assert (dog["word_count"], dog["title"], dog["disambiguator"], dog["views"]) == (9, "Dog (band)", "band", 50)
    assert dog["synsets"] == ["n0", "n3"]
    assert (hot_dog["bigram_count"], hot_dog["pmi"], hot_dog["npmi"], hot_dog["word_count"]) == (5, 7.5, 0.4, None)
    assert (owl["disambiguator"], owl["synsets"]) == (None, None)
    assert facts.by_source["title"] == {
        "candidates": 5, "new": 1, "duplicate": 3, "unmatchable": 1, "listed": 3, "listed_first": 1
    }  # fmt: skip
    assert facts.overlaps[0] == {"sources": ["bigram", "title", "synset"], "terms": 1}


def test_the_list_stops_at_its_limit() -> None:
    """A limit cuts the list there and nowhere else: what is before it keeps its ids and all its sources."""
    found = Rows([word(f"w{number}", 9) for number in range(5)], synsets=synsets("w1", "x"))
    whole, _ = united(found, replace(ANY, limit=99))
    cut, facts = united(found, replace(ANY, limit=3))
    assert cut == whole[:3]
    assert whole[1]["sources"] == ["word", "synset"]
    assert (len(whole), facts.num_over_limit) == (6, 3)


@settings(max_examples=8, deadline=None)
@given(rows(), THRESHOLDS, st.integers(1, 30))
def test_a_lower_limit_gives_a_prefix(found: Rows, thresholds: Thresholds, limit: int) -> None:
    """With given thresholds, a list with a lower limit is the beginning of one with a higher, row by row."""
    longer, _ = united(found, replace(thresholds, limit=max(limit, thresholds.limit)))
    shorter, _ = united(found, replace(thresholds, limit=min(limit, thresholds.limit)))
    assert longer[: len(shorter)] == shorter


def test_sources_may_be_absent(tmp_path: Path) -> None:
    """No file of a source is the same as an empty one; no candidates at all give an empty table of the right schema."""
    found = Rows([word("dog", 9)], synsets=synsets("eel"))
    files = found.write(tmp_path / "count=1 [*]")
    unite(files, ANY, str(tmp_path / "empty"), str(tmp_path), MEMORY_BYTES)
    facts = unite(replace(files, bigrams=None, titles=None), ANY, str(tmp_path / "absent"), str(tmp_path), MEMORY_BYTES)
    for name in ("queries.parquet", "unmatchable.parquet"):
        assert (tmp_path / "empty" / name).read_bytes() == (tmp_path / "absent" / name).read_bytes()
    assert facts.margins["title"] == {"above": [], "below": []}
    facts = unite(Candidates(), replace(ANY, min_views="fit"), str(tmp_path / "none"), str(tmp_path), MEMORY_BYTES)
    assert pq.read_schema(tmp_path / "none" / "queries.parquet").equals(QUERIES, check_metadata=True)
    assert (facts.num_terms, facts.overlaps, facts.ranks["word"]) == (0, [], [])


def test_margins_show_what_lies_beside_each_threshold() -> None:
    """The last twelve that reach a threshold and the first twelve that do not, the nearest first."""
    found = Rows(
        [word(f"w{number:02}", 100 - number) for number in range(40)],
        [bigram(f"b {number}", 1 + number % 2, float(-number)) for number in range(8)],
        [title(f"T{number}", 9 - number) for number in range(4)],
    )
    _, facts = united(found, replace(ANY, min_word_count=80, min_bigram_count=2, min_pmi=-4.0, min_views=7))
    words = facts.margins["word"]
    assert [row["count"] for row in words["above"]] == list(range(80, 80 + NUM_MARGIN_ROWS))
    assert [row["count"] for row in words["below"]] == list(range(79, 79 - NUM_MARGIN_ROWS, -1))
    assert [row["term"] for row in facts.margins["bigram"]["above"]] == ["b 3", "b 1"]
    assert facts.margins["bigram"]["below"][0] == {"term": "b 5", "count": 2, "pmi": -5.0, "npmi": 0.5}
    assert facts.margins["title"]["below"] == [{"term": "t3", "title": "T3", "views": 6}]


def test_ranks_follow_the_amounts() -> None:
    """At each rank stands the amount of the candidate of that rank; the first and the last are shown, all of few."""
    found = Rows(
        [word(f"w{number}", 1000 // (number + 1)) for number in range(999)],
        [bigram("a b", 3, 9.0), bigram("c d", 7, 8.0), bigram("e f", 7, 2.0)],
    )
    _, facts = united(found, replace(ANY, min_word_count=50))
    ranks = facts.ranks["word"]
    assert [amount for _, amount in ranks] == [1000 // rank for rank, _ in ranks]
    assert (ranks[0][0], ranks[-1][0]) == (1, 999)
    assert 100 < len(ranks) <= 200
    assert facts.ranks["bigram"] == [[1, 7], [2, 7], [3, 3]]


def _many(folder: Path, num_words: int, num_titles: int) -> Candidates:
    """Write candidates by the million: every second title has a term that another one has, or a word."""
    folder.mkdir()
    number = pa.array(range(num_words))
    terms = pc.binary_join_element_wise("word", pc.cast(number, pa.string()), "")
    counts = pc.add(pc.divide(pc.subtract(num_words, number), 10), 1)
    pq.write_table(pa.table({"word": terms, "count": counts}), folder / "words.parquet", row_group_size=ROW_GROUP_ROWS)
    number = pa.array(range(num_titles))
    half = pc.cast(pc.divide(number, 2), pa.string())
    kind = pc.if_else(pc.equal(pc.bit_wise_and(number, 2), 0), "word", "title")
    terms = pc.binary_join_element_wise(kind, half, "")
    titles = pc.binary_join_element_wise(terms, "(", pc.cast(number, pa.string()), ")", " ")
    views = pc.add(pc.divide(pc.subtract(num_titles, number), 7), 1)
    columns = {"title": titles, "name": terms, "disambiguator": half, "term": terms, "views": views}
    pq.write_table(pa.table(columns), folder / "titles.parquet", row_group_size=ROW_GROUP_ROWS)
    return Candidates(words=str(folder / "words.parquet"), titles=str(folder / "titles.parquet"))


def test_the_bytes_depend_on_neither_threads_nor_memory(tmp_path: Path) -> None:
    """One thread and four, ample memory and scarce: the same two files, byte for byte, and the same facts."""
    files = _many(tmp_path / "files", 100_000, 100_000)
    thresholds = Thresholds(min_word_count=5000, min_views="fit", limit=70_000)
    runs = {"one": (1, 512), "four": (4, 512), "scarce": (2, 96)}
    facts = [
        unite(files, thresholds, str(tmp_path / name), str(tmp_path / "scratch"), mib << 20, threads)
        for name, (threads, mib) in runs.items()
    ]
    assert facts[0] == facts[1] == facts[2]
    assert facts[0].num_terms == 70_000
    for name in ("queries.parquet", "unmatchable.parquet"):
        assert len({(tmp_path / run / name).read_bytes() for run in runs}) == 1


def test_too_little_memory_is_said_in_one_line(tmp_path: Path) -> None:
    """When the memory does not suffice even with a disk, the message says so, and no file has its final name."""
    files = _many(tmp_path / "files", 100_000, 10)
    with pytest.raises(UserError, match="1 MiB of memory do not suffice") as caught:
        unite(files, ANY, str(tmp_path / "out"), str(tmp_path / "scratch"), 1 << 20)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out" / "queries.parquet").exists()
