"""Columns of links become the same candidates and rejects as link by link."""

from __future__ import annotations

import time
from collections.abc import Sequence
from html.entities import html5

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.sources.links import MAX_URL_CHARACTERS, fold_space, unescape_attribute
from pipelines.sources.occurrences import Settings, fault_rows, occurrences
from pipelines.sources.source import MALFORMED_RECORD, UNREADABLE_ARCHIVE, Fault, Links, LinksBuilder
from tests.pipelines.sources.slow_occurrences import slow_occurrences
from wit.keys import key_bucket, sample_key

SETTINGS = Settings(64, "wit")
BASE = "https://example.org/a/b/c.html"

valid_texts = st.text(st.characters(codec="utf-8"), max_size=30)


def spaced(values: str) -> st.SearchStrategy[str]:
    """One of the values between spaces."""
    return st.sampled_from(values.split())


_hosts = spaced("x.example X.Example a_b.example h 127.0.0.1 h:80 h: h:99999 h:080 u@h u:p@h [::1] [::1 . - é h%2 h\\p")
_segments = spaced("a b.jpg . .. ... a;b ; a:b : é |[] &amp; &#38; &copy %20 ~ \\ ab.c @") | st.sampled_from(
    ["", "a b", "a\tb", "a\nb", "\x7f", "\x01", "\u3000"]
)
_paths = st.lists(_segments, max_size=5).map("/".join)
_tails = spaced("? # ?q=1 ?a=1&amp;b=2 ?# #f ?q#f ?a;b ?a/../b ?é ?a?b") | st.just("")
_schemes = st.one_of(
    spaced("http:// https:// HTTP:// http:/ http: // /// ftp:// data: DATA: javascript: httpx:// file:// about:"),
    spaced("/ ./ ../ ../../ ../../../../ a/"),
    st.sampled_from(["", "da\nta:"]),
)
_edges = st.sampled_from(["", "", "", " ", "\n", "\x1f", "\x00", "\u00a0", "\u2003", "\u200b", "&#32;"])
addresses = st.one_of(
    st.builds("{}{}{}{}{}{}".format, _edges, _schemes, _hosts | st.just(""), _paths, _tails, _edges),
    st.builds("{}{}/{}{}".format, _schemes, _hosts, _paths, _tails),
    valid_texts,
)
bases = st.one_of(st.just(BASE), st.just(""), addresses, st.builds("https://h/{}{}".format, _paths, _tails))

_references = spaced(
    "&amp; &#39; &quot &QUOT; &nGt; &copy= &copyright &#x41 &#X6f; &# &#x &#; &#0; &#13 &#128; &#xD800; &#1114112; "
    "&#xFDD0; &#xfffe; &#x1F600; &#0000000000065; &#99999999999999999999; & && &a &a;"
)
_pieces = st.sampled_from([" ", "\x00", "\u00ad", "\u202e", "\u00a0", "a", ";"])
captions = st.lists(valid_texts | _references | _pieces, max_size=8).map("".join)


def links_of(rows: Sequence[tuple[str, str, str]], url_has: bool = False, text_has: bool = False) -> Links:
    """Return links of (address, text, base), each on a page of its own; without a base on none."""
    builder = LinksBuilder(("img@alt", "img@title"))
    for number, (url, text, base) in enumerate(rows):
        if base:
            builder.page(base if number % 3 else "", base)
        builder.add(url, text, number, builder.attributes[number % 2])
    built = builder.flush()
    has_base = np.array([bool(base) for _, _, base in rows], np.bool_)
    page = np.where(has_base, built.page, -1).astype(np.int32)
    columns = (built.page_url, built.base, built.attributes)
    return Links(built.url, built.text, page, built.offset, built.attribute, *columns, url_has, text_has)


def assert_same(links: Links) -> None:
    """Both ways give the same rows."""
    for found, expected in zip(
        occurrences(links, "x.warc", SETTINGS), slow_occurrences(links, "x.warc", SETTINGS), strict=True
    ):
        found.validate(full=True)
        assert found.schema.equals(expected.schema)
        assert found.to_pylist() == expected.to_pylist()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(addresses, captions, bases), max_size=12), st.booleans(), st.booleans())
def test_columns_are_worked_through_as_rows_are(
    rows: list[tuple[str, str, str]], url_has: bool, text_has: bool
) -> None:
    """Whatever a source writes, its columns give what the definitions give link by link."""
    assert_same(links_of(rows, url_has, text_has))


@settings(max_examples=100, deadline=None)
@given(addresses, bases)
def test_addresses_are_resolved_as_one_by_one(url: str, base: str) -> None:
    """Relative, bare, absolute and odd addresses, against good, odd and missing bases."""
    assert_same(links_of([(url, "a dog", base)]))


@settings(max_examples=100, deadline=None)
@given(
    st.builds("{}{}{}".format, spaced("http://h/ https://h // //h/ / ./ ../ ../../ a/") | st.just(""), _paths, _tails),
    st.builds("https://h{}{}".format, st.just("") | _paths.map("/{}".format), _tails),
)
def test_plain_addresses_are_resolved_as_one_by_one(url: str, base: str) -> None:
    """What differs but in its path, query and fragment."""
    assert_same(links_of([(url, "a dog", base)]))


LONG_FOLDER = "https://example.org/" + "a/" * (MAX_URL_CHARACTERS // 2 - 100)


def test_doubtful_addresses_are_resolved_as_one_by_one() -> None:
    """Empty parameters and queries, dots before parameters, fragments where a base cannot be parsed, and the like."""
    paths = [
        "a;",
        "a;?q",
        "a;b",
        "..;b",
        "a/..;b",
        "a/.;b",
        "a?",
        "a?#f",
        "a#f",
        "a?q#f",
        "a//b",
        "../../../x/y",
        ".",
        "..",
        "a/",
        "a:b",
    ]
    addresses = [scheme + path for scheme in ("", "/", "//h/", "http://h/", "https://h:80/") for path in paths]
    bases = (BASE, "", "http://h", "http://h/", "http://h/p;q/r;s", "http://h/?a/b", "http://[::1", "ftp://h/a")
    assert_same(links_of([(address, "a dog", base) for address in addresses for base in bases]))


def test_doubtful_hosts_are_judged_as_one_by_one() -> None:
    """Ports without digits, too large and too long ones, hosts of signs alone; in the address and in its base."""
    for host in [
        "h:",
        "h:0",
        "h:00080",
        "h:000080",
        "h:65535",
        "h:65536",
        "h:99999",
        "h:100000",
        "h:8o",
        ".",
        "-",
        "_",
        "h_",
    ]:
        rows = [(f"http://{host}/a", "a dog", BASE), (f"//{host}", "a dog", BASE), ("a", "a dog", f"http://{host}/")]
        assert_same(links_of(rows))


def test_every_code_point_is_folded_as_defined() -> None:
    """White space, control and invisible characters, and all others."""
    texts = [f"a{chr(code)}b" for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    rows = [texts[start : start + 5_000] for start in range(0, len(texts), 5_000)]
    links = links_of([("http://h/", " ".join(row), "") for row in rows])
    found = occurrences(links, "x", SETTINGS)[0]["caption"].to_pylist()
    assert found == [" ".join(fold_space(text) for text in row) for row in rows]


def test_every_named_reference_is_decoded_as_defined() -> None:
    """With and without its semicolon, before a letter, before "=", at the end."""
    names = [f"&{name}" for name in html5] + [f"&{name.rstrip(';')}" for name in html5]
    texts = [name + end for name in names for end in ("", "x", "=", ";", " x")]
    links = links_of([("http://h/?" + text, "a" + text, "") for text in texts], True, True)
    assert occurrences(links, "x", SETTINGS)[0]["caption"].to_pylist() == [
        fold_space(unescape_attribute("a" + text)) for text in texts
    ]


def test_every_small_number_is_decoded_as_defined() -> None:
    """Numbers of Windows-1252, of controls, of surrogates and beyond, in both radices."""
    codes = [*range(0x300), *range(0xD7F0, 0xE010), *range(0xFDC0, 0xFE00), *range(0xFFF0, 0x10010), 0x1FFFE, 0x10FFFF]
    texts = [form.format(code) for code in (*codes, 0x110000) for form in ("a&#{};b", "a&#x{:x}", "a&#X{:X};")]
    links = links_of([("http://h/", text, "") for text in texts], True, True)
    expected = [fold_space(unescape_attribute(text)) for text in texts]
    assert occurrences(links, "x", SETTINGS)[0]["caption"].to_pylist() == expected


def test_slices_of_columns_are_read_from_their_place() -> None:
    """Arrow arrays that begin in the midst of their buffers give their own rows."""
    whole = links_of([(f"/{n}.jpg", f"caption {n}", BASE) for n in range(9)])
    part = Links(
        whole.url.slice(3, 4), whole.text.slice(3, 4), whole.page[3:7] - 2, whole.offset[3:7], whole.attribute[3:7],
        whole.page_url.slice(2), whole.base.slice(2), whole.attributes,
    )  # fmt: skip
    assert_same(part)
    assert occurrences(part, "x", SETTINGS)[0]["caption"].to_pylist() == [f"caption {n}" for n in range(3, 7)]


def test_no_links_are_no_rows() -> None:
    """An empty batch has both tables, without rows."""
    assert [batch.num_rows for batch in occurrences(LinksBuilder(("img@alt",)).flush(), "x", SETTINGS)] == [0, 0]


@pytest.mark.parametrize(
    ("url", "base", "detail"),
    [
        ("", BASE, "empty"),
        ("#top", BASE, "empty"),
        ("data:image/gif;base64," + "R0lG" * 100, BASE, "scheme 'data'"),
        ("javascript:void(0)", BASE, "scheme 'javascript'"),
        ("a.jpg", "", "relative, and no page to resolve it against"),
        ("http:///a.jpg", BASE, "no host"),
        ("/" + "a" * MAX_URL_CHARACTERS, BASE, f"longer than {MAX_URL_CHARACTERS} characters"),
        ("é" * MAX_URL_CHARACTERS, BASE, f"longer than {MAX_URL_CHARACTERS} characters"),
    ],
)
def test_what_is_no_address_is_rejected_with_what_is_wrong(url: str, base: str, detail: str) -> None:
    """The reason is bad_url, the detail says why, a long address is cut, and the key is that of the whole."""
    links = links_of([(url, "A dog", base)])
    assert_same(links)
    found, rejects = occurrences(links, "x", SETTINGS)
    (row,) = rejects.to_pylist()
    assert (found.num_rows, row["reason"], row["detail"]) == (0, "bad_url", detail)
    assert len(row["url"]) <= (100 if url.startswith("data:") else 2000)


def test_the_longest_addresses_stay() -> None:
    """An address of as many characters as are allowed is a candidate, whatever its bytes are."""
    rest = MAX_URL_CHARACTERS - len("https://example.org/")
    links = links_of([("/" + "a" * rest, "x", BASE), ("https://example.org/" + "é" * rest, "x", "")])
    assert_same(links)
    assert occurrences(links, "x", SETTINGS)[0].num_rows == 2


def test_captions_as_long_as_a_page_s_text_are_rejected_for_it() -> None:
    """65,536 bytes of UTF-8 stay, one more does not; a bad address is told of first, and texts are shown cut."""
    long = "é" * 32_768
    rows = [("http://h/a", long, BASE), ("http://h/b", long + "a", BASE), ("ftp://h/c", long + "a", BASE)]
    links = links_of(rows)
    found, rejects = occurrences(links, "x.warc", SETTINGS)
    assert found["caption"].to_pylist() == [long]
    assert rejects["reason"].to_pylist() == ["huge_caption", "bad_url"]
    assert [len(text) for text in rejects["caption"].to_pylist()] == [2000, 2000]
    assert_same(links)


def test_pages_with_endless_addresses_have_none() -> None:
    """The address of a page is copied to each of its links, so one of 8,193 characters is left out."""
    rows = [("http://h/a", "a dog", "-"), ("http://h/a", "a dog", "https://h/" + "a" * 8182), ("http://h/a", "a", "-")]
    rows += [("http://h/a", "a dog", "https://h/" + "a" * 8183)]
    links = links_of(rows)
    assert [page and len(page) for page in occurrences(links, "x", SETTINGS)[0]["page_url"].to_pylist()][1:] == [
        8192,
        1,
        None,
    ]
    assert_same(links)


def test_faults_are_named_by_archive_and_offset() -> None:
    """A lost record is ARCHIVE#OFFSET, a lost rest ARCHIVE; what lone surrogates are in a detail becomes "?"."""
    faults = [Fault(MALFORMED_RECORD, "no \ud800 header", 7), Fault(UNREADABLE_ARCHIVE, "cut", None)]
    rows = fault_rows(faults, "x.warc", SETTINGS).to_pylist()
    assert [(row["url"], row["reason"], row["detail"]) for row in rows] == [
        ("x.warc#7", MALFORMED_RECORD, "no ? header"),
        ("x.warc", UNREADABLE_ARCHIVE, "cut"),
    ]
    for row in rows:
        key = sample_key(row["url"], "")
        assert (row["key"], row["bucket"], row["caption"]) == (key, key_bucket(key, 64), "")


HOSTILE = {
    "a caption of 10 MB": ("http://h/a.jpg", " \x00word" * 1_700_000),
    "white space alone": ("http://h/a.jpg", " " * 10_000_000),
    "ampersands": ("http://h/a.jpg", "&" * 10_000_000),
    "names without an end": ("http://h/?" + "&a" * 5_000_000, "&" + "a" * 10_000_000),
    "numbers without an end": ("&#" + "9" * 10_000_000, "&#x" + "0" * 10_000_000 + "41"),
    "an image as an address": ("data:image/png;base64," + "A\n" * 5_000_000, "a dog"),
    "folders up": ("../" * 3_000_000, "a dog"),
    "a host without an end": ("http://" + "a" * 10_000_000 + "!", "a dog"),
    "a scheme without an end": ("a" * 10_000_000 + ":", "a dog"),
    "dots and slashes": ("/." * 5_000_000, "a dog"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_texts_take_linear_time(name: str) -> None:
    """Ten megabytes of anything are a row or a reject within seconds, the same as by the definitions."""
    url, text = HOSTILE[name]
    links = links_of([(url, text, BASE)], True, True)
    began = time.monotonic()
    found, rejects = occurrences(links, "x", SETTINGS)
    assert time.monotonic() - began < 10
    expected, expected_rejects = slow_occurrences(links, "x", SETTINGS)
    assert found.equals(expected)
    assert rejects.equals(expected_rejects)


def test_long_bases_are_none() -> None:
    """What is too long once it is resolved is a reject, and what is longer than any address resolves nothing."""
    longer = LONG_FOLDER + "a/" * 200
    rows = [(url, "A dog", base) for url in ("a.jpg", "b" * 300, "/c.jpg") for base in (LONG_FOLDER, longer)]
    assert_same(links_of(rows))
    found = occurrences(links_of(rows), "x", SETTINGS)[0]["url"].to_pylist()
    assert found == [LONG_FOLDER + "a.jpg", "https://example.org/c.jpg"]


def test_a_long_base_is_not_copied_to_each_of_its_links() -> None:
    """A page that names a megabyte as its base cannot make a gigabyte of addresses."""
    base = "https://example.org/" + "a/" * 500_000
    builder = LinksBuilder(("img@alt",))
    builder.page("https://example.org/", base)
    for number in range(1000):
        builder.add(f"{number}.jpg", "A dog", 0, "img@alt")
    links = builder.flush()
    assert_same(links)
    assert occurrences(links, "x", SETTINGS)[1].nbytes < 1_000_000
