"""What both sides of train_throughput.py share: the case, captions, and how steps are timed. Needs torch alone.

A case is measured in a process of its own, which prints one line of JSON.
"""

from __future__ import annotations

import json
import math
import random
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import torch

NUM_WINDOWS = 5
NUM_BATCHES = 4  # of synthetic data, used in turn
Batch = TypeVar("Batch")


@dataclass(frozen=True)
class Case:
    """One measurement."""

    side: str
    model: str
    variant: str
    """Words joined by "+": what is switched on."""
    batch: int
    device: str
    precision: str
    steps: int
    warmup: int
    shards: str = ""
    """Pattern of tars; empty: synthetic batches that are on the device already."""
    threads: int = 2
    """That decode: threads of ours, worker processes of open_clip."""
    merges: str = ""

    @property
    def switches(self) -> frozenset[str]:
        """The words of the variant."""
        return frozenset(self.variant.split("+"))

    def to_json(self) -> str:
        """Return the case as one line."""
        return json.dumps(asdict(self))


def captions(count: int, seed: int, context_length: int = 77, vocabulary_size: int = 49_408) -> torch.Tensor:
    """Return (count, context_length) token ids whose captions are 20 tokens long on average, their marks included.

    Lengths are log-normal: alt texts of the web average near 20, and few are longer than twice that.
    """
    draw = random.Random(f"captions {seed}")
    lengths = [min(context_length, max(3, round(draw.lognormvariate(math.log(17.5), 0.5)))) for _ in range(count)]
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(1, vocabulary_size - 2, (count, context_length), generator=generator)
    places, ends = torch.arange(context_length), torch.tensor(lengths)[:, None] - 1
    tokens = torch.where(places < ends, tokens, torch.where(places == ends, vocabulary_size - 1, 0))
    tokens[:, 0] = vocabulary_size - 2  # start; the last id is the end
    return tokens


def time_steps(case: Case, batches: Iterator[Batch], step: Callable[[Batch], object]) -> dict[str, Any]:
    """Return images a second (median, least and most of five windows), the share spent waiting, and peak memory.

    The device is waited for between windows only, as in training between two lines of the log.
    """
    device = torch.device(case.device)
    for _ in range(case.warmup):
        step(next(batches))
    _finish(device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    rates, waited, total = [], 0.0, 0.0
    steps_a_window = max(1, case.steps // NUM_WINDOWS)
    for _ in range(min(NUM_WINDOWS, case.steps)):
        started = time.perf_counter()
        for _ in range(steps_a_window):
            asked = time.perf_counter()
            batch = next(batches)
            waited += time.perf_counter() - asked
            step(batch)
        _finish(device)
        seconds = time.perf_counter() - started
        total += seconds
        rates.append(steps_a_window * case.batch / seconds)
    return {
        "images_per_s": statistics.median(rates), "least": min(rates), "most": max(rates),
        "wait_share": waited / total, "peak_bytes": _peak_bytes(device), "device": _device_name(device),
        "torch": torch.__version__,
    }  # fmt: skip


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _peak_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"


def report_one(measure: Callable[[Case], dict[str, Any]]) -> None:
    """Measure the case that the command line holds as JSON and print what was found; memory that ran out is a result.

    Products of fp32 may use TF32 on both sides, as open_clip's training sets it.
    """
    case = Case(**json.loads(sys.argv[-1]))
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.allow_tf32 = True
    try:
        found = measure(case)
    except torch.OutOfMemoryError:
        found = {"failed": "out of memory"}
    print(json.dumps(found), flush=True)
