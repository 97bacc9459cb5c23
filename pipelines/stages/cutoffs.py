"""The steps that find each query's last pair under the cap, however many pairs match it.

No step brings a query's matches together. Parts count their ranks in cells; sums of the counts say in which cell the
last pair falls; parts give the pairs of that cell alone, about cap / 64 a query; sorting those names the pair. What
every part must know (the head queries, their borders, their cutoffs) is one small part each, made by one task.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from pipelines import sql
from pipelines.stages.slices import SliceTable, read_slices
from pipelines.stages.tables import read_small
from wit.balancing import find_borders
from wit.schema import BORDER_PAIRS, BORDERS, CUTOFFS, HEADS, QUERIED, RANK_CELLS, SLICES
from wit.stage import KEPT, MapStage, Output, Part, SqlStage, Step, View


def cutoff_steps(stage: str, pairs: str, cap: int, num_buckets: int) -> tuple[Step, ...]:
    """Return the steps from STAGE/before (TERM_COUNTS) and `pairs` (with QUERIED) to STAGE/cutoffs/kept (CUTOFFS)."""
    sum_cells = SqlStage(
        name=stage,
        sql=sql.read("balance_cells"),
        reads={"cells": View(RANK_CELLS, "query_bucket")},
        writes=RANK_CELLS,
        bucket="query_bucket",
        sort_by=("query_id", "cell"),
    )
    pick = SqlStage(
        name=stage,
        sql=sql.read("balance_cutoffs"),
        reads={"pairs": View(BORDER_PAIRS, "query_bucket")},
        writes=CUTOFFS,
        bucket="query_bucket",
        sort_by=("query_id",),
    )
    return (
        *one_task(f"{stage}/before", FindHeads(cap), f"{stage}/heads"),
        Step(CountRanks(stage, cap, num_buckets), {"pairs": pairs}, f"{stage}/ranks"),
        Step(sum_cells, {"cells": f"{stage}/ranks/kept"}, f"{stage}/cells"),
        *one_task(f"{stage}/cells", FindBorders(stage, cap), f"{stage}/borders"),
        Step(FindBorderPairs(stage, num_buckets), {"pairs": pairs}, f"{stage}/border_pairs"),
        Step(pick, {"pairs": f"{stage}/border_pairs/kept"}, f"{stage}/last_pairs"),
        *one_task(f"{stage}/last_pairs", GatherCutoffs(), f"{stage}/cutoffs"),
    )


def one_task(table: str, stage: MapStage, target: str) -> tuple[Step, Step]:
    """Return the steps that give all parts of a table to one task."""
    return (
        Step(SliceTable(table, num_rows=None), {}, f"{target}/slices"),
        Step(stage, {"slices": f"{target}/slices"}, target),
    )


@dataclass(frozen=True)
class FindHeads:
    """Finds the queries that match more pairs than the cap; the others keep all they match."""

    cap: int

    name: ClassVar[str] = "find_heads"
    reads: ClassVar[pa.Schema] = SLICES
    writes: ClassVar[Mapping[str, pa.Schema]] = {KEPT: HEADS}

    def __call__(self, batches: Iterator[pa.RecordBatch], part: Part) -> Iterator[Output]:
        """Yield HEADS from TERM_COUNTS."""
        rows = read_slices(part.root, batches, HEADS.names)
        found = [batch.filter(pc.greater(batch.column("num_before"), self.cap)).cast(HEADS) for batch in rows]
        yield from _kept(pa.Table.from_batches(found, HEADS).sort_by("query_id"))


@dataclass(frozen=True)
class CountRanks:
    """Counts the ranks of the head queries' pairs in cells."""

    folder: str
    """Of the stage's tables."""
    cap: int
    num_buckets: int

    name: ClassVar[str] = "count_ranks"
    reads: ClassVar[pa.Schema] = pa.schema([QUERIED.field(name) for name in ("rank", "query_ids")])
    writes: ClassVar[Mapping[str, pa.Schema]] = {KEPT: RANK_CELLS}

    def __call__(self, batches: Iterator[pa.RecordBatch], part: Part) -> Iterator[Output]:
        """Yield RANK_CELLS of the part."""
        from wit.selecting import CellCounter

        heads = read_small(part.root, f"{self.folder}/heads/kept", HEADS)
        if heads.num_rows:
            counter = CellCounter(heads, self.cap)
            for batch in batches:
                counter.add(batch)
            yield from _kept(counter.table(self.num_buckets))


@dataclass(frozen=True)
class FindBorders:
    """Finds the cell of each head query in which its last pair under the cap falls."""

    folder: str
    cap: int

    name: ClassVar[str] = "find_borders"
    reads: ClassVar[pa.Schema] = SLICES
    writes: ClassVar[Mapping[str, pa.Schema]] = {KEPT: BORDERS}

    def __call__(self, batches: Iterator[pa.RecordBatch], part: Part) -> Iterator[Output]:
        """Yield BORDERS from RANK_CELLS."""
        heads = read_small(part.root, f"{self.folder}/heads/kept", HEADS)
        yield from _kept(find_borders(heads, read_slices(part.root, batches, RANK_CELLS.names), self.cap))


@dataclass(frozen=True)
class FindBorderPairs:
    """Finds the pairs in the cells in which the last ones fall."""

    folder: str
    num_buckets: int

    name: ClassVar[str] = "find_border_pairs"
    reads: ClassVar[pa.Schema] = pa.schema([QUERIED.field(name) for name in ("key", "rank", "query_ids")])
    writes: ClassVar[Mapping[str, pa.Schema]] = {KEPT: BORDER_PAIRS}

    def __call__(self, batches: Iterator[pa.RecordBatch], part: Part) -> Iterator[Output]:
        """Yield BORDER_PAIRS of the part."""
        from wit.selecting import BorderFinder

        borders = read_small(part.root, f"{self.folder}/borders/kept", BORDERS)
        if borders.num_rows:
            finder = BorderFinder(borders, self.num_buckets)
            for batch in batches:
                yield KEPT, finder.find(batch)


@dataclass(frozen=True)
class GatherCutoffs:
    """Brings the cutoffs of all queries together."""

    name: ClassVar[str] = "gather_cutoffs"
    reads: ClassVar[pa.Schema] = SLICES
    writes: ClassVar[Mapping[str, pa.Schema]] = {KEPT: CUTOFFS}

    def __call__(self, batches: Iterator[pa.RecordBatch], part: Part) -> Iterator[Output]:
        """Yield CUTOFFS, by query_id."""
        rows = [batch.cast(CUTOFFS) for batch in read_slices(part.root, batches, CUTOFFS.names)]
        yield from _kept(pa.Table.from_batches(rows, CUTOFFS).sort_by("query_id"))


def _kept(table: pa.Table) -> Iterator[Output]:
    yield from ((KEPT, batch) for batch in table.combine_chunks().to_batches())
