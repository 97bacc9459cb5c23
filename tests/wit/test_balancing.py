"""Balancing: both rules against naive ones, for any ranks, any cut into parts and batches; statistics by hand."""

from __future__ import annotations

import random
from collections import Counter
from math import prod

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wit.balancing import (
    NUM_CELLS,
    cell_widths,
    chances,
    counts_by_rank,
    effective_cap,
    find_borders,
    statistics,
    sum_histogram,
)
from wit.keys import sample_key, uniform_rank
from wit.schema import (
    BORDER_PAIRS,
    CHANCES,
    CUTOFFS,
    HEADS,
    MATCH_HISTOGRAM,
    QUERIED,
    QUERY_COUNTS,
    RANK_CELLS,
    TERM_COUNTS,
)
from wit.selecting import BorderFinder, CellCounter, ChanceRule, CutoffRule, Tally

TOP = 2**63 - 1
BUCKETS = 3
Pair = tuple[int, str, list[int]]  # rank, key, queries

ranks = st.one_of(st.sampled_from([0, 1, 7, TOP]), st.integers(0, 5), st.integers(0, TOP), st.integers(TOP - 3, TOP))
query_ids = st.lists(st.integers(0, 6), min_size=1, max_size=4, unique=True).map(sorted)


@st.composite
def pairs(draw: st.DrawFn, min_size: int = 0, max_size: int = 60) -> list[Pair]:
    """Pairs with ranks that tie, crowd at an end, or spread; and their queries."""
    rows = draw(st.lists(st.tuples(ranks, query_ids), min_size=min_size, max_size=max_size))
    return [(rank, sample_key("http://u/", str(number)), ids) for number, (rank, ids) in enumerate(rows)]


def table(rows: list[Pair]) -> pa.Table:
    columns = [[key for _, key, _ in rows], [0] * len(rows), [rank for rank, _, _ in rows], [ids for *_, ids in rows]]
    return pa.table([pa.array(column, field.type) for column, field in zip(columns, QUERIED, strict=True)], QUERIED)


def batches(rows: list[Pair], num_parts: int, batch_rows: int) -> list[list[pa.RecordBatch]]:
    """The rows dealt to parts, each cut into batches (views into one table, as a reader may give them)."""
    return [table(rows[part::num_parts]).to_batches(max_chunksize=batch_rows) for part in range(num_parts)]


def counts_of(rows: list[Pair]) -> Counter[int]:
    return Counter(query for *_, ids in rows for query in ids)


def cutoffs_of(rows: list[Pair], cap: int, num_parts: int = 1, batch_rows: int = 1000) -> pa.Table:
    """CUTOFFS, by what the steps of a stage do, with plain Python in place of SQL."""
    parts = batches(rows, num_parts, batch_rows)
    heads = sorted((query, count) for query, count in counts_of(rows).items() if count > cap)
    head_table = pa.Table.from_pylist([dict(zip(HEADS.names, head, strict=True)) for head in heads], schema=HEADS)
    sums: Counter[tuple[int, int, int]] = Counter()
    for part in parts:
        counter = CellCounter(head_table, cap)
        for batch in part:
            counter.add(batch)
        for row in counter.table(BUCKETS).to_pylist():
            sums[row["query_bucket"], row["query_id"], row["cell"]] += row["num_pairs"]
    cells = [dict(zip(RANK_CELLS.names, (q, b, c, n), strict=True)) for (b, q, c), n in sorted(sums.items())]
    cell_batches = pa.Table.from_pylist(cells, schema=RANK_CELLS).to_batches(max_chunksize=batch_rows)
    finder = BorderFinder(find_borders(head_table, cell_batches, cap), BUCKETS)
    found = [finder.find(batch) for part in parts for batch in part]
    near: dict[int, list[tuple[int, str, int]]] = {}
    for row in pa.Table.from_batches(found, BORDER_PAIRS).to_pylist():
        assert row["query_bucket"] == row["query_id"] % BUCKETS
        near.setdefault(row["query_id"], []).append((row["rank"], row["key"], row["place"]))
    last = {query: sorted(rows)[rows[0][2] - 1] for query, rows in sorted(near.items())}
    columns = [(query, query % BUCKETS, rank, key) for query, (rank, key, _) in last.items()]
    return pa.Table.from_pylist([dict(zip(CUTOFFS.names, row, strict=True)) for row in columns], schema=CUTOFFS)


def naive_cap(rows: list[Pair], cap: int) -> set[str]:
    """Each query keeps its `cap` lowest (rank, key)."""
    kept = set()
    for query in counts_of(rows):
        kept |= set(sorted((rank, key) for rank, key, ids in rows if query in ids)[:cap])
    return {key for _, key in kept}


def naive_probability(rows: list[Pair], cap: int) -> set[str]:
    """MetaCLIP's rule, the uniform draw being rank / 2^63; in whole numbers, so that no draw is rounded."""
    counts = counts_of(rows)
    kept = set()
    for rank, key, ids in rows:
        keep = 1.0 - prod(1.0 - min(1.0, cap / counts[query]) for query in ids)
        numerator, denominator = keep.as_integer_ratio()
        if rank * denominator < numerator * 2**63:
            kept.add(key)
    return kept


def chances_of(rows: list[Pair], cap: int) -> pa.Table:
    counted = [(query, query % BUCKETS, "", count, count, count) for query, count in sorted(counts_of(rows).items())]
    terms = pa.Table.from_pylist([dict(zip(TERM_COUNTS.names, row, strict=True)) for row in counted], TERM_COUNTS)
    probability = chances(terms, cap)
    return pa.table([terms["query_id"], probability], schema=CHANCES).filter(pa.array(probability < 1.0))


def kept(rule: CutoffRule | ChanceRule, parts: list[list[pa.RecordBatch]]) -> set[str]:
    rows = [batch.filter(pa.array(rule(batch))) for part in parts for batch in part]
    return set(pa.Table.from_batches(rows, QUERIED)["key"].to_pylist())


@settings(max_examples=150, deadline=None)
@given(pairs(), st.integers(1, 9), st.integers(1, 4), st.integers(1, 20))
def test_cutoffs_are_the_naive_cap(rows: list[Pair], cap: int, num_parts: int, batch_rows: int) -> None:
    """Whatever the ranks and however the pairs are cut into parts and batches: a cutoff is the cap-th (rank, key) of
    its query, queries within the cap have none, and the pairs that stay are those of the naive rule."""
    cutoffs = cutoffs_of(rows, cap, num_parts, batch_rows)
    for row in cutoffs.to_pylist():
        mine = sorted((rank, key) for rank, key, ids in rows if row["query_id"] in ids)
        assert (row["rank"], row["key"]) == mine[cap - 1]
    assert cutoffs["query_id"].to_pylist() == sorted(query for query, num in counts_of(rows).items() if num > cap)
    assert kept(CutoffRule(cutoffs), batches(rows, num_parts, batch_rows)) == naive_cap(rows, cap)


@settings(max_examples=150, deadline=None)
@given(pairs(), st.integers(1, 9), st.integers(1, 4), st.integers(1, 20))
def test_chances_are_the_naive_rule(rows: list[Pair], cap: int, num_parts: int, batch_rows: int) -> None:
    """`probability` keeps exactly the pairs whose rank / 2^63 lies below MetaCLIP's probability."""
    parts = batches(rows, num_parts, batch_rows)
    assert kept(ChanceRule(chances_of(rows, cap)), parts) == naive_probability(rows, cap)


@settings(max_examples=40, deadline=None)
@given(pairs(min_size=1), st.integers(1, 8), st.randoms(use_true_random=False))
def test_a_smaller_cap_keeps_a_subset_in_any_order(rows: list[Pair], cap: int, chance: random.Random) -> None:
    """Both rules are monotone in the cap, and the order of the pairs does not matter."""
    shuffled = rows.copy()
    chance.shuffle(shuffled)
    for rule in (
        lambda rows, cap: kept(CutoffRule(cutoffs_of(rows, cap)), batches(rows, 1, 100)),
        lambda rows, cap: kept(ChanceRule(chances_of(rows, cap)), batches(rows, 1, 100)),
    ):
        assert rule(rows, cap) == rule(shuffled, cap) <= rule(rows, cap + 1)


def many_pairs(count: int) -> list[Pair]:
    """Pairs of uniform ranks: all match query 0, every tenth also query 1, every hundredth query 2 alone."""
    keys = [sample_key("http://u/", str(number)) for number in range(count)]
    ids = [[2] if number % 100 == 0 else [0, 1] if number % 10 == 0 else [0] for number in range(count)]
    return [(uniform_rank("wit", key), key, each) for key, each in zip(keys, ids, strict=True)]


def test_a_query_that_all_pairs_match_costs_no_more_than_its_cells() -> None:
    """Of 20,000 matches of one query, the parts hand on at most 128 counts each and a few pairs, not the matches."""
    rows, cap = many_pairs(20_000), 640
    heads = pa.table([[0, 1], [19_800, 1_800]], schema=HEADS)
    counter = CellCounter(heads, cap)
    (part,) = batches(rows, 1, 4096)
    for batch in part:
        counter.add(batch)
    cells = counter.table(1)
    assert cells.num_rows <= 2 * NUM_CELLS
    finder = BorderFinder(find_borders(heads, cells.to_batches(), cap), 1)
    num_near = sum(finder.find(batch).num_rows for batch in part)
    assert 2 <= num_near < 60  # 10 a query are expected: 640 / 64
    assert kept(CutoffRule(cutoffs_of(rows, cap, 3)), [part]) == naive_cap(rows, cap)


def test_never_more_than_the_cap_where_each_pair_has_one_query() -> None:
    """Without overlaps between queries, exactly `cap` pairs stay of each that has more; by chance, about `cap`."""
    rows = [(rank, key, ids[:1]) for rank, key, ids in many_pairs(20_000)]
    stays = kept(CutoffRule(cutoffs_of(rows, 100)), batches(rows, 2, 999))
    assert counts_of([row for row in rows if row[1] in stays]) == {0: 100, 2: 100}
    drawn = kept(ChanceRule(chances_of(rows, 100)), batches(rows, 2, 999))
    for query, count in counts_of([row for row in rows if row[1] in drawn]).items():
        assert 50 < count < 150, query  # binomial: standard deviation 10; five of them


def test_a_pool_that_was_drawn_from_is_drawn_from_by_the_same_ranks() -> None:
    """Drawing with 300, losing half of the pairs, drawing with 100: what drawing with 100 after the loss alone keeps.

    So the second draw knows how large the pool was; by its own count it would keep all of 150 pairs.
    """
    rows = [(rank, key, [0]) for rank, key, _ in many_pairs(6_000)]
    first = kept(ChanceRule(chances_of(rows, 300)), batches(rows, 1, 1000))
    left = [row for number, row in enumerate(rows) if row[1] in first and number % 2]
    terms = pa.Table.from_pylist(
        [dict(zip(TERM_COUNTS.names, (0, 0, "", len(left), len(first), len(rows)), strict=True))], TERM_COUNTS
    )
    again = kept(ChanceRule(pa.table([[0], chances(terms, 100)], schema=CHANCES)), batches(left, 1, 1000))
    estimate = 100 / (len(left) * len(rows) / len(first))
    assert again == {key for rank, key, _ in left if rank < estimate * 2**63}
    assert 70 < len(again) < 130


@pytest.mark.parametrize(
    ("num_before", "cap", "expected"),
    [(2, 1, 2**56), (10**9, 20_000, 2**63 * 20_000 // (64 * 10**9)), (2**40, 1, 2**17), (2**62, 1, 1)],
)
def test_cells_are_whole_numbers_of_ranks(num_before: int, cap: int, expected: int) -> None:
    """A cell spans 2^63 cap / (64 num_before) ranks, rounded down, at least one."""
    assert cell_widths(np.array([num_before]), cap).tolist() == [expected]


@pytest.mark.parametrize(
    ("cap", "oversample", "expected"),
    [(20_000, 1.1, 22_000), (50, 1.0, 50), (3, 1.5, 5), (10, 1.25, 13), (20_000, 1e300, 2**63 - 1)],
)
def test_effective_cap(cap: int, oversample: float, expected: int) -> None:
    """Decimal, rounded up: 20,000 x 1.1 is 22,000; and never more than a column of counts holds."""
    assert effective_cap(cap, oversample) == expected


@settings(max_examples=40, deadline=None)
@given(pairs(), st.integers(1, 20), st.randoms(use_true_random=False))
def test_a_tally_counts_what_stays(rows: list[Pair], batch_rows: int, chance: random.Random) -> None:
    """Pairs a query, and pairs by the number of their queries, before and after, whatever the batches."""
    tally, left = Tally(), []
    for batch in table(rows).to_batches(max_chunksize=batch_rows):
        stays = np.array([chance.random() < 0.5 for _ in range(batch.num_rows)], np.bool_)
        tally.add(batch, stays)
        left += batch.filter(pa.array(stays))["query_ids"].to_pylist()
    expected = Counter(query for ids in left for query in ids)
    by_bucket = [
        (query, query % BUCKETS, expected[query]) for query in sorted(expected, key=lambda q: (q % BUCKETS, q))
    ]
    assert [tuple(row.values()) for row in tally.counts(BUCKETS).to_pylist()] == by_bucket
    before, after = Counter(len(ids) for *_, ids in rows), Counter(map(len, left))
    histogram = [(number, before[number], after[number]) for number in sorted(before)]
    assert [tuple(row.values()) for row in tally.histogram().to_pylist()] == histogram


def test_statistics_by_hand() -> None:
    """Terms that match 100, 30, 5 and no pairs under a cap of 20: two heads with 130 of 135 matches."""
    counts = pa.table([range(4), [0] * 4, list("abcd"), [5, 100, 0, 30], [5, 25, 0, 20]], schema=QUERY_COUNTS)
    histogram = pa.table([[1, 2, 1], [60, 5, 60], [20, 5, 20]], schema=MATCH_HISTOGRAM)  # of two parts
    found = statistics(counts, histogram, 20)
    assert (found.num_terms, found.num_unmatched, found.num_head, found.num_tail) == (4, 1, 2, 1)
    assert (found.num_matches_before, found.num_matches_after) == (135, 50)
    assert found.head_share_before == pytest.approx(130 / 135)
    assert found.head_share_after == pytest.approx(0.9)
    assert (found.mean_matches_before, found.mean_matches_after) == (135 / 125, 50 / 45)
    assert sum_histogram(histogram).to_pydict() == {"num_queries": [1, 2], "num_before": [120, 5], "num_after": [40, 5]}
    before, after = counts_by_rank(counts)
    assert (before.tolist(), after.tolist()) == ([100, 30, 5, 0], [25, 20, 5, 0])


def test_statistics_of_nothing() -> None:
    """A list without terms, or without matches, has shares of 0, not an error."""
    found = statistics(QUERY_COUNTS.empty_table(), MATCH_HISTOGRAM.empty_table(), 20)
    assert (found.num_tail, found.head_share_before, found.mean_matches_after) == (0, 0, 0)
