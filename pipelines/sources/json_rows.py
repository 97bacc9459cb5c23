"""Rows of JSON: lines of objects, streamed, and documents."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from operator import itemgetter
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from pipelines.sources.rows import Choose, Columns, Rows
from pipelines.sources.source import MALFORMED_RECORD, UNREADABLE_ARCHIVE, Fault, text_array
from pipelines.sources.windows import (
    ROWS_AT_ONCE,
    UTF8_MARK,
    BrokenStream,
    Dialect,
    Lines,
    faults_of,
    open_blocks,
    scan,
)
from wit.errors import InputError, one_line

MAX_DOCUMENT_BYTES = 128 << 20
"""Of a JSON document, which is held in memory: about ten times as much. RedCaps has a file a subreddit and year."""

_JSON_LINES = Dialect("\n", has_quotes=False)  # each line is one value


def json_rows(url: str, compression: str | None, choose: Choose) -> Iterator[Rows | Fault]:
    """Yield the rows of a JSON lines file; a line that is no JSON object with texts is a Fault.

    A caption may be a list of texts: a row each, of the same number. Raises InputError when the first object has no
    usable columns.
    """
    columns: Columns | None = None
    first = 0
    with open_blocks(url, compression) as blocks:
        try:
            head = next(blocks, b"").removeprefix(UTF8_MARK)
            for lines in scan(head, blocks, _JSON_LINES, 1, [0]):
                good = lines.is_good()
                found = _plain_objects(lines, columns, first) if columns and good.all() else None
                if found is None:
                    found = _any_objects(lines, columns, first, choose)
                    columns = found.columns
                yield found
                first += len(good)
        except BrokenStream as error:
            yield Fault(UNREADABLE_ARCHIVE, str(error), None)


def _plain_objects(lines: Lines, columns: Columns, first: int) -> Rows | None:
    """Return the rows of lines that are all objects with all columns and one caption each; None when some are not."""
    names = [name for name in columns if name is not None]
    pick = itemgetter(*names)
    found: list[Any] = []  # flat: thousands of tuples would keep the garbage collector busy
    try:
        for data in lines.texts():
            found += pick(orjson.loads(data))
        texts = tuple(pa.array(found[k :: len(names)], pa.large_string()).fill_null("") for k in range(len(names)))
    except (orjson.JSONDecodeError, KeyError, TypeError, pa.ArrowException):
        return None
    return Rows(first + np.arange(len(texts[0])), texts, columns)


def _any_objects(lines: Lines, columns: Columns | None, first: int, choose: Choose) -> Rows:
    """Return the rows of lines of any kind, and a fault for each that has none."""
    good = lines.is_good()
    collected = JsonRows(columns)
    for row, data in enumerate(lines.texts()):
        if good[row]:
            collected.add(first + row, data, choose)
    return collected.rows(faults_of(lines, first, 1))


def document_rows(url: str, compression: str | None, choose: Choose) -> Iterator[Rows | Fault]:
    """Yield the rows of a JSON document: a list of objects, or an object with such a list as its "annotations".

    That is how RedCaps is published. A file of JSON lines under the name of a document is read as such. Raises
    InputError for any other document, for one of more than 128 MiB, and when the first object has no usable columns.
    """
    with open_blocks(url, compression) as blocks:
        try:
            data = b"".join(_at_most(MAX_DOCUMENT_BYTES, url, blocks)).removeprefix(UTF8_MARK)
        except BrokenStream as error:
            yield Fault(UNREADABLE_ARCHIVE, str(error), None)
            return
    try:
        found = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        if data.lstrip().startswith(b"{") and _is_object(data.lstrip().partition(b"\n")[0]):
            yield from json_rows(url, compression, choose)
        else:
            yield Fault(UNREADABLE_ARCHIVE, f"not a JSON document: {one_line(error)}", None)
        return
    objects = found.get("annotations") if isinstance(found, dict) else found
    if not isinstance(objects, list):
        raise InputError(f'{url}: expected a list of objects, or one named "annotations", found neither')
    columns: Columns | None = None
    for first in range(0, len(objects), ROWS_AT_ONCE):
        collected = JsonRows(columns)
        for number, each in enumerate(objects[first : first + ROWS_AT_ONCE], first):
            collected.add(number, each, choose)
        columns = collected.columns
        yield collected.rows(())


def _at_most(limit: int, url: str, blocks: Iterator[bytes]) -> Iterator[bytes]:
    size = 0
    for block in blocks:
        size += len(block)
        if size > limit:
            raise InputError(f"{url}: expected a JSON document of at most {limit} bytes; convert it to JSON lines")
        yield block


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(orjson.loads(line), dict)
    except orjson.JSONDecodeError:
        return False


class JsonRows:
    """Collects the rows that JSON objects give."""

    def __init__(self, columns: Columns | None) -> None:
        self.columns = columns
        self._numbers: list[int] = []
        self._texts: tuple[list[str], list[str], list[str]] = ([], [], [])
        self._faults: list[Fault] = []

    def add(self, number: int, line: object, choose: Choose) -> None:
        """Add the rows of one object, as text or as it is, or the fault that it is none."""
        try:
            found = parse_object(line) if isinstance(line, bytes) else _object(line)
            self.columns = self.columns or choose(list(found))
            url, caption, extra = (None if name is None else found.get(name) for name in self.columns)
            captions = (caption or [None]) if isinstance(caption, list) else [caption]
            rows = [(_text(url), _text(each), _text(extra)) for each in captions]
        except (ValueError, TypeError) as error:
            self._faults.append(Fault(MALFORMED_RECORD, f"not a JSON object with texts: {one_line(error)}", number))
            return
        for row in rows:
            self._numbers.append(number)
            for column, text in zip(self._texts, row, strict=True):
                column.append(text)

    def rows(self, faults: Iterable[Fault]) -> Rows:
        """Return what was collected, and other faults among it."""
        columns = self.columns or Columns("", "")
        texts = self._texts if columns.extra is not None else self._texts[:2]
        ordered = sorted([*self._faults, *faults], key=lambda fault: fault.offset or 0)
        return Rows(np.array(self._numbers, np.int64), tuple(map(text_array, texts)), columns, tuple(ordered))


def parse_object(data: bytes) -> dict[str, Any]:
    """Return a JSON object, one with lone surrogates or bytes that are no UTF-8 too; raises ValueError, TypeError."""
    try:
        found = orjson.loads(data)
    except orjson.JSONDecodeError:
        try:
            found = json.loads(data.decode("utf-8", "replace"), strict=False)
        except RecursionError:
            raise ValueError("nested too deeply") from None
    return _object(found)


def _object(found: object) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise TypeError(f"expected an object, found {type(found).__name__}")
    return found


def _text(value: object) -> str:
    if value is not None and not isinstance(value, str):
        raise TypeError(f"expected text, found {type(value).__name__}")
    return value or ""
