"""What a source is: it cuts an input file into slices, and finds image links with their texts in a slice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipelines.sources.links import valid_text

I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]


class Slice(NamedTuple):
    """A piece of an input that is worked through in one go; a row of wit.schema.INPUTS."""

    url: str
    start: int = 0
    stop: int | None = None


@dataclass(frozen=True)
class Links:
    """Images and the texts beside them, as a source writes them: n rows in columns, in file order.

    Texts are valid UTF-8 without lone surrogates, without nulls, with white space as it is.
    """

    url: pa.LargeStringArray
    """Address of each image, as written: absolute, or relative to its page's `base`."""
    text: pa.LargeStringArray
    page: I32
    """Index into `page_url` and `base`; -1: the source has no pages."""
    offset: I64
    """Of the record in its archive, in bytes; or the number of the row in its table."""
    attribute: I32
    """Index into `attributes`."""
    page_url: pa.LargeStringArray
    """Addresses of pages; empty: the archive does not say."""
    base: pa.LargeStringArray
    """What relative addresses on each page are relative to: absolute."""
    attributes: Sequence[str]
    """Names of the places that texts come from: img@alt, figcaption, a table's column, ..."""
    url_has_references: bool = False
    """Whether `url` still has its character references (&amp;)."""
    text_has_references: bool = False

    def __len__(self) -> int:
        return len(self.url)


class Fault(NamedTuple):
    """A record, or the rest of an archive, that could not be read."""

    reason: str
    detail: str
    offset: int | None
    """Of the record; None: the rest of the archive is lost."""


MALFORMED_RECORD = "malformed_record"
UNREADABLE_ARCHIVE = "unreadable_archive"

FLUSH_ROWS = 16_384
FLUSH_BYTES = 1 << 25
_ROW_COLUMNS = ("url", "text", "page", "offset", "attribute")


@dataclass
class LinksBuilder:
    """Collects links one by one into `Links`, for sources whose parsing is done in Python anyway."""

    attributes: tuple[str, ...]
    _rows: dict[str, list[Any]] = field(default_factory=lambda: {name: [] for name in _ROW_COLUMNS})
    _page_urls: list[str] = field(default_factory=list)
    _bases: list[str] = field(default_factory=list)
    _num_bytes: int = 0

    def __len__(self) -> int:
        return len(self._rows["url"])

    @property
    def is_full(self) -> bool:
        """Whether it is time to flush: many rows, or long ones."""
        return len(self) >= FLUSH_ROWS or self._num_bytes >= FLUSH_BYTES

    def page(self, page_url: str, base: str) -> None:
        """Begin a page: the links added next are on it."""
        self._page_urls.append(page_url)
        self._bases.append(base)

    def add(self, url: str, text: str, offset: int, attribute: str) -> None:
        """Add a link of the present page, or of none when no page was begun; entities are decoded."""
        place = self.attributes.index(attribute)
        self._num_bytes += num_bytes(url) + num_bytes(text)
        for name, value in zip(_ROW_COLUMNS, (url, text, len(self._page_urls) - 1, offset, place), strict=True):
            self._rows[name].append(value)

    def flush(self) -> Links:
        """Return what was collected, and begin anew, on no page."""
        rows, page_urls, bases = self._rows, self._page_urls, self._bases
        self._rows, self._page_urls, self._bases = {name: [] for name in _ROW_COLUMNS}, [], []
        self._num_bytes = 0
        return Links(
            text_array(rows["url"]),
            text_array(rows["text"]),
            np.array(rows["page"], np.int32),
            np.array(rows["offset"], np.int64),
            np.array(rows["attribute"], np.int32),
            text_array(page_urls),
            text_array(bases),
            self.attributes,
        )


def num_bytes(text: str) -> int:
    """Return how long a text is in UTF-8: four bytes for an emoji."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))


def text_array(texts: Sequence[str]) -> pa.LargeStringArray:
    """Return texts as Arrow strings; a lone surrogate, which UTF-8 has not, becomes "?"."""
    try:
        return pa.array(texts, pa.large_string())
    except (UnicodeEncodeError, pa.ArrowException):
        return pa.array(list(map(valid_text, texts)), pa.large_string())


class Source(Protocol):
    """One kind of input."""

    kind: ClassVar[str]

    def slices(self, url: str) -> Iterator[Slice]:
        """Cut a file into slices by a look at its name or footer; raises InputError when it can never be read."""

    def findings(self, piece: Slice) -> Iterator[Links | Fault]:
        """Yield what a slice holds, in file order; a broken record is a Fault, never an exception."""
