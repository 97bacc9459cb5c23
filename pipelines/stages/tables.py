"""The tables of a run that are already in place: their parts, their rows, and small ones as a whole."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq

from wit.errors import InputError
from wit.storage import join, list_names, open_input, read_parquet


def part_names(root: str, table: str) -> list[str]:
    """Return the Parquet parts of a table in order, relative to the run."""
    return [join(table, name) for name in list_names(join(root, table)) if name.endswith(".parquet")]


def parts(root: str, table: str) -> list[str]:
    """Return the URLs of the Parquet parts of a table in order."""
    return [join(root, part) for part in part_names(root, table)]


def num_rows(part: str) -> int:
    """Return the rows of a Parquet part, from its footer; raises InputError when it has none."""
    with open_input(part) as file:
        try:
            return int(pq.read_metadata(file).num_rows)
        except pa.ArrowInvalid as error:
            raise InputError(f"{part}: not a readable Parquet part: {error}; redo its stage with --from") from error


def count_rows(root: str, table: str) -> int:
    """Return the rows of a table, from the footers of its parts."""
    return sum(map(num_rows, parts(root, table)))


def read_small(root: str, table: str, schema: pa.Schema) -> pa.Table:
    """Return a small table, its parts one after the other; one without parts has no rows."""
    return pa.concat_tables([schema.empty_table(), *map(read_parquet, parts(root, table))])
