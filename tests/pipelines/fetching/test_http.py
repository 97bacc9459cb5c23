"""The client: bodies, robots.txt, addresses, connections. What servers do wrong: test_faults.py."""

from __future__ import annotations

import asyncio
import gzip
import shutil
import ssl
import subprocess
import zlib
from dataclasses import replace
from pathlib import Path

import brotli
import pytest

from pipelines.fetching import addresses
from pipelines.fetching.addresses import CheckedResolver, FixedResolver
from pipelines.fetching.http import HttpClient
from pipelines.fetching.outcome import Body, Refused
from tests.pipelines.fetching.client import BODY, POLICY, fetch, outcome, reason
from tests.pipelines.fetching.faults import Script, answer, connections, hang, raw, serving

OK = answer(BODY)
ROBOTS = replace(POLICY, obey_robots=True)


def test_bodies_arrive_whole() -> None:
    """Plain, chunked, compressed, redirected and HTTP/1.0 answers give their bytes; the URL that answered is told."""
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
    scripts = {
        "http://a.example/plain": OK,
        "http://a.example/chunked": raw(chunked),
        "http://a.example/gzip": answer(gzip.compress(BODY), Content_Encoding="gzip"),
        "http://a.example/deflate": answer(zlib.compress(BODY), Content_Encoding="deflate"),
        "http://a.example/brotli": answer(brotli.compress(BODY), Content_Encoding="br"),
        "http://a.example/identity": answer(BODY, Content_Encoding="identity"),
        "http://a.example/cookies": answer(BODY, Set_Cookie="a=b; Path=/"),
        "http://a.example/type": answer(BODY, Content_Type="text/html"),
        "http://a.example/unlengthed": raw(b"HTTP/1.1 200 OK\r\n\r\n" + BODY),
        "http://a.example/old": raw(b"HTTP/1.0 200 OK\r\n\r\n" + BODY),
        "http://a.example/hints": raw(
            b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY)
            + BODY
        ),
        "http://a.example/moved": answer(b"", 301, Location="//b.example/there#top"),
        "http://b.example/there": OK,
        "http://a.example/caf%C3%A9%20x?q=%2F": OK,
        "http://xn--bcher-kva.example/": OK,
    }
    asked = [url for url in scripts if "b.example/there" not in url and "%" not in url and "xn--" not in url]
    with serving(scripts) as server:
        found = fetch(server.address, *asked, "http://a.example/café x?q=%2F", "http://bücher.example")
        assert server.agents == {POLICY.user_agent}
    assert all(isinstance(one, Body) and one.data == BODY for one in found)
    moved = found[asked.index("http://a.example/moved")]
    assert isinstance(moved, Body)
    assert moved.final_url == "http://b.example/there"


def test_no_content_is_an_empty_body() -> None:
    """HTTP 204, which has none by its nature: what the body is, is judged elsewhere."""
    with serving({"http://a.example/": raw(b"HTTP/1.1 204 No\r\n\r\n")}) as server:
        assert fetch(server.address, "http://a.example/") == [Body(b"", "http://a.example/")]


def test_a_url_is_asked_for_once() -> None:
    """What may pass is told, with the wait that was asked for; asking again is for the schedule."""
    scripts = {
        "http://a.example/busy": answer(b"", 429, Retry_After="7"),
        "http://a.example/down": answer(b"", 503),
        "http://a.example/gateway": answer(
            b"", 502, Retry_After="Sat, 21 Nov 2026 10:00:30 GMT", Date="Sat, 21 Nov 2026 10:00:00 GMT"
        ),
        "http://a.example/storm": answer(b"", 429),
        "http://a.example/late": answer(b"", 504),
        "http://a.example/short": raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"),
        "http://a.example/gone": answer(b"", 404),
        "http://a.example/broken": answer(b"", 500),
    }  # fmt: skip
    with serving(scripts) as server:
        found = dict(zip(scripts, fetch(server.address, *scripts), strict=True))
        assert set(server.asked.values()) == {1}
    told = {
        url.rpartition("/")[2]: (one.is_passing, one.wait_s) for url, one in found.items() if isinstance(one, Refused)
    }
    assert told == {
        "busy": (True, 7.0), "down": (True, 0.0), "gateway": (True, 30.0), "storm": (True, 0.0), "late": (True, None),
        "short": (True, None), "gone": (False, None), "broken": (False, None),
    }  # fmt: skip


def test_it_says_when_anything_is_heard() -> None:
    """Status lines, bodies and robots.txt are heard; a host that never answers is not."""
    heard: list[int] = []
    with serving({"http://a.example/": OK, "http://b.example/": hang}) as server:
        policy = replace(ROBOTS, deadline_s=0.2)
        fetch(
            server.address, "http://b.example/", policy=replace(policy, obey_robots=False), hear=lambda: heard.append(1)
        )
        assert not heard
        fetch(server.address, "http://a.example/", hear=lambda: heard.append(1))
        assert heard
        heard.clear()
        fetch(server.address, "http://b.example/", policy=policy, hear=lambda: heard.append(1))
        assert heard


def test_it_says_when_a_host_was_not_asked() -> None:
    """What the URL itself, its literal address or robots.txt forbids costs its host no request; all else does."""
    scripts = {
        "http://a.example/robots.txt": answer(b"User-agent: *\nDisallow: /x"),
        "http://a.example/to-x": answer(b"", 302, Location="/x"),
        "http://a.example/to-b": answer(b"", 302, Location="http://b.example/"),
        "http://b.example/robots.txt": answer(b"", 500),
    }
    unasked = ["ftp://a.example/", "http://10.0.0.1/", "http://a.example/x", "http://b.example/"]
    asked = ["http://a.example/missing", "http://a.example/to-x", "http://a.example/to-b"]
    with serving(scripts) as server:
        found = fetch(server.address, *unasked, *asked, policy=ROBOTS)
    assert [one.is_unasked for one in found if isinstance(one, Refused)] == [True] * 4 + [False] * 3


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
        "http://loop.example/robots.txt": answer(b"", 301, Location="/robots.txt"),
        "http://loop.example/a.jpg": OK,
    }
    asked = [url for url in scripts if not url.endswith("robots.txt")]
    with serving(scripts) as server:
        found = dict(zip(asked, fetch(server.address, *asked, policy=ROBOTS), strict=True))
        assert server.asked["http://a.example/robots.txt"] == 2  # once for itself, once for moved.example
        assert server.asked["http://a.example/mine.jpg"] == 0
        assert server.asked["http://fails.example/a.jpg"] == 0
    forbidden = {url for url, one in found.items() if isinstance(one, Refused) and one.reason == "robots_disallowed"}
    assert forbidden == {
        "http://a.example/mine.jpg", "http://fails.example/a.jpg", "http://none.example/to-a", "http://moved.example/mine.jpg",
    }  # fmt: skip
    assert reason(found["http://fails.example/a.jpg"]) == ("robots_disallowed", "robots.txt: HTTP 500")
    assert all(isinstance(one, Body) for url, one in found.items() if url not in forbidden)


def test_a_host_that_cannot_be_reached_is_not_called_disallowed() -> None:
    """When robots.txt gets no connection or no answer, that is the reason; each URL asks anew, and may pass."""
    scripts = {"http://hang.example/robots.txt": hang, "http://reset.example/robots.txt": raw(b"", reset=True)}
    urls = ["http://hang.example/a", "http://hang.example/b", "http://reset.example/a"]
    with serving(scripts) as server:
        found = fetch(server.address, *urls, policy=ROBOTS)
        assert server.asked["http://hang.example/robots.txt"] == 1  # both URLs waited for one answer
    assert [reason(one)[0] for one in found] == ["timeout", "timeout", "connection_error"]
    assert {(one.is_passing, one.is_unreached) for one in found if isinstance(one, Refused)} == {(True, True)}
    with serving(
        {"http://a.example/robots.txt": [raw(b""), raw(b""), answer(b"")], "http://a.example/1": OK}
    ) as server:
        first, second = fetch(server.address, *["http://a.example/1"] * 2, policy=ROBOTS, at_once=False)
    assert reason(first) == ("connection_error", "robots.txt: closed without an answer")
    assert isinstance(second, Body)


@pytest.mark.parametrize(
    ("script", "why", "wait_s"),
    [
        (answer(b"", 429, Retry_After="9"), "robots.txt: HTTP 429", 9.0),
        (answer(b"", 503), "robots.txt: HTTP 503", 0.0),
        (
            raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nUser"),
            "robots.txt: the connection ended before the body",
            0.0,
        ),
    ],
)
def test_a_robots_txt_that_fails_for_now_is_asked_for_again(script: Script, why: str, wait_s: float) -> None:
    """Busy or cut off: its URLs are disallowed for now, the host is given time, and the next URL asks again."""
    with serving({"http://a.example/robots.txt": [script, answer(b"")], "http://a.example/1": OK}) as server:
        first, second = fetch(server.address, *["http://a.example/1"] * 2, policy=ROBOTS, at_once=False)
    assert reason(first) == ("robots_disallowed", why)
    assert isinstance(first, Refused)
    assert (first.is_passing, first.is_unreached, first.wait_s) == (True, False, wait_s)
    assert isinstance(second, Body)


def test_what_hosts_want_between_two_requests() -> None:
    """Crawl-delay of the host's robots.txt once it is known, up to the policy's limit; 0 where there is none."""
    scripts = {
        "http://a.example/robots.txt": answer(b"User-agent: *\nCrawl-delay: 2.5"),
        "http://slow.example/robots.txt": answer(b"User-agent: wit\nCrawl-delay: 3600"),
        "http://none.example/": OK,
    }
    urls = [
        "http://A.example:80/x",
        "http://slow.example/x?y",
        "http://none.example/",
        "http://other.example/",
        "no URL",
    ]

    async def delays(max_crawl_delay_s: float) -> list[float]:
        policy = replace(ROBOTS, max_crawl_delay_s=max_crawl_delay_s)
        async with HttpClient(policy, FixedResolver("127.0.0.1", server.port), lambda: None) as client:
            assert client.crawl_delay_s(urls[0]) == 0
            for url in urls[:3]:
                await outcome(client, url)
            return [client.crawl_delay_s(url) for url in urls]

    with serving(scripts) as server:
        assert asyncio.run(delays(60.0)) == [2.5, 60.0, 0.0, 0.0, 0.0]
        assert asyncio.run(delays(0.0)) == [0.0] * 5


def test_a_redirects_host_that_fails_says_nothing_of_the_first() -> None:
    """A busy robots.txt of the second host asks no wait of the first, and a dead second host leaves the first alive."""
    scripts = {
        "http://a.example/": answer(b"", 302, Location="http://busy.example/"),
        "http://b.example/": answer(b"", 302, Location="http://dead.example/"),
        "http://busy.example/robots.txt": answer(b"", 503, Retry_After="60"),
        "http://dead.example/robots.txt": raw(b""),
    }
    with serving(scripts) as server:
        found = fetch(server.address, "http://a.example/", "http://b.example/", policy=ROBOTS)
    assert [
        (one.reason, one.is_passing, one.is_unreached, one.wait_s) for one in found if isinstance(one, Refused)
    ] == [
        ("robots_disallowed", True, False, None),
        ("connection_error", True, False, None),
    ]


def test_opt_outs_that_are_not_obeyed_are_taken() -> None:
    """The policy names the directives that count; none, and nothing opts out."""
    scripts = {"http://a.example/": answer(BODY, X_Robots_Tag="noindex, noai", tdm_reservation="1")}
    with serving(scripts) as server:
        for opt_outs, expected in {
            ("noai",): "opted_out_noai",
            ("tdm-reservation",): "opted_out_tdm",
            (): None,
        }.items():
            (found,) = fetch(server.address, *scripts, policy=replace(POLICY, opt_outs=opt_outs))
            assert (found.reason if isinstance(found, Refused) else None) == expected


def test_a_rebinding_name_is_connected_to_where_it_was_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that is public when judged and private when asked again: only the judged address is ever connected to."""
    monkeypatch.setattr(addresses, "is_public", lambda address: str(address) == "127.0.0.2")  # nobody listens there
    asked: list[str] = []
    clock = iter(range(0, 10**6, 1000))  # every answer has expired when it is looked at again

    async def lookup(host: str) -> list[str]:
        asked.append(host)
        return ["127.0.0.2"] if asked.count(host) == 1 else ["127.0.0.1"]

    with serving({}) as server:
        urls = [f"http://rebinds.example:{server.port}/{number}" for number in range(3)]
        resolver = CheckedResolver(lookup, now=lambda: float(next(clock)))
        with connections() as connected:
            found = fetch(server.address, *urls, resolver=resolver, at_once=False)
        assert not server.num_connections
    assert [reason(one) for one in found] == [
        ("connection_error", "connection refused"),
        ("private_address", "rebinds.example is 127.0.0.1"),
        ("private_address", "rebinds.example is 127.0.0.1"),
    ]
    assert connected == {"127.0.0.2"}


def test_what_names_resolve_to_is_judged() -> None:
    """A name of private addresses is private_address, one without an address dns_error; neither is connected to."""

    async def lookup(host: str) -> list[str]:
        if host == "gone.example":
            raise OSError("no such name")
        return {"inside.example": ["10.0.0.1", "::1"], "mapped.example": ["::ffff:169.254.169.254"]}.get(
            host, ["127.0.0.1"]
        )

    with serving({}) as server, connections() as connected:
        urls = [f"http://{name}.example:{server.port}/" for name in ("inside", "mapped", "here", "gone")]
        found = fetch(server.address, *urls, resolver=CheckedResolver(lookup))
        assert not server.num_connections
    assert connected == set()
    assert [reason(one) for one in found] == [
        ("private_address", "inside.example is 10.0.0.1"),
        ("private_address", "mapped.example is ::ffff:169.254.169.254"),
        ("private_address", "here.example is 127.0.0.1"),
        ("dns_error", "gone.example does not resolve"),
    ]
    assert [(one.is_passing, one.is_unreached) for one in found if isinstance(one, Refused)] == [(False, False)] * 3 + [
        (True, True)
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
        found = fetch(server.address, *server.scripts, f"http://dead.example:{server.port}/", resolver=resolver)
    assert [(one.reason, one.is_unreached) for one in found if isinstance(one, Refused)] == [
        ("connection_error", False),
        ("dns_error", False),
        ("connection_error", True),
    ]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate that its own owner signed, for a.example, with its key."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not here")
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    options = [
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-subj",
        "/CN=a.example",
        "-days",
        "2",
    ]
    command = ["openssl", "req", "-x509", *options, "-addext", "subjectAltName=DNS:a.example"]
    subprocess.run([*command, "-keyout", str(path), "-out", f"{path}.crt"], check=True, capture_output=True)
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return path


def test_certificates_are_checked(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Signed by nobody one trusts, or for another name: connection_error; by one that is trusted: a body."""
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate)
    with serving({"https://a.example/": OK}, tls) as server:
        refused = fetch(server.address, "https://a.example/", "https://b.example/")
        assert not server.asked
        assert {reason(one) for one in refused} == {("connection_error", "TLS: certificate or handshake refused")}
        trusting = ssl.create_default_context(cafile=str(certificate))
        monkeypatch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", trusting)
        good, other_name = fetch(server.address, "https://a.example/", "https://b.example/")
    assert isinstance(good, Body)
    assert reason(other_name) == ("connection_error", "TLS: certificate or handshake refused")


def test_names_of_this_machine_and_a_port_without_tls() -> None:
    """localhost, as the system resolves it, is private_address; a host that speaks no TLS is a connection_error."""
    with serving({}) as server:
        (local,) = fetch(server.address, f"http://localhost:{server.port}/", resolver=CheckedResolver())
        (plain,) = fetch(server.address, "https://a.example/")
        assert not server.asked
    assert reason(local)[0] == "private_address"
    assert reason(plain) == ("connection_error", "TLS: certificate or handshake refused")


def test_plain_http_on_the_tls_port(certificate: Path) -> None:
    """http:// asked of a port that speaks TLS gets no HTTP answer: a connection_error."""
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate)
    with serving({}, tls) as server:
        (found,) = fetch(server.address, "http://a.example/")
    assert reason(found)[0] == "connection_error"


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
        found = fetch(server.address, *scripts, policy=replace(POLICY, per_host=2, deadline_s=5))
        assert server.most_open["a.example"] == 2
    assert all(isinstance(one, Body) for one in found)


def test_connections_serve_again() -> None:
    """Bodies, errors with their pages, and redirects one after another go over one connection, robots.txt too."""

    async def page_later(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 404 X\r\nContent-Length: 9\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(0.02)
        writer.write(b"not found")
        await writer.drain()

    scripts = {
        "http://a.example/1": OK,
        "http://a.example/2": page_later,
        "http://a.example/3": answer(b"moved", 301, Location="/1"),
    }
    with serving(scripts) as server:
        fetch(server.address, *scripts, policy=ROBOTS, at_once=False)
        assert server.num_connections == 1
        assert server.asked.total() == 5


def test_connections_that_are_kept_are_bounded() -> None:
    """Three hundred hosts in a row leave no more open than four times the connections allowed, and those in use."""
    urls = [f"http://{number}.example/" for number in range(300)]
    with serving(dict.fromkeys(urls, OK)) as server:
        found = fetch(server.address, *urls, policy=replace(POLICY, concurrency=5), at_once=False)
        assert server.num_connections == 300
        assert server.most_connections <= 4 * 5 + 5 + 1  # and one that the server has yet to hear the end of
    assert all(isinstance(one, Body) for one in found)


def test_a_kept_connection_that_the_server_has_closed_is_replaced() -> None:
    """A connection given up just when it is used again costs another request, not the URL."""
    scripts = {"http://a.example/1": OK, "http://a.example/2": [raw(b"", reset=True), OK]}
    with serving(scripts) as server:
        found = fetch(server.address, *scripts, at_once=False)
        assert server.asked["http://a.example/2"] == 2
    assert all(isinstance(one, Body) for one in found)
