"""What tests share: where the real data lies, a part for a map stage, and a naive run of a SQL stage."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import IO, cast

import pyarrow as pa
import pytest

from pipelines.executors.local import run_sql_bucket
from pipelines.executors.parts import part_name, parts_of, run_map_part, write_rows
from wit.schema import conform
from wit.stage import MapStage, PlanStage, SqlStage, Step
from wit.storage import read_parquet

ROOT = Path(__file__).resolve().parents[1]


def real_data(*path: str) -> Path:
    """Return a file or folder of the real data, or skip the test; `WIT_DATA` says where the data lies."""
    found = Path(os.environ.get("WIT_DATA", ROOT.parent / "shared" / "data")).joinpath(*path)
    if not found.exists():
        pytest.skip(f"real data not here: {found} (set WIT_DATA)")
    return found


def to_signed(value: int) -> int:
    """Return the signed integer with the same 64 bits, as columns of prints have them."""
    return value - (1 << 64) if value >> 63 else value


class MemoryPart:
    """A part whose blobs are written straight under a folder."""

    def __init__(self, root: str | Path = ".", index: int = 0) -> None:
        self.root = str(root)
        self.index = index
        self._open: list[IO[bytes]] = []

    def blob(self, suffix: str) -> tuple[str, IO[bytes]]:
        name = f"blobs/part-{self.index:05d}.{suffix}"
        path = Path(self.root, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._open.append(path.open("w+b"))
        return name, self._open[-1]

    def scratch(self, suffix: str) -> str | None:
        return str(Path(self.root, f"scratch-{self.index:05d}.{suffix}"))

    def close(self) -> None:
        for file in self._open:
            file.close()


def run_map(
    stage: MapStage,
    rows: pa.Table | Iterable[dict[str, object]],
    part: MemoryPart | None = None,
    batch_rows: int = 1000,
) -> dict[str, pa.Table]:
    """Return every table a map stage writes for one part, each checked against its schema."""
    table = rows if isinstance(rows, pa.Table) else pa.Table.from_pylist(list(rows), schema=stage.reads)
    part = part or MemoryPart()
    written: dict[str, list[pa.RecordBatch]] = {name: [] for name in stage.writes}
    for name, batch in stage(iter(table.to_batches(max_chunksize=batch_rows)), part):
        written[name].append(batch)
    part.close()
    return {
        name: conform(
            pa.Table.from_batches(batches) if batches else stage.writes[name].empty_table(), stage.writes[name]
        )
        for name, batches in written.items()
    }


def run_sql(stage: SqlStage, **tables: pa.Table) -> pa.Table:
    """Return what a SQL stage gives when it sees all rows at once, sorted as it asks."""
    import string

    import duckdb

    connection = duckdb.connect()
    for name, table in tables.items():
        connection.register(name, conform(table, stage.reads[name].schema))
    sql = string.Template(stage.sql).substitute(stage.parameters)
    result = connection.sql(sql).to_arrow_table().select(stage.writes.names)
    return conform(result.sort_by([(name, "ascending") for name in (stage.bucket, *stage.sort_by)]), stage.writes)


def run_steps(steps: Iterable[Step], root: Path, num_buckets: int) -> None:
    """Run the steps of a stage over the tables in a folder, in this process, as executors do part by part."""
    for step in steps:
        stage = step.stage
        if isinstance(stage, SqlStage):
            for bucket in range(num_buckets):
                run_sql_bucket(step, str(root), bucket, 256)
        elif step.sources:
            (source,) = step.sources.values()
            for index, url in enumerate(parts_of(str(root), source)):
                run_map_part(step, str(root), index, url)
        else:
            for index, table in enumerate(cast(PlanStage, stage)(str(root))):
                write_part(root, step.target, index, table)


def write_part(root: Path, table: str, index: int, rows: pa.Table) -> None:
    """Write a part of a table under a folder."""
    write_rows(str(root / table / part_name(index)), rows.schema, rows.to_batches())


def read_parts(root: Path, table: str) -> pa.Table:
    """Return all parts of a table under a folder, one after the other."""
    return pa.concat_tables([read_parquet(part) for part in parts_of(str(root), table)])
