"""Rules are asked for once, kept while they are used, and bounded."""

from __future__ import annotations

import asyncio

import pytest

from pipelines.fetching import robots_cache
from pipelines.fetching.outcome import TIMEOUT, Refused
from pipelines.fetching.robots import Robots
from pipelines.fetching.robots_cache import RobotsCache


def test_all_that_wait_share_one_answer() -> None:
    """Rules are asked for once and kept; a refusal goes to all that waited, each its own, and is asked for again."""
    asked: list[str] = []

    async def ask(origin: str) -> Robots:
        asked.append(origin)
        await asyncio.sleep(0)
        if origin == "dead":
            raise Refused(TIMEOUT, "late", is_passing=True, is_unreached=True, wait_s=3.0)
        return Robots(why=origin)

    async def run() -> list[Robots | BaseException]:
        cache = RobotsCache(ask, 10)
        origins = ["a", "dead"] * 2
        found = await asyncio.gather(*(cache.get(origin) for origin in origins), return_exceptions=True)
        found += await asyncio.gather(*(cache.get(origin) for origin in origins), return_exceptions=True)
        await cache.close()
        return found

    found = asyncio.run(run())
    assert asked == ["a", "dead", "dead"]
    assert found[::2] == [Robots(why="a")] * 4
    refusals = [one for one in found[1::2] if isinstance(one, Refused)]
    assert {(one.reason, one.detail, one.is_passing, one.is_unreached, one.wait_s) for one in refusals} == {
        (TIMEOUT, "late", True, True, 3.0)
    }
    assert len({id(one) for one in refusals}) == 4


def test_those_used_longest_ago_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """By number of origins, and by the memory that their rules take, of which the last asked for stay."""
    asked: list[str] = []

    async def ask(origin: str) -> Robots:
        asked.append(origin)
        return Robots(tuple((False, f"/{number}") for number in range(1000 if origin == "vast" else 1)))

    async def run(origins: str) -> str:
        asked.clear()
        cache = RobotsCache(ask, 3)
        for origin in origins.split():
            await cache.get(origin)
        return " ".join(asked)

    assert asyncio.run(run("a b c a d a b")) == "a b c d b"
    monkeypatch.setattr(robots_cache, "_MAX_BYTES", 100_000)
    assert asyncio.run(run("a b vast vast a")) == "a b vast a"


def test_one_that_gives_up_waiting_leaves_the_others_their_answer() -> None:
    """Asking goes on when the first to want the rules is cancelled; closing ends what is still asked for."""

    async def run() -> tuple[Robots, bool]:
        begun, answered = asyncio.Event(), asyncio.Event()
        ended = False

        async def ask(origin: str) -> Robots:
            nonlocal ended
            begun.set()
            try:
                await answered.wait()
            finally:
                ended = True
            return Robots(why=origin)

        cache = RobotsCache(ask, 3)
        first = asyncio.create_task(cache.get("a"))
        await begun.wait()
        second = asyncio.create_task(cache.get("a"))
        first.cancel()
        await asyncio.sleep(0)
        answered.set()
        rules = await second
        answered.clear()
        begun.clear()
        ended = False
        third = asyncio.create_task(cache.get("b"))
        await begun.wait()
        third.cancel()
        await cache.close()
        return rules, ended

    assert asyncio.run(asyncio.wait_for(run(), 5)) == (Robots(why="a"), True)
