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

from pipelines.stages.verb import RunSettings
from wit.errors import ContractError, InputError
from wit.matching import MODES, Matcher, Matches
from wit.schema import MATCHED, MATCHES, PAIRS, QUERIES, conform
from wit.schema import REJECTS as REJECTED
from wit.stage import KEPT, REJECTS, Output, Part, Step
from wit.storage import is_remote, join, local_path, read_parquet, size

QUERIES_FILE = "queries.parquet"
_COLUMNS = pa.schema([QUERIES.field("query_id"), QUERIES.field("term")])
MATCHES_TABLE = "matches"


def _queries_file(path: str) -> str:
    """Return the table of queries: the path itself, or the one in the folder that `wit queries build` writes."""
    return path if path.endswith(".parquet") else join(path, QUERIES_FILE)


def _version(url: str) -> tuple[int, int]:
    """Return what changes when a file does: size, and time of change where the file is local."""
    return size(url), 0 if is_remote(url) else os.stat(local_path(url)).st_mtime_ns


@lru_cache(maxsize=1)
def _matcher(url: str, mode: str, version: tuple[int, int]) -> Matcher:
    """Build the automaton once a process: a second for 500,000 terms, so not once a part."""
    return Matcher(read_terms(url), mode)


def read_terms(url: str) -> list[str]:
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
    if table.column("query_id").to_pylist() != list(range(table.num_rows)):
        raise InputError(f"{url}: expected query_id to count from 0 without gaps; build the queries again")
    terms: list[str] = table.column("term").to_pylist()
    return terms


@dataclass(frozen=True)
class MatchCaptions:
    """Finds the queries of each caption."""

    name: ClassVar[str] = "match"
    reads: ClassVar[pa.Schema] = PAIRS
    writes: ClassVar[Mapping[str, pa.Schema]] = {KEPT: MATCHED, MATCHES_TABLE: MATCHES, REJECTS: REJECTED}

    queries: str
    mode: str
    num_buckets: int

    def __call__(self, batches: Iterator[pa.RecordBatch], part: Part) -> Iterator[Output]:
        """Yield the pairs that match with their queries, one row for each match, and the pairs that match none."""
        url = _queries_file(self.queries)
        matcher = _matcher(url, self.mode, _version(url))
        for batch in batches:
            found = matcher.match(batch.column("caption").to_pylist())
            counts = np.bincount(found.rows, minlength=batch.num_rows)
            yield MATCHES_TABLE, self._match_rows(batch, found)
            yield KEPT, _with_queries(batch, found, counts)
            yield REJECTS, self._rejects(batch.filter(pa.array(counts == 0)))

    def _match_rows(self, batch: pa.RecordBatch, found: Matches) -> pa.RecordBatch:
        pairs = batch.select(["key", "bucket", "rank"]).take(pa.array(found.rows))
        query_buckets = pa.array(found.query_ids % self.num_buckets, pa.int32())
        columns = [*pairs.columns, pa.array(found.query_ids), query_buckets, pa.array(found.positions)]
        return pa.RecordBatch.from_arrays(columns, schema=MATCHES)

    def _rejects(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        constants = {"stage": self.name, "reason": "no_match", "detail": None, "url": None, "caption": None}
        return pa.RecordBatch.from_arrays(
            [batch.column("key"), batch.column("bucket")]
            + [pa.array([value] * batch.num_rows, pa.string()) for value in constants.values()],
            schema=REJECTED,
        )


def _with_queries(batch: pa.RecordBatch, found: Matches, counts: npt.NDArray[np.int64]) -> pa.RecordBatch:
    """Return the rows that match, each with its queries; `found` is sorted by row, then query."""
    kept = batch.filter(pa.array(counts > 0))
    offsets = np.concatenate([[0], np.cumsum(counts[counts > 0])]).astype(np.int32)
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
        """Match each bucket of pairs."""
        return (
            Step(MatchCaptions(self.queries, self.mode, run.num_buckets), {"pairs": "filter_text/kept"}, self.name),
        )

    def inputs(self) -> tuple[str, ...]:
        """Return the table of queries; raises InputError when none is named, or it is no such table."""
        if not self.queries:
            raise InputError("match.queries: expected the queries to match (see wit queries build), found none")
        url = _queries_file(self.queries)
        read_terms(url)
        return (url,)
