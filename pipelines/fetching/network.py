"""A network that goes away is not the web's fault: failures that it may be to blame for wait until that is known.

A failure is *in doubt* when it may pass and is no answer: no connection, no DNS, a timeout, a connection that broke.
It waits, with the worker that met it, for what comes first after `_SETTLE_S`, when what had come before is read:

1. Something is heard, from any host: the network is there, the failure is *believed*. While hosts that live are asked,
   this is at once; a dead host is tried and given up as if nobody had doubted.
2. Silence: nothing heard for `_SILENCE_S`, and either `_MANY_HOSTS` hosts wait in vain, or no request is under way any
   more. Then `_PROBES` hosts at a time are asked, in turns: of those that answered in this part, or, when none of them
   does any more, of a few hosts of other parts and of this one, evenly spread.
   a. One answers promptly (`_PROMPT_S`): the network was there, and the hosts that failed are dead (the end of a part,
      where only dead hosts are left). Believed.
   b. One answers later, or anything else is heard: the network was away and is back. All that wait are asked again, as
      if they had not been asked; so is what fails later but was asked before. A host loses nothing by it: neither
      its breaker nor the URL's retries count, nor does the time.
   c. Nothing is heard, round by round, with pauses of 1, 2, 4 ... `_MAX_PAUSE_S` between them, for `outage_s`:
      NetworkGone. Nothing was rejected; the part's journal holds what was fetched; the same command goes on.

As each worker waits with its own failure, an outage costs at most one request a worker, and a few to probe.

A part in which no host has given a body yet is treated the same, but where the whole run has fewer than `_MANY_HOSTS`
hosts: these are believed to be dead, since there is nobody to ask. When all that are asked are really dead, NetworkGone
says how to go on: without `check`, every failure is believed.

What is not told apart: an outage that is over before its first failure is looked into counts as a failure of the hosts
that were asked in it; URLs are asked again later (`retries`). Outages in which failures come at once (no route) are
noticed after `_SILENCE_S`, others when the first connections time out.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from pipelines.fetching.outcome import HTTP_STATUS, RATE_LIMITED, Body, Refused
from wit.errors import NetworkGone
from wit.hosts import host_of

_SETTLE_S = 0.2
_SILENCE_S = 1.0
_LOOK_S = 0.25  # between looks at a silence
_PROMPT_S = 2.0
_MANY_HOSTS = 3
_PROBES = 3
_MAX_PAUSE_S = 30.0
_MAX_KNOWN = 16  # hosts that answered, for probes

Fetch = Callable[[str], Awaitable[Body]]


class Network:
    """Whether the network is there, judged by what is heard; made in the event loop that it is used in.

    `outage_s`: how long to wait for a network that is gone, in seconds. `check`: False believes every failure. `others`
    returns URLs of a few other hosts than the part's; it is called when there is doubt.
    """

    def __init__(
        self, outage_s: float, *, check: bool = True, others: Callable[[], Sequence[str]] = lambda: ()
    ) -> None:
        self._outage_s = outage_s
        self._check = check
        self._others: Callable[[], Sequence[str]] | None = others
        self._clock = asyncio.get_running_loop().time
        self._heard_s = self._clock()
        self._has_answered = False
        self._back_s = float("-inf")
        self._sound = asyncio.Event()
        self._watch: asyncio.Task[bool] | None = None
        self._num_running = 0
        self._known: deque[str] = deque(maxlen=_MAX_KNOWN)
        self._failed: dict[str, bool] = {}
        """Hosts that were asked in the silence that is watched, and whether they are known to have answered before."""
        self.lost_s = 0.0
        """Time of all outages, in seconds."""

    def start(self, fetch: Fetch, examples: list[str], num_hosts: int) -> None:
        """Note how to ask, URLs of some hosts, and how many hosts there are."""
        self._fetch = fetch
        self._examples = deque(examples)
        self._num_hosts = num_hosts
        self._heard_s = self._clock()

    async def close(self) -> None:
        """End the watch, if there is one."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)

    def hear(self) -> None:
        """Note that bytes of some host have come."""
        self._heard_s = self._clock()
        if self._watch is not None:
            self._sound.set()

    def remember(self, url: str) -> None:
        """Note a URL of a host that has answered, to be asked again when in doubt."""
        self._known.append(url)
        self._has_answered = True

    def begin(self) -> float:
        """Note that a request begins; return when."""
        self._num_running += 1
        return self._clock()

    def end(self) -> None:
        """Note that a request has ended."""
        self._num_running -= 1

    async def is_believed(self, refusal: Refused, url: str, begun_s: float) -> bool:
        """Return whether a failure is its host's; False: the network's, so the URL has to be asked for again.

        `begun_s`: when the request began. Waits until it is known; raises NetworkGone.
        """
        if not self._check or not refusal.is_passing or _is_answer(refusal):
            return True
        failed_s = self._clock()
        await asyncio.sleep(_SETTLE_S)
        if begun_s < self._back_s:
            return False
        if self._heard_s > failed_s + _SETTLE_S / 2:
            return True
        self._look_around()
        if not self._has_answered and self._num_hosts < _MANY_HOSTS:
            return True
        if self._watch is None:
            self._sound.clear()
            self._failed.clear()
            self._watch = asyncio.create_task(self._judge())
        self._failed.setdefault(host_of(url), False)
        return await asyncio.shield(self._watch)

    def _look_around(self) -> None:
        """Have the hosts of other parts among those that may be asked, before the part's own."""
        if self._others is not None:
            urls, self._others = self._others(), None
            self._examples.extendleft(urls)
            self._num_hosts += len(urls)

    async def _judge(self) -> bool:
        """Return whether the failures that wait for it are believed."""
        try:
            while not await self._hears_within(_LOOK_S):
                is_silent = self._clock() - self._heard_s >= _SILENCE_S
                if is_silent and (len(self._failed) >= _MANY_HOSTS or not self._num_running):
                    return await self._is_there()
            return True
        finally:
            self._watch = None

    async def _is_there(self) -> bool:
        """Ask around until anything is heard; return whether that was at once. Raises NetworkGone."""
        silent_s, begun_s = self._heard_s, self._clock()
        await self._probe()
        if self._sound.is_set() and self._clock() - begun_s <= _PROMPT_S:
            return True
        pause_s = 1.0
        while not self._sound.is_set():
            left_s = begun_s + self._outage_s - self._clock()
            if left_s <= 0:
                raise NetworkGone(self._complaint())
            if not await self._hears_within(min(pause_s, left_s)):
                await self._probe()
            pause_s = min(2 * pause_s, _MAX_PAUSE_S)
        self._back_s = self._clock()
        self.lost_s += self._back_s - silent_s
        return False

    async def _probe(self) -> None:
        """Ask some hosts at once, until anything is heard or all have failed; the client bounds the time."""
        source = self._known or self._examples
        urls = [source.popleft() for _ in range(min(_PROBES, len(source)))]
        for url in urls:
            host = host_of(url)
            self._failed[host] = source is self._known or self._failed.get(host, False)
        probes = asyncio.gather(*map(self._is_answered, urls))
        hearing = asyncio.ensure_future(self._sound.wait())
        both: set[asyncio.Future[Any]] = {probes, hearing}
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            are_dead = probes.done() and not any(probes.result())
        finally:
            probes.cancel()
            hearing.cancel()
            await asyncio.gather(*both, return_exceptions=True)
        (self._known if self._sound.is_set() else self._examples if are_dead else source).extend(urls)

    async def _is_answered(self, url: str) -> bool:
        try:
            await self._fetch(url)
        except Refused as refusal:
            return not refusal.is_passing or _is_answer(refusal)
        return True

    async def _hears_within(self, limit_s: float) -> bool:
        """Wait until something is heard, or for so many seconds; return whether it was."""
        try:
            async with asyncio.timeout(limit_s):
                return await self._sound.wait()
        except TimeoutError:
            return False

    def _complaint(self) -> str:
        num_known = sum(self._failed.values())
        before = f", {num_known} of which answered before" if num_known else ""
        return (
            f"fetch: the network is gone: none of {len(self._failed)} hosts answers{before}; run the same command "
            "again when it is back, or, if these hosts are gone for good, with --set fetch.check_network=false"
        )


def _is_answer(refusal: Refused) -> bool:
    """Return whether a failure that may pass was said by a host, or by one that it redirects to."""
    return refusal.reason in (HTTP_STATUS, RATE_LIMITED) or refusal.wait_s is not None
