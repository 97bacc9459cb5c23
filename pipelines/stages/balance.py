"""balance: no query brings more than `cap` pairs, so that the head of the distribution does not drown its tail.

A pair stays while any query keeps it, so a query may end with more than `cap` pairs: those that others keep. Source:
CLIP (Radford et al. 2021), 2.2: "we approximately class balance the results by including up to 20,000 pairs per query".
`probability` is MetaCLIP's form of it (wit.balancing). Either way a task needs the pairs of its part and a small table
of the head queries: nothing is joined with the matches, and no task meets all the pairs of a query.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipelines import sql
from pipelines.stages.cutoffs import cutoff_steps, one_task
from pipelines.stages.rejects import reject_pairs
from pipelines.stages.slices import read_slices
from pipelines.stages.tables import read_small
from pipelines.stages.verb import RunSettings
from wit.balancing import CAP, MODES, chances, effective_cap
from wit.schema import (
    CHANCES,
    CUTOFFS,
    MATCH_COUNTS,
    MATCH_HISTOGRAM,
    MATCHED,
    QUERY_COUNTS,
    SLICES,
    TERM_COUNTS,
    TERMS,
)
from wit.schema import REJECTS as REJECTED
from wit.stage import KEPT, REJECTS, Output, Part, SqlStage, Step, View

if TYPE_CHECKING:
    from wit.selecting import Tally

REMAINING, HISTOGRAM = "remaining", "histogram"
REASONS = {
    "over_cap": "each query it matches has `cap` pairs of lower rank (mode cap)",
    "not_drawn": "no query it matches took it in its draw (mode probability)",
}


@dataclass(frozen=True)
class FindChances:
    """Finds the queries that do not take every pair, and with what probability they take one."""

    cap: int

    name: ClassVar[str] = "find_chances"
    reads: ClassVar[pa.Schema] = SLICES
    writes: ClassVar[Mapping[str, pa.Schema]] = {KEPT: CHANCES}

    def __call__(self, batches: Iterator[pa.RecordBatch], part: Part) -> Iterator[Output]:
        """Yield CHANCES from TERM_COUNTS, by query_id."""
        schema = pa.schema([TERM_COUNTS.field(name) for name in ("query_id", "num_before", "num_taken", "num_pool")])
        rows = [batch.cast(schema) for batch in read_slices(part.root, batches, schema.names)]
        terms = pa.Table.from_batches(rows, schema).sort_by("query_id")
        probability = chances(terms, self.cap)
        found = pa.table([terms["query_id"], probability], schema=CHANCES).filter(pa.array(probability < 1.0))
        yield from ((KEPT, batch) for batch in found.to_batches())


@dataclass(frozen=True)
class Choose:
    """Keeps the pairs that a query keeps, rejects the others, and counts what is left."""

    mode: str
    num_buckets: int

    name: ClassVar[str] = "balance"
    reads: ClassVar[pa.Schema] = MATCHED
    writes: ClassVar[Mapping[str, pa.Schema]] = {
        KEPT: MATCHED,
        REJECTS: REJECTED,
        REMAINING: MATCH_COUNTS,
        HISTOGRAM: MATCH_HISTOGRAM,
    }

    def __call__(self, batches: Iterator[pa.RecordBatch], part: Part) -> Iterator[Output]:
        """Yield what stays and what does not, in the order of the part, then the counts."""
        from wit.selecting import Tally

        rule, tally = _rule(part.root, self.name, self.mode), Tally()
        for batch in batches:
            stays = rule(batch)
            tally.add(batch, stays)
            yield KEPT, batch.filter(pa.array(stays))
            reason = "over_cap" if self.mode == CAP else "not_drawn"
            yield REJECTS, reject_pairs(batch.filter(pa.array(~stays)), self.name, reason)
        yield from self._counts(tally)

    def _counts(self, tally: Tally) -> Iterator[Output]:
        for name, table in ((REMAINING, tally.counts(self.num_buckets)), (HISTOGRAM, tally.histogram())):
            yield from ((name, batch) for batch in table.to_batches())


Rule = Callable[[pa.RecordBatch], npt.NDArray[np.bool_]]


def _rule(root: str, folder: str, mode: str) -> Rule:
    """Return what says which pairs of a batch stay, from the tables of the stage in `folder`."""
    from wit.selecting import ChanceRule, CutoffRule

    if mode == CAP:
        return CutoffRule(read_small(root, f"{folder}/cutoffs/kept", CUTOFFS))
    return ChanceRule(read_small(root, f"{folder}/chances/kept", CHANCES))


def balancing_steps(choose: Choose, pairs: str, cap: int, target: str) -> tuple[Step, ...]:
    """Return the steps that balance `pairs`, from STAGE/before (TERM_COUNTS) to STAGE/counts (QUERY_COUNTS).

    `choose` decides the mode, and by its name the stage; it writes to `target`.
    """
    assert choose.mode in MODES
    assert cap > 0
    stage = choose.name
    rule_steps = (
        cutoff_steps(stage, pairs, cap, choose.num_buckets)
        if choose.mode == CAP
        else one_task(f"{stage}/before", FindChances(cap), f"{stage}/chances")
    )
    count = SqlStage(
        name=stage,
        sql=sql.read("balance_counts"),
        reads={"before": View(TERM_COUNTS, "query_bucket"), "counts": View(MATCH_COUNTS, "query_bucket")},
        writes=QUERY_COUNTS,
        bucket="query_bucket",
        sort_by=("query_id",),
    )
    return (
        *rule_steps,
        Step(choose, {"pairs": pairs}, target),
        Step(count, {"before": f"{stage}/before", "counts": f"{target}/{REMAINING}"}, f"{stage}/counts"),
    )


@dataclass(frozen=True)
class Balance:
    """How many pairs a query keeps, and by what rule."""

    cap: int = field(default=20_000, metadata={"min": 1, "help": "most pairs that a query keeps"})
    mode: str = field(
        default=CAP,
        metadata={
            "choices": MODES,
            "help": "cap: a query keeps its pairs of lowest rank; probability: it takes each by chance, as MetaCLIP",
        },
    )
    oversample: float = field(
        default=1.0,
        metadata={"min": 1.0, "help": "keep this many times `cap` here, for what fetch and dedup will lose; pack caps"},
    )

    name: ClassVar[str] = "balance"
    reasons: ClassVar[dict[str, str]] = REASONS

    def steps(self, run: RunSettings) -> tuple[Step, ...]:
        """Count the pairs of each query, find what each keeps, part the pairs by it, and count again."""
        before = SqlStage(
            name=self.name,
            sql=sql.read("balance_before"),
            reads={"terms": View(TERMS, "query_bucket"), "counts": View(MATCH_COUNTS, "query_bucket")},
            writes=TERM_COUNTS,
            bucket="query_bucket",
            sort_by=("query_id",),
        )
        cap, choose = effective_cap(self.cap, self.oversample), Choose(self.mode, run.num_buckets)
        return (
            Step(before, {"terms": "match/queries", "counts": "match/counts"}, "balance/before"),
            *balancing_steps(choose, "match/kept", cap, self.name),
        )

    def inputs(self) -> tuple[str, ...]:
        """Nothing outside the run."""
        return ()
