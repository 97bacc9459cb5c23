"""Rows of the files that protocols read: CSV or TSV with a header, or JSON Lines."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import orjson

from wit.errors import InputError
from wit.storage import read_bytes

LIST_SIGN = "|"
"""Between the texts of a list where a cell holds one; JSON has its own lists."""


@dataclass(frozen=True)
class Row:
    """A row, and where it stands in its file."""

    where: str
    values: Mapping[str, object]

    def text(self, column: str) -> str:
        """Return a text without space around it; raises InputError when it is blank or no text."""
        text = self.optional(column)
        if not text:
            raise InputError(f"{self.where}: expected a text under {column!r}, found nothing; fill it in")
        return text

    def optional(self, column: str) -> str:
        """Return a text, blank where there is none; raises InputError for a list or an object."""
        value = self.values.get(column)
        if isinstance(value, list | dict):
            raise InputError(f"{self.where}: expected a text under {column!r}, found {str(value)[:60]!r}")
        return "" if value is None else str(value).strip()

    def texts(self, column: str) -> tuple[str, ...]:
        """Return a list of texts, of a JSON list or a cell that has LIST_SIGN between them; empty where none is."""
        value = self.values.get(column)
        parts = value if isinstance(value, list) else self.optional(column).split(LIST_SIGN)
        return tuple(text for part in parts if (text := str(part).strip()))

    def number(self, column: str, low: float, high: float) -> float:
        """Return a number from `low` to `high`; raises InputError for anything else."""
        text = self.text(column)
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not low <= number <= high:
            raise InputError(
                f"{self.where}: expected a number from {low:g} to {high:g} under {column!r}, found {text[:60]!r}"
            )
        return number


def read_rows(url: str, columns: Sequence[str]) -> tuple[Row, ...]:
    """Return the rows of a .csv, .tsv or .jsonl file that has the columns, others too, in its order.

    Raises InputError when the file is missing, of another kind, has no rows, or lacks a column.
    """
    suffix = url.rpartition(".")[2].lower()
    if suffix not in _READERS:
        raise InputError(
            f"{url}: expected a file named .csv, .tsv or .jsonl, found .{suffix[:20]}; name it by its format"
        )
    rows = _READERS[suffix](url, text_of(url))
    if not rows:
        raise InputError(f"{url}: expected rows with {', '.join(columns)}, found none")
    for row in rows:
        missing = [name for name in columns if name not in row.values]
        if missing:
            raise InputError(
                f"{row.where}: expected {', '.join(map(repr, columns))}, found no {missing[0]!r} among "
                f"{', '.join(map(str, row.values))[:200]!r}"
            )
    return rows


def text_of(url: str) -> str:
    """Return a UTF-8 file's text, without a byte order mark; raises InputError when it is not one."""
    try:
        return read_bytes(url).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{url}: expected UTF-8, found byte {error.object[error.start]:#x} at {error.start}"
        ) from error


def _of_cells(url: str, text: str, delimiter: str) -> tuple[Row, ...]:
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    rows = []
    try:
        for values in reader:
            where = f"{url}, line {reader.line_num}"
            if None in values or None in values.values():
                found = "more" if None in values else "fewer"
                raise InputError(
                    f"{where}: expected {len(reader.fieldnames or ())} cells as in the first line, found {found}; "
                    f"quote a cell that holds {delimiter!r}"
                )
            rows.append(Row(where, values))
    except csv.Error as error:
        raise InputError(f"{url}, line {reader.line_num}: expected cells, found what is none: {error}") from error
    return tuple(rows)


def _of_commas(url: str, text: str) -> tuple[Row, ...]:
    return _of_cells(url, text, ",")


def _of_tabs(url: str, text: str) -> tuple[Row, ...]:
    return _of_cells(url, text, "\t")


def _of_lines(url: str, text: str) -> tuple[Row, ...]:
    rows = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            rows.append(Row(f"{url}, line {number}", json_object(f"{url}, line {number}", line)))
    return tuple(rows)


def json_object(where: str, text: str) -> dict[str, object]:
    """Return the object that a JSON text is; raises InputError when it is not one."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InputError(f"{where}: expected a JSON object, found what is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise InputError(f"{where}: expected a JSON object, found {text[:60]!r}")
    return value


_READERS: dict[str, Callable[[str, str], tuple[Row, ...]]] = {"csv": _of_commas, "tsv": _of_tabs, "jsonl": _of_lines}
