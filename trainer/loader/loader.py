"""The loader: batches whose order is a pure function of (index, seed, epoch), and the state to go on from beside each.

Threads read and decode ahead, a bounded number of batches. A sample that cannot be used is replaced by the one a batch
later in the epoch's order, and said in `Batch.replaced`; batches never shrink. The last, incomplete batch of an epoch
is left out (another part of the samples in each epoch).

Shapes: B batch, S image side in px, L context length in tokens.
"""

from __future__ import annotations

import hashlib
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from trainer.loader.decode import Pixels, decode_short_side, random_crop
from trainer.loader.index import Index, read_sample
from wit.errors import InputError, MismatchError
from wit.image import ImageRejected

CHUNK_SAMPLES = 32  # what one task of a thread prepares; small against a batch, large against a task's overhead
MAX_SUBSTITUTES = 8  # in a row; if one sample in 20 is bad, 8 in a row happen once in 20^9 = 5e11 samples

Prepared = TypeVar("Prepared")
Tokenize = Callable[[Sequence[str]], NDArray[np.int64]]


@dataclass(frozen=True)
class LoaderState:
    """Everything the loader needs to go on: the next batch of an epoch, and what the order is a function of."""

    epoch: int
    batch: int
    seed: int
    batch_size: int
    index_hash: str

    def to_json(self) -> dict[str, Any]:
        """Return the state as plain values."""
        return asdict(self)


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


def _mix(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return SplitMix64 of each number (Steele, Lea, Flood, OOPSLA 2014): the same on every machine and version."""
    z = numbers + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def _stream(purpose: str, seed: int, epoch: int) -> np.uint64:
    digest = hashlib.sha256(f"{purpose}\0{seed}\0{epoch}".encode()).digest()
    return np.uint64(int.from_bytes(digest[:8], "little"))


def epoch_order(num_samples: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """Return the samples of an epoch in the order of training: a permutation, by sorting hashes of the numbers."""
    hashes = _mix(_mix(np.arange(num_samples, dtype=np.uint64)) + _stream("order", seed, epoch))
    return np.argsort(hashes, kind="stable")


def crop_places(positions: NDArray[np.int64], seed: int, epoch: int) -> NDArray[np.float64]:
    """Return (len(positions), 2) uniform numbers in [0, 1): where to crop the samples at positions of an epoch."""
    numbers = np.stack([2 * positions, 2 * positions + 1], axis=1).astype(np.uint64)
    bits = _mix(_mix(numbers) + _stream("crop", seed, epoch))
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53  # 53 bits fill a double's mantissa


Work = Callable[[int, NDArray[np.int64], range], Prepared]
"""Prepares the samples at positions of an epoch's order: (epoch, order, positions)."""


def batch_plans(
    state: LoaderState, num_samples: int
) -> Iterator[tuple[LoaderState, list[tuple[int, NDArray[np.int64], range]]]]:
    """Yield (state after the batch, its chunks as (epoch, order, positions)) for batch after batch, without end."""
    num_batches = num_samples // state.batch_size
    while True:
        order = epoch_order(num_samples, state.seed, state.epoch)
        for batch in range(state.batch, num_batches):
            start, stop = batch * state.batch_size, (batch + 1) * state.batch_size
            chunks = [range(at, min(at + CHUNK_SAMPLES, stop)) for at in range(start, stop, CHUNK_SAMPLES)]
            is_last = batch + 1 == num_batches
            after = replace(state, epoch=state.epoch + is_last, batch=0 if is_last else batch + 1)
            yield after, [(state.epoch, order, chunk) for chunk in chunks]
        state = replace(state, epoch=state.epoch + 1, batch=0)


def prepared_ahead(
    state: LoaderState, num_samples: int, prepare: Work[Prepared], num_threads: int, prefetch_batches: int
) -> Generator[tuple[LoaderState, list[Prepared]]]:
    """Yield (state after the batch, its prepared chunks) in order; threads stay at most `prefetch_batches` ahead."""
    pool = ThreadPoolExecutor(num_threads, thread_name_prefix="wit-loader")
    pending: deque[tuple[LoaderState, list[Future[Prepared]]]] = deque()
    plans = batch_plans(state, num_samples)
    try:
        while True:
            while len(pending) <= prefetch_batches:
                after, chunks = next(plans)
                pending.append((after, [pool.submit(prepare, *chunk) for chunk in chunks]))
            after, futures = pending.popleft()
            yield after, [future.result() for future in futures]
    finally:
        pool.shutdown(cancel_futures=True)


def substitutes(order: NDArray[np.int64], position: int, batch_size: int) -> Iterator[int]:
    """Yield the sample at a position of an epoch's order, then those that take its place if it cannot be used.

    The rule: a sample that cannot be decoded is replaced by the one a batch later in the order; past its end this goes
    on from its beginning, one place further on each time round; MAX_SUBSTITUTES times at most.
    """
    for substitute in range(MAX_SUBSTITUTES + 1):
        rounds, place = divmod(position + substitute * batch_size, len(order))
        yield int(order[(place + rounds) % len(order)])


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
    num_threads: int = 2
    prefetch_batches: int = 3
    cache_bytes: int = 0


class Loader:
    """Iterates over batches without end, epoch after epoch, from a state."""

    def __init__(self, index: Index, tokenize: Tokenize, state: LoaderState, options: LoaderOptions) -> None:
        if state.index_hash != index.hash:
            raise MismatchError(
                f"shards: expected the index {state.index_hash[:16]}…, found {index.hash[:16]}…; "
                "train on the same shards, or choose another --out"
            )
        if len(index) < state.batch_size:
            raise InputError(
                f"{index.shards[0]}: expected at least one batch of {state.batch_size} samples, found {len(index)} "
                "samples; set a smaller data.batch_size"
            )
        self.index, self.tokenize, self.state, self.options = index, tokenize, state, options
        self._cache = PixelCache(options.cache_bytes)

    @property
    def batches_per_epoch(self) -> int:
        """Whole batches in an epoch."""
        return len(self.index) // self.state.batch_size

    def __iter__(self) -> Generator[Batch]:
        """Yield batches in order; threads stay at most `prefetch_batches` ahead."""
        options = self.options
        with closing(
            prepared_ahead(self.state, len(self.index), self._prepare, options.num_threads, options.prefetch_batches)
        ) as prepared:
            for state, chunks in prepared:
                yield self._join(chunks, state)

    def _prepare(self, epoch: int, order: NDArray[np.int64], positions: range) -> _Chunk:
        side = self.options.image_px
        images = np.empty((len(positions), 3, side, side), np.uint8)
        places = crop_places(np.arange(positions.start, positions.stop), self.state.seed, epoch)
        captions, keys, replaced = [], [], []
        for row, position in enumerate(positions):
            sample, pixels, caption, bad = self._usable(order, position)
            images[row] = random_crop(pixels, side, *places[row]).transpose(2, 0, 1)
            captions.append(caption)
            keys.append(self.index.key(sample))
            replaced += [Replaced(self.index.key(one), reason, keys[-1]) for one, reason in bad]
        return _Chunk(images, self.tokenize(captions), keys, replaced)

    def _usable(self, order: NDArray[np.int64], position: int) -> tuple[int, Pixels, str, list[tuple[int, str]]]:
        """Return (sample, pixels, caption, bad samples) for a position of the epoch's order.

        Raises InputError after MAX_SUBSTITUTES bad ones in a row.
        """
        bad: list[tuple[int, str]] = []
        for sample in substitutes(order, position, self.state.batch_size):
            body, caption = read_sample(self.index, sample)
            try:
                return sample, self._pixels(sample, body), caption, bad
            except ImageRejected as rejected:
                bad.append((sample, str(rejected)))
        first, reason = bad[0]
        raise InputError(
            f"{self.index.shards[self.index.shard[first]]}: expected images, found {len(bad)} bad samples in a row, "
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
