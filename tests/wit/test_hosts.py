"""wit.hosts: columns give what the definition gives, and domains block what lies in them, nothing beside."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wit.hosts import Domains, host_of, hosts, text_hashes

_PIECES = ["http", "://", "//", "/", ":", "@", ".", "..", "[", "]", "?", "#", "\\", "a", "B.com", "WWW.", "x.org", "80"]
_PIECES += ["%41", "%", "%2F", "é", "BÜCHER.de", "日本.jp", "İ", "ß", "\0", " ", "::1", "-", "_"]
addresses = st.lists(st.sampled_from(_PIECES) | st.text(max_size=4), max_size=9).map("".join)
urls = st.builds("http://{}".format, addresses) | addresses

HOSTS = {
    "http://example.com/a": "example.com",
    "HTTPS://WWW.Example.COM": "www.example.com",
    "http://user:pass@example.com:8080/a@b": "example.com",
    "http://example.com.?q": "example.com",
    "http://example.com#a://b.com/": "example.com",
    "http://example.com\\@evil.com/": "example.com",
    "http://[2001:DB8::1]:80/a": "[2001:db8::1]",
    "http://[2001:db8::1": "[2001:db8::1",
    "http://bücher.example/": "xn--bcher-kva.example",
    "http://BÜCHER.example/": "xn--bcher-kva.example",
    "http://b%C3%BCcher.example/": "xn--bcher-kva.example",
    "http://%65xample.com/": "example.com",
    "//example.com/a": "",
    "/a/b": "",
    "": "",
    "http://": "",
    "http:///a": "",
    "http://ü..example/": "ü..example",
}


def test_hosts_of_addresses() -> None:
    """User, port, last dots and case go; other letters are as the DNS has them, or stay where it has none for them."""
    assert {url: host_of(url) for url in HOSTS} == HOSTS


@given(st.lists(urls, max_size=8), st.booleans())
def test_columns_are_the_definition_row_by_row(texts: list[str], wide: bool) -> None:
    """The same hosts for any text, in sliced arrays of either width."""
    kind = pa.large_string() if wide else pa.string()
    column = pa.array(["http://before/", *texts], kind).slice(1)
    assert hosts(column).to_pylist() == [host_of(text) for text in texts]


@given(st.lists(st.text(max_size=5), max_size=8))
def test_hashes_tell_texts_apart(texts: list[str]) -> None:
    """Equal texts have equal hashes, and different ones different hashes; the constants are FNV's own."""
    hashes = text_hashes(pa.array(texts, pa.string())).tolist()
    assert len(set(hashes)) == len(set(texts))
    assert dict(zip(texts, hashes, strict=True)) == {text: hashes[texts.index(text)] for text in texts}
    assert text_hashes(pa.array(["", "a", "foobar"])).tolist() == [
        0xCBF29CE484222325, 0xAF63DC4C8601EC8C, 0x85944171F73967E8,
    ]  # fmt: skip


def _naive(names: list[str], host: str) -> str | None:
    labels = host.split(".")
    parents = [".".join(labels[start:]) for start in range(len(labels) - 1, -1, -1)]
    return next((parent for parent in parents if parent and parent in names), None)


_labels = st.lists(st.sampled_from(["a", "b", "com", "é", ""]), max_size=4).map(".".join)


@given(st.lists(_labels.filter(bool), max_size=6), st.lists(_labels, max_size=8))
def test_a_host_lies_in_the_widest_listed_domain(names: list[str], texts: list[str]) -> None:
    """As looking up every parent of the host in turn, from the last label on."""
    assert Domains(names).find(pa.array(texts, pa.large_string())).to_pylist() == [
        _naive(names, each) for each in texts
    ]


def test_many_domains_are_all_found() -> None:
    """Each of 20,000 domains is found by itself and by a subdomain, and by no longer name that ends alike."""
    names = [f"site-{number}.example" for number in range(20_000)]
    domains = Domains(names)
    assert domains.find(pa.array(names)).to_pylist() == names
    assert domains.find(pa.array([f"www.{name}" for name in names])).to_pylist() == names
    assert domains.find(pa.array([f"my{name}" for name in names])).null_count == len(names)


@pytest.mark.parametrize("host", ["a." * 200_000, "." * 400_000, "a" * 400_000])
def test_a_host_of_any_length_takes_linear_time(host: str) -> None:
    """Half a megabyte of labels in one host is looked up label by label, and compared only where lengths agree."""
    assert Domains(["example.com"]).find(pa.array([host, "x.example.com"])).to_pylist() == [None, "example.com"]
    assert host_of(f"http://{host}/") == host.rstrip(".")
