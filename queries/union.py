"""The union of the four sources, in the order of the paper's footnote, and all that they say of its terms.

Words, bigrams, titles, synsets, each in an order of its own that no tie leaves open (ties: see the writers of the
files); terms in normal form, each once, where its first source puts it; cut at a limit. A term names every source that
admits it, also one that comes later, and one whose own place lies beyond the limit.

Candidates are in Parquet files and stay in DuckDB, which keeps on disk what exceeds its memory.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from queries import sql
from queries.database import database, scan, write_rows
from queries.fitting import SOURCES, Stops, Thresholds
from queries.unmatchable import write_unmatchable
from wit.schema import QUERIES
from wit.storage import ROW_GROUP_ROWS, join

__all__ = ["SOURCES", "TABLE", "UNMATCHABLE_TABLE", "Candidates", "Thresholds", "UnionFacts", "unite"]

TABLE, UNMATCHABLE_TABLE = "queries.parquet", "unmatchable.parquet"

NUM_MARGIN_ROWS = 12  # shown on either side of a threshold
NUM_RANKS = 200  # of a rank-frequency curve, evenly spaced in their logarithm

_TEXT, _INT, _REAL = pa.string(), pa.int64(), pa.float64()
_FILES = {
    "word": {"word": _TEXT, "count": _INT},
    "bigram": {"term": _TEXT, "count": _INT, "pmi": _REAL, "npmi": _REAL},
    "title": {"title": _TEXT, "name": _TEXT, "disambiguator": _TEXT, "term": _TEXT, "views": _INT},
    "synset": {"position": _INT, "id": _TEXT, "lemma": _TEXT, "term": _TEXT},
}
_MARGINS = {
    "word": "select term, count from words",
    "bigram": "select term, count, pmi, npmi from bigrams",
    "title": "select term, title, views from titles",
}


@dataclass(frozen=True)
class Candidates:
    """Local Parquet files, each in its total order; None for a source that there is not.

    Rows below a threshold may be among them: they show what lies there, and are what a threshold is fitted to.
    """

    words: str | None = None
    """word, count: by (-count, word)."""
    bigrams: str | None = None
    """term, count, pmi (bits), npmi: by (-pmi, term)."""
    titles: str | None = None
    """title, name, disambiguator (nullable), term, views: by (-views, term, title)."""
    synsets: str | None = None
    """position, id, lemma, term: by position."""


@dataclass(frozen=True)
class UnionFacts:
    """What is to know of a list."""

    num_terms: int
    num_over_limit: int
    """Terms of the union that the limit cut."""
    by_source: dict[str, dict[str, int]]
    """candidates (reach the threshold) = new + duplicate + unmatchable, over the whole union; listed: terms of the list
    that name the source; listed_first: those that stand where it puts them."""
    overlaps: list[dict[str, Any]]
    """sources, terms: over the list, the most terms first."""
    thresholds: dict[str, dict[str, Any]]
    """See Stops.facts."""
    margins: dict[str, dict[str, list[dict[str, Any]]]]
    """Rows just above and below the thresholds, the nearest first."""
    ranks: dict[str, list[list[int]]]
    """[rank, count or views] of the candidates, those below the threshold among them."""
    unmatchable: dict[str, dict[str, int]]
    """Candidates by source and reason that are not in the list as no caption can match them."""
    symbols_lost: dict[str, int]
    """Candidates by source that are listed without their symbols."""
    unmatchable_metaclip: dict[str, int]
    """Terms of the list, by reason, that the `metaclip` way of matching can never find."""

    def to_json(self) -> dict[str, Any]:
        """Return the facts as nested dicts and lists."""
        return asdict(self)


def unite(
    candidates: Candidates,
    thresholds: Thresholds,
    out: str,
    scratch: str,
    memory_bytes: int,
    threads: int | None = None,
) -> UnionFacts:
    """Write queries.parquet (QUERIES) and unmatchable.parquet (UNMATCHABLE) to the folder `out`; return the facts.

    `scratch`: a local folder for what exceeds `memory_bytes`. The bytes written depend on neither, nor on `threads`
    (None: one a core). `queries.fitting` has the rule of fitted thresholds. Raises UserError when the memory does not
    suffice, OutputError when a folder cannot be written.
    """
    with database(scratch, memory_bytes, threads) as connection:
        _open(connection, candidates)
        stops = Stops(connection, thresholds)
        connection.execute(sql.read("union_placed"))
        connection.execute(sql.read("union_listed"), {"limit": thresholds.limit})
        connection.execute(sql.read("union_queries"))
        rows = connection.sql("select * from queries order by query_id").to_arrow_reader(ROW_GROUP_ROWS)
        write_rows(join(out, TABLE), QUERIES, rows)
        reasons = write_unmatchable(connection, join(out, UNMATCHABLE_TABLE))
        return _facts(connection, stops, reasons)


def _open(connection: Any, candidates: Candidates) -> None:
    """Make a view of each file, with the rank of its rows."""
    paths = dict(zip(SOURCES, vars(candidates).values(), strict=True))
    for source, path in paths.items():
        if path is None:
            columns = {**_FILES[source], "file_row_number": _INT}
            connection.register(f"{source}_file", pa.schema(list(columns.items())).empty_table())
        else:
            scan(connection, path, file_row_number=True).create_view(f"{source}_file")


def _facts(connection: Any, stops: Stops, reasons: dict[str, Counter[str]]) -> UnionFacts:
    overlaps = _rows(
        connection, "select sources, count(*) as terms from queries group by sources order by terms desc, sources"
    )
    num_terms = sum(row["terms"] for row in overlaps)
    ((num_placed,),) = connection.sql("select count(*) from placed").fetchall()
    return UnionFacts(
        num_terms=num_terms,
        num_over_limit=num_placed - num_terms,
        by_source=_by_source(connection, overlaps),
        overlaps=overlaps,
        thresholds=stops.facts(),
        margins={source: _margins(connection, source, stops[source]) for source in _MARGINS},
        ranks={source: _ranks(connection, source) for source in _MARGINS},
        unmatchable={source: {"no_word": reasons[source]["no_word"]} for source in SOURCES},
        symbols_lost={source: reasons[source]["symbols_lost"] for source in SOURCES},
        unmatchable_metaclip={"mark": reasons["list"]["mark"]},
    )


def _rows(connection: Any, statement: str, **parameters: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = connection.sql(statement, params=parameters).to_arrow_table().to_pylist()
    return rows


def _by_source(connection: Any, overlaps: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
    empty = "count(*) filter (term = '')"
    reached = connection.sql(f"select source, count(*), {empty} from admitted group by source").fetchall()
    counts = {source: (num_candidates, num_empty) for source, num_candidates, num_empty in reached}
    new = dict(connection.sql("select position >> 40, count(*) from placed group by 1").fetchall())
    facts = {}
    for number, source in enumerate(SOURCES):
        num_candidates, num_unmatchable = counts.get(number, (0, 0))
        num_new = new.get(number, 0)
        facts[source] = {
            "candidates": num_candidates,
            "new": num_new,
            "duplicate": num_candidates - num_unmatchable - num_new,
            "unmatchable": num_unmatchable,
            "listed": sum(row["terms"] for row in overlaps if source in row["sources"]),
            "listed_first": sum(row["terms"] for row in overlaps if source == row["sources"][0]),
        }
    return facts


def _margins(connection: Any, source: str, stop: int) -> dict[str, list[dict[str, Any]]]:
    sides = {"above": "where place < $stop order by place desc", "below": "where place >= $stop order by place"}
    return {
        side: _rows(connection, f"{_MARGINS[source]} {where} limit {NUM_MARGIN_ROWS}", stop=stop)
        for side, where in sides.items()
    }


def _ranks(connection: Any, source: str) -> list[list[int]]:
    number = SOURCES.index(source)
    ((num_rows,),) = connection.execute("select count(*) from candidates where source = ?", [number]).fetchall()
    if not num_rows:
        return []
    steps = NUM_RANKS - 1
    ranks = sorted({round(num_rows ** (step / steps)) for step in range(NUM_RANKS)})
    found = connection.execute(sql.read("union_ranks"), {"ranks": ranks, "source": number}).fetchall()
    return [list(row) for row in found]
