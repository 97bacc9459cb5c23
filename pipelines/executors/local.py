"""One machine: a process pool over Parquet parts; SQL by DuckDB, one bucket at a time in each process."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from typing import cast

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.executors import Advance
from pipelines.executors.parts import bind, is_done, part_name, parts_of, run_map_part, write_rows
from wit.errors import StageError
from wit.processes import Pool
from wit.stage import SqlStage, Step, View
from wit.storage import TEMPORARY_PREFIX, is_remote, join, local_path, locate, open_input

SQL_BATCH_ROWS = 65_536


class LocalExecutor:
    """Runs parts in `processes` processes that share `memory_mb` for SQL."""

    def __init__(self, root: str, num_buckets: int, processes: int, memory_mb: int) -> None:
        self.root = root
        self.num_buckets = num_buckets
        self.memory_mb = max(memory_mb // processes, 256)  # DuckDB needs a few row groups even for a small bucket
        self.pool = Pool(processes)

    @property
    def cores(self) -> int:
        """How many parts are worked on at once."""
        return self.pool.processes

    def map(self, step: Step, advance: Advance) -> None:
        """Run a map stage over every part of its source."""
        (source,) = step.sources.values()
        parts = parts_of(self.root, source)
        missing = [index for index in range(len(parts)) if not is_done(self.root, step, index)]
        advance(len(parts) - len(missing))
        self._run(step, [partial(run_map_part, step, self.root, index, parts[index]) for index in missing], advance)

    def sql(self, step: Step, advance: Advance) -> None:
        """Run a SQL stage, one task a bucket."""
        missing = [index for index in range(self.num_buckets) if not is_done(self.root, step, index)]
        advance(self.num_buckets - len(missing))
        tasks = [partial(run_sql_bucket, step, self.root, bucket, self.memory_mb) for bucket in missing]
        self._run(step, tasks, advance)

    def _run(self, step: Step, tasks: Sequence[Callable[[], int]], advance: Advance) -> None:
        try:
            self.pool.run(tasks, lambda _: advance(1))
        except StageError as error:
            raise type(error)(f"{step.target}: {error}") from error

    def close(self) -> None:
        """Stop the workers."""
        self.pool.close()


def run_sql_bucket(step: Step, root: str, bucket: int, memory_mb: int) -> int:
    """Run a SQL stage over one bucket and publish its part; return the rows written."""
    stage = cast(SqlStage, step.stage)
    with _spill_folder(root) as spill:
        batches = select(stage, root, dict(step.sources), bucket, memory_mb, spill)
        return write_rows(join(root, step.target, part_name(bucket)), stage.writes, batches)


def select(
    stage: SqlStage, root: str, sources: dict[str, str], bucket: int, memory_mb: int, spill: str
) -> Iterator[pa.RecordBatch]:
    """Yield what a SQL stage gives for one bucket, sorted as it asks."""
    import duckdb

    connection = duckdb.connect(
        config={
            "memory_limit": f"{memory_mb}MB",
            "threads": "1",
            "temp_directory": spill,
            "allow_community_extensions": "false",
        }
    )
    with connection:
        if is_remote(root):
            connection.register_filesystem(locate(root)[0])
        for name, view in stage.reads.items():
            connection.sql(_scan(tuple(parts_of(root, sources[name])), view, bucket)).create_view(name)
        columns = _quoted(stage.writes.names)
        order = ", ".join(stage.sort_by)
        statement = f"select {columns} from ({bind(stage)}) where {stage.bucket} = {bucket} order by {order}"
        yield from connection.sql(statement).to_arrow_reader(SQL_BATCH_ROWS)


def _scan(files: tuple[str, ...], view: View, bucket: int) -> str:
    """Return SQL that reads a view's rows of one bucket, from the parts that can hold any."""
    where = ""
    if view.bucket:
        where = f" where {view.bucket} = {bucket}"
        ranges = _bucket_ranges(files, view.bucket)
        files = tuple(file for file in files if ranges[file][0] <= bucket <= ranges[file][1]) or files[:1]
    names = ", ".join("'" + local_path(file).replace("'", "''") + "'" for file in files)
    return f"select {_quoted(view.schema.names)} from read_parquet([{names}]){where}"


def _quoted(names: Sequence[str]) -> str:
    """Return columns as a list that may hold keywords: DuckDB takes a bare `offset` for the clause."""
    return ", ".join(f'"{name}"' for name in names)


@lru_cache(maxsize=64)
def _bucket_ranges(files: tuple[str, ...], column: str) -> dict[str, tuple[int, int]]:
    """Return the lowest and highest bucket in each part, from its footer; (0, -1) for a part without rows.

    Most tables are cut by the bucket they are asked for, so that a bucket is one part. Footers are read once a process.
    """
    ranges = {}
    for file in files:
        with open_input(file) as opened:
            metadata = pq.ParquetFile(opened).metadata
        place = metadata.schema.names.index(column)
        groups = [metadata.row_group(group).column(place).statistics for group in range(metadata.num_row_groups)]
        ranges[file] = (min((g.min for g in groups), default=0), max((g.max for g in groups), default=-1))
    return ranges


@contextmanager
def _spill_folder(root: str) -> Iterator[str]:
    """Yield a folder for DuckDB's spill on the run's own disk; a killed run's is removed by the next."""
    parent = tempfile.gettempdir() if is_remote(root) else local_path(root)
    folder = tempfile.mkdtemp(prefix=f"{TEMPORARY_PREFIX}spill-{os.getpid()}-", dir=parent)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
