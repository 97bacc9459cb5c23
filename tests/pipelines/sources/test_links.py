"""Resolving URLs, decoding entities, folding white space."""

from __future__ import annotations

from urllib.parse import urldefrag, urljoin

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.sources.links import fold_space, resolve, unescape_attribute, valid_text, why_not_fetchable

BASE = "http://example.org/a/b.html?q=1"


@pytest.mark.parametrize(
    ("written", "resolved"),
    [
        ("c.jpg", "http://example.org/a/c.jpg"),
        ("../c.jpg", "http://example.org/c.jpg"),
        ("//cdn.example.net/c.jpg", "http://cdn.example.net/c.jpg"),
        ("https://x.example/c.jpg#top", "https://x.example/c.jpg"),
        (" \n/c.jpg\t", "http://example.org/c.jpg"),
        ("http://x.example/a\nb.jpg", "http://x.example/ab.jpg"),
        ("?page=2", "http://example.org/a/b.html?page=2"),
        ("http://[bad/x.jpg", "http://[bad/x.jpg"),
    ],
)
def test_resolve(written: str, resolved: str) -> None:
    """Relative, protocol-relative and absolute URLs become absolute; fragments and line breaks go."""
    assert resolve(written, BASE) == resolved


@given(st.from_regex(r"\A(https?://)?[a-zA-Z0-9.-]{0,12}[/?;:.=&%#~@\[\]a-z0-9-]{0,20}\Z"))
def test_the_fast_path_is_urljoin(url: str) -> None:
    """What is recognised as absolute at a glance is what the standard library would give."""
    try:
        expected = urldefrag(urljoin(BASE, url)).url
    except ValueError:
        expected = url
    assert resolve(url, BASE) == expected


@pytest.mark.parametrize(
    "url",
    [
        "data:image/gif;base64,R0lG",
        "ftp://x.example/a",
        "javascript:void(0)",
        "http:///a.jpg",
        "a.jpg",
        "",
        "http://x:99999/a",
        "http://[::1/a",
        "file:///etc/passwd",
        "about:blank",
    ],
)
def test_what_is_not_fetchable_is_told(url: str) -> None:
    """Other schemes, no host, and what cannot be parsed."""
    assert why_not_fetchable(url)


@pytest.mark.parametrize("url", ["http://x.example/a.jpg", "https://user@x.example:8080/a b?c=ä", "HTTP://X.EXAMPLE"])
def test_http_urls_with_a_host_are_fetchable(url: str) -> None:
    """Ports, users, spaces and letters of any script are the fetcher's matter."""
    assert why_not_fetchable(url) is None


@pytest.mark.parametrize(
    ("written", "decoded"),
    [
        ("Street Fighter II&#8217; Champion", "Street Fighter II\u2019 Champion"),
        ("a&amp;b &lt;c&gt; &quot;d&quot; &#x41;", 'a&b <c> "d" A'),
        ("?a=1&copy=2&amp;b=3&reg;", "?a=1&copy=2&b=3®"),
        ("&copyright &nosuch; Tom & Jerry AT&T", "&copyright &nosuch; Tom & Jerry AT&T"),
        ("&amp;amp;", "&amp;"),
        ("fish &amp chips", "fish & chips"),
    ],
)
def test_entities_are_decoded_as_in_an_attribute(written: str, decoded: str) -> None:
    """Once, and not where a query parameter only looks like one."""
    assert unescape_attribute(written) == decoded


def test_white_space_and_control_characters_fold() -> None:
    """No-break spaces, line breaks, NUL and C1 controls are white space; lone surrogates cannot reach a table."""
    assert fold_space("\u00a0a\n\tb\x00\x85c  ") == "a b c"
    assert fold_space("né \u202d★") == "né ★"
    assert valid_text("a\ud800b") == "a?b"
