"""The asynchronous client: one URL in, one body or one refusal out, in bounded time and memory.

It asks once. Who is asked when, and who is asked again, is the schedule's business.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import TypeVar
from urllib.parse import urljoin

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from pipelines.fetching import robots
from pipelines.fetching.addresses import check_host
from pipelines.fetching.metered import Meter
from pipelines.fetching.optout import opted_out
from pipelines.fetching.outcome import (
    PRIVATE_ADDRESS,
    ROBOTS_DISALLOWED,
    TIMEOUT,
    TOO_MANY_REDIRECTS,
    UNSUPPORTED_URL,
    Body,
    Refused,
)
from pipelines.fetching.robots_cache import RobotsCache
from pipelines.fetching.wire import Progress, drain, moved_to, read_body, refusals, request_url, require_success

T = TypeVar("T")

_KEEPALIVE_S = 4.0  # less than servers keep theirs, so that few are found closed
_KEPT_PER_CONNECTION = 4  # open connections, idle ones included; each is a file handle
_ROBOTS_PER_CONNECTION = 128  # robots.txt kept: answers in 0.1 s, 10 s between two of a host, make 100 hosts take turns
_DNS_THREADS = 32  # getaddrinfo blocks a thread; a few dead name servers must not stall the rest


@dataclass(frozen=True)
class Policy:
    """How the client behaves; the recipe's [fetch] section says what each field means."""

    user_agent: str
    concurrency: int
    per_host: int
    deadline_s: float
    max_bytes: int
    max_redirects: int
    obey_robots: bool
    max_crawl_delay_s: float
    """The longest Crawl-delay that is heeded; one that asks for more is heeded as far as this."""
    opt_outs: tuple[str, ...]
    """Keys of pipelines.fetching.optout.OPT_OUTS."""
    allow_private: bool


class _Cookieless(aiohttp.DummyCookieJar):
    """Does not even parse what it would not keep."""

    def update_cookies_from_headers(self, headers: object, response_url: URL) -> None:
        """Keep nothing."""


class HttpClient:
    """Fetches URLs under one policy; an asynchronous context manager. `hear` is called when bytes of any host come."""

    def __init__(self, policy: Policy, resolver: AbstractResolver, hear: Callable[[], None]) -> None:
        self.policy = policy
        self._resolver = resolver
        self._hear = hear
        self._agent = robots.product_token(policy.user_agent)
        self._opt_outs = frozenset(policy.opt_outs)
        self._robots = RobotsCache(self._fetch_robots, _ROBOTS_PER_CONNECTION * policy.concurrency)

    async def __aenter__(self) -> HttpClient:
        policy = self.policy
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_DNS_THREADS))
        connector = aiohttp.TCPConnector(
            limit=policy.concurrency,
            limit_per_host=policy.per_host,
            resolver=self._resolver,
            use_dns_cache=False,  # the resolver has one, of failures too
            keepalive_timeout=_KEEPALIVE_S,
        )
        max_kept = _KEPT_PER_CONNECTION * policy.concurrency
        Meter(self._hear, max(policy.max_bytes, robots.MAX_BYTES), max_kept).attach(connector)
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=_Cookieless(),
            # One deadline of our own covers all; dead hosts, most of whose packets go nowhere, get half of it.
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=policy.deadline_s / 2),
            headers={"User-Agent": policy.user_agent, "Accept": "image/*,*/*;q=0.5", "Accept-Encoding": "identity"},
            auto_decompress=False,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._robots.close()
        await self._session.close()
        await self._resolver.close()

    async def fetch(self, url: str) -> Body:
        """Return the body of a URL, asked for once; raises Refused.

        One deadline covers redirects and the body; the first host's robots.txt has one of its own.
        """
        try:
            first = self._checked(url)
            await self._obey_robots(first)
        except Refused as refusal:
            refusal.is_unasked = True
            raise
        return await self._in_time(lambda progress: self._follow(first, progress))

    def crawl_delay_s(self, url: str) -> float:
        """Return the time that a URL's host wants between two requests, in seconds, as far as the policy heeds it.

        0 when its robots.txt asks for none, is not known, or is no longer known because other hosts were asked since.
        """
        if not (self.policy.obey_robots and self.policy.max_crawl_delay_s):
            return 0.0
        try:
            rules = self._robots.known(_origin(request_url(url)))
        except Refused:
            return 0.0
        return min(rules.crawl_delay_s, self.policy.max_crawl_delay_s) if rules else 0.0

    def _checked(self, url: str) -> URL:
        """Return the URL to ask for; raises Refused (unsupported_url, private_address)."""
        asked = request_url(url)
        if not self.policy.allow_private:
            check_host(asked.raw_host or "")
        return asked

    def _redirected(self, asked: URL, location: str) -> URL:
        """Return where a redirect leads; raises Refused as `_checked` does."""
        try:
            return self._checked(urljoin(str(asked), location))
        except ValueError as error:
            raise Refused(UNSUPPORTED_URL, "redirected to what is not a valid URL") from error

    async def _in_time(self, work: Callable[[Progress], Awaitable[T]]) -> T:
        """Do the work until the deadline; raises Refused(timeout) then."""
        progress = Progress()
        try:
            async with asyncio.timeout(self.policy.deadline_s):
                return await work(progress)
        except TimeoutError as error:
            detail = f"not complete after {self.policy.deadline_s:g} s"
            raise Refused(TIMEOUT, detail, is_passing=True, is_unreached=not progress.has_answered) from error

    async def _follow(self, first: URL, progress: Progress) -> Body:
        """Follow redirects, each hop judged like the first."""
        asked = first
        for _ in range(self.policy.max_redirects + 1):
            answer = await self._get(asked, progress)
            if isinstance(answer, Body):
                return answer
            asked = self._redirected(asked, answer)
            try:
                await self._obey_robots(asked)
            except Refused as refusal:  # that the second host is dead, or busy, says nothing of the first
                raise Refused(refusal.reason, refusal.detail, is_passing=refusal.is_passing) from refusal
        raise Refused(TOO_MANY_REDIRECTS, f"more than {self.policy.max_redirects}")

    @asynccontextmanager
    async def _answer(self, asked: URL, progress: Progress) -> AsyncIterator[aiohttp.ClientResponse]:
        """Ask once; what goes wrong while the answer is used is raised as Refused."""
        with refusals(progress):
            async with self._session.get(asked, allow_redirects=False) as response:
                progress.hear()
                if not 200 <= response.status < 300:
                    await drain(response)
                yield response

    async def _get(self, asked: URL, progress: Progress) -> Body | str:
        """Ask once; return the body, or the place it has moved to. Raises Refused."""
        async with self._answer(asked, progress) as response:
            location = moved_to(response)
            if location:
                return location
            require_success(response)
            forbidden = opted_out(response.headers.items(), self._agent, self._opt_outs)
            if forbidden:
                raise Refused(*forbidden)
            return Body(await read_body(response, self.policy.max_bytes), str(asked))

    async def _obey_robots(self, asked: URL) -> None:
        """Raise Refused when the host's robots.txt forbids the URL, or could not be had."""
        if not self.policy.obey_robots:
            return
        rules = await self._robots.get(_origin(asked))
        if not rules.allows(asked.raw_path_qs):
            raise Refused(ROBOTS_DISALLOWED, rules.why)

    async def _fetch_robots(self, origin: str) -> robots.Robots:
        """Return the rules of an origin: nothing is forbidden when it has no robots.txt (4xx), all when that fails.

        Raises Refused, so that it is asked for again with the next URL, for a host that cannot be reached at all (then
        that, not its rules, is why it gives no image), and for a failure that may pass, which the host is given time
        for.
        """
        try:
            return await self._in_time(lambda progress: self._ask_for_robots(origin, progress))
        except Refused as refusal:
            why = f"robots.txt: {refusal.detail}"
            is_passing, is_unreached, wait_s = refusal.is_passing, refusal.is_unreached, refusal.wait_s
            if is_unreached or refusal.reason == PRIVATE_ADDRESS:
                raise Refused(refusal.reason, why, is_passing=is_passing, is_unreached=is_unreached) from refusal
            if is_passing:
                raise Refused(ROBOTS_DISALLOWED, why, is_passing=True, wait_s=wait_s or 0.0) from refusal
            return robots.forbid_all(why)

    async def _ask_for_robots(self, origin: str, progress: Progress) -> robots.Robots:
        asked = URL(f"{origin}/robots.txt")
        for _ in range(robots.MAX_REDIRECTS + 1):
            async with self._answer(asked, progress) as response:
                location = moved_to(response)
                if not location:
                    if 400 <= response.status < 500 and response.status != 429:
                        return robots.Robots()
                    require_success(response)
                    text = await read_body(response, robots.MAX_BYTES, is_cut=True)
                    return robots.parse(text.decode("utf-8", "replace"), self._agent)
            asked = self._redirected(asked, location)
        return robots.Robots()  # RFC 9309, 2.3.1.2: too many redirects count as no robots.txt


def _origin(asked: URL) -> str:
    """Return scheme, host and port, the latter two as `request_url` writes them."""
    return f"{asked.scheme}://{asked.raw_authority}"
