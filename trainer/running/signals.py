"""Signals that ask training to stop."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from trainer.parallel.agreement import Flag
from trainer.parallel.ranks import Ranks


@contextmanager
def stop_signals(ranks: Ranks) -> Iterator[Callable[[], int | None]]:
    """Note SIGTERM and SIGINT instead of dying of them, so that the loop can save first.

    The block gets a function that returns the signal which any of the ranks received, or None; all must call it at the
    same steps, and all get the same answer. A second Ctrl-C acts as ever. A second SIGTERM does not: job managers send
    it to a process and to its group.
    """
    received: list[int] = []
    flag = Flag(ranks)

    def note(number: int, _: FrameType | None) -> None:
        received.append(number)
        if number == signal.SIGINT:
            signal.signal(number, before[signal.SIGINT])

    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield lambda: flag.exchange(received[0] if received else 0) or None
        flag.close()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
