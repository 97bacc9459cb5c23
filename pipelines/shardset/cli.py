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
