"""Samples taken out of shards for good: only the shards concerned are written anew, and what went is on record.

In this order, so that whoever is killed can be followed at any point: what is to go is written to `removing.parquet`;
of each shard the next tar, then the next index, both beside the old ones, which they then replace in that order;
`removals.parquet`; the manifest; and `removing.parquet` goes. The next command, or the same again, finishes what one
has begun.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.shardset.copying import Plan, read_checked_index, write_tar
from pipelines.shardset.making import removals_of
from pipelines.shardset.rules import Rules
from wit.errors import InputError
from wit.integrity import shards_of
from wit.locking import locked
from wit.processes import map_in_order
from wit.progress import progress
from wit.schema import conform
from wit.schema.samples import REMOVALS
from wit.shards import (
    MANIFEST,
    REMOVALS_NAME,
    UNDER_WAY,
    Described,
    describe,
    find_index,
    list_shards,
    publish_manifest,
    read_manifest,
)
from wit.storage import (
    base_name,
    exists,
    join,
    move,
    publish,
    read_parquet,
    remove,
    remove_temporaries,
    write_parquet,
)

NEXT = ".next"
"""Ends the names of the tar and of the index that a shard will have."""
MAX_TOLD = 10
"""Values without a sample that a command names."""


@dataclass(frozen=True)
class Removed:
    """What a removal did."""

    finished: pa.Table
    """REMOVALS of an earlier command that was finished first."""
    rows: pa.Table
    """REMOVALS of this one."""
    num_shards: int
    """Shards written anew for `rows`."""
    unmatched: tuple[str, ...]
    """Keys, URLs, hashes and domains that no sample has, or had when it was removed."""


def remove_samples(folder: str, rules: Rules, reason: str, processes: int, *, dry_run: bool = False) -> Removed:
    """Take out of a folder of shards what the rules name. With `dry_run` nothing is changed, nor finished.

    Raises InputError when `folder` is no folder of shards.
    """
    if not exists(join(folder, UNDER_WAY)) and not shards_of(folder)[1]:
        raise InputError(f"{folder}: expected a folder of shards, found a pattern; its manifest is renewed as a whole")
    if exists(join(folder, MANIFEST)):
        read_manifest(folder)  # one that cannot be renewed is told before anything is done
    with nullcontext() if dry_run else locked(folder, "wit shards command"):
        finished = REMOVALS.empty_table() if dry_run else finish(folder, processes)
        shards = list_shards(folder)
        with progress("search", len(shards), "shards") as advance:
            rows = find(shards, rules, reason, processes, advance)
        if len(rows) and not dry_run:
            write_parquet(join(folder, UNDER_WAY), rows)
            finish(folder, processes)
        unmatched = rules.unmatched(pa.concat_tables([removals_of([folder]), rows]))
    return Removed(finished, rows, len(rows["shard"].unique()), unmatched)


def find(
    shards: list[str], rules: Rules, reason: str, processes: int, advance: Callable[[int], None] = lambda _: None
) -> pa.Table:
    """Return REMOVALS of the samples that rules name, in the order of the shards."""
    found = [REMOVALS.empty_table()]
    for rows in map_in_order(partial(_find_in, rules, reason), shards, min(processes, len(shards))):
        found.append(rows)
        advance(1)
    return pa.concat_tables(found).combine_chunks()


def _find_in(rules: Rules, reason: str, shard: str) -> pa.Table:
    index = read_checked_index(shard)
    matched = rules.match(index)
    hit = pc.is_valid(matched.rule)
    rows = index.select(["key", "shard", "url", "sha256"]).filter(hit)
    rows = rows.append_column("rule", matched.rule.filter(hit)).append_column("value", matched.value.filter(hit))
    return rows.append_column("reason", pa.array([reason] * len(rows), pa.string())).cast(REMOVALS)


def finish(folder: str, processes: int) -> pa.Table:
    """Finish the removal that is under way in a folder; return its REMOVALS, none when there is none."""
    pending = join(folder, UNDER_WAY)
    if not exists(pending):
        return REMOVALS.empty_table()
    rows = conform(read_parquet(pending), REMOVALS)
    remove_temporaries(folder)
    tasks = list(_tasks(folder, rows))
    described = []
    try:
        with progress("remove", len(tasks), "shards") as advance:
            for each in map_in_order(rewrite, tasks, min(processes, len(tasks))):
                described.append(each)
                advance(1)
    finally:
        remove_temporaries(folder)  # of workers that were killed
    _record(folder, rows)
    _renew_manifest(folder, described)
    remove(pending)
    return rows


@dataclass(frozen=True)
class Rewrite:
    """A shard, and the keys of the samples that leave it."""

    shard: str
    keys: pa.Array


def _tasks(folder: str, rows: pa.Table) -> Iterator[Rewrite]:
    for name in rows["shard"].unique().to_pylist():
        yield Rewrite(join(folder, name), rows.filter(pc.equal(rows["shard"], name))["key"].combine_chunks())


def rewrite(task: Rewrite) -> Described:
    """Write a shard and its index without some samples, wherever an earlier attempt stopped; return both described."""
    index_url = find_index(task.shard)
    if not exists(index_url + NEXT):
        index = read_checked_index(task.shard)
        stays = pc.invert(pc.is_in(index["key"], value_set=task.keys)).to_numpy()
        if stays.all():  # all done, but the record
            return describe(task.shard)
        rows = np.flatnonzero(stays).astype(np.int32)
        with publish(task.shard + NEXT) as file:
            plan = Plan((task.shard,), np.zeros(len(rows), np.int32), rows)
            written = write_tar(file, base_name(task.shard), plan, rename=False)
        write_parquet(index_url + NEXT, written)
    if exists(task.shard + NEXT):
        move(task.shard + NEXT, task.shard)
    move(index_url + NEXT, index_url)
    return describe(task.shard)


def _record(folder: str, rows: pa.Table) -> None:
    """Append to the record of a folder, unless an attempt that was killed had done so."""
    before = removals_of([folder])
    if not before.slice(max(0, len(before) - len(rows))).equals(rows):
        write_parquet(join(folder, REMOVALS_NAME), pa.concat_tables([before, rows]).combine_chunks())


def _renew_manifest(folder: str, described: list[Described]) -> None:
    """Publish the manifest with new facts of the shards that changed, and those that it has of the others."""
    known, more = read_manifest(folder) if exists(join(folder, MANIFEST)) else ({}, {})
    known |= {each.of_shard["name"]: each for each in described}
    names = {base_name(shard): shard for shard in list_shards(folder)}
    publish_manifest(folder, [known.get(name) or describe(shard) for name, shard in names.items()], more)
