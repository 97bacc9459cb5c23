"""Tables beside image files, as Hugging Face's ImageFolder has them: metadata.csv, .jsonl or .parquet."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from typing import Any

from wit.errors import InputError
from wit.evaluation_sets.labels import LABEL_FIELDS, label_text, read_text
from wit.evaluation_sets.splits import File
from wit.rows import parse_rows
from wit.storage import read_parquet

FILE_NAME = "file_name"
LABELS, LABEL_SIGN = "labels", "|"
"""A column of CSV with several classes, and what stands between them; JSON and Parquet have lists."""

_MAX_BYTES = 1 << 30
_SHOWN = 3


def is_metadata(name: str) -> bool:
    """Return whether a file is a table of metadata."""
    return name.rpartition("/")[2] in ("metadata.csv", "metadata.jsonl", "metadata.parquet")


def read_labels(tables: Sequence[File], images: Sequence[str]) -> dict[str, str | None]:
    """Return the classes that tables say of images, by name; an image in several has what the nearest table says.

    A table's "file_name" is a path from its own folder; its class is the first of LABEL_FIELDS that it has. Raises
    InputError for a table that cannot be read, has no file names, says two classes of an image, or names a file that is
    not among `images`.
    """
    known = set(images)
    labels: dict[str, str | None] = {}
    for table in sorted(tables, key=lambda file: (file.name.count("/"), file.name)):
        rows = _with_lists(list(_rows(table)))
        field = next((name for name in LABEL_FIELDS if any(name in row for row in rows)), None)
        named = _labelled(table, rows, field)
        missing = [name for name in named if name not in known]
        if missing:
            shown = ", ".join(map(repr, missing[:_SHOWN]))
            raise InputError(
                f"{table.url}: names images that are not there, {len(missing):,} of {len(named):,} ({shown}); fetch "
                "the set again, or take their rows out"
            )
        if field is not None:
            labels |= named
    return labels


def _with_lists(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows with lists of classes where any of them has several in the text of one cell."""
    if not any(LABEL_SIGN in value for row in rows if isinstance(value := row.get(LABELS), str)):
        return rows
    return [
        row | {LABELS: [each for each in (row.get(LABELS) or "").split(LABEL_SIGN) if each.strip()]} for row in rows
    ]


def _labelled(table: File, rows: Sequence[dict[str, Any]], field: str | None) -> dict[str, str | None]:
    """Return the class of each image that a table names; raises InputError where it says two of one."""
    named: dict[str, str | None] = {}
    for number, row in enumerate(rows, 1):
        name = _place(table, row, number)
        label = None if field is None else label_text(row.get(field))
        if named.setdefault(name, label) != label:
            raise InputError(
                f"{table.url}, row {number}: expected one class of {name!r}, found {named[name]!r} and {label!r}; "
                "keep one of the rows"
            )
    return named


def _place(table: File, row: dict[str, Any], number: int) -> str:
    """Return the name that an image has in the set by a row of a table; it is only ever looked up."""
    name = row.get(FILE_NAME)
    if not isinstance(name, str) or not name:
        raise InputError(f"{table.url}: expected a column {FILE_NAME!r} with a path, found none in row {number}")
    return posixpath.normpath(posixpath.join(posixpath.dirname(table.name), name))


def _rows(table: File) -> Iterator[dict[str, Any]]:
    if table.name.endswith(".parquet"):
        yield from read_parquet(table.url).to_pylist()
        return
    text = read_text(table.url, _MAX_BYTES)
    yield from (row for _, row in parse_rows(table.url, text, table.name.rpartition(".")[2]))
