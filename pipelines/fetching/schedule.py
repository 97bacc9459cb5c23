"""Who is asked next: hosts take turns, each in its own time.

How a host is spared, asked again and given up: pipelines.fetching.host. Times are those of the event loop, in seconds.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from heapq import heappop, heappush
from itertools import chain, count
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipelines.fetching.host import GIVEN_UP, Ask, Host, Numbers, Outcome, Rules, Told
from pipelines.fetching.network import Network
from pipelines.fetching.outcome import HOST_EXHAUSTED, Body, Refused
from wit.hosts import hosts

_MAX_OUTAGES = 10  # after which a URL's failure is believed: a network that comes and goes keeps no URL for ever
_NUM_EXAMPLES = 16
_BREATH = 128  # deliveries after which a worker lets others work, if nothing else has made it

Deliver = Callable[[int, Outcome], Awaitable[None]]
"""Takes the number of a URL and what became of it."""


class Client(Protocol):
    """Asks the web."""

    async def fetch(self, url: str) -> Body:
        """Ask for a URL once; raises Refused."""

    def crawl_delay_s(self, url: str) -> float:
        """Return the time that the URL's host wants between two requests, as far as it is known and heeded."""


class Schedule:
    """Hands out the URLs that are not `done`, by number, and says in the end what became of each.

    The hosts with most URLs come first. Another is begun when none of those that were begun may be asked now: so
    connections and robots.txt are used while they are warm, no host that has to be waited for holds up the rest, and
    the longest queues do not remain for the end. Memory: 5 bytes a URL, and about 1,000 for each host under way.
    """

    def __init__(self, urls: pa.StringArray, done: npt.NDArray[np.bool_], rules: Rules) -> None:
        self._urls = urls
        self._rules = rules
        names = hosts(urls).dictionary_encode()
        host_of = names.indices.to_numpy()
        by_host = np.argsort(host_of, kind="stable")
        is_left = ~done[by_host]
        self._numbers: Numbers = by_host[is_left].astype(np.int32)
        self._follows_done = np.diff(np.cumsum(~is_left)[is_left], prepend=0) > 0
        counts = np.bincount(host_of[self._numbers], minlength=len(names.dictionary))
        self._bounds = np.concatenate(([0], np.cumsum(counts)))
        self._num_open = int(np.count_nonzero(counts))
        self._dormant = iter(np.argsort(-counts, kind="stable")[: self._num_open])
        self.num_hosts = len(names.dictionary)
        """Hosts of all URLs, also of those that are done."""
        self.lost_s = 0.0
        """Time that the network was away, which no host is to blame for."""
        firsts = by_host[np.flatnonzero(np.diff(host_of[by_host], prepend=-1))]
        self._examples = firsts[:: -(-len(firsts) // _NUM_EXAMPLES) or 1].tolist()
        self._ready: deque[Host] = deque()
        self._waiting: list[tuple[float, int, Host]] = []
        self._ties = count()
        self._idle: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def url(self, number: int) -> str:
        """Return a URL."""
        url: str = self._urls[number].as_py()
        return url

    def examples(self) -> list[str]:
        """Return some URLs of as many hosts, evenly spread, whether done or not."""
        return [self.url(number) for number in self._examples]

    async def take(self) -> Ask | None:
        """Return the next request, waiting until its host may be asked; None when nothing is left."""
        loop = asyncio.get_running_loop()
        while self._num_open:
            now_s = loop.time()
            host = self._next(now_s)
            if host is not None:
                ask = host.take(self._rules, now_s)
                self._offer(host, now_s)
                self._set_timer()
                return ask
            idle = loop.create_future()
            self._idle.append(idle)
            self._set_timer()
            await idle
        return None

    def finish(self, ask: Ask, outcome: Outcome, crawl_delay_s: float) -> Iterable[Told]:
        """Note what a request gave, and how slowly its host wants to be asked; return what is certain now.

        It has to be delivered in this order, for the sake of parts that are killed: see pipelines.fetching.host.
        """
        now_s = asyncio.get_running_loop().time()
        host, rules = ask.host, self._rules
        if crawl_delay_s:
            host.crawl_delay_s = crawl_delay_s
            host.next_s = max(host.next_s, ask.begun_s + crawl_delay_s)
        told: Iterable[Told] = host.finish(ask, outcome, rules, now_s)
        if host.is_given_up:
            return told
        if host.is_dead(rules):
            reason, _ = host.refusals[host.failed[-1][1]]
            return self._give_up(host, reason, GIVEN_UP)
        if host.is_through(rules):
            self._close()
            return [*told, *host.end()]
        if max(host.free_s(), now_s) - self.lost_s > host.end_s:
            return chain(told, self._give_up(host, HOST_EXHAUSTED, f"more than {rules.max_host_s:g} s"))
        self._offer(host, now_s)
        return told

    def _give_up(self, host: Host, reason: str, detail: str) -> Iterable[Told]:
        self._close()
        return host.give_up(reason, detail)

    def _close(self) -> None:
        """Note that a host has nothing left to ask for; nobody waits for the last one."""
        self._num_open -= 1
        while self._idle and not self._num_open:
            self._wake()

    def _next(self, now_s: float) -> Host | None:
        """Return a host that may be asked now: one of those begun, or else the next."""
        while self._waiting and self._waiting[0][0] <= now_s:
            due_s, _, host = heappop(self._waiting)
            if host.due_s == due_s:  # else an earlier time was found for it since
                host.due_s = None
                self._offer(host, now_s)
        while self._ready:
            host = self._ready.popleft()
            host.is_queued = False
            if host.may_ask(self._rules) and host.free_s() <= now_s:
                return host
            self._offer(host, now_s)
        for place in self._dormant:
            at, stop = int(self._bounds[place]), int(self._bounds[place + 1])
            end_s = now_s - self.lost_s + self._rules.max_host_s
            return Host(self._numbers, self._follows_done, at, stop, end_s)
        return None

    def _offer(self, host: Host, now_s: float) -> None:
        """Let a host be asked, now or when it is time, if it has URLs and connections left."""
        if host.is_queued or not host.may_ask(self._rules):
            return
        due_s = host.free_s()
        if due_s <= now_s:
            host.is_queued = True
            self._ready.append(host)
            self._wake()
        elif host.due_s is None or due_s < host.due_s:
            host.due_s = due_s
            heappush(self._waiting, (due_s, next(self._ties), host))
            self._set_timer()

    def _wake(self) -> None:
        """Have one of the idle workers look again."""
        while self._idle:
            idle = self._idle.popleft()
            if not idle.done():  # as it is when its worker was cancelled
                idle.set_result(None)
                return

    def _set_timer(self) -> None:
        """Have an idle worker look again when the next host is due."""
        if not self._idle or not self._waiting or (self._timer and self._timer.when() <= self._waiting[0][0]):
            return
        if self._timer:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(self._waiting[0][0], self._ring)

    def _ring(self) -> None:
        self._timer = None
        self._wake()


async def fetch_all(schedule: Schedule, client: Client, deliver: Deliver, concurrency: int, network: Network) -> None:
    """Ask for every URL that is left and deliver what became of it, `concurrency` at a time.

    A worker delivers before it takes the next request, so that no more bodies than workers are in memory. Raises
    NetworkGone, and what `deliver` raises; workers that are under way are ended first.
    """
    network.start(client.fetch, schedule.examples(), schedule.num_hosts)
    workers = [asyncio.create_task(_work(schedule, client, deliver, network)) for _ in range(concurrency)]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
        await network.close()


async def _work(schedule: Schedule, client: Client, deliver: Deliver, network: Network) -> None:
    num_delivered = 0
    while (ask := await schedule.take()) is not None:
        url = schedule.url(ask.number)
        outcome = await _ask(url, client, network)
        if isinstance(outcome, Body) and not ask.host.has_answered:
            network.remember(url)
        schedule.lost_s = network.lost_s
        for told in schedule.finish(ask, outcome, client.crawl_delay_s(url)):
            await deliver(*told)
            num_delivered += 1
            if not num_delivered % _BREATH:
                await asyncio.sleep(0)


async def _ask(url: str, client: Client, network: Network) -> Outcome:
    """Return what a URL gives; asked again as long as the network is to blame."""
    for _ in range(_MAX_OUTAGES):
        begun_s = network.begin()
        try:
            return await client.fetch(url)
        except Refused as refusal:
            outcome = refusal
            # Its traceback holds this frame, which holds it, and the body of an answer perhaps.
            outcome.__traceback__ = outcome.__cause__ = outcome.__context__ = None
        finally:
            network.end()
        if await network.is_believed(outcome, url, begun_s):
            break
    return outcome
