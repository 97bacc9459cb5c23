"""pack: the cap once more, exactly, then shards that any WebDataset reader opens.

Samples go in key order, `shard_size` to a shard, whatever the buckets and processes, so the shards of a run are one
sequence of bytes. A shard is one task; it holds one image in memory at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from pipelines import sql
from pipelines.stages.balance import REASONS, Balance, Choose, balancing_steps
from pipelines.stages.slices import SliceTable, read_slice
from pipelines.stages.verb import RunSettings
from wit.balancing import MODES
from wit.schema import (
    FINGERPRINTS,
    IMAGES,
    MATCH_COUNTS,
    MATCHED,
    PACKED,
    QUERIED,
    QUERY_COUNTS,
    SAMPLES,
    SLICES,
    TERM_COUNTS,
)
from wit.shards import read_index, shard_name, write_shard
from wit.stage import KEPT, Output, Part, SqlStage, Step, View
from wit.storage import BlobReader, join

SAME = "same"
SHARDS = "shards"
"""Folder of the shards, relative to the run."""


@dataclass(frozen=True)
class WriteShard:
    """Writes the samples of its slices as one shard, numbered as its part."""

    name: ClassVar[str] = "pack"
    reads: ClassVar[pa.Schema] = SLICES
    writes: ClassVar[Mapping[str, pa.Schema]] = {KEPT: PACKED}

    def __call__(self, batches: Iterator[pa.RecordBatch], part: Part) -> Iterator[Output]:
        """Publish shard and index, then yield which key went where."""
        folder = join(part.root, SHARDS)
        write_shard(folder, part.index, _samples(part.root, batches))
        index = read_index(join(folder, shard_name(part.index)))
        yield from ((KEPT, batch) for batch in index.select(PACKED.names).cast(PACKED).to_batches())


def _samples(root: str, batches: Iterator[pa.RecordBatch]) -> Iterator[tuple[dict[str, Any], bytes]]:
    with BlobReader(root) as blobs:
        for each in (row for batch in batches for row in batch.to_pylist()):
            for rows in read_slice(root, each["part"], each["start"], each["stop"], SAMPLES.names):
                for row in rows.to_pylist():
                    yield row, blobs.read(row["blob"], row["offset"], row["length"])


@dataclass(frozen=True)
class CountQueries:
    """Counts the pairs of each query."""

    num_buckets: int

    name: ClassVar[str] = "count_queries"
    reads: ClassVar[pa.Schema] = pa.schema([QUERIED.field("query_ids")])
    writes: ClassVar[Mapping[str, pa.Schema]] = {KEPT: MATCH_COUNTS}

    def __call__(self, batches: Iterator[pa.RecordBatch], part: Part) -> Iterator[Output]:
        """Yield MATCH_COUNTS of the part."""
        from wit.selecting import Tally

        tally = Tally()
        for batch in batches:
            tally.add(batch, np.ones(batch.num_rows, np.bool_))
        yield from ((KEPT, batch) for batch in tally.counts(self.num_buckets).to_batches())


@dataclass(frozen=True)
class ChooseAgain(Choose):
    """Balances what is left."""

    name: ClassVar[str] = "pack"
    reads: ClassVar[pa.Schema] = QUERIED
    writes: ClassVar[Mapping[str, pa.Schema]] = {**Choose.writes, KEPT: QUERIED}


@dataclass(frozen=True)
class Pack:
    """Balances what is left, by balance's rule without its oversampling, and writes it as shards."""

    cap: int = field(default=0, metadata={"min": 0, "help": "most pairs that a query keeps; 0: balance's cap"})
    mode: str = field(default=SAME, metadata={"choices": (SAME, *MODES), "help": "as in balance; same: balance's mode"})
    shard_size: int = field(default=10_000, metadata={"min": 1, "max": 1_000_000, "help": "samples in a shard"})

    name: ClassVar[str] = "pack"
    reasons: ClassVar[dict[str, str]] = REASONS

    def after(self, balance: Balance) -> Pack:
        """Return this section with balance's cap and mode where it has none of its own."""
        return replace(self, cap=self.cap or balance.cap, mode=balance.mode if self.mode == SAME else self.mode)

    def steps(self, run: RunSettings) -> tuple[Step, ...]:
        """Apply the cap to what is left, join all that a shard says, cut it into shards and write them."""
        choose = ChooseAgain(self.mode, run.num_buckets)
        return (
            *self._count_steps(run.num_buckets),
            *balancing_steps(choose, "pack/queried", self.cap, "pack/chosen"),
            *self._shard_steps(),
        )

    def _count_steps(self, num_buckets: int) -> tuple[Step, ...]:
        left = SqlStage(
            name=self.name,
            sql=sql.read("pack_queried"),
            reads={"pairs": View(QUERIED, "bucket"), "fingerprints": View(FINGERPRINTS, "bucket")},
            writes=QUERIED,
            bucket="bucket",
            sort_by=("key",),
        )
        before = SqlStage(
            name=self.name,
            sql=sql.read("pack_before"),
            reads={"pool": View(QUERY_COUNTS, "query_bucket"), "counts": View(MATCH_COUNTS, "query_bucket")},
            writes=TERM_COUNTS,
            bucket="query_bucket",
            sort_by=("query_id",),
        )
        return (
            Step(left, {"pairs": "balance/kept", "fingerprints": "overlap/kept"}, "pack/queried"),
            Step(CountQueries(num_buckets), {"pairs": "pack/queried"}, "pack/query_counts"),
            Step(before, {"pool": "balance/counts", "counts": "pack/query_counts/kept"}, "pack/before"),
        )

    def _shard_steps(self) -> tuple[Step, ...]:
        gather = SqlStage(
            name=self.name,
            sql=sql.read("pack_samples"),
            reads={
                "chosen": View(QUERIED, "bucket"),
                "images": View(IMAGES, "bucket"),
                "pairs": View(MATCHED, "bucket"),
            },
            writes=SAMPLES,
            bucket="bucket",
            sort_by=("key",),
        )
        sources = {"chosen": "pack/chosen/kept", "images": "filter_image/kept", "pairs": "balance/kept"}
        return (
            Step(gather, sources, "pack/samples"),
            Step(SliceTable("pack/samples", self.shard_size), {}, "pack/slices"),
            Step(WriteShard(), {"slices": "pack/slices"}, self.name),
        )

    def inputs(self) -> tuple[str, ...]:
        """Nothing outside the run."""
        return ()
