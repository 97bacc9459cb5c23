"""Pictures for a model that is not trained: read and decoded by threads ahead of their use, in order.

Shapes: B images, S image side in px.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from trainer.loader.decode import decode_center
from wit.image import ImageRejected

NUM_BUFFERS = 2  # one is decoded into while the other is in use


@dataclass(frozen=True)
class Rejected:
    """A picture that could not be decoded: `reason` as `wit.image` names them, `detail` what was found."""

    place: int
    reason: str
    detail: str


@dataclass(frozen=True)
class Decoded:
    """A batch of consecutive places, those left out that hold no picture."""

    places: tuple[int, ...]
    images: torch.Tensor
    """uint8 (B, 3, S, S), a picture a place; memory that is used again: valid until the next batch is asked for."""
    rejected: tuple[Rejected, ...]


@dataclass(frozen=True)
class Decoding:
    """How pictures are decoded: short side to `side_px`, the middle square cut out (paper's evaluation)."""

    side_px: int
    batch_size: int = 256
    num_threads: int = 2
    pin: bool = False
    """Whether the memory is page-locked, so that copies to a GPU need not wait."""


def decode_batches(read: Callable[[int], bytes], places: Sequence[int], how: Decoding) -> Iterator[Decoded]:
    """Yield pictures in order, `batch_size` places at a time; `read` is called in threads.

    While one batch is used the next is decoded. What a batch holds depends on `places` and `batch_size` alone. What
    `read` raises is raised here.
    """
    starts = [*range(0, len(places), how.batch_size), len(places)]
    batches = [places[start:stop] for start, stop in pairwise(starts)]
    buffers = [_buffer(min(how.batch_size, len(places)), how) for _ in range(min(NUM_BUFFERS, len(batches)))]
    pool = ThreadPoolExecutor(how.num_threads)
    try:
        waiting: list[list[Future[Rejected | None]]] = []
        for number, batch in enumerate(batches):
            waiting.append(_submit(pool, read, batch, buffers[number % NUM_BUFFERS], how.side_px))
            if number:
                yield _finish(waiting.pop(0), batches[number - 1], buffers[(number - 1) % NUM_BUFFERS])
        if batches:
            yield _finish(waiting.pop(0), batches[-1], buffers[(len(batches) - 1) % NUM_BUFFERS])
    finally:
        pool.shutdown(cancel_futures=True)


def _buffer(num_images: int, how: Decoding) -> torch.Tensor:
    return torch.empty((num_images, 3, how.side_px, how.side_px), dtype=torch.uint8, pin_memory=how.pin)


def _submit(
    pool: ThreadPoolExecutor, read: Callable[[int], bytes], places: Sequence[int], buffer: torch.Tensor, side_px: int
) -> list[Future[Rejected | None]]:
    rows: NDArray[np.uint8] = buffer.numpy()
    return [pool.submit(_decode, read, place, rows[row], side_px) for row, place in enumerate(places)]


def _decode(read: Callable[[int], bytes], place: int, out_3SS: NDArray[np.uint8], side_px: int) -> Rejected | None:
    try:
        decode_center(read(place), side_px, out_3SS=out_3SS)
    except ImageRejected as error:
        return Rejected(place, error.reason, error.detail)
    return None


def _finish(futures: list[Future[Rejected | None]], places: Sequence[int], buffer: torch.Tensor) -> Decoded:
    outcomes = [future.result() for future in futures]
    rejected = tuple(outcome for outcome in outcomes if outcome is not None)
    good = [row for row, outcome in enumerate(outcomes) if outcome is None]
    images = buffer[: len(places)] if not rejected else buffer[good]
    return Decoded(tuple(places[row] for row in good), images, rejected)
