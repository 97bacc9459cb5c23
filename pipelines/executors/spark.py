"""A cluster: the same stages under Spark, in coarse tasks.

A map stage's task is one part: `mapInArrow` over a table of part numbers, whose function does the same work as a
local process and publishes the same files. A SQL stage is one Spark SQL statement over all rows; its result is cut by
bucket, sorted inside, and published by the same writer. Only row counts come back to the driver. The run directory
must be reachable from every worker.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, cast

import pyarrow as pa

from pipelines.executors import Advance
from pipelines.executors.parts import bind, is_done, part_name, parts_of, run_map_part, write_rows
from wit import errors
from wit.errors import InputError, StageError, WitError
from wit.stage import SqlStage, Step
from wit.storage import join

_STATUS = "part int, error string, message string"  # error: the class in wit.errors; null: the part is done
_STATUS_ROW = pa.schema([("part", pa.int32()), ("error", pa.string()), ("message", pa.string())])
_CONF = {
    "spark.ui.enabled": "false",
    "spark.sql.shuffle.partitions": "8",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    "spark.sql.session.timeZone": "UTC",
    "spark.task.maxFailures": "4",
    "spark.python.unix.domain.socket.enabled": "true",
}


class SparkExecutor:
    """Runs parts as Spark tasks; `master` as spark-submit takes it."""

    def __init__(self, root: str, num_buckets: int, master: str) -> None:
        self.root = os.path.abspath(root) if "://" not in root else root
        self.num_buckets = num_buckets
        self.session = _session(master)

    @property
    def cores(self) -> int:
        """How many parts are worked on at once."""
        return int(self.session.sparkContext.defaultParallelism)

    def map(self, step: Step, advance: Advance) -> None:
        """Run a map stage over every part of its source, one task a part."""
        (source,) = step.sources.values()
        parts = parts_of(self.root, source)
        missing = [index for index in range(len(parts)) if not is_done(self.root, step, index)]
        advance(len(parts) - len(missing))
        if missing:
            rows = [(index, parts[index]) for index in missing]
            frame = self.session.createDataFrame(rows, "part int, url string").repartition(len(rows), "part")
            self._collect(step, frame.mapInArrow(_map_function(step, self.root), _STATUS), advance)

    def sql(self, step: Step, advance: Advance) -> None:
        """Run a SQL stage as one statement over all rows."""
        missing = [index for index in range(self.num_buckets) if not is_done(self.root, step, index)]
        advance(self.num_buckets - len(missing))
        if not missing:
            return
        stage = cast(SqlStage, step.stage)
        for name, view in stage.reads.items():
            frame = self.session.read.parquet(*parts_of(self.root, step.sources[name]))
            frame.select(*view.schema.names).createOrReplaceTempView(name)
        rows = self.session.sql(bind(stage)).select(*stage.writes.names)
        cut = rows.repartition(self.num_buckets, stage.bucket).sortWithinPartitions(stage.bucket, *stage.sort_by)
        function = _write_function(step, stage, join(self.root, step.target), frozenset(missing))
        written = self._collect(step, cut.mapInArrow(function, _STATUS), advance)
        for bucket in sorted(set(missing) - written):
            write_rows(join(self.root, step.target, part_name(bucket)), stage.writes, [])
            advance(1)

    def _collect(self, step: Step, frame: Any, advance: Advance) -> set[int]:
        """Return the parts that were done; raises what a task reported, or StageError when Spark itself gave up."""
        from py4j.protocol import Py4JJavaError
        from pyspark.errors import PySparkException

        done = set()
        try:
            for row in frame.toLocalIterator():
                if row["error"]:
                    raise getattr(errors, row["error"])(row["message"])
                done.add(int(row["part"]))
                advance(1)
        except (Py4JJavaError, PySparkException) as error:
            first_line = (str(error).splitlines() or ["no message"])[0]
            raise StageError(f"{step.target}: Spark failed: {first_line}") from error
        return done

    def close(self) -> None:
        """Stop the session."""
        self.session.stop()


def _session(master: str) -> Any:
    """Return a Spark session whose workers run this interpreter; raises InputError when Java or Spark is missing."""
    from pyspark.errors import PySparkException
    from pyspark.sql import SparkSession

    os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    builder = SparkSession.builder.master(master).appName("wit")
    for name, value in _CONF.items():
        builder = builder.config(name, value)
    try:
        session = builder.getOrCreate()
    except (PySparkException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"Spark did not start on {master!r} ({reason}); it needs Java 17 on the PATH") from error
    session.sparkContext.setLogLevel("ERROR")
    return session


Function = Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]


def _map_function(step: Step, root: str) -> Function:
    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for row in batch.to_pylist():
                yield _status(row["part"], step, partial(run_map_part, step, root, row["part"], row["url"]))

    return run


def _write_function(step: Step, stage: SqlStage, folder: str, missing: frozenset[int]) -> Function:
    """Return a function that publishes sorted rows as one part a bucket."""

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for bucket, rows in _by_bucket(batches, stage.bucket):
            if bucket in missing:
                url = join(folder, part_name(bucket))
                yield _status(bucket, step, partial(write_rows, url, stage.writes, rows))

    return run


def _by_bucket(batches: Iterable[pa.RecordBatch], column: str) -> Iterator[tuple[int, Iterator[pa.RecordBatch]]]:
    """Yield (bucket, its batches) from rows sorted by bucket; each group must be used up before the next."""
    from itertools import groupby

    runs = (run for batch in batches for run in _runs(batch, column))
    for bucket, group in groupby(runs, key=lambda run: run[0]):
        yield bucket, (batch for _, batch in group)


def _runs(batch: pa.RecordBatch, column: str) -> Iterator[tuple[int, pa.RecordBatch]]:
    values = batch.column(column).to_numpy(zero_copy_only=False)
    start = 0
    while start < len(values):
        stop = int(values.searchsorted(values[start], side="right"))
        yield int(values[start]), batch.slice(start, stop - start)
        start = stop


def _status(part: int, step: Step, work: Callable[[], int]) -> pa.RecordBatch:
    """Do the work of a part, and return a row that says how it ended.

    An error is a row, not an exception: Spark would try the same part three times more and bury the message.
    """
    name, message = None, None
    try:
        work()
    except WitError as error:
        name, message = type(error).__name__, str(error)
    except Exception as error:  # noqa: BLE001 - whatever a stage raises must reach the driver
        name, message = "StageError", f"{step.target}: {type(error).__name__}: {error}"
    row = {"part": part, "error": name, "message": message}
    return pa.RecordBatch.from_pylist([row], schema=_STATUS_ROW)
