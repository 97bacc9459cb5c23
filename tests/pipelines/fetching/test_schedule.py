"""Hosts take turns in their own time, and what becomes of each URL depends on the web alone."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.fetching.host import GIVEN_UP
from pipelines.fetching.outcome import (
    HTTP_STATUS,
    RATE_LIMITED,
    ROBOTS_DISALLOWED,
    TRUNCATED_BODY,
    UNSUPPORTED_URL,
    Body,
    Refused,
)
from pipelines.fetching.schedule import Schedule
from tests.pipelines.fetching.simulated import CONNECT_S, RULES, Answer, Killed, Told, Web, run, unreached

UNREACHED = ("timeout", "no connection in half of the time")


def urls_of(host: str, num: int) -> list[str]:
    return [f"http://{host}.example/{number}" for number in range(num)]


def busy(wait_s: float = 0.0) -> Refused:
    return Refused(RATE_LIMITED, "HTTP 429", is_passing=True, wait_s=wait_s)


def gaps(times: list[float]) -> list[float]:
    return [round(after - before, 6) for before, after in pairwise(times)]


@pytest.mark.parametrize("seed", range(3))
def test_every_url_is_delivered_once_within_the_limits(seed: int) -> None:
    """Random hosts and latencies: each URL once, at most `concurrency` requests at a time and `per_host` to a host."""
    chance = random.Random(seed)
    urls = [f"http://h{chance.randrange(12)}.example/{number}" for number in range(300)]
    web = Web(latency_s=lambda _: chance.random())
    assert set(run(urls, web).reasons().values()) == {None}
    assert sorted(request.url for request in web.requests) == sorted(urls)
    assert web.most.pop("all") == 8
    assert set(web.most.values()) == {2}


def test_hosts_are_one_whatever_the_scheme_port_and_case() -> None:
    """A host is its name: what it is spared does not depend on how it is spelled."""
    urls = [
        url for number in range(20)
        for url in (f"http://A.example/{number}", f"https://a.example:444/{number}", f"http://a.example./{number}")
    ]  # fmt: skip
    web = Web()
    run(urls, web)
    assert web.most == {"a.example": 2, "all": 2}


def test_ten_thousand_hosts_of_which_one_never_answers() -> None:
    """The dead host holds one connection, and all else is done as fast as if it were not there."""
    dead = urls_of("dead", 50)
    alive = [f"http://h{number % 9999}.example/{number}" for number in range(20_000)]
    web = Web(answer=lambda url, _: unreached() if "dead" in url else Body(b"", url))
    told = run(dead + alive, web, concurrency=64)
    assert list(told.reasons().values()) == [UNREACHED] * 3 + [(UNREACHED[0], GIVEN_UP)] * 47 + [None] * 20_000
    assert web.most["dead.example"] == 1
    assert told.end_s == pytest.approx(3 * CONNECT_S, abs=5)
    assert max(web.times("//h")) < 20_000 * 0.1 / 63 + 1


def test_hosts_that_wait_do_not_hold_up_the_others() -> None:
    """Thousands of hosts that all ask for a minute's wait leave the workers to the rest."""
    slow = [f"http://slow{number}.example/{turn}" for number in range(2000) for turn in range(3)]
    fast = [f"http://fast{number}.example/" for number in range(500)]
    web = Web(answer=lambda url, nth: busy(60) if "slow" in url and not nth else Body(b"", url))
    told = run(slow + fast, web, replace(RULES, retries=1, give_up_after=9), concurrency=64)
    assert set(told.reasons().values()) == {None}
    assert max(web.times("fast")) < 2500 * 0.1 / 64 + 1


def test_a_dead_host_is_tried_with_the_same_urls_whatever_the_timing() -> None:
    """Nothing heard: its first three URLs are asked for, the rest share the reason; no retry beyond the three."""
    urls = [url for pair in zip(urls_of("dead", 50), urls_of("alive", 50), strict=True) for url in pair]
    for seed in range(5):
        chance = random.Random(seed)
        web = Web(
            answer=lambda url, _: unreached() if "dead" in url else Body(b"", url),
            latency_s=lambda _, chance=chance: chance.random(),  # type: ignore[misc]
        )
        reasons = run(urls, web, replace(RULES, retries=2)).reasons()
        assert [request.url for request in web.requests if "dead" in request.url] == urls_of("dead", 3)
        assert [reasons[2 * number] for number in range(50)] == [UNREACHED] * 3 + [(UNREACHED[0], GIVEN_UP)] * 47


def test_a_host_that_dies_is_asked_for_one_url_at_a_time() -> None:
    """Requests that were under way aside, the others wait for each other until it is given up."""
    web = Web(answer=lambda url, _: Body(b"", url) if int(url.rsplit("/", 1)[1]) < 9 else unreached())
    reasons = run(urls_of("a", 50), web, replace(RULES, per_host=4, give_up_after=10), check=False).reasons()
    assert list(reasons.values()) == [None] * 9 + [UNREACHED] * 10 + [(UNREACHED[0], GIVEN_UP)] * 31
    assert [gap >= CONNECT_S for gap in gaps(web.times("/"))][8 + 4 :] == [True] * 6


def test_failures_that_come_from_the_host_do_not_give_it_up() -> None:
    """Errors that a host answers with, and failures with an answer between them, leave it in the queue."""

    def answer(url: str, _: int) -> Answer:
        return Refused(HTTP_STATUS, "HTTP 404") if int(url.rsplit("/", 1)[1]) % 3 == 0 else unreached()

    reasons = run(urls_of("a", 30), Web(answer=answer)).reasons()
    assert [reason for reason, _ in filter(None, reasons.values())].count("timeout") == 20
    assert GIVEN_UP not in {detail for _, detail in filter(None, reasons.values())}


def test_what_may_pass_is_asked_again_later() -> None:
    """Behind the host's other URLs, `retry_wait_s` later, in order, `retries` times; then its last reason stands."""
    cut = Refused(TRUNCATED_BODY, "the connection ended before the body", is_passing=True)

    def answer(url: str, nth: int) -> Answer:
        return Body(b"", url) if nth >= {"1": 1, "4": 2, "6": 9}.get(url[-1], 0) else cut

    urls = urls_of("a", 8)
    web = Web(answer=answer)
    reasons = run(urls, web, replace(RULES, retries=2, per_host=3), check=False).reasons()
    assert [number for number, reason in reasons.items() if reason] == [6]
    assert reasons[6] == (cut.reason, cut.detail)
    asked = [int(request.url[-1]) for request in web.requests]
    assert asked == [*range(8), 1, 4, 6, 4, 6]
    assert web.times("/6")[1] - web.times("/6")[0] >= 5
    assert web.times("/4")[2] - web.times("/4")[1] >= 5


def test_requests_to_a_host_keep_its_rate() -> None:
    """Two requests lie as far apart as `host_rate` or the host's Crawl-delay says, the slower of the two."""
    web = Web(crawl_delay=lambda url: {"b": 1.5, "c": 0.01}.get(url[7], 0.0))
    run(urls_of("a", 20) + urls_of("b", 20) + urls_of("c", 20), web, replace(RULES, host_rate=4))
    assert {host: min(gaps(web.times(f"//{host}"))) for host in "abc"} == {"a": 0.25, "b": 1.5, "c": 0.25}
    assert {host: max(gaps(web.times(f"//{host}"))) for host in "abc"} == {"a": 0.25, "b": 1.5, "c": 0.25}


def test_urls_that_are_not_asked_for_cost_no_time() -> None:
    """What robots.txt or its own spelling forbids uses up nothing of a host's rate, and counts as no answer."""
    web = Web(
        answer=lambda url, _: Refused(
            ROBOTS_DISALLOWED if "/1" in url else UNSUPPORTED_URL, is_unasked=True
        ) if int(url.rsplit("/", 1)[1]) % 100 else Body(b"", url)
    )  # fmt: skip
    told = run(urls_of("a", 1000), web, replace(RULES, host_rate=1))
    assert 9 <= told.end_s <= 10


def test_a_busy_host_is_left_alone_for_twice_as_long_each_time() -> None:
    """429 and 503 pause a whole host: `retry_wait_s`, doubled in a row up to `max_wait_s`; an answer ends the row."""
    storm = {0, 1, 2, 3, 4, 6}
    web = Web(answer=lambda url, _: busy() if int(url.rsplit("/", 1)[1]) in storm else Body(b"", url))
    reasons = run(urls_of("a", 9), web, replace(RULES, give_up_after=9)).reasons()
    assert {number for number, reason in reasons.items() if reason} == storm
    assert gaps(web.times("/")) == [5.1, 10.1, 20.1, 40.1, 60.1, 0.1, 0.0, 5.1]


def test_idle_workers_are_woken_for_each_host_when_it_is_due() -> None:
    """Two hosts end their pauses one after the other: the second is not waited for until the first has answered."""
    web = Web(
        answer=lambda url, nth: Body(b"", url) if nth else busy(11 if "//b" in url else 10),
        latency_s=lambda _: 9.0,
    )
    run(urls_of("a", 1) + urls_of("b", 1), web, replace(RULES, retries=1))
    assert {host: gaps(web.times(f"//{host}")) for host in "ab"} == {"a": [19.0], "b": [20.0]}


def test_requests_under_way_do_not_make_a_pause_longer() -> None:
    """Four answers of 429 to requests that were under way together are one reason to wait."""
    web = Web(answer=lambda url, nth: busy(7) if not nth and url[-1] in "123" else Body(b"", url))
    run(urls_of("a", 9), web, replace(RULES, per_host=3, retries=1, give_up_after=9))
    assert gaps(web.times("/"))[:4] == [0.1, 0.0, 0.0, 7.1]


def test_a_wait_that_is_too_long_is_a_refusal() -> None:
    """A URL whose host asks for more than `max_wait_s` is not asked for again; the host rests for `max_wait_s`."""
    web = Web(answer=lambda url, _: busy(3600) if url.endswith("/0") else Body(b"", url))
    told = run(urls_of("a", 4), web, replace(RULES, retries=3))
    assert told.reasons() == {0: (RATE_LIMITED, "HTTP 429"), 1: None, 2: None, 3: None}
    assert web.asked.total() == 4
    assert gaps(web.times("/"))[0] == 60.1


def test_a_storm_ends() -> None:
    """A host that is always busy is given up like a dead one; how long that takes is bounded."""
    web = Web(answer=lambda url, _: busy(1))
    told = run(urls_of("a", 1000), web, replace(RULES, retries=5, give_up_after=10))
    assert list(told.reasons().values()) == [(RATE_LIMITED, "HTTP 429")] * 10 + [(RATE_LIMITED, GIVEN_UP)] * 990
    assert web.asked.total() == 10
    assert told.end_s < 10 * 60


def test_a_host_has_its_time() -> None:
    """After `max_host_s` the rest of a host's URLs is refused, at once if it would have to wait longer than that."""
    web = Web()
    told = run(urls_of("a", 1000) + urls_of("b", 5), web, replace(RULES, host_rate=1, max_host_s=19.5))
    reasons = list(told.reasons().values())
    assert reasons == [None] * 20 + [("host_exhausted", "more than 19.5 s")] * 980 + [None] * 5
    assert told.end_s < 21
    web = Web(answer=lambda url, _: busy(55) if url.endswith("/3") else Body(b"", url))
    told = run(urls_of("a", 6), web, replace(RULES, retries=1, per_host=1, max_host_s=50))
    assert told.end_s < 1
    assert told.reasons()[3] == (RATE_LIMITED, "HTTP 429")
    assert told.reasons()[4] == ("host_exhausted", "more than 50 s")


ANSWERS: tuple[Callable[[str], Answer], ...] = (
    lambda url: Body(b"", url),
    lambda _: unreached(),
    lambda _: busy(2),
    lambda _: Refused(HTTP_STATUS, "HTTP 404"),
    lambda _: Refused(TRUNCATED_BODY, "cut", is_passing=True),
    lambda _: Refused("connection_error", "TLS", is_unreached=True),
    lambda _: Refused(UNSUPPORTED_URL, is_unasked=True),
    lambda _: busy(1000),
)
ALIVE = (0,)
Kind = tuple[int, ...]
"""What a URL answers, time after time; the last for ever."""


def planted(kinds: list[Kind]) -> Callable[[str, int], Answer]:
    """A web in which the answer of a URL depends on its number, and how often it was asked for."""

    def answer(url: str, nth: int) -> Answer:
        kind = kinds[int(url.rsplit("/", 1)[1])]
        return ANSWERS[kind[min(nth, len(kind) - 1)]](url)

    return answer


lasting = st.sampled_from([0, 1, 1, 1, 2, 2, 3, 4, 5, 6, 7]).map(lambda kind: (kind,))
passing = st.sampled_from([(1, 0), (2, 0), (4, 0), (1, 2, 0), (2, 1)])


def asked_of(kinds: list[Kind], num_hosts: int) -> list[str]:
    """URLs of some hosts, in runs, beside a host that answers: so that the network is never in doubt for long."""
    urls = [f"http://h{number // 7 % num_hosts}.example/{number}" for number in range(len(kinds))]
    return [*urls, *(f"http://alive.example/{len(kinds) + number}" for number in range(20))]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(lasting | passing, min_size=1, max_size=60),
    st.integers(1, 4),
    st.integers(0, 2),
    st.lists(st.integers(0, 1 << 30), min_size=2, max_size=4),
)
def test_what_becomes_of_a_url_depends_on_the_web_alone(
    kinds: list[Kind], num_hosts: int, retries: int, seeds: list[int]
) -> None:
    """The same web with any latencies, connections and rates gives the same outcome for each URL.

    Where failures pass, all of them are believed: those that the network may be to blame for are asked again at will.
    """
    urls = asked_of(kinds, num_hosts)
    check = all(len(kind) == 1 for kind in kinds)
    found = []
    for seed in seeds:
        chance = random.Random(seed)
        web = Web(planted([*kinds, *[ALIVE] * 20]), latency_s=lambda _, chance=chance: chance.choice((0.01, 1, 9)))  # type: ignore[misc]
        rules = replace(RULES, retries=retries, per_host=chance.randrange(1, 6), host_rate=chance.choice((0, 2)))
        found.append(run(urls, web, rules, concurrency=chance.randrange(1, 20), check=check).reasons())
    assert all(one == found[0] for one in found)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(lasting, min_size=1, max_size=60),
    st.integers(1, 4),
    st.integers(0, 2),
    st.lists(st.integers(0, 40), max_size=4),
    st.integers(0, 1 << 30),
)
def test_a_part_that_was_killed_ends_the_same(
    kinds: list[Kind], num_hosts: int, retries: int, kills: list[int], seed: int
) -> None:
    """Killed after any deliveries, and begun again with the URLs that are left, it gives what it gives undisturbed."""
    chance = random.Random(seed)
    urls = asked_of(kinds, num_hosts)
    rules = replace(RULES, retries=retries)

    def web() -> Web:
        return Web(planted([*kinds, *[ALIVE] * 20]), latency_s=lambda _: chance.choice((0.01, 1, 9)))

    told = Told()
    for kill_after in kills:
        if len(told.outcomes) + kill_after < len(urls):
            with pytest.raises(Killed):
                run(urls, web(), rules, told=told, kill_after=kill_after)
    assert run(urls, web(), rules, told=told).reasons() == run(urls, web(), rules).reasons()


def test_nothing_to_fetch() -> None:
    """No URLs, or none that are left: no work."""
    web = Web()
    run([], web)
    told = run(urls_of("a", 5), web)
    assert run(urls_of("a", 5), web, told=told).outcomes == told.outcomes
    assert web.asked.total() == 5


def test_an_error_of_the_consumer_ends_all() -> None:
    """What `deliver` raises comes out, and no request remains under way."""
    web = Web()
    with pytest.raises(Killed):
        run(urls_of("a", 50) + urls_of("b", 50), web, kill_after=3)
    assert web.running.total() == 0
    assert web.asked.total() < 20


def test_memory_is_arrays() -> None:
    """100,000 URLs on 30,000 hosts: some tens of bytes a URL, beside the URLs."""
    urls = pa.array([f"http://h{number * 7919 % 30_000}.example/{number}" for number in range(100_000)])
    Schedule(urls[:9], np.zeros(9, np.bool_), RULES)
    tracemalloc.start()
    try:
        schedule = Schedule(urls, np.zeros(len(urls), np.bool_), RULES)
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert schedule.num_hosts == 30_000
    assert kept < 20 * len(urls)
    assert peak < 100 * len(urls)
