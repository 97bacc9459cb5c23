"""Progress of long work: a bar on a terminal, plain lines elsewhere, silence for what takes under two seconds."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SILENT_S = 2.0
LINE_EVERY_S = 10.0


@contextmanager
def progress(label: str, total: int | None, unit: str = "parts") -> Iterator[Callable[[int], None]]:
    """Yield `advance(n)`: call it as `n` more units are done. `total` is None when it is not known."""
    reporter = _Bar(label, total, unit) if sys.stderr.isatty() else _Lines(label, total, unit)
    try:
        yield reporter.advance
    finally:
        reporter.close()


class _Lines:
    """A line every few seconds, for logs."""

    def __init__(self, label: str, total: int | None, unit: str) -> None:
        self.label, self.total, self.unit = label, total, unit
        self.done = self.told = 0
        self.started = self.said = time.monotonic()
        self.spoke = False

    def advance(self, count: int) -> None:
        self.done += count
        now = time.monotonic()
        if now - self.started > SILENT_S and now - self.said > (LINE_EVERY_S if self.spoke else 0):
            self._say(now)

    def _say(self, now: float) -> None:
        self.said, self.told, self.spoke = now, self.done, True
        seconds = max(now - self.started, 1e-9)
        of = f"/{self.total:,}" if self.total else ""
        print(f"{self.label}: {self.done:,}{of} {self.unit}, {self.done / seconds:,.1f}/s", file=sys.stderr, flush=True)

    def close(self) -> None:
        if self.spoke and self.told != self.done:
            self._say(time.monotonic())


class _Bar:
    """A rich progress bar that appears after two seconds."""

    def __init__(self, label: str, total: int | None, unit: str) -> None:
        self.label, self.total, self.unit = label, total, unit
        self.done = 0
        self.started = time.monotonic()
        self.bar: _RichBar | None = None

    def advance(self, count: int) -> None:
        self.done += count
        if self.bar is None and time.monotonic() - self.started > SILENT_S:
            self.bar = _RichBar(self.label, self.total, self.unit)
        if self.bar is not None:
            self.bar.show(self.done)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()


class _RichBar:
    def __init__(self, label: str, total: int | None, unit: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn(unit))
        self.rich = Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True)
        self.rich.start()
        self.task = self.rich.add_task(label, total=total)

    def show(self, done: int) -> None:
        self.rich.update(self.task, completed=done)

    def close(self) -> None:
        self.rich.stop()
