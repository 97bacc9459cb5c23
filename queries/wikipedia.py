"""MediaWiki dumps: pages-articles XML, plain, bzip2 (one stream or many) or gzip, export 0.10 and 0.11.

A dump is read as a stream. It is cut at page ends into blocks of raw XML, which can be parsed apart from each other
and so in several processes; memory holds one block a process, however long the dump is.
"""

from __future__ import annotations

import bz2
import gzip
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import IO, Any
from xml.parsers import expat

from queries.wikitext import LinkRules
from wit.errors import InputError
from wit.storage import open_input

BLOCK_BYTES = 4 << 20
MAX_PAGE_BYTES = 64 << 20  # MediaWiki stops a page at 2 MiB; beyond this the file is no dump
CHUNK_BYTES = 1 << 20
HEADER_BYTES = 1 << 20  # <siteinfo> of the largest wikis takes 10 KiB

_DECOMPRESSORS: dict[bytes, Callable[[IO[bytes]], Any]] = {
    b"BZh": bz2.BZ2File,
    b"\x1f\x8b": lambda raw: gzip.GzipFile(fileobj=raw),
}
"""First bytes of a compressed file: how it is read. Anything else is read as it is."""

NAMESPACES = {
    -2: "Media", -1: "Special", 1: "Talk", 2: "User", 3: "User talk", 4: "Project", 5: "Project talk", 6: "File",
    7: "File talk", 8: "MediaWiki", 9: "MediaWiki talk", 10: "Template", 11: "Template talk", 12: "Help",
    13: "Help talk", 14: "Category", 15: "Category talk",
}  # fmt: skip
"""The names that every edition understands beside its own."""

_ALIASES = {"Image": 6, "Image talk": 7}
_FILE, _CATEGORY = 6, 14


@dataclass(frozen=True)
class Page:
    """A page with its latest revision."""

    id: int
    namespace: int
    title: str
    redirect: str | None
    """Title it redirects to; None for a page with text of its own."""
    model: str
    """Content model: wikitext, json, css, ...; empty when the dump does not say."""
    text: str


@dataclass(frozen=True)
class Site:
    """What a dump says of its wiki."""

    language: str = ""
    namespaces: dict[str, int] = field(default_factory=dict)
    """Namespaces other than 0 by name, lower case, with the names and aliases that every edition understands."""

    def namespace(self, title: str) -> int:
        """Return the namespace that a title's prefix names; 0 when it names none."""
        prefix, colon, _ = title.partition(":")
        return self.namespaces.get(prefix.strip().lower(), 0) if colon else 0

    def link_rules(self) -> LinkRules:
        """Return which links vanish from the prose of this wiki."""
        return LinkRules(frozenset(name for name, number in self.namespaces.items() if number in (_FILE, _CATEGORY)))


def site_of(language: str, named: dict[int, str]) -> Site:
    """Return a site from its language and its own names of namespaces."""
    every = [*((name, number) for number, name in NAMESPACES.items()), *_ALIASES.items()]
    own = [(name, number) for number, name in named.items() if number]
    return Site(language, {name.lower(): number for name, number in [*every, *own]})


class Dump:
    """A dump opened for reading; a context manager.

    `site` is known at once. Raises InputError when the file is missing, unreadable, empty or not a dump.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.num_pages = 0
        self._raw = open_input(url)
        try:
            self._xml = decompressed(self._raw)
            header, self._pending = self._read_header()
            self.site = _parse_header(header, url)
        except BaseException:
            self._raw.close()
            raise

    def __enter__(self) -> Dump:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._raw.close()

    @property
    def position(self) -> int:
        """How many bytes of the file, as stored, have been read."""
        return self._raw.tell()

    def blocks(self, block_bytes: int = BLOCK_BYTES) -> Iterator[bytes]:
        """Yield raw XML of whole pages, about `block_bytes` at a time.

        Raises InputError when the file is damaged, breaks off before `</mediawiki>`, or holds no page.
        """
        pending = self._pending
        while chunk := self._read():
            pending += chunk
            if len(pending) < block_bytes:
                continue
            end = pending.rfind(b"</page>")
            if end >= 0:
                yield self._counted(pending[: end + 7])
                pending = pending[end + 7 :]
            elif len(pending) > MAX_PAGE_BYTES:
                raise InputError(
                    f"{self.url}: expected pages of 2 MiB at most, found no </page> in {len(pending):,} bytes"
                )
        last, mark, tail = pending.rpartition(b"</page>")
        if mark:
            yield self._counted(last + mark)
        if b"</mediawiki>" not in tail:
            raise InputError(
                f"{self.url}: breaks off after {self.num_pages:,} whole pages, no </mediawiki>; fetch the file again"
            )
        if not self.num_pages:
            raise InputError(f"{self.url}: expected a dump with pages, found none in it")

    def _counted(self, block: bytes) -> bytes:
        self.num_pages += block.count(b"</page>")
        return block

    def _read(self) -> bytes:
        try:
            return self._xml.read(CHUNK_BYTES)
        except (EOFError, OSError, zlib.error) as error:
            raise InputError(
                f"{self.url}: damaged or cut short after {self.num_pages:,} whole pages ({error}); fetch the file again"
            ) from error

    def _read_header(self) -> tuple[bytes, bytes]:
        read = self._read()
        if not read:
            raise InputError(f"{self.url}: expected a MediaWiki XML dump, found an empty file")
        if b"<mediawiki" not in read[: CHUNK_BYTES // 16]:
            raise InputError(
                f"{self.url}: expected a MediaWiki XML dump (plain, .bz2 or .gz), found no <mediawiki> element"
            )
        while (start := _first_of(read, b"<page>", b"</mediawiki>")) < 0:
            chunk = self._read()
            if not chunk or len(read) > HEADER_BYTES:
                raise InputError(f"{self.url}: breaks off before the first page; fetch the file again")
            read += chunk
        return read[:start], read[start:]


def decompressed(raw: IO[bytes]) -> IO[bytes]:
    """Return a file's content, decompressed when its first bytes are those of bzip2 or gzip."""
    magic = raw.read(3)
    raw.seek(0)
    for signature, opener in _DECOMPRESSORS.items():
        if magic.startswith(signature):
            content: IO[bytes] = opener(raw)
            return content
    return raw


def _first_of(data: bytes, *marks: bytes) -> int:
    found = [position for position in map(data.find, marks) if position >= 0]
    return min(found, default=-1)


def _parse_header(header: bytes, url: str) -> Site:
    language = ""
    named: dict[int, str] = {}
    key: int | None = None

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal language, key
        if name == "mediawiki":
            language = attributes.get("xml:lang", "")
        key = int(attributes["key"]) if name == "namespace" else None

    def text(data: str) -> None:
        if key is not None:
            named[key] = named.get(key, "") + data

    def end(name: str) -> None:
        nonlocal key
        key = None

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.CharacterDataHandler, parser.EndElementHandler = start, text, end
    try:
        parser.Parse(header + b"</mediawiki>", True)
    except (expat.ExpatError, KeyError, ValueError) as error:
        raise InputError(f"{url}: expected a MediaWiki XML dump, its head cannot be read: {error}") from error
    return site_of(language, named)


def parse_block(block: bytes, url: str) -> list[Page]:
    """Return the pages of a block of raw XML; raises InputError naming `url` when it is not well-formed."""
    reader = _PageReader(url)
    try:
        for part in (b"<mediawiki>", block, b"</mediawiki>"):
            reader.parser.Parse(part, False)
        reader.parser.Parse(b"", True)
    except expat.ExpatError as error:
        after = f"after page {reader.pages[-1].title!r}" if reader.pages else "at the start of a block"
        raise InputError(f"{url}: malformed XML {after}: {error}") from error
    return reader.pages


_FIELDS = {3: ("title", "ns", "id"), 4: ("text", "model")}
"""The elements of a page that are read, by depth."""


class _PageReader:
    """Collects pages from expat's events. Depths: page 2, its title, ns, id, redirect 3, its revision's text 4."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.pages: list[Page] = []
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.buffer_size = 1 << 18
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.data: list[str] = []
        self.parser.CharacterDataHandler = self.data.append
        self.depth = 0
        self.fields: dict[str, str] = {}

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self.depth += 1
        self.data.clear()
        if self.depth == 2:
            self.fields = {}
        elif name == "redirect":
            self.fields["redirect"] = attributes.get("title", "")
        elif name == "revision":  # a later revision replaces an earlier one
            self.fields.update(text="", model="")

    def _end(self, name: str) -> None:
        if name in _FIELDS.get(self.depth, ()):
            self.fields[name] = "".join(self.data)
        elif self.depth == 2 and name == "page":
            self._finish()
        self.depth -= 1

    def _finish(self) -> None:
        fields = self.fields
        title = fields.get("title", "")
        numbers = [fields.get(name, "") for name in ("id", "ns")]
        if not title or not all(number.lstrip("-").isdigit() for number in numbers):
            raise InputError(
                f"{self.url}: expected <title>, <ns> and <id> in each page (export 0.10 or 0.11), found {fields!r:.80}"
            )
        page_id, namespace = map(int, numbers)
        self.pages.append(
            Page(page_id, namespace, title, fields.get("redirect"), fields.get("model", ""), fields.get("text", ""))
        )


def read_pages(url: str) -> Iterator[Page]:
    """Yield the pages of a dump in order; raises InputError as `Dump` does."""
    with Dump(url) as dump:
        for block in dump.blocks():
            yield from parse_block(block, url)
