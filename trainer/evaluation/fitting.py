"""Probes of a set: fitted on the features of its training images, judged on those of its test images.

Shapes: N items, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from trainer.evaluation.features import Features
from trainer.evaluation.few_shot import NUM_REPEATS, few_shot, labels_to_match
from trainer.evaluation.logistic import Settings
from trainer.evaluation.metrics import METRICS, Labels, Metric, Scores, map_11_point, softmax
from trainer.evaluation.outcomes import Outcome
from trainer.evaluation.probe import Labelled, Splits, probe
from trainer.evaluation.problems import Problem, labels_of
from wit.errors import InputError


@dataclass(frozen=True)
class Curve:
    """What probes of few examples are worth, and how many labels a class zero-shot is."""

    rows: tuple[dict[str, Any], ...]
    """{"shots", "value", "deviation"}, the fewest first."""
    left_out: tuple[int, ...]
    """Shots that were asked for, of which a class has fewer items."""
    labels_to_match: str
    """Labels a class by which a probe is as good as zero-shot; blank: not known."""


def split_features(
    problem: Problem, test: Features, train: Features, validation: Features | None, where: str
) -> Splits:
    """Return what probes are fitted on; raises InputError when the splits have not the same classes."""
    fitted = Labelled(train.features, labels_of(problem, train, f"{where}, training images"), tuple(train.items))
    chosen = None
    if validation is not None:
        labels = labels_of(problem, validation, f"{where}, validation images")
        chosen = Labelled(validation.features, labels, tuple(validation.items))
    judged = Labelled(test.features, problem.labels, tuple(test.items))
    return Splits(fitted, judged, problem.num_classes, chosen)


def by_metric(problem: Problem) -> Metric:
    """Return the problem's metric of logits.

    Only 11-point precision, which ranks the items of a class, is of probabilities; where items have several labels each
    class has a regression of its own, whose logits rank.
    """
    if METRICS[problem.metric] is not map_11_point:
        return METRICS[problem.metric]

    def value(scores: Scores, labels: Labels) -> float:
        return map_11_point(softmax(scores) if labels.ndim == 1 else scores, labels)

    return value


def linear_probe(problem: Problem, splits: Splits, device: str, details: dict[str, Any]) -> Outcome:
    """Return what a linear probe recognises (paper, section 3.2)."""
    found = probe(splits, by_metric(problem), Settings(device=device))
    own: dict[str, Any] = {
        "strength": found.strength,
        "strength_is_at_edge": found.at_edge,
        "converged": found.converged,
        "num_train": found.num_train,
        "num_validation": found.num_validation,
        "validation": "given" if splits.validation is not None else "a fifth of the training images, by hash",
        "trials": [[trial.strength, trial.value] for trial in found.trials],
    }
    return Outcome(problem, "linear_probe", list(splits.test.items), found.scores, own | details)


def few_shot_curve(
    problem: Problem, splits: Splits, shots: tuple[int, ...], device: str, matched: tuple[float, float | None]
) -> Curve:
    """Return what probes of few examples are worth; `matched` holds the values of zero-shot and of the full probe, if fitted.

    Raises InputError when no number of shots is within what each class has.
    """
    whole = splits.with_validation()
    fewest = int(np.bincount(whole.train.labels, minlength=problem.num_classes).min())
    possible = tuple(number for number in shots if number <= fewest)
    if not possible:
        raise InputError(
            f"{problem.name}: expected {shots[0]} training items of each class at least, found {fewest} of one; "
            "leave --shots out, as the paper does with such sets"
        )
    results = few_shot(whole, by_metric(problem), possible, NUM_REPEATS, Settings(device=device))
    rows = tuple({"shots": one.shots, "value": one.value, "deviation": one.deviation} for one in results)
    points: list[tuple[float, float]] = [(float(one.shots), one.value) for one in results]
    target, full = matched
    if full is not None:
        points.append((len(splits.train.items) / problem.num_classes, full))
    left_out = tuple(number for number in shots if number > fewest)
    return Curve(rows, left_out, str(labels_to_match(target, points)))


def curve_result(outcome: Outcome, curve: Curve, details: dict[str, Any]) -> dict[str, Any]:
    """Return what a page shows of a curve: the value is that of the most shots; `outcome` is zero-shot's."""
    own = {"curve": list(curve.rows), "num_repeats": NUM_REPEATS, "labels_to_match_zero_shot": curve.labels_to_match}
    return {
        "task": outcome.problem.name,
        "protocol": "few_shot",
        "metric": outcome.problem.metric,
        "value": curve.rows[-1]["value"],
        "interval": None,
        "num_items": len(outcome.items),
        "num_classes": outcome.problem.num_classes,
        "chance": outcome.problem.chance,
        "published": {},
        "by_class": [],
        "details": own | {"shots_left_out": list(curve.left_out)} | details,
    }
