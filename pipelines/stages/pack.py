"""pack: the cap once more, exactly, then shards that any WebDataset reader opens.

Samples go in key order, `shard_size` to a shard, whatever the buckets and processes, so the shards of a run are one
sequence of bytes. A shard is one task; it holds one image in memory at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pyarrow as pa

from pipelines import sql
from pipelines.stages.balance import choose_winners
from pipelines.stages.slices import SliceTable, read_slice
from pipelines.stages.verb import RunSettings
from wit.schema import FINGERPRINTS, IMAGES, MATCHED, MATCHES, PACKED, REJECTS, SAMPLES, SLICES, WINNERS
from wit.shards import read_index, shard_name, write_shard
from wit.stage import KEPT, Output, Part, SqlStage, Step, View
from wit.storage import BlobReader, join

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
class Pack:
    """Keeps the `cap` pairs of lowest rank of each query among those that are left, and writes them as shards."""

    cap: int = field(default=0, metadata={"min": 0, "help": "most pairs that a query keeps; 0: balance's cap"})
    shard_size: int = field(default=10_000, metadata={"min": 1, "max": 1_000_000, "help": "samples in a shard"})

    name: ClassVar[str] = "pack"
    reasons: ClassVar[dict[str, str]] = {"over_cap": "each query it matches has `cap` pairs of lower rank"}

    def steps(self, run: RunSettings) -> tuple[Step, ...]:
        """Apply the cap to what is left, join all that a shard says, cut it into shards and write them."""
        return (*self._cap_steps(), *self._shard_steps())

    def _cap_steps(self) -> tuple[Step, ...]:
        fingerprints, winners = View(FINGERPRINTS, "bucket"), View(WINNERS, "bucket")
        left = SqlStage(
            name=self.name,
            sql=sql.read("pack_matches"),
            reads={"matches": View(MATCHES, "bucket"), "fingerprints": fingerprints},
            writes=MATCHES,
            bucket="bucket",
            sort_by=("key", "query_id"),
        )
        reject = SqlStage(
            name=self.name,
            sql=sql.read("pack_rejects"),
            reads={"fingerprints": fingerprints, "winners": winners},
            writes=REJECTS,
            bucket="bucket",
            sort_by=("key",),
        )
        return (
            Step(left, {"matches": "match/matches", "fingerprints": "overlap/kept"}, "pack/matches"),
            Step(choose_winners(self.name, self.cap), {"matches": "pack/matches"}, "pack/winners"),
            Step(reject, {"fingerprints": "overlap/kept", "winners": "pack/winners"}, "rejects/pack"),
        )

    def _shard_steps(self) -> tuple[Step, ...]:
        gather = SqlStage(
            name=self.name,
            sql=sql.read("pack_samples"),
            reads={
                "winners": View(WINNERS, "bucket"),
                "images": View(IMAGES, "bucket"),
                "pairs": View(MATCHED, "bucket"),
            },
            writes=SAMPLES,
            bucket="bucket",
            sort_by=("key",),
        )
        sources = {"winners": "pack/winners", "images": "filter_image/kept", "pairs": "balance/kept"}
        return (
            Step(gather, sources, "pack/samples"),
            Step(SliceTable("pack/samples", self.shard_size), {}, "pack/slices"),
            Step(WriteShard(), {"slices": "pack/slices"}, self.name),
        )

    def inputs(self) -> tuple[str, ...]:
        """Nothing outside the run."""
        return ()
