"""URLs as they are asked for, waits, and encodings undone."""

from __future__ import annotations

import email.utils
import errno
import gzip
import time
import zlib
from contextlib import suppress

import aiohttp
import brotli
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.fetching.content import CODECS, BrokenContent, Decoder
from pipelines.fetching.outcome import Refused
from pipelines.fetching.wire import Progress, refusals, request_url, retry_after_s
from wit.errors import UserError

DATE = "Sat, 21 Nov 2026 10:00:00 GMT"


@pytest.mark.parametrize(
    "url",
    [
        "ftp://a.example/", "data:image/png;base64,AA", "http:///a.jpg", "http://a.example:99999/", "http://[::1/",
        "http://user:secret@a.example/", "nonsense", "http://" + "a" * 70 + "é.org/", "http://" + "é." * 200 + "org/",
        "http://a b.example/", "http://a\0.example/", "", "http://user@/", "javascript:alert(1)", "//a.example/",
    ],
)  # fmt: skip
def test_urls_that_are_not_asked(url: str) -> None:
    """Other schemes, no host, bad ports, credentials and impossible names are unsupported_url."""
    with pytest.raises(Refused) as caught:
        request_url(url)
    assert caught.value.reason == "unsupported_url"


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        ("http://a.example/b.jpg?c=d", "http://a.example/b.jpg?c=d"),
        ("HTTP://A.Example:80/B#top", "http://a.example/B"),
        ("https://a.example:443", "https://a.example/"),
        ("https://a.example:80/", "https://a.example:80/"),
        ("http://a.example:8080/#x", "http://a.example:8080/"),
        (" http://a.example/a b|c.jpg ", "http://a.example/a%20b|c.jpg"),
        ("http://a.example/caf\u00e9?q=\u00fc%20", "http://a.example/caf%C3%A9?q=%C3%BC%20"),
        ("http://b\u00fccher.example/", "http://xn--bcher-kva.example/"),
        ("http://fa\u00df.example/", "http://xn--fa-hia.example/"),
        ("http://\u2603.example/", "http://xn--n3h.example/"),
        ("http://\u4f8b\u3048\u3002example/", "http://xn--r8jz45g.example/"),
        ("http://[2606:4700::1111]:8080/a", "http://[2606:4700::1111]:8080/a"),
        ("http://a.example/a\r\nHost: b", "http://a.example/aHost:%20b"),
    ],
)  # fmt: skip
def test_urls_as_they_are_asked_for(url: str, asked: str) -> None:
    """Encoded where need be (names by IDNA 2008), the usual port and the fragment left out; nothing is decoded."""
    assert str(request_url(url)) == asked


@given(st.one_of(st.text(), st.text().map("http://".__add__), st.from_regex(r"https?://[^/]{1,9}(:\d+)?/.{0,9}")))
def test_any_text_is_a_url_to_ask_for_or_unsupported(text: str) -> None:
    """Whatever stands in an attribute ends as an ASCII URL of a host without spaces, or as unsupported_url."""
    try:
        asked = request_url(text)
    except Refused as refusal:
        found = refusal.reason
    else:
        found = asked.scheme if asked.raw_host and all("!" <= one <= "~" for one in str(asked)) else str(asked)
    assert found in ("http", "https", "unsupported_url")


@given(
    st.from_regex(
        r"https?://[a-z0-9.-]{1,9}[a-z](:[0-9]{1,4})?/[!-~]{0,9}(\?[!-~]{0,9})?(#[!-~]{0,5})?", fullmatch=True
    )
)
def test_a_plain_url_is_asked_for_as_any_other(url: str) -> None:
    """The short way for plain URLs gives what the long way gives, which a leading space takes."""

    def found(text: str) -> str:
        try:
            return str(request_url(text))
        except Refused as refusal:
            return f"{refusal.reason}: {refusal.detail}"

    assert found(url) == found(" " + url)


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"Retry-After": "120"}, 120.0),
        ({"Retry-After": " 0 "}, 0.0),
        ({"Retry-After": "9" * 400}, 999_999_999_999.0),
        ({"Retry-After": "Sat, 21 Nov 2026 10:01:30 GMT", "Date": DATE}, 90.0),
        ({"Retry-After": "Sat Nov 21 10:01:30 2026", "Date": DATE}, 90.0),  # asctime, RFC 9110, 5.6.7
        ({"Retry-After": "Sat, 21 Nov 2026 09:00:00 GMT", "Date": DATE}, 0.0),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "1.5"}, None),
        ({}, None),
    ],
)
def test_how_long_a_host_asks_one_to_wait(headers: dict[str, str], wait_s: float | None) -> None:
    """Seconds, or a date against the answer's own; one that has passed is no wait, and nonsense is not said."""
    assert retry_after_s(headers) == wait_s


def test_a_date_without_the_answers_own_is_compared_with_the_clock() -> None:
    """Some servers send no Date header."""
    wait_s = retry_after_s({"Retry-After": email.utils.formatdate(time.time() + 60, usegmt=True)})
    assert wait_s is not None
    assert 50 < wait_s <= 60


@given(st.text(), st.text())
def test_any_retry_after_is_read(value: str, date: str) -> None:
    """Whatever a server sends is a wait that is not negative, or none."""
    wait_s = retry_after_s({"Retry-After": value, "Date": date})
    assert wait_s is None or wait_s >= 0


def bare_deflate(body: bytes) -> bytes:
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    return compressor.compress(body) + compressor.flush()


COMPRESS = {"gzip": gzip.compress, "deflate": zlib.compress, "br": brotli.compress}


@given(st.binary(max_size=3000), st.sampled_from([*COMPRESS, "bare"]), st.integers(1, 500))
def test_encodings_are_undone_however_they_come(body: bytes, encoding: str, piece_bytes: int) -> None:
    """Cut into pieces of any size, each encoding gives the body and its end; what follows the end is dropped."""
    data = bare_deflate(body) if encoding == "bare" else COMPRESS[encoding](body)
    decoder = Decoder(CODECS["deflate" if encoding == "bare" else encoding], 3000)
    found = b"".join(decoder.decode(data[at : at + piece_bytes]) for at in range(0, len(data), piece_bytes))
    assert found == body
    assert decoder.is_whole
    assert decoder.decode(b"more") == b""


@given(st.sampled_from(sorted(COMPRESS)), st.integers(1, 5000))
def test_no_more_than_the_limit_comes_out(encoding: str, max_bytes: int) -> None:
    """Of a bomb comes what shows that the limit is passed, and little more (Brotli: up to a block)."""
    decoder = Decoder(CODECS[encoding], max_bytes)
    data = COMPRESS[encoding](bytes(1_000_000))
    found = decoder.decode(data) + decoder.decode(data)
    assert max_bytes < len(found) <= max_bytes + 1 + (65_536 if encoding == "br" else 0)


@given(st.binary(min_size=1, max_size=300), st.sampled_from(sorted(CODECS)))
def test_any_bytes_are_decoded_or_broken(data: bytes, encoding: str) -> None:
    """Bytes that are not in the encoding are BrokenContent, or end before their end; nothing else is raised."""
    decoder = Decoder(CODECS[encoding], 1000)
    with suppress(BrokenContent):
        decoder.decode(data)


def test_a_process_without_file_handles_is_told_so() -> None:
    """No file handle left is this machine's trouble, not the host's: an error with what to do, not a reject."""
    with pytest.raises(UserError, match="ulimit"), refusals(Progress()):
        raise OSError(errno.EMFILE, "Too many open files")


def test_a_connection_that_takes_too_long() -> None:
    """No connection in its part of the time is a timeout that may pass, of a host that was not heard."""
    with pytest.raises(Refused) as caught, refusals(Progress()):
        raise aiohttp.ConnectionTimeoutError("no connection")
    assert (caught.value.reason, caught.value.is_passing, caught.value.is_unreached) == ("timeout", True, True)
