"""match: pairs with their queries, one row a match, and a reject for each pair that matches none."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.stages import match
from pipelines.stages.match import ListQueries, Match, MatchCaptions
from pipelines.stages.verb import RunSettings
from tests.support import MemoryPart, real_data, run_map
from wit.errors import InputError
from wit.keys import key_bucket, sample_key, uniform_rank
from wit.schema import PAIRS, TERMS
from wit.text import normalise, tokens


def pairs_of(captions: list[str], num_buckets: int = 4) -> pa.Table:
    """One pair a caption, sorted by key as extract leaves them."""
    rows = []
    for number, caption in enumerate(captions):
        key = sample_key(f"http://u/{number}", caption)
        ids = {"key": key, "bucket": key_bucket(key, num_buckets), "rank": uniform_rank("wit", key)}
        provenance = {"page_url": None, "archive": "a", "offset": number, "attribute": "img@alt", "num_occurrences": 1}
        rows.append({**ids, "url": f"http://u/{number}", "caption": caption, **provenance})
    return pa.Table.from_pylist(rows, schema=PAIRS).sort_by("key")


def write_queries(folder: Path, terms: list[str]) -> str:
    table = pa.table({"query_id": pa.array(range(len(terms)), pa.int32()), "term": terms})
    pq.write_table(table, folder / "queries.parquet")
    return str(folder / "queries.parquet")


def run_match(
    folder: Path, terms: list[str], pairs: pa.Table, mode: str = "default", batch_rows: int = 1000
) -> dict[str, pa.Table]:
    """Return what both steps write: the list, and what was matched with it as the first step left it in the run."""
    queries = write_queries(folder, terms)
    tables = list(ListQueries(queries, 4)(str(folder)))
    listed = folder / "run" / "match" / "queries"
    listed.mkdir(parents=True, exist_ok=True)
    for number, table in enumerate(tables):
        pq.write_table(table, listed / f"part-{number:05d}.parquet")
    part = MemoryPart(folder / "run")
    return {"queries": pa.concat_tables(tables), **run_map(MatchCaptions(mode, 4), pairs, part, batch_rows)}


def test_every_pair_is_matched_or_rejected(tmp_path: Path) -> None:
    """Query ids ascend, rows keep their order and their columns, and a match says where it begins."""
    terms = ["dog", "red dog", "cat", "st louis", "dog s"]
    pairs = pairs_of(["A red dog. Dog!", "nothing here", "St. Louis' cat", "the dog's bed"])
    written = run_match(tmp_path, terms, pairs, batch_rows=3)
    kept = {row["caption"]: row["query_ids"] for row in written["kept"].to_pylist()}
    assert kept == {"A red dog. Dog!": [0, 1], "St. Louis' cat": [2, 3], "the dog's bed": [0]}
    is_kept = pa.array(caption in kept for caption in pairs.column("caption").to_pylist())
    assert written["kept"].drop_columns("query_ids").equals(pairs.filter(is_kept))
    captions = dict(zip(pairs.column("key").to_pylist(), pairs.column("caption").to_pylist(), strict=True))
    rows = [(captions[row["key"]], row["query_id"], row["position"]) for row in written["matches"].to_pylist()]
    assert sorted(rows) == [
        ("A red dog. Dog!", 0, 2),
        ("A red dog. Dog!", 1, 1),
        ("St. Louis' cat", 2, 2),
        ("St. Louis' cat", 3, 0),
        ("the dog's bed", 0, 1),
    ]
    assert [(captions[row["key"]], row["reason"]) for row in written["rejects"].to_pylist()] == [
        ("nothing here", "no_match")
    ]


def test_counts_are_those_of_the_pairs(tmp_path: Path) -> None:
    """A row for each query that matches any pair of the part, by bucket and id, with how many pairs it matches."""
    choose = random.Random(3)
    terms = [f"t{number}" for number in range(40)]
    captions = [" ".join(choose.choices(terms[:30], k=choose.randint(1, 6))) for _ in range(300)]
    written = run_match(tmp_path, terms, pairs_of(captions), batch_rows=7)
    counts = Counter(query for row in written["kept"].to_pylist() for query in row["query_ids"])
    expected = sorted((query % 4, query, number) for query, number in counts.items())
    rows = [(row["query_bucket"], row["query_id"], row["num_pairs"]) for row in written["counts"].to_pylist()]
    assert rows == expected
    assert len(rows) == 30


def test_the_list_is_taken_into_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every term of the list by bucket and id, in parts of bounded size, whatever the order of the list's rows."""
    monkeypatch.setattr(match, "TERMS_A_PART", 3)
    terms = {"query_id": pa.array([3, 1, 2, 0, 4], pa.int32()), "term": ["D", "b c", "c", "a", ""]}
    pq.write_table(pa.table(terms), tmp_path / "queries.parquet")
    tables = list(ListQueries(str(tmp_path), 2)(str(tmp_path)))
    assert [table.num_rows for table in tables] == [3, 2]
    assert pa.concat_tables(tables).to_pydict() == {
        "query_id": [0, 2, 4, 1, 3],
        "query_bucket": [0, 0, 0, 1, 1],
        "term": ["a", "c", "", "b c", "D"],
    }
    assert all(table.schema.equals(TERMS, check_metadata=True) for table in tables)


@pytest.mark.parametrize("mode", ["default", "metaclip"])
def test_batches_and_slices_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    """However many captions are matched at once, the rows of every table are the same, in the same order."""
    choose = random.Random(5)
    words = ["red", "dog", "é", "cat", "of", "x" * 30]
    terms = [" ".join(choose.choices(words, k=choose.randint(1, 4))) for _ in range(200)]
    captions = [" ".join(choose.choices(words, k=choose.randint(0, 9))) for _ in range(200)]
    whole = run_match(tmp_path, terms, pairs_of(captions), mode)
    for slice_bytes, batch_rows in ((1, 1000), (60, 50), (10**6, 1)):
        monkeypatch.setattr(match, "SLICE_BYTES", slice_bytes)
        assert run_match(tmp_path, terms, pairs_of(captions), mode, batch_rows) == whole


def test_a_caption_of_many_matches_has_them_all(tmp_path: Path) -> None:
    """A megabyte of text that holds each of 20,000 terms: one row each, and its neighbours keep theirs."""
    terms = [f"w{number}" for number in range(20_000)]
    long = " ".join(terms * 9)
    assert len(long) > 1_000_000
    pairs = pairs_of(["w1", long, "w2 w1"])
    written = run_match(tmp_path, terms, pairs)
    found = {row["caption"]: row["query_ids"] for row in written["kept"].to_pylist()}
    assert found == {"w1": [1], "w2 w1": [1, 2], long: list(range(20_000))}
    assert written["matches"].num_rows == 20_003


def test_metaclip_mode_is_case_sensitive(tmp_path: Path) -> None:
    """The recipe's mode reaches the matcher."""
    written = run_match(tmp_path, ["dog"], pairs_of(["A dog", "A Dog", "A (dog)"]), "metaclip")
    assert written["kept"].column("caption").to_pylist() == ["A dog"]


def test_the_matcher_is_built_once_a_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts after the first reuse it; a query list that changed on disk is read again."""
    built: list[int] = []

    def count(terms: pa.ChunkedArray, mode: str) -> match.Matcher:
        built.append(len(terms))
        return matcher(terms, mode)

    matcher = match.Matcher
    monkeypatch.setattr(match, "Matcher", count)
    run_match(tmp_path, ["dog"], pairs_of(["a dog"]))
    for _ in range(3):
        run_map(MatchCaptions("default", 4), pairs_of(["a dog"]), MemoryPart(tmp_path / "run"))
    run_match(tmp_path, ["dog", "cat"], pairs_of(["a dog"]))
    assert built == [1, 2]


def test_queries_are_a_file_or_the_folder_that_was_built(tmp_path: Path) -> None:
    """Both name the same table; none at all, or a table of something else, is told in one line."""
    path = write_queries(tmp_path, ["dog"])
    assert Match(queries=str(tmp_path)).inputs() == Match(queries=path).inputs() == (path,)
    with pytest.raises(InputError, match=r"match\.queries"):
        Match().inputs()
    bad = {
        "other": ({"word": ["dog"]}, "expected a table of queries"),
        "typed": ({"query_id": [0], "term": [b"\xff"]}, "expected a table of queries"),
        "null": ({"query_id": [0, 1], "term": ["dog", None]}, "expected a table of queries"),
        "gap": ({"query_id": [0, 2], "term": ["dog", "cat"]}, "without gaps"),
        "empty": ({"query_id": pa.array([], pa.int32()), "term": pa.array([], pa.string())}, "empty list"),
    }
    for name, (columns, message) in bad.items():
        file = str(tmp_path / f"{name}.parquet")
        pq.write_table(pa.table(columns), file)
        with pytest.raises(InputError, match=message):
            Match(queries=file).inputs()
        with pytest.raises(InputError, match=message):
            list(ListQueries(file, 4)(str(tmp_path)))
    first, second = Match(queries=path).steps(RunSettings(num_buckets=3))
    assert (first.stage, first.sources, first.target) == (ListQueries(path, 3), {}, "match/queries")
    assert (second.stage, second.target) == (MatchCaptions("default", 3), "match")


def test_real_captions_match_wordnet_as_naive_search_does(tmp_path: Path) -> None:
    """10,000 alt texts of the web against the lemmas of WordNet: the matches that a set of n-grams gives."""
    index = Path("/usr/share/wordnet/index.noun")
    if not index.exists():
        pytest.skip("WordNet is not here: apt-get install wordnet-base")
    lemmas = {
        normalise(line.split()[0].replace("_", " "))
        for line in index.read_text().splitlines()
        if not line.startswith(" ")
    }
    terms = sorted(lemmas - {""})
    path = real_data("peers", "img2dataset", "test_files", "test_10000.parquet")
    captions = [text for text in pq.read_table(path).column("TEXT").to_pylist() if text]
    written = run_match(tmp_path, terms, pairs_of(captions))
    found = {row["caption"]: [terms[query] for query in row["query_ids"]] for row in written["kept"].to_pylist()}
    for caption in captions:
        words = tokens(caption)
        runs = {
            " ".join(words[at:end]) for at in range(len(words)) for end in range(at + 1, min(at + 9, len(words)) + 1)
        }
        assert found.get(caption, []) == sorted(runs & lemmas)
    assert written["matches"].num_rows == sum(map(len, written["kept"].column("query_ids").to_pylist()))
