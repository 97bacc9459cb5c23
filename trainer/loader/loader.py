"""The loader: batches in the order that `trainer.loader.order` says, and the state to go on from beside each.

Threads read and decode ahead, a bounded number of batches. A sample that cannot be used is replaced by the rule of
`Rows.candidates`, and said in `Batch.replaced`; batches never shrink.

Shapes: B rows of a batch that are this rank's, S image side in px, L context length in tokens.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from trainer.loader.cache import RangeCache
from trainer.loader.decode import Pixels, decode_short_side, random_crop
from trainer.loader.fetching import fetching_ahead
from trainer.loader.index import Index
from trainer.loader.order import LoaderState, Order, Rows, crop_places
from trainer.loader.reading import Reader
from trainer.ranks import Ranks
from wit.errors import InputError, MismatchError, UserError
from wit.image import ImageRejected

CHUNK_SAMPLES = 32  # what one task of a thread prepares; small against a batch, large against a task's overhead

Prepared = TypeVar("Prepared")
ALONE = Ranks()
Tokenize = Callable[[Sequence[str]], NDArray[np.int64]]


@dataclass(frozen=True)
class Replaced:
    """A sample that could not be used, why, and the one that took its place."""

    key: str
    reason: str
    by: str


@dataclass(frozen=True)
class Batch:
    """Images uint8 (B, 3, S, S), token ids (B, L), the keys of the samples, and the state after this batch."""

    images: NDArray[np.uint8]
    tokens: NDArray[np.int64]
    keys: tuple[str, ...]
    replaced: tuple[Replaced, ...]
    state: LoaderState


def prepared_ahead(
    plans: Iterator[tuple[LoaderState, Rows]],
    prepare: Callable[[Rows], Prepared],
    num_threads: int,
    prefetch_batches: int,
) -> Generator[tuple[LoaderState, list[Prepared]]]:
    """Yield (state after the batch, its prepared chunks) in order; threads stay at most `prefetch_batches` ahead."""
    pool = ThreadPoolExecutor(num_threads, thread_name_prefix="wit-loader")
    pending: deque[tuple[LoaderState, list[Future[Prepared]]]] = deque()
    try:
        while True:
            while len(pending) <= prefetch_batches:
                after, rows = next(plans)
                chunks = [rows[at : at + CHUNK_SAMPLES] for at in range(0, len(rows), CHUNK_SAMPLES)]
                pending.append((after, [pool.submit(prepare, chunk) for chunk in chunks]))
            after, futures = pending.popleft()
            yield after, [future.result() for future in futures]
    finally:
        pool.shutdown(cancel_futures=True)


class PixelCache:
    """Decoded, resized images kept in memory up to a number of bytes; what came first stays. Safe in threads."""

    def __init__(self, max_bytes: int) -> None:
        self._free_bytes = max_bytes
        self._pixels: dict[int, Pixels] = {}
        self._lock = threading.Lock()

    def get(self, sample: int) -> Pixels | None:
        """Return the pixels of a sample, if they are kept."""
        return self._pixels.get(sample)

    def offer(self, sample: int, pixels: Pixels) -> None:
        """Keep the pixels of a sample if there is room."""
        with self._lock:
            if sample not in self._pixels and pixels.nbytes <= self._free_bytes:
                self._free_bytes -= pixels.nbytes
                self._pixels[sample] = pixels


@dataclass(frozen=True)
class LoaderOptions:
    """How batches are made from their samples."""

    image_px: int
    """Side of the square crops."""
    resize_px: int
    """Short side of the pictures that they are cut from; at least `image_px`."""
    decode: str = "exact"
    window_samples: int = 1 << 18
    num_threads: int = 2
    prefetch_batches: int = 3
    cache_bytes: int = 0
    shard_cache: str = ""
    """Folder for blocks of remote shards; empty: each sample is fetched when its turn comes."""
    shard_cache_bytes: int = 64 << 30


class Loader:
    """Iterates over batches without end, epoch after epoch, from a state."""

    def __init__(
        self, index: Index, tokenize: Tokenize, state: LoaderState, options: LoaderOptions, ranks: Ranks = ALONE
    ) -> None:
        if state.index_hash != index.hash:
            raise MismatchError(
                f"shards: expected the index {state.index_hash[:16]}…, found {index.hash[:16]}…; "
                "train on the same shards, or choose another --out"
            )
        if state.batch_size % ranks.size:
            raise UserError(
                f"data.batch_size: expected a multiple of the {ranks.size} ranks, found {state.batch_size}; "
                "set another or start another number of ranks"
            )
        self.order = Order(index.edges, index.weights, options.window_samples, state.seed, state.batch_size)
        if not self.batches_per_epoch:
            raise InputError(
                f"{index.shards[0]}: expected at least one batch of {state.batch_size} samples, found "
                f"{self.order.num_places} samples; set a smaller data.batch_size"
            )
        self.index, self.tokenize, self.state, self.options = index, tokenize, state, options
        self.rows = ranks.rows(state.batch_size)
        index.keep(options.window_samples)
        kept = RangeCache(options.shard_cache, options.shard_cache_bytes) if options.shard_cache else None
        self.reader = Reader(index, kept)
        self._cache = PixelCache(options.cache_bytes)

    @property
    def batches_per_epoch(self) -> int:
        """Whole batches in an epoch."""
        return self.order.batches_per_epoch

    def __iter__(self) -> Generator[Batch]:
        """Yield batches in order; threads stay at most `prefetch_batches` ahead."""
        plans = self.order.plans(self.state, self.rows)
        work = prepared_ahead(plans, self._prepare, self.options.num_threads, self.options.prefetch_batches)
        with fetching_ahead(self.reader, self.order, self.state, self.rows) as done_with, closing(work) as prepared:
            for state, chunks in prepared:
                done_with()
                yield self._join(chunks, state)

    def _prepare(self, rows: Rows) -> _Chunk:
        side = self.options.image_px
        images = np.empty((len(rows), 3, side, side), np.uint8)
        places = crop_places(rows.samples, self.state.seed, rows.rounds)
        captions, keys, replaced = [], [], []
        for row in range(len(rows)):
            sample, pixels, caption, bad = self._usable(rows, row)
            images[row] = random_crop(pixels, side, *places[row]).transpose(2, 0, 1)
            captions.append(caption)
            keys.append(self.index.key(sample))
            replaced += [Replaced(self.index.key(one), reason, keys[-1]) for one, reason in bad]
        return _Chunk(images, self.tokenize(captions), keys, replaced)

    def _usable(self, rows: Rows, row: int) -> tuple[int, Pixels, str, list[tuple[int, str]]]:
        """Return (sample, pixels, caption, bad samples) for a row.

        Raises InputError after MAX_SUBSTITUTES bad ones in a row.
        """
        bad: list[tuple[int, str]] = []
        for sample in rows.candidates(row):
            try:
                body, caption = self.reader.read_pair(sample)
                return sample, self._pixels(sample, body), caption, bad
            except ImageRejected as rejected:
                bad.append((sample, str(rejected)))
        first, reason = bad[0]
        raise InputError(
            f"{self.index.shard_of(first)}: expected images, found {len(bad)} bad samples in a row, "
            f"the first {self.index.key(first)} ({reason}); check the shards with wit shards verify"
        )

    def _pixels(self, sample: int, body: bytes) -> Pixels:
        pixels = self._cache.get(sample)
        if pixels is None:
            pixels = decode_short_side(body, self.options.resize_px, self.options.decode)
            self._cache.offer(sample, pixels)
        return pixels

    def _join(self, chunks: list[_Chunk], state: LoaderState) -> Batch:
        return Batch(
            images=np.concatenate([chunk.images for chunk in chunks]),
            tokens=np.concatenate([chunk.tokens for chunk in chunks]),
            keys=tuple(key for chunk in chunks for key in chunk.keys),
            replaced=tuple(one for chunk in chunks for one in chunk.replaced),
            state=state,
        )


@dataclass(frozen=True)
class _Chunk:
    images: NDArray[np.uint8]
    tokens: NDArray[np.int64]
    keys: list[str]
    replaced: list[Replaced]
