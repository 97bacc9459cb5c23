"""Whole pages of a dump's XML to wikitext, titles and redirects: export 0.10, 0.11, and others that look alike.

A page as MediaWiki writes it is recognised as a whole by two regular expressions, and its text is decoded together with
that of all others in its chunk. A page that looks any different (CDATA, comments, several revisions, another order of
elements) goes through expat alone; if that fails, it is damage, named and counted, and the others are not touched.

Two things are let through that XML forbids: "]]>" in text, and the noncharacters U+FFFE and U+FFFF. Control characters
are not: a page that holds one is malformed. What is not read (user names, comments) is not checked.
"""

from __future__ import annotations

import codecs
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple
from xml.parsers import expat

import numpy as np

from queries.wikipedia import Chunk, Damage

if TYPE_CHECKING:
    import numpy.typing as npt

    U8 = npt.NDArray[np.uint8]
    I64 = npt.NDArray[np.int64]

PAGE_START, PAGE_END, DUMP_END = b"<page>", b"</page>", b"</mediawiki>"
MAX_PAGE_BYTES = 64 << 20  # MediaWiki stops a page at 2 MiB of text; beyond this the file is no dump
NAMED_BYTES = 1 << 16  # a page's title stands in its first lines
_DECODED_BYTES = 1 << 18  # decoded at a time to check UTF-8: stays in the cache

# What may stand between pages: a head, also in the middle of files that were concatenated, and nothing that is content.
_INERT = re.compile(
    rb"\s++|\xef\xbb\xbf|<\?.*?\?>|<!--.*?-->|<mediawiki\b[^>]*+>|</mediawiki>|<siteinfo>.*?</siteinfo>", re.DOTALL
)

# A group that is repeated is atomic, (?>(?:...)*), never (?:...)*+: Python 3.11.2 ends that too late.
_NAME = rb"([^<\x00-\x1f]++)"
_PAGE_HEAD = re.compile(
    rb"<page>\s*+<title>" + _NAME + rb"</title>\s*+<ns>(\d{1,9})</ns>\s*+(?:<id>\d++</id>\s*+)?"
    rb'(?:<redirect title="([^"<\x00-\x1f]*+)"\s*+/>\s*+)?(?:<restrictions>[^<]*+</restrictions>\s*+)?'
    rb"<revision>\s*+(?:<id>\d++</id>\s*+)?(?:<parentid>\d++</parentid>\s*+)?"
    rb"(?:<timestamp>[^<]*+</timestamp>\s*+)?"
    rb'(?:<contributor deleted="deleted"\s*+/>\s*+|<contributor>\s*+(?>(?:(?:<username>[^<]*+</username>'
    rb"|<username\s*+/>|<id>\d*+</id>|<ip>[^<]*+</ip>|<ip\s*+/>)\s*+)*)</contributor>\s*+)?"
    rb'(?:<minor\s*+/>\s*+)?(?:<comment(?:>[^<]*+</comment>| deleted="deleted"\s*+/>)\s*+)?'
    rb"(?:<origin>\d++</origin>\s*+)?(?:<model>" + _NAME + rb"</model>\s*+)?(?:<format>[^<]*+</format>\s*+)?"
    rb'<text(?>(?: [\w:]++="[^"<]*+")*)\s*+(/?)>'
)
"""A page up to its text: title, namespace, redirect's target, model, "/" when the text is empty."""

# 0.11 writes slots other than the main one in <content>, after the main one (Commons: the structured data of a file).
_PAGE_REST = re.compile(
    rb"\s*+(?>(?:<content>\s*+<role>[^<]*+</role>\s*+(?:<origin>\d++</origin>\s*+)?<model>[^<]*+</model>\s*+"
    rb'<format>[^<]*+</format>\s*+<text(?>(?: [\w:]++="[^"<]*+")*)\s*+(?:/>|>[^<]*+</text>)\s*+</content>\s*+)*)'
    rb"(?:<sha1>[^<]*+</sha1>\s*+|<sha1\s*+/>\s*+)?</revision>\s*+</page>"
)
_REFERENCE = re.compile(rb"&(?:(lt|gt|amp|quot|apos);)?")
_ENTITIES = {b"lt": b"<", b"gt": b">", b"amp": b"&", b"quot": b'"', b"apos": b"'"}
_NAMESPACE = re.compile(r"\s*-?[0-9]{1,9}\s*")
_TITLE = re.compile(rb"<title>([^<]*+)</title>")


class _Page(NamedTuple):
    title: str
    namespace: int
    redirect: str | None
    """Title it redirects to; None for a page with text of its own."""
    model: str
    """Content model: wikitext, json, css, ...; empty when the dump does not say."""


@dataclass
class _Article:
    """An article whose text is still XML: a span of the chunk, and the page's."""

    title: int
    """Its place in the chunk's titles."""
    start: int
    end: int
    page_start: int
    page_end: int


def scan_pages(xml: bytes, url: str, offset: int, exact: bool = False) -> Chunk:
    """Return what is in `xml`: whole pages, from the first one's start to the last one's end.

    `offset` is where it lies in the stored file; `exact` when it lies there as it is, not compressed.
    """
    return _Scan(xml, url, offset, exact).chunk()


def empty_chunk(damage: list[Damage]) -> Chunk:
    """Return a chunk without pages."""
    return Chunk(np.empty(0, np.uint8), np.zeros(1, np.int64), [], [], Counter(), damage)


def title_in(page: bytes) -> str:
    """Return how to name a page of which perhaps only the beginning is known."""
    match = _TITLE.search(page)
    return f"page {_plain(match[1]) or match[1]!r}" if match else "a page whose title is not known"


def _plain(escaped: bytes) -> str | None:
    """Return a title without its entities; None when it holds another reference, which is for expat to judge."""
    if b"&" in escaped:
        if not all(match[1] for match in _REFERENCE.finditer(escaped)):
            return None
        escaped = _REFERENCE.sub(lambda match: _ENTITIES[match[1]], escaped)
    return escaped.decode(errors="replace")


class _Scan:
    """One pass over a chunk's pages."""

    def __init__(self, xml: bytes, url: str, offset: int, exact: bool) -> None:
        self.xml, self.url, self.offset, self.exact = xml, url, offset, exact
        self.titles: list[str | None] = []
        self.redirects: list[tuple[str, str]] = []
        self.kinds: Counter[str] = Counter()
        self.damage: list[Damage] = []
        self.articles: list[_Article] = []
        self.parsed: dict[int, bytes | None] = {}
        """Text, by article, of those that expat read; None for one that turned out to be damaged."""
        self.valid = is_utf8(xml)
        self.page_end = 0
        """Where the irregular page that was looked at last ends."""

    def chunk(self) -> Chunk:
        place = 0
        while (start := self.xml.find(PAGE_START, place)) >= 0:
            self._between(place, start)
            place = self._regular(start) or self._irregular(start)
        self._between(place, len(self.xml))
        text, offsets = self._text()
        titles = [title for title in self.titles if title is not None]
        return Chunk(text, offsets, titles, self.redirects, +self.kinds, self.damage)

    def _between(self, start: int, end: int) -> None:
        if end > start and not self.xml[start:end].isspace():
            self.damage += find_content(self.xml[start:end], self.url, self._at(start))

    def _at(self, place: int) -> int:
        return self.offset + place * self.exact

    def _regular(self, start: int) -> int:
        """Read a page that looks as MediaWiki writes it; return where it ends, 0 when it does not."""
        head = _PAGE_HEAD.match(self.xml, start)
        if not head:
            return 0
        text_start = text_end = rest = head.end()
        if not head[5]:
            text_end = self.xml.find(b"<", text_start)
            rest = text_end + len(b"</text>")
            if self.xml[text_end:rest] != b"</text>":
                return 0
        tail = _PAGE_REST.match(self.xml, rest)
        if not tail or not self._may_be(start, tail.end()):
            return 0
        title, redirect, model = (_plain(head[group]) if head[group] is not None else "" for group in (1, 3, 4))
        if title is None or redirect is None or model is None:
            return 0
        page = _Page(title, int(head[2]), redirect if head[3] is not None else None, model)
        self._add(page, _Article(len(self.titles), text_start, text_end, start, tail.end()))
        return tail.end()

    def _may_be(self, start: int, end: int) -> bool:
        return end - start <= MAX_PAGE_BYTES and (self.valid or is_utf8(self.xml[start:end]))

    def _add(self, page: _Page, article: _Article) -> bool:
        """Take a page; return whether it is an article, whose text counts."""
        if page.namespace:
            self.kinds["other_namespace"] += 1
            return False
        if page.redirect is not None:
            self.kinds["redirect"] += 1
            if page.redirect:
                self.redirects.append((page.title, page.redirect))
            return False
        self.titles.append(page.title)
        if page.model not in ("", "wikitext"):
            self.kinds["other_model"] += 1
            return False
        self.kinds["article"] += 1
        self.articles.append(article)
        return True

    def _irregular(self, start: int) -> int:
        """Read a page by expat; return where reading goes on."""
        if start >= self.page_end:  # looked for once, however many pages begin before it
            self.page_end = self.xml.find(PAGE_END, start) + len(PAGE_END)
        last = self.xml.rfind(PAGE_START, start, self.page_end)
        if last > start:
            pages = self.xml.count(PAGE_START, start, last)
            self._lose(start, last, "malformed_page", "has no </page>", pages)
            return last
        found = self._parsed(start, self.page_end)
        if found and self._add(found[0], _Article(len(self.titles), start, start, start, self.page_end)):
            self.parsed[len(self.articles) - 1] = found[1]
        return self.page_end

    def _parsed(self, start: int, end: int) -> tuple[_Page, bytes] | None:
        """Return a page and its text; None, and the damage noted, when it cannot be read."""
        xml = self.xml[start:end]
        if len(xml) > MAX_PAGE_BYTES:
            self._lose(start, end, "page_too_long", f"has {len(xml):,} bytes")
            return None
        if not self.valid and not is_utf8(xml):
            self._lose(start, end, "bad_encoding", "is not UTF-8")
            return None
        reader = _PageReader()
        try:
            reader.parser.Parse(xml, True)
        except expat.ExpatError as error:
            self._lose(start, end, "malformed_page", f"is not well-formed XML: {error}")
            return None
        fields = reader.fields
        if not fields.get("title") or not _NAMESPACE.fullmatch(fields.get("ns", "")):
            self._lose(start, end, "missing_fields", "has no title or no namespace")
            return None
        page = _Page(fields["title"], int(fields["ns"]), fields.get("redirect"), fields.get("model", ""))
        return page, fields.get("text", "").encode()

    def _lose(self, start: int, end: int, reason: str, what: str, pages: int = 1) -> None:
        detail = f"{title_in(self.xml[start : min(end, start + NAMED_BYTES)])} {what}"
        self.damage.append(Damage(self.url, self._at(start), reason, detail, pages))

    def _text(self) -> tuple[U8, I64]:
        """Return the text of all articles; those that turn out not to be well-formed lose their place among them."""
        from queries.entities import unescape

        starts = np.array([article.start for article in self.articles], np.int64)
        ends = np.array([article.end for article in self.articles], np.int64)
        text, offsets, well_formed = unescape(self.xml, starts, ends)
        for index in np.flatnonzero(~well_formed).tolist():
            article = self.articles[index]
            found = self._parsed(article.page_start, article.page_end)
            self.parsed[index] = found[1] if found else None
            if not found:
                self.titles[article.title] = None
                self.kinds["article"] -= 1
        return _spliced(text, offsets, self.parsed) if self.parsed else (text, offsets)


def _spliced(text: U8, offsets: I64, parsed: dict[int, bytes | None]) -> tuple[U8, I64]:
    """Return the documents with those in `parsed` put in their places, and without those that are None."""
    documents = []
    for index in range(len(offsets) - 1):
        other = parsed.get(index, b"")
        if index in parsed:
            documents += [] if other is None else [np.frombuffer(other, np.uint8)]
        else:
            documents.append(text[offsets[index] : offsets[index + 1]])
    sizes = np.array([0, *map(len, documents)], np.int64)
    return np.concatenate([np.empty(0, np.uint8), *documents]), np.cumsum(sizes)


def is_utf8(data: bytes) -> bool:
    """Return whether bytes are valid UTF-8."""
    view = memoryview(data)
    place = 0
    try:
        while place < len(data):
            last = place + _DECODED_BYTES >= len(data)
            place += codecs.utf_8_decode(view[place : place + _DECODED_BYTES], "strict", last)[1]
    except UnicodeDecodeError:
        return False
    return True


def find_content(xml: bytes, url: str, offset: int) -> list[Damage]:
    """Return the damage in what stands between pages: nothing may but white space, comments, heads and ends."""
    place = 0
    while match := _INERT.match(xml, place):
        place = match.end()
    if place == len(xml):
        return []
    return [Damage(url, offset, "malformed_page", f"{xml[place : place + 40]!r} stands between pages", None)]


_FIELDS = {2: ("title", "ns"), 3: ("text", "model")}
"""The elements of a page that are read, by depth; in a revision's other slots they lie deeper."""


class _PageReader:
    """Collects a page from expat's events. Depths: page 1, its title, ns, redirect 2, its revision's text 3."""

    def __init__(self) -> None:
        self.parser = expat.ParserCreate("utf-8")
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self._data: list[str] = []
        self.parser.CharacterDataHandler = self._data.append
        self._depth = 0
        self.fields: dict[str, str] = {}

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        self._data.clear()
        if name == "redirect" and self._depth == 2:
            self.fields["redirect"] = attributes.get("title", "")
        elif name == "revision":  # a later revision replaces an earlier one
            self.fields.update(text="", model="")

    def _end(self, name: str) -> None:
        if name in _FIELDS.get(self._depth, ()):
            self.fields[name] = "".join(self._data)
        self._depth -= 1
