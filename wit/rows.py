"""Rows of text: CSV and TSV with the names of columns in the first line, and JSON Lines."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from functools import partial

import orjson

from wit.errors import InputError

Row = dict[str, object]

_SHOWN = 60


def json_object(where: str, text: str) -> Row:
    """Return the object that a JSON text is; raises InputError when it is not one."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InputError(f"{where}: expected a JSON object, found what is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise InputError(f"{where}: expected a JSON object, found {text[:_SHOWN]!r}")
    return value


def parse_rows(url: str, text: str, form: str) -> Iterator[tuple[int, Row]]:
    """Yield the rows of a text that is of a form of FORMS, each with the number of its (last) line, from 1.

    `url` is what errors name. Raises InputError for a column that is there twice, and for a row that has more or fewer
    cells than the first, or is no object.
    """
    return FORMS[form](url, text)


def parse_cells(delimiter: str, url: str, text: str) -> Iterator[tuple[int, Row]]:
    """Yield the rows of a text with a sign between cells; as `parse_rows`."""
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        names = [name for name in reader.fieldnames or () if name]
        if twice := next((name for name in names if names.count(name) > 1), ""):
            raise InputError(f"{url}, line 1: expected each column once, found {twice[:_SHOWN]!r} twice; take one away")
        for row in reader:
            if None in row or None in row.values():
                raise InputError(
                    f"{url}, line {reader.line_num}: expected {len(reader.fieldnames or ())} cells as in the first "
                    f"line, found {'more' if None in row else 'fewer'}; quote a cell that holds {delimiter!r}"
                )
            yield reader.line_num, dict(row)
    except csv.Error as error:
        raise InputError(f"{url}, after line {reader.line_num}: expected cells, found what is none: {error}") from error


def _of_lines(url: str, text: str) -> Iterator[tuple[int, Row]]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield number, json_object(f"{url}, line {number}", line)


FORMS: dict[str, Callable[[str, str], Iterator[tuple[int, Row]]]] = {
    "csv": partial(parse_cells, ","),
    "tsv": partial(parse_cells, "\t"),
    "jsonl": _of_lines,
    "ndjson": _of_lines,
}
"""By the suffix of a file."""
