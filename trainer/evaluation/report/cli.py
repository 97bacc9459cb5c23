"""`wit evaluate-report`."""

from __future__ import annotations

import click


@click.command("evaluate-report", epilog="Example: wit evaluate-report runs/eval-b32 runs/eval-b16 --out compared")
@click.argument("folders", nargs=-1, required=True)
@click.option("--out", help="Folder for the pages.  [default: of one checkpoint, the folder itself]")
def evaluate_report(folders: tuple[str, ...], out: str | None) -> None:
    """Write the page of what wit evaluate left in a folder, or of several folders one that compares them."""
    from trainer.evaluation.report.reporting import report

    for path in report(folders, out):
        click.echo(path)
