"""What is measured of a run: its speed between two lines of the log, and which samples it was trained on."""

from __future__ import annotations

import hashlib
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch

from trainer.parallel.agreement import gathered
from trainer.parallel.ranks import Ranks

Batch = TypeVar("Batch")

_MODULUS = 1 << 64


@dataclass(frozen=True)
class Window:
    """What was measured between two lines of the log."""

    num_steps: int
    seconds: float
    wait_share: float
    """Of the time, spent waiting for data by the rank that waited longest: the others wait for it."""
    peak_bytes: int
    """The most that a rank's tensors took on its GPU so far, or, on a CPU, its whole process."""


class Meter:
    """Measures the steps between two lines of the log; the clock is read on the CPU, no device is waited for."""

    def __init__(self, ranks: Ranks, device: torch.device) -> None:
        self._ranks, self._device = ranks, device
        self._begin()

    def _begin(self) -> None:
        self._started, self._wait_s, self._num_steps = time.perf_counter(), 0.0, 0

    def wait_for(self, batches: Iterator[Batch]) -> Batch:
        """Return the next batch, and note the time that passed until it came."""
        asked = time.perf_counter()
        batch = next(batches)
        self._wait_s += time.perf_counter() - asked
        self._num_steps += 1
        return batch

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the time of the block out: what it does is no training."""
        began = time.perf_counter()
        yield
        self._started += time.perf_counter() - began

    def report(self) -> Window:
        """Return the numbers of all ranks since the last call; every rank must call it, once its steps are done."""
        seconds = time.perf_counter() - self._started
        told = gathered(self._ranks, (self._wait_s / seconds, self._peak_bytes()))
        window = Window(self._num_steps, seconds, max(share for share, _ in told), max(peak for _, peak in told))
        self._begin()
        return window

    def _peak_bytes(self) -> int:
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device)
        unit = 1 if sys.platform == "darwin" else 1024  # getrusage(2): kilobytes, on macOS bytes
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


class SampleSum:
    """A sum, modulo 2^64, of a hash of each sample trained on and its place in the run.

    A sum, so that each rank adds up its own rows: two runs that agree in it saw the same samples at the same places,
    with whatever numbers of ranks.
    """

    def __init__(self, start: int) -> None:
        self._sum = start

    def add(self, keys: Sequence[str], first_place: int) -> None:
        """Add samples whose places in the run, counted from its very first sample, begin at `first_place`."""
        for place, key in enumerate(keys, first_place):
            digest = hashlib.blake2b(f"{place} {key}".encode(), digest_size=8).digest()
            self._sum = (self._sum + int.from_bytes(digest, "little")) % _MODULUS

    def total(self, ranks: Ranks) -> int:
        """Return the sum over all ranks; every rank must call it."""
        return sum(gathered(ranks, self._sum)) % _MODULUS
