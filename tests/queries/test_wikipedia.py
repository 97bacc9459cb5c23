"""What a dump's head says of its wiki."""

from __future__ import annotations

import pytest

from queries.wikipedia import parse_header, site_of
from tests.queries.dumps import header
from wit.errors import InputError


def test_the_site_knows_its_namespaces() -> None:
    """A prefix names a namespace by the dump's own name or by one every edition understands; no other does."""
    site = parse_header(header(language="de", namespaces={0: "", 6: "Datei", 4: "Wikipedia"}).encode(), "a.xml")
    assert site.language == "de"
    titles = ("Datei:a", "file:a", "Image:a", "wikipedia:b", "2001: A", "Datei")
    assert [site.namespace(title) for title in titles] == [6, 6, 6, 4, 0, 0]


@pytest.mark.parametrize(("case", "capital"), [("first-letter", True), ("case-sensitive", False)])
def test_the_site_knows_whether_titles_begin_with_a_capital(case: str, capital: bool) -> None:
    """`<case>` says it; without one it is so, as in every Wikipedia."""
    xml = header(case=case)
    assert parse_header(xml.encode(), "a.xml").capital_links == capital
    assert parse_header(xml.replace(f"<case>{case}</case>", "").encode(), "a.xml").capital_links


def test_a_head_may_say_nothing() -> None:
    """Without siteinfo, or without any head, the namespaces are those that every edition has."""
    for head in (b'<mediawiki version="0.10">\n', b"", b"  \n"):
        assert parse_header(head, "a.xml") == site_of("", {})


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("</siteinfo>", "", "head cannot be read: mismatched tag"),
        ('key="1"', 'key="one"', "head cannot be read"),
        ('key="1"', "", "head cannot be read: 'key'"),
        ("<mediawiki", '<?xml version="1.0" encoding="ISO-8859-1"?><mediawiki', "found encoding 'ISO-8859-1'"),
    ],
)
def test_a_broken_head_is_named(old: str, new: str, found: str) -> None:
    """A head that is not well-formed, or in another encoding, is an InputError that names the file."""
    with pytest.raises(InputError, match=f"a.xml: .*{found}"):
        parse_header(header().replace(old, new, 1).encode(), "a.xml")


def test_the_site_knows_its_domain() -> None:
    """Page views name a wiki by its host, which is not always its language: Simple English is in English."""
    xml = header().replace("<sitename>", "<base>https://simple.wikipedia.org/wiki/Main_Page</base><sitename>")
    assert parse_header(xml.encode(), "a.xml").domain == "simple"
    assert parse_header(header().encode(), "a.xml").domain == ""
