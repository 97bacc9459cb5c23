"""The processes that train together: who this one is, and what they say to one another."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist

from wit.errors import UserError

TIMEOUT = timedelta(minutes=30)
"""A rank that hears nothing for so long ends: longer than any checkpoint or evaluation takes, shorter than a night."""


@dataclass(frozen=True)
class Ranks:
    """This process's place among those that train together; a process alone is rank 0 of 1."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    """Place among the processes of this machine: which GPU is this one's, and who fetches for all."""
    local_size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    @property
    def num_cores(self) -> int:
        """This process's share of the machine's cores, at least 1."""
        return max(1, len(os.sched_getaffinity(0)) // self.local_size)

    def rows(self, num_rows: int) -> range:
        """Return this rank's rows of a batch; raises UserError unless every rank gets as many."""
        if num_rows % self.size:
            raise UserError(
                f"data.batch_size: expected a multiple of {self.size}, the number of processes, found {num_rows}; "
                "choose another batch, or start another number of processes"
            )
        share = num_rows // self.size
        return range(self.rank * share, (self.rank + 1) * share)


ALONE = Ranks()
"""The place of a process that trains by itself."""


def find_ranks() -> Ranks:
    """Return the place that `torchrun` gave this process; raises UserError when it is not one."""
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    if "WORLD_SIZE" not in os.environ:
        return Ranks()
    try:
        return Ranks(*(int(os.environ[name]) for name in names))
    except (LookupError, ValueError) as error:
        raise UserError(f"environment: expected {', '.join(names)} as torchrun sets them, found {error}") from error


def own_device(name: str, ranks: Ranks) -> torch.device:
    """Return this process's device: of several GPUs the one of its place on this machine, made the current one.

    Raises UserError when there are more processes than GPUs.
    """
    if name != "cuda":
        return torch.device(name)
    if ranks.local_rank >= torch.cuda.device_count():
        raise UserError(
            f"--device cuda: expected a GPU for each of the {ranks.local_size} processes of this machine, found "
            f"{torch.cuda.device_count()}; start fewer"
        )
    device = torch.device(name, ranks.local_rank)
    torch.cuda.set_device(device)
    return device


@contextmanager
def joined(ranks: Ranks, device: torch.device, timeout: timedelta = TIMEOUT) -> Iterator[None]:
    """Join the other ranks (by NCCL between GPUs, by Gloo between CPUs) for a while; alone, do nothing."""
    if ranks.size == 1:
        yield
        return
    dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo", timeout=timeout)
    try:
        yield
    finally:
        dist.destroy_process_group()


def sum_over(ranks: Ranks, value: torch.Tensor) -> torch.Tensor:
    """Return the sum of a tensor over the ranks; the tensor itself becomes the sum."""
    if ranks.size > 1:
        dist.all_reduce(value)
    return value


def leave(ranks: Ranks, status: int) -> None:
    """End this process at once when others trained with it; alone, do nothing.

    Under FSDP threads of Gloo outlive the group they were made for, and now and then abort the interpreter while it
    ends (torch 2.13: once in twelve runs), after all is written.
    """
    if ranks.size > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
