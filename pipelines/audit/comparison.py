"""`wit overlap --with` and `--itself`: two training sets side by side, or one with itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.audit.comparing import digest_of_images, hash_shards, require_samples, want
from pipelines.audit.methods import ByHashes
from pipelines.audit.outputs import MATCHES, SAMPLES_FILE, UNREADABLE_FILE, write_making
from pipelines.audit.pictures import ShowSamples, open_thumbs, with_words
from pipelines.audit.training import training_inputs
from pipelines.audit.twins import CompareChunks, chunks, pairs_of_chunks
from pipelines.audit.work import Work, finish, opened
from pipelines.executors.parts import parts_of, read_batches
from pipelines.report.overlap.page import write_comparison
from pipelines.report.overlap.results import EVALUATION, Comparison, Thumbs
from pipelines.shardset.making import open_set
from pipelines.stages.references import I64, is_first
from pipelines.stages.tables import num_rows, read_small
from pipelines.stages.thresholds import parse_thresholds, with_radius
from wit import __version__
from wit.schema import OVERLAPPING, OVERLAPS, PRINTS, TWINS, UNREADABLE
from wit.schema.evaluation import FOUND, PICTURES, TRAINING_PRINTS, TRAINING_READ, TWIN_ROWS
from wit.stage import KEPT
from wit.storage import base_name, join, write_parquet

MAX_SHOWN = 10_000
"""Pairs on the pages: an even sample of all, by distance."""

_NAMES = pa.schema([TRAINING_PRINTS.field(name) for name in ("key", "shard")])


@dataclass(frozen=True)
class Twins:
    """What to compare: training shards with others, or with themselves (`other` None)."""

    shards: str
    other: str | None = None
    method: ByHashes = field(default_factory=ByHashes)
    thresholds: tuple[str, ...] = ()
    """At most one, a number of bits."""
    trust: bool = True


@dataclass(frozen=True)
class _Side:
    """A training set whose samples have prints."""

    path: str
    inputs: list[dict[str, Any]]
    table: str
    """Folder of TRAINING_PRINTS, beside which are those of what could not be read."""
    first_row: int
    num_rows: int

    def parts(self, work: Work) -> list[tuple[str, int]]:
        """Return the parts of the prints, relative to the work, and their rows."""
        urls = parts_of(work.root, join(self.table, KEPT))
        return [(join(self.table, KEPT, base_name(url)), num_rows(url)) for url in urls]

    def names(self, work: Work, rows: I64) -> pa.Table:
        """Return key and shard of samples by their ascending numbers."""
        found, start = [_NAMES.empty_table()], self.first_row
        for url in parts_of(work.root, join(self.table, KEPT)):
            for batch in read_batches(url, _NAMES):
                mine = rows[np.searchsorted(rows, start) : np.searchsorted(rows, start + batch.num_rows)]
                found.append(pa.Table.from_batches([batch.take(pa.array(mine - start))], _NAMES))
                start += batch.num_rows
        return pa.concat_tables(found).combine_chunks()


def run_comparison(twins: Twins, out: str, processes: int) -> Comparison:
    """Compare, and write tables, pages and `audit.json` into the folder `out`; return what was found.

    A function of the files alone; a killed command is finished by the same call. Memory in each process: two chunks of
    two million samples; in this one some 200 bytes for each pair. Raises UserError for shards that are not there.
    """
    (threshold,) = parse_thresholds(twins.thresholds, [""], twins.method.threshold, twins.method.most).values()
    rule = with_radius(twins.method.rule, int(threshold))
    paths = [twins.shards] if twins.other is None else [twins.shards, twins.other]
    sets = [(path, list(open_set(path))) for path in paths]
    with opened(out, processes) as work:
        sides: list[_Side] = []
        for path, shards in sets:
            sides.append(_hash_side(work, twins, path, shards, sum(side.num_rows for side in sides)))
        ours, *theirs = [chunks(side.parts(work), side.first_row) for side in sides]
        tasks = [[row] for row in pairs_of_chunks(ours, theirs[0] if theirs else None)]
        found = work.table("twins", CompareChunks(rule), tasks, "search", [side.table for side in sides])
        rows = _edges(work, found)
        table = _named(work, sides, rows)
        comparison = _summary(twins, threshold, sides, rows, _versions(work, sides))
        thumbs, shown = _illustrate(work, twins, sides, table)
        written = _write(work, out, twins, sides, table)
        write_comparison(out, comparison, shown, thumbs)
        write_making(out, _making(twins, threshold, comparison), written)
        finish(work)
    return comparison


def _hash_side(work: Work, twins: Twins, path: str, shards: list[str], first_row: int) -> _Side:
    inputs = training_inputs(shards, twins.trust)
    table = hash_shards(work, inputs, twins.method)
    read = read_small(work.root, join(table, "read"), TRAINING_READ)
    require_samples(path, read)
    return _Side(path, inputs, table, first_row, sum(read["num_samples"].to_pylist()))


def _edges(work: Work, found: str) -> pa.Table:
    """Return TWIN_ROWS, each pair once, by its rows; of two sets the first's row is `i`."""
    return read_small(work.root, join(found, KEPT), TWIN_ROWS).sort_by([("i", "ascending"), ("j", "ascending")])


def _named(work: Work, sides: Sequence[_Side], rows: pa.Table) -> pa.Table:
    """Return TWINS, in the order of the shards."""
    columns: dict[str, pa.ChunkedArray] = {"distance": rows["distance"]}
    for side, name, suffix in ((sides[0], "i", "a"), (sides[-1], "j", "b")):
        numbers = rows[name].to_numpy()
        wanted, place = np.unique(numbers, return_inverse=True)
        names = side.names(work, wanted).take(pa.array(place))
        columns |= {f"shard_{suffix}": names["shard"], f"key_{suffix}": names["key"]}
    return pa.table([columns[name] for name in TWINS.names], schema=TWINS)


def _summary(
    twins: Twins, threshold: float, sides: Sequence[_Side], rows: pa.Table, versions: dict[str, str]
) -> Comparison:
    i, j = (rows[name].to_numpy() for name in ("i", "j"))
    matched = np.unique(i if twins.other else np.concatenate([i, j]))
    return Comparison(
        twins.shards,
        twins.other,
        twins.method.in_words({"": threshold}, "none"),
        twins.method.unit,
        threshold,
        num_samples=sides[0].num_rows,
        num_other=sides[1].num_rows if twins.other else 0,
        num_pairs=len(rows),
        num_matched=len(matched),
        num_clusters=num_components(i, j),
        versions=versions,
    )


def num_components(i: npt.NDArray[np.int64], j: npt.NDArray[np.int64]) -> int:
    """Return how many groups pairs of numbers join; numbers in no pair are in no group."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    members, ends = np.unique(np.concatenate([i, j]), return_inverse=True)
    ends = ends.reshape(2, -1)
    graph = coo_array((np.ones(len(i), np.int8), (ends[0], ends[1])), shape=(len(members), len(members)))
    return int(connected_components(graph, directed=False)[0])


def _versions(work: Work, sides: Sequence[_Side]) -> dict[str, str]:
    digests = {
        f"content of {side.path}": digest_of_images(parts_of(work.root, join(side.table, KEPT)), PRINTS[-1])
        for side in sides
    }
    return {"wit": __version__, **digests}


def _illustrate(work: Work, twins: Twins, sides: Sequence[_Side], table: pa.Table) -> tuple[Thumbs, pa.Table]:
    """Make the thumbnails of an even sample of the pairs; return them, and the sample as OVERLAPS."""
    order = pc.sort_indices(table, [("distance", "ascending")])
    step = -(-len(table) // MAX_SHOWN) or 1
    some = table.take(order[::step])
    name = twins.shards if twins.other is None else twins.other
    left, right = ("a", "b") if twins.other is None else ("b", "a")  # the first set's sample is on the right
    found = pa.table(
        {
            "set": pa.repeat(name, len(some)),
            "item": pc.binary_join_element_wise(some[f"shard_{left}"], some[f"key_{left}"], "/"),
            "turn": pa.repeat("none", len(some)),
            "distance": some["distance"],
            "key": some[f"key_{right}"],
            "shard": some[f"shard_{right}"],
        },
        schema=FOUND,
    )
    found = found.append_column(OVERLAPS.field("label"), pa.nulls(len(found), pa.string()))
    items = pa.table({"shard": some[f"shard_{left}"], "key": some[f"key_{left}"]})
    item_pictures = _pictures(work, sides[-1] if twins.other else sides[0], items)
    sample_pictures = _pictures(work, sides[0], found)
    thumbs = open_thumbs(work.root, item_pictures, sample_pictures)
    pictures = read_small(work.root, join(sample_pictures, KEPT), PICTURES)
    shown = with_words(found, pictures).select(OVERLAPS.names).cast(OVERLAPS)
    return _without_set(thumbs, name), shown


def _pictures(work: Work, side: _Side, wanted: pa.Table) -> str:
    """Make the thumbnails of samples (shard, key) of a side; return their table."""
    table = want(work, "samples", wanted, "shard", "key")
    shards = set(wanted["shard"].unique().to_pylist())
    tasks = [[row] for row in side.inputs if row["shard"] in shards]
    return work.table("pictures", ShowSamples(table), tasks, "show samples", side.table)


def _without_set(thumbs: Thumbs, name: str) -> Thumbs:
    """Return thumbnails that are asked for on the left as "SET/SHARD/KEY"."""
    return lambda side, each: thumbs(side, each.removeprefix(f"{name}/") if side == EVALUATION else each)


def _write(work: Work, out: str, twins: Twins, sides: Sequence[_Side], table: pa.Table) -> tuple[str, ...]:
    """Write the tables into the folder `out`; return their names."""
    write_parquet(join(out, MATCHES), table)
    unreadable = (read_small(work.root, join(side.table, "unreadable"), UNREADABLE) for side in sides)
    write_parquet(join(out, UNREADABLE_FILE), pa.concat_tables(unreadable))
    if twins.other is None:
        return MATCHES, UNREADABLE_FILE
    write_parquet(join(out, SAMPLES_FILE), nearest_others(table, twins.other))
    return MATCHES, UNREADABLE_FILE, SAMPLES_FILE


def nearest_others(table: pa.Table, other: str) -> pa.Table:
    """Return OVERLAPPING of TWINS of two sets: each sample of the first with the nearest of the other."""
    keys = [(name, "ascending") for name in ("shard_a", "key_a", "distance", "shard_b", "key_b")]
    ordered = table.take(pc.sort_indices(table, keys)).combine_chunks()
    ids = pc.binary_join_element_wise(ordered["shard_a"], ordered["key_a"], "/").to_numpy(zero_copy_only=False)
    first = ordered.filter(pa.array(is_first(ids)))
    columns = {
        "key": first["key_a"],
        "shard": first["shard_a"],
        "distance": first["distance"],
        "set": pa.repeat(other, len(first)),
        "item": pc.binary_join_element_wise(first["shard_b"], first["key_b"], "/"),
    }
    return pa.table([columns[name] for name in OVERLAPPING.names], schema=OVERLAPPING)


def _making(twins: Twins, threshold: float, found: Comparison) -> dict[str, Any]:
    return {
        "wit": __version__,
        "rule": {**twins.method.making(), "threshold": threshold},
        "shards": {"path": twins.shards, "num_samples": found.num_samples},
        "other": {"path": twins.other, "num_samples": found.num_other} if twins.other else None,
        "versions": dict(found.versions),
        "num_pairs": found.num_pairs,
        "num_matched": found.num_matched,
        "num_clusters": found.num_clusters,
    }


def format_comparison(found: Comparison) -> str:
    """Return what was found, in a few lines."""
    share = found.num_matched / found.num_samples
    what = "itself" if found.other is None else f"{found.other} ({found.num_other:,} samples)"
    return (
        f"{found.shards} ({found.num_samples:,} samples) with {what}, threshold {found.threshold:g} {found.unit}:\n"
        f"{_counted(found.num_matched, 'sample')} ({share:.2%}) in {_counted(found.num_pairs, 'pair')} and "
        f"{_counted(found.num_clusters, 'cluster')}"
    )


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
