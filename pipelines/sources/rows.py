"""Rows of a table in columns of valid text, and those of Parquet files, streamed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.sources.source import MALFORMED_RECORD, Fault
from wit.errors import InputError
from wit.storage import open_input

I64 = npt.NDArray[np.int64]


class Columns(NamedTuple):
    """Which columns of a table are read."""

    url: str
    caption: str
    extra: str | None = None
    """Another that the reader asks for."""


@dataclass(frozen=True)
class Rows:
    """Some rows of a table, and what was wrong among them."""

    numbers: I64
    """Of the rows in their file, from 0; ascending."""
    texts: tuple[pa.LargeStringArray, ...]
    """A column each of `Columns` that the table has; nulls are blank, and what is no UTF-8 is U+FFFD."""
    columns: Columns
    faults: tuple[Fault, ...] = ()


Choose = Callable[[Sequence[str]], Columns]
"""Returns which of a file's columns are read."""

MAX_VALUE_BYTES = 16 << 20
"""A longer value makes its row a Fault; captions of the largest data sets stay below 100 kB."""

NO_TEXTS = pa.array([], pa.large_string())

_BATCH_ROWS = 16_384
_BATCH_BYTES = 32 << 20


def valid_texts(column: pa.Array) -> pa.LargeStringArray:
    """Return a column of text or bytes as valid UTF-8 without nulls; what is none becomes U+FFFD."""
    if pa.types.is_null(column.type):
        return pa.array([""] * len(column), pa.large_string())
    raw = column.cast(pa.large_binary())
    try:
        texts = raw.cast(pa.large_string())
    except pa.ArrowInvalid:
        texts = pa.array([(each or b"").decode("utf-8", "replace") for each in raw.to_pylist()], pa.large_string())
    return texts.fill_null("")


@contextmanager
def open_parquet(url: str, dictionaries: Sequence[str] = ()) -> Iterator[Any]:
    """Open a Parquet file; raises InputError when it is not one."""
    with open_input(url) as file:
        try:
            opened = pq.ParquetFile(file, read_dictionary=dictionaries)
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{url}: not a readable Parquet file: {one_line(error)}") from error
        yield opened


def parquet_columns(url: str, schema: pa.Schema, choose: Choose) -> Columns:
    """Return the columns of a Parquet file that are read; raises InputError unless they stand once and hold text."""
    columns = choose(schema.names)
    for name in columns[:2]:
        if schema.names.count(name) > 1:
            raise InputError(f"{url}: expected one column {name!r}, found {schema.names.count(name)}")
        if not _is_text(schema.field(name).type):
            raise InputError(f"{url}: expected text in column {name!r}, found {schema.field(name).type}")
    extra = columns.extra
    is_usable = extra is not None and schema.names.count(extra) == 1 and _is_text(schema.field(extra).type)
    return columns if is_usable else columns._replace(extra=None)


def _is_text(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    types = pa.types
    return any(
        (
            types.is_string(kind),
            types.is_large_string(kind),
            types.is_string_view(kind),
            types.is_binary(kind),
            types.is_large_binary(kind),
            types.is_null(kind),
        )
    )


def parquet_rows(url: str, choose: Choose, start: int, stop: int) -> Iterator[Rows | Fault]:
    """Yield rows `start` to `stop`; row groups before and after are not read. One that is broken costs itself.

    Columns are read as dictionaries: a value of megabytes that a small file holds a million times stays one value,
    until rows of at most 32 MiB are made of it.
    """
    with open_parquet(url) as file:
        columns = parquet_columns(url, file.schema_arrow, choose)
    names = [name for name in columns if name is not None]
    with open_parquet(url, names) as file:
        end = 0
        for group in range(file.num_row_groups):
            begin, end = end, end + file.metadata.row_group(group).num_rows
            if end > start and begin < stop:
                yield from _group_rows(file, group, columns, names, begin, range(max(start, begin), min(stop, end)))


def _group_rows(
    file: Any, group: int, columns: Columns, names: Sequence[str], position: int, wanted: range
) -> Iterator[Rows | Fault]:
    """Yield the rows of a row group whose numbers are `wanted`; the number of its first one is `position`."""
    try:
        for batch in file.iter_batches(_BATCH_ROWS, row_groups=[group], columns=names, use_threads=False):
            begin = max(wanted.start - position, 0)
            rows = batch.select(names).slice(begin, max(wanted.stop - position - begin, 0))
            yield from _small_rows(rows, columns, position + begin)
            position += len(batch)
        wrong = f"expected rows up to {wanted.stop - 1}, found fewer"
    except (pa.ArrowException, OSError) as error:
        wrong = one_line(error)
    lost = max(wanted.start, position)
    if lost < wanted.stop:
        yield Fault(MALFORMED_RECORD, f"rows {lost} to {wanted.stop - 1}: {wrong}", lost)


def _small_rows(batch: pa.RecordBatch, columns: Columns, first: int) -> Iterator[Rows]:
    """Yield the rows of a batch in pieces of bounded size; `first` is the number of its first row."""
    sizes = np.stack([_sizes(column) for column in batch.columns]).reshape(batch.num_columns, -1)
    too_long = np.flatnonzero((sizes > MAX_VALUE_BYTES).any(axis=0))
    numbers = np.delete(np.arange(first, first + len(batch), dtype=np.int64), too_long)
    piece = np.cumsum(np.delete(sizes.sum(axis=0), too_long)) // _BATCH_BYTES
    cuts = [0, *(np.flatnonzero(np.diff(piece)) + 1).tolist(), len(numbers)]
    for begin, end in pairwise(cuts):
        rows = pa.array(numbers[begin:end] - first)
        yield Rows(numbers[begin:end], tuple(valid_texts(_taken(column, rows)) for column in batch.columns), columns)
    if len(too_long):
        detail = f"a value of more than {MAX_VALUE_BYTES} bytes"
        faults = tuple(Fault(MALFORMED_RECORD, detail, first + row) for row in too_long.tolist())
        yield Rows(numbers[:0], (NO_TEXTS,) * batch.num_columns, columns, faults)


def _sizes(column: pa.Array) -> I64:
    """Return the number of bytes of each value."""
    if pa.types.is_null(column.type):
        return np.zeros(len(column), np.int64)
    if not pa.types.is_dictionary(column.type):
        return np.asarray(pc.binary_length(column.cast(pa.large_binary())).fill_null(0), np.int64)
    sizes = np.append(_sizes(column.dictionary), 0)
    return np.asarray(sizes[column.indices.fill_null(len(sizes) - 1).to_numpy(zero_copy_only=False)], np.int64)


def _taken(column: pa.Array, rows: pa.Array) -> pa.Array:
    taken = column if len(rows) == len(column) else column.take(rows)
    return taken.dictionary_decode() if pa.types.is_dictionary(taken.type) else taken


def one_line(error: Exception) -> str:
    """Return the first line of what an error says, at most 200 characters."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
