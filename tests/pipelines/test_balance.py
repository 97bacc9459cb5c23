"""balance: never above the cap for a query's own pairs, independent of order, monotone; all against a naive rule."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.stages.balance import COUNT, KEEP, KEEP_MATCHES, REJECT, Balance, choose_winners
from pipelines.stages.verb import RunSettings
from tests.support import run_sql
from wit.balancing import effective_cap
from wit.keys import key_bucket, sample_key, uniform_rank
from wit.schema import MATCHED, MATCHES
from wit.stage import SqlStage

Queries = list[list[int]]  # of each pair, which it matches


def tables(queries: Queries, num_buckets: int = 3) -> tuple[pa.Table, pa.Table]:
    """(pairs, matches) of pairs that match the queries given."""
    pairs: list[dict[str, object]] = []
    matches: list[dict[str, object]] = []
    for number, ids in enumerate(queries):
        key = sample_key("http://u/", str(number))
        common = {"key": key, "bucket": key_bucket(key, num_buckets), "rank": uniform_rank("wit", key) >> 60}  # ties
        provenance = {"page_url": None, "archive": "a", "offset": number, "attribute": "img@alt", "num_occurrences": 1}
        pairs.append({**common, "url": "http://u/", "caption": str(number), **provenance, "query_ids": ids})
        matches += [{**common, "query_id": each, "query_bucket": each % num_buckets, "position": 0} for each in ids]
    return pa.Table.from_pylist(pairs, schema=MATCHED), pa.Table.from_pylist(matches, schema=MATCHES)


def balance(pairs: pa.Table, matches: pa.Table, cap: int) -> dict[str, pa.Table]:
    """What the stage's steps write, in their order."""
    winners = run_sql(choose_winners("balance", cap), matches=matches)
    kept_matches = run_sql(KEEP_MATCHES, matches=matches, winners=winners)
    return {
        "winners": winners,
        "kept": run_sql(KEEP, pairs=pairs, winners=winners),
        "rejects": run_sql(REJECT, pairs=pairs, winners=winners),
        "counts": run_sql(COUNT, before=matches, after=kept_matches),
    }


def naive(matches: pa.Table, cap: int) -> set[tuple[int, str]]:
    """(query, key) of the `cap` lowest (rank, key) of each query."""
    by_query: dict[int, list[tuple[int, str]]] = {}
    for row in matches.to_pylist():
        by_query.setdefault(row["query_id"], []).append((row["rank"], row["key"]))
    return {(query, key) for query, rows in by_query.items() for _, key in sorted(rows)[:cap]}


queries_of_pairs = st.lists(
    st.lists(st.integers(0, 6), min_size=1, max_size=4, unique=True).map(sorted), min_size=1, max_size=40
)


@settings(max_examples=12, deadline=None)
@given(queries_of_pairs, st.integers(1, 6))
def test_balance_is_the_naive_rule(queries: Queries, cap: int) -> None:
    """Winners, kept, rejected and counts: each as the definition says; every pair ends in one of two places."""
    pairs, matches = tables(queries)
    written = balance(pairs, matches, cap)
    expected = naive(matches, cap)
    keys = {key for _, key in expected}
    assert {(row["query_id"], row["key"]) for row in written["winners"].to_pylist()} == expected
    assert written["kept"].column("key").to_pylist() == sorted_keys(pairs, keys)
    assert set(written["rejects"].column("key").to_pylist()) == set(pairs.column("key").to_pylist()) - keys
    for row in written["counts"].to_pylist():
        own = [each["key"] for each in matches.to_pylist() if each["query_id"] == row["query_id"]]
        assert (row["num_before"], row["num_after"]) == (len(own), len(keys.intersection(own)))
        assert row["num_after"] >= min(cap, row["num_before"])


def sorted_keys(pairs: pa.Table, keys: set[str]) -> list[str]:
    rows = pairs.sort_by([("bucket", "ascending"), ("key", "ascending")]).column("key").to_pylist()
    return [key for key in rows if key in keys]


@settings(max_examples=6, deadline=None)
@given(queries_of_pairs, st.integers(1, 5), st.randoms(use_true_random=False))
def test_a_smaller_cap_keeps_a_subset_in_any_order(queries: Queries, cap: int, random: Any) -> None:
    """Monotone in the cap; the order of the rows does not matter."""
    pairs, matches = tables(queries)
    order = list(range(matches.num_rows))
    random.shuffle(order)
    smaller = balance(pairs, matches.take(order), cap)["kept"]
    larger = balance(pairs, matches, cap + 1)["kept"]
    assert smaller.equals(balance(pairs, matches, cap)["kept"])
    assert set(smaller.column("key").to_pylist()) <= set(larger.column("key").to_pylist())


@settings(max_examples=4, deadline=None)
@given(queries_of_pairs, st.integers(1, 4))
def test_buckets_give_the_same_rows_as_all_at_once(queries: Queries, cap: int) -> None:
    """Each step may see one bucket after another, as executors do to bound memory."""
    pairs, matches = tables(queries)
    winners = run_sql(choose_winners("balance", cap), matches=matches)
    given = {"matches": matches, "pairs": pairs, "winners": winners, "before": matches, "after": matches}
    for stage in (choose_winners("balance", cap), KEEP, REJECT, KEEP_MATCHES, COUNT):
        sources = {name: given[name] for name in stage.reads}
        assert in_buckets(stage, sources).equals(run_sql(stage, **sources))


def in_buckets(stage: SqlStage, sources: dict[str, pa.Table]) -> pa.Table:
    parts = []
    for bucket in range(3):
        views = {name: pick(table, stage.reads[name].bucket, bucket) for name, table in sources.items()}
        parts.append(run_sql(stage, **views))
    return pa.concat_tables(parts)


def pick(table: pa.Table, column: str | None, bucket: int) -> pa.Table:
    assert column is not None
    return table.filter(pa.array([value == bucket for value in table.column(column).to_pylist()], pa.bool_()))


@pytest.mark.parametrize(
    ("cap", "oversample", "expected"), [(20_000, 1.1, 22_000), (50, 1.0, 50), (3, 1.5, 5), (10, 1.25, 13)]
)
def test_effective_cap(cap: int, oversample: float, expected: int) -> None:
    """Decimal, rounded up: 20,000 x 1.1 is 22,000."""
    assert effective_cap(cap, oversample) == expected


def test_the_section_caps_with_oversampling() -> None:
    """The number in the SQL is cap x oversample."""
    winners = Balance(cap=10, oversample=1.5).steps(RunSettings())[0].stage
    assert isinstance(winners, SqlStage)
    assert winners.parameters == {"cap": 15}
