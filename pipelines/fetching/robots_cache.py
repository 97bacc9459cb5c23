"""The rules of the origins that are asked now: each robots.txt asked for once, and kept while its origin is in use."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from pipelines.fetching.outcome import Refused
from pipelines.fetching.robots import Robots

_MAX_BYTES = 64 << 20  # hosts may all say as much as is read of a robots.txt, half a megabyte

Ask = Callable[[str], Awaitable[Robots]]
"""An origin ("http://example.org") to its rules; raises Refused when none could be had, so that they are not kept."""


class RobotsCache:
    """Rules by origin, at most `max_origins` and about `_MAX_BYTES` of them: those used longest ago go first."""

    def __init__(self, ask: Ask, max_origins: int) -> None:
        self._ask = ask
        self._max_origins = max_origins
        self._num_bytes = 0
        self._kept: dict[str, Robots] = {}
        self._asking: dict[str, asyncio.Task[Robots | Refused]] = {}

    async def close(self) -> None:
        """End what is still asked for."""
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def known(self, origin: str) -> Robots | None:
        """Return the rules of an origin if they are here."""
        rules = self._kept.pop(origin, None)
        if rules is not None:
            self._kept[origin] = rules  # last used, last dropped
        return rules

    async def get(self, origin: str) -> Robots:
        """Return the rules of an origin, asked for if need be; raises Refused, to all that wait for them alike."""
        rules = self.known(origin)
        if rules is not None:
            return rules
        task = self._asking.get(origin)
        if task is None:
            task = self._asking[origin] = asyncio.create_task(self._obtain(origin))
        # Shielded: many URLs wait for this one answer, and the deadline of one must not take it from the others.
        answer = await asyncio.shield(task)
        if isinstance(answer, Refused):
            raise Refused(
                answer.reason, answer.detail, is_passing=answer.is_passing, is_unreached=answer.is_unreached,
                wait_s=answer.wait_s,
            )  # fmt: skip
        return answer

    async def _obtain(self, origin: str) -> Robots | Refused:
        try:
            rules = await self._ask(origin)
        except Refused as refusal:
            return refusal
        finally:
            del self._asking[origin]
        self._kept[origin] = rules
        self._num_bytes += rules.num_bytes
        while len(self._kept) > self._max_origins or (self._num_bytes > _MAX_BYTES and len(self._kept) > 1):
            self._num_bytes -= self._kept.pop(next(iter(self._kept))).num_bytes
        return rules
