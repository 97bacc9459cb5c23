"""The search of an audit: each task compares the prints of some shards with all references."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.stages.references import I64, Matches, References, number_items, place_in_group
from pipelines.stages.tables import read_small
from wit.fingerprint import TURNS, Prints
from wit.near import Rule
from wit.schema import OVERLAPPING, REFERENCES
from wit.schema.evaluation import FOUND, SEARCH_INPUTS, TRAINING_PRINTS
from wit.stage import KEPT, Output, Part
from wit.storage import join, read_parquet, size

MAX_SAMPLES_AN_ITEM = 10
"""A black frame may match a million samples; the nearest ten show what it is."""
TASK_BYTES = 32 << 20
"""Of prints that one task searches, as they lie: about 600,000 samples, some 200 MB while they are searched."""
_MERGED_ROWS = 1_000_000


def search_inputs(parts: list[str], root: str) -> Iterator[list[dict[str, str]]]:
    """Yield rows of SEARCH_INPUTS, those of a task together, for parts that are named relative to `root`."""
    task: list[dict[str, str]] = []
    num_bytes = 0
    for part in parts:
        task.append({"part": part})
        num_bytes += size(join(root, part))
        if num_bytes >= TASK_BYTES:
            yield task
            task, num_bytes = [], 0
    if task:
        yield task


@dataclass(frozen=True)
class Search:
    """Finds the samples that are near-duplicates of evaluation images, each set by its rule."""

    tables: tuple[str, ...]
    """Of REFERENCES, relative to the audit's work."""
    rules: tuple[tuple[str, Rule], ...]

    name: ClassVar[str] = "audit"
    reads: ClassVar[pa.Schema] = SEARCH_INPUTS
    writes: ClassVar[Mapping[str, pa.Schema]] = {KEPT: FOUND, "samples": OVERLAPPING}

    def __call__(self, batches: Iterator[pa.RecordBatch], part: Part) -> Iterator[Output]:
        """Yield the nearest samples of each item, ten at most, and the nearest item of each sample."""
        references = _references(part.root, self.tables, self.rules)
        samples = read_samples(part.root, batches).select(TRAINING_PRINTS.names)
        nearest = references.nearest(Prints.of(samples.combine_chunks()), MAX_SAMPLES_AN_ITEM)
        for batch in _table(nearest.items, references, samples, FOUND).to_batches():
            yield KEPT, batch
        for batch in _table(nearest.samples, references, samples, OVERLAPPING).to_batches():
            yield "samples", batch


@lru_cache(maxsize=1)
def _references(root: str, tables: tuple[str, ...], rules: tuple[tuple[str, Rule], ...]) -> References:
    """Return the references, which every task of a process looks up."""
    return References.of(pa.concat_tables([read_small(root, each, REFERENCES) for each in tables]), dict(rules))


def read_samples(root: str, batches: Iterator[pa.RecordBatch]) -> pa.Table:
    """Return the samples of a task, whose parts the rows of SEARCH_INPUTS name."""
    return pa.concat_tables([read_parquet(join(root, row["part"])) for batch in batches for row in batch.to_pylist()])


def _table(matches: Matches, references: References, samples: pa.Table, schema: pa.Schema) -> pa.Table:
    distance = matches.distance.astype(np.float64)
    return found_table(references.table, matches.reference, samples, matches.sample, distance, schema)


def found_table(
    items: pa.Table,
    item_rows: I64,
    samples: pa.Table,
    sample_rows: I64,
    distance: npt.NDArray[np.float64],
    schema: pa.Schema,
) -> pa.Table:
    """Return FOUND or OVERLAPPING of pairs: rows of `items` (set, item, turn) and of `samples` (key, shard)."""
    of_items = items.select(["set", "item", "turn"]).take(pa.array(item_rows))
    of_samples = samples.select(["key", "shard"]).take(pa.array(sample_rows))
    columns: dict[str, Any] = {name: table[name] for table in (of_items, of_samples) for name in table.column_names}
    columns["turn"] = pa.array(TURNS, pa.string()).take(of_items["turn"].combine_chunks())
    columns["distance"] = pa.array(distance)
    return pa.table([columns[name] for name in schema.names], schema=schema)


def merge_found(parts: Iterable[str]) -> pa.Table:
    """Return FOUND of all tasks: by set, item and distance the nearest samples of each item, ten at most.

    Of samples as near the earlier in the shards stay. Memory: the result, and a million rows.
    """
    merged, waiting, num_waiting = FOUND.empty_table(), list[pa.Table](), 0
    for part in parts:
        waiting.append(read_parquet(part))
        num_waiting += len(waiting[-1])
        if num_waiting > max(_MERGED_ROWS, len(merged)):
            merged, waiting, num_waiting = nearest_found([merged, *waiting]), [], 0
    return nearest_found([merged, *waiting])


def nearest_found(tables: list[pa.Table]) -> pa.Table:
    """Return the nearest samples of each item in tables that follow each other in the order of the shards."""
    found = pa.concat_tables(tables).combine_chunks()
    order = pc.sort_indices(found, [(name, "ascending") for name in ("set", "item", "distance")])  # it is stable
    found = found.take(order).combine_chunks()
    return found.filter(pa.array(place_of_items(found) < MAX_SAMPLES_AN_ITEM))


def place_of_items(found: pa.Table) -> I64:
    """Return the place of each row among those, side by side, of its set and item."""
    return place_in_group(number_items(found))
