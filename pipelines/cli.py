"""The commands of the chain: thin; the work is in the runner, the ledger and the stages."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, TypeVar

import click

from wit.errors import UserError

T = TypeVar("T")

EXECUTORS = ("local", "spark")


def _number(_: click.Context, __: click.Parameter, value: float) -> float:
    """Return `value` unless it is nan, which every range lets through."""
    if value != value:
        raise click.BadParameter("expected a number, found nan")
    return value


@click.command(
    epilog="Example: wit run tiny --out runs/tiny --set 'extract.warc=data/sample/archives/*.warc.gz' --processes 2"
)
@click.argument("recipe")
@click.option("--out", required=True, metavar="RUN", help="The run's directory: new, or one to go on with.")
@click.option("--set", "overrides", multiple=True, metavar="STAGE.FIELD=VALUE", help="Change one value of the recipe.")
@click.option("--from", "first", metavar="STAGE", help="Make this stage and all later ones anew.")
@click.option("--until", "last", metavar="STAGE", help="Stop after this stage.")
@click.option(
    "--accept-code", is_flag=True, help="Go on with what another version of wit began; the manifests name both."
)
@click.option("--executor", type=click.Choice(EXECUTORS), default="local", show_default=True)
@click.option("--processes", type=click.IntRange(1, 1024), help="Worker processes.  [default: one a core]")
@click.option("--memory-mb", type=click.IntRange(512), default=4096, show_default=True, help="Memory for SQL, in all.")
@click.option("--spark-master", default="local[2,4]", show_default=True, help="As spark-submit takes it.")
def run(
    recipe: str,
    out: str,
    overrides: tuple[str, ...],
    first: str | None,
    last: str | None,
    accept_code: bool,
    executor: str,
    processes: int | None,
    memory_mb: int,
    spark_master: str,
) -> None:
    """Run RECIPE (a TOML file, or the name of one that ships with wit) from archives to shards.

    Stop it or kill it at any time: the same command goes on where it stopped, and the bytes are the same.
    """
    from pipelines.executors import Executor
    from pipelines.ledger import funnel
    from pipelines.recipes import STAGES, Recipe, recipe_path
    from pipelines.runner import Request, check_stage
    from pipelines.runner import run as run_recipe
    from wit.recipe import load

    loaded = load(recipe_path(recipe), Recipe, overrides)
    request = Request(
        loaded,
        out,
        first=STAGES[0] if first is None else check_stage(first),
        redo=first is not None,
        last=STAGES[-1] if last is None else check_stage(last),
        accept_code=accept_code,
    )

    def open_executor() -> Executor:
        if executor == "spark":
            from pipelines.executors.spark import SparkExecutor

            return SparkExecutor(out, loaded.run.num_buckets, spark_master)
        from pipelines.executors.local import LocalExecutor

        return LocalExecutor(out, loaded.run.num_buckets, processes or os.cpu_count() or 1, memory_mb)

    entries = run_recipe(request, open_executor, lambda line: click.echo(line, err=True))
    click.echo(funnel(entries))


@click.command(epilog="Example: wit status runs/tiny")
@click.argument("run")
def status(run: str) -> None:
    """Show what became of every candidate of RUN, stage by stage, with the reasons."""
    from pipelines.ledger import funnel
    from pipelines.recipes import STAGES
    from pipelines.runner import read_ledger

    entries = read_ledger(run)
    click.echo(funnel(entries))
    if len(entries) < len(STAGES):
        click.echo(f"not finished: {', '.join(STAGES[len(entries) :])}; go on with the same wit run command")


@click.command(epilog="Example: wit plan wit400m --assume machine.cores=256 --assume prices.core_hour=0.03")
@click.argument("recipe")
@click.option(
    "--crawls", type=click.FloatRange(0.0, 1e6, min_open=True), callback=_number, default=1.0, show_default=True
)
@click.option(
    "--pairs",
    type=click.FloatRange(1.0, 1e15),
    callback=_number,
    default=4e8,
    show_default=True,
    help="Also plan for so many pairs.",
)
@click.option("--set", "overrides", multiple=True, metavar="STAGE.FIELD=VALUE", help="Change one value of the recipe.")
@click.option("--assume", "given", multiple=True, metavar="SECTION.NAME=VALUE", help="Change one assumption.")
@click.option("--assumptions", "file", metavar="TOML", help="Assumptions of your own, in a file.")
@click.option("--run", "root", metavar="RUN", help="Take rates, shares and sizes from a run of yours.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
def plan(
    recipe: str,
    crawls: float,
    pairs: float,
    overrides: tuple[str, ...],
    given: tuple[str, ...],
    file: str | None,
    root: str | None,
    as_json: bool,
) -> None:
    """Say what a run of RECIPE over Common Crawl costs: core-hours, bytes, disk, requests, days and money.

    Once for --crawls crawls, and once for as many as give --pairs pairs. Prints every assumption with its source.
    """
    from pipelines.planning.assumptions import Assumptions
    from pipelines.planning.measured import with_measured
    from pipelines.planning.model import crawls_for
    from pipelines.planning.model import plan as make_plan
    from pipelines.planning.text import format_assumptions, format_plan
    from pipelines.recipes import Recipe, recipe_path
    from wit.recipe import load

    loaded = load(recipe_path(recipe), Recipe, overrides)
    assumptions, measured = load(file, Assumptions, given, "--assume"), frozenset[str]()
    if root is not None:
        assumptions, measured = with_measured(assumptions, root)
    plans = {f"{crawls:g} crawl{'s' if crawls != 1 else ''}": make_plan(loaded, assumptions, crawls)}
    needed = crawls_for(loaded, assumptions, pairs)
    if needed:
        plans[f"{pairs:,.0f} pairs"] = make_plan(loaded, assumptions, needed)
    if as_json:
        values = {name: each.as_json() for name, each in plans.items()}
        click.echo(json.dumps({"plans": values, "assumptions": asdict(assumptions)}, indent=2))
        return
    click.echo("\n\n".join(format_plan(title, each) for title, each in plans.items()))
    if not needed:
        click.echo(f"\n{pairs:,.0f} pairs: no number of crawls gives them under these assumptions")
    click.echo("\n" + format_assumptions(assumptions, measured, root))


@click.command(epilog="Example: wit report runs/tiny")
@click.argument("run")
@click.option("--out", metavar="FILE", help="The page.  [default: RUN/report/index.html]")
def report(run: str, out: str | None) -> None:
    """Write a page on RUN: what became of its candidates, with examples, and how the balance changed."""
    import duckdb

    from pipelines.ledger import open_tables
    from pipelines.report.run_report import render
    from pipelines.runner import read_ledger, read_recipe
    from wit.storage import base_name, join, publish_text

    entries = read_ledger(run)
    if not entries:
        raise UserError(f"{run}: expected a run with at least one finished stage, found none; go on with wit run")
    target = join(run, "report", "index.html") if out is None else out
    try:
        page = render(base_name(run.rstrip("/")), entries, read_recipe(run), open_tables(run))
    except duckdb.Error as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{run}: its tables are damaged, or of another version of wit: {reason}") from error
    publish_text(target, page)
    click.echo(target)


@click.command(
    epilog='Example: wit sql runs/tiny "select stage, reason, count(*) from rejects group by all order by 3"'
)
@click.argument("run")
@click.argument("query")
@click.option("--csv", is_flag=True, help="Write CSV instead of a table.")
def sql(run: str, query: str, csv: bool) -> None:
    """Ask RUN's tables a question in DuckDB's SQL; `show tables` lists them. Only reads: SELECT and its kind."""
    import duckdb

    from pipelines.ledger import open_tables
    from pipelines.runner import read_ledger

    read_ledger(run)
    connection = open_tables(run)
    try:
        kinds = [statement.type.name for statement in connection.extract_statements(query)]
        if kinds != ["SELECT"]:
            raise UserError(
                f"expected one SELECT (or FROM, VALUES, SHOW, DESCRIBE), found {' and '.join(kinds) or 'none'}"
            )
        relation = connection.sql(query)
        if csv:
            _write_csv(relation.columns, _answer(connection, relation.fetchall))
        else:
            click.echo(_answer(connection, lambda: str(relation)).rstrip())
    except duckdb.Error as error:
        raise UserError(f"the query failed: {str(error).splitlines()[0]}") from error


def _answer(connection: Any, ask: Callable[[], T]) -> T:
    """Return `ask()` from a thread of its own: DuckDB answers no Ctrl-C while it works in the main thread."""
    from concurrent.futures import ThreadPoolExecutor, wait

    with ThreadPoolExecutor(1) as thread:
        answer = thread.submit(ask)
        try:
            return answer.result()
        except KeyboardInterrupt:
            while not answer.done():  # DuckDB forgets one that comes before the question has begun
                connection.interrupt()
                wait([answer], timeout=0.05)
            raise


def _write_csv(columns: list[str], rows: list[tuple[object, ...]]) -> None:
    import csv

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")  # data, whatever the terminal's locale
    writer = csv.writer(sys.stdout)
    writer.writerow(columns)
    writer.writerows(rows)
