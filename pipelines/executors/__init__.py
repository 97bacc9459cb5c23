"""Where stages run. Every executor has two verbs, and the same bytes come out of each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from wit.stage import Step

Advance = Callable[[int], None]


class Executor(Protocol):
    """Runs the steps of a run; parts that are already in place are left alone."""

    @property
    def cores(self) -> int:
        """How many parts are worked on at once."""

    def map(self, step: Step, advance: Advance) -> None:
        """Run a map stage over every part of its source."""

    def sql(self, step: Step, advance: Advance) -> None:
        """Run a SQL stage over its sources, into one part a bucket."""

    def close(self) -> None:
        """Let go of processes and sessions."""
