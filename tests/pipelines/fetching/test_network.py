"""A network that goes away costs no URL, and hosts that are really dead are not taken for it."""

from __future__ import annotations

import random
import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.fetching.host import GIVEN_UP
from pipelines.fetching.outcome import TRUNCATED_BODY, Body, Refused
from tests.pipelines.fetching.simulated import CONNECT_S, RULES, Answer, Told, Web, run, unreached
from wit.errors import NetworkGone, OutputError, UserError

UNREACHED = ("timeout", "no connection in half of the time")
FOREVER = 1e9


def urls_of(num_hosts: int, num: int, name: str = "h") -> list[str]:
    return [f"http://{name}{number % num_hosts}.example/{number}" for number in range(num)]


def some_dead(url: str, _: int) -> Answer:
    return unreached() if "dead" in url else Body(b"", url)


@pytest.mark.parametrize("is_slow", [False, True])
def test_a_minute_without_a_network_costs_no_url(is_slow: bool) -> None:
    """Nothing is refused, though no URL is asked again on its own account; and each worker asks little in vain."""
    urls = urls_of(50, 5000)
    chance = random.Random(1)
    web = Web(outages=[(4, 64)], is_slow=is_slow, latency_s=lambda _: chance.uniform(0.05, 0.15))
    told = run(urls, web)
    assert set(told.reasons().values()) == {None}
    assert 64 < told.end_s < 64 + 5000 * 0.1 / 8 + 31
    assert web.asked.total() < 5000 + 8 + 3 * 10


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 100), st.floats(15, 400)), max_size=3),
    st.booleans(),
    st.integers(3, 9),
    st.integers(0, 3),
    st.integers(1, 12),
)
def test_outages_at_any_time(
    outages: list[tuple[float, float]], is_slow: bool, num_hosts: int, num_dead: int, concurrency: int
) -> None:
    """Outages longer than a connection is waited for, whenever they come: every URL of a host that lives is had.

    And every URL of the others is refused, asked for as often as without an outage, or more often: never less.
    """
    dead = urls_of(num_dead, 8 * num_dead, "dead") if num_dead else []
    urls = urls_of(num_hosts, 300) + dead
    spans = [(start_s, start_s + length_s) for start_s, length_s in outages]
    web = Web(answer=some_dead, outages=spans, is_slow=is_slow)
    told = run(urls, web, replace(RULES, retries=1, host_rate=5), concurrency=concurrency, outage_s=1e5)
    reasons = list(told.reasons().values())
    assert set(reasons[:300]) == {None}
    assert {reason for reason, _ in filter(None, reasons)} <= {"timeout", "connection_error"}
    assert None not in reasons[300:]
    assert all(web.asked[url] for url, reason in zip(urls, reasons, strict=True) if reason and reason[1] != GIVEN_UP)


def test_a_network_that_does_not_come_back_ends_the_part() -> None:
    """After `outage_s` an error says how many hosts were asked; nothing was refused; the part goes on from there."""
    urls = urls_of(20, 2000)
    told, web = Told(), Web(outages=[(5, FOREVER)])
    with pytest.raises(NetworkGone) as caught:
        run(urls, web, told=told, outage_s=300)
    assert isinstance(caught.value, UserError)
    match = re.fullmatch(
        r"fetch: the network is gone: none of (\d+) hosts answers, (\d+) of which answered before; run the same "
        r"command again when it is back, or, if these hosts are gone for good, with --set fetch\.check_network=false",
        str(caught.value),
    )
    assert match
    assert 3 <= int(match[2]) <= int(match[1]) <= 20
    assert set(told.reasons().values()) == {None}
    assert 300 < max(web.times("/")) < 5 + CONNECT_S + 300 + 31 + CONNECT_S
    assert web.running.total() == 0
    run(urls, Web(), told=told)
    assert set(told.reasons().values()) == {None}


def test_a_network_that_was_never_there() -> None:
    """A part that begins in an outage waits for its end; one that never hears anything ends, and refuses nothing."""
    urls = urls_of(2000, 2000)
    told, web = Told(), Web(outages=[(0, 100)], is_slow=False)
    assert set(run(urls, web, concurrency=64).reasons().values()) == {None}
    web = Web(outages=[(0, FOREVER)], is_slow=False)
    with pytest.raises(NetworkGone, match=r"none of \d+ hosts answers; .*check_network=false"):
        run(urls, web, told=told, concurrency=64)
    assert not told.outcomes
    assert web.asked.total() < 64 + 3 * 30


def test_hosts_that_are_all_dead_are_believed_when_it_is_said() -> None:
    """Without the check each failure is its host's."""
    urls = urls_of(5, 50, "dead")
    web = Web(answer=some_dead)
    reasons = run(urls, web, check=False).reasons()
    assert list(reasons.values()) == [UNREACHED] * 15 + [(UNREACHED[0], GIVEN_UP)] * 35
    with pytest.raises(NetworkGone):
        run(urls, Web(answer=some_dead))


def test_a_part_of_two_dead_hosts_is_believed() -> None:
    """There is nobody to ask."""
    reasons = run(urls_of(2, 20, "dead"), Web(answer=some_dead)).reasons()
    assert list(reasons.values()) == [UNREACHED] * 6 + [(UNREACHED[0], GIVEN_UP)] * 14


@pytest.mark.parametrize("num_hosts", [1, 2, 20])
def test_a_part_of_dead_hosts_is_believed_when_a_host_of_another_part_answers(num_hosts: int) -> None:
    """A few requests to other hosts say so, at once; there is nothing to wait for."""
    web = Web(answer=some_dead)
    told = run(urls_of(num_hosts, 40, "dead"), web, others=["http://dead.example/", "http://lives.example/"])
    assert set(told.reasons().values()) <= {UNREACHED, (UNREACHED[0], GIVEN_UP)}
    assert web.asked["http://lives.example/"]
    assert told.end_s < 64  # 60 when nobody doubts it


@pytest.mark.parametrize("others", [(), ("http://lives.example/",)])
def test_a_host_whose_robots_txt_alone_is_heard_is_no_proof_of_a_network(others: tuple[str, ...]) -> None:
    """It was heard, and then answered nothing: nobody who answered before can be asked, so others are, or none."""
    heard = False

    def answer(url: str, _: int) -> Answer:
        nonlocal heard
        if "dead" in url and not heard:
            heard = True
            assert web.network is not None
            web.network.hear()
        return some_dead(url, 0)

    web = Web(answer=answer)
    told = run(urls_of(1, 1, "dead"), web, others=others)
    assert told.reasons() == {0: UNREACHED}
    assert told.end_s < 100


def test_small_parts_of_a_larger_run_wait_for_the_network() -> None:
    """Two hosts are silent, and so are those of other parts: nothing is refused."""
    web = Web(outages=[(0, 100)])
    told = run(urls_of(2, 10), web, others=urls_of(5, 5, "other"))
    assert set(told.reasons().values()) == {None}


def test_dead_hosts_at_the_end_are_believed_when_one_that_lives_answers() -> None:
    """Only dead hosts are left: one that answered before is asked now and then, and what failed did fail."""
    dead = urls_of(40, 200, "dead")
    web = Web(answer=some_dead)
    told = run(urls_of(3, 60) + dead, web)
    assert list(told.reasons().values())[60:] == [UNREACHED] * 120 + [(UNREACHED[0], GIVEN_UP)] * 80
    assert all(web.asked[url] == (number < 120) for number, url in enumerate(dead))
    num_rounds = 120 / 8
    assert 0 < len(web.times("//h")) - 60 <= 2 * 3 * num_rounds
    assert told.end_s < num_rounds * (CONNECT_S + 1) + 10


def test_a_part_that_goes_on_with_dead_hosts_asks_those_that_were_done() -> None:
    """Killed when only dead hosts were left: hosts of URLs that are done are asked whether there is a network."""
    urls = urls_of(30, 60) + urls_of(10, 20, "dead")
    told = Told({number: Body(b"", url) for number, url in enumerate(urls[:60])})
    web = Web(answer=some_dead)
    assert list(run(urls, web, told=told).reasons().values()) == [None] * 60 + [UNREACHED] * 20
    assert 0 < len(web.times("//h")) < 20


def test_a_dead_host_among_others_raises_no_doubt() -> None:
    """While others answer, nobody is asked for the sake of the network, and nothing is asked twice."""
    urls = urls_of(20, 5000) + urls_of(1, 100, "dead")
    web = Web(answer=some_dead, latency_s=lambda _: 0.5)
    told = run(urls, web, replace(RULES, host_rate=2))
    assert list(told.reasons().values()) == [None] * 5000 + [UNREACHED] * 3 + [(UNREACHED[0], GIVEN_UP)] * 97
    assert web.asked.total() == 5003


def test_a_slow_host_raises_no_doubt() -> None:
    """One failure in a silence is believed as soon as another answers; nobody is probed while answers may come."""
    web = Web(answer=some_dead, latency_s=lambda _: 6.0)
    run(urls_of(1, 20) + urls_of(2, 6, "dead"), web, replace(RULES, per_host=1), concurrency=2)
    assert len(web.times("//h")) == 20


def test_what_was_asked_in_an_outage_and_fails_after_it_is_asked_again() -> None:
    """A request that begins in an outage may time out when the network is long back."""
    web = Web(
        answer=lambda url, nth: (
            Body(b"", url)
            if nth or "late" not in url
            else Refused("rate_limited", "HTTP 429", is_passing=True, wait_s=20)
        ),
        outages=[(4, 28.2)],
    )
    told = run(
        urls_of(20, 5000) + urls_of(1, 1, "late"), web, replace(RULES, retries=1, retry_wait_s=0), concurrency=64
    )
    assert set(told.reasons().values()) == {None}


def test_known_hosts_that_have_died_are_not_the_only_ones_asked() -> None:
    """All hosts that answered so far die; others of the part live."""

    def answer(url: str, nth: int) -> Answer:
        is_late = nth or int(url.rsplit("/", 1)[1]) > 9
        return unreached() if "//h" in url and is_late else Body(b"", url)

    web = Web(answer=answer)
    told = run(urls_of(3, 99) + urls_of(20, 40, "other"), web, concurrency=3)
    assert (
        list(told.reasons().values()) == [None] * 10 + [UNREACHED] * 9 + [(UNREACHED[0], GIVEN_UP)] * 80 + [None] * 40
    )


def test_an_outage_takes_no_time_from_a_host() -> None:
    """What `max_host_s` allows a host does not run while the network is away; later hosts get no more than it."""
    told = run(urls_of(1, 100), Web(outages=[(5, 300)]), replace(RULES, host_rate=1, max_host_s=130))
    assert set(told.reasons().values()) == {None}
    web = Web(outages=[(5, 300)], latency_s=lambda url: 1.0 if "late" in url else 0.1)
    rules = replace(RULES, max_host_s=130.5)
    told = run(urls_of(1, 200) + urls_of(1, 190, "late"), web, rules, concurrency=1)
    exhausted = ("host_exhausted", "more than 130.5 s")
    assert list(told.reasons().values()) == [None] * 200 + [None] * 131 + [exhausted] * 59


def test_bodies_that_break_off_do_not_look_like_an_outage() -> None:
    """A single host that cuts its bodies is heard each time it is asked."""
    web = Web(answer=lambda url, nth: Body(b"", url) if nth else Refused(TRUNCATED_BODY, "cut", is_passing=True))
    told = run(urls_of(1, 20), web, replace(RULES, retries=1))
    assert set(told.reasons().values()) == {None}
    assert told.end_s < 60


def test_a_network_that_comes_and_goes_keeps_no_part_for_ever() -> None:
    """A URL is asked again for at most ten outages, though each of its requests falls into one."""
    web = Web(answer=some_dead, outages=[(20.0 * number + 5, 20.0 * number + 20) for number in range(1000)])
    told = run(urls_of(4, 8, "dead") + urls_of(4, 40), web, outage_s=1e6)
    assert list(told.reasons())[:8] == list(range(8))
    assert None not in list(told.reasons().values())[:8]
    assert 5 < max(web.asked[url] for url in urls_of(4, 8, "dead")) < 50  # some are probes


def test_a_defect_that_a_probe_meets_ends_the_part() -> None:
    """What is raised while the network is asked for comes out, as from any other request."""

    def answer(url: str, nth: int) -> Answer:
        if nth:
            raise OutputError("no more files can be opened")
        return some_dead(url, nth)

    with pytest.raises(OutputError, match="no more files"):
        run(urls_of(3, 3) + urls_of(3, 9, "dead"), Web(answer=answer))
