"""overlap: images that show what an evaluation set holds are kept out of the training data.

References, the prints of all evaluation images, are made once and looked up by every task: 100,000 of them, as the
usual test sets together have, are 13 MB with their names; eight times that with all turns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.stages.fingerprint import Fingerprint
from pipelines.stages.references import References
from pipelines.stages.rules import rule_field, rule_of
from pipelines.stages.tables import read_small
from pipelines.stages.thresholds import MAX_RADIUS, parse_thresholds, rules_of
from pipelines.stages.verb import RunSettings
from wit.evaluation_sets import list_inputs, parse_all, read_items
from wit.evaluation_sets.pieces import Item
from wit.fingerprint import TURN_OPTIONS, Prints, fingerprint
from wit.image import ImageRejected
from wit.near import Rule, copy_rule
from wit.schema import EVALUATION_INPUTS, FINGERPRINTS, REFERENCES, REJECTS, UNREADABLE
from wit.stage import KEPT, Output, Part, Step
from wit.stage import REJECTS as REJECTED
from wit.storage import join

_BATCH_ROWS = 1_000
_TARGET = "overlap/references"
_RULE = copy_rule()


@dataclass(frozen=True)
class Overlap:
    """Rejects images that are near-duplicates of any image of any evaluation set."""

    sets: tuple[str, ...] = field(
        default=(),
        metadata={"help": "evaluation sets, each NAME=PATH or NAME=FORMAT:PATH, as wit overlap --against takes them"},
    )
    hash: str = rule_field("hash", _RULE)
    phash_radius: int = rule_field("phash_radius", _RULE)
    pdq_radius: int = rule_field("pdq_radius", _RULE)
    min_quality: int = rule_field("min_quality", _RULE)
    thresholds: tuple[str, ...] = field(
        default=(),
        metadata={"help": "radius of a set of its own, each NAME=BITS: of pHash when hash is phash, else of PDQ"},
    )
    turns: str = field(
        default="none",
        metadata={"choices": tuple(TURN_OPTIONS), "help": "also find copies that are mirrored, or in all eight turns"},
    )

    name: ClassVar[str] = "overlap"
    reasons: ClassVar[dict[str, str]] = {"test_overlap": "an evaluation image shows the same; the detail says which"}
    reads: ClassVar[pa.Schema] = FINGERPRINTS
    writes: ClassVar[Mapping[str, pa.Schema]] = {KEPT: FINGERPRINTS, REJECTED: REJECTS}

    def __call__(self, batches: Iterator[pa.RecordBatch], part: Part) -> Iterator[Output]:
        """Yield the rows that match no reference, and a reject for each that does."""
        references = References.of(read_small(part.root, join(_TARGET, KEPT), REFERENCES), self._rules())
        for batch in batches:
            nearest = references.nearest(Prints.of(batch), 1).samples
            is_kept = np.ones(batch.num_rows, dtype=np.bool_)
            is_kept[nearest.sample] = False
            yield KEPT, batch.filter(pa.array(is_kept))
            names = references.names(nearest, ("set", "item"))
            bits = pc.cast(pa.array(nearest.distance), pa.string())
            places = pc.binary_join_element_wise(names["set"], names["item"], "/")
            details = pc.binary_join_element_wise(places, ", ", bits, " bits", "")
            yield REJECTED, _rejects(batch, pa.array(nearest.sample), details.combine_chunks())

    def _rules(self) -> dict[str, Rule]:
        rule = rule_of(self)
        names = [each.name for each in parse_all(self.sets)]
        most = MAX_RADIUS[self.hash]
        thresholds = parse_thresholds(self.thresholds, names, rule.radius, most, "overlap.thresholds")
        return rules_of(rule, thresholds)

    def steps(self, run: RunSettings, hashing: Fingerprint | None = None) -> tuple[Step, ...]:
        """List the evaluation images, hash them as `hashing` says, then compare each part with all of them."""
        like = hashing or Fingerprint()
        hash_references = HashReferences(self.turns, like.exact, like.content == "pixels")
        return (
            Step(ListEvaluationInputs(self.sets), {}, "overlap/inputs"),
            Step(hash_references, {"inputs": "overlap/inputs"}, _TARGET),
            Step(self, {"fingerprints": "dedup/kept"}, self.name),
        )

    def inputs(self) -> tuple[str, ...]:
        """Return the paths of the evaluation sets; raises UserError now for what would fail after the fetch."""
        self._rules()
        sets = parse_all(self.sets)
        for each in sets:
            list_inputs(each)
        return tuple(each.path for each in sets)

    def after(self, fingerprint: Fingerprint) -> OverlapAfter:
        """Return the stage as it goes on from `fingerprint`: only what is hashed alike has equal contents."""
        return OverlapAfter(self, fingerprint)


@dataclass(frozen=True)
class OverlapAfter:
    """Overlap that hashes as the section of fingerprint says."""

    overlap: Overlap
    fingerprint: Fingerprint

    name: ClassVar[str] = Overlap.name
    reasons: ClassVar[dict[str, str]] = Overlap.reasons

    def steps(self, run: RunSettings) -> tuple[Step, ...]:
        """Return the steps of overlap."""
        return self.overlap.steps(run, self.fingerprint)

    def inputs(self) -> tuple[str, ...]:
        """Return the inputs of overlap."""
        return self.overlap.inputs()


@dataclass(frozen=True)
class ListEvaluationInputs:
    """Lists the parts of evaluation sets, one a task."""

    sets: tuple[str, ...]

    name: ClassVar[str] = "overlap"
    writes: ClassVar[pa.Schema] = EVALUATION_INPUTS

    def __call__(self, root: str) -> Iterator[pa.Table]:
        """Yield the input of each task; raises UserError for a set that is not there."""
        for evaluation_set in parse_all(self.sets):
            for row in list_inputs(evaluation_set):
                yield pa.Table.from_pylist([row], schema=EVALUATION_INPUTS)


@dataclass(frozen=True)
class HashReferences:
    """Hashes evaluation images as they are seen: upright, in sRGB, at any size.

    `turns` as in Overlap, `exact` and `pixels` as for wit.fingerprint.
    """

    turns: str = "none"
    exact: bool = False
    pixels: bool = False

    name: ClassVar[str] = "overlap"
    reads: ClassVar[pa.Schema] = EVALUATION_INPUTS
    writes: ClassVar[Mapping[str, pa.Schema]] = {KEPT: REFERENCES, "unreadable": UNREADABLE}

    def __call__(self, batches: Iterator[pa.RecordBatch], part: Part) -> Iterator[Output]:
        """Yield rows of REFERENCES for each image, or one of UNREADABLE where it cannot be decoded."""
        hashed = map(self._hash, read_items(row for batch in batches for row in batch.to_pylist()))
        while some := list(islice(hashed, _BATCH_ROWS)):
            yield from self._tables(some)

    def _hash(self, item: Item) -> tuple[dict[str, Any], Prints | str]:
        """Return the names of an image, and its prints or why it has none; its bytes are not held any longer."""
        names = {"set": item.set, "item": item.item, "label": item.label}
        try:
            turns = TURN_OPTIONS[self.turns]
            return names, fingerprint(item.body, exact=self.exact, turns=turns, pixels=self.pixels)
        except ImageRejected as error:
            return names, str(error)

    def _tables(self, hashed: list[tuple[dict[str, Any], Prints | str]]) -> Iterator[Output]:
        turns = TURN_OPTIONS[self.turns]
        good = [(names, found) for names, found in hashed if not isinstance(found, str)]
        rows = [{**names, "turn": turn} for names, _ in good for turn in turns]
        named = pa.RecordBatch.from_pylist(rows, schema=pa.schema([REFERENCES.field(i) for i in range(4)]))
        prints = Prints.concat(found for _, found in good)
        columns = dict(zip(named.schema.names, named.columns, strict=True)) | prints.columns()
        yield KEPT, pa.RecordBatch.from_arrays([columns[name] for name in REFERENCES.names], schema=REFERENCES)
        unreadable = [{**names, "detail": found} for names, found in hashed if isinstance(found, str)]
        yield "unreadable", pa.RecordBatch.from_pylist(unreadable, schema=UNREADABLE)


def _rejects(batch: pa.RecordBatch, rows: pa.Array, details: pa.Array) -> pa.RecordBatch:
    picked = batch.select(["key", "bucket"]).take(rows)
    columns = {
        "key": picked["key"],
        "bucket": picked["bucket"],
        "stage": pa.repeat(Overlap.name, len(rows)),
        "reason": pa.repeat("test_overlap", len(rows)),
        "detail": details,
        "url": pa.nulls(len(rows), pa.string()),
        "caption": pa.nulls(len(rows), pa.string()),
    }
    return pa.RecordBatch.from_arrays([columns[name] for name in REJECTS.names], schema=REJECTS)
