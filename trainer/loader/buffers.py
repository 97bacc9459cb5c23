"""Memory that is used again, of batches and of threads: fresh pages cost 40 us an image of 224 px."""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

MOST_KEPT_BYTES = 1 << 25  # of one kind in a thread: 32 files of 1 MB, or a picture of 8 million pixels

Number = TypeVar("Number", bound=np.generic)
Shape = tuple[int, ...]
Allocate = Callable[[Shape], NDArray[np.uint8]]


def ordinary(shape: Shape) -> NDArray[np.uint8]:
    """Return ordinary memory, not filled in."""
    return np.empty(shape, np.uint8)


class Buffers:
    """Gives out arrays of one shape. Safe in threads.

    An array is given out again when it is gone, and so is all that was made on it: views, torch's tensors. Who keeps
    batches therefore keeps what is in them, and costs the memory alone.
    """

    def __init__(self, shape: Shape, num_kept: int, allocate: Allocate = ordinary) -> None:
        """`num_kept` is how many are kept for later while nobody holds them; `allocate` may give page-locked memory."""
        self._shape, self._allocate = shape, allocate
        self._free: deque[NDArray[np.uint8]] = deque(maxlen=num_kept)

    def take(self) -> NDArray[np.uint8]:
        """Return an array; what is in it is anything."""
        try:
            buffer = self._free.pop()
        except IndexError:
            buffer = self._allocate(self._shape)
        lease = _Lease(buffer)
        weakref.finalize(lease, self._free.append, buffer).atexit = False
        return np.asarray(lease)


class _Lease:
    """What arrays are made on in place of the buffer: the first owner that numpy finds, and keeps, for every view."""

    def __init__(self, buffer: NDArray[np.uint8]) -> None:
        self.__array_interface__ = buffer.__array_interface__


class Room(threading.local):
    """Memory of a thread, by name, that what it does next uses again."""

    def __init__(self) -> None:
        self._arrays: dict[str, NDArray[Any]] = {}

    def take(self, name: str, kind: type[Number], num: int) -> NDArray[Number]:
        """Return so many numbers, which are anything; more than MOST_KEPT_BYTES are not kept."""
        found = self._arrays.get(name)
        if found is None or len(found) < num:
            found = np.empty(num, kind)
            if found.nbytes <= MOST_KEPT_BYTES:
                self._arrays[name] = found
        return found[:num]
