"""What `wit evaluate-robustness` prints: a table of sets, and what it means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from trainer.evaluation.printing import unreadable
from trainer.evaluation.terms import CLASSIFIERS

_WIDTHS = "{:<18} {:<11} {:>8}  {:>15}  {:>8} {:>9} {:>8}"
_HEAD = _WIDTHS.format("set", "classifier", "accuracy", "99.5 % interval", "ImageNet", "effective", "relative")


def print_robustness(result: Mapping[str, Any]) -> None:
    """Print a result of results.py; ImageNet's accuracy is that on the classes of each set."""
    lines = [_HEAD]
    for row in result["imagenet"]["results"]:
        lines.append(_line(result["imagenet"]["name"], row))
    for shift in result["shifts"]:
        lines += [_line(shift["name"], row) for row in shift["results"]]
    lines += [_line(f"mean of {len(result['mean']['over'])}", row) for row in result["mean"]["results"]]
    for line in lines:
        click.echo(line.rstrip())
    for one in (result["imagenet"], *result["shifts"]):
        for line in (*one["not_as_the_paper"], *_left_out(one)):
            click.echo(f"{one['name']}: {line}")
    for remark in result["remarks"]:
        click.echo(remark)


def _left_out(one: Mapping[str, Any]) -> list[str]:
    counts = one.get("left_out", {"num_items": 0})
    said = []
    if counts["num_items"]:
        said.append(
            f"{counts['num_items']:,} images left out, without a class of ImageNet's; classes that it has not: "
            f"{counts['num_classes']:,}"
        )
    if one["rejected"]:
        said.append(unreadable(one["rejected"]))
    return said


def _line(name: str, row: Mapping[str, Any]) -> str:
    low, high = row.get("interval", (None, None))
    interval = f"{low:.1%} to {high:.1%}" if low is not None else ""
    on_classes = f"{row['imagenet_on_classes']:.1%}" if "imagenet_on_classes" in row else ""
    points = _points(row.get("effective")), _points(row.get("relative"))
    return _WIDTHS.format(name, CLASSIFIERS[row["classifier"]], f"{row['accuracy']:.1%}", interval, on_classes, *points)


def _points(share: float | None) -> str:
    return "" if share is None else f"{100 * share:+.1f}"
