"""The asynchronous client: one URL in, one body or one refusal out, in bounded time and memory."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import TypeVar
from urllib.parse import urljoin

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from pipelines.fetching import robots
from pipelines.fetching.addresses import CheckedResolver, check_host
from pipelines.fetching.optout import opted_out
from pipelines.fetching.outcome import (
    HTTP_STATUS,
    OPTED_OUT,
    PRIVATE_ADDRESS,
    RATE_LIMITED,
    ROBOTS_DISALLOWED,
    TIMEOUT,
    TOO_MANY_REDIRECTS,
    UNSUPPORTED_URL,
    Body,
    Refused,
)
from pipelines.fetching.wire import Progress, read_body, refusals, request_url

T = TypeVar("T")

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_PASSING = frozenset({429, 502, 503, 504})
_KEEPALIVE_S = 2.0  # idle connections count against no limit: 200 new hosts a second keep 400 open; 15 s, 3,000
_ROBOTS_PER_CONNECTION = 8  # robots.txt kept; hosts that take turns are half as many
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
    retries: int
    retry_wait_s: float
    obey_robots: bool
    obey_headers: bool
    allow_private: bool


class HttpClient:
    """Fetches URLs under one policy; an asynchronous context manager."""

    def __init__(self, policy: Policy, resolver: AbstractResolver | None = None) -> None:
        self.policy = policy
        self._resolver = resolver or CheckedResolver(allow_private=policy.allow_private)
        self._agent = robots.product_token(policy.user_agent)
        self._robots: dict[str, asyncio.Task[robots.Robots]] = {}

    async def __aenter__(self) -> HttpClient:
        policy = self.policy
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_DNS_THREADS))
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=policy.concurrency,
                limit_per_host=policy.per_host,
                resolver=self._resolver,
                ttl_dns_cache=300,
                keepalive_timeout=_KEEPALIVE_S,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),  # one deadline of our own covers all
            headers={"User-Agent": policy.user_agent, "Accept": "image/*,*/*;q=0.5", "Accept-Encoding": "identity"},
            auto_decompress=False,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._robots.values():
            task.cancel()
        await asyncio.gather(*self._robots.values(), return_exceptions=True)
        await self._session.close()

    async def fetch(self, url: str) -> Body:
        """Return the body of a URL; raises Refused.

        One deadline covers redirects, waits, retries and the body; the first host's robots.txt has one of its own.
        """
        first = self._checked(url)
        await self._obey_robots(first)
        return await self._in_time(lambda progress: self._follow(first, progress))

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
        """Do the work, again where it may pass, until the deadline."""
        progress = Progress(asyncio.get_running_loop().time() + self.policy.deadline_s)
        try:
            async with asyncio.timeout_at(progress.expires):
                return await self._with_retries(work, progress)
        except TimeoutError as error:
            detail = f"not complete after {self.policy.deadline_s:g} s"
            raise Refused(TIMEOUT, detail, is_unreached=not progress.has_answered) from error

    async def _with_retries(self, work: Callable[[Progress], Awaitable[T]], progress: Progress) -> T:
        loop = asyncio.get_running_loop()
        for _ in range(self.policy.retries):
            try:
                return await work(progress)
            except Refused as refusal:
                wait_s = self.policy.retry_wait_s if refusal.wait_s is None else refusal.wait_s
                if not refusal.is_passing or loop.time() + wait_s >= progress.expires:
                    raise
            await asyncio.sleep(wait_s)
        return await work(progress)

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
            except Refused as refusal:  # that the second host is dead says nothing of the first
                raise Refused(refusal.reason, refusal.detail) from refusal
        raise Refused(TOO_MANY_REDIRECTS, f"more than {self.policy.max_redirects}")

    async def _get(self, asked: URL, progress: Progress) -> Body | str:
        """Ask once; return the body, or the place it has moved to. Raises Refused."""
        with refusals(progress):
            async with self._session.get(asked, allow_redirects=False) as response:
                progress.hear()
                location = response.headers.get("Location")
                if response.status in _REDIRECTS and location:
                    return location
                self._require_success(response)
                forbidden = opted_out(response.headers.items(), self._agent) if self.policy.obey_headers else None
                if forbidden:
                    raise Refused(OPTED_OUT, forbidden)
                return Body(await read_body(response, self.policy.max_bytes), str(asked))

    def _require_success(self, response: aiohttp.ClientResponse) -> None:
        if 200 <= response.status < 300:
            return
        asked_wait = response.headers.get("Retry-After", "")  # seconds; its other form, a date, waits the usual time
        wait_s = float(asked_wait) if asked_wait.isdecimal() and len(asked_wait) < 10 else None
        reason = RATE_LIMITED if response.status == 429 else HTTP_STATUS
        raise Refused(reason, f"HTTP {response.status}", is_passing=response.status in _PASSING, wait_s=wait_s)

    async def _obey_robots(self, asked: URL) -> None:
        """Raise Refused when the host's robots.txt forbids the URL, or the host cannot be reached at all."""
        if not self.policy.obey_robots:
            return
        origin = str(asked.origin())
        task = self._robots.pop(origin, None) or asyncio.ensure_future(self._fetch_robots(origin))
        self._robots[origin] = task  # last used, last dropped
        if len(self._robots) > _ROBOTS_PER_CONNECTION * self.policy.concurrency:
            self._robots.pop(next(iter(self._robots)))
        # Shielded: many URLs wait for this one answer, and the deadline of one must not take it from the others.
        rules = await asyncio.shield(task)
        if not rules.allows(str(asked)):
            raise Refused(ROBOTS_DISALLOWED, rules.why)

    async def _fetch_robots(self, origin: str) -> robots.Robots:
        """Return the rules of an origin: nothing is forbidden when it has no robots.txt (4xx), all when that fails.

        Raises Refused for a host that cannot be reached at all: then that, not its rules, is why it gives no image.
        """
        try:
            return await self._in_time(lambda progress: self._ask_for_robots(origin, progress))
        except Refused as refusal:
            why = f"robots.txt: {refusal.detail}"
            if refusal.is_unreached or refusal.reason == PRIVATE_ADDRESS:
                raise Refused(refusal.reason, why, is_unreached=refusal.is_unreached) from refusal
            return robots.Robots(robots.DISALLOW_ALL, why)

    async def _ask_for_robots(self, origin: str, progress: Progress) -> robots.Robots:
        asked = URL(f"{origin}/robots.txt")
        for _ in range(robots.MAX_REDIRECTS + 1):
            with refusals(progress):
                async with self._session.get(asked, allow_redirects=False) as response:
                    progress.hear()
                    location = response.headers.get("Location")
                    if response.status not in _REDIRECTS or not location:
                        if 400 <= response.status < 500 and response.status != 429:
                            return robots.Robots()
                        self._require_success(response)
                        text = await read_body(response, robots.MAX_BYTES, is_cut=True)
                        return robots.parse(text.decode("utf-8", "replace"), self._agent)
            asked = self._redirected(asked, location)
        return robots.Robots()  # RFC 9309, 2.3.1.2: too many redirects count as no robots.txt
