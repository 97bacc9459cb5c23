"""overlap: images that show what an evaluation set holds are kept out of the training data.

References, the hashes of all evaluation images, are made once and looked up by every task: 100,000 of them, as the
usual test sets together have, are 10 MB with their names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from pipelines.sources.evaluation_sets import IMAGE, list_inputs, parse_all, read_images
from pipelines.stages.tables import read_small
from pipelines.stages.verb import RunSettings
from wit.fingerprint import phash_stored, to_signed
from wit.hamming import matches_within
from wit.image import ImageRejected, Limits, prepare
from wit.schema import EVALUATION_INPUTS, FINGERPRINTS, REFERENCES, REJECTS, UNREADABLE
from wit.stage import KEPT, Output, Part, Step
from wit.stage import REJECTS as REJECTED
from wit.storage import join

_IMAGES_A_TASK = 1_000
_BATCH_ROWS = 1_000
_TARGET = "overlap/references"


@dataclass(frozen=True)
class Overlap:
    """Rejects images within `radius` bits of any image of any evaluation set."""

    sets: tuple[str, ...] = field(
        default=(),
        metadata={"help": "evaluation sets, each NAME=PATH: a folder of images in folders, or WebDataset tars"},
    )
    radius: int = field(
        default=3,
        metadata={"min": 0, "max": 10, "help": "bits by which the 64-bit hash of a copy may differ"},
    )

    name: ClassVar[str] = "overlap"
    reasons: ClassVar[dict[str, str]] = {"test_overlap": "an evaluation image shows the same; the detail says which"}
    reads: ClassVar[pa.Schema] = FINGERPRINTS
    writes: ClassVar[Mapping[str, pa.Schema]] = {KEPT: FINGERPRINTS, REJECTED: REJECTS}

    def __call__(self, batches: Iterator[pa.RecordBatch], part: Part) -> Iterator[Output]:
        """Yield the rows that match no reference, and a reject for each that does."""
        references = read_references(part.root, _TARGET)
        for batch in batches:
            nearest = _nearest(batch, references, self.radius)
            is_kept = np.ones(batch.num_rows, dtype=np.bool_)
            is_kept[list(nearest)] = False
            yield KEPT, batch.filter(pa.array(is_kept))
            yield REJECTED, _rejects(batch, nearest)

    def steps(self, run: RunSettings) -> tuple[Step, ...]:
        """List the evaluation images, hash them, then compare each part with all of them."""
        return (
            Step(ListEvaluationInputs(self.sets), {}, "overlap/inputs"),
            Step(HashReferences(), {"inputs": "overlap/inputs"}, _TARGET),
            Step(self, {"fingerprints": "dedup/kept"}, self.name),
        )

    def inputs(self) -> tuple[str, ...]:
        """Return the paths of the evaluation sets; raises InputError now for one that would fail after the fetch."""
        sets = parse_all(self.sets)
        for each in sets:
            list_inputs(each)
        return tuple(each.path for each in sets)


@dataclass(frozen=True)
class ListEvaluationInputs:
    """Lists the files of evaluation sets: 1,000 images a task, or one tar."""

    sets: tuple[str, ...]

    name: ClassVar[str] = "overlap"
    writes: ClassVar[pa.Schema] = EVALUATION_INPUTS

    def __call__(self, root: str) -> Iterator[pa.Table]:
        """Yield the inputs of each task; raises UserError for a set that is not there."""
        for evaluation_set in parse_all(self.sets):
            inputs = list_inputs(evaluation_set)
            size = _IMAGES_A_TASK if inputs[0]["kind"] == IMAGE else 1
            for start in range(0, len(inputs), size):
                yield pa.Table.from_pylist(inputs[start : start + size], schema=EVALUATION_INPUTS)


@dataclass(frozen=True)
class HashReferences:
    """Hashes evaluation images, prepared as images of the web are before they are stored.

    They are brought to 512 px. A run may store its images smaller; on 80 photographs of COCO, storing them at 256
    instead moved 72 hashes by nothing and 8 by 2 bits, so the radius need not know.
    """

    name: ClassVar[str] = "overlap"
    reads: ClassVar[pa.Schema] = EVALUATION_INPUTS
    writes: ClassVar[Mapping[str, pa.Schema]] = {KEPT: REFERENCES, "unreadable": UNREADABLE}

    def __call__(self, batches: Iterator[pa.RecordBatch], part: Part) -> Iterator[Output]:
        """Yield a row of REFERENCES for each image, or of UNREADABLE where it cannot be decoded."""
        images = read_images(row for batch in batches for row in batch.to_pylist())
        while rows := [_hash(*image) for image in islice(images, _BATCH_ROWS)]:
            for table, schema in self.writes.items():
                mine = [row for name, row in rows if name == table]
                yield table, pa.RecordBatch.from_pylist(mine, schema=schema)


def _hash(set_name: str, item: str, body: bytes) -> tuple[str, dict[str, Any]]:
    """Return (table, row) of an evaluation image."""
    row: dict[str, Any] = {"set": set_name, "item": item}
    try:
        stored = prepare(body, Limits())
    except ImageRejected as error:
        return "unreadable", row | {"detail": str(error)}
    return KEPT, row | {"phash": to_signed(phash_stored(stored.body))}


def read_references(root: str, target: str) -> pa.Table:
    """Return REFERENCES sorted by hash, set and item: one row a hash, that of the first set and item."""
    everything = read_small(root, join(target, KEPT), REFERENCES)
    ordered = everything.sort_by([("phash", "ascending"), ("set", "ascending"), ("item", "ascending")])
    _, first = np.unique(ordered["phash"].to_numpy(), return_index=True)
    return ordered.take(pa.array(first, pa.int64()))


def _nearest(batch: pa.RecordBatch, references: pa.Table, radius: int) -> dict[int, str]:
    """Return for each row that matches: what its nearest reference is, "SET/ITEM, D bits", ties by name."""
    hashes = batch.column("phash").to_numpy().view(np.uint64)
    i, j, distances = matches_within(hashes, references["phash"].to_numpy().view(np.uint64), radius)
    found = references.take(pa.array(j, pa.int64())).to_pylist()
    best: dict[int, tuple[int, str, str]] = {}
    for position, distance, each in zip(i.tolist(), distances.tolist(), found, strict=True):
        candidate = (distance, each["set"], each["item"])
        best[position] = min(best.get(position, candidate), candidate)
    return {position: f"{name}/{item}, {distance} bits" for position, (distance, name, item) in best.items()}


def _rejects(batch: pa.RecordBatch, nearest: dict[int, str]) -> pa.RecordBatch:
    rows = batch.select(["key", "bucket"]).take(pa.array(nearest, pa.int64())).to_pylist()
    rejects = [
        {**row, "stage": Overlap.name, "reason": "test_overlap", "detail": detail}
        for row, detail in zip(rows, nearest.values(), strict=True)
    ]
    return pa.RecordBatch.from_pylist(rejects, schema=REJECTS)
