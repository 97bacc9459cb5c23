"""What tests of the client share: its policy, and URLs fetched at once from a test's server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiohttp.abc import AbstractResolver

from pipelines.fetching.addresses import FixedResolver
from pipelines.fetching.http import HttpClient, Policy
from pipelines.fetching.optout import OPT_OUTS
from pipelines.fetching.outcome import Body, Refused

POLICY = Policy(
    user_agent="wit/0.1 (+https://example.org/contact)", concurrency=100, per_host=8, deadline_s=1.5, max_bytes=100_000,
    max_redirects=5, obey_robots=False, max_crawl_delay_s=10.0, opt_outs=tuple(OPT_OUTS), allow_private=False,
)  # fmt: skip
BODY = bytes(range(256)) * 40


async def outcome(client: HttpClient, url: str) -> Body | Refused:
    """Return what one URL gives."""
    try:
        return await client.fetch(url)
    except Refused as refusal:
        return refusal


def fetch(
    address: str,
    *urls: str,
    policy: Policy = POLICY,
    resolver: AbstractResolver | None = None,
    hear: Callable[[], None] = lambda: None,
    at_once: bool = True,
) -> list[Body | Refused]:
    """Fetch URLs, at once or one after another, every name connected to the test's server."""
    host, _, port = address.partition(":")

    async def run() -> list[Body | Refused]:
        async with HttpClient(policy, resolver or FixedResolver(host, int(port)), hear) as client:
            if at_once:
                return await asyncio.gather(*(outcome(client, url) for url in urls))
            return [await outcome(client, url) for url in urls]

    return asyncio.run(run())


def reason(found: Body | Refused) -> tuple[str, str | None]:
    """Return reason and detail of a refusal."""
    assert isinstance(found, Refused), found
    return found.reason, found.detail
