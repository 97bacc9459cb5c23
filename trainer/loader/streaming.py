"""Shards without an index: trained on in their order while it is made, and shuffled from the next epoch on.

The tars are walked one after the other, one ahead of training, by every rank; the tables go to a folder that the ranks
of a machine share, so that a run that goes on, or a second epoch, walks nothing again. A batch of the first epoch holds
the next samples of the stream, whatever the ranks; its substitutes come from the batch itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from threading import Lock

import numpy as np

from trainer.loader.cache import Part, RangeCache
from trainer.loader.index import KEPT_SAMPLES, Index, ShardSet, find_shards, read_index, require_once, split_weight
from trainer.loader.order import BatchOrder, LoaderState, Lost, Order, Rows, block_edges
from trainer.loader.remote import Fetcher
from trainer.loader.walking import Walked, Walker, grid
from trainer.recipe import Data
from wit.errors import InputError, MismatchError
from wit.storage import base_name, is_remote, join


class StreamedIndex(Index):
    """An index that grows: its samples are those of the tars that were walked so far."""

    def __init__(self, shards: Sequence[str], num_samples: int, walker: Walker, block_samples: int) -> None:
        """`num_samples` is how many there are said to be: it sets the length of an epoch, until they are counted."""
        super().__init__([ShardSet("", 1.0, ())], block_samples, walker.cache)
        self.names, self.stated_samples, self.walker = tuple(shards), num_samples, walker
        self._block_samples = block_samples
        self.hash = hashlib.sha256("\0".join(["streamed", *map(base_name, shards)]).encode()).hexdigest()
        self._walked: list[Walked] = []
        self._next: Future[Walked] | None = None
        self._growing = Lock()

    def __len__(self) -> int:
        return self.stated_samples

    @property
    def shards(self) -> tuple[str, ...]:
        """Paths or URLs of the tars, walked or not."""
        return self.names

    @property
    def num_known(self) -> int:
        """Samples of the tars that were walked."""
        return int(self.firsts[-1])

    def order(self, window_samples: int, seed: int, batch_size: int) -> BatchOrder:
        """Return the order of training."""
        self.kept_samples = max(KEPT_SAMPLES, 4 * window_samples)
        return StreamedOrder(self, window_samples, seed, batch_size)

    def parts(self, block: int) -> list[Part]:
        """Return the parts of a remote tar, as it was walked in, in which a block lies."""
        number = self._shard_number(int(self.block_firsts[block]))
        return list(grid(self.names[number], self._walked[number].num_bytes, *self.page(block).span))

    def wait_for(self, num_samples: int) -> bool:
        """Walk until so many samples are known; return whether there are as many. Raises InputError as the walker."""
        with self._growing:  # what makes batches and what fetches ahead both ask
            while self.num_known < num_samples and len(self._walked) < len(self.names):
                walked = (self._next or self._begin()).result()
                self._next = None
                self._add(walked)
                if len(self._walked) < len(self.names):
                    self._begin()
        return self.num_known >= num_samples

    def complete(self) -> None:
        """Walk to the end; raises InputError when no tar holds a sample."""
        self.wait_for(1 << 62)
        if not self.num_known:
            raise InputError(
                f"{self.names[0]}: expected samples, found {len(self.names)} shards that hold none{self.problem()}"
            )
        self.edges = [self.block_firsts]

    def problem(self) -> str:
        """Return the first thing that cannot be had of the tars, as the end of a sentence; empty when there is none."""
        return next((f" ({each.reason})" for each in self.lost(0, 1 << 62)), "")

    def _begin(self) -> Future[Walked]:
        pool = ThreadPoolExecutor(1, thread_name_prefix="wit-walking")
        self._next = pool.submit(self.walker.walk, self.names[len(self._walked)])
        pool.shutdown(wait=False)  # the thread ends with its work
        return self._next

    def _add(self, walked: Walked) -> None:
        """Number the samples of a tar. What threads know stays as it is: numbers are only added behind."""
        edges = block_edges([walked.facts.num_samples], self._block_samples, self.num_known)
        self._walked.append(walked)
        self.facts = (*self.facts, walked.facts)
        self.block_firsts = np.concatenate([self.block_firsts[:-1], edges])
        self.firsts = np.append(self.firsts, edges[-1])

    def cursor(self, sample: int) -> tuple[int, int]:
        """Return the number of the shard of a sample, and the byte of its image; (0, 0) of the first."""
        if sample == 0 or not self.wait_for(sample + 1):
            return 0, 0
        number = int(np.searchsorted(self.firsts, sample, side="right")) - 1
        return number, self.locate(sample).image[0]

    def lost(self, first: int, stop: int) -> tuple[Lost, ...]:
        """Return what the tars that end within samples `first` to `stop` should have held besides."""
        found: list[Lost] = []
        for walked, (_, end) in zip(self._walked, pairwise(self.firsts.tolist()), strict=False):
            if first < max(end, 1) <= stop:
                if walked.problem:
                    found.append(Lost(walked.facts.url, f"broken_tar: {walked.problem}"))
                if walked.left_out:
                    found.append(Lost(walked.facts.url, f"no_image: {walked.left_out} samples"))
        return tuple(found)


class StreamedOrder:
    """The order of a streamed index: of the tars in the first epoch, then as `Order` has it."""

    def __init__(self, index: StreamedIndex, window_samples: int, seed: int, batch_size: int) -> None:
        self._index, self._window_samples, self.seed, self.batch_size = index, window_samples, seed, batch_size

    @property
    def num_places(self) -> int:
        """Samples that an epoch is said to have."""
        return len(self._index)

    @property
    def batches_per_epoch(self) -> int:
        """Batches that an epoch is said to have."""
        return self.num_places // self.batch_size

    @property
    def window_batches(self) -> int:
        """Batches in a window, rounded up."""
        return 1 + min(self._window_samples, self.num_places) // self.batch_size

    def plans(self, state: LoaderState, rows: range | None = None) -> Iterator[tuple[LoaderState, Rows]]:
        """Yield (state after the batch, its rows or some of them) for batch after batch, without end.

        Raises MismatchError when the stream is not the one that a state is of; InputError as the index.
        """
        if state.epoch == 0:
            self._require_same(state)
            yield from self._stream(state, rows)
            state = replace(state, epoch=1, batch=0, shard=0, offset=0)
        self._index.complete()
        yield from self._later().plans(state, rows)

    def _later(self) -> Order:
        found = Order(self._index.edges, [1.0], self._window_samples, self.seed, self.batch_size)
        if not found.batches_per_epoch:
            raise InputError(
                f"{self._index.shards[0]}: expected at least one batch of {self.batch_size} samples, found "
                f"{found.num_places} samples{self._index.problem()}; set a smaller data.batch_size"
            )
        return found

    def _require_same(self, state: LoaderState) -> None:
        found = self._index.cursor(state.batch * self.batch_size)
        if found != (state.shard, state.offset):
            raise MismatchError(
                f"shards: expected sample {state.batch * self.batch_size} in shard {state.shard} at byte "
                f"{state.offset}, found it in shard {found[0]} at byte {found[1]}; train on the same shards"
            )

    def _stream(self, state: LoaderState, rows: range | None) -> Iterator[tuple[LoaderState, Rows]]:
        has_next = self._index.wait_for((state.batch + 1) * self.batch_size)
        while has_next:
            batch = state.batch
            has_next = self._index.wait_for((batch + 2) * self.batch_size)
            state = replace(state, epoch=0 if has_next else 1, batch=batch + 1 if has_next else 0)
            shard, offset = self._index.cursor((batch + 1) * self.batch_size) if has_next else (0, 0)
            state = replace(state, shard=shard, offset=offset)
            yield state, self.batch(0, batch, rows)

    def batch(self, epoch: int, number: int, rows: range | None = None) -> Rows:
        """Return the rows of a batch of an epoch, or some of them; its samples are known by now."""
        if epoch:
            self._index.complete()
            return self._later().batch(epoch, number, rows)
        first, stop = number * self.batch_size, (number + 1) * self.batch_size
        whole = Rows(
            samples=np.arange(first, stop),
            rounds=np.zeros(stop - first, np.int64),
            windows=(np.arange(first, stop),),
            window=np.zeros(stop - first, np.int32),
            place=np.arange(stop - first),
            step=1,
            lost=self._index.lost(first, stop if self._index.wait_for(stop + self.batch_size) else 1 << 62),
        )
        return whole if rows is None else whole[rows.start : rows.stop]


def open_index(patterns: Sequence[str], data: Data, folder: str) -> Index:
    """Return the index of the shards that `[WEIGHT=]PATTERN`s name, or, by data.num_samples, one that grows.

    `folder` holds what is kept of remote shards, and of the tars that are walked. Raises InputError as `read_index`.
    """
    remote = any(is_remote(split_weight(pattern)[1]) for pattern in patterns)
    cache = RangeCache(folder, int(data.shard_cache_gb * 1e9)) if remote else None
    if not data.num_samples:
        return read_index(*patterns, block_samples=data.block_samples, cache=cache)
    weighted = [split_weight(pattern) for pattern in patterns]
    if {weight for weight, _ in weighted} != {1.0}:
        raise InputError(
            f"{' '.join(patterns)}: expected no weights with data.num_samples, found some; index the shards"
        )
    shards = [shard for _, pattern in weighted for shard in find_shards(pattern)]
    require_once(" ".join(patterns), shards)
    walker = Walker(join(folder, "walked"), cache, Fetcher())
    return StreamedIndex(shards, data.num_samples, walker, data.block_samples)
