"""What no caption can match, by either way of matching, and names that match without the symbols in them.

A term in normal form is found in a caption that consists of it, so by the default matcher only an empty one is never
found. Normal forms hold letters, marks, digits, apostrophes and single spaces, none of which the `metaclip` way sets
apart, so that way, too, can find all of them; it is asked nevertheless, for every term of the finished list.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from queries import sql
from queries.database import write_rows
from queries.fitting import SOURCES
from wit.matching import DEFAULT, METACLIP, unmatchable
from wit.schema import UNMATCHABLE
from wit.storage import ROW_GROUP_ROWS
from wit.text import fold

REASONS = {
    "no_word": "nothing in it is a letter or a digit; not in the list",
    "symbols_lost": "it has symbols that its term lacks, so captions without them match: C++ as c; listed as its term",
    "mark": "metaclip only: a mark of punctuation, tab or line break in it that has no space on both sides; listed",
}

_SYMBOLS = frozenset("#%&@*")  # Unicode calls these punctuation
_POINT_BEFORE_WORD = re.compile(r"(?<!\S)\.\w")


def loses_symbols(name: str) -> bool:
    """Return whether a name has symbols that its normal form lacks.

    Symbols are characters that NFKC leaves in Unicode's category S (+ $ < © ♥, but not ™, which becomes "tm"), any of
    # % & @ *, and a full stop at the beginning of a word (".NET").
    """
    folded = fold(name)
    return any(unicodedata.category(character)[0] == "S" or character in _SYMBOLS for character in folded) or bool(
        _POINT_BEFORE_WORD.search(folded)
    )


def write_unmatchable(connection: Any, url: str) -> dict[str, Counter[str]]:
    """Write table UNMATCHABLE of a union (`queries.union`); return the rows by source (`list` is one) and reason.

    Candidates stand in the order of the union, then the terms of the list.
    """
    counts: dict[str, Counter[str]] = {source: Counter() for source in (*SOURCES, "list")}

    def counted() -> Iterator[pa.RecordBatch]:
        for rows in (*_candidates(connection), *_listed(connection)):
            for row in rows:
                counts[row["source"]][row["reason"]] += 1
            yield pa.RecordBatch.from_pylist(rows, schema=UNMATCHABLE)

    write_rows(url, UNMATCHABLE, counted())
    return counts


def _candidates(connection: Any) -> Iterator[list[dict[str, Any]]]:
    for batch in connection.sql(sql.read("union_suspects")).to_arrow_reader(ROW_GROUP_ROWS):
        yield [
            {
                "source": SOURCES[row["source"]],
                "text": row["text"],
                "term": row["term"],
                "mode": DEFAULT,
                "reason": "symbols_lost" if row["term"] else "no_word",
                "amount": row["amount"],
            }
            for row in batch.to_pylist()
            if not row["term"] or loses_symbols(row["name"])
        ]


def _listed(connection: Any) -> Iterator[list[dict[str, Any]]]:
    for batch in connection.sql("select term from listed order by query_id").to_arrow_reader(ROW_GROUP_ROWS):
        terms = batch.column("term").to_pylist()
        yield [
            {"source": "list", "text": terms[index], "term": terms[index], "mode": METACLIP, "reason": "mark"}
            for index in unmatchable(terms, METACLIP)
        ]
