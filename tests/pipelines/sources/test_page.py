"""Images and texts of HTML pages."""

from __future__ import annotations

import time
from collections import Counter
from html.parser import HTMLParser

import pytest

from pipelines.sources.charset import decode
from pipelines.sources.page import PageError, parse, source_set
from tests.support import real_data

PAGE = "http://example.org/a/page.html"


def found(body: str) -> list[tuple[str, str, str]]:
    return [tuple(each) for each in parse(body, PAGE)[1]]


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        ('<img src="a.jpg" alt="A dog">', ("a.jpg", "A dog", "img@alt")),
        ("<IMG SRC=a.jpg ALT='A &amp; B'/>", ("a.jpg", "A & B", "img@alt")),
        ('<img src="a.jpg" alt="" title="T">', ("a.jpg", "T", "img@title")),
        ('<img src="a.jpg" title="T">', ("a.jpg", "T", "img@title")),
        ('<img src="a.jpg" alt="A" title="T">', ("a.jpg", "A", "img@alt")),
        ('<img src="a.jpg" alt>', ("a.jpg", "", "img@alt")),
        ('<img data-src="l.jpg" alt="A">', ("l.jpg", "A", "img@alt")),
        ('<img src="data:image/gif;base64,R0" data-original="l.jpg" alt="A">', ("l.jpg", "A", "img@alt")),
        ('<img src="blank.gif" data-lazy-src="l.jpg" alt="A">', ("l.jpg", "A", "img@alt")),
        ('<img src="data:image/gif;base64,R0" data-srcset="l.jpg" alt="A">', ("l.jpg", "A", "img@alt")),
        ('<img src="s.jpg" srcset="s.jpg 320w, l.jpg 640w, m.jpg 500w" alt="A">', ("l.jpg", "A", "img@alt")),
        ('<img src="s.jpg" srcset="s.jpg, l.jpg 2x" alt="A">', ("l.jpg", "A", "img@alt")),
        ('<img src="s.jpg" srcset="other.jpg" alt="A">', ("s.jpg", "A", "img@alt")),
        (
            '<picture><source srcset="s.webp 1x, l.webp 3x"><img src="s.jpg" srcset="m.jpg 2x" alt="A"></picture>',
            ("l.webp", "A", "img@alt"),
        ),
        (
            '<meta property="og:image" content="o.jpg"><meta property="og:image:alt" content="O">',
            ("o.jpg", "O", "og:image"),
        ),
        (
            '<meta property="og:description" content="D"><meta property="og:image" content="o.jpg">',
            ("o.jpg", "D", "og:image"),
        ),
        (
            '<figure><a><img src="a.jpg"></a><figcaption>A <b>big</b>\n dog</figcaption></figure>',
            ("a.jpg", "A big dog", "figcaption"),
        ),
    ],
)
def test_an_image_and_its_text(tag: str, expected: tuple[str, str, str]) -> None:
    """Each way of writing an image gives its best address and its text."""
    assert found(f"<html><body>{tag}</body></html>") == [expected]


@pytest.mark.parametrize(
    "tag",
    [
        '<img src="a.jpg">',
        '<img alt="A">',
        "<!-- <img src=a alt=b> -->",
        "<script>'<img src=a alt=b>'</script>",
        '<meta property="og:image" content="o.jpg">',
        '<img src=" " alt="A">',
    ],
)
def test_no_candidate(tag: str) -> None:
    """An image without any text, or without an address, is none; nor are comments and scripts."""
    assert found(tag) == []


def test_a_figure_caption_counts_beside_another_text_only() -> None:
    """The same text twice is one candidate; another text is a second."""
    figure = '<figure><img src="a.jpg" alt="A dog"><figcaption>{}</figcaption></figure>'
    assert len(found(figure.format(" A  dog "))) == 1
    assert found(figure.format("Rex"))[1] == ("a.jpg", "Rex", "figcaption")


def test_the_base_is_the_first_base_with_an_address() -> None:
    """<base href> is resolved against the page, and a second one is ignored."""
    assert parse('<base target=x><base href="/b/"><base href="/c/">', PAGE)[0] == "http://example.org/b/"
    assert parse("<p>", PAGE)[0] == PAGE


def test_source_set_keeps_commas_in_addresses() -> None:
    """The candidates of a srcset by the HTML standard."""
    value = " a,b.jpg 1.5x,\n c.jpg,d.jpg 300w , e.jpg 100w 2x"
    assert source_set(value) == [((0, 1.5), "a,b.jpg"), ((300, 1), "c.jpg,d.jpg"), ((100, 2), "e.jpg")]
    assert source_set("a.jpg, b.jpg 2x") == [((0, 1), "a.jpg"), ((0, 2), "b.jpg")]
    assert source_set(" ,, ") == []


@pytest.mark.parametrize(
    ("body", "header", "text"),
    [
        ("é".encode("iso-8859-1"), "ISO-8859-1", "é"),
        ("“é”".encode("cp1252"), "iso-8859-1", "“é”"),
        ("é".encode("utf-16"), "utf-8", "é"),
        (b'<meta charset="windows-1251">' + "да".encode("cp1251"), None, '<meta charset="windows-1251">да'),
        (b'<meta charset="utf-16">' + "é".encode(), None, '<meta charset="utf-16">é'),
        ("é".encode(), None, "é"),
        ("é".encode("cp1252"), None, "é"),
        (b"+AGE-", "utf-7", "+AGE-"),
        (b"\\u0041", "unicode_escape", "\\u0041"),
        ("日本".encode("shift_jis"), "Shift_JIS", "日本"),
    ],
)
def test_charsets(body: bytes, header: str | None, text: str) -> None:
    """Byte order mark, then header, then <meta>, then UTF-8, then windows-1252; only the web's charsets."""
    assert decode(body, header) == text


@pytest.mark.parametrize("bomb", ["<div>" * 200_000, "<img " + " ".join(f"a{i}=1" for i in range(200_000)) + " alt=x>"])
def test_markup_bombs_are_refused_at_once(bomb: str) -> None:
    """Depth and attributes, which cost the parser quadratic time, are judged before it sees them."""
    started = time.monotonic()
    with pytest.raises(PageError, match="more than"):
        parse(bomb, PAGE)
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    "odd", ["<div>" * 4_000 + "<img src=a alt=b>", "<p>" * 30_000 + "<img src=a alt=b>", "<img src=a alt=b>" * 30_000]
)
def test_large_but_honest_markup_is_read(odd: str) -> None:
    """Deep, unclosed and long pages are no bombs."""
    assert found(odd)[0] == ("a", "b", "img@alt")


class Counting(HTMLParser):
    """Counts, with the standard library's tokeniser, the images that have an address and a text of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: (value or "").strip() for name, value in attrs}
        if tag == "img" and any(values.get(name) for name in ADDRESSES):
            if "alt" in values and (values["alt"] or not values.get("title")):
                self.counts["img@alt"] += 1
            elif "title" in values:
                self.counts["img@title"] += 1


ADDRESSES = ("src", "srcset", "data-srcset", "data-src", "data-original", "data-lazy-src")


def test_real_pages_agree_with_an_independent_parse() -> None:
    """On each of 87 real pages (1,970 <img>) the images with alt or title are those that html.parser counts."""
    pages = sorted(real_data("html", "readability").rglob("*.html"))
    total: Counter[str] = Counter()
    for page in pages:
        markup = decode(page.read_bytes(), None)
        independent = Counting()
        independent.feed(markup)
        ours = Counter(each.attribute for each in parse(markup, PAGE)[1])
        total += ours
        assert (ours["img@alt"], ours["img@title"]) == (independent.counts["img@alt"], independent.counts["img@title"])
    assert len(pages) == 87
    assert total == {"img@alt": 1188, "img@title": 19, "figcaption": 78, "og:image": 43}
