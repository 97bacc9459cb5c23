"""Rows of (URL, caption) in table files: Parquet, CSV, TSV and JSON lines, streamed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any

import orjson
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from pipelines.sources.source import MALFORMED_RECORD, UNREADABLE_ARCHIVE, Fault
from wit.errors import InputError
from wit.storage import open_input

Row = tuple[str | None, str | None]  # (URL, caption)
Rows = Iterator[Row | Fault]
Choose = Callable[[list[str]], tuple[str, str]]
"""Returns which of a file's columns hold URL and caption."""

_BATCH_ROWS = 10_000
_BLOCK_BYTES = 16 << 20  # a row of a text file must fit in a block


@contextmanager
def open_parquet(url: str) -> Iterator[Any]:
    """Open a Parquet file; raises InputError when it is not one."""
    with open_input(url) as file:
        try:
            opened = pq.ParquetFile(file)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise InputError(f"{url}: not a readable Parquet file: {error}") from error
        yield opened


def parquet_rows(url: str, choose: Choose, start: int, stop: int) -> Rows:
    """Yield rows `start` to `stop`; row groups before and after are not read."""
    with open_parquet(url) as file:
        columns = choose(file.schema_arrow.names)
        require_text(url, file.schema_arrow, columns)
        groups: list[int] = []
        position, end = start, 0
        for group in range(file.num_row_groups):
            begin, end = end, end + file.metadata.row_group(group).num_rows
            if end > start and begin < stop:
                position = begin if not groups else position
                groups.append(group)
        try:
            for batch in file.iter_batches(_BATCH_ROWS, row_groups=groups, columns=list(columns)):
                wanted = batch.slice(max(start - position, 0), max(stop - max(position, start), 0))
                yield from zip(*(_texts(wanted.column(column)) for column in columns), strict=True)
                position += len(batch)
        except (pa.ArrowException, OSError) as error:
            yield Fault(UNREADABLE_ARCHIVE, f"after row {position}: {error}", None)


def require_text(url: str, schema: pa.Schema, columns: tuple[str, str]) -> None:
    """Raise InputError unless the columns hold text."""
    for name in columns:
        kind = schema.field(name).type
        kind = kind.value_type if pa.types.is_dictionary(kind) else kind
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_binary(kind)):
            raise InputError(f"{url}: expected text in column {name!r}, found {kind}")


def _texts(column: pa.Array) -> list[str | None]:
    values: list[Any] = column.to_pylist()
    return [value.decode("utf-8", "replace") if isinstance(value, bytes) else value for value in values]


def csv_rows(url: str, compression: str | None, delimiter: str, names: tuple[str, ...] | None, choose: Choose) -> Rows:
    """Yield the rows of a CSV or TSV file; `names` are its columns where it has no header.

    Values may be quoted and hold line breaks. A row with another number of values is a Fault.
    """
    broken: list[Fault] = []

    def skip(row: Any) -> str:
        detail = f"expected {row.expected_columns} values, found {row.actual_columns}"
        broken.append(Fault(MALFORMED_RECORD, detail, 0))
        return "skip"

    with _open_text(url, compression) as file:
        try:
            columns, reader = _open_csv(file, delimiter, names, choose, skip)
            for batch in reader:
                yield from zip(*(_texts(batch.column(column)) for column in columns), strict=True)
                yield from broken
                broken.clear()
        except (pa.ArrowException, OSError) as error:
            yield from broken
            yield Fault(UNREADABLE_ARCHIVE, str(error).splitlines()[0][:200], None)


def _open_csv(
    file: IO[bytes], delimiter: str, names: tuple[str, ...] | None, choose: Choose, skip: Callable[[Any], str]
) -> tuple[tuple[str, str], Any]:
    header = list(names) if names else _header(file, delimiter)
    columns = choose(header)
    reader = pyarrow.csv.open_csv(
        file,
        read_options=pyarrow.csv.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES, column_names=header),
        parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True, invalid_row_handler=skip),
        convert_options=pyarrow.csv.ConvertOptions(
            include_columns=list(columns), column_types=dict.fromkeys(columns, pa.binary()), strings_can_be_null=False
        ),
    )
    return columns, reader


def _header(file: IO[bytes], delimiter: str) -> list[str]:
    import csv

    line = _read_line(file).decode("utf-8-sig", "replace")
    return next(csv.reader([line], delimiter=delimiter), [])


def _read_line(file: IO[bytes]) -> bytes:
    """Read up to a line's end, a byte at a time: what follows must be left for the reader of the rows."""
    line = bytearray()
    while len(line) < 1 << 16 and (byte := file.read(1)):
        line += byte
        if byte == b"\n":
            break
    return bytes(line)


def json_rows(url: str, compression: str | None, choose: Choose) -> Rows:
    """Yield the rows of a JSON lines file; a line that is no JSON object with texts is a Fault."""
    columns: tuple[str, str] | None = None
    with _open_text(url, compression) as file:
        try:
            for line in _lines(file):
                try:
                    row = orjson.loads(line)
                    columns = columns or choose(list(row))
                    yield _text_or_none(row.get(columns[0])), _text_or_none(row.get(columns[1]))
                except (orjson.JSONDecodeError, AttributeError, TypeError) as error:
                    yield Fault(MALFORMED_RECORD, f"not a JSON object with texts: {error}"[:200], 0)
        except OSError as error:
            yield Fault(UNREADABLE_ARCHIVE, str(error)[:200], None)


def _text_or_none(value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        raise TypeError(f"expected text, found {type(value).__name__}")
    return value


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    """Yield the lines of a file; one longer than a block is cut there, and so becomes a Fault."""
    rest = b""
    while block := file.read(_BLOCK_BYTES):
        *whole, rest = (rest + block).split(b"\n")
        yield from (line for line in whole if line.strip())
        if len(rest) > _BLOCK_BYTES:
            yield rest[:_BLOCK_BYTES]
            rest = b""
    if rest.strip():
        yield rest


@contextmanager
def _open_text(url: str, compression: str | None) -> Iterator[IO[bytes]]:
    with open_input(url) as file:
        yield pa.CompressedInputStream(file, compression) if compression else file
