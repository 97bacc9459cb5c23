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
            raise _unreadable(part, error) from error


def _unreadable(part: str, error: pa.ArrowInvalid) -> InputError:
    return InputError(f"{part}: not a readable Parquet part: {error}; redo its stage with --from")


def first_text(part: str, column: str) -> str | None:
    """Return the first value of a column of texts of a Parquet part, None when it has no rows; raises InputError."""
    with open_input(part) as file:
        try:
            for batch in pq.ParquetFile(file).iter_batches(batch_size=1, columns=[column]):
                value: str = batch[column][0].as_py()
                return value
        except pa.ArrowInvalid as error:
            raise _unreadable(part, error) from error
    return None


def count_rows(root: str, table: str) -> int:
    """Return the rows of a table, from the footers of its parts."""
    return sum(map(num_rows, parts(root, table)))


def read_small(root: str, table: str, schema: pa.Schema) -> pa.Table:
    """Return a small table, its parts one after the other; one without parts has no rows."""
    return pa.concat_tables([schema.empty_table(), *map(read_parquet, parts(root, table))])
