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
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from trainer.loader.buffers import Allocate, Buffers, ordinary
from trainer.loader.decode import Crop, Crops, Pixels, decode_crop, decode_crops, decode_short_side, random_crop
from trainer.loader.fetching import fetching_ahead
from trainer.loader.index import Index
from trainer.loader.order import LoaderState, Rows, crop_places
from trainer.loader.reading import Reader, Samples
from trainer.parallel.ranks import ALONE, Ranks
from wit.errors import InputError, MismatchError, UserError
from wit.image import ImageRejected

CHUNK_SAMPLES = 32  # what one task of a thread prepares; small against a batch, large against a task's overhead

Plan = TypeVar("Plan")
Work = TypeVar("Work")
Prepared = TypeVar("Prepared")
Tokenize = Callable[[Sequence[str]], NDArray[np.int64]]


@dataclass(frozen=True)
class Replaced:
    """A sample that could not be used, why, and the one that took its place."""

    key: str
    """Of a tar that is broken, or holds samples without image: its URL; nothing takes a place."""
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


def chunks(num_rows: int) -> list[slice]:
    """Return the parts of a batch that a thread prepares at a time."""
    return [slice(at, min(at + CHUNK_SAMPLES, num_rows)) for at in range(0, num_rows, CHUNK_SAMPLES)]


def prepared_ahead(
    plans: Iterator[tuple[Plan, Sequence[Work]]],
    prepare: Callable[[Work], Prepared],
    num_threads: int,
    prefetch_batches: int,
) -> Generator[tuple[Plan, list[Prepared]]]:
    """Yield each plan and what was prepared of its work, in order; threads stay `prefetch_batches` ahead at most."""
    pool = ThreadPoolExecutor(num_threads, thread_name_prefix="wit-loader")
    pending: deque[tuple[Plan, list[Future[Prepared]]]] = deque()
    try:
        while True:
            while len(pending) <= prefetch_batches:
                plan, work = next(plans)
                pending.append((plan, [pool.submit(prepare, one) for one in work]))
            plan, futures = pending.popleft()
            yield plan, [future.result() for future in futures]
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

    def has_room(self, num_bytes: int) -> bool:
        """Return whether so many bytes would be kept."""
        return num_bytes <= self._free_bytes

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
    allocate: Allocate = ordinary
    """Gives the memory of batches."""


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
        self.rows = ranks.rows(state.batch_size)
        self.order = index.order(options.window_samples, state.seed, state.batch_size)
        if not self.batches_per_epoch:
            raise InputError(
                f"{index.shards[0]}: expected at least one batch of {state.batch_size} samples, found "
                f"{self.order.num_places} samples; set a smaller data.batch_size"
            )
        self.index, self.tokenize, self.state, self.options = index, tokenize, state, options
        self.reader = Reader(index)
        self._failure: UserError | None = None
        self._cache = PixelCache(options.cache_bytes)
        self._buffers = Buffers(
            (len(self.rows), 3, options.image_px, options.image_px), options.prefetch_batches + 2, options.allocate
        )

    @property
    def batches_per_epoch(self) -> int:
        """Whole batches in an epoch."""
        return self.order.batches_per_epoch

    def __iter__(self) -> Generator[Batch]:
        """Yield batches in order; threads stay at most `prefetch_batches` ahead."""
        options = self.options
        work = prepared_ahead(self.plans(), self.prepare, options.num_threads, options.prefetch_batches)
        with (
            fetching_ahead(self.reader, self.order, self.state, self.rows) as done_with,
            closing(work) as prepared,
            closing(self.reader),  # first, or what is being fetched would be waited for
        ):
            for (state, images), parts in prepared:
                done_with()
                yield Batch(
                    images=images,
                    tokens=np.concatenate([part.tokens for part in parts]),
                    keys=tuple(key for part in parts for key in part.keys),
                    replaced=tuple(one for part in parts for one in part.replaced),
                    state=state,
                )
                del images  # a buffer is given out again once nobody holds it

    def plans(self) -> Iterator[tuple[tuple[LoaderState, Pixels], list[Task]]]:
        """Yield (state after the batch, room for its images) and its tasks, for batch after batch, without end."""
        for after, rows in self.order.plans(self.state, self.rows):
            images = self._buffers.take()
            yield (after, images), [Task(rows[part], images[part]) for part in chunks(len(rows))]

    def prepare(self, task: Task) -> Part:
        """Write a task's images and return the rest of its rows. Safe in threads; raises InputError.

        That of the first task that fails, as the others then give up what they fetch.
        """
        try:
            return self._prepare(task)
        except UserError as error:
            self._failure = self._failure or error
            self.reader.close()
            raise self._failure from error

    def _prepare(self, task: Task) -> Part:
        read = self.reader.read_all(task.rows.samples)
        options = self.options
        crops = Crops(
            options.resize_px, options.image_px, crop_places(task.rows.samples, self.state.seed, task.rows.rounds)
        )
        is_done = [False] * len(task.rows)
        if not options.cache_bytes:
            is_done = decode_crops(read.data, read.images, crops, options.decode, task.images).tolist()
        captions, keys = list[str](), list[str]()
        replaced = [Replaced(shard, reason, "") for shard, reason in task.rows.lost]
        for row, (key, caption) in enumerate(zip(read.keys, read.captions, strict=True)):
            if is_done[row] and isinstance(caption, str):
                captions.append(caption)
                keys.append(key)
                continue
            crop = Crop(options.resize_px, options.image_px, *crops.uniform[row].tolist())
            sample, found, bad = self._usable(task, row, crop, read)
            captions.append(found)
            keys.append(self.index.key(sample))
            replaced += [Replaced(self.index.key(one), reason, keys[-1]) for one, reason in bad]
        return Part(self.tokenize(captions), keys, replaced)

    def _usable(self, task: Task, row: int, crop: Crop, read: Samples) -> tuple[int, str, list[tuple[int, str]]]:
        """Write the image of a row; return (sample, caption, bad samples).

        Raises InputError after MAX_SUBSTITUTES bad ones in a row.
        """
        bad: list[tuple[int, str]] = []
        is_left = read.captions[row] is None
        for number, sample in enumerate(task.rows.candidates(row)):
            try:
                body, caption = self.reader.read_pair(sample) if number or is_left else read.pair(row)
                self._decode(sample, body, crop, task.images[row])
            except ImageRejected as rejected:
                bad.append((sample, str(rejected)))
            else:
                return sample, caption, bad
        first, reason = bad[0]
        raise InputError(
            f"{self.index.shard_of(first)}: expected images, found {len(bad)} bad samples in a row, "
            f"the first {self.index.key(first)} ({reason}); check the shards with wit shards verify"
        )

    def _decode(self, sample: int, body: bytes, crop: Crop, out_3SS: Pixels) -> None:
        """Write a crop of an image: from the cache, or, where that has room for no more, decoded by itself."""
        pixels = self._cache.get(sample)
        if pixels is None and not self._cache.has_room(3 * crop.short_px**2):
            decode_crop(body, crop, self.options.decode, out_3SS)
            return
        if pixels is None:
            pixels = decode_short_side(body, crop.short_px, self.options.decode)
            self._cache.offer(sample, pixels)
        out_3SS[:] = random_crop(pixels, crop.side_px, crop.uniform_x, crop.uniform_y).transpose(2, 0, 1)


class Task(NamedTuple):
    """Rows that are prepared together, and where their images go."""

    rows: Rows
    images: Pixels


class Part(NamedTuple):
    """What a batch says of the rows of a task."""

    tokens: NDArray[np.int64]
    keys: list[str]
    replaced: list[Replaced]
