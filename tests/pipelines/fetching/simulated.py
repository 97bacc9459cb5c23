"""A web and a clock that are simulated: hours pass in milliseconds, and what never ends is noticed at once."""

from __future__ import annotations

import asyncio
import math
import selectors
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa

from pipelines.fetching.host import Rules
from pipelines.fetching.network import Network
from pipelines.fetching.outcome import CONNECTION_ERROR, TIMEOUT, Body, Refused
from pipelines.fetching.schedule import Schedule, fetch_all
from wit.hosts import host_of

T = TypeVar("T")

RULES = Rules(per_host=2, host_rate=0, give_up_after=3, retries=0, retry_wait_s=5, max_wait_s=60, max_host_s=1e6)
CONNECT_S = 10.0
BUFFERED_S = 0.05

Answer = Body | Refused


class _Selector(selectors.SelectSelector):
    """Waits for nothing: time goes on instead."""

    now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "everybody waits for something that never comes"
        self.now_s += max(timeout, 0)
        return super().select(0)


class SimulatedLoop(asyncio.SelectorEventLoop):
    """An event loop whose time is that of its timers."""

    def __init__(self) -> None:
        self._now = _Selector()
        super().__init__(self._now)

    def time(self) -> float:
        """Seconds since it began."""
        return self._now.now_s


def simulate(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in simulated time."""
    with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        return runner.run(main)


class Request(NamedTuple):
    """One request that the web saw."""

    time_s: float
    url: str


def unreached() -> Refused:
    """A connection that nobody takes."""
    return Refused(TIMEOUT, "no connection in half of the time", is_passing=True, is_unreached=True)


@dataclass
class Web:
    """Answers each request as `answer(url, n-th time, from 0)` says, after `latency_s(url)`; a client of the schedule.

    In an outage nobody answers: requests fail at once, or (`is_slow`) when they have waited for too long; their packets
    are sent again after 1, 3, 7, ... s. What was asked before may be heard for `BUFFERED_S`: it had arrived already.
    """

    answer: Callable[[str, int], Answer] = lambda url, _: Body(b"", url)
    latency_s: Callable[[str], float] = lambda _: 0.1
    crawl_delay: Callable[[str], float] = lambda _: 0.0
    outages: Sequence[tuple[float, float]] = ()
    is_slow: bool = True
    requests: list[Request] = field(default_factory=list)
    asked: Counter[str] = field(default_factory=Counter)
    """Requests for each URL."""
    running: Counter[str] = field(default_factory=Counter)
    most: Counter[str] = field(default_factory=Counter)
    """Requests at once, to each host and "all"."""
    network: Network | None = None

    async def fetch(self, url: str) -> Body:
        """Answer, hang, or fail."""
        loop = asyncio.get_running_loop()
        nth = self.asked[url]
        self.asked[url] += 1
        self.requests.append(Request(loop.time(), url))
        names = (host_of(url), "all")
        for name in names:
            self.running[name] += 1
            self.most[name] = max(self.most[name], self.running[name])
        try:
            return await self._answer(url, nth)
        finally:
            self.running.subtract(names)

    async def _answer(self, url: str, nth: int) -> Body:
        loop = asyncio.get_running_loop()
        begun_s = loop.time()
        found = self.answer(url, nth)
        if isinstance(found, Refused) and found.is_unasked:
            raise found
        wait_s = CONNECT_S if _is_dead(found) else self.latency_s(url)
        for start_s, end_s in self.outages:
            is_buffered = begun_s < start_s and begun_s + wait_s <= start_s + BUFFERED_S
            if start_s <= begun_s + wait_s and begun_s < end_s and not is_buffered:
                if not self.is_slow:
                    await asyncio.sleep(start_s - begun_s)
                    raise Refused(CONNECTION_ERROR, "network is unreachable", is_passing=True, is_unreached=True)
                sent_s = 2.0 ** math.ceil(math.log2(end_s - begun_s + 1)) - 1  # after 0, 1, 3, 7, ... s
                wait_s += sent_s
        if wait_s > CONNECT_S:
            await asyncio.sleep(CONNECT_S)
            raise unreached()
        await asyncio.sleep(wait_s)
        if not _is_dead(found) and self.network is not None:
            self.network.hear()
        if isinstance(found, Refused):
            raise found
        return found

    def crawl_delay_s(self, url: str) -> float:
        """What its robots.txt says."""
        return self.crawl_delay(url)

    def times(self, part: str) -> list[float]:
        """When URLs with this in them were asked for."""
        return [request.time_s for request in self.requests if part in request.url]


def _is_dead(answer: Answer) -> bool:
    return isinstance(answer, Refused) and answer.is_unreached


class Killed(Exception):
    """Ends a part in the middle."""


@dataclass
class Told:
    """What was delivered."""

    outcomes: dict[int, Answer] = field(default_factory=dict)
    end_s: float = 0.0

    def reasons(self) -> dict[int, tuple[str, str | None] | None]:
        """What each URL ended with; None: a body."""
        return {
            number: (one.reason, one.detail) if isinstance(one, Refused) else None
            for number, one in sorted(self.outcomes.items())
        }


def run(
    urls: Sequence[str],
    web: Web,
    rules: Rules = RULES,
    *,
    concurrency: int = 8,
    outage_s: float = 600,
    check: bool = True,
    others: Sequence[str] = (),
    told: Told | None = None,
    kill_after: int | None = None,
) -> Told:
    """Ask for the URLs that are not told yet; each must be delivered once.

    With `kill_after`, Killed is raised in place of that delivery.
    """
    told = told or Told()
    num_before = len(told.outcomes)

    async def deliver(number: int, outcome: Answer) -> None:
        if len(told.outcomes) - num_before == kill_after:
            raise Killed
        assert number not in told.outcomes
        told.outcomes[number] = outcome

    async def main() -> None:
        web.network = Network(outage_s, check=check, others=lambda: others)
        done = np.zeros(len(urls), np.bool_)
        done[list(told.outcomes)] = True
        schedule = Schedule(pa.array(urls, pa.string()), done, rules)
        await fetch_all(schedule, web, deliver, concurrency, web.network)
        told.end_s = asyncio.get_running_loop().time()

    simulate(main())
    assert len(told.outcomes) == len(urls)
    return told
