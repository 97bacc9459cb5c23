"""Resolving URLs, decoding entities, folding white space."""

from __future__ import annotations

from urllib.parse import urldefrag, urljoin

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.sources.links import (
    INVISIBLE,
    MAX_URL_CHARACTERS,
    fold_space,
    image_address,
    resolve,
    shown_url,
    unescape_attribute,
    valid_text,
    why_not_fetchable,
)

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
        ("", "http://example.org/a/b.html?q=1"),
        ("data:image/gif;base64,R0lG\nODlh#", "data:image/gif;base64,R0lGODlh#"),
    ],
)
def test_resolve(written: str, resolved: str) -> None:
    """Relative, protocol-relative and absolute URLs become absolute; fragments and line breaks go."""
    assert resolve(written, BASE) == resolved


@pytest.mark.parametrize("written", ["", " ", "#", "#top", "\n#a/b.jpg"])
def test_the_page_itself_is_no_image(written: str) -> None:
    """An empty address, or a fragment, is not that of the page: a browser shows no image there."""
    assert image_address(written, BASE) == ""
    assert why_not_fetchable("") == "empty"
    assert image_address("?page=2", BASE) == resolve("?page=2", BASE)


def test_too_long_addresses_are_not_resolved() -> None:
    """Neither what is longer than any server takes, nor anything against such a base."""
    longer = "a" * (MAX_URL_CHARACTERS + 1)
    assert resolve(longer, BASE) == longer
    assert resolve("b.jpg", f"http://h/{longer}") == "b.jpg"
    assert why_not_fetchable(f"http://h/{longer}") == f"longer than {MAX_URL_CHARACTERS} characters"


def test_what_is_shown_is_short() -> None:
    """Of an address 2,000 characters, of an image as text 100; of what a parser says 200."""
    assert len(shown_url("http://h/" + "a" * 5000)) == 2000
    assert len(shown_url("DATA:" + "a" * 5000)) == 100
    assert len(why_not_fetchable("http://" + "\u2100" * 5000) or "") == 200


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
        (f"&#{'9' * 5000};&#x{'f' * 5000}", "\ufffd\ufffd"),
        (f"&#{'0' * 5000}65;&#x{'0' * 5000}42", "AB"),
    ],
)
def test_entities_are_decoded_as_in_an_attribute(written: str, decoded: str) -> None:
    """Once, and not where a query parameter only looks like one."""
    assert unescape_attribute(written) == decoded


def test_white_space_and_control_characters_fold() -> None:
    """No-break spaces, line breaks, NUL and C1 controls are white space; lone surrogates cannot reach a table."""
    assert fold_space("\u00a0a\n\tb\x00\x85c  ") == "a b c"
    assert fold_space("né ★") == "né ★"
    assert valid_text("a\ud800b") == "a?b"


def test_invisible_characters_go() -> None:
    """Direction marks, soft hyphens and the like leave no trace, not even as space; joiners of emoji stay."""
    assert fold_space(f"a{INVISIBLE}b {INVISIBLE} c{INVISIBLE}") == "ab c"
    assert fold_space(INVISIBLE) == ""
    joined = "\U0001f469\u200d\U0001f680 \u0645\u06cc\u200c\u062e"
    assert fold_space(joined) == joined
