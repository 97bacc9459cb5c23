"""The commands of `wit shards`: thin; the work is in the modules beside this one."""

from __future__ import annotations

import os

import click


@click.group()
def shards() -> None:
    """Check, index, change and convert shards."""


@shards.command(epilog="Example: wit shards verify runs/tiny/shards")
@click.argument("shards")
@click.option("--processes", type=click.IntRange(1, 1024), help="Worker processes.  [default: one a core]")
def verify(shards: str, processes: int | None) -> int:
    """Check SHARDS (a folder, or a pattern of tars) against their index and manifest.

    A line a problem; exit code 1 when there is one.
    """
    from pipelines.shardset.verification import verify as verify_shards
    from wit.integrity import shards_of
    from wit.progress import progress

    with progress("verify", len(shards_of(shards)[0]), "shards") as advance:
        report = verify_shards(shards, processes or os.cpu_count() or 1, advance)
    for problem in report.problems:
        click.echo(problem)
    click.echo(f"{report.num_shards:,} shards, {report.num_samples:,} samples, {len(report.problems):,} problems")
    return 1 if report.problems else 0


@shards.command(epilog="Example: wit shards export runs/tiny/shards --to huggingface --out exported")
@click.argument("shards")
@click.option("--to", "layout", type=click.Choice(("img2dataset", "parquet", "huggingface")), required=True)
@click.option("--out", required=True, metavar="DIR", help="A new folder, or one that this command began.")
@click.option(
    "--size", "max_samples", type=click.IntRange(0), help="Samples of a file, 0: any.  [default: 10000 a tar]"
)
@click.option(
    "--bytes", "max_bytes", type=click.IntRange(0), help="Bytes of a file, 0: any.  [default: 500000000 a Parquet file]"
)
@click.option("--processes", type=click.IntRange(1, 1024), help="Worker processes.  [default: one a core]")
def export(
    shards: str, layout: str, out: str, max_samples: int | None, max_bytes: int | None, processes: int | None
) -> None:
    """Write SHARDS (a folder, or a pattern of tars) in the layout of img2dataset, as Parquet, or for Hugging Face.

    Stop it or kill it at any time: the same command does the rest. Images and captions stay byte for byte.
    """
    from pipelines.shardset.export import Export, prepare_export, run_export
    from wit.progress import progress

    asked = Export(shards, layout, out, max_samples, max_bytes)
    planned = prepare_export(asked)
    with progress("export", planned.num_samples, "samples") as advance:
        run_export(asked, planned, processes or os.cpu_count() or 1, advance)
    click.echo(f"{out}: {planned.num_samples:,} samples in {len(planned.pieces):,} files")


@shards.command(epilog="Example: wit shards show runs/tiny/shards --query 'red circle' --out sheet.html")
@click.argument("shards")
@click.option("--out", required=True, metavar="FILE", help="The page.")
@click.option("--num", type=click.IntRange(1, 1_000), default=100, show_default=True, help="Samples to show.")
@click.option("--seed", type=int, default=0, show_default=True, help="Another seed shows other samples.")
@click.option("--where", multiple=True, metavar="COLUMN=VALUE", help="Only samples with this value in the index.")
@click.option("--query", default="", metavar="TERM", help="Only samples that match this query (or its number).")
@click.option("--domain", default="", metavar="DOMAIN", help="Only images from this domain, or one below it.")
@click.option("--queries", default="", metavar="PARQUET", help="The query list, for the names of queries.")
@click.option("--run", default="", metavar="RUN", help="Or the run that has it.  [default: the one around SHARDS]")
def show(
    shards: str,
    out: str,
    num: int,
    seed: int,
    where: tuple[str, ...],
    query: str,
    domain: str,
    queries: str,
    run: str,
) -> None:
    """Write a contact sheet of SHARDS (a folder, or a pattern of tars): pictures, captions, queries, addresses.

    One page that works without a network. The samples are drawn at random, the same ones each time.
    """
    from pipelines.shardset.show import Selection, contact_sheet
    from pipelines.shardset.terms import read_terms
    from wit.integrity import shards_of
    from wit.progress import progress
    from wit.storage import publish_text

    found = shards_of(shards)[0]
    selection = Selection(num, seed, where, query, domain)
    with progress("show", len(found), "shards") as advance:
        page = contact_sheet(found, shards, selection, read_terms(shards, queries, run), advance)
    publish_text(out, page)
    click.echo(out)
