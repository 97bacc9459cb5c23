"""Tables that a user brings, as CSV or TSV with a header or as JSON Lines; each row knows where it stands."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wit.errors import InputError
from wit.evaluation_sets.labels import read_text
from wit.foreign import last_suffix
from wit.rows import FORMS, parse_rows
from wit.storage import base_name

MAX_BYTES = 1 << 30
"""Of a file that is read whole."""
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
        """Return a list of texts, of a JSON list or a cell that has LIST_SIGN between them; empty where none is.

        Raises InputError for a list of anything but texts and numbers.
        """
        value = self.values.get(column)
        parts = value if isinstance(value, list) else self.optional(column).split(LIST_SIGN)
        if wrong := [part for part in parts if part is None or isinstance(part, list | dict)]:
            raise InputError(f"{self.where}: expected texts under {column!r}, found {str(wrong[0])[:60]!r} among them")
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

    def count(self, column: str, most: int) -> int:
        """Return a whole number from 0 to `most`; raises InputError for anything else."""
        number = self.number(column, 0, most)
        if number != int(number):
            raise InputError(
                f"{self.where}: expected a whole number under {column!r}, found {self.text(column)[:60]!r}"
            )
        return int(number)


def read_rows(url: str, columns: Sequence[str], once: str = "") -> tuple[Row, ...]:
    """Return the rows of a .csv, .tsv or .jsonl file that has the columns, others too, in its order.

    Raises InputError when the file is missing, of another kind, has no rows, lacks a column, or has a text of the
    column `once` in two rows, which would count it twice.
    """
    suffix = last_suffix(base_name(url))
    if suffix not in FORMS:
        raise InputError(
            f"{url}: expected a file named {', '.join(f'.{form}' for form in FORMS)}, found "
            f"{f'.{suffix[:20]}' if suffix else 'no suffix'}; name it by its format"
        )
    text = read_text(url, MAX_BYTES)
    rows = tuple(Row(f"{url}, line {number}", values) for number, values in parse_rows(url, text, suffix))
    if not rows:
        raise InputError(f"{url}: expected rows with {', '.join(columns)}, found none")
    for row in rows:
        missing = [name for name in columns if name not in row.values]
        if missing:
            raise InputError(
                f"{row.where}: expected {', '.join(map(repr, columns))}, found no {missing[0]!r} among "
                f"{', '.join(map(str, row.values))[:200]!r}"
            )
    _require_once(rows, once)
    return rows


def _require_once(rows: Sequence[Row], column: str) -> None:
    """Raise InputError when two rows have the same text in a column; none is no text."""
    seen: dict[str, Row] = {}
    for row in rows if column else ():
        text = row.optional(column)
        if text and (first := seen.setdefault(text, row)) is not row:
            raise InputError(
                f"{row.where}: expected each {column} once, found {text[:60]!r} again after {first.where}; "
                "take one away"
            )
