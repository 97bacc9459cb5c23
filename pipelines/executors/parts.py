"""The work on one part, the same under every executor: read a part, call the stage, publish what it wrote.

A part of a map stage is several files. Its `kept` table is published last, so where that file stands the part is
done; a part that died half-way left only temporaries, and files that its redoing replaces with the same bytes.
"""

from __future__ import annotations

import string
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import IO, cast

import pyarrow as pa
import pyarrow.parquet as pq

from wit.errors import ContractError, InputError
from wit.schema import conform
from wit.stage import KEPT, REJECTS, MapStage, SqlStage, Step
from wit.storage import (
    Draft,
    exists,
    is_remote,
    join,
    list_names,
    local_path,
    make_folder,
    open_input,
    output_error,
    remove,
)

SCRATCH = "scratch"
"""Folder, in a step's target, of files that parts go on from after a kill; gone when the step is done."""

BATCH_ROWS = 16_384
ROW_GROUP_ROWS = 16_384
"""Rows of a row group: 5 MB of captions and URLs. What lies sorted by bucket is read by buckets, and the groups that
hold nothing of one are skipped; a chunk of `extract` has some 10,000 rows for each of 16."""


def part_name(index: int) -> str:
    """Return the file name of a part: five digits, more where they are needed."""
    return f"part-{index:05d}.parquet"


def parts_of(root: str, table: str) -> list[str]:
    """Return the URLs of a table's parts, in order."""
    folder = join(root, table)
    return [join(folder, name) for name in list_names(folder) if name.startswith("part-")]


def table_folder(step: Step, table: str) -> str:
    """Return the folder, relative to the run, of a table that a map step writes."""
    return f"rejects/{step.stage.name}" if table == REJECTS else f"{step.target}/{table}"


def is_done(root: str, step: Step, index: int) -> bool:
    """Return whether a part of a map or SQL step is in place."""
    folder = step.target if isinstance(step.stage, SqlStage) else table_folder(step, KEPT)
    return exists(join(root, folder, part_name(index)))


def read_batches(url: str, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Yield a part's rows in batches that conform to `schema`."""
    with open_input(url) as file:
        try:
            parquet = pq.ParquetFile(file)
            for batch in parquet.iter_batches(BATCH_ROWS, columns=schema.names):
                yield from conform(pa.Table.from_batches([batch]), schema).to_batches()
        except (pa.ArrowInvalid, OSError) as error:
            raise InputError(f"{url}: not a readable Parquet part: {error}") from error


class PartWriter:
    """Writes batches to a Parquet part in row groups of fixed size, so that bytes depend on the rows alone."""

    def __init__(self, url: str, schema: pa.Schema) -> None:
        self.schema = schema
        self.num_rows = 0
        self._draft = Draft(url)
        self._writer = pq.ParquetWriter(self._draft.file, schema, compression="zstd")
        self._waiting: list[pa.RecordBatch] = []
        self._num_waiting = 0

    def write(self, batch: pa.RecordBatch) -> None:
        """Add rows; raises ContractError when they do not fit the schema."""
        if batch.schema.equals(self.schema):
            self._add(batch)
        else:
            for piece in conform(pa.Table.from_batches([batch]), self.schema).to_batches():
                self._add(piece)

    def _add(self, batch: pa.RecordBatch) -> None:
        self._waiting.append(batch)
        self._num_waiting += batch.num_rows
        self.num_rows += batch.num_rows
        while self._num_waiting >= ROW_GROUP_ROWS:
            self._flush(ROW_GROUP_ROWS)

    def _flush(self, num_rows: int) -> None:
        table = pa.Table.from_batches(self._waiting, self.schema)
        try:
            self._writer.write_table(table.slice(0, num_rows).combine_chunks(), row_group_size=ROW_GROUP_ROWS)
        except OSError as error:
            raise output_error(self._draft.url, error) from error
        self._waiting = table.slice(num_rows).to_batches()
        self._num_waiting -= num_rows

    def publish(self) -> None:
        """Finish the part and give it its name."""
        if self._num_waiting:
            self._flush(self._num_waiting)
        try:
            self._writer.close()
        except OSError as error:
            raise output_error(self._draft.url, error) from error
        self._draft.publish()

    def discard(self) -> None:
        """Remove what was written; harmless after publish."""
        try:
            self._writer.close()
        except OSError:
            self._writer.is_open = False  # a full disk: its finaliser must not try again, and complain
        self._draft.discard()


@dataclass
class RunPart:
    """A part of a run, as a map stage sees it; see `wit.stage.Part`."""

    root: str
    index: int
    target: str
    drafts: list[Draft] = field(default_factory=list)
    scratches: list[str] = field(default_factory=list)

    def blob(self, suffix: str) -> tuple[str, IO[bytes]]:
        """Open a file that is published with the part."""
        name = f"{self.target}/blobs/part-{self.index:05d}.{suffix}"
        self.drafts.append(Draft(join(self.root, name)))
        return name, self.drafts[-1].file

    def scratch(self, suffix: str) -> str | None:
        """Name a file that the part's next attempt finds again."""
        if is_remote(self.root):
            return None
        folder = local_path(join(self.root, self.target, SCRATCH))
        make_folder(folder)
        self.scratches.append(join(folder, f"part-{self.index:05d}.{suffix}"))
        return self.scratches[-1]


def run_map_part(step: Step, root: str, index: int, source_part: str) -> int:
    """Run a map stage over one part and publish all it wrote; return the rows read."""
    stage = cast(MapStage, step.stage)
    part = RunPart(root, index, step.target)
    counter = _Counter(read_batches(source_part, stage.reads))
    writers: dict[str, PartWriter] = {}
    try:
        for name, schema in stage.writes.items():
            writers[name] = PartWriter(join(root, table_folder(step, name), part_name(index)), schema)
        for name, batch in stage(iter(counter), part):
            if name not in writers:
                raise ContractError(f"{stage.name} wrote to {name!r}, which is not among its tables {list(writers)}")
            writers[name].write(batch)
        for draft in part.drafts:
            draft.publish()
        for name in sorted(writers, key=lambda name: name == KEPT):
            writers[name].publish()
        for scratch in part.scratches:
            remove(scratch)
    except BaseException:
        for draft in part.drafts:
            draft.discard()
        for writer in writers.values():
            writer.discard()
        raise
    return counter.num_rows


@dataclass
class _Counter:
    batches: Iterable[pa.RecordBatch]
    num_rows: int = 0

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        for batch in self.batches:
            self.num_rows += batch.num_rows
            yield batch


def bind(stage: SqlStage) -> str:
    """Return a SQL stage's statement with its integer parameters in place."""
    for name, value in stage.parameters.items():
        if not isinstance(value, int):
            raise ContractError(f"{stage.name}: parameter {name} must be an integer, is {value!r}")
    return string.Template(stage.sql).substitute(stage.parameters)


def write_rows(url: str, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> int:
    """Publish batches as one part; return how many rows it holds."""
    writer = PartWriter(url, schema)
    try:
        for batch in batches:
            writer.write(batch)
        writer.publish()
    except BaseException:
        writer.discard()
        raise
    return writer.num_rows
