"""Tables of URLs with captions: Parquet, CSV, TSV, JSON, text; the text formats also as .gz, .zst or .bz2."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import pyarrow as pa

from pipelines.sources.delimited import delimited_rows
from pipelines.sources.json_rows import document_rows, json_rows
from pipelines.sources.parquet import parquet_columns, parquet_rows
from pipelines.sources.rows import NO_TEXTS, Choose, Columns, Rows
from pipelines.sources.source import Fault, Links, Slice
from pipelines.sources.windows import Dialect
from wit.errors import InputError
from wit.foreign import CAPTION_FIELDS, URL_FIELDS
from wit.parquet import open_parquet
from wit.storage import base_name

SLICE_ROWS = 1_000_000
"""Of a slice of small row groups."""
MAX_SLICE_ROWS = 4_000_000
"""Of a slice of one row group. The rows before it in its row group are unpacked again, so it is larger."""
MAX_ROWS = 10_000_000_000
"""Of a Parquet file; the largest published ones have some 20 million."""

PAGE_COLUMNS = ("page_url", "PAGE_URL", "pageUrl")


@dataclass(frozen=True)
class Preset:
    """The columns of a published data set: the first of each that a file has."""

    url: tuple[str, ...]
    caption: tuple[str, ...]
    page: tuple[str, ...] = ()
    header: tuple[str, ...] = ()
    """Names of the columns where the published files have no first line with them."""
    site: str = ""
    """What addresses of pages that begin with "/" are on."""


PRESETS: dict[str, Preset] = {
    "auto": Preset(URL_FIELDS, CAPTION_FIELDS, PAGE_COLUMNS),
    "laion": Preset(("URL", "url"), ("TEXT", "caption")),
    "datacomp": Preset(("url",), ("text",)),
    "coyo": Preset(("url",), ("text",)),
    "cc3m": Preset(("url", "image_url"), ("caption",), header=("caption", "url")),
    "cc12m": Preset(("url", "image_url"), ("caption",), header=("url", "caption")),
    "redcaps": Preset(("url", "image_url"), ("caption",), ("permalink",), site="https://www.reddit.com"),
}
"""LAION-400M and 5B have URL and TEXT, Re-LAION url and caption; CC3M, CC12M and RedCaps have url as published by
their authors, image_url as Parquet."""

_FORMAT = re.compile(r"\.(?:(parquet)|(csv|tsv|jsonl|ndjson|json|txt)(?:\.(gz|zst|bz2))?)$", re.IGNORECASE)
_COMPRESSIONS = {"gz": "gzip", "zst": "zstd", "bz2": "bz2"}
_DIALECTS = {"csv": Dialect(","), "tsv": Dialect("\t"), "txt": Dialect("\t", has_quotes=False)}
_TEXT_HEADER = ("url", "caption")
_SHOWN_NAMES = 40


@dataclass(frozen=True)
class Tables:
    """Files of (URL, caption) rows. Column names left empty are the preset's, or found among the usual ones."""

    kind: ClassVar[str] = "table"

    preset: str = "auto"
    url_column: str = ""
    caption_column: str = ""

    def slices(self, url: str) -> Iterator[Slice]:
        """Cut a Parquet file by rows; a text format is one slice. Raises InputError for a wrong format or column."""
        if _format(url)[0] != "parquet":
            next(self._rows(Slice(url)), None)  # a wrong column is told of before any work
            yield Slice(url)
            return
        with open_parquet(url) as file:
            parquet_columns(url, file.schema_arrow, partial(self.columns, url))
            sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
        if min(sizes, default=0) < 0 or sum(sizes) > MAX_ROWS:
            raise InputError(f"{url}: expected at most {MAX_ROWS} rows, found a footer that states {sum(sizes)}")
        for start, stop in _cut(sizes):
            yield Slice(url, start, stop)

    def findings(self, piece: Slice) -> Iterator[Links | Fault]:
        """Yield the URLs and captions of rows; `offset` is the row's number in the file, from 0.

        Captions of published tables still have their entities, and keep them here.
        """
        for rows in self._rows(piece):
            if isinstance(rows, Fault):
                yield rows
                continue
            if len(rows.numbers):
                yield self._links(rows)
            yield from rows.faults

    def _links(self, rows: Rows) -> Links:
        num_rows = len(rows.numbers)
        pages, page = NO_TEXTS, np.full(num_rows, -1, np.int32)
        if rows.columns.extra is not None:
            encoded = rows.texts[2].dictionary_encode()
            pages, page = self._addresses(encoded.dictionary), encoded.indices.to_numpy()
        return Links(
            url=rows.texts[0],
            text=rows.texts[1],
            page=page,
            offset=rows.numbers,
            attribute=np.zeros(num_rows, np.int32),
            page_url=pages,
            base=pages,
            attributes=(rows.columns.caption,),
            text_has_references=True,
        )

    def _addresses(self, pages: pa.LargeStringArray) -> pa.LargeStringArray:
        site = PRESETS[self.preset].site
        if not site:
            return pages
        return pa.array([site + page if page.startswith("/") else page for page in pages.to_pylist()], pages.type)

    def _rows(self, piece: Slice) -> Iterator[Rows | Fault]:
        kind, compression = _format(piece.url)
        choose: Choose = partial(self.columns, piece.url)
        if kind == "parquet":
            return parquet_rows(piece.url, choose, piece.start, piece.stop)
        if kind in _DIALECTS:
            names_of = partial(self._names, piece.url, kind)
            return delimited_rows(piece.url, compression, _DIALECTS[kind], names_of, choose)
        read = document_rows if kind == "json" else json_rows
        return read(piece.url, compression, choose)

    def _names(self, url: str, kind: str, first: list[str]) -> list[str]:
        """Return the names of the columns of delimited text by its first line."""
        header = _TEXT_HEADER if kind == "txt" else PRESETS[self.preset].header
        if not header or {*URL_FIELDS, *CAPTION_FIELDS, *PAGE_COLUMNS}.issuperset(first):
            return first
        if kind == "txt" and len(first) == 1:
            raise InputError(
                f"{url}: expected a URL, a tab and a caption in each line of a .txt file, found no tab; "
                "URLs without captions are of no use here"
            )
        return list(header)

    def columns(self, where: str, names: Sequence[str]) -> Columns:
        """Return which of a file's columns hold URL and caption; raises InputError that lists them all."""
        preset = PRESETS[self.preset]
        return Columns(
            _choose(where, names, (self.url_column,) if self.url_column else preset.url, "url_column"),
            _choose(where, names, (self.caption_column,) if self.caption_column else preset.caption, "caption_column"),
            next((name for name in preset.page if name in names), None),
        )


def _cut(sizes: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield ranges of rows, at least one: whole row groups as long as they are small, or pieces of large ones."""
    start, end = 0, 0
    for size in sizes:
        begin, end = end, end + size
        if end - start > SLICE_ROWS and begin > start:
            yield start, begin
            start = begin
        while end - start > MAX_SLICE_ROWS:
            yield start, start + MAX_SLICE_ROWS
            start += MAX_SLICE_ROWS
    if end > start or not end:  # a table without rows is read too: a stage has at least one part
        yield start, end


def _choose(where: str, names: Sequence[str], usual: Sequence[str], option: str) -> str:
    for name in usual:
        if name in names:
            return name
    wanted = f"a column {usual[0]!r}" if len(usual) == 1 else f"one of the columns {', '.join(usual)}"
    shown = ", ".join(name[:_SHOWN_NAMES] for name in names[:_SHOWN_NAMES]) or "none"
    raise InputError(f"{where}: expected {wanted}, found {shown}; set extract.{option}")


def _format(url: str) -> tuple[str, str | None]:
    """Return (format, compression) of a file by its name; raises InputError for what is no table."""
    match = _FORMAT.search(base_name(url))
    if not match:
        raise InputError(
            f"{url}: expected a table (.parquet, or .csv, .tsv, .jsonl, .json, .txt as it is or as .gz, .zst, .bz2)"
        )
    return (match.group(1) or match.group(2)).lower(), _COMPRESSIONS.get((match.group(3) or "").lower())
