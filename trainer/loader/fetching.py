"""Blocks of remote shards, fetched before their batches are made, and held in the cache until these are done with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import count
from threading import Condition, Thread

import numpy as np

from trainer.loader.order import BatchOrder, LoaderState
from trainer.loader.reading import Held, Reader, release
from wit.errors import UserError
from wit.storage import is_remote

CONNECTIONS = 8  # of a rank; at 40 MB/s each what 10,000 images of 30 kB take in a second


@contextmanager
def fetching_ahead(reader: Reader, order: BatchOrder, state: LoaderState, rows: range) -> Iterator[Callable[[], None]]:
    """Fetch blocks from a state on for some rows of each batch; call what is yielded when the next batch is made.

    One window ahead, as the first batch of a window needs most of its blocks; less where the cache has no more room.
    """
    if reader.index.cache is None or not any(map(is_remote, reader.index.shards)):
        yield lambda: None
        return
    ahead = _Ahead(reader, order.window_batches)
    thread = Thread(target=ahead.follow, args=(order, state, rows), name="wit-fetching")
    thread.start()
    try:
        yield ahead.done_with
    finally:
        ahead.close()
        thread.join()


class _Ahead:
    """Blocks that are wanted, held or on their way."""

    def __init__(self, reader: Reader, num_ahead: int) -> None:
        self._reader, self._num_ahead = reader, num_ahead
        self._pool = ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="wit-fetching")
        self._changed = Condition()
        self._num_done, self._closed = 0, False
        self._last: dict[int, int] = {}
        """The last batch, so far, that needs each block."""
        self._held: dict[int, list[Held]] = {}

    def follow(self, order: BatchOrder, state: LoaderState, rows: range) -> None:
        """Ask for the blocks of batch after batch, as far ahead as may be."""
        with suppress(UserError):  # who makes the batches meets it too, and tells
            self._follow(order, state, rows)

    def _follow(self, order: BatchOrder, state: LoaderState, rows: range) -> None:
        for number, (_, found) in zip(count(), order.plans(state, rows), strict=False):
            with self._changed:
                self._changed.wait_for(lambda: self._closed or number <= self._num_done + self._num_ahead)  # noqa: B023
                if self._closed:
                    return
                blocks = np.unique(self._reader.index.block_of(found.samples)).tolist()
                new = [block for block in blocks if block not in self._last]
                self._last |= dict.fromkeys(blocks, number)
                for block in new:
                    if is_remote(self._reader.index.facts_of(block).url):
                        self._pool.submit(self._hold, block)

    def _hold(self, block: int) -> None:
        while self._is_wanted(block):
            try:
                held = self._reader.fetch(block)
            except UserError:  # who makes the batch meets it too, and tells
                return
            with self._changed:
                if not held:
                    self._changed.wait(1.0)  # for room: another process may make it
                elif self._is_wanted(block) and block not in self._held:
                    self._held[block] = held
                    return
                else:
                    release(held)
                    return

    def _is_wanted(self, block: int) -> bool:
        with self._changed:
            return not self._closed and block in self._last

    def done_with(self) -> None:
        """Let go of the blocks that only the next batch, and those before it, needed."""
        with self._changed:
            self._num_done += 1
            for block in [block for block, last in self._last.items() if last < self._num_done]:
                del self._last[block]
                if block in self._held:
                    release(self._held.pop(block))
            self._changed.notify_all()

    def close(self) -> None:
        """Let go of all."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._reader.close()
        self._pool.shutdown(cancel_futures=True)
        for held in self._held.values():
            release(held)
        self._held.clear()
