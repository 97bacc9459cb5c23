"""Several sets of shards made one, in key order; of samples with one key the first set's stays."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.shardset.copying import NewShard, extents, read_checked_index
from pipelines.shardset.cutting import Cutter, Limit, Picked
from pipelines.shardset.making import Request, count_samples, folders_of, make_sets, open_set, removals_of
from pipelines.shardset.rules import Rules, rules_of
from wit.key_ranges import touching


@dataclass
class Counts:
    """What became of the samples of the sets."""

    kept: int = 0
    duplicates: int = 0
    """Left out: an earlier set has the key, with the same image."""
    conflicts: int = 0
    """Left out: an earlier set has the key, with another image."""
    removed: int = 0
    """Left out: one of the sets has a removal on record that names them."""


def merge(patterns: Sequence[str], out: str, limit: Limit, processes: int) -> tuple[Counts, dict[str, Any]]:
    """Write the samples of several sets as one; return what became of them, and the manifest.

    What was removed from one of the sets is not brought back by another. Memory: a shard's keys of each set; of a set
    whose shards are not in key order, all its keys (about 200 bytes a sample).
    """
    sets = [open_set(pattern) for pattern in patterns]
    shards = tuple(shard for each in sets for shard in each)
    rules = rules_of(removals_of(folders_of(shards)))
    counts = Counts()

    def new() -> Iterator[NewShard]:
        cutter = Cutter(out, limit)
        for rows in _merged([_groups(number, each, shards) for number, each in enumerate(sets)], rules, counts):
            yield from cutter.add(_picked(rows, shards))
        yield from cutter.flush()

    what = {"command": "merge", "sets": [len(each) for each in sets], **limit.as_json()}
    made = make_sets(Request(what, shards, (out,)), new(), processes, count_samples(shards))
    if not counts.kept:
        deque(new(), 0)  # finished before: it is counted again, not made
    return counts, made[out]


def _groups(number: int, mine: Sequence[str], shards: Sequence[str]) -> Iterator[pa.Table]:
    """Yield the rows of a set, in groups whose key ranges do not touch, the lower before the higher."""
    places = {shard: place for place, shard in enumerate(shards)}
    for group in touching(mine, lambda shard: read_checked_index(shard)["key"]):
        yield pa.concat_tables([_rows(number, shard, places[shard]) for shard in group])


def _rows(number: int, shard: str, place: int) -> pa.Table:
    index = read_checked_index(shard)
    start, stop = extents(index)
    count = len(index)
    columns = {
        "key": index["key"],
        "set": np.full(count, number, np.int32),
        "shard": np.full(count, place, np.int32),
        "row": np.arange(count, dtype=np.int32),
        "size": stop - start,
        "sha256": index["sha256"],
        "url": index["url"],
    }
    return pa.table(columns)


def _merged(streams: list[Iterator[pa.Table]], rules: Rules, counts: Counts) -> Iterator[pa.Table]:
    """Yield rows in key order, each key once; what a set has up to the least of the last keys at hand is complete."""
    held: dict[int, pa.Table] = {}
    while True:
        for number, stream in enumerate(streams):
            following = None if number in held else next(stream, None)
            if following is not None:
                held[number] = following
        if not held:
            return
        bound = min(pc.max(each["key"]).as_py() for each in held.values())
        ready = []
        for number, table in list(held.items()):
            is_ready = pc.less_equal(table["key"], bound)
            ready.append(table.filter(is_ready))
            held[number] = table.filter(pc.invert(is_ready))
            if not len(held[number]):
                del held[number]
        yield _first_of_each(pa.concat_tables(ready), rules, counts)


def _first_of_each(rows: pa.Table, rules: Rules, counts: Counts) -> pa.Table:
    """Return the rows that stay, in key order; count all."""
    stays = pc.is_null(rules.match(rows).rule)
    kept = rows.filter(stays).sort_by([("key", "ascending"), ("set", "ascending")])
    counts.removed += len(rows) - len(kept)
    keys, hashes = kept["key"].combine_chunks(), kept["sha256"].combine_chunks()
    is_new = np.ones(len(kept), np.bool_)
    is_new[1:] = pc.not_equal(keys[1:], keys[:-1]).to_numpy(zero_copy_only=False)
    firsts = np.maximum.accumulate(np.where(is_new, np.arange(len(kept)), 0))
    differs = pc.not_equal(hashes, hashes.take(pa.array(firsts))).to_numpy(zero_copy_only=False)
    counts.kept += int(is_new.sum())
    counts.conflicts += int(differs.sum())
    counts.duplicates += int((~is_new & ~differs).sum())
    return kept.filter(pa.array(is_new))


def _picked(rows: pa.Table, shards: tuple[str, ...]) -> Picked:
    used, numbers = np.unique(rows["shard"].to_numpy(), return_inverse=True)
    sources = tuple(shards[place] for place in used.tolist())
    return Picked(sources, numbers.astype(np.int32), rows["row"].to_numpy(), rows["size"].to_numpy())
