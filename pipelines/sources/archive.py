"""Records of WARC and ARC files (WAT files are WARC files), compressed or not, local or remote.

A damaged gzip member or a malformed record costs itself only: reading goes on with the next one. Sources: WARC file
format 1.1 (IIPC, 2017); ARC file format, versions 1 and 2 (Internet Archive, 1996).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from functools import lru_cache
from io import SEEK_END
from typing import IO, NamedTuple

from pipelines.sources.feed import Feed
from pipelines.sources.members import Edge, pieces
from pipelines.sources.source import MALFORMED_RECORD, UNREADABLE_ARCHIVE, Fault
from wit.storage import open_input

WINDOW_BYTES = 16 << 20
"""How far a record is looked ahead: one whose Content-Length is wrong by more costs all that the length covers."""

_MAX_HEAD_BYTES = 1 << 16
_MAX_RATIO = 1032  # deflate: a bit for 258 bytes, twice a byte's 8 bits; RFC 1951
_ENDLESS, _NO_LENGTH = "a header without end", "no length"
_MAX_GAP_BYTES = 64  # of line ends between records: two are right, several are common
_MAGIC, _NEXT = b"WARC/", b"\nWARC/"
_BLANKS = (b" ", b"\t")
_WARC = re.compile(rb"WARC/\d\.\d{1,3}[ \t]*\r{0,2}\n")
_HEAD_END = re.compile(rb"\r{0,2}\n\r{0,2}\n|\nWARC/")  # two \r: an archive that went through a text mode
_ARC = re.compile(rb"[a-z][a-z0-9+.-]{1,15}:[^\r\n]{1,4400}\r?\n")
_START = re.compile(
    rb"(?<![^\n])(?:WARC/\d\.\d{1,3}[ \t]*\r{0,2}\n"
    rb"|[a-z][a-z0-9+.-]{1,15}:[^ \r\n]{1,4096} [0-9A-Fa-f.:]{2,45} \d{12,18} [^\r\n]{0,200} -?\d{1,15}\r?\n)"
)
_START_BYTES = 4_500  # the longest line of _START
_NOT_LINE_END = re.compile(rb"[^\r\n]")
_LENGTH = re.compile(rb"\d{1,15}")
_DATE = re.compile(rb"\d{8,18}")
_ADDRESS = re.compile(rb"[0-9A-Fa-f]*[.:][0-9A-Fa-f.:]*")


class Record(NamedTuple):
    """A record of an archive, whole."""

    kind: str
    """WARC-Type. Of an ARC record: `response` when it is of HTTP, `filedesc` of the first, else `resource`."""
    offset: int
    """Where it lies in the file, in bytes: of its gzip member, or of its own first byte in a file as it is."""
    head: bytes
    """Its WARC fields as written, or the line of an ARC record."""
    body: bytes
    """Its first bytes, as many as were asked for."""
    num_bytes: int
    """Size of its whole body."""

    @property
    def url(self) -> str:
        """The page or image it is of; empty when the archive does not say."""
        arc = None if self.head.startswith(_MAGIC) else _arc_line(self.head)
        return arc.url if arc else _field(self.head, b"WARC-Target-URI").strip("<> ")  # wget writes <URI>

    def field(self, name: str) -> str:
        """Return a WARC field; empty when there is none."""
        return _field(self.head, name.encode())


def records(url: str, kinds: Collection[str], limit_bytes: int) -> Iterator[Record | Fault]:
    """Yield the records of an archive in order; a Fault stands for a broken one, or for the rest of the file.

    Bodies of other `kinds` are left out, and longer ones are cut at `limit_bytes`.
    """
    num_records = 0
    first: Fault | None = None  # held back: it may be that the file is no archive at all
    with open_input(url) as file:
        try:
            for each in read_records(file, kinds, limit_bytes):
                if first:
                    yield first
                first, is_first = None, not num_records
                num_records += isinstance(each, Record)
                if is_first and isinstance(each, Fault):
                    first = each
                else:
                    yield each
        except OSError as error:
            first = Fault(UNREADABLE_ARCHIVE, f"after {num_records} records: {error}", None)
        if first and first.offset is not None:
            first = Fault(UNREADABLE_ARCHIVE, f"no WARC or ARC record found: {first.detail}", None)
        elif not first and not num_records and file.seek(0, SEEK_END):
            first = Fault(UNREADABLE_ARCHIVE, "no WARC or ARC record found", None)
        if first:
            yield first


def record_at(file: IO[bytes], offset: int, limit_bytes: int) -> Record | None:
    """Return the record at an offset, as `records` gives it; None when there is no whole one.

    Raises OSError when the file cannot be read.
    """
    found = next(read_records(file, (), limit_bytes, offset), None)
    return found if isinstance(found, Record) and found.offset == offset else None


def read_records(file: IO[bytes], kinds: Collection[str], limit_bytes: int, start: int = 0) -> Iterator[Record | Fault]:
    """Yield the records of a file from an offset on; see `records`. No `kinds`: the bodies of all.

    Raises OSError when the file cannot be read.
    """
    file_bytes = file.seek(0, SEEK_END)
    reader = _Reader(Feed(pieces(file, begins_record, start)), kinds, limit_bytes, file_bytes)
    while True:
        piece = reader.feed.cross()
        if piece.edge is Edge.END:
            return
        if piece.edge is Edge.DAMAGE:
            yield Fault(MALFORMED_RECORD, piece.detail, piece.offset)
        elif piece.edge is Edge.CUT:
            yield Fault(UNREADABLE_ARCHIVE, f"the file ends inside the record at byte {piece.offset}", None)
        else:
            yield from reader.stream()


def begins_record(data: bytes) -> bool:
    """Return whether bytes begin with the first line of a record."""
    if _WARC.match(data):
        return True
    line = _ARC.match(data)
    return line is not None and _arc_line(line.group()) is not None


class _Head(NamedTuple):
    kind: str
    num_bytes: int
    text: bytes


class _Reader:
    """Takes records off a feed, stream by stream."""

    def __init__(self, feed: Feed, kinds: Collection[str], limit_bytes: int, file_bytes: int) -> None:
        self.feed = feed
        self._file_bytes = file_bytes
        self._kinds = kinds
        self._limit_bytes = limit_bytes

    def stream(self) -> Iterator[Record | Fault]:
        """Yield the records of one stream: of a gzip member, or of a whole file."""
        while self.feed.skip_blank():
            offset = self.feed.offset
            head = self._head()
            if isinstance(head, str):
                yield self._skip_headless(offset, head)
                continue
            found = self._body(head, offset)
            yield found
            if isinstance(found, Fault) and found.offset is None:
                return

    def _skip_headless(self, offset: int, detail: str) -> Fault:
        """Skip to the next record; return the fault that this one is."""
        feed = self.feed
        is_last = not feed.skip_to(_START, _START_BYTES) and feed.edge in (Edge.END, Edge.CUT)
        if is_last and (feed.edge is Edge.CUT or detail == _ENDLESS):
            self._cross_cut()
            return Fault(UNREADABLE_ARCHIVE, f"the file ends inside the header at byte {offset}", None)
        return self._damaged(offset) or Fault(MALFORMED_RECORD, detail, offset)

    def _head(self) -> _Head | str:
        """Take the header of the record that begins here; returns what is wrong when there is none."""
        feed = self.feed
        end = _head_end(feed.data, feed.at)
        if end is None and feed.fill(len(feed.data) - feed.at + 1):
            feed.fill(_MAX_HEAD_BYTES)
            end = _head_end(feed.data, feed.at)
        if not _WARC.match(feed.data, feed.at):
            return self._arc_head()
        if end is None:
            feed.at += 1
            return _ENDLESS
        text = feed.data[feed.at : end[0]]
        num_bytes = _LENGTH.fullmatch(_field(text, b"Content-Length").encode())
        feed.at = end[1]
        return _Head(_field(text, b"WARC-Type").lower(), int(num_bytes.group()), text) if num_bytes else _NO_LENGTH

    def _arc_head(self) -> _Head | str:
        feed = self.feed
        line = _ARC.match(feed.data, feed.at)
        arc = _arc_line(line.group()) if line else None
        if line is None or arc is None:
            feed.at += 1
            return "no record begins here"
        feed.at = line.end()
        return _Head(arc.kind, arc.num_bytes, line.group()) if arc.num_bytes >= 0 else _NO_LENGTH

    def _body(self, head: _Head, offset: int) -> Record | Fault:
        """Take a body: whole, and followed by a record or the end, or it is none."""
        feed, size = self.feed, head.num_bytes
        wanted = min(size, self._limit_bytes) if not self._kinds or head.kind in self._kinds else 0
        if size > WINDOW_BYTES:
            if size > (self._file_bytes - offset) * (1 if feed.is_plain else _MAX_RATIO):
                return self._cut_short(offset)
            is_whole = feed.fill(wanted)
            body = feed.data[feed.at : feed.at + wanted]
            if not is_whole or not feed.skip(size) or not self._follows(0):
                return self._cut_short(offset)
        else:
            if not feed.fill(size) or (not self._follows(size) and _START.search(feed.data, feed.at, feed.at + size)):
                return self._cut_short(offset)
            body = feed.data[feed.at : feed.at + wanted]
            feed.at += size
        damaged = self._damaged(offset)
        return damaged or Record(head.kind, offset, head.text, body, size)

    def _follows(self, size: int) -> bool:
        """Return whether a record or the end of the stream comes after so many bytes and some line ends."""
        feed = self.feed
        if not feed.fill(size + _START_BYTES) and len(feed.data) - feed.at - size <= _MAX_GAP_BYTES:
            return not feed.data[feed.at + size :].strip(b"\r\n\0")
        after = _NOT_LINE_END.search(feed.data, feed.at + size)
        return after is None or begins_record(feed.data[after.start() : after.start() + _START_BYTES])

    def _cut_short(self, offset: int) -> Fault:
        """Skip a record that has less than its length, up to the next one; return the fault that it is."""
        feed = self.feed
        if feed.skip_to(_START, _START_BYTES):
            return Fault(MALFORMED_RECORD, "its length reaches into the next record", offset)
        if feed.edge in (Edge.END, Edge.CUT):
            self._cross_cut()
            return Fault(UNREADABLE_ARCHIVE, f"the file ends inside the record at byte {offset}", None)
        return self._damaged(offset) or Fault(MALFORMED_RECORD, "it ends before its length", offset)

    def _damaged(self, offset: int) -> Fault | None:
        """Return the fault of a record whose stream breaks behind it, and go on behind the damage."""
        feed = self.feed
        if feed.edge is not Edge.DAMAGE or feed.skip_blank():
            return None
        return Fault(MALFORMED_RECORD, feed.cross().detail, offset)

    def _cross_cut(self) -> None:
        if self.feed.edge is Edge.CUT:
            self.feed.cross()


def _head_end(data: bytes, at: int) -> tuple[int, int] | None:
    """Return where the header that begins at `at` ends, and where its body begins; None when it has no end."""
    end = data.find(b"\r\n\r\n", at, at + _MAX_HEAD_BYTES)
    if end >= 0 and data.find(_NEXT, at, end) < 0:
        return end, end + 4
    found = _HEAD_END.search(data, at, at + _MAX_HEAD_BYTES)
    return found.span() if found and not found.group().endswith(_NEXT) else None


class _Arc(NamedTuple):
    url: str
    kind: str
    num_bytes: int


def _arc_line(line: bytes) -> _Arc | None:
    """Return what the first line of an ARC record says, its length -1 when it has none: URL, address, date, ..."""
    words = line.rstrip(b"\r\n").split(b" ")
    places = range(2, len(words) - 1)
    date = next((at for at in places if _DATE.fullmatch(words[at]) and _ADDRESS.fullmatch(words[at - 1])), None)
    if date is None:
        return None
    url = b" ".join(words[: date - 1]).decode("utf-8", "replace")
    num_bytes = int(words[-1]) if _LENGTH.fullmatch(words[-1]) else -1
    kind = "filedesc" if url.startswith("filedesc:") else "response" if url.startswith("http") else "resource"
    return _Arc(url, kind, num_bytes)


@lru_cache
def _pattern(name: bytes) -> re.Pattern[bytes]:
    return re.compile(rb"(?i)\n" + name + rb"[ \t]*:[ \t]*([^\r\n]*(?:\r{0,2}\n[ \t][^\r\n]*)*)")


def _field(head: bytes, name: bytes) -> str:
    start = head.find(b"\n%b: " % name)
    if start >= 0:  # as nearly all write it, which takes a tenth of the time
        start += len(name) + 3
        end = head.find(b"\r\n", start)
        if end >= 0 and head[end + 2 : end + 3] not in _BLANKS:
            return head[start:end].decode("utf-8", "replace").strip()
    found = _pattern(name).search(head)
    return " ".join(found.group(1).decode("utf-8", "replace").split()) if found else ""
