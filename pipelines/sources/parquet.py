"""Rows of Parquet files, streamed in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.sources.rows import I64, NO_TEXTS, Choose, Columns, Rows, valid_texts
from pipelines.sources.source import MALFORMED_RECORD, Fault
from wit.errors import InputError, one_line
from wit.parquet import BROKEN, open_parquet

MAX_VALUE_BYTES = 16 << 20
"""A longer value makes its row a Fault, as a longer row of a text file is one."""

_BATCH_ROWS, _FEW_ROWS = 16_384, 1_024
_BATCH_BYTES = 32 << 20
_LARGE_GROUP_BYTES = 256 << 20  # the values of a smaller one may as well be in one batch


def parquet_columns(url: str, schema: pa.Schema, choose: Choose) -> Columns:
    """Return the columns of a Parquet file that are read; raises InputError unless they stand once and hold text."""
    columns = choose(schema.names)
    for name in (columns.url, columns.caption):
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


def parquet_rows(url: str, choose: Choose, start: int = 0, stop: int | None = None) -> Iterator[Rows | Fault]:
    """Yield rows `start` to `stop`, None: to the end; row groups before and after are not read.

    A row group that is broken costs itself. Raises InputError when the file or its columns cannot be read at all.
    """
    with open_parquet(url) as file:
        columns = parquet_columns(url, file.schema_arrow, choose)
        names = [name for name in columns if name is not None]
        with open_parquet(url, names) as dictionaries:
            end = 0
            for group in range(file.num_row_groups):
                begin, end = end, end + file.metadata.row_group(group).num_rows
                wanted = range(max(start, begin), end if stop is None else min(stop, end))
                if wanted:
                    yield from _GroupReader(file, dictionaries, group, columns, names).rows(begin, wanted)


@dataclass(frozen=True)
class _GroupReader:
    """Reads a row group; `dictionaries` is the same file, opened so that columns are read as such."""

    file: Any
    dictionaries: Any
    group: int
    columns: Columns
    names: Sequence[str]

    def rows(self, position: int, wanted: range) -> Iterator[Rows | Fault]:
        """Yield the rows whose numbers are `wanted`; the number of the first one of the group is `position`."""
        wrong = "the row group ends here"
        try:
            for batch in self._batches(*self._way()):
                begin = max(wanted.start - position, 0)
                rows = batch.select(self.names).slice(begin, max(wanted.stop - position - begin, 0))
                yield from _small_rows(rows, self.columns, position + begin)
                position += len(batch)
                if position >= wanted.stop:
                    return
        except BROKEN as error:
            wrong = one_line(error)
        lost = max(wanted.start, position)
        yield Fault(MALFORMED_RECORD, f"rows {lost} to {wanted.stop - 1}: {wrong}", lost)

    def _way(self) -> tuple[Any, int]:
        """Return the file to read, and how many rows to unpack at once; raises what Arrow does at a broken group.

        Values lie one after the other in pages, which together have the size that the footer states; or each value
        lies in a dictionary once, and may be meant by every row: a file of kilobytes can hold a caption of megabytes
        a million times. So the values of the dictionary are looked at before rows are made of them. Where one is
        large, columns are read as dictionaries, and cut by the sizes of their rows. Not always: over a row group such
        a column collects all values that ever came, and gives them with each batch.
        """
        first = next(self._batches(self.dictionaries, 1), None)
        found = [column.dictionary for column in first.columns if pa.types.is_dictionary(column.type)] if first else []
        longest = max((int(_sizes(each).max(initial=1)) for each in found), default=1)
        metadata = self.file.metadata.row_group(self.group)  # not of columns: damaged ones end the whole process
        size = max(int(metadata.total_byte_size), 1)
        most = _BATCH_ROWS if size <= _LARGE_GROUP_BYTES else _FEW_ROWS
        by_size = max(min(most, _BATCH_BYTES * int(metadata.num_rows) // size), 1)
        if longest > _BATCH_BYTES // _FEW_ROWS:
            return self.dictionaries, by_size
        return self.file, min(by_size, _BATCH_BYTES // longest)

    def _batches(self, file: Any, batch_rows: int) -> Iterator[pa.RecordBatch]:
        return cast(
            Iterator[pa.RecordBatch],
            file.iter_batches(batch_rows, row_groups=[self.group], columns=self.names, use_threads=False),
        )


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
