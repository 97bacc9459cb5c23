"""Images and texts of HTML pages."""

from __future__ import annotations

import time
from collections import Counter
from html.parser import HTMLParser

import pytest

from pipelines.sources.charset import decode
from pipelines.sources.page import LAZY_SOURCES, SOURCE_SETS, PageError, parse, source_set
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
            '<meta property="og:image" content="o.jpg"><meta property="og:image:secure_url" content="s.jpg">'
            '<meta name="og:image:alt" content="O">',
            ("o.jpg", "O", "og:image"),
        ),
        (
            '<meta property="og:image:url" content="o.jpg"><meta property="og:description" content="D">',
            ("o.jpg", "D", "og:image"),
        ),
        (
            '<meta name="twitter:image:src" content="t.jpg"><meta name="twitter:image:alt" content="T">'
            '<meta property="og:description" content="D">',
            ("t.jpg", "T", "twitter:image"),
        ),
        ('<img src="a.jpg" alt="" aria-label="L">', ("a.jpg", "L", "img@aria-label")),
        (
            '<img src="a.jpg" aria-labelledby="p q"><b id=q>Q</b><i id=p>P <u>R</u></i>',
            ("a.jpg", "P R Q", "img@aria-labelledby"),
        ),
        (
            '<span role="img" aria-label="L"><i><img src="a.jpg" alt=""></i></span>',
            ("a.jpg", "L", "role=img@aria-label"),
        ),
        ('<img src="a.jpg" data-lazy="true" alt="A">', ("a.jpg", "A", "img@alt")),
        ('<img src="a.jpg" data-lazy=\'[{"src": "b.jpg"}]\' alt="A">', ("a.jpg", "A", "img@alt")),
        ('<img data-src="l.jpg" alt="A"><noscript><img src="l.jpg" alt="A"></noscript>', ("l.jpg", "A", "img@alt")),
        ('<img alt="A" class="lazy"><noscript><img src="l.jpg" alt="A"></noscript>', ("l.jpg", "A", "img@alt")),
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
        (b"<p>" * 2_000 + b"<meta charset=koi8-r>\xc1", None, "<p>" * 2_000 + "<meta charset=koi8-r>а"),
        (b"<?xml version='1.0' encoding='koi8-r'?>\xc1", None, "<?xml version='1.0' encoding='koi8-r'?>а"),
        (b"+AGE-", "utf-7", "+AGE-"),
        (b"\\u0041", "unicode_escape", "\\u0041"),
        ("日本".encode("shift_jis"), "Shift_JIS", "日本"),
    ],
)
def test_charsets(body: bytes, header: str | None, text: str) -> None:
    """Byte order mark, then header, then <meta>, then UTF-8, then windows-1252; only the web's charsets."""
    assert decode(body, header) == text


def test_a_label_of_several_images_is_none_of_theirs() -> None:
    """An element with role=img that holds two images names the picture they make, not one of them."""
    two = '<div role="img" aria-label="L"><img src="a.jpg" alt=""><img src="b.jpg" alt=""></div>'
    assert [text for _, text, _ in found(two)] == ["", ""]


BOMBS = {
    "depth": "<div>" * 200_000,
    "formatting": "<b><a>" * 100_000,
    "formatting, no two alike": "".join(f"<font a={number}>" for number in range(80_000)),
    "lists": "<ul><li>" * 100_000,
    "paragraphs that begin by their end": "<i></p>" * 100_000,
    "ends that match nothing": "<span>" * 5_000 + "</x>" * 400_000,
    "ends in quotes": "<div x='</div>'>" * 100_000,
    "ends in comments": "<div><!-- </div> -->" * 100_000,
    "elements in svg's style": "<svg><style>" + "<g>" * 100_000,
    "attributes": "<img " + " ".join(f"a{number}=1" for number in range(200_000)) + " alt=x>",
    "attributes between slashes": "<img " + "/".join(f"a{number}" for number in range(200_000)) + ">",
    "attributes after quotes": "<img " + "".join(f"a{number}=''" for number in range(200_000)) + ">",
    "attributes with signs": "<img " + " ".join(f"a{number}='<'" for number in range(200_000)) + ">",
    "attributes of many bodies": "".join(f"<body a{number}=1>" for number in range(100_000)),
    "a caption around a caption": "<figure><figcaption>" * 20_000 + "<img src=a alt=b>" + "x" * 1_000_000,
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_markup_bombs_are_refused_at_once(bomb: str) -> None:
    """Depth and attributes, which cost the parser quadratic time, are judged before it sees them."""
    started = time.monotonic()
    with pytest.raises(PageError, match="more than"):
        parse(BOMBS[bomb], PAGE)
    assert time.monotonic() - started < 5


HEAVY = {
    "a caption for all": "<figure>" + "<img src=a alt=b>" * 50_000 + "<figcaption>" + "x" * 50_000 + "</figure>",
    "four bytes a character": "<figure>" + "<img src=a>" * 1_500 + "<figcaption>" + "\U0001f600" * 15_000 + "</figure>",
    "a label for all": "<p id=q>" + "x" * 1_000_000 + "</p>" + "<img src=a aria-labelledby=q>" * 1_000,
    "a label of all": "".join(f"<div id=q{number}>" for number in range(4_000))
    + "x" * 1_000_000 + "<img src=a aria-labelledby='" + " ".join(f"q{number}" for number in range(4_000)) + "'>",
}  # fmt: skip


@pytest.mark.parametrize("page", HEAVY)
def test_texts_that_multiply_are_refused(page: str) -> None:
    """One text beside a thousand images does not become a gigabyte."""
    with pytest.raises(PageError, match="texts of more than"):
        parse(HEAVY[page], PAGE)


LARGE = {
    "deep": "<div>" * 4_000 + "<img src=a alt=b>",
    "unclosed": "<p>" * 30_000 + "<img src=a alt=b>",
    "long": "<img src=a alt=b>" * 30_000,
    "a line": "<p>" + "word " * 1_600_000 + "<img src=a alt=b>",
    "a text": "<img src=a alt=b title='" + "x" * 8_000_000 + "'>",
    "an svg drawing": "<svg>" + "<path d='M0'/>" * 9_000 + "</svg><img src=a alt=b>",
    "a script": "<script>" + "'<div>'+" * 100_000 + "</script><img src=a alt=b>",
    "sources": "<picture>" + "<source srcset='a 1x'>" * 40_000 + "<img src=a alt=b>" * 40_000,
    "commas": "<img src=a alt=b srcset='" + "," * 2_000_000 + "'>",
    "lazy": "<img src=a alt=b data-src='" + "x.y?" * 1_000_000 + "{'>",
    "references": "<img src=a alt=b title='"
    + "&amp;" * 1_000_000
    + "&"
    + "a" * 1_000_000
    + ";&#"
    + "9" * 1_000_000
    + "'>",
}


@pytest.mark.parametrize("odd", LARGE)
def test_large_but_honest_markup_is_read(odd: str) -> None:
    """Deep, unclosed and long pages are no bombs, and take seconds at most."""
    started = time.monotonic()
    assert found(LARGE[odd])[0] == ("a", "b", "img@alt")
    assert time.monotonic() - started < 10


def test_signs_that_no_text_should_hold_pass_through() -> None:
    """Nulls, control and bidirectional characters are the caption's own, and folded later; half a pair is "?"."""
    assert found("<img src=a alt='x\0y\x01\u202ez'>") == [("a", "x\ufffdy\x01\u202ez", "img@alt")]
    assert found("<img src=a alt='x\ud800'>") == [("a", "x?", "img@alt")]


class Counting(HTMLParser):
    """Counts, with the standard library's tokeniser, the images that have an address and a text of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()
        self.in_noscript = False
        self.copies = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: (value or "").strip() for name, value in attrs}
        self.in_noscript |= tag == "noscript"
        if tag == "img" and any(values.get(name) for name in ("src", *SOURCE_SETS, *LAZY_SOURCES)):
            labels = (values.get("aria-label"), values.get("aria-labelledby"))
            if values.get("alt") or ("alt" in values and not values.get("title") and not any(labels)):
                self.counts["img@alt"] += 1
                self.copies += self.in_noscript
            elif "title" in values:
                self.counts["img@title"] += 1

    def handle_endtag(self, tag: str) -> None:
        self.in_noscript &= tag != "noscript"


def test_real_pages_agree_with_an_independent_parse() -> None:
    """On each of 87 real pages the images with alt or title are those that html.parser counts, but for copies.

    The texts of 15 images stand once more in a <noscript>.
    """
    pages = sorted(real_data("html", "readability").rglob("*.html"))
    total: Counter[str] = Counter()
    missing = 0
    for page in pages:
        markup = decode(page.read_bytes(), None)
        independent = Counting()
        independent.feed(markup)
        ours = Counter(each.attribute for each in parse(markup, PAGE)[1])
        total += ours
        assert ours["img@title"] == independent.counts["img@title"]
        less = independent.counts["img@alt"] - ours["img@alt"]
        assert 0 <= less <= independent.copies
        missing += less
    assert len(pages) == 87
    assert missing == 15
    assert total == {"img@alt": 1173, "img@title": 19, "figcaption": 77, "og:image": 43, "twitter:image": 1}
