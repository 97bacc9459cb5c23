"""WAT files: the links and the metadata that Common Crawl extracted of each page, as JSON."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, ClassVar

import numpy as np

from pipelines.sources.archive import Record, read_records, records
from pipelines.sources.json_kernels import I64, PADDING_BYTES
from pipelines.sources.source import UNREADABLE_ARCHIVE, Fault, Links, Slice
from pipelines.sources.warc_kernels import METADATA, ODD, find_bodies
from pipelines.sources.wat_images import Bodies, images
from pipelines.sources.whole_members import whole_members
from wit.storage import open_input

_KINDS = ("metadata", "warcinfo")
_MAX_RECORD_BYTES = 64 << 20  # the largest of a crawl are a few MiB: Common Crawl cuts pages at 1 MiB
_BATCH_BYTES = 8 << 20  # a batch costs 0.2 ms by itself
_INFO, _INFO_BYTES = b"warcinfo", 64

_SOFTWARE = re.compile(rb"ia-web-commons\S*-(\d{8})\d{6}\b")
_DECODES_SINCE = b"20190613"
"""From this build on the extractor decodes character references; before, values are as the page writes them.

Source: commoncrawl/ia-web-commons, issue 14; first crawl: CC-MAIN-2019-26.
"""


@dataclass(frozen=True)
class Wat:
    """Web archive transformations: images with a text."""

    kind: ClassVar[str] = "wat"

    def slices(self, url: str) -> Iterator[Slice]:
        """One slice: an archive is read from its beginning."""
        yield Slice(url)

    def findings(self, piece: Slice) -> Iterator[Links | Fault]:
        """Yield the images of each page that have a text attribute, in the order of records and links."""
        with open_input(piece.url) as file:
            members = _Members()
            yield from members.images(file)
            yield from _careful(_rest(piece.url, file, members.stop), members.has_references)


def _has_references(info: bytes) -> bool:
    """Return whether values have their character references, by the warcinfo record of the file."""
    software = _SOFTWARE.search(info)
    return software is None or software.group(1) < _DECODES_SINCE


class _Members:
    """Reads the records of a file as long as each is a gzip member of its own, and plain."""

    def __init__(self) -> None:
        self.stop = 0
        """Where in the file the first other record lies, or its end."""
        self.has_references = True
        self._is_odd = False

    def images(self, file: IO[bytes]) -> Iterator[Links | Fault]:
        """Yield what the records hold up to `stop`."""
        batch = _Batch()
        for member in whole_members(file):
            is_info = _INFO in member.data[:_INFO_BYTES]
            if is_info or batch.num_bytes >= _BATCH_BYTES:
                yield from self._flush(batch)
                batch = _Batch()
            if self._is_odd:
                return
            if is_info:
                self.has_references = _has_references(member.data)
            batch.add(member.data, member.start, member.stop)
        yield from self._flush(batch)

    def _flush(self, batch: _Batch) -> Iterator[Links | Fault]:
        data, bounds = batch.joined()
        num_records = len(bounds) - 1
        if not num_records:
            return
        kinds, starts, stops = np.empty(num_records, np.int8), *np.empty((2, num_records), np.int64)
        find_bodies(np.frombuffer(data, np.uint8), bounds, kinds, starts, stops)
        offsets, is_odd = np.array(batch.offsets, np.int64), kinds == ODD
        self._is_odd = bool(is_odd.any())
        self.stop = int(offsets[is_odd.argmax()]) if self._is_odd else batch.stop
        chosen = (kinds == METADATA) & (offsets < self.stop)
        if chosen.any():
            yield from images(Bodies(data, starts[chosen], stops[chosen], offsets[chosen]), self.has_references)


def _careful(found: Iterator[Record | Fault], has_references: bool) -> Iterator[Links | Fault]:
    """Yield what records hold that the reader of all kinds of archives finds."""
    batch = _Batch()
    for record in found:
        is_fault = isinstance(record, Fault)
        is_info = isinstance(record, Record) and record.kind == "warcinfo"
        if is_fault or is_info or batch.num_bytes >= _BATCH_BYTES:
            yield from batch.images(has_references)
            batch = _Batch()
        if isinstance(record, Fault):
            yield record
        elif is_info:
            has_references = _has_references(record.body)
        elif record.kind == "metadata":
            batch.add(record.body, record.offset, 0)
    yield from batch.images(has_references)


def _rest(url: str, file: IO[bytes], offset: int) -> Iterator[Record | Fault]:
    """Yield the records of a file from an offset on."""
    if not offset:
        yield from records(url, _KINDS, _MAX_RECORD_BYTES)
        return
    try:
        yield from read_records(file, _KINDS, _MAX_RECORD_BYTES, offset)
    except OSError as error:
        yield Fault(UNREADABLE_ARCHIVE, f"behind byte {offset}: {error}", None)


class _Batch:
    """Records, or their bodies alone, that are looked through in one go."""

    def __init__(self) -> None:
        self.offsets: list[int] = []
        self.num_bytes = 0
        self.stop = 0
        self._parts: list[bytes] = []

    def add(self, part: bytes, offset: int, stop: int) -> None:
        """Add what lies at an offset of the file, up to another."""
        self.offsets.append(offset)
        self.num_bytes += len(part)
        self.stop = stop
        self._parts.append(part)

    def joined(self) -> tuple[bytes, I64]:
        """Return all in one, with the padding that kernels need, and the bounds of each."""
        bounds = np.zeros(len(self._parts) + 1, np.int64)
        np.cumsum([len(part) for part in self._parts], out=bounds[1:])
        return b"".join([*self._parts, bytes(PADDING_BYTES)]), bounds

    def images(self, has_references: bool) -> Iterator[Links | Fault]:
        """Yield what the bodies hold."""
        if self.offsets:
            data, bounds = self.joined()
            yield from images(Bodies(data, bounds[:-1], bounds[1:], np.array(self.offsets, np.int64)), has_references)
