"""Where whole pages end: XML that comes in pieces, with gaps where the file could not be read.

A dump is read in parts that know nothing of each other, so a part begins and ends inside a page, as a rule. Everything
before a part's first page and after its last is kept as its edges; joined in order they give the pages that cross the
borders. A gap parts the XML on its two sides: what stands between it and the next page's start is lost.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from queries.pages import DUMP_END, MAX_PAGE_BYTES, NAMED_BYTES, PAGE_END, PAGE_START, find_content, title_in
from queries.wikipedia import Damage


@dataclass(frozen=True)
class Piece:
    """Bytes of XML, and where in the stored file they lie (compressed: the block or stream they come from)."""

    offset: int
    xml: bytes


@dataclass(frozen=True)
class Gap:
    """XML that could not be had."""

    offset: int
    """Where in the stored file it begins."""
    reason: str
    """One of DAMAGE_REASONS."""
    detail: str
    padding: bool = False
    """Bytes between or after compressed streams: nothing is lost with them once the dump has ended."""


Event = Piece | Gap


@dataclass(frozen=True)
class PartEdges:
    """What a part leaves to its neighbours."""

    head: tuple[Event, ...]
    """Before its first whole page, or, when it has none, all of it."""
    tail: tuple[Event, ...]
    """After its last whole page."""
    whole: bool
    """The part has no whole page: `head` goes on in the next part."""

    def to_bytes(self) -> bytes:
        """Return the edges as JSON; `from_bytes` reads it."""
        sides = [[_as_list(event) for event in side] for side in (self.head, self.tail)]
        return json.dumps([*sides, self.whole]).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> PartEdges:
        """Return the edges that `to_bytes` wrote."""
        head, tail, whole = json.loads(data)
        return cls(tuple(map(_from_list, head)), tuple(map(_from_list, tail)), whole)


def _as_list(event: Event) -> list[object]:
    if isinstance(event, Piece):
        return [event.offset, event.xml.decode("latin-1")]  # latin-1: any byte is a character
    return [event.offset, event.reason, event.detail, event.padding]


def _from_list(fields: list[object]) -> Event:
    if len(fields) == 2:
        offset, xml = fields
        assert isinstance(offset, int)
        assert isinstance(xml, str)
        return Piece(offset, xml.encode("latin-1"))
    return Gap(*fields)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Body:
    """XML that begins with a page's start and ends with a page's end, without a gap."""

    piece: Piece


class Cutter:
    """Takes pieces and gaps in the file's order; gives bodies of whole pages, and damage.

    `exact`: the XML lies in the file as it is, so that offsets of pieces add up with places in them.
    `keep_head`: what comes before the first body is a part's head, not for this cutter to judge.
    Memory: `chunk_bytes`, or a page's 64 MiB when a page is that long, or whatever one piece holds.
    """

    def __init__(self, url: str, exact: bool, chunk_bytes: int, keep_head: bool) -> None:
        self.url, self.exact, self.chunk_bytes = url, exact, chunk_bytes
        self.keep_head = keep_head
        self.head: tuple[Event, ...] | None = None
        """What came before the first body; None as long as there is none."""
        self.rest: list[Event] = []
        """What came after the last body."""
        self._fresh = 0
        self._at_start = not keep_head

    def feed(self, event: Event) -> Iterator[Body | Damage]:
        """Take the next event."""
        if isinstance(event, Gap):
            yield from self.cut()
            last = self.rest[-1] if self.rest else None
            if isinstance(last, Gap):  # one hole, however many blocks it swallows
                if event.padding or (event.reason == last.reason and not last.padding):
                    return
                if last.padding:
                    self.rest.pop()
            self.rest.append(event)
            return
        self.rest.append(event)
        self._fresh += len(event.xml)
        if self._fresh >= self.chunk_bytes:
            yield from self.cut()

    def cut(self) -> Iterator[Body | Damage]:
        """Give the whole pages among what has been taken."""
        self._fresh = 0
        pieces = self._last_pieces()
        if not pieces:
            return
        xml = b"".join(piece.xml for piece in pieces) if len(pieces) > 1 else pieces[0].xml
        start = xml.find(PAGE_START)
        end = xml.rfind(PAGE_END, start) + len(PAGE_END) if start >= 0 else 0
        if end < len(PAGE_END):
            self.rest += self._shortened(Piece(pieces[0].offset, xml), start) if xml else []
            return
        if start:
            self.rest.append(Piece(pieces[0].offset, xml[:start]))
        damage: list[Damage] = []
        if self.head is None and self.keep_head:
            self.head = tuple(self.rest)
        else:
            damage = list(self.settle())
        body = Body(Piece(self._offset(pieces, start), xml[start:end]))
        self.rest = [Piece(self._offset(pieces, end), xml[end:])] if end < len(xml) else []
        del pieces, xml  # not to be held while the body is worked on
        yield from damage
        yield body

    def settle(self, end_of_file: bool = False) -> Iterator[Damage]:
        """Judge what is left: it is followed by a page's start, or by nothing."""
        yield from _judge(self.rest, self.url, self._at_start, end_of_file)
        self.rest = []
        self._at_start = False

    def _last_pieces(self) -> list[Piece]:
        """Take off and return the pieces since the last gap."""
        pieces: list[Piece] = []
        while self.rest and isinstance(self.rest[-1], Piece):
            pieces.append(self.rest.pop())  # type: ignore[arg-type]
        return pieces[::-1]

    def _offset(self, pieces: list[Piece], place: int) -> int:
        for piece in pieces:
            if place < len(piece.xml):
                return piece.offset + place * self.exact
            place -= len(piece.xml)
        return pieces[-1].offset + len(pieces[-1].xml) * self.exact

    def _shortened(self, piece: Piece, start: int) -> list[Event]:
        """Return what must be known of a piece without a whole page: all of it, unless its pages are lost anyway."""
        page = max(start, 0)
        num_bytes = len(piece.xml) - page
        after_gap = bool(self.rest) and start < 0
        if num_bytes <= MAX_PAGE_BYTES and not after_gap:
            return [piece]
        # what ends in it, and what begins at its very end
        marks = [mark for mark in (PAGE_END, DUMP_END) if piece.xml.find(mark, page) >= 0]
        rest = Piece(piece.offset, b"".join(marks) + piece.xml[-len(DUMP_END) :])
        if after_gap:
            return [rest]
        kept = piece.xml[: start + NAMED_BYTES] if start >= 0 else b""
        gap = Gap(piece.offset + page * self.exact, "page_too_long", f"no </page> in {num_bytes:,} bytes")
        return [Piece(piece.offset, kept), gap, rest]


@dataclass(frozen=True)
class _Segment:
    """XML between two gaps that holds no whole page."""

    offset: int
    xml: bytes

    @property
    def open_page(self) -> bytes | None:
        """The page that begins here and does not end."""
        start = self.xml.find(PAGE_START)
        return self.xml[start:] if start >= 0 else None


def _judge(rest: list[Event], url: str, at_start: bool, end_of_file: bool) -> Iterator[Damage]:
    segments, gaps = _segments(rest)
    ended = [DUMP_END in segment.xml for segment in segments]
    for index, gap in enumerate(gaps):
        if index and _goes_on(gaps[index - 1], segments[index], gap):
            continue
        harmless = gap.padding and end_of_file and any(ended[: index + 1])
        if not harmless or any(segment.open_page for segment in segments[index + 1 :]):
            yield _at_gap(gap, segments[index], segments[index + 1], url)
    last = segments[-1]
    if end_of_file and not any(ended):
        if last.xml or not gaps or gaps[-1].padding:  # otherwise the last gap says it
            yield _cut_short(last, url)
        return
    if not gaps and not at_start:
        yield from find_content(last.xml.partition(PAGE_START)[0], url, last.offset)
    if last.open_page:
        yield Damage(url, last.offset, "malformed_page", f"{title_in(last.open_page)} has no </page>", 1)


def _goes_on(before: Gap, between: _Segment, after: Gap) -> bool:
    """Return whether two gaps are one page that is too long for two parts."""
    in_page = PAGE_END not in between.xml and not between.open_page
    return before.reason == after.reason == "page_too_long" and in_page


def _segments(rest: list[Event]) -> tuple[list[_Segment], list[Gap]]:
    pieces: list[list[Piece]] = [[]]
    gaps: list[Gap] = []
    for event in rest:
        if isinstance(event, Gap):
            gaps.append(event)
            pieces.append([])
        else:
            pieces[-1].append(event)
    return [_Segment(run[0].offset if run else 0, b"".join(piece.xml for piece in run)) for run in pieces], gaps


def _at_gap(gap: Gap, before: _Segment, after: _Segment, url: str) -> Damage:
    detail, pages = gap.detail, 0
    if before.open_page is not None:
        detail, pages = f"{detail}; it takes the rest of {title_in(before.open_page)}", 1
    if PAGE_END in after.xml.partition(PAGE_START)[0]:
        detail, pages = f"{detail}; it takes the beginning of a page that ends after it", 1
    return Damage(url, gap.offset, gap.reason, detail, pages or None)


def _cut_short(last: _Segment, url: str) -> Damage:
    if last.open_page:
        return Damage(url, last.offset, "cut_short", f"{title_in(last.open_page)} breaks off, as the file does", 1)
    return Damage(url, last.offset, "cut_short", "the file ends between pages, before </mediawiki>", None)
