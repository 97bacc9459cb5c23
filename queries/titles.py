"""Titles of articles with their page views.

Reads the hourly files of dumps.wikimedia.org/other/pageviews ("en Title count bytes", one domain code a site: `en` the
desktop site, `en.m` the mobile one) and plain lists ("Title count"), gzip, bzip2 or plain. Views of a redirect go
to its target; pages of other namespaces are left out, and names of which the dump has no article.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import IO
from urllib.parse import unquote_to_bytes

from queries.wikipedia import Site, decompressed
from wit.errors import InputError
from wit.storage import open_input
from wit.text import normalise

HEAD_LINES = 100  # the format is told from the first line among these that is whole; real files hold broken ones
MAX_REDIRECTS = 10  # MediaWiki follows one; chains are leftovers of moves, cycles are vandalism


@dataclass(frozen=True)
class Title:
    """An article and how often it was looked at."""

    title: str
    """As Wikipedia writes it, with spaces."""
    views: int

    @property
    def term(self) -> str:
        """The title's normal form without its disambiguator: what a caption may hold."""
        return normalise(split_disambiguator(self.title)[0])


def split_disambiguator(title: str) -> tuple[str, str | None]:
    """Return a title without its trailing "(disambiguator)", and the disambiguator; None when it has none.

    >>> split_disambiguator("Puma (genus)")
    ('Puma', 'genus')
    """
    if not title.endswith(")"):
        return title, None
    depth = 0
    for index in range(len(title) - 1, 0, -1):
        depth += (title[index] == ")") - (title[index] == "(")
        if depth == 0:
            name = title[:index].rstrip()
            return (name, title[index + 1 : -1]) if title[index - 1] == " " and name else (title, None)
    return title, None


class Views:
    """Sums page views over files, by title as the files write it."""

    def __init__(self, language: str = "en") -> None:
        self._domains = (language.encode(), f"{language}.m".encode())
        self._views: dict[bytes, int] = {}
        self.lines: Counter[str] = Counter()
        """Lines by what became of them: counted, other_domain, malformed."""

    def add_file(self, url: str) -> None:
        """Add the views of one file; raises InputError when it is missing, damaged, empty or in neither format."""
        with open_input(url) as raw:
            lines = _checked_lines(decompressed(raw), url)
            head = list(islice(lines, HEAD_LINES))
            read = _reader(head, url)
            for line in chain(head, lines):
                self._add(read(self._domains, line))

    def _add(self, found: tuple[bytes, int] | str) -> None:
        if isinstance(found, str):
            self.lines[found] += 1
            return
        title, views = found
        self.lines["counted"] += 1
        self._views[title] = self._views.get(title, 0) + views

    def titles(self, articles: Articles, min_views: int) -> tuple[list[Title], Counter[str]]:
        """Return articles seen at least `min_views` times, the most viewed first, and what became of every name.

        Ties are in the order of their terms, then titles. What becomes of a name, counted: kept, below_threshold,
        namespace, not_in_dump, bad_encoding.
        """
        sums: Counter[str] = Counter()
        fates: Counter[str] = Counter()
        for raw, views in self._views.items():
            title = _decoded(raw)
            fate = articles.fate(title)
            if fate:
                fates[fate] += 1
            elif title is not None:
                sums[articles.resolve(title)] += views
        kept = [Title(title, views) for title, views in sums.items() if views >= min_views]
        fates["kept"], fates["below_threshold"] = len(kept), len(sums) - len(kept)
        return sorted(kept, key=lambda item: (-item.views, item.term, item.title)), +fates


@dataclass
class Articles:
    """What dumps say of the article namespace."""

    site: Site
    titles: set[str] | None = field(default_factory=set)
    """Titles of articles that are no redirects; None when no dump was read, so that any name may be one."""
    redirects: dict[str, str] = field(default_factory=dict)
    """Title of a redirect: the title it leads to."""

    def resolve(self, title: str) -> str:
        """Return where a title leads; a cycle, or a chain of more than ten, stays where it stands."""
        target = title
        for _ in range(MAX_REDIRECTS):
            if target not in self.redirects:
                return target
            target = self.redirects[target].partition("#")[0]
        return title

    def fate(self, title: str | None) -> str | None:
        """Return why a name is no article: bad_encoding (None), namespace, not_in_dump; None when it is one."""
        if title is None:
            return "bad_encoding"
        target = self.resolve(title)
        if self.site.namespace(title) or self.site.namespace(target):
            return "namespace"
        if not target or (self.titles is not None and target not in self.titles):
            return "not_in_dump"
        return None


def _decoded(raw: bytes) -> str | None:
    """Return a title as the dump writes it, None when its bytes are not UTF-8."""
    try:
        title = unquote_to_bytes(raw).decode()
    except UnicodeDecodeError:
        return None
    title = " ".join(title.replace("_", " ").split())
    return title[:1].upper() + title[1:]


def _checked_lines(file: IO[bytes], url: str) -> Iterator[bytes]:
    number = 0
    try:
        for line in file:
            number += 1
            yield line
    except (EOFError, OSError, zlib.error) as error:
        raise InputError(
            f"{url}: damaged or cut short after line {number:,} ({error}); fetch the file again"
        ) from error


Reader = Callable[[tuple[bytes, bytes], bytes], tuple[bytes, int] | str]


def _reader(head: list[bytes], url: str) -> Reader:
    """Return the reader of a file's format, which its first whole line tells."""
    for line in head:
        fields = line.split()
        if len(fields) == 4 and fields[2].isdigit() and fields[3].isdigit():
            return _read_hourly
        if len(fields) == 2 and fields[1].isdigit():
            return _read_list
    found = repr(head[0][:80]) if head else "an empty file"
    raise InputError(f"{url}: expected lines of 'en Title count bytes' or 'Title count', found {found}")


def _read_hourly(domains: tuple[bytes, bytes], line: bytes) -> tuple[bytes, int] | str:
    if not line.startswith(domains[0]):
        return "other_domain"
    fields = line.split(b" ")
    if fields[0] not in domains:
        return "other_domain"
    if len(fields) != 4 or not fields[1] or not fields[2].isdigit():
        return "malformed"
    return fields[1], int(fields[2])


def _read_list(_: tuple[bytes, bytes], line: bytes) -> tuple[bytes, int] | str:
    title, _space, views = line.strip().rpartition(b" ")
    return (title, int(views)) if title and views.isdigit() else "malformed"
