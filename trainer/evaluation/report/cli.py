"""`wit evaluate-report` and `wit evaluate-people`."""

from __future__ import annotations

import click

_PEOPLE = "Example: wit evaluate-people answers.csv --predictions runs/eval/predictions/OxfordPets.parquet --out people"


@click.command("evaluate-report", epilog="Example: wit evaluate-report runs/eval-b32 runs/eval-b16 --out compared")
@click.argument("folders", nargs=-1, required=True)
@click.option("--out", metavar="FOLDER", help="Folder for the pages.  [default: of one checkpoint, the folder itself]")
def evaluate_report(folders: tuple[str, ...], out: str | None) -> None:
    """Write the page of what wit evaluate left in a folder, or of several folders one that compares them."""
    from trainer.evaluation.report.reporting import report

    for path in report(folders, out):
        click.echo(path)


@click.command("evaluate-people", epilog=_PEOPLE)
@click.argument("answers")
@click.option(
    "--predictions", required=True, metavar="FILE", help="The model's on the same images: OUT/predictions/TASK.parquet."
)
@click.option(
    "--out", metavar="FOLDER", help="Folder for a page, Markdown and JSON.  [default: numbers are printed only]"
)
def evaluate_people(answers: str, predictions: str, out: str | None) -> None:
    """Compare people's answers with a model's: accuracy by shots, agreement by class.

    ANSWERS is .csv, .tsv or .jsonl with person, item (an image's path as in the predictions), answer (a class's name,
    "don't know" or nothing) and, if examples were shown first, shots.
    """
    from trainer.evaluation.report.people import accuracy_lines, judge, write_people

    found = judge(answers, predictions)
    for line in accuracy_lines(found):
        click.echo(line)
    for path in write_people(found, out) if out else ():
        click.echo(path)
