"""Titles of articles with their page views.

Reads the hourly files of dumps.wikimedia.org/other/pageviews ("en Title count bytes", one domain code a site: `en` the
desktop site, `en.m` the mobile one) and plain lists ("Title count"), gzip, bzip2 or plain. Views of a redirect go
to its target; pages of other namespaces are left out.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import IO
from urllib.parse import unquote_to_bytes

from queries.wikipedia import Site, decompressed
from wit.errors import InputError
from wit.storage import open_input
from wit.text import normalise

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
            first = next(lines, b"")
            read = _reader(first, url)
            self._add(read(self._domains, first))
            for line in lines:
                self._add(read(self._domains, line))

    def _add(self, found: tuple[bytes, int] | str) -> None:
        if isinstance(found, str):
            self.lines[found] += 1
            return
        title, views = found
        self.lines["counted"] += 1
        self._views[title] = self._views.get(title, 0) + views

    def titles(self, site: Site, redirects: Mapping[str, str], min_views: int) -> tuple[list[Title], Counter[str]]:
        """Return articles seen at least `min_views` times, the most viewed first, and what became of every title.

        Ties are in the order of their terms, then titles. What becomes of a title, counted: kept, below_threshold,
        namespace, bad_encoding.
        """
        sums: dict[str, int] = {}
        fates: Counter[str] = Counter()
        for raw, views in self._views.items():
            title = _decoded(raw)
            if title is None:
                fates["bad_encoding"] += 1
                continue
            target = resolve(title, redirects)
            if site.namespace(title) or site.namespace(target):
                fates["namespace"] += 1
                continue
            sums[target] = sums.get(target, 0) + views
        kept = [Title(title, views) for title, views in sums.items() if views >= min_views]
        fates["kept"], fates["below_threshold"] = len(kept), len(sums) - len(kept)
        return sorted(kept, key=lambda item: (-item.views, item.term, item.title)), +fates


def resolve(title: str, redirects: Mapping[str, str]) -> str:
    """Return the title that a title leads to; a cycle, or a chain of more than ten, is left where it stands."""
    target = title
    for _ in range(MAX_REDIRECTS):
        if target not in redirects:
            return target
        target = redirects[target].partition("#")[0]
    return title


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


def _reader(first: bytes, url: str) -> Reader:
    fields = first.split()
    if len(fields) == 4 and fields[2].isdigit() and fields[3].isdigit():
        return _read_hourly
    if len(fields) == 2 and fields[1].isdigit():
        return _read_list
    raise InputError(f"{url}: expected lines of 'en Title count bytes' or 'Title count', found {first[:80]!r}")


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
