"""The order of training: which samples make a batch, as a pure function of (index, seed, epoch), and the state of it.

A shard is cut into blocks of neighbours. A round of a set permutes all its blocks, takes them in windows of about so
many samples, and shuffles the samples of a window with one another: a set smaller than a window is shuffled wholly, and
of a larger one only the blocks of a window are read at a time. The rounds of a set, one after the other, are its
endless chain; an epoch takes the next `round(weight x samples)` places of each set's chain, mixed evenly. Batches are
cut from that sequence. The rows of a batch are sorted by block, so that those of one rank come from few blocks; which
samples a batch holds does not depend on the ranks. The last, incomplete batch of an epoch is left out.

Shapes: B rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

MAX_SUBSTITUTES = 64  # in a row; if half of the samples are bad, 65 in a row happen once in 2^65 = 4e19 rows

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class LoaderState:
    """Everything the loader needs to go on: the next batch of an epoch, and what the order is a function of."""

    epoch: int
    batch: int
    seed: int
    batch_size: int
    index_hash: str
    shard: int = 0
    """In the first pass over shards without an index: the shard in which the next batch begins,"""
    offset: int = 0
    """and the byte of its tar at which its first sample's image lies."""

    def to_json(self) -> dict[str, Any]:
        """Return the state as plain values."""
        return asdict(self)

    def after(self, batches_per_epoch: int) -> LoaderState:
        """Return the state after its next batch."""
        is_last = self.batch + 1 >= batches_per_epoch
        return replace(self, epoch=self.epoch + is_last, batch=0 if is_last else self.batch + 1, shard=0, offset=0)


def _mix(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return SplitMix64 of each number (Steele, Lea, Flood, OOPSLA 2014): the same on every machine and version."""
    z = numbers + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def _stream(purpose: str, seed: int, number: int) -> np.uint64:
    digest = hashlib.sha256(f"{purpose}\0{seed}\0{number}".encode()).digest()
    return np.uint64(int.from_bytes(digest[:8], "little"))


def _hashes(purpose: str, numbers: Ints, seed: int, number: int) -> NDArray[np.uint64]:
    """Return a hash of each number; different numbers have different ones, as every step can be undone."""
    return _mix(_mix(numbers.astype(np.uint64)) + _stream(purpose, seed, number))


def shuffled(num_samples: int, seed: int, number: int) -> Ints:
    """Return the numbers below `num_samples` in the order of their hashes: a permutation."""
    return np.argsort(_hashes("order", np.arange(num_samples), seed, number), kind="stable")


def crop_places(samples: Ints, seed: int, rounds: Ints) -> NDArray[np.float64]:
    """Return (B, 2) uniform numbers in [0, 1): where to crop samples (B,) in rounds (B,) of their sets."""
    places = np.empty((len(samples), 2))
    for each in np.unique(rounds):
        chosen = rounds == each
        numbers = np.stack([2 * samples[chosen], 2 * samples[chosen] + 1], axis=1)
        bits = _hashes("crop", numbers, seed, int(each))
        places[chosen] = (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53  # 53 bits fill a double's mantissa
    return places


class Lost(NamedTuple):
    """Something that no batch can hold: which tar, and why."""

    shard: str
    reason: str


@dataclass(frozen=True)
class Rows:
    """Rows of a batch (B,), in order, and where substitutes for them are found. A slice of rows are rows."""

    samples: Ints
    rounds: Ints
    """How often the set of each sample has been seen whole before."""
    windows: tuple[Ints, ...]
    """The samples of each window that the rows come from, in their order."""
    window: NDArray[np.int32]
    """Of each row, its place in `windows`."""
    place: Ints
    """Of each row, its place in its window."""
    step: int
    """How far on a substitute is looked for."""
    lost: tuple[Lost, ...] = ()
    """What should have come before the last of these rows, and cannot be had."""

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, rows: slice) -> Rows:
        return replace(
            self,
            samples=self.samples[rows],
            rounds=self.rounds[rows],
            window=self.window[rows],
            place=self.place[rows],
            lost=() if rows.start else self.lost,
        )

    def candidates(self, row: int) -> Iterator[int]:
        """Yield the sample of a row, then those that take its place if it cannot be used.

        The rule: a sample that cannot be used is replaced by the one a batch (`step`) later in its window; past the
        window's end this goes on from its beginning, one place further on each time round; MAX_SUBSTITUTES times at
        most. So a substitute comes from the same set, and from blocks that are at hand.
        """
        window = self.windows[self.window[row]]
        for substitute in range(MAX_SUBSTITUTES + 1):
            times, place = divmod(int(self.place[row]) + substitute * self.step, len(window))
            yield int(window[(place + times) % len(window)])


@dataclass(frozen=True)
class Window:
    """Samples that are shuffled with one another."""

    start: int
    """Its first place in the round."""
    samples: Ints
    rank: NDArray[np.int32]
    """Of each sample, the place of its block among those of the window."""


class SetOrder:
    """The chain of one set: round after round of all its samples, shuffled.

    Memory: 8 bytes a block, and 12 a sample of the two windows that were used last.
    """

    def __init__(self, edges: Ints, window_samples: int, seed: int) -> None:
        self.edges, self.seed = edges, seed
        self.num_samples = int(edges[-1] - edges[0])
        self.num_windows = max(1, round(self.num_samples / window_samples))
        self._round: tuple[int, Ints, Ints] | None = None
        self._windows: dict[tuple[int, int], Window] = {}

    def window_at(self, number: int, place: int) -> Window:
        """Return the window that holds a place of a round."""
        blocks, first_places = self._blocks(number)
        starts = self._starts(first_places)
        which = int(np.searchsorted(starts, place, side="right")) - 1
        key = number, which
        if key not in self._windows:
            stop = starts[which + 1] if which + 1 < len(starts) else self.num_samples
            first, last = np.searchsorted(first_places, [starts[which], stop])
            while len(self._windows) > 1:
                self._windows.pop(next(iter(self._windows)))
            self._windows[key] = self._shuffle(number, blocks[first:last], int(starts[which]))
        return self._windows[key]

    def _blocks(self, number: int) -> tuple[Ints, Ints]:
        """Return a round's blocks in their order, and the place of the first sample of each."""
        if self._round is None or self._round[0] != number:
            blocks = np.argsort(_hashes("blocks", self.edges[:-1], self.seed, number), kind="stable")
            ends = np.cumsum((self.edges[1:] - self.edges[:-1])[blocks])
            self._round = number, blocks, np.concatenate([np.zeros(1, np.int64), ends[:-1]])
        return self._round[1:]

    def _starts(self, first_places: Ints) -> Ints:
        """Return the first place of each window: of a block, as near below an equal share as there is one."""
        shares = np.arange(self.num_windows) * self.num_samples // self.num_windows
        return np.unique(first_places[np.searchsorted(first_places, shares, side="right") - 1])

    def _shuffle(self, number: int, blocks: Ints, start: int) -> Window:
        samples = np.concatenate([np.arange(self.edges[one], self.edges[one + 1]) for one in blocks])
        rank = np.repeat(np.arange(len(blocks), dtype=np.int32), (self.edges[1:] - self.edges[:-1])[blocks])
        order = np.argsort(_hashes("order", samples, self.seed, number), kind="stable")
        return Window(start, samples[order], rank[order])


class BatchOrder(Protocol):
    """What the loader asks of an order."""

    @property
    def num_places(self) -> int:
        """Samples of an epoch, those left out at its end too."""

    @property
    def batches_per_epoch(self) -> int:
        """Whole batches in an epoch."""

    @property
    def window_batches(self) -> int:
        """Batches for which the blocks of a window last, rounded up."""

    def plans(self, state: LoaderState, rows: range | None = None) -> Iterator[tuple[LoaderState, Rows]]:
        """Yield (state after the batch, its rows or some of them) for batch after batch, without end."""

    def batch(self, epoch: int, number: int, rows: range | None = None) -> Rows:
        """Return the rows of a batch of an epoch, or some of them."""


class Order:
    """Batch after batch of one or more sets.

    `edges[d]` are the samples at which blocks of set d begin, and where its last ends; `weights[d]` how often the set
    is seen in an epoch.
    """

    def __init__(
        self, edges: Sequence[Ints], weights: Sequence[float], window_samples: int, seed: int, batch_size: int
    ) -> None:
        self.sets = [SetOrder(each, window_samples, seed) for each in edges]
        self.shares = [round(weight * each.num_samples) for weight, each in zip(weights, self.sets, strict=True)]
        self.seed, self.batch_size = seed, batch_size

    @property
    def num_places(self) -> int:
        """Samples of an epoch, those left out at its end too."""
        return sum(self.shares)

    @property
    def window_batches(self) -> int:
        """Batches in a window of the set that has the largest, rounded up."""
        return 1 + max(each.num_samples // each.num_windows for each in self.sets) // self.batch_size

    @property
    def batches_per_epoch(self) -> int:
        """Whole batches in an epoch."""
        return self.num_places // self.batch_size

    def plans(self, state: LoaderState, rows: range | None = None) -> Iterator[tuple[LoaderState, Rows]]:
        """Yield (state after the batch, its rows or some of them) for batch after batch, without end."""
        while True:
            after = state.after(self.batches_per_epoch)
            yield after, self.batch(state.epoch, state.batch, rows)
            state = after

    def batch(self, epoch: int, number: int, rows: range | None = None) -> Rows:
        """Return the rows of a batch of an epoch, or some of them."""
        start = number * self.batch_size
        before, after = self._counts(start), self._counts(start + self.batch_size)
        samples, rounds, place, rank, window = [], [], [], [], []
        windows: list[Ints] = []
        for each, share, first, last in zip(self.sets, self.shares, before, after, strict=True):
            for number_of, found, at in _pieces(each, epoch * share + first, epoch * share + last):
                samples.append(found.samples[at])
                rank.append(found.rank[at])
                place.append(np.arange(at.start, at.stop))
                rounds.append(np.full(at.stop - at.start, number_of))
                window.append(np.full(at.stop - at.start, len(windows), np.int32))
                windows.append(found.samples)
        whole = np.lexsort([np.concatenate(each) for each in (samples, rank, window)])
        chosen = whole if rows is None else whole[rows.start : rows.stop]
        return Rows(
            samples=np.concatenate(samples)[chosen],
            rounds=np.concatenate(rounds)[chosen],
            windows=tuple(windows),
            window=np.concatenate(window)[chosen],
            place=np.concatenate(place)[chosen],
            step=self.batch_size,
        )

    def _counts(self, places: int) -> list[int]:
        """Return how many of an epoch's first places are each set's: in proportion, to within one for two sets.

        The first set takes its part of the places, the next its part of those that are left, and so on: whole numbers
        that add up and never fall, and every set's own number at the end of the epoch.
        """
        counts, left = [], self.num_places
        for share in self.shares:
            counts.append(places * share // left if left else 0)
            places, left = places - counts[-1], left - share
        return counts


def _pieces(chain: SetOrder, start: int, stop: int) -> Iterator[tuple[int, Window, slice]]:
    """Yield (round, window, places in it) of a range of places of a set's chain."""
    while start < stop:
        number, place = divmod(start, chain.num_samples)
        window = chain.window_at(number, place)
        first = place - window.start
        last = min(first + stop - start, len(window.samples))
        yield number, window, slice(first, last)
        start += last - first


def block_edges(samples_per_shard: Sequence[int], block_samples: int, first: int = 0) -> Ints:
    """Return where blocks begin, and where the last ends: each shard is cut into equal blocks of at most so many."""
    edges = [np.zeros(1, np.int64)]
    start = 0
    for count in samples_per_shard:
        num_blocks = -(-count // block_samples)
        edges.append(start + np.arange(1, num_blocks + 1) * count // max(num_blocks, 1))
        start += count
    return first + np.concatenate(edges)
