"""Batches on their way to a device: copied beside the work on the one before.

Shapes: B rows of a batch that are this rank's, S image side in px, L context length in tokens.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from trainer.loader.buffers import Allocate, Shape, ordinary
from trainer.loader.loader import Batch, Replaced
from trainer.loader.order import LoaderState

MOST_UNDER_WAY = 2


@dataclass(frozen=True)
class DeviceBatch:
    """A `Batch` whose images, uint8 (B, 3, S, S), are on a device; the rest is as it was."""

    images: torch.Tensor
    tokens: NDArray[np.int64]
    keys: tuple[str, ...]
    replaced: tuple[Replaced, ...]
    state: LoaderState


def memory_for(device: torch.device) -> Allocate:
    """Return what gives memory that is copied to a device quickly: page-locked where it is a GPU."""
    return _page_locked if device.type == "cuda" else ordinary


def _page_locked(shape: Shape) -> NDArray[np.uint8]:
    array: NDArray[np.uint8] = torch.empty(shape, dtype=torch.uint8, pin_memory=True).numpy()
    return array


def to_device(batches: Generator[Batch], device: torch.device) -> Generator[DeviceBatch]:
    """Yield batches with their images on a device, in order; closing this closes `batches`.

    A GPU gets each copy on a stream of its own, so that it runs while the step before, which was launched and not
    waited for, is under way; the CPU waits for neither. Elsewhere nothing is copied.
    """
    with closing(batches):
        if device.type == "cuda":
            yield from _copied(batches, device)
        else:
            yield from (_moved(batch, torch.from_numpy(batch.images).to(device)) for batch in batches)


def _copied(batches: Generator[Batch], device: torch.device) -> Generator[DeviceBatch]:
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    under_way: deque[tuple[NDArray[np.uint8], torch.cuda.Event]] = deque()
    for batch in batches:
        with torch.cuda.stream(stream):
            images = torch.from_numpy(batch.images).to(device, non_blocking=True)
            done = stream.record_event()
        under_way.append((batch.images, done))  # so long the memory must not be filled anew
        while len(under_way) > MOST_UNDER_WAY:
            under_way.popleft()[1].synchronize()
        step = torch.cuda.current_stream(device)
        step.wait_event(done)
        images.record_stream(step)  # its memory is not for the next copy before the step is through
        yield _moved(batch, images)


def _moved(batch: Batch, images: torch.Tensor) -> DeviceBatch:
    return DeviceBatch(images, batch.tokens, batch.keys, batch.replaced, batch.state)
