"""Who is asked next: hosts take turns, a few connections each, and one that never answers is given up.

A host starts with one URL at a time and gets its full number of connections when it has answered once. So which URLs
a dead host was tried with does not depend on timing, and a dead host costs few connections.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from pipelines.fetching.outcome import Body, Refused

GIVEN_UP = "the host was given up"

Fetch = Callable[[str], Awaitable[Body]]
Deliver = Callable[[str, Body | Refused], Awaitable[None]]


@dataclass
class _Host:
    waiting: deque[str] = field(default_factory=deque)
    num_running: int = 0
    num_failures: int = 0
    """Failures in a row in which nothing of the host was heard."""
    has_answered: bool = False
    is_ready: bool = False


class Schedule:
    """Hands out URLs host by host, in the order given within a host.

    `num_active` hosts take turns, those with most URLs first, and the next comes in when one is through: connections
    and robots.txt are used again while they are warm, and the longest queues do not remain for the end.
    """

    def __init__(self, urls: Iterable[str], per_host: int, give_up_after: int, num_active: int) -> None:
        self._per_host = per_host
        self._give_up_after = give_up_after
        self._hosts: dict[str, _Host] = {}
        for url in urls:
            self._hosts.setdefault(host_of(url), _Host()).waiting.append(url)
        self._dormant = deque(sorted(self._hosts.values(), key=lambda host: -len(host.waiting)))
        self._num_hosts_waiting = len(self._hosts)
        self._ready: deque[_Host] = deque()
        self._changed = asyncio.Condition()
        for _ in range(min(num_active, len(self._dormant))):
            self._activate()

    async def take(self) -> str | None:
        """Return the next URL, waiting until its host may be asked; None when all have been handed out."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._ready or not self._num_hosts_waiting)
            if not self._ready:
                return None
            host = self._ready.popleft()
            host.is_ready = False
            url = host.waiting.popleft()
            host.num_running += 1
            if host.waiting:
                self._offer(host)
            else:
                self._retire()
            self._changed.notify(len(self._ready))
            return url

    async def finish(self, url: str, refusal: Refused | None) -> list[str]:
        """Note how a URL ended; return the URLs of its host that are given up with it."""
        async with self._changed:
            host = self._hosts[host_of(url)]
            host.num_running -= 1
            if refusal is not None and refusal.is_unreached:
                host.num_failures += 1
            else:
                host.num_failures, host.has_answered = 0, True
            if host.num_failures >= self._give_up_after and host.waiting and not host.is_ready:
                given_up = list(host.waiting)
                host.waiting.clear()
                self._retire()
                self._changed.notify(len(self._ready))
                return given_up
            self._offer(host)
            self._changed.notify(len(self._ready))
            return []

    def _offer(self, host: _Host) -> None:
        """Put a host at the end of the queue, if it has URLs and connections left."""
        limit = self._per_host if host.has_answered else 1
        if host.waiting and not host.is_ready and host.num_running < limit:
            host.is_ready = True
            self._ready.append(host)

    def _activate(self) -> None:
        self._offer(self._dormant.popleft())

    def _retire(self) -> None:
        """Note that a host has no URLs left; the next one takes its turn."""
        self._num_hosts_waiting -= 1
        if self._dormant:
            self._activate()
        if not self._num_hosts_waiting:
            self._changed.notify_all()


def host_of(url: str) -> str:
    """Return the host and port of a URL, the whole URL when it has none that can be read."""
    try:
        return urlsplit(url).netloc.lower() or url
    except ValueError:
        return url


async def fetch_all(urls: Sequence[str], fetch: Fetch, deliver: Deliver, concurrency: int, schedule: Schedule) -> None:
    """Fetch every URL and deliver what it gave, `concurrency` at a time.

    A worker delivers before it takes the next URL, so that no more bodies than workers are in memory.
    """

    async def work() -> None:
        while (url := await schedule.take()) is not None:
            outcome: Body | Refused
            try:
                outcome = await fetch(url)
            except Refused as refusal:
                outcome = refusal
            given_up = await schedule.finish(url, outcome if isinstance(outcome, Refused) else None)
            await deliver(url, outcome)
            for other in given_up:
                assert isinstance(outcome, Refused)  # only a failure gives a host up
                await deliver(other, Refused(outcome.reason, GIVEN_UP))

    await asyncio.gather(*(work() for _ in range(min(concurrency, len(urls)))))
