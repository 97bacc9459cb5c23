"""Rows of text tables: CSV, TSV and other delimited text, and JSON lines, streamed; and JSON documents."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from operator import itemgetter
from typing import IO, Any

import numpy as np
import orjson
import pyarrow as pa

from pipelines.sources.rows import I64, Choose, Columns, Rows, one_line, valid_texts
from pipelines.sources.source import MALFORMED_RECORD, UNREADABLE_ARCHIVE, Fault
from wit.errors import InputError
from wit.storage import open_input

MAX_ROW_BYTES = 16 << 20
"""A longer row is a Fault."""
MAX_DOCUMENT_BYTES = 128 << 20
"""Of a JSON document, which is held in memory: about ten times as much. RedCaps has a file a subreddit and year."""
MAX_SKIPPED_BYTES = 256 << 20
"""Of a line without end, after which the rest of the file is given up: it is a bomb."""
_VAIN_BYTES = 128 << 20  # of quotes that never close: then they hold within a line only
_BLOCK_BYTES = 8 << 20
_PIECE_BYTES = 16 << 10  # at most so much before the break of a broken stream is lost with it
_ROWS_AT_ONCE = 16_384
_UTF8_MARK = b"\xef\xbb\xbf"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True)
class Dialect:
    """How the values of delimited text are told apart."""

    delimiter: str
    has_quotes: bool = True
    """Whether a value in quotes may hold line breaks, delimiters, and quotes, doubled."""


_JSON_LINES = Dialect("\n", has_quotes=False)  # each line is one value


@dataclass(frozen=True)
class _Lines:
    """Rows found in a window of the file; see delimited_kernels.scan_rows."""

    window: Any
    spans: I64
    kinds: I64
    numbers: I64

    def is_good(self) -> Any:
        from pipelines.sources.delimited_kernels import VERBATIM

        return self.kinds <= VERBATIM

    def texts(self) -> Iterator[bytes]:
        """Yield the first value of each row."""
        spans = self.spans[:, 0]
        begin = int(spans[0, 0])
        data = self.window[begin : int(spans[-1, 1])].tobytes()
        return (data[start:stop] for start, stop in (spans - begin).tolist())


class _BrokenStream(Exception):
    """The file cannot be read on."""


def delimited_rows(
    url: str, compression: str | None, dialect: Dialect, names_of: Callable[[list[str]], list[str]], choose: Choose
) -> Iterator[Rows | Fault]:
    """Yield the rows of delimited text; rows are numbered from 0, after the header.

    `names_of` is given the values of the first line and returns the names of the columns: those values themselves, or
    others where the first line is a row already. A line whose quotes do not work out is taken as it stands; a row
    with another number of values than there are names, or of more than 16 MiB, is a Fault. Raises InputError when the
    first line is no header.
    """
    with _open_blocks(url, compression) as blocks:
        try:
            head = next(blocks, b"").removeprefix(_UTF8_MARK).lstrip(b"\r\n")
            if not head:
                return
            line, _, rest = head.partition(b"\n")
            values = _values(url, line, dialect)
            names = names_of(values)
            columns = choose(names)
            wanted = [names.index(name) for name in columns if name is not None]
            first = 0
            for lines in _scan(rest if names is values else head, blocks, dialect, len(names), wanted):
                good = lines.is_good()
                texts = tuple(_taken(lines, good, k) for k in range(len(wanted)))
                faults = tuple(_faults(lines, first, len(names)))
                yield Rows(first + np.flatnonzero(good), texts, columns, faults)
                first += len(good)
        except _BrokenStream as error:
            yield Fault(UNREADABLE_ARCHIVE, str(error), None)


def _values(url: str, line: bytes, dialect: Dialect) -> list[str]:
    """Return the values of the first line."""
    if line.startswith(_UTF16_MARKS):
        raise InputError(f"{url}: expected UTF-8, found UTF-16; convert the file")
    text = line.decode("utf-8", "replace").removesuffix("\r")
    if not dialect.has_quotes:
        return text.split(dialect.delimiter)
    try:
        return next(csv.reader([text], delimiter=dialect.delimiter), [])
    except csv.Error as error:
        raise InputError(f"{url}: expected the names of columns in the first line: {error}") from error


def _taken(lines: _Lines, good: Any, k: int) -> pa.LargeStringArray:
    from pipelines.sources.delimited_kernels import take_values

    size = int((lines.spans[good, k, 1] - lines.spans[good, k, 0]).sum())
    text, offsets = np.empty(size, np.uint8), np.empty(len(good) + 1, np.int64)
    count = take_values(lines.window, lines.spans, k, lines.kinds, text, offsets)
    buffers = [None, pa.py_buffer(offsets[: count + 1]), pa.py_buffer(text)]
    return valid_texts(pa.Array.from_buffers(pa.large_binary(), count, buffers))


def _faults(lines: _Lines, first: int, num_columns: int) -> Iterator[Fault]:
    from pipelines.sources.delimited_kernels import TOO_LONG

    for row in np.flatnonzero(~lines.is_good()).tolist():
        found = f"expected {num_columns} values, found {lines.numbers[row]}"
        too_long = f"a row of more than {MAX_ROW_BYTES} bytes"
        yield Fault(MALFORMED_RECORD, too_long if lines.kinds[row] == TOO_LONG else found, first + row)


def json_rows(url: str, compression: str | None, choose: Choose) -> Iterator[Rows | Fault]:
    """Yield the rows of a JSON lines file; a line that is no JSON object with texts is a Fault.

    A caption may be a list of texts: a row each, of the same number. Raises InputError when the first object has no
    usable columns.
    """
    columns: Columns | None = None
    first = 0
    with _open_blocks(url, compression) as blocks:
        try:
            head = next(blocks, b"").removeprefix(_UTF8_MARK)
            for lines in _scan(head, blocks, _JSON_LINES, 1, [0]):
                good = lines.is_good()
                found = _plain_objects(lines, columns, first) if columns and good.all() else None
                if found is None:
                    found = _any_objects(lines, columns, first, choose)
                    columns = found.columns
                yield found
                first += len(good)
        except _BrokenStream as error:
            yield Fault(UNREADABLE_ARCHIVE, str(error), None)


def _plain_objects(lines: _Lines, columns: Columns, first: int) -> Rows | None:
    """Return the rows of lines that are all objects with all columns and one caption each; None when some are not."""
    pick = itemgetter(*(name for name in columns if name is not None))
    try:
        found = [pick(orjson.loads(data)) for data in lines.texts()]
        texts = tuple(pa.array(column, pa.large_string()).fill_null("") for column in zip(*found, strict=True))
    except (orjson.JSONDecodeError, KeyError, TypeError, pa.ArrowException):
        return None
    return Rows(np.arange(first, first + len(found)), texts, columns)


def _any_objects(lines: _Lines, columns: Columns | None, first: int, choose: Choose) -> Rows:
    """Return the rows of lines of any kind, and a fault for each that has none."""
    good = lines.is_good()
    collected = JsonRows(columns)
    for row, data in enumerate(lines.texts()):
        if good[row]:
            collected.add(first + row, data, choose)
    return collected.rows(_faults(lines, first, 1))


def document_rows(url: str, compression: str | None, choose: Choose) -> Iterator[Rows | Fault]:
    """Yield the rows of a JSON document: a list of objects, or an object with such a list as its "annotations".

    That is how RedCaps is published. A file of JSON lines under the name of a document is read as such. Raises
    InputError for any other document, for one of more than 128 MiB, and when the first object has no usable columns.
    """
    with _open_blocks(url, compression) as blocks:
        try:
            data = b"".join(_at_most(MAX_DOCUMENT_BYTES, url, blocks)).removeprefix(_UTF8_MARK)
        except _BrokenStream as error:
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
    for first in range(0, len(objects), _ROWS_AT_ONCE):
        collected = JsonRows(columns)
        for number, each in enumerate(objects[first : first + _ROWS_AT_ONCE], first):
            collected.add(number, each, choose)
        columns = collected.columns
        yield collected.rows(iter(()))


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
            captions = caption if isinstance(caption, list) else [caption]
            rows = [(_text(url), _text(each), _text(extra)) for each in captions]
        except (ValueError, TypeError) as error:
            self._faults.append(Fault(MALFORMED_RECORD, f"not a JSON object with texts: {one_line(error)}", number))
            return
        for row in rows:
            self._numbers.append(number)
            for column, text in zip(self._texts, row, strict=True):
                column.append(text)

    def rows(self, faults: Iterator[Fault]) -> Rows:
        """Return what was collected, and other faults among it."""
        columns = self.columns or Columns("", "")
        texts = self._texts if columns.extra is not None else self._texts[:2]
        ordered = sorted([*self._faults, *faults], key=lambda fault: fault.offset or 0)
        return Rows(np.array(self._numbers, np.int64), tuple(map(_array, texts)), columns, tuple(ordered))


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


def _array(texts: Sequence[str]) -> pa.LargeStringArray:
    try:
        return pa.array(texts, pa.large_string())
    except UnicodeEncodeError:
        return pa.array([text.encode("utf-8", "replace").decode() for text in texts], pa.large_string())


def _scan(
    head: bytes, blocks: Iterator[bytes], dialect: Dialect, num_columns: int, wanted: Sequence[int]
) -> Iterator[_Lines]:
    """Yield the rows of a file that begins with `head` and goes on with `blocks`; raises _BrokenStream."""
    from pipelines.sources import delimited_kernels as kernels

    window = np.frombuffer(head, np.uint8)
    position, is_last = 0, False
    quoting = kernels.QUOTES if dialect.has_quotes else kernels.NO_QUOTES
    budget, places = np.array([_VAIN_BYTES]), np.array(wanted, np.int64)
    while True:
        spans = np.zeros((_ROWS_AT_ONCE, len(wanted), 2), np.int64)
        kinds, numbers = np.zeros(_ROWS_AT_ONCE, np.int64), np.zeros(_ROWS_AT_ONCE, np.int64)
        num_rows, position = kernels.scan_rows(
            window, position, is_last, ord(dialect.delimiter), quoting, MAX_ROW_BYTES, budget, num_columns,
            places, spans, kinds, numbers,
        )  # fmt: skip
        if num_rows:
            yield _Lines(window, spans[:num_rows], kinds[:num_rows], numbers[:num_rows])
            is_open = kinds[num_rows - 1] == kernels.TOO_LONG and position == len(window) and window[-1] != ord("\n")
            if is_open:
                window, position = np.frombuffer(_after_line(blocks), np.uint8), 0
                continue
        if num_rows == _ROWS_AT_ONCE:
            continue
        if is_last:
            return
        block = next(blocks, b"")
        is_last = not block
        window, position = np.frombuffer(window[position:].tobytes() + block, np.uint8), 0


def _after_line(blocks: Iterator[bytes]) -> bytes:
    """Return what follows the end of a line that is too long, up to the end of a block."""
    skipped = 0
    for block in blocks:
        line, newline, rest = block.partition(b"\n")
        skipped += len(line)
        if newline:
            return rest
        if skipped > MAX_SKIPPED_BYTES:
            raise _BrokenStream(f"a line of more than {MAX_SKIPPED_BYTES} bytes")
    return b""


@contextmanager
def _open_blocks(url: str, compression: str | None) -> Iterator[Iterator[bytes]]:
    with open_input(url) as file:
        yield _blocks(pa.CompressedInputStream(file, compression) if compression else file)


def _blocks(file: IO[bytes]) -> Iterator[bytes]:
    """Yield a file in blocks; raises _BrokenStream where it cannot be read on, after all that came before."""
    while True:
        pieces: list[bytes] = []
        wrong = ""
        try:
            while len(pieces) * _PIECE_BYTES < _BLOCK_BYTES and (piece := file.read(_PIECE_BYTES)):
                pieces.append(piece)
        except (OSError, pa.ArrowException) as error:
            wrong = one_line(error)
        if pieces:
            yield b"".join(pieces)
        if wrong:
            raise _BrokenStream(wrong)
        if not pieces:
            return
