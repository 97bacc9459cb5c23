"""What balance finds of a run, made of nothing but which pair matches which queries."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa

from tests.support import write_part
from wit.keys import key_bucket, sample_key, uniform_rank
from wit.schema import MATCH_COUNTS, MATCHED, TERMS

NUM_TERMS = 9  # of which no pair matches 7 and 8
Queries = list[list[int]]  # of each pair, which it matches


def write_matched(root: Path, queries: Queries, num_buckets: int, shift: int) -> pa.Table:
    """The tables that match leaves; return all pairs. A `shift` of the ranks by up to 63 bits makes ties."""
    pairs: list[dict[str, Any]] = []
    for number, ids in enumerate(queries):
        key = sample_key("http://u/", str(number))
        common = {"key": key, "bucket": key_bucket(key, num_buckets), "rank": uniform_rank("wit", key) >> shift}
        provenance = {"page_url": None, "archive": "a", "offset": number, "attribute": "img@alt", "num_occurrences": 1}
        pairs.append({**common, "url": "http://u/", "caption": str(number), **provenance, "query_ids": ids})
    for bucket in range(num_buckets):
        mine = sorted((pair for pair in pairs if pair["bucket"] == bucket), key=lambda pair: str(pair["key"]))
        write_part(root, "match/kept", bucket, pa.Table.from_pylist(mine, schema=MATCHED))
        counts = sorted(Counter(query for pair in mine for query in pair["query_ids"]).items())
        rows = [{"query_id": query, "query_bucket": query % num_buckets, "num_pairs": num} for query, num in counts]
        write_part(root, "match/counts", bucket, pa.Table.from_pylist(rows, schema=MATCH_COUNTS))
    terms = [{"query_id": i, "query_bucket": i % num_buckets, "term": f"term {i}"} for i in range(NUM_TERMS)]
    write_part(root, "match/queries", 0, pa.Table.from_pylist(terms, schema=TERMS))
    return pa.Table.from_pylist(pairs, schema=MATCHED)
