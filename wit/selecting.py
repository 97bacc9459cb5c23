"""Balancing over batches of pairs: what the passes of wit.balancing count, find and keep.

Each object is made once a part from the small tables of the head queries, and then fed the part's batches, which
have at least the columns that it names (see QUERIED). It imports numba.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from wit import balancing_kernels as kernels
from wit.balancing import NUM_CELLS, cell_table, cell_widths, count_table
from wit.keys import key_words
from wit.schema import BORDER_PAIRS, MATCH_HISTOGRAM

I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


class _Queries(NamedTuple):
    """The queries of row i of a batch: ids[starts[i]:starts[i + 1]]."""

    starts: I32
    ids: I32


def _queries(batch: pa.RecordBatch) -> _Queries:
    column = batch.column("query_ids")
    return _Queries(column.offsets.to_numpy(), column.values.to_numpy())


def _ranks(batch: pa.RecordBatch) -> I64:
    ranks: I64 = batch.column("rank").to_numpy()
    return ranks


def _head_of(table: pa.Table) -> I32:
    """Return for each query_id up to the highest of a table its row there; -1 for those without one."""
    query_ids = table["query_id"].to_numpy()
    rows = np.full(query_ids.max(initial=-1) + 1, -1, np.int32)
    rows[query_ids] = np.arange(len(query_ids), dtype=np.int32)
    return rows


class CellCounter:
    """Counts the ranks of head queries in cells: 512 bytes of memory a head query. Reads rank and query_ids."""

    def __init__(self, heads: pa.Table, cap: int) -> None:
        self._query_ids: I32 = heads["query_id"].to_numpy()
        self._head_of = _head_of(heads)
        self._widths = cell_widths(heads["num_before"].to_numpy(), cap)
        self._counts = np.zeros((len(heads), NUM_CELLS), np.int32)

    def add(self, batch: pa.RecordBatch) -> None:
        """Count a batch."""
        kernels.count_cells(_ranks(batch), *_queries(batch), self._head_of, self._widths, self._counts)

    def table(self, num_buckets: int) -> pa.Table:
        """Return RANK_CELLS of all that was counted."""
        return cell_table(self._query_ids, self._counts, num_buckets)


class BorderFinder:
    """Finds the pairs in the cells of BORDERS. Reads key, rank and query_ids."""

    def __init__(self, borders: pa.Table, num_buckets: int) -> None:
        self._head_of = _head_of(borders)
        self._lows, self._highs = (np.array(borders[name].to_numpy()) for name in ("low", "high"))
        self._query_ids, self._places = (borders[name].to_numpy() for name in ("query_id", "place"))
        self._num_buckets = num_buckets

    def find(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return BORDER_PAIRS of a batch, in the order of its rows."""
        queries = _queries(batch)
        rows, heads = np.empty(len(queries.ids), np.int32), np.empty(len(queries.ids), np.int32)
        count = kernels.find_within(_ranks(batch), *queries, self._head_of, self._lows, self._highs, rows, heads)
        rows, heads = rows[:count], heads[:count]
        query_ids = self._query_ids[heads]
        rank, key = (batch.column(name).take(pa.array(rows)) for name in ("rank", "key"))
        columns = [query_ids, query_ids % np.int32(self._num_buckets), rank, key, self._places[heads]]
        return pa.record_batch(columns, schema=BORDER_PAIRS)


class CutoffRule:
    """Keeps a pair while its (rank, key) is at most the cutoff of any query; a query without one keeps all it matches.

    Reads key, rank and query_ids.
    """

    def __init__(self, cutoffs: pa.Table) -> None:
        self._head_of = _head_of(cutoffs)
        self._ranks: I64 = np.array(cutoffs["rank"].to_numpy())
        self._keys = key_words(cutoffs["key"].combine_chunks())

    def __call__(self, batch: pa.RecordBatch) -> Bools:
        """Return which pairs stay."""
        stays = np.empty(batch.num_rows, np.bool_)
        keys = key_words(batch.column("key"))
        kernels.keep_to_cutoffs(_ranks(batch), keys, *_queries(batch), self._head_of, self._ranks, self._keys, stays)
        return stays


class ChanceRule:
    """Keeps a pair with the probability that any query takes it: rank < (1 - prod(1 - probability)) x 2^63.

    `1 - probability` and the product over the queries, ascending, are float64. A query that is not in the table takes
    all it matches. Reads rank and query_ids.
    """

    def __init__(self, chances: pa.Table) -> None:
        self._head_of = _head_of(chances)
        self._misses: npt.NDArray[np.float64] = 1.0 - chances["probability"].to_numpy()

    def __call__(self, batch: pa.RecordBatch) -> Bools:
        """Return which pairs stay."""
        stays = np.empty(batch.num_rows, np.bool_)
        kernels.keep_by_chance(_ranks(batch), *_queries(batch), self._head_of, self._misses, stays)
        return stays


class Tally:
    """Counts what stays: pairs a query, and pairs by number of queries before and after. Reads query_ids."""

    def __init__(self) -> None:
        self._num_pairs = np.zeros(0, np.int64)
        self._before, self._after = np.zeros(0, np.int64), np.zeros(0, np.int64)

    def add(self, batch: pa.RecordBatch, stays: Bools) -> None:
        """Count a batch of which some stay."""
        queries = _queries(batch)
        num_queries = np.diff(queries.starts)
        self._num_pairs = _padded(self._num_pairs, queries.ids.max(initial=-1) + 1)
        kernels.count_queries(*queries, stays, self._num_pairs)
        longest = num_queries.max(initial=-1) + 1
        self._before = _padded(self._before, longest)
        self._after = _padded(self._after, longest)
        self._before[:longest] += np.bincount(num_queries, minlength=longest)
        self._after[:longest] += np.bincount(num_queries[stays], minlength=longest)

    def counts(self, num_buckets: int) -> pa.Table:
        """Return MATCH_COUNTS of the pairs that stay, by (query_bucket, query_id)."""
        return count_table(self._num_pairs, num_buckets)

    def histogram(self) -> pa.Table:
        """Return MATCH_HISTOGRAM, ascending."""
        num_queries = np.flatnonzero(self._before)
        columns = [num_queries.astype(np.int32), self._before[num_queries], self._after[num_queries]]
        return pa.table(columns, schema=MATCH_HISTOGRAM)


def _padded(values: I64, length: int) -> I64:
    """Return `values`, with zeros to at least `length`."""
    return values if len(values) >= length else np.concatenate([values, np.zeros(length - len(values), np.int64)])
