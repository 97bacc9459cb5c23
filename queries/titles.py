"""Titles of articles with their page views.

Views are summed over files, and over the redirects to an article; names that are no article are left out and counted.
A trailing "(disambiguator)" is split off, so that the name can match a caption.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from queries import sql
from queries.database import database, scan, write_rows
from queries.pageviews import VIEWS, scratch_beside
from queries.wikipedia import Site
from wit.storage import ROW_GROUP_ROWS, join

TITLES = pa.schema(
    [
        pa.field("title", pa.string(), nullable=False),
        pa.field("name", pa.string(), nullable=False),
        pa.field("disambiguator", pa.string()),
        pa.field("term", pa.string(), nullable=False),
        pa.field("views", pa.int64(), nullable=False),
    ]
)
"""What `write_titles` writes: title as the wiki writes it, with spaces; name: without disambiguator; term: its normal
form, what a caption may hold."""

MAX_REDIRECTS = 10
"""A longer chain stays where it stands: MediaWiki follows one, chains are leftovers of moves, cycles are vandalism."""

_LEADS = pa.schema([("title", pa.string()), ("article", pa.string()), ("in_dump", pa.bool_())])
_PREFIXES = pa.schema([("prefix", pa.string())])
_NAMES = "create table names as select title, sum(views) as views from files group by title"
_KEPT = "select article as title, views from sums where fate is null and views >= $min_views"
_ORDERED = "select * from unordered order by views desc, term, title"


def split_disambiguator(title: str) -> tuple[str, str | None]:
    """Return a title without its trailing "(disambiguator)", and the disambiguator; None when it has none.

    >>> split_disambiguator("Puma (genus)")
    ('Puma', 'genus')
    """
    if not title.endswith(")"):
        return title, None
    depth = 0
    for index in range(len(title) - 1, 0, -1):
        depth += (title[index] == ")") - (title[index] == "(")
        if depth == 0:
            name = title[:index].rstrip()
            return (name, title[index + 1 : -1]) if title[index - 1] == " " and name else (title, None)
    return title, None


def write_titles(
    views: Sequence[str],
    pages: Sequence[str] | None,
    site: Site,
    out: str,
    min_views: int,
    memory_bytes: int,
    threads: int | None = None,
) -> Counter[str]:
    """Write the articles seen at least `min_views` times to `out` (TITLES), and return what became of every name.

    `views`: local files of `pageviews.VIEWS`. `pages`: local Parquet files (title, target) of the pages of the article
    namespace, target null for an article; None when there is no dump, so that any name of that namespace is an article.
    Order: most viewed first, then by term, then by title, by code point. The bytes do not depend on `memory_bytes`,
    `threads` (None: one a core), or how the rows are spread over files. Fates: articles kept and below_threshold; names
    in another namespace, and not_in_dump, which a redirect in a circle is, too. Raises UserError when the memory does
    not suffice.
    """
    with scratch_beside(out) as scratch, database(scratch, memory_bytes, threads) as connection:
        _follow_redirects(connection, pages)
        if views:
            scan(connection, *views).create_view("files")
            connection.execute(_NAMES)
        else:
            connection.register("names", VIEWS.empty_table())
        _find_namespaces(connection, site)
        connection.execute(sql.read("titles_named"), {"has_dump": pages is not None})
        connection.execute(sql.read("titles_sums"))
        fates = Counter(dict(connection.execute(sql.read("titles_fates"), {"min_views": min_views}).fetchall()))
        kept = connection.sql(_KEPT, params={"min_views": min_views}).to_arrow_reader(ROW_GROUP_ROWS)
        unordered = join(scratch, "titles.parquet")
        write_rows(unordered, TITLES, map(_with_terms, kept))
        scan(connection, unordered).create_view("unordered")
        write_rows(out, TITLES, connection.sql(_ORDERED).to_arrow_reader(ROW_GROUP_ROWS))
    return fates


def _follow_redirects(connection: Any, pages: Sequence[str] | None) -> None:
    """Make the table leads: the article that each page leads to, and whether the dump has it."""
    if pages:
        scan(connection, *pages).create_view("page_files")
        connection.execute(sql.read("titles_pages"))
        connection.execute(sql.read("titles_middles"))
        connection.execute(sql.read("titles_ends"), {"max_redirects": MAX_REDIRECTS})
        connection.execute(sql.read("titles_leads"))
        connection.execute("drop table pages")
    else:
        connection.register("leads", _LEADS.empty_table())


def _find_namespaces(connection: Any, site: Site) -> None:
    """Make the table prefixes: the spellings of namespaces that occur."""
    found: list[str] = []
    for batch in connection.sql(sql.read("titles_prefixes")).to_arrow_reader(ROW_GROUP_ROWS):
        found += [prefix for prefix in batch.column("prefix").to_pylist() if site.namespace(f"{prefix}:x")]
    connection.register("prefixes", pa.table([pa.array(found, pa.string())], schema=_PREFIXES))


def _with_terms(kept: pa.RecordBatch) -> pa.RecordBatch:
    """Return rows of TITLES for articles and their views."""
    from wit.tokens import normal_form_array

    titles = kept.column("title")
    bracketed = pc.ends_with(titles, ")")
    parts = [split_disambiguator(title) for title in titles.filter(bracketed).to_pylist()]
    names = pc.replace_with_mask(titles, bracketed, pa.array([name for name, _ in parts], pa.string()))
    nothing = pa.nulls(len(titles), pa.string())
    disambiguators = pc.replace_with_mask(nothing, bracketed, pa.array([second for _, second in parts], pa.string()))
    terms = normal_form_array(names).cast(pa.string())
    return pa.record_batch([titles, names, disambiguators, terms, kept.column("views")], schema=TITLES)
