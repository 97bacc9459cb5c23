"""robots.txt, by the cases of RFC 9309 and beyond."""

from __future__ import annotations

import time

import pytest

from pipelines.fetching.robots import parse, product_token


def allows(text: str, path: str, agent: str = "wit") -> bool:
    return parse(text, agent).allows(f"http://example.org{path}")


@pytest.mark.parametrize(
    ("rules", "path", "allowed"),
    [
        ("Disallow: /fish", "/fish/salmon.jpg", False),
        ("Disallow: /fish", "/Fish.jpg", True),
        ("Disallow: /fish*", "/fishheads", False),
        ("Disallow: /*.jpg$", "/a/b.jpg", False),
        ("Disallow: /*.jpg$", "/a/b.jpg?size=1", True),
        ("Disallow: /a*b*c$", "/aXbXbXc", False),
        ("Disallow: /a*b*c$", "/aXbXbXcd", True),
        ("Disallow: /*?size=", "/a.jpg?size=9", False),
        ("Disallow: /\nAllow: /images/", "/images/a.jpg", True),
        ("Disallow: /images/\nAllow: /images/", "/images/a.jpg", True),
        ("Allow: /images/\nDisallow: /images/private/", "/images/private/a.jpg", False),
        ("Disallow:", "/a.jpg", True),
        ("Disallow: /caf%C3%A9/", "/café/a.jpg", False),
        ("Disallow: /café/", "/caf%c3%a9/a.jpg", False),
        ("Disallow: /%7Ejoe/", "/~joe/a.jpg", False),
        ("Disallow: /a%2Fb", "/a/b", True),
        ("Disallow: /$", "/", False),
        ("Disallow: /$", "/a.jpg", True),
    ],
)
def test_the_longest_match_decides(rules: str, path: str, allowed: bool) -> None:
    """RFC 9309, 2.2.2: prefixes, `*`, `$`, percent-encoding, the longest match, allow on a tie."""
    assert allows(f"User-agent: *\n{rules}\n", path) is allowed


def test_groups_are_chosen_by_product_token() -> None:
    """A group that names the agent, in any case, replaces `*`; several are one; others do not count."""
    text = (
        "User-Agent: other\nDisallow: /\n\nuser-agent: WIT\nuser-agent: third\nDisallow: /a\n\n"
        "User-agent: *\nDisallow: /b\n\nUser-agent: wit/2.0\nDisallow: /c # why"
    )
    assert [allows(text, path) for path in ("/a", "/b", "/c", "/d")] == [False, True, False, True]
    assert [allows(text, path, "nobody") for path in ("/a", "/b", "/c")] == [True, False, True]
    assert not allows(text, "/d", "other")


def test_odd_files() -> None:
    """A byte order mark, carriage returns, HTML in place of rules and an empty file are read for what they are."""
    assert not allows("\ufeffUser-agent: *\r\nDisallow: /a\r\n", "/a")
    assert allows("<!DOCTYPE html><p>Not found: sorry</p>", "/a")
    assert allows("", "/a")


def test_a_hostile_pattern_costs_little() -> None:
    """Many stars against a long path: linear, where a backtracking match would take ages."""
    started = time.process_time()
    assert allows(f"User-agent: *\nDisallow: /{'*a' * 200}*z$\n", "/" + "a" * 5000)
    assert time.process_time() - started < 0.5


def test_the_product_token_is_the_name() -> None:
    """The agent's name in robots.txt is what stands before the version."""
    assert product_token("wit/0.1 (+https://example.org/contact)") == "wit"
    assert product_token("Image-Bot 3") == "image-bot"
