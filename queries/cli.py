"""`wit queries`: build the list of queries, and look a term up in it."""

from __future__ import annotations

import math
import os
from typing import Any

import click

from wit.errors import InputError, UserError


def _finite(_: click.Context, __: click.Parameter, value: float) -> float:
    if not math.isfinite(value):
        raise click.BadParameter(f"expected a number, found {value}")
    return value


@click.group()
def queries() -> None:
    """Build and read the list of queries."""


@queries.command(epilog="Example: wit queries build --dump 'enwiki-*.bz2' --wordnet /usr/share/wordnet --out queries")
@click.option(
    "--dump",
    "dumps",
    multiple=True,
    metavar="FILES",
    help="Wikipedia dump (.xml, .bz2, .gz): path, URL, glob; repeatable.",
)
@click.option("--pageviews", multiple=True, metavar="FILES", help="Hourly files, or 'Title count' lists; repeatable.")
@click.option("--wordnet", "wordnets", multiple=True, metavar="FOLDER", help="WordNet's data.noun, ...; repeatable.")
@click.option("--language", default="en", show_default=True, help="Language of the dump, and code in pageview files.")
@click.option("--min-word-count", type=click.IntRange(1), default=100, show_default=True, help="Least count of a word.")
@click.option("--min-bigram-count", type=click.IntRange(1), default=100, show_default=True, help="Least of a bigram.")
@click.option(
    "--min-pmi",
    type=float,
    callback=_finite,
    default=8.0,
    show_default=True,
    help="Least mutual information of a bigram, in bits.",
)
@click.option(
    "--min-views", type=click.IntRange(0), default=70, show_default=True, help="Least page views of an article."
)
@click.option(
    "--limit", type=click.IntRange(1), default=500_000, show_default=True, help="Terms at which the list stops."
)
@click.option("--processes", type=click.IntRange(1), default=None, help="Worker processes.  [default: one a core]")
@click.option("--out", required=True, metavar="DIR", help="Folder for queries.parquet, queries.txt, manifest.json.")
def build(
    dumps: tuple[str, ...],
    pageviews: tuple[str, ...],
    wordnets: tuple[str, ...],
    processes: int | None,
    out: str,
    **settings: Any,
) -> None:
    """Build the query list: words and bigrams of a dump, titles by page views, WordNet synsets."""
    if not (dumps or pageviews or wordnets):
        raise UserError("expected --dump, --pageviews or --wordnet, found none; see wit queries build --help")
    from queries.build import Settings, resolve_inputs
    from queries.build import build as build_list

    inputs = resolve_inputs(dumps, pageviews, wordnets)
    result = build_list(inputs, Settings(**settings), out, processes or os.cpu_count() or 1)
    if result is None:
        click.echo(f"{out}: already built from these inputs and settings; nothing to do")
        return
    for line in summary(result):
        click.echo(line)


def summary(result: dict[str, Any]) -> list[str]:
    """Return the lines of the table that ends a build: terms by source."""
    lines = [f"{'source':<8}{'terms':>10}{'of them new':>14}{'duplicate':>12}{'empty':>8}"]
    for source, count in result["by_source"].items():
        dropped = result["dropped"][source]
        new, duplicate, empty = result["by_first_source"][source], dropped.get("duplicate", 0), dropped.get("empty", 0)
        lines.append(f"{source:<8}{count:>10,}{new:>14,}{duplicate:>12,}{empty:>8,}")
    over = f", {result['num_over_limit']:,} more over the limit" if result["num_over_limit"] else ""
    return [*lines, f"{'list':<8}{result['num_terms']:>10,}{over}"]


@queries.command(epilog="Example: wit queries show 'new york' --queries queries")
@click.argument("term")
@click.option(
    "--queries", "where", required=True, metavar="DIR|FILE", help="Folder of a query list, or its queries.parquet."
)
def show(term: str, where: str) -> None:
    """Show what each source says of TERM."""
    import pyarrow.compute as pc

    from wit.schema import QUERIES
    from wit.storage import join, read_parquet
    from wit.text import normalise

    path = where if where.endswith(".parquet") else join(where, "queries.parquet")
    table = read_parquet(path)
    missing = sorted(set(QUERIES.names) - set(table.column_names))
    if missing:
        raise InputError(f"{path}: expected a query list, found a table without {', '.join(missing)}")
    wanted = normalise(term)
    rows = table.filter(pc.equal(table["term"], wanted)).to_pylist()
    if not rows:
        raise UserError(
            f"{path}: expected {term!r} (normal form {wanted!r}) among {table.num_rows:,} terms, found it not"
        )
    for name in QUERIES.names:
        value = rows[0][name]
        click.echo(f"{name:<13} {', '.join(value) if isinstance(value, list) else '-' if value is None else value}")
