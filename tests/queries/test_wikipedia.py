"""Dumps: every form they come in, and every way they can be broken."""

from __future__ import annotations

import bz2
from pathlib import Path

import pytest

from queries.wikipedia import Dump, Page, read_pages
from tests.queries.dumps import dump, header, multistream, page, write_all
from tests.support import real_data
from wit.errors import InputError

PAGES = [
    page("A & B", "x < y\n[[c]]", page_id=1),
    page("Old", "#REDIRECT [[A & B]]", page_id=2, redirect="A & B"),
    page("Talk:A & B", "hm", page_id=3, namespace=1),
    page("Some.json", "{}", page_id=4, model="json"),
    page("Last", "", page_id=5),
]
EXPECTED = [
    Page(1, 0, "A & B", None, "wikitext", "x < y\n[[c]]"),
    Page(2, 0, "Old", "A & B", "wikitext", "#REDIRECT [[A & B]]"),
    Page(3, 1, "Talk:A & B", None, "wikitext", "hm"),
    Page(4, 0, "Some.json", None, "json", "{}"),
    Page(5, 0, "Last", None, "wikitext", ""),
]


def test_every_form_gives_the_same_pages(tmp_path: Path) -> None:
    """XML, bz2 of one stream and of many, and gzip hold the same pages, entities decoded."""
    for file in write_all(tmp_path, PAGES):
        assert list(read_pages(str(file))) == EXPECTED, file.name


@pytest.mark.parametrize("block_bytes", [1, 300, 1000, 1 << 20])
def test_blocks_hold_whole_pages_whatever_their_size(tmp_path: Path, block_bytes: int) -> None:
    """Cut anywhere, the blocks hold every page once, in order."""
    file = tmp_path / "a.xml"
    file.write_bytes(dump(PAGES * 7))
    with Dump(str(file)) as opened:
        blocks = list(opened.blocks(block_bytes))
        assert opened.num_pages == 35
    assert b"".join(blocks).count(b"<page>") == 35
    assert all(block.count(b"<page>") == block.count(b"</page>") for block in blocks)


def test_export_0_10_without_siteinfo(tmp_path: Path) -> None:
    """An older export, and one whose head says nothing, are read."""
    file = tmp_path / "a.xml"
    file.write_bytes(b'<mediawiki version="0.10">\n' + "".join(PAGES).encode() + b"</mediawiki>")
    assert list(read_pages(str(file))) == EXPECTED
    file.write_bytes(dump(PAGES, version="0.10"))
    assert list(read_pages(str(file))) == EXPECTED


def test_a_later_revision_replaces_an_earlier_one(tmp_path: Path) -> None:
    """Of a page's history the last revision is the page; a comment or contributor's id is not the page's."""
    first, second = page("A", "old"), page("A", "new")
    revision = second[second.index("<revision>") : second.index("</revision>") + len("</revision>")]
    file = tmp_path / "a.xml"
    file.write_bytes(dump([first.replace("</revision>", "</revision>" + revision)]))
    assert list(read_pages(str(file))) == [Page(1, 0, "A", None, "wikitext", "new")]


def test_the_site_knows_its_namespaces(tmp_path: Path) -> None:
    """A prefix names a namespace by the dump's own name or by one every edition understands; no other does."""
    file = tmp_path / "a.xml"
    file.write_bytes(
        (header(language="de", namespaces={0: "", 6: "Datei", 4: "Wikipedia"}) + PAGES[0] + "</mediawiki>").encode()
    )
    with Dump(str(file)) as opened:
        site = opened.site
    assert site.language == "de"
    assert [site.namespace(title) for title in ("Datei:a", "file:a", "Image:a", "wikipedia:b", "2001: A", "Datei")] == [
        6,
        6,
        6,
        4,
        0,
        0,
    ]
    assert {"datei", "file", "image", "category"} <= site.link_rules().vanishing


WHOLE = dump(PAGES * 50)
BROKEN = {
    "empty": (b"", "empty file"),
    "not XML": (b"hello\n" * 10, "no <mediawiki>"),
    "HTML": (b"<html><body>404</body></html>", "no <mediawiki>"),
    "head only": (WHOLE[:200], "breaks off before the first page"),
    "no pages": (dump([]), "found none"),
    "cut inside a page": (WHOLE[:-300], "breaks off after 249 whole pages"),
    "cut after a page": (WHOLE[: -len("</mediawiki>\n")], "breaks off after 250 whole pages"),
    "bz2 cut short": (bz2.compress(WHOLE)[:-40], "damaged or cut short"),
    "bz2 stream missing": (multistream(PAGES)[:-60], "damaged or cut short"),
    "malformed XML": (dump([PAGES[0], PAGES[1].replace("</title>", "</titel>")]), "malformed XML"),
    "wrong charset": (WHOLE.replace(b"hm", b"h\xe4m"), "malformed XML"),
    "page without a namespace": (dump([PAGES[0].replace("<ns>0</ns>", "")]), "expected <title>, <ns> and <id>"),
    "malformed head": (WHOLE.replace(b"</siteinfo>", b""), "head cannot be read"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_dump_is_named(tmp_path: Path, name: str) -> None:
    """Each broken dump raises one InputError that names the file and says what was found."""
    data, found = BROKEN[name]
    file = tmp_path / "broken.xml"
    file.write_bytes(data)
    with pytest.raises(InputError, match=found) as caught:
        list(read_pages(str(file)))
    assert str(file) in str(caught.value)


def test_damage_in_the_middle_of_a_bz2_is_named(tmp_path: Path) -> None:
    """A flipped byte in the compressed data is an InputError, not a silent loss."""
    data = bytearray(bz2.compress(WHOLE))
    data[len(data) // 2] ^= 0xFF
    file = tmp_path / "broken.xml.bz2"
    file.write_bytes(data)
    with pytest.raises(InputError, match="damaged or cut short"):
        list(read_pages(str(file)))


def test_a_missing_dump_is_named(tmp_path: Path) -> None:
    """A path with nothing there, and a folder, are InputErrors."""
    with pytest.raises(InputError, match="found nothing"):
        Dump(str(tmp_path / "none.xml"))
    with pytest.raises(InputError, match="found a folder"):
        Dump(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "pages", "articles", "redirects"),
    [
        ("enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2", 206, 205, 100),
        ("enwiki-table-markup.xml.bz2", 5, 5, 0),
        ("testcorpus.xml.bz2", 9, 9, 0),
    ],
)
def test_real_dumps_hold_the_pages_that_are_documented(name: str, pages: int, articles: int, redirects: int) -> None:
    """Pages, pages of namespace 0 and redirects of the real dumps are as their source says."""
    found = list(read_pages(str(real_data("wiki", name))))
    assert len(found) == pages
    assert sum(page.namespace == 0 for page in found) == articles
    assert sum(page.redirect is not None for page in found) == redirects
