"""The arithmetic of balancing, by which the head of the distribution does not drown its tail.

`cap`: a query keeps its `cap` pairs of lowest (rank, key); a pair stays while any query keeps it. That is one cutoff
(rank, key) a query, and it is found exactly without bringing a query's pairs together: ranks are counted in cells, the
cell in which the last pair falls is named, and only that cell's pairs are sorted. Source: CLIP (Radford et al. 2021),
section 2.2, "up to 20,000 (image, text) pairs per query".

`probability`: MetaCLIP's rule (Xu et al. 2023, arXiv 2309.16671, algorithm 1, its `t` being the cap): a query that
matches `count` pairs takes each with probability min(1, cap / count), independently of the others; a pair stays when
any query takes it, so with probability 1 - prod(1 - min(1, cap / count)). One draw decides here, the salted rank.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from math import ceil

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from wit.schema import BORDERS, MATCH_COUNTS, RANK_CELLS

CAP, PROBABILITY = "cap", "probability"
MODES = (CAP, PROBABILITY)

CELLS_A_CAP = 64
"""Cells that hold `cap` pairs when ranks are uniform: a cell then holds cap / 64, 312 pairs at 20,000."""
NUM_CELLS = 2 * CELLS_A_CAP
"""Cells that are counted; what lies beyond them is one more, open cell. The last pair falls into that with probability
exp(-cap / 4) at most when ranks are uniform (Chernoff's bound for a binomial count of mean 2 cap to stay below cap),
1e-11 at a cap of 100; the cutoff is right there, too, but more pairs must be sorted."""

_NUM_RANKS = 1 << 63

I64 = npt.NDArray[np.int64]


def effective_cap(cap: int, oversample: float) -> int:
    """Return the cap that applies before fetching: `cap * oversample`, rounded up.

    The product is exact in the decimal digits of `oversample`: 20,000 x 1.1 is 22,000, not the 22,001 that rounding
    up the floating-point product 22000.000000000004 gives. At most 2^63 - 1, which no query reaches.
    """
    return min(ceil(cap * Fraction(str(oversample))), 2**63 - 1)


def cell_widths(num_before: I64, cap: int) -> I64:
    """Return how many ranks a cell spans, for queries that match `num_before` > `cap` pairs: 1 to 2^63 / 64.

    Cell of a rank: `rank // width`, or NUM_CELLS where that is more. Whole numbers throughout, so that every machine
    draws the same borders.
    """
    spans = (_NUM_RANKS * cap // (CELLS_A_CAP * count) for count in num_before.tolist())
    return np.fromiter((max(1, span) for span in spans), np.int64, len(num_before))


def find_borders(heads: pa.Table, cells: Iterable[pa.RecordBatch], cap: int) -> pa.Table:
    """Return BORDERS: for each query of HEADS, the cell that holds its `cap`-th pair by (rank, key).

    `cells` are rows of RANK_CELLS, one a (query, cell), those of a query together and in order of cells; they may be
    cut anywhere into batches. A query whose counted cells hold fewer than `cap` pairs has its border in the open cell.
    """
    query_ids, widths = heads["query_id"].to_numpy(), cell_widths(heads["num_before"].to_numpy(), cap)
    num_below = np.zeros(len(query_ids), np.int64)
    cell, place = np.full(len(query_ids), NUM_CELLS, np.int64), np.zeros(len(query_ids), np.int64)
    for batch in cells:
        ids, numbers, counts = (batch.column(name).to_numpy() for name in ("query_id", "cell", "num_pairs"))
        head = np.searchsorted(query_ids, ids)
        before = num_below[head] + _running(head, counts)
        is_border = (before < cap) & (cap <= before + counts)
        cell[head[is_border]] = numbers[is_border]
        place[head[is_border]] = cap - before[is_border]
        np.add.at(num_below, head, counts)
    is_open = cell == NUM_CELLS
    place[is_open] = cap - num_below[is_open]
    low = cell * widths  # no more than the rank of a pair, so it fits
    beyond = _NUM_RANKS - 1 - low
    high = low + np.where(is_open, beyond, np.minimum(widths - 1, beyond))
    return pa.table([heads["query_id"], low, high, place], schema=BORDERS)


def _running(groups: I64, counts: I64) -> I64:
    """Return for each row the sum of `counts` over the rows before it in its group; groups stand together."""
    before = np.cumsum(counts) - counts
    is_first = np.ones(len(groups), np.bool_)
    is_first[1:] = groups[1:] != groups[:-1]
    starts = np.flatnonzero(is_first)
    return before - np.repeat(before[starts], np.diff(starts, append=len(groups)))


def cell_table(query_ids: npt.NDArray[np.int32], counts: npt.NDArray[np.int32], num_buckets: int) -> pa.Table:
    """Return RANK_CELLS of `counts`, (queries, NUM_CELLS), by (query_bucket, query_id, cell), empty cells left out."""
    order = np.lexsort((query_ids, query_ids % num_buckets))
    row, cell = np.nonzero(counts[order])
    ids = query_ids[order][row]
    columns = [ids, ids % np.int32(num_buckets), cell.astype(np.int32), counts[order[row], cell].astype(np.int64)]
    return pa.table(columns, schema=RANK_CELLS)


def count_table(num_pairs: I64, num_buckets: int) -> pa.Table:
    """Return MATCH_COUNTS of `num_pairs`, one a query, by (query_bucket, query_id); zeros are left out."""
    query_ids = np.flatnonzero(num_pairs).astype(np.int32)
    query_ids = query_ids[np.argsort(query_ids % np.int32(num_buckets), kind="stable")]
    return pa.table([query_ids, query_ids % np.int32(num_buckets), num_pairs[query_ids]], schema=MATCH_COUNTS)


def chances(terms: pa.Table, cap: int) -> npt.NDArray[np.float64]:
    """Return for rows of TERM_COUNTS the probability with which the query takes a pair; 1 where it takes all.

    (cap / num_before) x (num_taken / num_pool) in float64, in that order: where an earlier cap took num_taken pairs of
    num_pool, what is left stands for a pool that is so much larger, and the same rank decides in it. (By its own count
    alone it would keep all: the ranks that are left are low ones.)
    """
    taken, pool = terms["num_taken"].to_numpy(), terms["num_pool"].to_numpy()
    with np.errstate(divide="ignore", invalid="ignore"):
        share: npt.NDArray[np.float64] = np.minimum(1.0, cap / terms["num_before"].to_numpy() * (taken / pool))
    share[terms["num_before"].to_numpy() == 0] = 1.0
    return share


@dataclass(frozen=True)
class Statistics:
    """The figures by which MetaCLIP describes a distribution (Xu et al. 2023, arXiv 2309.16671)."""

    cap: int
    num_terms: int
    num_unmatched: int
    """Terms without a match."""
    num_head: int
    """Terms that match more than `cap` pairs before balancing."""
    num_matches_before: int
    num_matches_after: int
    head_share_before: float
    """Share of the matches that lie in head terms; 0 where there are no matches. MetaCLIP: 0.94 at 20,000."""
    head_share_after: float
    mean_matches_before: float
    """Matches a pair, of those that match; 0 where there are none. MetaCLIP: 3.5."""
    mean_matches_after: float

    @property
    def num_tail(self) -> int:
        """Terms that match at least one pair, and at most `cap`."""
        return self.num_terms - self.num_unmatched - self.num_head


def statistics(counts: pa.Table, histogram: pa.Table, cap: int) -> Statistics:
    """Return the figures of QUERY_COUNTS and MATCH_HISTOGRAM (as many rows for a number of queries as there are)."""
    before, after = (counts[name].to_numpy() for name in ("num_before", "num_after"))
    is_head = before > cap
    num_before, num_after = int(before.sum()), int(after.sum())
    pairs_before, pairs_after = (pc.sum(histogram[name]).as_py() or 0 for name in ("num_before", "num_after"))
    return Statistics(
        cap=cap,
        num_terms=len(before),
        num_unmatched=int((before == 0).sum()),
        num_head=int(is_head.sum()),
        num_matches_before=num_before,
        num_matches_after=num_after,
        head_share_before=_share(int(before[is_head].sum()), num_before),
        head_share_after=_share(int(after[is_head].sum()), num_after),
        mean_matches_before=_share(num_before, pairs_before),
        mean_matches_after=_share(num_after, pairs_after),
    )


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def counts_by_rank(counts: pa.Table) -> tuple[I64, I64]:
    """Return num_before and num_after of QUERY_COUNTS, the terms in descending order of num_before, then query_id."""
    order = np.lexsort((counts["query_id"].to_numpy(), -counts["num_before"].to_numpy()))
    return counts["num_before"].to_numpy()[order], counts["num_after"].to_numpy()[order]


def sum_histogram(histogram: pa.Table) -> pa.Table:
    """Return MATCH_HISTOGRAM with one row for each number of queries, ascending."""
    sums = histogram.group_by("num_queries").aggregate([("num_before", "sum"), ("num_after", "sum")])
    return sums.rename_columns(["num_queries", "num_before", "num_after"]).sort_by("num_queries")
