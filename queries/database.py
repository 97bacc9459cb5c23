"""DuckDB within a memory limit, and tables that leave it a row group at a time."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from wit.errors import OutputError, UserError
from wit.schema import conform
from wit.storage import ROW_GROUP_ROWS, local_path, publish

MIB = 1 << 20
THREAD_BYTES = 128 * MIB  # DuckDB's documentation asks for 125 MB a thread


@contextmanager
def database(scratch: str, memory_bytes: int, threads: int | None = None) -> Iterator[Any]:
    """Give a connection that keeps what exceeds `memory_bytes` in the local folder `scratch`.

    `threads`: None for one a core, or as many as the memory allows. Rows come in no order but that of an ORDER BY. What
    Python and Arrow hold comes on top of the memory. Raises UserError when it does not suffice, OutputError when the
    folder cannot be written.
    """
    import duckdb

    threads = threads or max(1, min(os.cpu_count() or 1, memory_bytes // THREAD_BYTES))
    settings = {
        "threads": str(threads),
        "memory_limit": f"{memory_bytes // MIB}MiB",
        "temp_directory": local_path(scratch),
        "preserve_insertion_order": "false",
        "allow_community_extensions": "false",
    }
    try:
        with duckdb.connect(config=settings) as connection:
            yield connection
    except duckdb.OutOfMemoryException as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{memory_bytes // MIB:,} MiB of memory do not suffice ({reason}); allow more") from error
    except duckdb.IOException as error:
        raise OutputError(f"{scratch}: cannot be written or read: {str(error).splitlines()[0]}") from error


def scan(connection: Any, *paths: str, **options: bool) -> Any:
    """Return the rows of the local Parquet files of these very names, whatever signs are in them."""
    return connection.read_parquet(list(map(glob.escape, paths)), hive_partitioning=False, **options)


def write_rows(url: str, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> int:
    """Publish batches as one Parquet file and return its rows: the same bytes however the rows are cut into batches."""
    import pyarrow.parquet as pq

    num_rows: int = 0
    with publish(url) as file, pq.ParquetWriter(file, schema, compression="zstd") as writer:
        waiting = schema.empty_table()
        for batch in batches:
            waiting = pa.concat_tables([waiting, conform(pa.Table.from_batches([batch]), schema)])
            while waiting.num_rows >= ROW_GROUP_ROWS:
                writer.write_table(waiting.slice(0, ROW_GROUP_ROWS).combine_chunks())
                waiting = waiting.slice(ROW_GROUP_ROWS)
                num_rows += ROW_GROUP_ROWS
        if waiting.num_rows:
            writer.write_table(waiting.combine_chunks())
            num_rows += waiting.num_rows
    return num_rows
