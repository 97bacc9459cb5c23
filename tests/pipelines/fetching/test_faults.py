"""The client against a server that does everything wrong: each URL ends with its reason, in bounded time and memory."""

from __future__ import annotations

import asyncio
import gzip
import time
import tracemalloc
import zlib
from dataclasses import replace
from functools import partial

import brotli
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.fetching.outcome import Body, Refused
from tests.pipelines.fetching.client import BODY, POLICY, fetch, reason
from tests.pipelines.fetching.faults import Script, answer, connections, drip, flood, hang, raw, serving

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
JPEG = b"\xff\xd8\xff\xe0 old body"
LATE = ("timeout", "not complete after 1.5 s")
CUT_OFF = ("truncated_body", "the connection ended before the body")
BROKEN = ("truncated_body", "its compression is broken")
BROKEN_OFF = ("truncated_body", "its compression breaks off")
NOT_HTTP = ("connection_error", "not an HTTP response")
TOO_LONG = ("too_large", "more than 100000 bytes")
NOT_FOUND = ("http_status", "HTTP 404")


def deflate(body: bytes, window_bits: int) -> bytes:
    """Compress, with zlib's header or bare."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, window_bits)
    return compressor.compress(body) + compressor.flush()


def moved(to: str, status: int = 302) -> Script:
    """A redirect."""
    return answer(b"", status, Location=to)


FAULTS: dict[str, tuple[Script, tuple[str, str]]] = {
    # Time and length.
    "hang": (hang, LATE),
    "slow-headers": (drip(b"HTTP/1.1 200 OK\r\nX: "), LATE),
    "drip": (drip(), LATE),
    "drip-404": (drip(b"HTTP/1.1 404 X\r\n\r\n"), NOT_FOUND),
    "endless": (flood(bytes(65_536), OK + b"\r\n"), TOO_LONG),
    "endless-404": (flood(bytes(65_536), b"HTTP/1.1 404 X\r\n\r\n"), NOT_FOUND),
    "endless-redirect": (flood(bytes(65_536), b"HTTP/1.1 302 X\r\nLocation: /away\r\n\r\n"), NOT_FOUND),
    "endless-chunks": (flood(b"5\r\nabcde\r\n" * 1000, CHUNKED), TOO_LONG),
    "endless-extension": (flood(b"x" * 10_000, CHUNKED + b"1;"), ("too_large", "more than 2072576 bytes sent")),
    "endless-headers": (flood(b"X-Filler: " + b"x" * 1000 + b"\r\n", OK), NOT_HTTP),
    "endless-header": (flood(b"x" * 10_000, OK + b"X: "), NOT_HTTP),
    "endless-status": (flood(b"x" * 10_000, b"HTTP/1.1 200 "), NOT_HTTP),
    "endless-continue": (
        flood(b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
        ("too_large", "more than 1048576 bytes sent"),
    ),
    "stated": (answer(b"", 200, Content_Length="100001"), ("too_large", "Content-Length 100001, limit 100000")),
    "short": (raw(OK + b"Content-Length: 100\r\n\r\nabc"), CUT_OFF),
    "short-reset": (raw(OK + b"Content-Length: 100\r\n\r\nabc", reset=True), CUT_OFF),
    "half-chunk": (raw(CHUNKED + b"ff\r\nabc"), CUT_OFF),
    "endless-trailers": (flood(b"a: b\r\n" * 1000, CHUNKED + b"1\r\na\r\n0\r\n"), CUT_OFF),
    # Encodings.
    "gzip-bomb": (answer(gzip.compress(bytes(10**7)), Content_Encoding="gzip"), TOO_LONG),
    "brotli-bomb": (answer(brotli.compress(bytes(10**7)), Content_Encoding="br"), TOO_LONG),
    "deflate-bomb": (answer(deflate(bytes(10**7), 15), Content_Encoding="deflate"), TOO_LONG),
    "gzip-then-endless": (
        flood(bytes(65_536), OK + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b"abc")),
        TOO_LONG,
    ),
    "broken-gzip": (answer(JPEG, Content_Encoding="gzip"), BROKEN),
    "broken-brotli": (answer(JPEG, Content_Encoding="br"), BROKEN),
    "broken-deflate": (answer(JPEG, Content_Encoding="deflate"), BROKEN),
    "half-gzip": (answer(gzip.compress(BODY)[:-20], Content_Encoding="gzip"), BROKEN_OFF),
    "half-brotli": (answer(brotli.compress(BODY)[:-20], Content_Encoding="br"), BROKEN_OFF),
    "empty-gzip": (answer(b"", Content_Encoding="gzip"), BROKEN_OFF),
    # Status.
    "missing": (answer(b"no", 404), NOT_FOUND),
    "broken": (answer(b"", 500), ("http_status", "HTTP 500")),
    "not-modified": (answer(b"", 304), ("http_status", "HTTP 304")),
    "nowhere": (answer(b"", 302), ("http_status", "HTTP 302")),
    "odd": (answer(b"", 999), ("http_status", "HTTP 999")),
    "upgrade": (
        raw(b"HTTP/1.1 101 X\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nabc"),
        ("http_status", "HTTP 101"),
    ),
    "busy": (answer(b"", 429), ("rate_limited", "HTTP 429")),
    # What is not HTTP.
    "closed": (raw(b""), ("connection_error", "closed without an answer")),
    "reset": (raw(b"", reset=True), ("connection_error", "connection reset by peer")),
    "http-0.9": (raw(JPEG), NOT_HTTP),
    "http-2": (raw(b"\x00\x00\x12\x04\x00\x00\x00\x00\x00" * 2), NOT_HTTP),
    "ssh": (raw(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), NOT_HTTP),
    "icy": (raw(b"ICY 200 OK\r\n\r\nabc"), NOT_HTTP),
    "http-9": (raw(b"HTTP/9.9 200 OK\r\n\r\nabc"), NOT_HTTP),
    "status-1000": (raw(b"HTTP/1.1 1000 X\r\n\r\n"), NOT_HTTP),
    "two-lengths": (raw(OK + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"), NOT_HTTP),
    "length-and-chunks": (raw(OK + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"), NOT_HTTP),
    "negative-length": (raw(OK + b"Content-Length: -3\r\n\r\nabc"), NOT_HTTP),
    "text-length": (raw(OK + b"Content-Length: abc\r\n\r\nabc"), NOT_HTTP),
    "vast-length": (raw(OK + b"Content-Length: 99999999999999999999999\r\n\r\nabc"), NOT_HTTP),
    "nul-header": (raw(OK + b"X: a\0b\r\nContent-Length: 3\r\n\r\nabc"), NOT_HTTP),
    "no-colon": (raw(OK + b"garbage\r\nContent-Length: 3\r\n\r\nabc"), NOT_HTTP),
    # Redirects.
    "loop": (moved("/", 301), ("too_many_redirects", "more than 5")),
    "injected": (moved("http://away.example/a\r\nX-Evil: 1"), NOT_FOUND),
    "two-places": (raw(b"HTTP/1.1 302 X\r\nLocation: /a\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n"), NOT_FOUND),
    "to-latin": (
        raw(b"HTTP/1.1 302 X\r\nLocation: /caf\xe9\r\nContent-Length: 0\r\n\r\n"),
        ("unsupported_url", "not a valid URL"),
    ),
    "to-file": (moved("file:///etc/passwd"), ("unsupported_url", "scheme 'file'")),
    "to-gopher": (moved("gopher://127.0.0.1:25/"), ("unsupported_url", "scheme 'gopher'")),
    "to-data": (moved("data:image/png;base64,AA"), ("unsupported_url", "scheme 'data'")),
    "to-nonsense": (moved("http://[::1/a.jpg"), ("unsupported_url", "redirected to what is not a valid URL")),
    "to-password": (moved("http://user:secret@away.example/"), ("unsupported_url", "credentials in the URL")),
    "to-loopback": (moved("http://127.0.0.1/"), ("private_address", "127.0.0.1")),
    "to-metadata": (moved("http://169.254.169.254/latest", 307), ("private_address", "169.254.169.254")),
    "to-ten": (moved("//10.0.0.8/a.jpg", 308), ("private_address", "10.0.0.8")),
    "to-mapped": (moved("http://[::ffff:127.0.0.1]/"), ("private_address", "::ffff:127.0.0.1")),
    "to-mapped-hex": (moved("http://[::ffff:a9fe:a9fe]/"), ("private_address", "::ffff:a9fe:a9fe")),
    "to-nat64": (moved("http://[64:ff9b::7f00:1]/"), ("private_address", "64:ff9b::7f00:1")),
    "to-short": (moved("http://127.1/"), ("private_address", "127.1")),
    "to-decimal": (moved("http://2130706433/"), ("private_address", "2130706433")),
    "to-octal": (moved("http://0177.0.0.1/"), ("private_address", "0177.0.0.1")),
    "to-hexadecimal": (moved("http://0x7f000001/"), ("private_address", "0x7f000001")),
    "to-full-width": (
        raw("HTTP/1.1 302 X\r\nLocation: http://１２７.0.0.1/\r\nContent-Length: 0\r\n\r\n".encode()),
        ("private_address", "127.0.0.1"),
    ),
    "to-dotted": (moved("http://127.0.0.1./"), ("private_address", "127.0.0.1.")),
    # Opting out.
    "noai": (answer(BODY, X_Robots_Tag="nofollow, noai"), ("opted_out_noai", "X-Robots-Tag: noai")),
    "noindex": (answer(BODY, X_Robots_Tag="wit: noindex"), ("opted_out_noindex", "X-Robots-Tag: noindex")),
    "tdm": (answer(BODY, tdm_reservation="1"), ("opted_out_tdm", "tdm-reservation: 1")),
}  # fmt: skip
PASSING = {
    "endless-trailers",
    "hang",
    "slow-headers",
    "drip",
    "short",
    "short-reset",
    "half-chunk",
    "busy",
    "closed",
    "reset",
}
SILENT = {"hang", "slow-headers", "closed", "reset"}


def test_every_fault_has_its_reason_and_none_hangs() -> None:
    """All faults at once: each URL ends with the reason it should, and none waits for the slow ones.

    Nothing but the test's server is connected to. What may pass, and whether the host was heard, is told apart too.
    """
    with serving({f"http://{name}.example/": script for name, (script, _) in FAULTS.items()}) as server:
        started = time.monotonic()
        with connections() as connected:
            found = dict(
                zip(FAULTS, fetch(server.address, *(f"http://{name}.example/" for name in FAULTS)), strict=True)
            )
        assert time.monotonic() - started < 20
    assert connected == {"127.0.0.1"}
    assert {name: reason(one) for name, one in found.items()} == {
        name: expected for name, (_, expected) in FAULTS.items()
    }
    refusals = {name: one for name, one in found.items() if isinstance(one, Refused)}
    assert {name for name, one in refusals.items() if one.is_unreached} == SILENT
    compressions = {name for name, (_, expected) in FAULTS.items() if expected in (BROKEN, BROKEN_OFF)}
    assert {name for name, one in refusals.items() if one.is_passing} == PASSING | compressions


async def in_pieces(writer: asyncio.StreamWriter, data: bytes) -> None:
    """Send bytes so that they come in several reads: the head, a little more, and the rest."""
    at = data.index(b"\r\n\r\n") + 4
    for piece in (data[: at - 2], data[at - 2 : at], data[at : at + 2], data[at + 2 :]):
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0.02)
    writer.close()


MALFORMED = {
    "no-number": (CHUNKED + b"zz\r\nabc\r\n0\r\n\r\n", None),
    "negative": (CHUNKED + b"-5\r\nabc\r\n0\r\n\r\n", None),
    "beyond-memory": (CHUNKED + b"ffffffffffffffff1\r\nabc\r\n0\r\n\r\n", None),
    "beyond-the-end": (CHUNKED + b"7fffffff\r\nabc", None),
    "no-end": (CHUNKED + b"3\r\nabcd\r\n0\r\n\r\n", None),
    "longer-than-stated": (OK + b"Content-Length: 3\r\n\r\nabcdefgh", b"abc"),
    "answer-of-nobody": (OK + b"Content-Length: 3\r\n\r\nabc" + OK + b"Content-Length: 3\r\n\r\ndef", b"abc"),
}


def test_malformed_bodies_are_judged_alike_however_they_come() -> None:
    """Chunks that are none give no body; one longer than was stated is cut there; in one read as in four."""
    scripts = {}
    for name, (data, _) in MALFORMED.items():
        scripts[f"http://{name}.example/at-once"] = raw(data)
        scripts[f"http://{name}.example/in-pieces"] = partial(in_pieces, data=data)
    started = time.monotonic()
    with serving(scripts) as server:
        found = fetch(server.address, *scripts)
    assert time.monotonic() - started < POLICY.deadline_s
    expected = [body for _, body in MALFORMED.values() for _ in range(2)]
    assert [one.data if isinstance(one, Body) else None for one in found] == expected
    assert {reason(one) for one in found if isinstance(one, Refused)} == {CUT_OFF}


FRAGMENTS = st.sampled_from([
    "http://", "https://", "//", "HTTP:", "ftp:", "a.example", "127.1", "[::1]", "[", "]", ":", "80", "99999", "/x",
    "%", "%zz", "?", "#", "@", "\\", "..", "xn--", "ß", "ÿ", "\u0661", "\uff0e", "\u3002",
])  # fmt: skip
HEADERS = st.sampled_from([
    "Location", "Content-Length", "Content-Encoding", "Retry-After", "Date", "Set-Cookie", "Content-Type", "Upgrade",
    "Connection", "Transfer-Encoding", "X-Robots-Tag", "Link", "Keep-Alive",
])  # fmt: skip
VALUES = st.lists(st.one_of(FRAGMENTS, st.text("0159az, ;=-\0\t", max_size=6)), max_size=6).map("".join)
HEADS = st.tuples(
    st.sampled_from([200, 204, 301, 302, 303, 308, 404, 429, 503]), st.lists(st.tuples(HEADERS, VALUES), max_size=3)
)


@settings(max_examples=15, deadline=None)
@given(
    st.lists(
        st.one_of(HEADS, st.tuples(st.just(302), VALUES.map(lambda to: [("Location", to)]))), min_size=20, max_size=40
    )
)
def test_any_answer_is_a_body_or_a_refusal(heads: list[tuple[int, list[tuple[str, str]]]]) -> None:
    """Whatever headers say and wherever they lead, nothing but Refused is raised, and nobody else is connected to."""
    answers = [
        raw("\r\n".join([f"HTTP/1.1 {status} X", *(f"{name}: {value}" for name, value in fields), "", "abc"]).encode())
        for status, fields in heads
    ]
    scripts = {f"http://{number}.example/": script for number, script in enumerate(answers)}
    with serving(scripts) as server, connections() as connected:
        fetch(server.address, *scripts, policy=replace(POLICY, deadline_s=5))
    assert connected == {"127.0.0.1"}


def test_floods_cost_little_memory() -> None:
    """Forty answers without end, compressed and not, at once: no more is held than forty bodies of the allowed size."""
    names = ["endless", "endless-chunks", "endless-extension", "endless-headers", "endless-continue"]
    names += ["gzip-then-endless", "gzip-bomb", "brotli-bomb"]
    scripts = {f"http://{name}{number}.example/": FAULTS[name][0] for name in names for number in range(5)}
    with serving(scripts) as server:
        tracemalloc.start()
        try:
            found = fetch(server.address, *scripts)
            peak_bytes = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert not any(isinstance(one, Body) for one in found)
    # A body, what a read brings (256 KiB) and what is buffered (128 KiB) on each side.
    assert peak_bytes < len(scripts) * (POLICY.max_bytes + 2 * 400_000)


@pytest.mark.parametrize("length", [0, 1, 8, 17, 30, 38, 39, 58])
def test_a_connection_that_ends_at_any_byte(length: int) -> None:
    """An answer reset or closed after n bytes is a refusal that may pass, and never a body."""
    whole = OK + b"Content-Length: 20\r\n\r\n" + bytes(20)
    scripts = {"http://a.example/": raw(whole[:length], reset=True), "http://b.example/": raw(whole[:length])}
    with serving(scripts) as server:
        found = fetch(server.address, *scripts)
    assert {(one.reason, one.is_passing) for one in found if isinstance(one, Refused)} == {
        ("connection_error" if length < len(whole) - 20 else "truncated_body", True)
    }
