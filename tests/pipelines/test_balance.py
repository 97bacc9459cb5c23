"""balance: the steps over tables on disk give what the naive rules give, whatever the parts and the mode."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.stages.balance import Balance
from pipelines.stages.cutoffs import CountRanks
from pipelines.stages.match import Match
from pipelines.stages.pack import Pack
from pipelines.stages.verb import RunSettings
from tests.matched import NUM_TERMS, Queries, write_matched
from tests.support import read_parts, real_data, run_steps, write_part
from wit.balancing import CAP, PROBABILITY, statistics
from wit.keys import key_bucket, sample_key, uniform_rank
from wit.schema import PAIRS
from wit.text import tokens


def naive(pairs: list[dict[str, Any]], cap: int, mode: str) -> set[str]:
    """The keys that stay, by the definitions of the two modes."""
    counts = Counter(query for pair in pairs for query in pair["query_ids"])
    if mode == PROBABILITY:
        chance = {p["key"]: 1.0 - prod(1.0 - min(1.0, cap / counts[query]) for query in p["query_ids"]) for p in pairs}
        return {pair["key"] for pair in pairs if pair["rank"] < int(chance[pair["key"]] * 2**63)}
    by_query: dict[int, list[tuple[int, str]]] = {query: [] for query in counts}
    for pair in pairs:
        for query in pair["query_ids"]:
            by_query[query].append((pair["rank"], pair["key"]))
    return {key for matches in by_query.values() for _, key in sorted(matches)[:cap]}


def balance(root: Path, stage: Balance, num_buckets: int) -> dict[str, pa.Table]:
    run_steps(stage.steps(RunSettings(num_buckets=num_buckets)), root, num_buckets)
    tables = {name: f"balance/{name}" for name in ("kept", "counts", "histogram")} | {"rejects": "rejects/balance"}
    return {name: read_parts(root, table) for name, table in tables.items()}


queries_of_pairs = st.lists(
    st.lists(st.integers(0, 6), min_size=1, max_size=4, unique=True).map(sorted), min_size=1, max_size=40
)


@settings(max_examples=5, deadline=None)
@given(queries_of_pairs, st.integers(1, 6), st.sampled_from([CAP, PROBABILITY]), st.sampled_from([0, 60, 63]))
def test_balance_is_the_naive_rule(queries: Queries, cap: int, mode: str, shift: int) -> None:
    """Kept, rejected and counts: each as the definition says, ranks tied or not; every pair ends in one place."""
    with tempfile.TemporaryDirectory() as folder:
        pairs = write_matched(Path(folder), queries, 2, shift)
        written = balance(Path(folder), Balance(cap=cap, mode=mode), 2)
    stays = naive(pairs.to_pylist(), cap, mode)
    expected = pairs.filter(pa.array([key in stays for key in pairs["key"].to_pylist()])).sort_by("key")
    assert written["kept"].equals(expected)
    rejects = written["rejects"].to_pylist()
    assert {row["key"] for row in rejects} == set(pairs["key"].to_pylist()) - stays
    assert {row["reason"] for row in rejects} <= {"over_cap" if mode == CAP else "not_drawn"}
    counts = written["counts"].sort_by("query_id").to_pylist()
    assert [(row["query_id"], row["term"]) for row in counts] == [(i, f"term {i}") for i in range(NUM_TERMS)]
    for row in counts:
        own = [pair["key"] for pair in pairs.to_pylist() if row["query_id"] in pair["query_ids"]]
        assert (row["num_before"], row["num_after"]) == (len(own), len(stays.intersection(own)))
    found = statistics(written["counts"], written["histogram"], cap)
    assert found.num_matches_before == sum(map(len, queries))
    assert found.mean_matches_before == pytest.approx(sum(map(len, queries)) / len(queries))


@pytest.mark.parametrize("mode", [CAP, PROBABILITY])
def test_neither_the_number_of_parts_nor_the_oversampling_s_form_matters(tmp_path: Path, mode: str) -> None:
    """One bucket or five; a cap of 10, or of 4 taken 2.5 times: the same rows."""
    queries = [[0, *([1 + number % 7] if number % 3 else [])] for number in range(300)]
    found = []
    for num_buckets, stage in ((1, Balance(10, mode)), (5, Balance(10, mode)), (2, Balance(4, mode, 2.5))):
        root = tmp_path / str(num_buckets)
        write_matched(root, queries, num_buckets, 0)
        written = balance(root, stage, num_buckets)
        counts = written["counts"].drop_columns("query_bucket").sort_by("query_id")
        found.append((written["kept"].drop_columns("bucket"), written["rejects"]["key"], counts))
    assert found[0] == found[1] == found[2]
    assert 0 < found[0][0].num_rows < 300


def test_a_skewed_query_sends_no_partition_its_matches(tmp_path: Path) -> None:
    """All of 4,000 pairs match query 0, and no table between the passes over the pairs has more rows for it than its
    cells and the pairs of one cell."""
    write_matched(tmp_path, [[0, *([3] if number % 50 == 0 else [])] for number in range(4_000)], 3, 0)
    written = balance(tmp_path, Balance(cap=500), 3)
    assert written["kept"].num_rows >= 500
    sizes = {
        table: read_parts(tmp_path, f"balance/{table}").num_rows
        for table in (
            "before",
            "heads/kept",
            "ranks/kept",
            "cells",
            "borders/kept",
            "border_pairs/kept",
            "cutoffs/kept",
        )
    }
    assert max(sizes.values()) <= 3 * 128, sizes
    assert sizes["border_pairs/kept"] < 40  # 500 / 64 are expected


def test_pairs_without_a_head_are_not_read(tmp_path: Path) -> None:
    """Where no query is over the cap, the passes that look for cutoffs end before the first batch."""
    write_matched(tmp_path, [[0], [1]], 1, 0)
    balance(tmp_path, Balance(cap=2), 1)

    def refuse() -> Any:
        raise AssertionError("read a batch")
        yield

    class Here:
        root, index = str(tmp_path), 0

    assert list(CountRanks("balance", 2, 1)(refuse(), Here())) == []  # type: ignore[arg-type]


def test_pack_takes_cap_and_mode_of_balance_unless_it_has_its_own() -> None:
    """`0` and `same` mean balance's; oversampling is not for pack."""
    balance = Balance(cap=7, mode=PROBABILITY, oversample=2.0)
    assert Pack().after(balance) == Pack(cap=7, mode=PROBABILITY)
    assert Pack(cap=3, mode=CAP).after(balance) == Pack(cap=3, mode=CAP)


def write_real(root: Path) -> list[dict[str, Any]]:
    """10,000 pairs of LAION-400M as filter_text leaves them, and their 3,000 commonest words and bigrams as the list;
    return the pairs with the queries that each holds, found naively."""
    table = pq.read_table(real_data("peers", "img2dataset", "test_files", "test_10000.parquet"))
    texts = zip(table["URL"].to_pylist(), table["TEXT"].to_pylist(), strict=True)
    rows = {sample_key(url, text): (url, text) for url, text in texts if url and text}
    held = {}
    for key, (_, text) in rows.items():
        words = tokens(text)
        held[key] = {*words, *map(" ".join, pairwise(words))}
    counts = Counter(gram for grams in held.values() for gram in grams)
    terms = sorted(counts, key=lambda gram: (-counts[gram], gram))[:3_000]
    pq.write_table(pa.table({"query_id": pa.array(range(3_000), pa.int32()), "term": terms}), root / "queries.parquet")
    number_of = {term: number for number, term in enumerate(terms)}
    pairs: list[dict[str, Any]] = []
    for key, (url, text) in sorted(rows.items()):
        common = {"key": key, "bucket": key_bucket(key, 2), "rank": uniform_rank("wit", key), "url": url}
        provenance = {"page_url": None, "archive": "a", "offset": 0, "attribute": "TEXT", "num_occurrences": 1}
        ids = sorted(number_of[gram] for gram in held[key] if gram in number_of)
        pairs.append({**common, "caption": text, **provenance, "query_ids": ids})
    for bucket in range(2):
        mine = [{name: pair[name] for name in PAIRS.names} for pair in pairs if pair["bucket"] == bucket]
        write_part(root, "filter_text/kept", bucket, pa.Table.from_pylist(mine, schema=PAIRS))
    return [pair for pair in pairs if pair["query_ids"]]


def test_real_captions_are_matched_and_balanced_as_by_hand(tmp_path: Path) -> None:
    """Of 10,000 real pairs, match and balance, in both modes, keep exactly what naive loops over them keep."""
    pairs = write_real(tmp_path)
    run_steps(Match(str(tmp_path / "queries.parquet")).steps(RunSettings(num_buckets=2)), tmp_path, 2)
    assert read_parts(tmp_path, "match/kept").to_pylist() == pairs
    for mode in (CAP, PROBABILITY):
        for folder in ("balance", "rejects/balance"):
            shutil.rmtree(tmp_path / folder, ignore_errors=True)
        kept = balance(tmp_path, Balance(cap=20, mode=mode), 2)["kept"]
        assert kept["key"].to_pylist() == sorted(naive(pairs, 20, mode))
        assert 0.3 * len(pairs) < kept.num_rows < 0.97 * len(pairs)
