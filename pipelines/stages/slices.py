"""The plans that hand rows of a table, in order, to tasks of a chosen size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.stages.tables import num_rows, part_names
from wit.fitting import bytes_between, last_fitting
from wit.schema import SLICES
from wit.storage import join, open_input, read_parquet


@dataclass(frozen=True)
class SliceTable:
    """Cuts a table into tasks of `num_rows` rows, across the borders of its parts; only footers are read."""

    name: ClassVar[str] = "slice"
    writes: ClassVar[pa.Schema] = SLICES

    table: str
    """Folder of the table, relative to the run."""
    num_rows: int | None
    """Rows of a task; the last has what is left. None: one task with all rows."""

    def __call__(self, root: str) -> Iterator[pa.Table]:
        """Yield the slices of each task. A table without rows gives one task without slices if all rows go to one."""
        task: list[dict[str, object]] = []
        free = self.num_rows
        for part in part_names(root, self.table):
            start, end = 0, num_rows(join(root, part))
            while start < end:
                stop = end if free is None else min(start + free, end)
                task.append({"part": part, "start": start, "stop": stop})
                free = None if free is None else free - (stop - start)
                start = stop
                if free == 0:
                    yield pa.Table.from_pylist(task, schema=SLICES)
                    task, free = [], self.num_rows
        if task or self.num_rows is None:
            yield pa.Table.from_pylist(task, schema=SLICES)


@dataclass(frozen=True)
class SliceBySize:
    """Cuts a table into tasks of at most `num_rows` rows and `num_bytes` bytes, across the borders of its parts.

    A row that is larger than that by itself is a task of its own. Memory: 16 bytes a row of one part.
    """

    name: ClassVar[str] = "slice_by_size"
    writes: ClassVar[pa.Schema] = SLICES

    table: str
    """Folder of the table, relative to the run."""
    sizes: str
    """Folder of the table of SAMPLE_SIZES, whose rows are those of `table`, part by part."""
    num_rows: int
    num_bytes: int

    def __call__(self, root: str) -> Iterator[pa.Table]:
        """Yield the slices of each task; none for a table without rows."""
        task: list[dict[str, object]] = []
        rows_free, bytes_free = self.num_rows, self.num_bytes
        for part, sizes in zip(part_names(root, self.table), part_names(root, self.sizes), strict=True):
            ends = np.cumsum(read_parquet(join(root, sizes))["num_bytes"].to_numpy())
            start = 0
            while start < len(ends):
                stop = last_fitting(ends, start, rows_free, bytes_free, is_begun=bool(task))
                if stop > start:
                    task.append({"part": part, "start": start, "stop": stop})
                    rows_free -= stop - start
                    bytes_free -= bytes_between(ends, start, stop)
                    start = stop
                if start < len(ends) or not rows_free:
                    yield pa.Table.from_pylist(task, schema=SLICES)
                    task, rows_free, bytes_free = [], self.num_rows, self.num_bytes
        if task:
            yield pa.Table.from_pylist(task, schema=SLICES)


def read_slice(root: str, part: str, start: int, stop: int, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """Yield rows `start` to `stop` of a Parquet part, in order, some columns of them; one row group at a time."""
    with open_input(join(root, part)) as file:
        position = 0
        for batch in pq.ParquetFile(file).iter_batches(columns=columns):
            first, last = max(start - position, 0), min(stop - position, batch.num_rows)
            if first < last:
                yield batch.slice(first, last - first)
            position += batch.num_rows
            if position >= stop:
                return


def read_slices(root: str, batches: Iterator[pa.RecordBatch], columns: list[str]) -> Iterator[pa.RecordBatch]:
    """Yield the rows of all slices of a task, in order, some columns of them."""
    for each in (row for batch in batches for row in batch.to_pylist()):
        yield from read_slice(root, each["part"], each["start"], each["stop"], columns)
