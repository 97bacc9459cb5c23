"""Rows of CSV, TSV and other delimited text."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.sources.rows import Choose, Rows, valid_texts
from pipelines.sources.source import UNREADABLE_ARCHIVE, Fault
from pipelines.sources.windows import UTF8_MARK, BrokenStream, Dialect, Lines, faults_of, open_blocks, scan
from wit.errors import InputError

_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


def delimited_rows(
    url: str, compression: str | None, dialect: Dialect, names_of: Callable[[list[str]], list[str]], choose: Choose
) -> Iterator[Rows | Fault]:
    """Yield the rows of delimited text; rows are numbered from 0, after the header.

    `names_of` is given the values of the first line and returns the names of the columns: those values themselves, or
    others where the first line is a row already. A line whose quotes do not work out is taken as it stands; a row
    with another number of values than there are names, or of more than 16 MiB, is a Fault. Raises InputError when the
    first line is no header.
    """
    with open_blocks(url, compression) as blocks:
        try:
            head = next(blocks, b"").removeprefix(UTF8_MARK).lstrip(b"\r\n")
            if not head:
                return
            line, _, rest = head.partition(b"\n")
            values = _values(url, line, dialect)
            names = names_of(values)
            columns = choose(names)
            wanted = [names.index(name) for name in columns if name is not None]
            first = 0
            for lines in scan(rest if names is values else head, blocks, dialect, len(names), wanted):
                good = lines.is_good()
                texts = tuple(_taken(lines, good, k) for k in range(len(wanted)))
                faults = tuple(faults_of(lines, first, len(names)))
                yield Rows(first + np.flatnonzero(good), texts, columns, faults)
                first += len(good)
        except BrokenStream as error:
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


def _taken(lines: Lines, good: Any, k: int) -> pa.LargeStringArray:
    from pipelines.sources.delimited_kernels import take_values

    size = int((lines.spans[good, k, 1] - lines.spans[good, k, 0]).sum())
    text, offsets = np.empty(size, np.uint8), np.empty(len(good) + 1, np.int64)
    count = take_values(lines.window, lines.spans, k, lines.kinds, text, offsets)
    buffers = [None, pa.py_buffer(offsets[: count + 1]), pa.py_buffer(text)]
    return valid_texts(pa.Array.from_buffers(pa.large_binary(), count, buffers))
