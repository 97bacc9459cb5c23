"""What a MediaWiki dump says: its site, what its pages hold, and what could not be read of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from xml.parsers import expat

from wit.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from queries.wikitext import LinkRules

    U8 = npt.NDArray[np.uint8]
    I64 = npt.NDArray[np.int64]

NAMESPACES = {
    -2: "Media", -1: "Special", 1: "Talk", 2: "User", 3: "User talk", 4: "Project", 5: "Project talk", 6: "File",
    7: "File talk", 8: "MediaWiki", 9: "MediaWiki talk", 10: "Template", 11: "Template talk", 12: "Help",
    13: "Help talk", 14: "Category", 15: "Category talk",
}  # fmt: skip
"""The names that every edition understands beside its own."""

ENGLISH_NAMESPACES = {
    4: "Wikipedia", 5: "Wikipedia talk", 100: "Portal", 101: "Portal talk", 118: "Draft", 119: "Draft talk",
    126: "MOS", 127: "MOS talk", 710: "TimedText", 711: "TimedText talk", 828: "Module", 829: "Module talk",
}  # fmt: skip
"""The English Wikipedia's own names, by its siteinfo; for page views without a dump that would say."""

_ALIASES = {"Image": 6, "Image talk": 7}
_FILE, _CATEGORY = 6, 14

DAMAGE_REASONS = {
    "corrupt_block": "a bzip2 block fails its checksum, or its place holds no block: the pages that lie in it are lost",
    "corrupt_gzip": "a gzip member is damaged: the rest of the file cannot be read",
    "corrupt_zstd": "a zstd frame is damaged: the rest of the file cannot be read",
    "cut_short": "the file ends before </mediawiki>: a page may be cut, those after it are missing",
    "malformed_page": "the XML of a page, or what stands between two, is not well-formed: the page is left out",
    "bad_encoding": "a page is not UTF-8 and is left out",
    "page_too_long": "64 MiB after <page> without </page>: read again from the next <page>",
    "missing_fields": "a page without <title> or <ns> is left out",
}
"""Why a part of a dump could not be read: what it means."""


@dataclass(frozen=True)
class Site:
    """What a dump says of its wiki."""

    language: str = ""
    namespaces: dict[str, int] = field(default_factory=dict)
    """Namespaces other than 0 by name, lower case, with the names and aliases that every edition understands."""
    capital_links: bool = True
    """Titles begin with a capital, whatever a link says (`<case>first-letter</case>`); not so in Wiktionary."""
    domain: str = ""
    """First label of its host's name, by `<base>`: en, simple. Empty when the dump does not say."""

    def namespace(self, title: str) -> int:
        """Return the namespace that a title's prefix names; 0 when it names none."""
        prefix, colon, _ = title.partition(":")
        return self.namespaces.get(prefix.strip().lower(), 0) if colon else 0

    def link_rules(self) -> LinkRules:
        """Return which links vanish from the prose of this wiki."""
        from queries.wikitext import LinkRules

        return LinkRules(frozenset(name for name, number in self.namespaces.items() if number in (_FILE, _CATEGORY)))


def site_of(language: str, named: dict[int, str], capital_links: bool = True, domain: str = "") -> Site:
    """Return a site from its language and its own names of namespaces."""
    every = [*((name, number) for number, name in NAMESPACES.items()), *_ALIASES.items()]
    own = [(name, number) for number, name in named.items() if number]
    return Site(language, {name.lower(): number for name, number in [*every, *own]}, capital_links, domain)


def parse_header(header: bytes, url: str) -> Site:
    """Return the site of a dump from its XML up to the first page; raises InputError when it is not well-formed.

    Without `<mediawiki>` (a part of a dump that begins with its first page) the site is what every edition has.
    """
    if b"<mediawiki" not in header:
        return site_of("", {})
    reader = _HeaderReader()
    try:
        reader.parser.Parse(header + b"</mediawiki>", True)
    except (expat.ExpatError, KeyError, ValueError) as error:
        raise InputError(f"{url}: expected a MediaWiki XML dump, its head cannot be read: {error}") from error
    if reader.encoding.lower() not in ("utf-8", "us-ascii"):
        raise InputError(f"{url}: expected a dump in UTF-8, found encoding {reader.encoding!r}; convert it")
    domain = (urlsplit(reader.base).hostname or "").partition(".")[0]
    return site_of(reader.language, reader.named, reader.case != "case-sensitive", domain)


class _HeaderReader:
    """Collects language, namespaces and case from expat's events."""

    def __init__(self) -> None:
        self.language, self.base, self.case, self.encoding = "", "", "", "utf-8"
        self.named: dict[int, str] = {}
        self.parser = expat.ParserCreate()
        self.parser.XmlDeclHandler = self._declaration
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self._data: list[str] = []
        self.parser.CharacterDataHandler = self._data.append
        self._key = 0

    def _declaration(self, _version: str, encoding: str | None, _standalone: int) -> None:
        self.encoding = encoding or self.encoding

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._data.clear()
        if name == "mediawiki":
            self.language = attributes.get("xml:lang", "")
        elif name == "namespace":
            self._key = int(attributes["key"])

    def _end(self, name: str) -> None:
        text = "".join(self._data)
        if name == "namespace":
            self.named[self._key] = text
        elif name == "case":
            self.case = text.strip()
        elif name == "base":
            self.base = text.strip()


@dataclass(frozen=True)
class Damage:
    """A place of a dump that could not be read."""

    url: str
    offset: int
    """Bytes from the start of the stored file, as near as is known."""
    reason: str
    """One of DAMAGE_REASONS."""
    detail: str
    """What was found; names the page when its title is known."""
    pages: int | None
    """How many pages are lost at least; None when that is not known."""


@dataclass(frozen=True)
class Chunk:
    """What some whole pages of a dump hold."""

    text: U8
    offsets: I64
    """Wikitext of the articles, UTF-8: article i is text[offsets[i]:offsets[i + 1]]. No \\0 in it."""
    titles: list[str]
    """Every page of namespace 0 that is no redirect, also those that are not wikitext."""
    redirects: list[tuple[str, str]]
    """(title, target) of the redirects in namespace 0; a redirect that names no target is not here."""
    kinds: Counter[str]
    """Whole pages: article, redirect, other_namespace, other_model."""
    damage: list[Damage]
