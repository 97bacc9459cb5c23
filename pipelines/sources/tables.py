"""Tables of URLs with captions: Parquet, CSV, TSV, JSON lines; the text formats also as .gz or .zst."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from pipelines.sources.links import unescape_attribute
from pipelines.sources.rows import Choose, Rows, csv_rows, json_rows, open_parquet, parquet_rows, require_text
from pipelines.sources.source import Fault, Link, Slice
from wit.errors import InputError
from wit.storage import base_name

SLICE_ROWS = 1_000_000
_NO_LIMIT = 1 << 62

URL_COLUMNS = ("url", "URL", "image_url", "img_url", "imageUrl", "src")
CAPTION_COLUMNS = (
    "caption", "TEXT", "text", "alt", "alt_text", "top_caption", "CAPTION", "title", "description",
    "raw_caption", "caption_reference_description", "caption_alt_text_description",
)  # fmt: skip

PRESETS: dict[str, tuple[str, str, tuple[str, ...] | None]] = {
    "auto": ("", "", None),
    "laion": ("URL", "TEXT", None),
    "datacomp": ("url", "text", None),
    "coyo": ("url", "text", None),
    "cc3m": ("url", "caption", ("caption", "url")),
    "cc12m": ("url", "caption", ("url", "caption")),
    "redcaps": ("url", "caption", None),
}
"""Name: (URL column, caption column, names of the columns where the published files have no header)."""

_FORMAT = re.compile(r"\.(?:(parquet)|(csv|tsv|jsonl|ndjson|txt)(?:\.(gz|zst))?)$", re.IGNORECASE)
_COMPRESSIONS = {"gz": "gzip", "zst": "zstd"}
_DELIMITERS = {"csv": ",", "tsv": "\t"}


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
            next(self._rows(Slice(url), partial(self.columns, url)), None)  # a wrong column is told of before any work
            yield Slice(url)
            return
        with open_parquet(url) as file:
            require_text(url, file.schema_arrow, self.columns(url, file.schema_arrow.names))
            num_rows = file.metadata.num_rows
        for start in range(0, num_rows, SLICE_ROWS):
            yield Slice(url, start, min(start + SLICE_ROWS, num_rows))

    def findings(self, piece: Slice) -> Iterator[Link | Fault]:
        """Yield each row's URL and caption; `offset` is the row's number in the file, from 0.

        Captions of published tables still have their entities, so they are decoded here.
        """
        columns = ("", "")

        def choose(names: list[str]) -> tuple[str, str]:
            nonlocal columns
            columns = self.columns(piece.url, names)
            return columns

        for number, row in enumerate(self._rows(piece, choose), piece.start):
            if isinstance(row, Fault):
                yield row if row.offset is None else row._replace(offset=number)
            else:
                yield Link(row[0] or "", "", unescape_attribute(row[1] or ""), None, number, columns[1])

    def _rows(self, piece: Slice, choose: Choose) -> Rows:
        kind, compression = _format(piece.url)
        if kind == "parquet":
            return parquet_rows(piece.url, choose, piece.start, _NO_LIMIT if piece.stop is None else piece.stop)
        if kind in _DELIMITERS:
            return csv_rows(piece.url, compression, _DELIMITERS[kind], PRESETS[self.preset][2], choose)
        return json_rows(piece.url, compression, choose)

    def columns(self, where: str, names: list[str]) -> tuple[str, str]:
        """Return which of a file's columns hold URL and caption; raises InputError that lists them all."""
        url, caption, _ = PRESETS[self.preset]
        return (
            _choose(where, names, self.url_column or url, URL_COLUMNS, "url_column"),
            _choose(where, names, self.caption_column or caption, CAPTION_COLUMNS, "caption_column"),
        )


def _choose(where: str, names: list[str], asked: str, usual: tuple[str, ...], option: str) -> str:
    for name in (asked,) if asked else usual:
        if name in names:
            return name
    wanted = f"a column {asked!r}" if asked else f"one of the columns {', '.join(usual)}"
    raise InputError(f"{where}: expected {wanted}, found {', '.join(names) or 'none'}; set extract.{option}")


def _format(url: str) -> tuple[str, str | None]:
    """Return (format, compression) of a file by its name; raises InputError for what is no table."""
    match = _FORMAT.search(base_name(url))
    if not match:
        raise InputError(f"{url}: expected a table (.parquet, or .csv, .tsv, .jsonl with or without .gz, .zst)")
    kind = (match.group(1) or match.group(2)).lower()
    if kind == "txt":
        raise InputError(f"{url}: a .txt file has URLs without captions; give a table with a caption for each URL")
    return kind, _COMPRESSIONS.get((match.group(3) or "").lower())
