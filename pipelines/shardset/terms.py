"""The names of queries, which shards know by number."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from wit.errors import ContractError, InputError, UserError
from wit.schema import TERMS, conform
from wit.storage import is_remote, join, list_names, local_path, read_parquet
from wit.text import normalise

_TABLE = "match/queries"
_COLUMNS = ("query_id", "term")


@dataclass(frozen=True)
class Terms:
    """Queries by number and by name; `table` has query_id and term, or no row where no list was given."""

    table: pa.Table

    def names(self, numbers: Iterable[int]) -> dict[int, str]:
        """Return the terms of queries by their number; one that is not in the list is left out."""
        asked = pa.array(sorted(numbers), pa.int32())
        found = self.table.filter(pc.is_in(self.table["query_id"], value_set=asked))
        return dict(zip(*(found[name].to_pylist() for name in _COLUMNS), strict=True))

    def number(self, query: str) -> int:
        """Return the number of a query, given its term, or the number itself; raises UserError when there is none."""
        term = normalise(query)
        found = self.table.filter(pc.equal(self.table["term"], term))["query_id"].to_pylist()
        if found:
            return int(found[0])
        if query.isascii() and query.isdigit() and int(query) < 1 << 31:
            return int(query)
        among = (
            f"a term of the {len(self.table):,} given" if len(self.table) else "a number, or --queries with the list"
        )
        raise UserError(f"--query {query}: expected {among}, found none of that name")


def read_terms(shards: str, queries: str = "", run: str = "") -> Terms:
    """Return the terms of a query list (`queries`, a Parquet file), or of a run.

    Without either they are those of the run that the shards lie in, if they lie in one. Raises InputError for a file
    or a run without queries.
    """
    if queries:
        return Terms(_read([queries]))
    home = run or _run_of(shards)
    names = [name for name in list_names(join(home, _TABLE)) if name.endswith(".parquet")] if home else []
    if run and not names:
        raise InputError(f"{run}: expected a run with the table {_TABLE}, found none; name the list with --queries")
    return Terms(_read([join(home, _TABLE, name) for name in names]))


def _run_of(shards: str) -> str:
    """Return the folder around a folder of shards; empty where a pattern or nothing is around."""
    path = shards.rstrip("/") if is_remote(shards) else local_path(shards).rstrip("/")
    folder = path.rpartition("/")[0] if path.endswith(".tar") else path
    parent, slash, name = folder.rpartition("/")
    return parent if slash and name else ("." if name else "")


def _read(urls: Sequence[str]) -> pa.Table:
    schema = pa.schema([TERMS.field(name) for name in _COLUMNS])
    tables = [schema.empty_table()]
    for url in urls:
        table = read_parquet(url)
        if not set(_COLUMNS) <= set(table.column_names):
            raise InputError(f"{url}: expected a query list with query_id and term, found {table.column_names}")
        try:
            tables.append(conform(table.select(_COLUMNS), schema))
        except ContractError as error:
            raise InputError(f"{url}: expected a query list: {error}") from error
    return pa.concat_tables(tables)
