"""What balancing counts, and what it decides."""

from __future__ import annotations

import pyarrow as pa

from wit.schema.candidates import MATCHED
from wit.schema.columns import BUCKET, KEY, QUERY_BUCKET, QUERY_ID, RANK, column

TERM_COUNTS = pa.schema(
    [
        QUERY_ID,
        QUERY_BUCKET,
        column("term", pa.string(), "the term"),
        column("num_before", pa.int64(), "pairs here that match it, before the cap"),
        column("num_taken", pa.int64(), "pairs that match it which an earlier cap left, of num_pool; else num_before"),
        column("num_pool", pa.int64(), "pairs that matched it before that earlier cap; else num_before"),
    ]
)
"""One row for each query of the list: what the cap finds."""

HEADS = pa.schema([QUERY_ID, column("num_before", pa.int64(), "pairs here that match it: more than the cap")])
"""The queries that match more pairs than the cap, by query_id."""

RANK_CELLS = pa.schema(
    [
        QUERY_ID,
        QUERY_BUCKET,
        column("cell", pa.int32(), "interval of ranks, of the width of the query (wit.balancing.cell_widths)"),
        column("num_pairs", pa.int64(), "pairs with a rank in it"),
    ]
)
"""How the ranks of a head query's pairs are spread, up to about twice the cap."""

BORDERS = pa.schema(
    [
        QUERY_ID,
        column("low", pa.int64(), "lowest rank of the cell that holds the last pair under the cap"),
        column("high", pa.int64(), "highest rank of that cell"),
        column("place", pa.int64(), "place of that pair among those of the cell, by (rank, key), from 1"),
    ]
)
"""Where each head query's last pair is to be found."""

BORDER_PAIRS = pa.schema(
    [
        QUERY_ID,
        QUERY_BUCKET,
        RANK,
        KEY,
        column("place", pa.int64(), "place, among these, of the last pair under the cap"),
    ]
)
"""The pairs of the cells that hold the head queries' last pairs."""

CUTOFFS = pa.schema(
    [
        QUERY_ID,
        QUERY_BUCKET,
        column("rank", pa.int64(), "rank of its last pair under the cap"),
        column("key", pa.string(), "key of that pair"),
    ]
)
"""For each head query: it keeps a pair when the pair's (rank, key) is no higher."""

CHANCES = pa.schema(
    [QUERY_ID, column("probability", pa.float64(), "with which its draw takes a pair: the cap over its count; < 1")]
)
"""The head queries of `probability`, by query_id."""

MATCH_HISTOGRAM = pa.schema(
    [
        column("num_queries", pa.int32(), "queries that a pair matches"),
        column("num_before", pa.int64(), "pairs that match so many, before the cap"),
        column("num_after", pa.int64(), "pairs of these that stay"),
    ]
)
"""Pairs by the number of queries that they match; each part counts its own."""

QUERY_COUNTS = pa.schema(
    [
        QUERY_ID,
        QUERY_BUCKET,
        column("term", pa.string(), "the term"),
        column("num_before", pa.int64(), "pairs that match it before balancing"),
        column("num_after", pa.int64(), "pairs that match it after; those that another query keeps count too"),
    ]
)
"""One row for each query of the list, those that match nothing too."""

QUERIED = pa.schema([KEY, BUCKET, RANK, MATCHED.field("query_ids")])
"""What the cap must know of a pair."""
