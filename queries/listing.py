"""Reading a query list: the table, and what there is to say of one term, in the list or not."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from queries.union import TABLE, UNMATCHABLE_TABLE
from queries.unmatchable import REASONS
from wit.errors import InputError
from wit.schema import QUERIES, UNMATCHABLE
from wit.storage import exists, join, read_parquet
from wit.text import normalise

NUM_NEIGHBOURS = 3  # terms shown on either side of one
NUM_CLOSEST = 5
MAX_COMPARED = 5000  # terms that difflib looks at: 0.2 s
MAX_CHARACTERS = 100  # of a term that close ones are sought for, as difflib's time grows with the square


@dataclass(frozen=True)
class Found:
    """What a list says of a term."""

    path: str
    asked: str
    term: str
    """Its normal form."""
    num_terms: int
    row: dict[str, Any] | None
    """The term's row of QUERIES; None when the list has it not."""
    before: list[str]
    """Terms just above it in the list, in the list's order."""
    after: list[str]
    unmatchable: list[dict[str, Any]]
    """Rows of UNMATCHABLE with this very title or lemma, whatever its case."""
    closest: list[str]
    """When the list has it not: terms that resemble it, the closest first, and then terms that begin with it."""

    def lines(self) -> list[str]:
        """Return what there is to show of a term that the list has: a name and a value a line."""
        assert self.row is not None
        shown = [("asked", self.asked)] if self.asked != self.term else []
        shown += [(name, _shown(self.row[name])) for name in QUERIES.names]
        shown += [("before", _shown(self.before)), ("after", _shown(self.after))]
        shown += [("note", note) for note in self._notes()]
        return [f"{name:<13} {value}" for name, value in shown]

    def absence(self) -> str:
        """Return one line on a term that the list has not: its normal form, why it cannot be there, what is close."""
        normal_form = f"normal form {self.term!r}" if self.term else "no normal form: nothing in it can match"
        close = [f"close to it: {', '.join(self.closest)}"] if self.closest else []
        more = "".join(f"; {line}" for line in (*self._notes(), *close))
        return (
            f"{self.path}: expected {self.asked!r} ({normal_form}) among {self.num_terms:,} terms, found it not{more}"
        )

    def _notes(self) -> list[str]:
        return [
            f"{row['source']} {row['text']!r}: {row['reason']} ({REASONS[row['reason']]})" for row in self.unmatchable
        ]


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(value) or "-"
    return "-" if value is None else str(value)


def table_path(where: str) -> str:
    """Return the Parquet file of a list: `where` itself, or queries.parquet in the folder `where`."""
    return where if where.endswith(".parquet") else join(where, TABLE)


def require_columns(path: str, found: pa.Schema, expected: pa.Schema = QUERIES) -> None:
    """Raise InputError unless a table has all columns of a schema, in such types; their width is as one likes."""
    missing = [name for name in expected.names if name not in found.names]
    if missing:
        raise InputError(
            f"{path}: expected a query list, found a table without {', '.join(missing)}; build the list anew"
        )
    for column in expected:
        there, wanted = _kind(found.field(column.name).type), _kind(column.type)
        if there != wanted and not (there == "null" and column.nullable):
            raise InputError(f"{path}: expected a query list, {wanted} in {column.name}, found {there}; build it anew")


def _kind(kind: pa.DataType) -> str:
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return f"lists of {_kind(kind.value_type)}"
    if pa.types.is_integer(kind):
        return "whole numbers"
    if pa.types.is_floating(kind):
        return "numbers"
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return "text"
    return str(kind)


def load(where: str) -> pa.Table:
    """Return a list by its folder or file; raises InputError when it is missing or no query list."""
    path = table_path(where)
    table = read_parquet(path)
    require_columns(path, table.schema)
    return table


def find(where: str, term: str) -> Found:
    """Look a term up by its normal form in the list at `where`, a folder or file; raises InputError as `load` does."""
    table = load(where)
    wanted = normalise(term)
    terms = table["term"].combine_chunks()
    place = pc.index(terms, wanted).as_py()
    there = place >= 0
    return Found(
        path=table_path(where),
        asked=term,
        term=wanted,
        num_terms=table.num_rows,
        row=table.slice(place, 1).to_pylist()[0] if there else None,
        before=terms.slice(max(place - NUM_NEIGHBOURS, 0), min(place, NUM_NEIGHBOURS)).to_pylist() if there else [],
        after=terms.slice(place + 1, NUM_NEIGHBOURS).to_pylist() if there else [],
        unmatchable=_unmatchable(where, term),
        closest=[] if there else _closest(terms, wanted),
    )


def _unmatchable(where: str, name: str) -> list[dict[str, Any]]:
    """Return what the file beside the list says of a name; nothing when there is no such file."""
    path = table_path(where).rpartition("/")[0]
    path = join(path, UNMATCHABLE_TABLE) if path else UNMATCHABLE_TABLE
    if not exists(path):
        return []
    table = read_parquet(path)
    require_columns(path, table.schema, UNMATCHABLE)
    rows: list[dict[str, Any]] = table.filter(pc.equal(pc.utf8_lower(table["text"]), name.lower())).to_pylist()
    return rows


def _closest(terms: pa.StringArray, wanted: str) -> list[str]:
    """Return terms like `wanted`, sought among those of about its length that begin or end as it does."""
    if not 0 < len(wanted) <= MAX_CHARACTERS:
        return []
    lengths = pc.utf8_length(terms)
    slack = 1 + len(wanted) // 4
    near = pc.and_(pc.greater_equal(lengths, len(wanted) - slack), pc.less_equal(lengths, len(wanted) + slack))
    edge = min(3, len(wanted))
    alike = pc.or_(pc.starts_with(terms, wanted[:edge]), pc.ends_with(terms, wanted[-edge:]))
    pool = terms.filter(pc.and_(near, alike)).slice(0, MAX_COMPARED).to_pylist()
    close = difflib.get_close_matches(wanted, pool, NUM_CLOSEST)
    longer = terms.filter(pc.starts_with(terms, wanted)).slice(0, NUM_CLOSEST).to_pylist()
    return list(dict.fromkeys([*close, *longer]))[:NUM_CLOSEST]
