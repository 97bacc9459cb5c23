"""pack: the cap once more, exactly, then shards that any WebDataset reader opens.

Samples go in key order, whatever the buckets and processes, so the shards of a run are one sequence of bytes: a shard
ends with `shard_size` samples, or before the one that would make it larger than `shard_bytes`. A shard is one task; it
holds one image in memory at a time. What a shard's files are is a table, of which the manifest is made: it comes last,
and no file is read again for it, wherever they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from pipelines import sql
from pipelines.stages.balance import REASONS, Balance, Choose, balancing_steps
from pipelines.stages.slices import SliceBySize, SliceTable, read_slices
from pipelines.stages.tables import read_small
from pipelines.stages.verb import RunSettings
from wit import tar
from wit.balancing import MODES
from wit.blobs import BlobReader
from wit.errors import OutputError
from wit.schema import (
    FINGERPRINTS,
    IMAGES,
    MATCH_COUNTS,
    MATCHED,
    PACKED,
    QUERIED,
    QUERY_COUNTS,
    SAMPLE_SIZES,
    SAMPLES,
    SHARD_FILES,
    SLICES,
    TERM_COUNTS,
)
from wit.shards import METADATA, Described, Row, publish_manifest, sample_bytes, write_shard
from wit.stage import KEPT, Output, Part, SqlStage, Step, View
from wit.storage import is_remote, join, list_names, local_path

SAME = "same"
SHARDS = "shards"
"""Folder of the shards, relative to the run, unless the recipe names another."""
WRITTEN = "written"
WRITTEN_TABLE = f"pack/{WRITTEN}"
SIZES_TABLE = "pack/sizes"


@dataclass(frozen=True)
class WriteShard:
    """Writes the samples of its slices as one shard, numbered as its part."""

    out: str
    metadata: tuple[str, ...]

    name: ClassVar[str] = "pack"
    reads: ClassVar[pa.Schema] = SLICES
    writes: ClassVar[Mapping[str, pa.Schema]] = {KEPT: PACKED, WRITTEN: SHARD_FILES}

    def __call__(self, batches: Iterator[pa.RecordBatch], part: Part) -> Iterator[Output]:
        """Publish shard and index, then yield which files they are, and which key went where."""
        keys: list[str] = []
        scratch = None if is_remote(part.root) else local_path(part.root)
        samples = _samples(part.root, batches, keys)
        written = write_shard(self.out or join(part.root, SHARDS), part.index, samples, self.metadata, scratch)
        yield WRITTEN, pa.RecordBatch.from_pylist([_as_row(written)], schema=SHARD_FILES)
        shards = pa.repeat(written.of_shard["name"], len(keys))
        yield KEPT, pa.RecordBatch.from_arrays([pa.array(keys, pa.string()), shards], schema=PACKED)


def _samples(root: str, batches: Iterator[pa.RecordBatch], keys: list[str]) -> Iterator[tuple[Row, bytes]]:
    """Yield the samples of slices, and note their keys."""
    rows = (row for batch in read_slices(root, batches, SAMPLES.names) for row in batch.to_pylist())
    with BlobReader(root) as blobs:
        for row, image in blobs.read_rows(rows):
            keys.append(row["key"])
            yield row, image


def _as_row(written: Described) -> dict[str, Any]:
    shard, index = written
    return {
        "shard": shard["name"],
        "num_samples": shard["num_samples"],
        "shard_bytes": shard["bytes"],
        "shard_sha256": shard["sha256"],
        "index": index["name"],
        "index_bytes": index["bytes"],
        "index_sha256": index["sha256"],
    }


def _from_row(row: Mapping[str, Any]) -> Described:
    shard = {"bytes": row["shard_bytes"], "sha256": row["shard_sha256"]}
    index = {"bytes": row["index_bytes"], "sha256": row["index_sha256"]}
    return Described(
        {"name": row["shard"], "num_samples": row["num_samples"], **shard}, {"name": row["index"], **index}
    )


@dataclass(frozen=True)
class MeasureSamples:
    """Says how large each sample will be in its tar."""

    metadata: tuple[str, ...]

    name: ClassVar[str] = "measure_samples"
    reads: ClassVar[pa.Schema] = SAMPLES
    writes: ClassVar[Mapping[str, pa.Schema]] = {KEPT: SAMPLE_SIZES}

    def __call__(self, batches: Iterator[pa.RecordBatch], part: Part) -> Iterator[Output]:
        """Yield SAMPLE_SIZES in the order read."""
        for batch in batches:
            sizes = [sample_bytes(row, self.metadata) for row in batch.to_pylist()]
            yield KEPT, pa.RecordBatch.from_arrays([pa.array(sizes, pa.int64())], schema=SAMPLE_SIZES)


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
    shard_size: int = field(default=10_000, metadata={"min": 1, "max": 1_000_000, "help": "most samples in a shard"})
    shard_bytes: int = field(
        default=0, metadata={"min": 0, "help": "most bytes of a tar, unless one sample takes more; 0: any number"}
    )
    metadata: tuple[str, ...] = field(
        default=METADATA, metadata={"choices": METADATA, "help": "what a sample's JSON member says; indexes say it all"}
    )
    out: str = field(
        default="", metadata={"help": "folder or URL for the shards, new or empty; none: `shards` in the run's own"}
    )

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
                "prints": View(FINGERPRINTS, "bucket"),
            },
            writes=SAMPLES,
            bucket="bucket",
            sort_by=("key",),
        )
        sources = {
            "chosen": "pack/chosen/kept",
            "images": "filter_image/kept",
            "pairs": "balance/kept",
            "prints": "overlap/kept",
        }
        return (
            Step(gather, sources, "pack/samples"),
            *self._cut_steps(),
            Step(WriteShard(self.out, self.metadata), {"slices": "pack/slices"}, self.name),
        )

    def _cut_steps(self) -> tuple[Step, ...]:
        """Say which samples each shard gets: by count from footers alone, by bytes from the size of each."""
        if not self.shard_bytes:
            return (Step(SliceTable("pack/samples", self.shard_size), {}, "pack/slices"),)
        plan = SliceBySize("pack/samples", f"{SIZES_TABLE}/{KEPT}", self.shard_size, self.shard_bytes - len(tar.END))
        return (
            Step(MeasureSamples(self.metadata), {"samples": "pack/samples"}, SIZES_TABLE),
            Step(plan, {}, "pack/slices"),
        )

    def inputs(self) -> tuple[str, ...]:
        """Nothing outside the run."""
        return ()

    def folder(self, root: str) -> str:
        """Return where the shards of a run are written."""
        return self.out or join(root, SHARDS)

    def publish_manifest(self, root: str) -> None:
        """Publish the manifest of a run's shards, the last of their files; raises OutputError when one is not there."""
        folder = self.folder(root)
        described = [_from_row(row) for row in read_small(root, WRITTEN_TABLE, SHARD_FILES).to_pylist()]
        there = set(list_names(folder))
        missing = [each["name"] for both in described for each in both if each["name"] not in there]
        if missing:
            raise OutputError(f"{folder}: expected {missing[0]}, found no such file; write all anew with --from pack")
        publish_manifest(folder, described, {"metadata": [name for name in METADATA if name in self.metadata]})
