"""A trace of some steps: what the CPU and the device did when, for chrome://tracing or Perfetto."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch.profiler import ProfilerActivity, profile, schedule

from wit.errors import OutputError
from wit.storage import TEMPORARY_PREFIX, exists, join, local_path, make_folder, move

FIRST_STEPS = 10  # not traced: they compile, allocate and fill caches
_WARMUP_STEPS = 1  # traced and thrown away, as the tracer itself has to start


@contextmanager
def profiled(out: str, num_steps: int) -> Iterator[Callable[[], None]]:
    """Trace `num_steps` steps (0: none) after the first ten to OUT/profile/trace.json.

    The block gets a function to call after each step.
    """
    if not num_steps:
        yield lambda: None
        return

    def write(trace: profile) -> None:
        folder = join(out, "profile")
        make_folder(folder)
        temporary, final = join(folder, f"{TEMPORARY_PREFIX}trace.json"), join(folder, "trace.json")
        trace.export_chrome_trace(local_path(temporary))
        if not exists(temporary):  # its writer in C++ raises nothing
            raise OutputError(f"{final}: cannot be written; free some space, or set a smaller run.profile_steps")
        move(temporary, final)

    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if torch.cuda.is_available() else [])]
    steps = schedule(wait=FIRST_STEPS - _WARMUP_STEPS, warmup=_WARMUP_STEPS, active=num_steps, repeat=1)
    with profile(activities=activities, schedule=steps, on_trace_ready=write) as tracer:
        yield tracer.step
