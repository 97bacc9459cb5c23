from __future__ import annotations

from collections.abc import Generator

import numpy as np
import pytest
import torch

from trainer.loader.buffers import Buffers, ordinary
from trainer.loader.device import memory_for, to_device
from trainer.loader.loader import Batch
from trainer.loader.order import LoaderState

STATE = LoaderState(0, 1, 2, 3, "hash")


def batches(buffers: Buffers, count: int, closed: list[bool]) -> Generator[Batch]:
    """Batches whose images are all their number."""
    try:
        for number in range(count):
            images = buffers.take()
            images[:] = number
            yield Batch(images, np.full((3, 5), number), ("a", "b", str(number)), (), STATE)
            del images
    finally:
        closed.append(True)


@pytest.mark.parametrize("name", ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(
    not torch.cuda.is_available(), reason="no GPU"))])  # fmt: skip
def test_images_arrive_in_order_and_whole(name: str) -> None:
    """Each batch arrives with its own pixels, however early the loader fills the memory anew; closing closes it."""
    device = torch.device(name)
    buffers, closed = Buffers((3, 3, 64, 64), 2, memory_for(device)), list[bool]()
    found = to_device(batches(buffers, 9, closed), device)
    for number, batch in zip(range(8), found, strict=False):
        assert batch.images.device.type == name
        assert (batch.images == number).all()
        assert (batch.tokens == number).all()
        assert batch.keys[2] == str(number)
        assert batch.state == STATE
    found.close()
    assert closed == [True]


def test_memory_is_ordinary_without_a_gpu() -> None:
    """Page-locked memory is asked for where a GPU copies from it, and nowhere else."""
    assert memory_for(torch.device("cpu")) is ordinary
    assert memory_for(torch.device("cuda")) is not ordinary
