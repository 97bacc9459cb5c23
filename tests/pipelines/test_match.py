"""match: pairs with their queries, one row a match, and a reject for each pair that matches none."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.stages import match
from pipelines.stages.match import Match, MatchCaptions
from pipelines.stages.verb import RunSettings
from tests.support import real_data, run_map
from wit.errors import InputError
from wit.keys import key_bucket, sample_key, uniform_rank
from wit.schema import PAIRS
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


def test_every_pair_is_matched_or_rejected(tmp_path: Path) -> None:
    """Query ids ascend, rows keep their order and their columns, and a match says where it begins."""
    queries = write_queries(tmp_path, ["dog", "red dog", "cat", "st louis", "dog s"])
    pairs = pairs_of(["A red dog. Dog!", "nothing here", "St. Louis' cat", "the dog's bed"])
    written = run_map(MatchCaptions(queries, "default", 4), pairs, batch_rows=3)
    kept = {row["caption"]: row["query_ids"] for row in written["kept"].to_pylist()}
    assert kept == {"A red dog. Dog!": [0, 1], "St. Louis' cat": [2, 3], "the dog's bed": [0]}
    is_kept = pa.array(caption in kept for caption in pairs.column("caption").to_pylist())
    assert written["kept"].drop_columns("query_ids").equals(pairs.filter(is_kept))
    captions = dict(zip(pairs.column("key").to_pylist(), pairs.column("caption").to_pylist(), strict=True))
    rows = [
        (captions[row["key"]], row["query_id"], row["query_bucket"], row["position"])
        for row in written["matches"].to_pylist()
    ]
    assert sorted(rows) == [
        ("A red dog. Dog!", 0, 0, 2),
        ("A red dog. Dog!", 1, 1, 1),
        ("St. Louis' cat", 2, 2, 2),
        ("St. Louis' cat", 3, 3, 0),
        ("the dog's bed", 0, 0, 1),
    ]
    assert [(captions[row["key"]], row["reason"]) for row in written["rejects"].to_pylist()] == [
        ("nothing here", "no_match")
    ]


def test_metaclip_mode_is_case_sensitive(tmp_path: Path) -> None:
    """The recipe's mode reaches the matcher."""
    queries = write_queries(tmp_path, ["dog"])
    pairs = pairs_of(["A dog", "A Dog", "A (dog)"])
    written = run_map(MatchCaptions(queries, "metaclip", 4), pairs)
    assert written["kept"].column("caption").to_pylist() == ["A dog"]


def test_the_automaton_is_built_once_a_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts after the first reuse it; a query list that changed on disk is read again."""
    built: list[int] = []

    def count(terms: list[str], mode: str) -> match.Matcher:
        built.append(len(terms))
        return matcher(terms, mode)

    matcher = match.Matcher
    monkeypatch.setattr(match, "Matcher", count)
    stage = MatchCaptions(write_queries(tmp_path, ["dog"]), "default", 4)
    for _ in range(3):
        run_map(stage, pairs_of(["a dog"]))
    write_queries(tmp_path, ["dog", "cat"])
    run_map(stage, pairs_of(["a dog"]))
    assert built == [1, 2]


def test_queries_are_a_file_or_the_folder_that_was_built(tmp_path: Path) -> None:
    """Both name the same table; none at all, or a table of something else, is told in one line."""
    path = write_queries(tmp_path, ["dog"])
    assert Match(queries=str(tmp_path)).inputs() == Match(queries=path).inputs() == (path,)
    with pytest.raises(InputError, match=r"match\.queries"):
        Match().inputs()
    pq.write_table(pa.table({"word": ["dog"]}), tmp_path / "other.parquet")
    with pytest.raises(InputError, match="expected a table of queries"):
        run_map(MatchCaptions(str(tmp_path / "other.parquet"), "default", 4), pairs_of(["a dog"]))
    pq.write_table(pa.table({"query_id": [0, 2], "term": ["dog", "cat"]}), tmp_path / "gap.parquet")
    with pytest.raises(InputError, match="without gaps"):
        run_map(MatchCaptions(str(tmp_path / "gap.parquet"), "default", 4), pairs_of(["a dog"]))
    (step,) = Match(queries=path).steps(RunSettings(num_buckets=3))
    assert step.stage == MatchCaptions(path, "default", 3)


def test_real_captions_match_wordnet_as_naive_search_does(tmp_path: Path) -> None:
    """2,000 alt texts of the web against the lemmas of WordNet: the matches that a set of n-grams gives."""
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
    captions = [text for text in pq.read_table(path).column("TEXT").to_pylist()[:2000] if text]
    written = run_map(MatchCaptions(write_queries(tmp_path, terms), "default", 4), pairs_of(captions))
    found = {row["caption"]: [terms[query] for query in row["query_ids"]] for row in written["kept"].to_pylist()}
    for caption in captions:
        words = tokens(caption)
        runs = {
            " ".join(words[at:end]) for at in range(len(words)) for end in range(at + 1, min(at + 9, len(words)) + 1)
        }
        assert found.get(caption, []) == sorted(runs & lemmas)
    assert written["matches"].num_rows == sum(map(len, written["kept"].column("query_ids").to_pylist()))
