"""The miniature encyclopedia as Wikipedia publishes its own: export-0.11 XML, bz2 multistream, and its index.

The first stream holds the opening tag and the site's information, each further one a hundred pages, the last the
closing tag. A line of the index is `offset:page id:title`: where in the file the page's stream begins, and the title as
escaped in the XML.
"""

from __future__ import annotations

import bz2
import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

from wit.sample.prose import Article
from wit.sample.titles import REDIRECTS
from wit.sample.wikitext import canary, write_wikitext
from wit.storage import join, publish_bytes

DUMP = "samplewiki-pages-articles-multistream.xml.bz2"
INDEX = "samplewiki-pages-articles-multistream-index.txt.bz2"
PAGES_A_STREAM = 100

NAMESPACES = {
    -2: "Media",
    -1: "Special",
    0: "",
    1: "Talk",
    2: "User",
    3: "User talk",
    4: "Wikipedia",
    5: "Wikipedia talk",
    6: "File",
    7: "File talk",
    8: "MediaWiki",
    9: "MediaWiki talk",
    10: "Template",
    11: "Template talk",
    12: "Help",
    13: "Help talk",
    14: "Category",
    15: "Category talk",
    100: "Portal",
    101: "Portal talk",
    118: "Draft",
    119: "Draft talk",
    828: "Module",
    829: "Module talk",
}


@dataclass(frozen=True)
class Page:
    """One page of the dump; `text` is None where it was deleted from the record."""

    title: str
    namespace: int
    text: str | None
    redirect: str | None = None
    model: str = "wikitext"


def _pages(articles: Sequence[Article], rng: random.Random) -> list[Page]:
    """Return all pages: the articles in their order, and between them redirects and the pages of other namespaces."""
    pages = [Page(article.title, 0, write_wikitext(article, rng)) for article in articles]
    others = [
        Page(title, 0, f"#REDIRECT [[{target}]]\n\n{{{{R from other name}}}} {canary(rng)}", redirect=target)
        for title, target in REDIRECTS.items()
    ]
    for article in articles[::7]:
        others.append(
            Page(f"Talk:{article.title}", 1, f"== {canary(rng)} ==\nI doubt the {canary(rng)}. [[User:Amberlin]]")
        )
    for number in range(12):
        others.append(
            Page(f"Template:Box {number}", 10, f"<noinclude>{canary(rng)}</noinclude>{{{{{{1|{canary(rng)}}}}}}}")
        )
        others.append(Page(f"Category:Orchard {number}", 14, f"{canary(rng)} [[Category:Velvet]]"))
        others.append(Page(f"File:Orchard {number}.jpg", 6, f"== Summary ==\n{canary(rng)}"))
    others += [
        Page("User:Amberlin", 2, f"I write about {canary(rng)}."),
        Page("User:Amberlin/common.js", 2, f"/* {canary(rng)} */ importScript('velvet');", model="javascript"),
        Page("Wikipedia:About", 4, f"This encyclopedia is about {canary(rng)}."),
        Page("Category:Birds", 14, f"All {canary(rng)}."),
        Page("Module:Velvet", 828, f"return '{canary(rng)}'", model="Scribunto"),
        Page("Deleted history", 0, None),
    ]
    for page in others:
        pages.insert(rng.randrange(len(pages) + 1), page)
    return pages


def _base36(number: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[digit] + digits
    return digits.rjust(31, "0")


def _text_element(page: Page) -> str:
    if page.text is None:
        return '      <text bytes="0" deleted="deleted" />\n      <sha1 />\n'
    data = page.text.encode()
    sha1 = _base36(int.from_bytes(hashlib.sha1(data, usedforsecurity=False).digest()))
    text = escape(page.text, {'"': "&quot;"})
    return (
        f'      <text bytes="{len(data)}" sha1="{sha1}" xml:space="preserve">{text}</text>\n      <sha1>{sha1}</sha1>\n'
    )


def _page_element(page: Page, page_id: int) -> str:
    redirect = f"    <redirect title={quoteattr(page.redirect)} />\n" if page.redirect else ""
    contributor = f"<ip>192.0.2.{page_id % 250}</ip>" if page_id % 5 == 0 else "<username>Amberlin</username><id>7</id>"
    return (
        f"  <page>\n    <title>{_escape_title(page.title)}</title>\n    <ns>{page.namespace}</ns>\n"
        f"    <id>{page_id}</id>\n{redirect}"
        f"    <revision>\n      <id>{page_id + 900_000}</id>\n      <parentid>{page_id + 800_000}</parentid>\n"
        f"      <timestamp>2024-01-{page_id % 28 + 1:02d}T12:00:00Z</timestamp>\n"
        f"      <contributor>{contributor}</contributor>\n      <comment>copy-edit of an [[orchard]]</comment>\n"
        f"      <origin>{page_id + 900_000}</origin>\n      <model>{page.model}</model>\n"
        f"      <format>text/x-wiki</format>\n"
        f"{_text_element(page)}    </revision>\n  </page>\n"
    )


def _escape_title(title: str) -> str:
    return escape(title, {'"': "&quot;"})


def _header() -> str:
    lines = [
        '<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
        ' xsi:schemaLocation="http://www.mediawiki.org/xml/export-0.11/ http://www.mediawiki.org/xml/export-0.11.xsd"'
        ' version="0.11" xml:lang="en">',
        "  <siteinfo>",
        "    <sitename>Sample</sitename>",
        "    <dbname>samplewiki</dbname>",
        "    <base>https://en.wiki.example/wiki/Main_Page</base>",
        "    <generator>wit sample</generator>",
        "    <case>first-letter</case>",
        "    <namespaces>",
    ]
    for key, name in NAMESPACES.items():
        closing = f">{name}</namespace>" if name else " />"
        lines.append(f'      <namespace key="{key}" case="first-letter"{closing}')
    return "\n".join([*lines, "    </namespaces>", "  </siteinfo>", ""])


def write_wiki(folder: str, articles: Sequence[Article], seed: int) -> None:
    """Write the dump and its index under `folder`/wiki; the same bytes for the same articles and seed."""
    numbered = list(enumerate(_pages(articles, random.Random(f"wiki {seed}")), start=10))
    dump = bz2.compress(_header().encode())
    index = []
    for start in range(0, len(numbered), PAGES_A_STREAM):
        stream = numbered[start : start + PAGES_A_STREAM]
        index += [f"{len(dump)}:{page_id}:{_escape_title(page.title)}\n" for page_id, page in stream]
        dump += bz2.compress("".join(_page_element(page, page_id) for page_id, page in stream).encode())
    publish_bytes(join(folder, "wiki", DUMP), dump + bz2.compress(b"</mediawiki>\n"))
    publish_bytes(join(folder, "wiki", INDEX), bz2.compress("".join(index).encode()))
