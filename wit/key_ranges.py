"""Shards by the ranges of their keys: those whose ranges do not touch share no key, and need not be read together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import pyarrow as pa
import pyarrow.compute as pc


def touching(shards: Iterable[str], read_keys: Callable[[str], pa.ChunkedArray]) -> Iterator[list[str]]:
    """Yield shards in groups whose ranges of keys do not touch, the lower group before the higher.

    `read_keys` gives the keys of a shard, in any order; a shard without any is in no group. Memory: the keys of one
    shard, and the first and last key of each.
    """
    ranges = []
    for shard in shards:
        bounds = pc.min_max(read_keys(shard)).as_py()
        if bounds["min"] is not None:
            ranges.append((bounds["min"], bounds["max"], shard))
    group: list[str] = []
    last = ""
    for low, high, shard in sorted(ranges):
        if group and low > last:
            yield group
            group = []
        group.append(shard)
        last = max(last, high)
    if group:
        yield group
