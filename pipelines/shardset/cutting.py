"""Samples in order, cut into new shards as they come."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from pipelines.shardset.copying import I32, I64, NewShard, Plan
from wit import tar
from wit.fitting import bytes_between, last_fitting

DEFAULT_SAMPLES = 10_000
MAX_SAMPLES = 1_000_000
"""Of a shard, whose index rows are held in memory (about 1 kB each)."""


@dataclass(frozen=True)
class Limit:
    """How large a shard may be: so many samples, and so many bytes of its tar (0: any); one sample always fits.

    Bytes are counted as the samples stand in their sources.
    """

    samples: int
    num_bytes: int = 0

    def as_json(self) -> dict[str, int]:
        """Return the limits as plain values."""
        return {"samples": self.samples, "bytes": self.num_bytes}


def limit_of(samples: int | None, num_bytes: int | None) -> Limit:
    """Return the limit that a user gives; DEFAULT_SAMPLES when there is none."""
    return Limit(samples or (MAX_SAMPLES if num_bytes else DEFAULT_SAMPLES), num_bytes or 0)


@dataclass(frozen=True)
class Picked:
    """Some samples, in order: rows of the indexes of `sources`, and the bytes that each takes in a tar."""

    sources: tuple[str, ...]
    numbers: I32
    rows: I32
    sizes: I64

    def __len__(self) -> int:
        return len(self.rows)

    def part(self, first: int, last: int) -> Picked:
        """Return samples `first` to `last` - 1."""
        return Picked(self.sources, self.numbers[first:last], self.rows[first:last], self.sizes[first:last])


@dataclass
class Cutter:
    """Cuts what it is given into the shards of one folder, numbered from 0."""

    folder: str
    limit: Limit
    number: int = 0
    _held: list[Picked] = field(default_factory=list)
    _num_held: int = 0
    _held_bytes: int = 0

    def add(self, picked: Picked) -> Iterator[NewShard]:
        """Yield the shards that are full; the rest is held, less than a shard."""
        first = 0
        ends = np.cumsum(picked.sizes)
        while first < len(picked):
            free_samples = self.limit.samples - self._num_held
            free_bytes = self.limit.num_bytes - len(tar.END) - self._held_bytes if self.limit.num_bytes else None
            last = last_fitting(ends, first, free_samples, free_bytes, is_begun=bool(self._num_held))
            self._hold(picked.part(first, last), bytes_between(ends, first, last))
            if last < len(picked) or self._num_held == self.limit.samples:
                yield self._cut()
            first = last

    def flush(self) -> Iterator[NewShard]:
        """Yield what is left as a shard; an empty one when there was none, so that a set is never without."""
        if self._num_held or not self.number:
            yield self._cut()

    def _hold(self, picked: Picked, num_bytes: int) -> None:
        if len(picked):
            self._held.append(picked)
            self._num_held += len(picked)
            self._held_bytes += num_bytes

    def _cut(self) -> NewShard:
        """Return the next shard, of all that is held; it names only the sources that it draws on."""
        sources: dict[str, int] = {}
        numbers = []
        for picked in self._held:
            used = np.unique(picked.numbers)
            local = np.zeros(len(picked.sources), np.int32)
            local[used] = [sources.setdefault(picked.sources[number], len(sources)) for number in used.tolist()]
            numbers.append(local[picked.numbers])
        none = np.empty(0, np.int32)
        rows = np.concatenate([none, *(picked.rows for picked in self._held)])
        shard = NewShard(self.folder, self.number, Plan(tuple(sources), np.concatenate([none, *numbers]), rows))
        self._held, self._num_held, self._held_bytes = [], 0, 0
        self.number += 1
        return shard
