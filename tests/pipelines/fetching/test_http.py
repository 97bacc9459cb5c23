"""The client against a server that does everything wrong: each URL ends with its reason, in bounded time."""

from __future__ import annotations

import asyncio
import errno
import gzip
import time
from dataclasses import replace

import pytest
from aiohttp.abc import AbstractResolver
from hypothesis import given
from hypothesis import strategies as st

from pipelines.fetching import addresses
from pipelines.fetching.addresses import CheckedResolver, FixedResolver
from pipelines.fetching.http import HttpClient, Policy
from pipelines.fetching.outcome import Body, Refused
from pipelines.fetching.wire import Progress, refusals, request_url
from tests.pipelines.fetching.faults import answer, drip, endless, hang, raw, serving
from wit.errors import UserError

POLICY = Policy(
    user_agent="wit/0.1 (+https://example.org/contact)", concurrency=8, per_host=8, deadline_s=1.5, max_bytes=100_000,
    max_redirects=5, retries=1, retry_wait_s=0.01, obey_robots=False, obey_headers=True, allow_private=False,
)  # fmt: skip
BODY = bytes(range(256)) * 40
OK = answer(BODY)


def fetch(
    address: str, *urls: str, policy: Policy = POLICY, resolver: AbstractResolver | None = None
) -> list[Body | Refused]:
    """Fetch URLs at once, every name connected to the test's server."""
    host, _, port = address.partition(":")

    async def run() -> list[Body | Refused]:
        async with HttpClient(policy, resolver or FixedResolver(host, int(port))) as client:
            found = await asyncio.gather(*(client.fetch(url) for url in urls), return_exceptions=True)
        for one in found:
            if not isinstance(one, (Body, Refused)):
                raise one
        return found  # type: ignore[return-value]

    return asyncio.run(run())


def reason(outcome: Body | Refused) -> tuple[str, str | None]:
    assert isinstance(outcome, Refused), outcome
    return outcome.reason, outcome.detail


SHORT = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc"
CUT_OFF = ("truncated_body", "the connection ended before the body")
FAULTS = {
    "missing": (answer(b"", 404), ("http_status", "HTTP 404")),
    "broken": (answer(b"", 500), ("http_status", "HTTP 500")),
    "not-modified": (answer(b"", 304), ("http_status", "HTTP 304")),
    "nowhere": (answer(b"", 302), ("http_status", "HTTP 302")),
    "busy": (answer(b"", 429), ("rate_limited", "HTTP 429")),
    "busy-long": (answer(b"", 429, Retry_After="3600"), ("rate_limited", "HTTP 429")),
    "hang": (hang, ("timeout", "not complete after 1.5 s")),
    "drip": (drip, ("timeout", "not complete after 1.5 s")),
    "endless": (endless, ("too_large", "more than 100000 bytes")),
    "stated": (answer(b"", 200, Content_Length="100001"), ("too_large", "Content-Length 100001, limit 100000")),
    "bomb": (answer(gzip.compress(bytes(10**7)), Content_Encoding="gzip"), ("too_large", "more than 100000 bytes")),
    "broken-gzip": (answer(b"no gzip", Content_Encoding="gzip"), ("truncated_body", "its compression is broken")),
    "half-gzip": (
        answer(gzip.compress(BODY)[:-20], Content_Encoding="gzip"),
        ("truncated_body", "its compression breaks off"),
    ),
    "short": (raw(SHORT), CUT_OFF),
    "short-reset": (raw(SHORT, reset=True), CUT_OFF),
    "half-chunk": (raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nabc"), CUT_OFF),
    "closed": (raw(b""), ("connection_error", "closed without an answer")),
    "reset": (raw(b"", reset=True), ("connection_error", "connection reset by peer")),
    "nonsense": (raw(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), ("connection_error", "not an HTTP response")),
    "huge-header": (
        raw(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n"),
        ("connection_error", "not an HTTP response"),
    ),
    "loop": (answer(b"", 301, Location="/"), ("too_many_redirects", "more than 5")),
    "to-file": (answer(b"", 302, Location="file:///etc/passwd"), ("unsupported_url", "scheme 'file'")),
    "to-nonsense": (
        answer(b"", 302, Location="http://[::1/a.jpg"),
        ("unsupported_url", "redirected to what is not a valid URL"),
    ),
    "to-loopback": (answer(b"", 302, Location="http://127.0.0.1/"), ("private_address", "127.0.0.1")),
    "to-metadata": (answer(b"", 307, Location="http://169.254.169.254/latest"), ("private_address", "169.254.169.254")),
    "to-ten": (answer(b"", 308, Location="//10.0.0.8/a.jpg"), ("private_address", "10.0.0.8")),
    "to-mapped": (answer(b"", 302, Location="http://[::ffff:127.0.0.1]/"), ("private_address", "::ffff:127.0.0.1")),
    "to-short": (answer(b"", 302, Location="http://127.1/"), ("private_address", "127.1")),
    "noai": (answer(BODY, X_Robots_Tag="nofollow, noai"), ("opted_out", "X-Robots-Tag: noai")),
    "tdm": (answer(BODY, tdm_reservation="1"), ("opted_out", "tdm-reservation: 1")),
}


def test_every_fault_has_its_reason_and_none_hangs() -> None:
    """All faults at once: each URL ends with the reason and detail it should, and none waits for the slow ones."""
    with serving({f"http://{name}.example/": script for name, (script, _) in FAULTS.items()}) as server:
        started = time.monotonic()
        outcomes = fetch(server.address, *(f"http://{name}.example/" for name in FAULTS))
        assert time.monotonic() - started < 20
    assert {name: reason(one) for name, one in zip(FAULTS, outcomes, strict=True)} == {
        name: expected for name, (_, expected) in FAULTS.items()
    }


def test_bodies_arrive_whole() -> None:
    """Plain, chunked, compressed and redirected answers give their bytes; the URL that answered is told."""
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
    scripts = {
        "http://a.example/plain": OK,
        "http://a.example/chunked": raw(chunked),
        "http://a.example/gzip": answer(gzip.compress(BODY), Content_Encoding="gzip"),
        "http://a.example/unlengthed": raw(b"HTTP/1.1 200 OK\r\n\r\n" + BODY),
        "http://a.example/moved": answer(b"", 301, Location="//b.example/there#top"),
        "http://b.example/there": OK,
        "http://a.example/caf%C3%A9%20x?q=%2F": OK,
        "http://xn--bcher-kva.example/": OK,
    }
    asked = [url for url in scripts if "b.example/there" not in url and "%" not in url and "xn--" not in url]
    with serving(scripts) as server:
        outcomes = fetch(server.address, *asked, "http://a.example/café x?q=%2F", "http://bücher.example")
        assert server.agents == {POLICY.user_agent}
    assert all(isinstance(one, Body) and one.data == BODY for one in outcomes)
    moved = outcomes[asked.index("http://a.example/moved")]
    assert isinstance(moved, Body)
    assert moved.final_url == "http://b.example/there"


def test_what_can_pass_is_asked_again() -> None:
    """429 and 503 (after Retry-After), a reset and a short body are asked once more; a 404 is not."""
    scripts = {
        "http://a.example/busy": [answer(b"", 429, Retry_After="0"), OK],
        "http://a.example/down": [answer(b"", 503), OK],
        "http://a.example/reset": [raw(b"", reset=True), OK],
        "http://a.example/short": [raw(SHORT), OK],
        "http://a.example/gone": [answer(b"", 404), OK],
    }
    with serving(scripts) as server:
        *passed, gone = fetch(server.address, *scripts)
        assert server.asked["http://a.example/gone"] == 1
    assert all(isinstance(one, Body) for one in passed)
    assert reason(gone) == ("http_status", "HTTP 404")


@pytest.mark.parametrize(
    "url",
    [
        "ftp://a.example/", "data:image/png;base64,AA", "http:///a.jpg", "http://a.example:99999/", "http://[::1/",
        "http://user:secret@a.example/", "nonsense", "http://" + "a" * 70 + "é.org/",
    ],
)  # fmt: skip
def test_urls_that_are_not_asked(url: str) -> None:
    """Other schemes, no host, bad ports, credentials and impossible names are unsupported_url."""
    with pytest.raises(Refused) as caught:
        request_url(url)
    assert caught.value.reason == "unsupported_url"


@given(st.one_of(st.text(), st.text().map("http://".__add__), st.from_regex(r"https?://[^/]{1,9}(:\d+)?/.{0,9}")))
def test_any_text_is_a_url_to_ask_for_or_unsupported(text: str) -> None:
    """Whatever stands in an attribute ends as an ASCII URL of a host, or as unsupported_url."""
    try:
        asked = request_url(text)
    except Refused as refusal:
        found = refusal.reason
    else:
        found = asked.scheme if asked.raw_host and str(asked).isascii() else str(asked)
    assert found in ("http", "https", "unsupported_url")


def test_robots_txt_is_asked_once_a_host_and_obeyed() -> None:
    """Forbidden paths are not asked for; no file allows; one that fails forbids; so does a redirect's host."""
    scripts = {
        "http://a.example/robots.txt": answer(b"User-agent: *\nDisallow: /private\nUser-agent: wit\nDisallow: /mine"),
        "http://a.example/private.jpg": OK,
        "http://a.example/mine.jpg": OK,
        "http://none.example/a.jpg": OK,
        "http://fails.example/robots.txt": answer(b"", 500),
        "http://fails.example/a.jpg": OK,
        "http://none.example/to-a": answer(b"", 302, Location="http://a.example/mine.jpg"),
        "http://moved.example/robots.txt": answer(b"", 301, Location="http://a.example/robots.txt"),
        "http://moved.example/mine.jpg": OK,
        "http://long.example/robots.txt": answer(b"User-agent: *\n" + b"# x\n" * 200_000 + b"Disallow: /"),
        "http://long.example/a.jpg": OK,
    }
    asked = [url for url in scripts if not url.endswith("robots.txt")]
    with serving(scripts) as server:
        outcomes = dict(
            zip(asked, fetch(server.address, *asked, policy=replace(POLICY, obey_robots=True)), strict=True)
        )
        assert server.asked["http://a.example/robots.txt"] == 2  # once for itself, once for moved.example
        assert server.asked["http://a.example/mine.jpg"] == 0
        assert server.asked["http://fails.example/a.jpg"] == 0
    forbidden = {url for url, one in outcomes.items() if isinstance(one, Refused) and one.reason == "robots_disallowed"}
    assert forbidden == {
        "http://a.example/mine.jpg", "http://fails.example/a.jpg", "http://none.example/to-a", "http://moved.example/mine.jpg",
    }  # fmt: skip
    assert reason(outcomes["http://fails.example/a.jpg"]) == ("robots_disallowed", "robots.txt: HTTP 500")
    assert all(isinstance(one, Body) for url, one in outcomes.items() if url not in forbidden)


def test_a_host_that_cannot_be_reached_is_not_called_disallowed() -> None:
    """When robots.txt gets no connection or no answer, that is the reason, not robots_disallowed."""
    policy = replace(POLICY, obey_robots=True)
    scripts = {"http://hang.example/robots.txt": hang, "http://reset.example/robots.txt": raw(b"", reset=True)}
    with serving(scripts) as server:
        outcomes = fetch(
            server.address, "http://hang.example/a", "http://hang.example/b", "http://reset.example/a", policy=policy
        )
    assert [reason(one)[0] for one in outcomes] == ["timeout", "timeout", "connection_error"]


def test_a_rebinding_name_is_connected_to_where_it_was_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that is public when judged and private when asked again: only the judged address is ever connected to."""
    monkeypatch.setattr(addresses, "is_public", lambda address: str(address) == "127.0.0.2")  # nobody listens there
    asked: list[str] = []

    async def lookup(host: str) -> list[str]:
        asked.append(host)
        return ["127.0.0.2"] if asked.count(host) == 1 else ["127.0.0.1"]

    with serving({}) as server:
        urls = [f"http://rebinds.example:{server.port}/{number}" for number in range(3)]
        outcomes = fetch(server.address, *urls, resolver=CheckedResolver(lookup))
        assert not server.asked
    assert {reason(one)[0] for one in outcomes} <= {"connection_error", "private_address"}
    assert ("connection_error", "connection refused") in map(reason, outcomes)


def test_what_names_resolve_to_is_judged() -> None:
    """A name of private addresses is private_address, one without an address dns_error; neither is connected to."""

    async def lookup(host: str) -> list[str]:
        if host == "gone.example":
            raise OSError("no such name")
        return ["10.0.0.1", "::1"] if host == "inside.example" else ["127.0.0.1"]

    with serving({}) as server:
        urls = [f"http://{name}.example:{server.port}/" for name in ("inside", "here", "gone")]
        outcomes = fetch(server.address, *urls, resolver=CheckedResolver(lookup))
        assert not server.asked
    assert [reason(one) for one in outcomes] == [
        ("private_address", "inside.example is 10.0.0.1"),
        ("private_address", "here.example is 127.0.0.1"),
        ("dns_error", "gone.example does not resolve"),
    ]


def test_a_redirect_to_a_dead_host_does_not_count_against_the_first() -> None:
    """A redirect's refused connection or missing name is its own reason; the host that redirected was heard."""

    async def lookup(host: str) -> list[str]:
        if host == "gone.example":
            raise OSError("no such name")
        return ["127.0.0.2" if host == "dead.example" else "127.0.0.1"]

    with serving({}) as server:
        start = f"http://a.example:{server.port}"
        to = {"dead": f"http://dead.example:{server.port}/", "gone": "http://gone.example/"}
        server.scripts = {f"{start}/{name}": answer(b"", 302, Location=url) for name, url in to.items()}
        resolver = CheckedResolver(lookup, allow_private=True)
        outcomes = fetch(server.address, *server.scripts, f"http://dead.example:{server.port}/", resolver=resolver)
    assert [(one.reason, one.is_unreached) for one in outcomes if isinstance(one, Refused)] == [
        ("connection_error", False),
        ("dns_error", False),
        ("connection_error", True),
    ]


def test_names_of_this_machine_and_broken_tls() -> None:
    """localhost, as the system resolves it, is private_address; a host that speaks no TLS is a connection_error."""
    with serving({}) as server:
        (local,) = fetch(server.address, f"http://localhost:{server.port}/", resolver=CheckedResolver())
        (plain,) = fetch(server.address, "https://a.example/")
        assert not server.asked
    assert reason(local)[0] == "private_address"
    assert reason(plain) == ("connection_error", "TLS: certificate or handshake refused")


def test_a_process_without_file_handles_is_told_so() -> None:
    """No file handle left is this machine's trouble, not the host's: an error with what to do, not a reject."""
    with pytest.raises(UserError, match="ulimit"), refusals(Progress(0.0)):
        raise OSError(errno.EMFILE, "Too many open files")


def test_loopback_is_reached_only_when_it_is_allowed() -> None:
    """allow_private is the one way to an address of this machine."""
    with serving({}) as server:
        url = f"http://127.0.0.1:{server.port}/a.jpg"
        server.scripts = {url: OK}
        assert reason(fetch(server.address, url)[0]) == ("private_address", "127.0.0.1")
        (allowed,) = fetch(server.address, url, policy=replace(POLICY, allow_private=True))
    assert isinstance(allowed, Body)


def test_a_host_has_at_most_its_connections() -> None:
    """Twenty URLs of one host at once are asked two at a time, redirects to it included."""

    async def slowly(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.005)
        await OK(writer)

    scripts = {f"http://a.example/{number}": slowly for number in range(20)}
    with serving(scripts) as server:
        outcomes = fetch(server.address, *scripts, policy=replace(POLICY, per_host=2, deadline_s=5))
        assert server.most_open["a.example"] == 2
    assert all(isinstance(one, Body) for one in outcomes)
