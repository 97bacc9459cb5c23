"""wit.blocklists: lists are read strictly, and find what a naive search finds."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wit.blocklists import Patterns, read_domains, read_patterns
from wit.errors import InputError

_texts = st.text(alphabet="ab/é", max_size=12)
_patterns = st.text(alphabet="ab/é*", min_size=1, max_size=6).filter(lambda text: text.strip("*"))


def _matches(pattern: str, text: str) -> bool:
    return re.search(".*".join(map(re.escape, pattern.split("*"))), text, re.DOTALL) is not None


@given(st.lists(_patterns, min_size=1, max_size=8, unique=True), st.lists(_texts, max_size=8))
def test_patterns_are_found_where_a_regular_expression_finds_them(patterns: list[str], texts: list[str]) -> None:
    """A text has a pattern if and only if one of the list stands in it, and the one that is named does."""
    found = Patterns(patterns).find(pa.array(texts, pa.string())).to_pylist()
    for text, pattern in zip(texts, found, strict=True):
        assert (pattern is not None) == any(_matches(each, text) for each in patterns)
        assert pattern is None or (pattern in patterns and _matches(pattern, text))


def test_plain_patterns_go_before_wild_ones() -> None:
    """The plain one that ends first is named; then the first of the others, in the order of the list."""
    patterns = Patterns(["a*c", "*b*c", "xyz", "yz", "*q*"])
    urls = pa.array(["abcxyz", "abc", "xbc", "xq", "xy"])
    assert patterns.find(urls).to_pylist() == ["xyz", "a*c", "*b*c", "*q*", None]


def test_hostile_addresses_take_linear_time() -> None:
    """A megabyte of what nearly matches, against patterns that nearly repeat, takes as long as any megabyte."""
    patterns = Patterns(["a" * length + "b" for length in range(1, 200)] + ["*".join("a" * 50) + "*c"])
    urls = pa.array(["a" * 1_000_000])
    patterns.find(urls)
    started = time.process_time()
    assert patterns.find(urls).to_pylist() == [None]
    assert time.process_time() - started < 5  # quadratic: hours


def test_domains_are_read_from_a_file(tmp_path: Path) -> None:
    """Remarks and blank lines go, spellings of one domain are one, and other letters are as the DNS has them."""
    path = tmp_path / "domains.txt"
    path.write_text("\ufeff# mine\nExample.COM # bad\r\n\n*.bücher.example\n.other.example.\nexample.com\n", "utf-8")
    domains = read_domains([str(path)])
    assert domains is not None
    assert domains.names.to_pylist() == ["example.com", "xn--bcher-kva.example", "other.example"]


def test_patterns_are_read_from_a_file(tmp_path: Path) -> None:
    """A line is a pattern as it stands, but for white space around it; `#` is a remark at its beginning only."""
    path = tmp_path / "patterns.txt"
    path.write_text("# mine\n /ads/ \n*.gif#top\n/ads/\n", "utf-8")
    patterns = read_patterns([str(path)])
    assert patterns is not None
    assert patterns.patterns.to_pylist() == ["/ads/", "*.gif#top"]


def test_lists_may_be_empty(tmp_path: Path) -> None:
    """A file of remarks blocks nothing."""
    path = tmp_path / "empty.txt"
    path.write_text("# nothing yet\n")
    assert read_domains([str(path)]) is None
    assert read_patterns([str(path)]) is None


@pytest.mark.parametrize(
    "entry",
    ["https://a.example/", "a.example/b", "a b", "*", ".", "a.example:80", "a*.example", "a\0.example", "x" * 254],
)
def test_a_line_that_is_no_domain_is_named(tmp_path: Path, entry: str) -> None:
    """Nothing is guessed: an address, a port or a pattern among domains is the user's mistake."""
    path = tmp_path / "domains.txt"
    path.write_text(f"good.example\n{entry}\n")
    with pytest.raises(InputError, match=r"domains\.txt:2: expected a domain .*correct or remove the line"):
        read_domains([str(path)])


@pytest.mark.parametrize("entry", ["*", "**", "a b", "x" * 1001])
def test_a_line_that_is_no_pattern_is_named(tmp_path: Path, entry: str) -> None:
    """A pattern that every address has, or none, is the user's mistake."""
    path = tmp_path / "patterns.txt"
    path.write_text(f"{entry}\n")
    with pytest.raises(InputError, match=r"patterns\.txt:1: expected a part of an address"):
        read_patterns([str(path)])


def test_a_list_that_is_no_text_is_named(tmp_path: Path) -> None:
    """The byte that is not UTF-8 is told; a missing file is as anywhere."""
    path = tmp_path / "domains.txt"
    path.write_bytes(b"a.example\n\xff\n")
    with pytest.raises(InputError, match=r"expected UTF-8 text.*at byte 10"):
        read_domains([str(path)])
    with pytest.raises(InputError, match="missing"):
        read_domains([str(tmp_path / "missing.txt")])
