"""Memory of batches that is used again, once nobody holds it: fresh pages cost 40 us an image of 224 px."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

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
