"""Hosts take turns, and dead ones are given up, whatever the timing."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

from pipelines.fetching.outcome import CONNECTION_ERROR, HTTP_STATUS, TIMEOUT, Body, Refused
from pipelines.fetching.schedule import GIVEN_UP, Fetch, Schedule, fetch_all


def run(
    urls: list[str],
    fetch: Fetch,
    *,
    concurrency: int = 8,
    per_host: int = 2,
    give_up_after: int = 3,
    num_active: int = 32,
) -> dict[str, Body | Refused]:
    """Fetch URLs under a schedule; each must be delivered once."""
    delivered: dict[str, Body | Refused] = {}

    async def deliver(url: str, outcome: Body | Refused) -> None:
        assert url not in delivered
        delivered[url] = outcome

    async def main() -> None:
        await asyncio.wait_for(
            fetch_all(urls, fetch, deliver, concurrency, Schedule(urls, per_host, give_up_after, num_active)), 10
        )

    asyncio.run(main())
    return delivered


def test_every_url_is_delivered_once_within_the_limits() -> None:
    """Random hosts and delays: each URL once, at most `concurrency` at a time and `per_host` of a host."""
    for num_active in (1, 3, 32):
        _check_limits(random.Random(num_active), num_active)


def _check_limits(chance: random.Random, num_active: int) -> None:
    urls = [f"http://h{chance.randrange(12)}.example/{number}" for number in range(300)]
    running: Counter[str] = Counter()
    most: Counter[str] = Counter()

    async def fetch(url: str) -> Body:
        host = url.split("/")[2]
        running[host] += 1
        most[host] = max(most[host], running[host])
        most["all"] = max(most["all"], running.total())
        await asyncio.sleep(chance.random() / 1000)
        running[host] -= 1
        return Body(b"", url)

    assert set(run(urls, fetch, num_active=num_active)) == set(urls)
    assert most.pop("all") <= 8
    assert max(most.values()) == 2


def test_a_slow_host_does_not_hold_up_the_others() -> None:
    """Urls of one slow host come first in the list; all of the others are done before its second is."""
    slow = [f"http://slow.example/{number}" for number in range(5)]
    fast = [f"http://fast{number % 10}.example/{number}" for number in range(200)]
    done: list[str] = []

    async def fetch(url: str) -> Body:
        await asyncio.sleep(0.05 if "slow" in url else 0)
        done.append(url)
        return Body(b"", url)

    run(slow + fast, fetch, concurrency=4)
    assert max(done.index(url) for url in fast) <= len(fast) + 1


def test_a_dead_host_is_given_up_after_the_same_urls_whatever_the_timing() -> None:
    """A host of which nothing is heard is tried with its first three URLs; the rest share the reason, unasked."""
    dead = [f"http://dead.example/{number}" for number in range(50)]
    alive = [f"http://alive.example/{number}" for number in range(50)]
    for seed in range(5):
        chance = random.Random(seed)
        asked: list[str] = []

        async def fetch(url: str, asked: list[str] = asked, chance: random.Random = chance) -> Body:
            asked.append(url)
            await asyncio.sleep(chance.random() / 1000)
            if "dead" in url:
                raise Refused(TIMEOUT, "no answer", is_unreached=True)
            return Body(b"", url)

        outcomes = run([url for pair in zip(dead, alive, strict=True) for url in pair], fetch)
        assert [url for url in asked if "dead" in url] == dead[:3]
        details = [(one.reason, one.detail) for one in (outcomes[url] for url in dead) if isinstance(one, Refused)]
        assert details == [(TIMEOUT, "no answer")] * 3 + [(TIMEOUT, GIVEN_UP)] * 47
        assert all(isinstance(outcomes[url], Body) for url in alive)


def test_failures_that_come_from_the_host_do_not_give_it_up() -> None:
    """Errors that a host answers with, and failures with an answer between them, leave it in the queue."""

    async def fetch(url: str) -> Body:
        number = int(url.rsplit("/", 1)[1])
        if number % 3 == 0:
            raise Refused(HTTP_STATUS, "HTTP 404")
        raise Refused(CONNECTION_ERROR, "connection refused", is_unreached=True)

    urls = [f"http://a.example/{number}" for number in range(30)]
    outcomes = run(urls, fetch, per_host=1)
    assert GIVEN_UP not in {one.detail for one in outcomes.values() if isinstance(one, Refused)}


def test_nothing_to_fetch() -> None:
    """No URLs, no work."""

    async def fetch(url: str) -> Body:
        raise AssertionError(url)

    assert run([], fetch) == {}
