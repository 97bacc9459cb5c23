"""match: which queries each caption holds; a caption that holds none is rejected."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.stages.rejects import reject_pairs
from pipelines.stages.tables import parts
from pipelines.stages.verb import RunSettings
from wit.balancing import count_table
from wit.errors import ContractError, InputError
from wit.matching import MODES, Matcher, Matches
from wit.schema import MATCH_COUNTS, MATCHED, MATCHES, PAIRS, QUERIES, TERMS, conform
from wit.schema import REJECTS as REJECTED
from wit.stage import KEPT, REJECTS, Output, Part, Step
from wit.storage import is_remote, join, local_path, read_parquet, size

QUERIES_FILE = "queries.parquet"
QUERIES_TABLE = "match/queries"
MATCHES_TABLE, COUNTS_TABLE = "matches", "counts"

SLICE_BYTES = 1_000_000
"""Captions that are matched at once: ten thousand usual ones, or one long one; bounds the rows of their matches."""

TERMS_A_PART = 65_536

_COLUMNS = pa.schema([QUERIES.field("query_id"), QUERIES.field("term")])


def _queries_file(path: str) -> str:
    """Return the table of queries: the path itself, or the one in the folder that `wit queries build` writes."""
    return path if path.endswith(".parquet") else join(path, QUERIES_FILE)


def read_terms(url: str) -> pa.ChunkedArray:
    """Return the terms of a table of queries by query_id; raises InputError when it is no such table, or has none."""
    table = read_parquet(url)
    missing = [name for name in _COLUMNS.names if name not in table.column_names]
    if missing:
        raise InputError(
            f"{url}: expected a table of queries (wit queries build), found no column {missing[0]!r} in it"
        )
    try:
        table = conform(table.select(_COLUMNS.names), _COLUMNS).sort_by("query_id")
    except ContractError as error:
        raise InputError(f"{url}: expected a table of queries (wit queries build): {error}") from error
    if not table.num_rows:
        raise InputError(f"{url}: expected queries to match, found an empty list; lower the thresholds of the build")
    if not np.array_equal(table.column("query_id").to_numpy(), np.arange(table.num_rows)):
        raise InputError(f"{url}: expected query_id to count from 0 without gaps; build the queries again")
    return table.column("term")


@dataclass(frozen=True)
class ListQueries:
    """Takes the list into the run, cut by buckets of queries: what later steps and `wit sql` join it by."""

    name: ClassVar[str] = "list_queries"
    writes: ClassVar[pa.Schema] = TERMS

    queries: str
    num_buckets: int

    def __call__(self, root: str) -> Iterator[pa.Table]:
        """Yield the terms by (query_bucket, query_id), in parts of bounded size."""
        terms = read_terms(_queries_file(self.queries))
        query_ids = np.arange(len(terms), dtype=np.int32)
        query_ids = query_ids[np.argsort(query_ids % self.num_buckets, kind="stable")]
        for start in range(0, len(query_ids), TERMS_A_PART):
            chosen = query_ids[start : start + TERMS_A_PART]
            columns = [pa.array(chosen), pa.array(chosen % self.num_buckets), terms.take(pa.array(chosen))]
            yield pa.table(columns, schema=TERMS)


def _matcher(root: str, mode: str) -> Matcher:
    """Return the matcher of a run, built once a process: half a second for 500,000 terms, so not once a part."""
    return _built(tuple((part, *_version(part)) for part in parts(root, QUERIES_TABLE)), mode)


def _version(url: str) -> tuple[int, int]:
    """Return what changes when a file does: size, and time of change where the file is local."""
    return size(url), 0 if is_remote(url) else os.stat(local_path(url)).st_mtime_ns


@lru_cache(maxsize=1)
def _built(versions: tuple[tuple[str, int, int], ...], mode: str) -> Matcher:
    table = pa.concat_tables(conform(read_parquet(url), TERMS) for url, _, _ in versions)
    return Matcher(table.sort_by("query_id").column("term"), mode)


@dataclass(frozen=True)
class MatchCaptions:
    """Finds the queries of each caption, of those that `ListQueries` took into the run."""

    name: ClassVar[str] = "match"
    reads: ClassVar[pa.Schema] = PAIRS
    writes: ClassVar[Mapping[str, pa.Schema]] = {
        KEPT: MATCHED,
        MATCHES_TABLE: MATCHES,
        COUNTS_TABLE: MATCH_COUNTS,
        REJECTS: REJECTED,
    }

    mode: str
    num_buckets: int

    def __call__(self, batches: Iterator[pa.RecordBatch], part: Part) -> Iterator[Output]:
        """Yield the pairs that match, a row a match, the pairs that match none, and at last a row a query."""
        matcher = _matcher(part.root, self.mode)
        num_pairs = np.zeros(matcher.num_terms, np.int64)
        for batch in (piece for whole in batches for piece in _slices(whole)):
            found = matcher.match(batch.column("caption"))
            np.add.at(num_pairs, found.query_ids, 1)
            num_queries = np.bincount(found.rows, minlength=batch.num_rows)
            yield MATCHES_TABLE, _match_rows(batch, found)
            yield KEPT, _with_queries(batch, found, num_queries)
            yield REJECTS, reject_pairs(batch.filter(pa.array(num_queries == 0)), self.name, "no_match")
        yield from ((COUNTS_TABLE, batch) for batch in count_table(num_pairs, self.num_buckets).to_batches())


def _slices(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a batch, as many at a time as have SLICE_BYTES of captions, at least one."""
    ends = np.cumsum(pc.binary_length(batch.column("caption")).to_numpy(), dtype=np.int64)
    start = 0
    while start < batch.num_rows:
        before = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + SLICE_BYTES, "right")))
        yield batch.slice(start, stop - start)
        start = stop


def _match_rows(batch: pa.RecordBatch, found: Matches) -> pa.RecordBatch:
    pairs = batch.select(["key", "bucket"]).take(pa.array(found.rows))
    columns = [*pairs.columns, pa.array(found.query_ids), pa.array(found.positions)]
    return pa.RecordBatch.from_arrays(columns, schema=MATCHES)


def _with_queries(batch: pa.RecordBatch, found: Matches, num_queries: npt.NDArray[np.int64]) -> pa.RecordBatch:
    """Return the rows that match, each with its queries; `found` is sorted by row, then query."""
    kept = batch.filter(pa.array(num_queries > 0))
    offsets = np.concatenate([[0], np.cumsum(num_queries[num_queries > 0])]).astype(np.int32)
    query_ids = pa.ListArray.from_arrays(
        pa.array(offsets), pa.array(found.query_ids), type=MATCHED.field("query_ids").type
    )
    return pa.RecordBatch.from_arrays([*kept.columns, query_ids], schema=MATCHED)


@dataclass(frozen=True)
class Match:
    """Which list of queries, and by what rule."""

    queries: str = field(default="", metadata={"help": "queries.parquet, or the folder that `wit queries build` wrote"})
    mode: str = field(
        default="default", metadata={"choices": MODES, "help": "default: normal forms; metaclip: the published rule"}
    )

    name: ClassVar[str] = "match"
    reasons: ClassVar[dict[str, str]] = {"no_match": "the caption holds no query"}

    def steps(self, run: RunSettings) -> tuple[Step, ...]:
        """Take the list of queries into the run, then match each part of the pairs."""
        return (
            Step(ListQueries(self.queries, run.num_buckets), {}, QUERIES_TABLE),
            Step(MatchCaptions(self.mode, run.num_buckets), {"pairs": "filter_text/kept"}, self.name),
        )

    def inputs(self) -> tuple[str, ...]:
        """Return the table of queries; raises InputError when none is named, or it is no such table."""
        if not self.queries:
            raise InputError("match.queries: expected the queries to match (see wit queries build), found none")
        url = _queries_file(self.queries)
        read_terms(url)
        return (url,)
