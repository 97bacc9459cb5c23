"""What `wit evaluate` prints of results, as JSON has them: those that are kept look as those that were just made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import click

from trainer.evaluation.terms import FEW_SHOT, LINEAR_PROBE, ZERO_SHOT
from wit.errors import InputError
from wit.statistics import clopper_pearson

Result = Mapping[str, Any]


def unreadable(rejected: Mapping[str, int]) -> str:
    """Return in words how many items were left out, by reason."""
    return f"left out, as they could not be read: {', '.join(f'{why} {count:,}' for why, count in rejected.items())}"


def print_result(result: Result, zero: Result, with_classes: bool) -> None:
    """Print a result of any protocol; `zero` is zero-shot's of the same set."""
    if result["protocol"] == ZERO_SHOT and with_classes:
        _print_classes(result)
    _PRINTERS[result["protocol"]](result, zero)


def _print_classes(result: Result) -> None:
    rows = result["by_class"]
    width = max(map(len, result["details"]["classes"]))
    for row in rows:
        line = f"  {row['class']:<{width}}  {row['num_correct']:>5}/{row['num_items']:<5} {row['accuracy']:7.1%}"
        click.echo(f"{line}  taken for {row['mistaken_for']}: {row['times']}" if row["times"] else line)


def _print_zero_shot(result: Result, _: Result) -> None:
    """Print top-5, accuracy beside chance; then the set's own metric and what was left out."""
    details = result["details"]
    num_items, num_classes, num_correct = details["num_labelled"], result["num_classes"], details["num_correct"]
    accuracy, chance = num_correct / num_items, 1 / num_classes
    low, high = clopper_pearson(num_correct, num_items, details["confidence"])
    click.echo(f"top-5 accuracy {details['top_k'].get('5', 1.0):.1%}")
    guessed = f"chance {chance:.1%} ({num_classes} classes): {accuracy / chance:.1f}x chance"
    click.echo(
        f"zero-shot accuracy {accuracy:.1%} ({num_correct}/{num_items}; 95 % interval {low:.1%} to {high:.1%}); "
        f"{guessed if result['metric'] != 'map_11_point' else 'right where it is one of the classes of an image'}"
    )
    if result["metric"] != "accuracy" or "folds" in details:
        _print_value("zero-shot", result)
    for row in details.get("prompts", ()):
        click.echo(f"  {row['prompts']}: {row['value']:.1%}")
    if "not_as_the_paper" in details:
        click.echo(f"not as the paper's {result['task']}: {details['not_as_the_paper']}")
    if "remarks" in details:
        click.echo(details["remarks"])
    if details["rejected"]:
        click.echo(unreadable(details["rejected"]))


def _print_probe(result: Result, _: Result) -> None:
    """Print the value of a probe, its strength and how many images it was fitted on."""
    _print_value("linear probe", result)
    facts = result["details"]
    num_lost = max(each.get("num_classes_not_fitted", 0) for each in (facts, *facts.get("folds", ())))
    if num_lost:
        click.echo(
            f"  classes with images to judge and none to fit on, so that none of theirs can be right: {num_lost}"
        )
    if "folds" in facts:
        strengths = sorted(row["strength"] for row in facts["folds"])
        images = sum(row["num_train"] + row["num_validation"] for row in facts["folds"]) / len(facts["folds"])
        click.echo(f"  fitted on {images:,.0f} images a fold, lambda {strengths[0]:.3g} to {strengths[-1]:.3g}")
        return
    click.echo(
        f"  fitted on {facts['num_train']:,} + {facts['num_validation']:,} images, lambda {facts['strength']:.3g} of "
        f"{len(facts['trials'])} tried{', at the edge of what is tried' if facts['strength_is_at_edge'] else ''}"
        f"{'' if facts['converged'] else ', not converged'}"
    )


def _print_value(protocol: str, result: Result) -> None:
    low, high = result["interval"]
    click.echo(f"{protocol} {result['metric']} {result['value']:.1%} (95 % interval {low:.1%} to {high:.1%})")
    values = [row["value"] for row in result["details"].get("folds", ())]
    if values:
        click.echo(f"  the mean of {len(values)} folds, {min(values):.1%} to {max(values):.1%}")


def _print_curve(result: Result, zero: Result) -> None:
    """Print what probes of few examples are worth, and how many labels zero-shot is."""
    details = result["details"]
    for row in details["curve"]:
        low, high = row["interval"]
        line = f"{row['shots']:>3}-shot {result['metric']} {row['value']:.1%} (95 % interval {low:.1%} to {high:.1%})"
        click.echo(f"{line}, deviation over {details['num_repeats']} draws {row['deviation']:.1%}")
    click.echo(f"labels a class to match zero-shot's {zero['value']:.1%}: {details['labels_to_match_zero_shot']}")
    if details["shots_left_out"]:
        shots = ", ".join(map(str, details["shots_left_out"]))
        click.echo(f"left out, as a class has fewer training images: {shots} shots")


_PRINTERS: dict[str, Callable[[Result, Result], None]] = {
    ZERO_SHOT: _print_zero_shot,
    LINEAR_PROBE: _print_probe,
    FEW_SHOT: _print_curve,
}


def print_summary(found: Mapping[str, Mapping[str, Result]], failures: Mapping[str, InputError]) -> None:
    """Print a line for each set, and the means over the sets that have a result of a protocol."""
    width = max(len(name) for name in ("mean", *found, *failures))
    num_sets = len(found.keys() | failures.keys())
    click.echo(f"{num_sets - len(failures)} of {num_sets} sets evaluated")
    for name, results in found.items():
        shown = "  ".join(f"{_NAMES[protocol]} {one['value']:.1%}" for protocol, one in results.items())
        click.echo(f"  {name:<{width}}  {shown}  ({next(iter(results.values()))['metric']})")
    means = []
    for protocol, title in _NAMES.items():
        values = [results[protocol]["value"] for results in found.values() if protocol in results]
        if values:
            means.append(f"{title} {sum(values) / len(values):.1%} over {len(values)}")
    click.echo(f"  {'mean':<{width}}  {'  '.join(means)}")
    for name, error in failures.items():
        click.echo(f"  {name:<{width}}  {error}")


_NAMES = {ZERO_SHOT: "zero-shot", LINEAR_PROBE: "linear probe", FEW_SHOT: "most shots"}
