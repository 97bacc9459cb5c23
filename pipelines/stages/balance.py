"""balance: no query brings more than `cap` pairs, so that the head of the distribution does not drown its tail.

A pair stays while any query keeps it, so a query may end with more than `cap` pairs: those that others keep. Source:
CLIP (Radford et al. 2021), 2.2: "we approximately class balance the results by including up to 20,000 pairs per query".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from pipelines import sql
from pipelines.stages.verb import RunSettings
from wit.balancing import effective_cap
from wit.schema import MATCHED, MATCHES, QUERY_COUNTS, REJECTS, WINNERS
from wit.stage import SqlStage, Step, View


def choose_winners(name: str, cap: int) -> SqlStage:
    """Return the step of stage `name` that finds, for each query, its `cap` pairs of lowest (rank, key).

    Reads `matches` (MATCHES), writes WINNERS. One pair may have several rows, one a query that keeps it.
    """
    return SqlStage(
        name=name,
        sql=sql.read("balance_winners"),
        reads={"matches": View(MATCHES, "query_bucket")},
        writes=WINNERS,
        bucket="query_bucket",
        sort_by=("query_id", "key"),
        parameters={"cap": cap},
    )


KEEP = SqlStage(
    name="balance",
    sql=sql.read("balance_kept"),
    reads={"pairs": View(MATCHED, "bucket"), "winners": View(WINNERS, "bucket")},
    writes=MATCHED,
    bucket="bucket",
    sort_by=("key",),
)
KEEP_MATCHES = SqlStage(
    name="balance",
    sql=sql.read("balance_matches"),
    reads={"matches": View(MATCHES, "bucket"), "winners": View(WINNERS, "bucket")},
    writes=MATCHES,
    bucket="bucket",
    sort_by=("key", "query_id"),
)
COUNT = SqlStage(
    name="balance",
    sql=sql.read("balance_counts"),
    reads={"before": View(MATCHES, "query_bucket"), "after": View(MATCHES, "query_bucket")},
    writes=QUERY_COUNTS,
    bucket="query_bucket",
    sort_by=("query_id",),
)
REJECT = SqlStage(
    name="balance",
    sql=sql.read("balance_rejects"),
    reads={"pairs": View(MATCHED, "bucket"), "winners": View(WINNERS, "bucket")},
    writes=REJECTS,
    bucket="bucket",
    sort_by=("key",),
)


@dataclass(frozen=True)
class Balance:
    """How many pairs a query keeps."""

    cap: int = field(default=20_000, metadata={"min": 1, "help": "most pairs that a query keeps"})
    oversample: float = field(
        default=1.0,
        metadata={"min": 1.0, "help": "keep this many times `cap` here, for what fetch and dedup will lose; pack caps"},
    )

    name: ClassVar[str] = "balance"
    reasons: ClassVar[dict[str, str]] = {"over_cap": "each query it matches has `cap` pairs of lower rank"}

    def steps(self, run: RunSettings) -> tuple[Step, ...]:
        """Choose each query's pairs, keep their union, count matches before and after."""
        winners = choose_winners(self.name, effective_cap(self.cap, self.oversample))
        pairs = {"pairs": "match/kept", "winners": "balance/winners"}
        return (
            Step(winners, {"matches": "match/matches"}, "balance/winners"),
            Step(KEEP, pairs, "balance/kept"),
            Step(REJECT, pairs, "rejects/balance"),
            Step(KEEP_MATCHES, {"matches": "match/matches", "winners": "balance/winners"}, "balance/matches"),
            Step(COUNT, {"before": "match/matches", "after": "balance/matches"}, "balance/counts"),
        )

    def inputs(self) -> tuple[str, ...]:
        """Nothing outside the run."""
        return ()
