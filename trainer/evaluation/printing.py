"""What `wit evaluate` prints of an evaluation."""

from __future__ import annotations

import click

from trainer.evaluation.features import Features
from trainer.evaluation.fitting import Curve
from trainer.evaluation.outcomes import Outcome


def print_zero_shot(outcome: Outcome, features: Features) -> None:
    """Print a zero-shot outcome: classes, top-5, accuracy beside chance; then its own metric and what was left out."""
    problem, rows = outcome.problem, outcome.by_class()
    width = max(map(len, problem.titles))
    for row in rows:
        line = f"  {row['class']:<{width}}  {row['num_correct']:>5}/{row['num_items']:<5} {row['accuracy']:7.1%}"
        click.echo(f"{line}  taken for {row['mistaken_for']}: {row['times']}" if row["times"] else line)
    accuracy, chance = outcome.accuracy, 1 / problem.num_classes
    low, high = outcome.accuracy_interval
    click.echo(f"top-5 accuracy {outcome.top_k(5):.1%}")
    click.echo(
        f"zero-shot accuracy {accuracy:.1%} ({outcome.num_correct}/{len(outcome.items)}; 95 % interval "
        f"{low:.1%} to {high:.1%}); chance {chance:.1%} ({problem.num_classes} classes): "
        f"{accuracy / chance:.1f}x chance"
    )
    if problem.metric != "accuracy":
        _print_value("zero-shot", outcome)
    for row in outcome.details.get("prompts", ()):
        click.echo(f"  {row['prompts']}: {row['value']:.1%}")
    if "not_as_the_paper" in outcome.details:
        click.echo(f"not as the paper's {problem.name}: {outcome.details['not_as_the_paper']}")
    if features.rejected:
        counts = ", ".join(f"{reason} {count:,}" for reason, count in features.rejected.items())
        click.echo(f"left out, as they could not be read: {counts}")


def print_probe(outcome: Outcome) -> None:
    """Print the value of a probe, its strength and how many images it was fitted on."""
    _print_value("linear probe", outcome)
    facts = outcome.details
    click.echo(
        f"  fitted on {facts['num_train']:,} + {facts['num_validation']:,} images, lambda {facts['strength']:.3g} of "
        f"{len(facts['trials'])} tried{', at the edge of what is tried' if facts['strength_is_at_edge'] else ''}"
        f"{'' if facts['converged'] else ', not converged'}"
    )


def _print_value(protocol: str, outcome: Outcome) -> None:
    low, high = outcome.interval
    click.echo(f"{protocol} {outcome.problem.metric} {outcome.value:.1%} (95 % interval {low:.1%} to {high:.1%})")


def print_curve(curve: Curve, outcome: Outcome) -> None:
    """Print what probes of few examples are worth, and how many labels zero-shot, the outcome, is."""
    for row in curve.rows:
        click.echo(f"{row['shots']:>3}-shot {outcome.problem.metric} {row['value']:.1%} +- {row['deviation']:.1%}")
    click.echo(f"labels a class to match zero-shot's {outcome.value:.1%}: {curve.labels_to_match}")
    if curve.left_out:
        click.echo(f"left out, as a class has fewer training images: {', '.join(map(str, curve.left_out))} shots")
