"""Dump files, cut into parts that are read apart from each other: in any process, in any order, again after a kill.

Plain XML and bzip2 are cut by the size of the file alone, and each part is read straight from it. gzip and zstd cannot
be entered in the middle: they are decompressed once, and laid down in pieces as they go. Pages that cross a border are
in no part; `stitch` finds them in what the parts leave over. Dumps lie on a local disk: `queries.inputs` copies others.

    parent                                                  worker
    dump = open_dump(url)                                   reader = PartReader(part)
    for part in parts(dump, spool, wanted):  -> part ->     for chunk in reader: count(chunk.text, chunk.offsets)
    for chunk in stitch(edges, dump): count(...)            reader.edges.to_bytes()
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import chain

from queries.pages import DUMP_END, PAGE_START, empty_chunk, scan_pages
from queries.seams import Body, Cutter, Event, Gap, PartEdges, Piece
from queries.streams import Failure, compression_of, content
from queries.wikipedia import Chunk, Damage, Site, parse_header
from wit.errors import InputError
from wit.storage import input_error, open_input, output_error, reading, remove, size

CHUNK_BYTES = 8 << 20  # XML that is scanned at once
PIECE_BYTES = 4 << 20  # plain XML read at a time
SPOOLED_XML_BYTES = 64 << 20  # a piece of a gzip or zstd dump, decompressed
HEADER_BYTES = 1 << 20  # <siteinfo> of the largest wikis takes 10 KiB
TITLE_BYTES = 4 << 10  # from a page's start to the end of its title, which has 255 bytes before it is escaped

PARTS_A_DUMP = 64
_PART_BYTES = {"bzip2": (1 << 20, 32 << 20), "none": (4 << 20, 128 << 20)}
"""The least and most stored bytes of a part: enough parts for 64 cores, each long beside what starting one costs."""

_FIRST_TITLE = re.compile(re.escape(PAGE_START) + rb"\s*<title>([^<]+)</title>")
_INDEX_LINE = re.compile(rb"\d+:\d+:[^\r\n]+\r?\n")


class MultistreamIndex(InputError):
    """The index of a multistream dump, which is not needed: it may stand beside the dump that a pattern names."""


@dataclass(frozen=True)
class Dump:
    """A dump file, and what its head says."""

    url: str
    size: int
    """Stored bytes."""
    compression: str
    """none, bzip2, gzip or zstd."""
    site: Site
    first_title: str = ""
    """Of its first page, as the XML has it; empty when that is not known."""


@dataclass(frozen=True)
class Part:
    """A part of a dump: all that a worker needs to read it."""

    dump: Dump
    index: int
    start: int
    end: int
    """Stored bytes [start, end); what `size` sums to the dump's."""
    path: str | None = None
    """Of gzip and zstd, the local file that holds the part's XML."""
    gap: Gap | None = None
    """Where the file cannot be read any further, after this part."""

    @property
    def size(self) -> int:
        """Stored bytes."""
        return self.end - self.start


def open_dump(url: str) -> Dump:
    """Return a dump by its head.

    Raises InputError when the file is missing, empty, no dump, or its head cannot be read; MultistreamIndex when it is
    the index of one.
    """
    with reading(url) as raw:
        magic = raw.read(6)
    if not magic:
        raise InputError(f"{url}: expected a MediaWiki XML dump, found an empty file")
    compression = compression_of(magic, url)
    with reading(url) as raw:
        head, title = _read_head(content(raw, compression), url)
    return Dump(url, size(url), compression, parse_header(head, url), title)


def _read_head(xml: Iterator[bytes | Failure], url: str) -> tuple[bytes, str]:
    """Return a dump's XML up to its first page, and that page's title."""
    head, start = b"", -1
    for read in xml:
        if isinstance(read, Failure):
            if start >= 0:  # the page is damaged, not the head
                break
            raise InputError(f"{url}: expected a MediaWiki XML dump, its head is damaged: {read.detail}")
        head += read
        start = head.find(PAGE_START)
        if 0 <= start < len(head) - TITLE_BYTES or len(head) > HEADER_BYTES:
            break
    if _INDEX_LINE.match(head):
        raise MultistreamIndex(f"{url}: expected a dump, found the index of one, which is not needed; leave it out")
    if b"<mediawiki" not in head and PAGE_START not in head:
        raise InputError(
            f"{url}: expected a MediaWiki XML dump (plain, .bz2, .gz or .zst), found no <mediawiki> element"
        )
    if start < 0:
        found = "none in it" if DUMP_END in head else "that it breaks off before the first; fetch it again"
        raise InputError(f"{url}: expected a dump with pages, found {found}")
    title = _FIRST_TITLE.match(head, start)
    return head[:start], title[1].decode("utf-8", "replace") if title else ""


def parts(
    dump: Dump, spool: Callable[[int], str], wanted: Callable[[int], bool], part_bytes: int | None = None
) -> Iterator[Part]:
    """Yield the parts of a dump that are wanted, by their index, in order.

    Where parts lie depends on the file alone. `spool` gives the local path that the XML of a gzip or zstd dump's part
    goes to; such a part is written when it is asked for, and its reader removes it. `part_bytes` sets the size of
    parts: stored bytes, but for gzip and zstd bytes of XML. Raises InputError when the file cannot be read, OutputError
    when a part cannot be written.
    """
    if dump.compression in _PART_BYTES:
        least, most = _PART_BYTES[dump.compression]
        step = part_bytes or min(max(dump.size // PARTS_A_DUMP, least), most)
        for index, start in enumerate(range(0, dump.size, step)):
            if wanted(index):
                yield Part(dump, index, start, min(start + step, dump.size))
    else:
        yield from _inflated_parts(dump, spool, wanted, part_bytes or SPOOLED_XML_BYTES)


def _inflated_parts(
    dump: Dump, spool: Callable[[int], str], wanted: Callable[[int], bool], step: int
) -> Iterator[Part]:
    """Lay down XML, about `step` bytes a part, whatever was made of it before."""
    with reading(dump.url) as raw:
        index = start = end = num_bytes = 0
        held: list[bytes] = []
        for found in content(raw, dump.compression):
            end = raw.tell()
            if isinstance(found, bytes):
                num_bytes += len(found)
                held += [found] if wanted(index) else []
                if num_bytes < step:
                    continue
            gap = _gap_of(found, dump, end) if isinstance(found, Failure) else None
            yield from _laid_down(Part(dump, index, start, end, gap=gap), held, spool, wanted)
            index, start, num_bytes, held = index + 1, end, 0, []
        if num_bytes:
            yield from _laid_down(Part(dump, index, start, end), held, spool, wanted)


def _gap_of(failure: Failure, dump: Dump, end: int) -> Gap:
    left = f"{dump.size - end:,} bytes of the file are not read"
    return Gap(end, failure.reason, f"{failure.detail}; {left}", failure.padding)


def _laid_down(
    part: Part, held: list[bytes], spool: Callable[[int], str], wanted: Callable[[int], bool]
) -> Iterator[Part]:
    if wanted(part.index):
        path = spool(part.index)
        _write(path, held)
        yield replace(part, path=path)


def _write(path: str, data: Iterable[bytes]) -> None:
    """Write a file that lives only until its reader has read it: it need not survive a crash."""
    try:
        with open(path, "wb") as file:
            file.writelines(data)
    except OSError as error:
        remove(path)  # on a full disk its space is needed
        raise output_error(path, error) from error


class PartReader:
    """Yields a part's chunks, about `chunk_bytes` of XML each; then `edges` are what it leaves to its neighbours.

    Raises InputError when the file cannot be read; what of it is damaged is in the chunks.
    """

    def __init__(self, part: Part, chunk_bytes: int = CHUNK_BYTES) -> None:
        self.part = part
        self.edges = PartEdges((), (), True)
        self._cutter = Cutter(part.dump.url, part.dump.compression == "none", chunk_bytes, keep_head=True)

    def __iter__(self) -> Iterator[Chunk]:
        cutter = self._cutter
        yield from _chunks(cutter, chain(chain.from_iterable(map(cutter.feed, _events(self.part))), cutter.cut()))
        rest = tuple(cutter.rest)
        self.edges = PartEdges(rest, (), True) if cutter.head is None else PartEdges(cutter.head, rest, False)


def stitch(edges: Iterable[PartEdges], dump: Dump) -> Iterator[Chunk]:
    """Yield the pages that cross the borders of a dump's parts, and what is damaged there.

    `edges`: of every part, in order.
    """
    cutter = Cutter(dump.url, dump.compression == "none", CHUNK_BYTES, keep_head=False)

    def found() -> Iterator[Body | Damage]:
        for each in edges:
            for event in each.head:
                yield from cutter.feed(event)
            if not each.whole:
                yield from cutter.cut()
                yield from cutter.settle()
                for event in each.tail:
                    yield from cutter.feed(event)
        yield from cutter.cut()
        yield from cutter.settle(end_of_file=True)

    yield from _chunks(cutter, found())


def _chunks(cutter: Cutter, found: Iterable[Body | Damage]) -> Iterator[Chunk]:
    damage: list[Damage] = []
    for one in found:
        if isinstance(one, Damage):
            damage.append(one)
            continue
        chunk = scan_pages(one.piece.xml, cutter.url, one.piece.offset, cutter.exact)
        yield replace(chunk, damage=damage + chunk.damage)
        damage = []
    if damage:
        yield empty_chunk(damage)


def _events(part: Part) -> Iterator[Event]:
    """Yield a part's XML, and gaps where it cannot be read."""
    with closing(_Stored(part)) as read:
        if part.dump.compression == "bzip2":
            from queries.bzip2 import read_blocks

            yield from read_blocks(read, part.start, part.end, part.dump.size)
        elif part.dump.compression == "none":
            for start in range(part.start, part.end, PIECE_BYTES):
                yield Piece(start, read(start, min(start + PIECE_BYTES, part.end)))
        else:
            place = part.start
            while xml := read(place, place + PIECE_BYTES):
                yield Piece(part.start, xml)
                place += len(xml)
            if part.gap:
                yield part.gap


class _Stored:
    """Reads bytes of a part: from the file, or from where its XML was laid down."""

    def __init__(self, part: Part) -> None:
        self._url, self._base = (part.path, part.start) if part.path is not None else (part.dump.url, 0)
        self._size = part.dump.size if part.path is None else 0
        self._file = open_input(self._url)

    def __call__(self, start: int, end: int) -> bytes:
        """Return bytes [start, end), fewer only where the file ends."""
        try:
            self._file.seek(start - self._base)
            data = self._file.read(end - start)
        except OSError as error:
            raise input_error(self._url, error) from error
        expected = min(end, self._size) - start if self._size else len(data)
        if len(data) < expected:
            found = f"found its end at {start + len(data):,}; it has changed since it was opened"
            raise InputError(f"{self._url}: expected {self._size:,} bytes, {found}")
        return data

    def close(self) -> None:
        self._file.close()
