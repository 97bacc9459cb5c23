"""robots.txt, by the cases of RFC 9309 and beyond."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.fetching.robots import MAX_PATTERNS, Robots, _matches, forbid_all, parse, product_token


def allows(text: str, path: str, agent: str = "wit") -> bool:
    return parse(text, agent).allows(path)


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


RULES = st.lists(st.tuples(st.booleans(), st.text("/ab*$", min_size=1, max_size=6)), max_size=12)


@given(RULES, st.text("/ab", max_size=8))
def test_rules_tried_in_another_order_decide_alike(rules: list[tuple[bool, str]], path: str) -> None:
    """Prefixes looked up and patterns tried from the longest on give what trying every rule gives (RFC 9309, 2.2.2)."""
    matching = [(len(pattern), allows) for allows, pattern in rules if _matches(pattern, "/" + path)]
    assert Robots(tuple(rules)).allows("/" + path) == max(matching, default=(0, True))[1]


def test_a_vast_file_costs_little() -> None:
    """Forty thousand rules, read once, cost a URL next to nothing; thousands of patterns forbid all."""
    many = parse("User-agent: *\n" + "".join(f"Disallow: /{number}/\n" for number in range(40_000)), "wit")
    started = time.process_time()
    assert not any(many.allows(f"/{number}/a.jpg") for number in range(1000))
    assert all(many.allows(f"/x{number}/a.jpg") for number in range(1000))
    assert time.process_time() - started < 1
    patterns = [f"Allow: /*{number}\n" for number in range(MAX_PATTERNS + 1)]
    assert allows("User-agent: *\n" + "".join(patterns[:-1]), "/a.jpg")
    refused = parse("User-agent: *\n" + "".join(patterns), "wit")
    assert refused == forbid_all("robots.txt: more than 2000 patterns")
    assert not refused.allows("/a.jpg")


@pytest.mark.parametrize(
    ("text", "delay_s"),
    [
        ("User-agent: *\nCrawl-delay: 5", 5.0),
        ("User-agent: *\ncrawl-DELAY: 0.5 # half", 0.5),
        ("User-agent: *\nCrawl-delay: 5\nUser-agent: wit\nCrawl-delay: 2", 2.0),
        ("User-agent: *\nCrawl-delay: 5\nUser-agent: wit\nDisallow: /a", 0.0),
        ("User-agent: other\nCrawl-delay: 5\nUser-agent: *\nDisallow: /a", 0.0),
        ("User-agent: *\nCrawl-delay: 1\nUser-agent: *\nCrawl-delay: 3", 3.0),
        *((f"User-agent: *\nCrawl-delay: {said}", 0.0) for said in ("", "-1", "nan", "inf", "1e999", "soon", "1,5")),
        ("Crawl-delay: 5", 0.0),
        ("", 0.0),
    ],
)
def test_the_delay_that_is_asked(text: str, delay_s: float) -> None:
    """Crawl-delay of the group that names us, else of `*`; the longest of several; what is no number is none."""
    assert parse(text, "wit").crawl_delay_s == delay_s


def test_a_delay_does_not_part_groups() -> None:
    """Lines that the RFC does not know leave its reading as it is: both agents have the rule, one has the delay."""
    text = "User-agent: wit\nCrawl-delay: 5\nUser-agent: other\nDisallow: /a"
    assert not allows(text, "/a")
    assert not allows(text, "/a", "other")
    assert parse(text, "other").crawl_delay_s == 0


@given(st.text())
def test_any_text_is_rules(text: str) -> None:
    """Whatever a host calls robots.txt is read."""
    parse(text, "wit").allows("/a")
    parse("User-agent: *\nDisallow: " + text, "wit").allows("/a")


def test_the_product_token_is_the_name() -> None:
    """The agent's name in robots.txt is what stands before the version."""
    assert product_token("wit/0.1 (+https://example.org/contact)") == "wit"
    assert product_token("Image-Bot 3") == "image-bot"
