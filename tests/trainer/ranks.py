"""Runs a script as several ranks that join by Gloo, each a process, as torchrun would start them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Sequence

from tests.support import ROOT

_LEAVE = "\nfrom trainer.parallel.ranks import find_ranks, leave\nleave(find_ranks(), 0)\n"


def run_ranks(script: str, size: int, arguments: Sequence[str], timeout_s: float = 60) -> list[str]:
    """Run a script in `size` processes; return what each said on standard output, in the order of ranks.

    Raises AssertionError when one fails, and ends them all when they take longer than `timeout_s`.
    """
    processes = start_ranks([sys.executable, "-c", script + _LEAVE, *arguments], size)
    try:
        said = [process.communicate(timeout=timeout_s) for process in processes]
    finally:
        for process in processes:
            process.kill()
    for rank, (process, (_, errors)) in enumerate(zip(processes, said, strict=True)):
        assert process.returncode == 0, f"rank {rank} ended with {process.returncode}: {errors}"
    return [output for output, _ in said]


def start_ranks(command: Sequence[str], size: int) -> list[subprocess.Popen[str]]:
    """Start a command in `size` processes that find one another."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {
        "WORLD_SIZE": str(size), "LOCAL_WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
        "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    return [
        subprocess.Popen(
            command,
            env={**os.environ, **common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(size)
    ]
