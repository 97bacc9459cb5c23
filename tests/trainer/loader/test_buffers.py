from __future__ import annotations

import gc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from trainer.loader import buffers as module
from trainer.loader.buffers import Buffers, Room


def address(array: NDArray[Any]) -> int:
    return int(array.__array_interface__["data"][0])


def test_memory_is_given_out_again_when_nobody_holds_it() -> None:
    """An array that is gone makes room for the next; one that is held is not touched."""
    buffers = Buffers((4, 3), num_kept=2)
    first, second = buffers.take(), buffers.take()
    assert first.shape == (4, 3)
    assert first.flags.writeable
    assert not np.shares_memory(first, second)
    at = address(first)
    del first
    third = buffers.take()
    assert address(third) == at
    assert not np.shares_memory(second, third)


def test_views_and_tensors_hold_the_memory() -> None:
    """A part of a batch, or a tensor made of it, keeps its bytes after the batch itself is gone."""
    derived: tuple[Callable[[NDArray[np.uint8]], object], ...] = (
        lambda array: array[1:2][0],
        lambda array: array.T,
        lambda array: torch.from_numpy(array)[2:],
    )
    for derive in derived:
        buffers = Buffers((4, 8), num_kept=2)
        array = buffers.take()
        array[:] = 7
        held = derive(array)
        del array
        gc.collect()
        for _ in range(3):
            buffers.take()[:] = 9
        assert (np.asarray(held) == 7).all()


def test_only_so_many_are_kept() -> None:
    """What many hold at once is memory; what is kept for later is bounded."""
    taken: list[tuple[int, ...]] = []

    def allocate(shape: tuple[int, ...]) -> NDArray[np.uint8]:
        taken.append(shape)
        return np.zeros(shape, np.uint8)

    buffers = Buffers((2, 2), num_kept=2, allocate=allocate)
    held = [buffers.take() for _ in range(5)]
    del held
    again = [buffers.take() for _ in range(3)]
    assert len(again) == 3
    assert taken == [(2, 2)] * 6


def test_a_thread_has_room_of_its_own_and_keeps_no_more_than_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """What fits is used again, by name; another thread's lies elsewhere; what is too large is not kept."""
    monkeypatch.setattr(module, "MOST_KEPT_BYTES", 800)
    room = Room()
    first = room.take("a", np.int64, 100)
    assert address(room.take("a", np.int64, 7)) == address(first)
    assert not np.shares_memory(room.take("b", np.int64, 100), first)
    with ThreadPoolExecutor(1) as other:
        assert not np.shares_memory(other.submit(room.take, "a", np.int64, 100).result(), first)
    large = room.take("a", np.int64, 101)
    assert len(large) == 101
    assert not np.shares_memory(room.take("a", np.int64, 101), large)
    assert address(room.take("a", np.int64, 100)) == address(first)
