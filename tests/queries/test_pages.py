"""Pages: what MediaWiki writes, what it might, and what nobody should."""

from __future__ import annotations

import random
from xml.parsers import expat

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from queries import pages
from queries.entities import unescape
from queries.pages import is_utf8, scan_pages
from queries.wikipedia import DAMAGE_REASONS, Chunk
from tests.queries.dumps import page


def _scan(xml: str | bytes) -> Chunk:
    return scan_pages(xml.encode() if isinstance(xml, str) else xml, "a.xml", 0, exact=True)


def _texts(chunk: Chunk) -> list[str]:
    pairs = zip(chunk.offsets[:-1].tolist(), chunk.offsets[1:].tolist(), strict=True)
    return [chunk.text[start:end].tobytes().decode() for start, end in pairs]


def _reasons(chunk: Chunk) -> list[str]:
    assert all(each.reason in DAMAGE_REASONS for each in chunk.damage)
    return [each.reason for each in chunk.damage]


REAL = """  <page>
    <title>A &amp; B</title>
    <ns>0</ns>
    <id>10</id>
    <restrictions>edit=autoconfirmed</restrictions>
    <revision>
      <id>1219062925</id>
      <parentid>1219062840</parentid>
      <timestamp>2024-04-15T14:38:04Z</timestamp>
      <contributor>
        <username>Asparagusus</username>
        <id>43603280</id>
      </contributor>
      <minor />
      <comment>Restored &amp; &lt;b&gt;</comment>
      <origin>1219062925</origin>
      <model>wikitext</model>
      <format>text/x-wiki</format>
      <text bytes="11" sha1="8kul" xml:space="preserve">x &lt; y &quot;z&quot;</text>
      <sha1>8kul9tlwjm9oxgvqzbwuegt9b2830vw</sha1>
    </revision>
  </page>
"""
"""A page as MediaWiki 1.42 writes it, export 0.11."""

WITHOUT = {
    "0.10": [("      <origin>1219062925</origin>\n", ""), (' sha1="8kul"', "")],
    "anonymous": [("<username>Asparagusus</username>\n        <id>43603280</id>", "<ip>127.0.0.1</ip>")],
    "no username": [("<username>Asparagusus</username>", "<username />")],
    "hidden": [
        ("<comment>Restored &amp; &lt;b&gt;</comment>", '<comment deleted="deleted" />'),
        ("<sha1>8kul9tlwjm9oxgvqzbwuegt9b2830vw</sha1>", "<sha1 />"),
    ],
    "first revision": [("      <parentid>1219062840</parentid>\n      ", ""), ("      <minor />\n", "")],
    "structured data": [
        (
            "      <sha1>8kul9",
            "      <content>\n        <role>mediainfo</role>\n        <origin>5</origin>\n        <model>x</model>\n"
            '        <format>application/json</format>\n        <text bytes="2" xml:space="preserve">{}</text>\n'
            "      </content>\n      <sha1>8kul9",
        )
    ],
}


@pytest.mark.parametrize("name", ["0.11", *WITHOUT])
def test_pages_as_mediawiki_writes_them_are_not_parsed_one_by_one(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every page that MediaWiki writes is read by the fast way, entities decoded."""
    xml = REAL
    for old, new in WITHOUT.get(name, []):
        assert old in xml
        xml = xml.replace(old, new)
    slow = _scan(xml.replace("</revision>", "<!-- --></revision>"))
    monkeypatch.delattr(pages, "_PageReader")
    chunk = _scan(xml)
    assert (chunk.titles, _texts(chunk), chunk.damage) == (["A & B"], ['x < y "z"'], [])
    assert (slow.titles, _texts(slow), slow.damage) == (chunk.titles, _texts(chunk), [])


def test_a_hidden_text_is_an_empty_article() -> None:
    """A text that was deleted, or is empty, leaves an article without text."""
    start, end = REAL.index("<text"), REAL.index("</text>") + len("</text>")
    for text in ('<text bytes="0" deleted="deleted" />', '<text bytes="0" xml:space="preserve" />', "<text></text>"):
        chunk = _scan(REAL[:start] + text + REAL[end:])
        assert (chunk.titles, _texts(chunk), chunk.damage) == (["A & B"], [""], [])


def test_pages_are_told_apart_by_kind() -> None:
    """Text is that of articles; titles those of namespace 0; redirects have their targets; kinds count every page."""
    chunk = _scan(
        page("A & B", "one")
        + page('Old "x"', "#REDIRECT", redirect='A & "B"')
        + page("Talk:A", "hm", namespace=1)
        + page("Talk:Old", "#REDIRECT", namespace=1, redirect="Talk:A")
        + page("Some.json", "{}", model="json")
        + page("Z", "two\n")
        + page("No model", "three").replace("<model>wikitext</model>", "")
    )
    assert chunk.titles == ["A & B", "Some.json", "Z", "No model"]
    assert _texts(chunk) == ["one", "two\n", "three"]
    assert chunk.redirects == [('Old "x"', 'A & "B"')]
    assert chunk.kinds == {"article": 3, "redirect": 1, "other_namespace": 2, "other_model": 1}
    assert chunk.damage == []


IRREGULAR = {
    "CDATA": (">b &lt; c<", "><![CDATA[b < c]]><"),
    "part CDATA": (">b &lt; c<", ">b <![CDATA[<]]> c<"),
    "comment": (">b &lt; c<", ">b &lt;<!-- & --> c<"),
    "single quotes": ('xml:space="preserve"', "xml:space='preserve'"),
    "another order": ("<ns>0</ns>\n    <id>1</id>", "<id>1</id>\n<ns>0</ns>"),
    "another element": ("<ns>0</ns>", "<ns>0</ns><unknown a='b'><c/></unknown>"),
    "entity in the title": ("<title>A</title>", "<title>&#65;</title>"),
    "Windows line ends": ("\n", "\r\n"),
    "references": ("b &lt; c", "&#98; &#x3C;&#x20;c"),
    "an earlier revision": ("<revision>", "<revision><model>css</model><text>old</text></revision><revision>"),
    "another slot before": ("<model>", "<content><model>x</model><text>y</text></content><model>"),
    "no id": ("    <id>1</id>\n", ""),
}


@pytest.mark.parametrize("name", IRREGULAR)
def test_pages_that_look_different_say_the_same(name: str) -> None:
    """Legal XML that MediaWiki does not write gives the same page."""
    old, new = IRREGULAR[name]
    plain = page("A", "b < c")
    xml = plain.replace(old, new)
    assert xml != plain
    chunk = _scan(page("First", "1") + xml + page("Last", "2"))
    assert (chunk.titles, _texts(chunk), chunk.damage) == (["First", "A", "Last"], ["1", "b < c", "2"], [])


BROKEN = {
    "unknown entity": ("b", "&nbsp;", "malformed_page"),
    "bare ampersand": ("b", "& b", "malformed_page"),
    "reference to no character": ("b", "&#0;", "malformed_page"),
    "reference beyond Unicode": ("b", "&#x110000;", "malformed_page"),
    "control character": ("b", "\x01", "malformed_page"),
    "NUL": ("b", "\0", "malformed_page"),
    "wrong end": ("</title>", "</titel>", "malformed_page"),
    "element in the text": ("b<", "<b><", "malformed_page"),
    "a page within": ("b<", "b<page><", "malformed_page"),
    "no namespace": ("<ns>0</ns>", "", "missing_fields"),
    "a namespace that is no number": ("<ns>0</ns>", "<ns>--1</ns>", "missing_fields"),
    "a namespace of many digits": ("<ns>0</ns>", f"<ns>{'1' * 5000}</ns>", "missing_fields"),
    "no title": ("<title>A</title>", "", "missing_fields"),
    "empty title": ("<title>A</title>", "<title></title>", "missing_fields"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_page_is_named_and_costs_no_other(name: str) -> None:
    """One page that cannot be read is one damage with its place and, when there is one, its title."""
    old, new, reason = BROKEN[name]
    first, last = page("First", "1"), page("Last", "2")
    xml = page("A", "b").replace(old, new)
    chunk = _scan(first + xml + last)
    assert (chunk.titles, _texts(chunk), _reasons(chunk)[:1]) == (["First", "Last"], ["1", "2"], [reason])
    assert chunk.damage[0].offset == len(first) + xml.index("<page>")
    assert ("'A'" in chunk.damage[0].detail) == ("<title>A</title>" in xml)
    assert chunk.kinds == {"article": 2}


def test_bytes_that_are_not_utf8_cost_the_page_they_are_in() -> None:
    """A Latin-1 byte, an overlong form, a surrogate and a cut character each lose one page."""
    bad = [b"\xe4", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", "ä".encode()[:1]]
    good = [page(f"Gööd {number}", "ß😀").encode() for number in range(len(bad))]
    broken = [page(f"Bad {number}", "@").encode().replace(b"@", each) for number, each in enumerate(bad)]
    chunk = _scan(b"".join(one + other for one, other in zip(good, broken, strict=True)))
    assert _reasons(chunk) == ["bad_encoding"] * len(bad)
    assert [f"'Bad {number}'" in each.detail for number, each in enumerate(chunk.damage)] == [True] * len(bad)
    assert _texts(chunk) == ["ß😀"] * len(bad)


def test_a_page_without_end_ends_where_the_next_begins() -> None:
    """Of pages that begin and do not end, the one that is whole is read; the others are counted."""
    open_page = page("Open", "x").replace("</page>", "")
    chunk = _scan(open_page * 3 + page("A", "b") + open_page + page("C", "d"))
    assert chunk.titles == ["A", "C"]
    assert [each.pages for each in chunk.damage] == [3, 1]
    many = _scan("<page>" * 100_000 + page("A", "b"))
    assert (many.titles, [each.pages for each in many.damage]) == (["A"], [100_000])


def test_a_page_that_is_too_long_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page beyond the limit is damage, whether it is regular or not."""
    monkeypatch.setattr(pages, "MAX_PAGE_BYTES", 1000)
    chunk = _scan(page("A", "b" * 900) + page("B", "c") + page("C", "b" * 900).replace("<ns>", "<!-- --><ns>"))
    assert (chunk.titles, _reasons(chunk)) == (["B"], ["page_too_long"] * 2)


@pytest.mark.parametrize(
    ("between", "harmless"),
    [
        ("\n \t\r\n", True),
        ("<!-- a -- comment -->\n<?pi?>", True),
        ("</mediawiki>\n<?xml version='1.0'?>\n<mediawiki version='0.11'><siteinfo><a>b</a></siteinfo>", True),
        ("stray", False),
        ("<logitem><id>1</id></logitem>", False),
        ("<!--" * 10_000, False),
        ('<page id="1"><title>X</title></page>', False),
    ],
)
def test_what_stands_between_pages_is_told_unless_it_says_nothing(between: str, harmless: bool) -> None:
    """White space, comments and the seam of files that were concatenated are passed over; anything else is damage."""
    chunk = _scan(page("A", "b").strip() + between + page("C", "d"))
    assert chunk.titles == ["A", "C"]
    assert (_reasons(chunk) == []) == harmless


PIECES = st.one_of(
    st.sampled_from(
        ["&lt;", "&gt;", "&amp;", "&quot;", "&apos;", "&#10;", "&#x1F600;", "&#xe4;", "&#13;", "\r\n", "\r", "\n", "\t"]
    ),
    st.sampled_from(
        ["&", ";", "&lt", "&#;", "&#x;", "&#xD800;", "&#xFFFE;", "&AMP;", "&#1;", "&#X41;", "&#65", "\x0b"]
    ),
    st.text(st.characters(exclude_characters="<\ufffe\uffff", exclude_categories=["Cs"]), max_size=40),
)


@given(st.lists(st.lists(PIECES, max_size=12).map("".join), max_size=5))
@example(["a" * 31 + "&", "&" + "b" * 40, "&#00000000000000000000065;", "&#99999999999999999999999;", "]]&gt;", ""])
@settings(max_examples=400, deadline=None)
def test_unescaping_is_what_expat_does(spans: list[str]) -> None:
    """Each span gives the text that expat makes of it, or is not well-formed where expat says so."""
    spans = [span.replace("]]>", "") for span in spans]
    encoded = [span.encode() for span in spans]
    ends = np.cumsum([0, *map(len, encoded)])
    text, offsets, well_formed = unescape(b"".join(encoded), ends[:-1].astype(np.int64), ends[1:].astype(np.int64))
    for index, span in enumerate(encoded):
        expected = _by_expat(span)
        assert well_formed[index] == (expected is not None), span
        assert text[offsets[index] : offsets[index + 1]].tobytes().decode() == (expected or "")


def _by_expat(span: bytes) -> str | None:
    parser = expat.ParserCreate("utf-8")
    data: list[str] = []
    parser.CharacterDataHandler = data.append
    try:
        parser.Parse(b"<a>" + span + b"</a>", True)
    except expat.ExpatError:
        return None
    return "".join(data)


def test_utf8_is_checked_across_the_steps_it_is_checked_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Characters that lie on the border of two steps are valid, broken ones are not, at every place."""
    monkeypatch.setattr(pages, "_DECODED_BYTES", 5)
    rng = random.Random(3)
    for _ in range(200):
        data = "".join(rng.choices("aäα€😀", k=12)).encode()
        assert is_utf8(data)
        cut = data[: rng.randrange(len(data))]
        assert is_utf8(cut) == (cut.decode(errors="replace").count("\ufffd") == 0)
        broken = data + b"\xff" + data
        assert not is_utf8(broken)
