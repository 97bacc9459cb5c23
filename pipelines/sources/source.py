"""What a source is: it cuts an input file into slices, and finds image links with their texts in a slice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, NamedTuple, Protocol


class Slice(NamedTuple):
    """A piece of an input that is worked through in one go; a row of wit.schema.INPUTS."""

    url: str
    start: int = 0
    stop: int | None = None


class Link(NamedTuple):
    """An image and one text beside it, as the source writes them, entities decoded."""

    url: str
    base: str
    """What a relative `url` is relative to; empty when the source has no pages."""
    text: str
    page_url: str | None
    offset: int
    attribute: str


class Fault(NamedTuple):
    """A record, or the rest of an archive, that could not be read."""

    reason: str
    detail: str
    offset: int | None
    """Of the record; None: the rest of the archive is lost."""


MALFORMED_RECORD = "malformed_record"
UNREADABLE_ARCHIVE = "unreadable_archive"


class Source(Protocol):
    """One kind of input."""

    kind: ClassVar[str]

    def slices(self, url: str) -> Iterator[Slice]:
        """Cut a file into slices by a look at its name or footer; raises InputError when it can never be read."""

    def findings(self, piece: Slice) -> Iterator[Link | Fault]:
        """Yield what a slice holds, in file order; a broken record is a Fault, never an exception."""
