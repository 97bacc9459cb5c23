"""Page views of one wiki: each file of Wikimedia's, or a plain list, becomes a Parquet file of titles and their views.

Formats, by the fields of a line, parted by single spaces; files are plain, gzip, bzip2 or Zstandard:

hourly     `en Title count bytes`, dumps.wikimedia.org/other/pageviews and its forerunners pagecounts-raw and
           pagecounts-all-sites. Domain codes: `en` the desktop site, `en.m` mobile, `en.zero` Wikipedia Zero.
           https://wikitech.wikimedia.org/wiki/Analytics/Data_Lake/Traffic/Pageviews
complete   `en.wikipedia Title id access total hours`, daily and monthly, dumps.wikimedia.org/other/pageview_complete.
           A line for each of desktop, mobile-web and mobile-app. A page without an id has `null` there, in older files
           nothing, so that the line has five fields: the total is always the last but one.
           https://dumps.wikimedia.org/other/pageview_complete/readme.html
merged     `en.z Title total [hours]`, dumps.wikimedia.org/other/pagecounts-ez (to 2020).
           https://dumps.wikimedia.org/other/pagecounts-ez/
list       `Title count` with a space or a tab before the count; the title may hold spaces.

A title is written as MediaWiki stores it: see `page_title`. Of a file that breaks off, or is damaged, what can be read
is read: of gzip and Zstandard all that stands before, of bzip2 every block that is whole.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import unicodedata
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import IO, TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from queries.database import database, scan, write_rows
from queries.streams import compression_of, content
from queries.wikipedia import Damage, Site
from wit.errors import InputError
from wit.storage import ROW_GROUP_ROWS, TEMPORARY_PREFIX, is_remote, join, local_path, make_folder, open_input

if TYPE_CHECKING:
    from numpy.typing import NDArray

VIEWS = pa.schema(
    [pa.field("title", pa.string(), nullable=False), pa.field("views", pa.int64(), nullable=False)],
)
"""What `read_views` writes: one row a title, by title."""

HEAD_LINES = 100
BLOCK_BYTES = 8 << 20
STRETCH_BYTES = 16 << 20  # of a bzip2 file, searched for blocks at once
MEMORY_BYTES = 512 << 20

_BIDI = re.compile("[\u200e\u200f\u202a-\u202e]+")
_SPACES = re.compile("[ _\u00a0\u1680\u180e\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+")
_DOTTED_I = ("tr", "az", "kaa")

# From a file, because DuckDB spills no sums of a stream; and apart from sorting, which has its own need of memory.
_SUM = """
create table sums as
select title, least(sum(views), 9223372036854775807)::bigint as views from lines group by title
"""
_ORDERED = "select title, views from sums order by title"


@dataclass(frozen=True)
class _Layout:
    """The format of a file's lines; the fields are those of `viewlines.scan_lines`."""

    fewest: int
    most: int
    """0: a plain list."""
    place: int
    suffixes: tuple[str, ...]
    """What follows the language in the domain codes."""

    def domains(self, language: str) -> list[bytes]:
        return [f"{language}{suffix}".encode() for suffix in self.suffixes]


_DOMAIN = re.compile(rb"[a-z][a-z0-9-]*(?:\.[a-z0-9-]+)*")
_HOURLY = _Layout(4, 4, 2, ("", ".m", ".zero"))
_COMPLETE = _Layout(5, 6, -2, (".wikipedia",))
_MERGED = _Layout(3, 4, 2, (".z",))
_LIST = _Layout(0, 0, 0, ())


def page_title(text: str, site: Site) -> str:
    """Return a title as MediaWiki stores it, but with spaces for underscores.

    In NFC, without marks of direction, runs of white space one space, the first letter a capital unless the wiki tells
    them apart (MediaWikiTitleCodec::splitTitleString). Only a capital of one character is put, Georgian letters stay
    ($wgOverrideUcfirstCharacters of Wikimedia's wikis), and "i" becomes "İ" in Turkish, Azerbaijani and Karakalpak.
    """
    text = unicodedata.normalize("NFC", _BIDI.sub("", text))
    text = _SPACES.sub(" ", text).strip(" ")
    return _capital(text[0], site.language) + text[1:] if text and site.capital_links else text


def _capital(letter: str, language: str) -> str:
    if letter == "i" and language in _DOTTED_I:
        return "İ"
    if "\u10d0" <= letter <= "\u10ff":
        return letter
    capital = letter.upper()
    return capital if len(capital) == 1 else letter


def read_views(url: str, out: str, site: Site, memory_bytes: int = MEMORY_BYTES) -> tuple[Counter[str], list[Damage]]:
    """Write a file's titles with their views to `out` (VIEWS); return its lines by fate, and what was lost.

    A wiki's lines are told by the first part of its host name: `site.domain`, or its language. Fates: counted,
    other_domain, malformed (not whole, or of more than 2^63 - 1 views, 1 MiB, or 1 KiB of title), bad_encoding (not
    UTF-8), untitled ("-", which Wikimedia writes where it does not know the title). Sums stop at 2^63 - 1. What exceeds
    `memory_bytes` goes to the disk of `out`. Raises InputError when the file is missing, empty, in no format known
    here, or has no line that can be read.
    """
    fates: Counter[str] = Counter()
    with open_input(url) as raw, scratch_beside(out) as scratch:
        stream = _Stream(raw, url)
        blocks = stream.blocks()
        first = next(blocks, b"")
        batches = _batches(chain([first], blocks), _layout(first, stream), site, fates)
        scanned = join(scratch, "lines.parquet")
        write_rows(scanned, VIEWS, batches)
        with database(scratch, memory_bytes, threads=1) as connection:
            scan(connection, scanned).create_view("lines")
            connection.execute(_SUM)
            write_rows(out, VIEWS, connection.sql(_ORDERED).to_arrow_reader(ROW_GROUP_ROWS))
    return +fates, stream.damage


@contextmanager
def scratch_beside(out: str) -> Iterator[str]:
    """Give a temporary folder on the disk that `out` will lie on, the system's when that is none of ours."""
    parent = None if is_remote(out) else os.path.dirname(local_path(out)) or "."
    if parent:
        make_folder(parent)
    folder = tempfile.mkdtemp(prefix=f"{TEMPORARY_PREFIX}scratch-", dir=parent)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _Stream:
    """A file's lines in blocks; `damage` tells, once they are read, what could not be."""

    def __init__(self, raw: IO[bytes], url: str) -> None:
        self.url = url
        self.damage: list[Damage] = []
        self._raw = raw

    def blocks(self) -> Iterator[bytes]:
        """Yield blocks of whole lines, each ended by a newline; of a line that is too long, as much as shows that.

        The lines that damage cuts are lost with it.
        """
        from queries.viewlines import MAX_LINE_BYTES

        rest = b""
        in_line = False  # what follows damage begins somewhere in a line
        for piece in self._pieces():
            if isinstance(piece, Damage):
                self.damage.append(piece)
                rest, in_line = b"", True
                continue
            start = piece.find(b"\n") + 1 if in_line else 0
            end = piece.rfind(b"\n") + 1
            if end > start:
                yield rest + piece[start:end]
            if end:
                rest, in_line = piece[end:], False
            elif not in_line:
                rest = (rest + piece)[: MAX_LINE_BYTES + 1]
        if rest:
            yield rest + b"\n"

    def _pieces(self) -> Iterator[bytes | Damage]:
        """Yield the content, some BLOCK_BYTES at a time, and the holes in it: one, however many blocks it swallowed."""
        gathered: list[bytes] = []
        num_bytes = 0
        last: bytes | Damage | None = None
        for event in chain(self._events(), [None]):
            if isinstance(event, bytes):
                gathered.append(event)
                num_bytes += len(event)
            if not isinstance(event, bytes) or num_bytes >= BLOCK_BYTES:
                yield b"".join(gathered)
                gathered, num_bytes = [], 0
            if isinstance(event, Damage) and not isinstance(last, Damage):
                yield event
            last = event

    def _events(self) -> Iterator[bytes | Damage]:
        compression = compression_of(self._raw.read(6), self.url)
        self._raw.seek(0)
        try:
            if compression == "bzip2":
                yield from self._bzip2()
            else:
                for event in content(self._raw, compression):
                    yield event if isinstance(event, bytes) else self._damage(event.reason, event.detail)
        except OSError as error:
            yield self._damage("cut_short", f"cannot be read: {error}")

    def _bzip2(self) -> Iterator[bytes | Damage]:
        from queries.bzip2 import read_blocks
        from queries.seams import Piece

        size = self._raw.seek(0, os.SEEK_END)
        for start in range(0, size, STRETCH_BYTES):
            for event in read_blocks(self._range, start, min(start + STRETCH_BYTES, size), size):
                yield event.xml if isinstance(event, Piece) else self._damage(event.reason, event.detail, event.offset)

    def _range(self, start: int, end: int) -> bytes:
        self._raw.seek(start)
        return self._raw.read(end - start)

    def _damage(self, reason: str, detail: str, offset: int | None = None) -> Damage:
        return Damage(self.url, self._raw.tell() if offset is None else offset, reason, detail, None)


def _layout(first: bytes, stream: _Stream) -> _Layout:
    """Return the format that most of a file's first lines are in: real files hold broken ones."""
    lines = first.split(b"\n", HEAD_LINES)[:HEAD_LINES]
    votes = Counter(layout for line in lines for layout in _fitting(line.rstrip(b"\r")))
    if votes:
        return votes.most_common(1)[0][0]
    if stream.damage:
        why = stream.damage[0].detail
        raise InputError(
            f"{stream.url}: expected page views, found no line that can be read ({why}); fetch the file again"
        )
    found = repr(lines[0][:80]) if first else "an empty file"
    raise InputError(
        f"{stream.url}: expected lines of 'en Title count bytes', 'en.wikipedia Title id access total hours' or"
        f" 'Title count', found {found}"
    )


def _fitting(line: bytes) -> list[_Layout]:
    """Return the one format that a line is in, if any."""
    fields = line.split(b" ")
    domain = fields[0] if _DOMAIN.fullmatch(fields[0]) else b""
    if domain and len(fields) == 4 and fields[2].isdigit() and fields[3].isdigit():
        return [_HOURLY]
    if b"." in domain and len(fields) in (5, 6) and fields[-2].isdigit():
        return [_COMPLETE]
    if b"." in domain and len(fields) in (3, 4) and fields[2].isdigit():
        return [_MERGED]
    title, _, count = line.replace(b"\t", b" ").strip(b" ").rpartition(b" ")
    return [_LIST] if title and count.isdigit() else []


def _batches(blocks: Iterator[bytes], layout: _Layout, site: Site, fates: Counter[str]) -> Iterator[pa.RecordBatch]:
    """Yield the titles and views of each block; counts lines by fate as it goes."""
    from queries import viewlines

    domains = layout.domains(site.domain or site.language)
    codes = np.frombuffer(b"".join(domains), np.uint8)
    code_offsets = np.cumsum([0, *map(len, domains)], dtype=np.int64)
    numbers = np.array([layout.fewest, layout.most, layout.place], np.int64)
    table = _code_points(site.language, site.capital_links)
    for block in blocks:
        data = np.frombuffer(block, np.uint8)
        text, offsets, views, flags, counts = viewlines.scan_lines(
            data, numbers, codes, code_offsets, table, site.capital_links
        )
        fates.update(dict(zip(viewlines.FATES, counts.tolist(), strict=True)))
        titles = pa.LargeStringArray.from_buffers(len(views), pa.py_buffer(offsets), pa.py_buffer(text))
        batch = pa.record_batch([_mended(titles, pa.array(flags), site), pa.array(views)], names=VIEWS.names)
        named = pc.not_equal(batch.column("title"), "")  # marks of direction and white space leave nothing
        num_empty = len(named) - named.true_count
        fates.update({"counted": -num_empty, "malformed": num_empty})
        yield batch.filter(named) if num_empty else batch


def _mended(titles: pa.LargeStringArray, flags: pa.BooleanArray, site: Site) -> pa.LargeStringArray:
    """Return titles, those that are flagged by `page_title`."""
    if not flags.true_count:
        return titles
    mended = [page_title(title, site) for title in titles.filter(flags).to_pylist()]
    return pc.replace_with_mask(titles, flags, pa.array(mended, pa.large_string()))


@lru_cache(maxsize=4)
def _code_points(language: str, capital_links: bool) -> NDArray[np.uint8]:
    """Return the bits of each code point of the basic plane that `viewlines` wants: which a title may not just keep.

    Unsafe: what NFC changes, what it may compose with what stands before, white space and marks of direction. Unsafe at
    the start: letters with a capital, beyond those that ASCII has.
    """
    from queries.viewlines import UNSAFE, UNSAFE_FIRST

    vanishing = {code for code in range(0x80, 0x10000) if _BIDI.match(chr(code)) or _SPACES.match(chr(code))}
    table = np.zeros(0x10000, np.uint8)
    table[sorted(vanishing | _composing())] = UNSAFE
    if capital_links:
        for code in range(0x10000):
            letter = chr(code)
            if _capital(letter, language) != (letter.upper() if code < 0x80 else letter):
                table[code] |= UNSAFE_FIRST
    return table


def _composing() -> set[int]:
    """Return the code points of the basic plane before which a title cannot be cut into parts that are in NFC."""
    found = {*range(0x1161, 0x1176), *range(0x11A8, 0x11C3)}  # vowels and finals of Hangul: UAX #15, section 16
    for code in range(0x80, 0x10000):
        letter = chr(code)
        parts = unicodedata.decomposition(letter).split()
        if len(parts) == 2 and not parts[0].startswith("<"):
            found.add(int(parts[1], 16))
        if unicodedata.combining(letter) or not unicodedata.is_normalized("NFC", letter):
            found.add(code)
    return {code for code in found if code < 0x10000}
