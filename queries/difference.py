"""What differs between two query lists: terms, places, what the sources say of them, what they were made from."""

from __future__ import annotations

import os
import shutil
import string
import tempfile
from dataclasses import dataclass
from typing import Any

import pyarrow.parquet as pq

from queries import sql
from queries.database import database, scan, write_rows
from queries.fitting import SOURCES
from queries.listing import require_columns, table_path
from wit import manifest
from wit.errors import InputError
from wit.schema import DIFFERENCES, QUERIES
from wit.storage import ROW_GROUP_ROWS, exists, is_remote, join, local_path, open_input

CHANGES = ("added", "removed", "moved", "changed")
"""moved: another query_id; changed: other sources, or another value of one."""

VALUES = tuple(name for name in QUERIES.names if name not in ("query_id", "term"))

MEMORY_BYTES = 1 << 30
NUM_EXAMPLES = 10


@dataclass(frozen=True)
class Difference:
    """How list b differs from list a."""

    num_a: int
    """Terms of list a."""
    num_b: int
    num_same_id: int
    """Terms of both lists that have the same query_id in them."""
    by_source: dict[str, dict[str, int]]
    """Terms by first source (list b's, where it has the term) and change, see CHANGES."""
    values: dict[str, int]
    """Terms of both lists by the column that differs."""
    added: list[str]
    """The highest-ranked terms that only list b has."""
    removed: list[str]
    """The highest-ranked terms that only list a has."""
    made_from: list[str] | None
    """Settings, inputs and code that differ; None when one of the lists has no manifest."""

    @property
    def is_same(self) -> bool:
        """Whether the lists say the same of the same terms in the same order, whatever they were made from."""
        return not any(sum(counts.values()) for counts in self.by_source.values())

    def lines(self) -> list[str]:
        """Return the summary to print."""
        lines = [f"{self.num_a:,} terms -> {self.num_b:,} terms; {self.num_same_id:,} keep their id"]
        if not self.is_same:
            lines.append(f"{'source':<8}" + "".join(f"{change:>12}" for change in CHANGES))
            for source, counts in self.by_source.items():
                lines.append(f"{source:<8}" + "".join(f"{counts[change]:>12,}" for change in CHANGES))
        differing = [f"{name} {count:,}" for name, count in self.values.items() if count]
        lines += [f"values that differ: {', '.join(differing)}"] if differing else []
        lines += [f"added: {', '.join(self.added)}"] if self.added else []
        lines += [f"removed: {', '.join(self.removed)}"] if self.removed else []
        if self.made_from is None:
            lines.append("made from: not known, a manifest is missing")
        return lines + [f"made from: {line}" for line in self.made_from or ()]


def compare(a: str, b: str, out: str | None = None, memory_bytes: int = MEMORY_BYTES) -> Difference:
    """Compare two lists, each given by its folder or its Parquet file; write all differences (DIFFERENCES) to `out`.

    What exceeds `memory_bytes` goes to the system's temporary folder. Raises InputError when a list is missing or is
    none, UserError and OutputError as `queries.database` does.
    """
    with tempfile.TemporaryDirectory() as scratch, database(scratch, memory_bytes) as connection:
        for name, where in (("list_a", a), ("list_b", b)):
            scan(connection, _local_list(where, os.path.join(scratch, f"{name}.parquet"))).create_view(name)
            _require_list(connection, name, table_path(where))
        distinct = ", ".join(f'a."{name}" is distinct from b."{name}" as "{name}"' for name in VALUES)
        changed = ", ".join(f'"{name}"' for name in VALUES)
        connection.execute(string.Template(sql.read("difference")).substitute(distinct=distinct, changed=changed))
        connection.execute(sql.read("difference_changes"))
        if out is not None:
            order = "order by id_a nulls last, id_b, change"
            rows = connection.sql(f"select * exclude (source) from changes {order}").to_arrow_reader(ROW_GROUP_ROWS)
            write_rows(out, DIFFERENCES, rows)
        return _difference(connection, _made_from(a, b))


def _local_list(where: str, copy: str) -> str:
    """Return a local path of a list, `copy` when it had to be copied there; raises InputError when it is no list."""
    import pyarrow as pa

    path = table_path(where)
    with open_input(path) as file:
        if is_remote(path):
            with open(copy, "wb") as target:
                shutil.copyfileobj(file, target)
    path = copy if is_remote(path) else local_path(path)
    try:
        schema = pq.read_schema(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{table_path(where)}: not a readable Parquet file: {error}") from error
    require_columns(table_path(where), schema)
    return path


def _require_list(connection: Any, name: str, path: str) -> None:
    """Raise InputError unless the whole of a table can be read, and has each term once, with sources that there are."""
    import duckdb

    known = f"array_has_any([{', '.join(map(repr, SOURCES))}], sources[:1])"
    facts = f"count(*), count(distinct term), count(*) filter ({known}), bit_xor(hash({name}))"  # hash: of all columns
    try:
        ((num_rows, num_terms, num_known, _),) = connection.sql(f"select {facts} from {name}").fetchall()
    except duckdb.InvalidInputException as error:
        raise InputError(f"{path}: cannot be read: {str(error).splitlines()[0]}") from error
    if not num_rows == num_terms == num_known:
        found = f"found {num_rows:,} rows with {num_terms:,} terms, {num_known:,} of them with a known source"
        raise InputError(f"{path}: expected a query list, each term once, {found}; build the list anew")


def _difference(connection: Any, made_from: list[str] | None) -> Difference:
    def ask(statement: str) -> list[Any]:
        rows: list[Any] = connection.sql(statement).fetchall()
        return rows

    by_source = {source: dict.fromkeys(CHANGES, 0) for source in SOURCES}
    for source, change, count in ask("select source, change, count(*) from changes group by all"):
        by_source[source][change] = count
    counted = ", ".join(f'count(*) filter ("{name}")' for name in VALUES)
    (values,) = ask(f"select {counted} from differing where id_a is not null and id_b is not null")
    ((num_same_id,),) = ask("select count(*) from list_a a join list_b b using (term) where a.query_id = b.query_id")

    def examples(change: str, rank: str) -> list[str]:
        top = f"select term from changes where change = '{change}' order by {rank} limit {NUM_EXAMPLES}"
        return [term for (term,) in ask(top)]

    return Difference(
        num_a=ask("select count(*) from list_a")[0][0],
        num_b=ask("select count(*) from list_b")[0][0],
        num_same_id=num_same_id,
        by_source=by_source,
        values=dict(zip(VALUES, values, strict=True)),
        added=examples("added", "id_b"),
        removed=examples("removed", "id_a"),
        made_from=made_from,
    )


def _made_from(a: str, b: str) -> list[str] | None:
    folders = [table_path(where).rpartition("/")[0] or "." for where in (a, b)]
    paths = [join(folder, "manifest.json") for folder in folders]
    if not all(map(exists, paths)):
        return None
    before, now = (manifest.read(path, "made_from")["made_from"] for path in paths)
    return manifest.differences(before, now)
