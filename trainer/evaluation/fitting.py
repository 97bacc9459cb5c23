"""Probes of a set: fitted on the features of its training images, judged on those of its test images.

Shapes: N items, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from trainer.evaluation.features import Features
from trainer.evaluation.few_shot import NUM_REPEATS, few_shot, labels_to_match
from trainer.evaluation.logistic import Settings
from trainer.evaluation.metrics import METRICS, Labels, Metric, Scores, map_11_point, softmax
from trainer.evaluation.outcomes import Outcome
from trainer.evaluation.probe import Labelled, ProbeResult, Splits, probe
from trainer.evaluation.problems import JudgedFold, Problem, labels_of, rows_of
from trainer.evaluation.terms import FEW_SHOT, LINEAR_PROBE
from wit.errors import InputError
from wit.evaluation_sets import Fold


@dataclass(frozen=True)
class Curve:
    """What probes of few examples are worth, and how many labels a class zero-shot is."""

    rows: tuple[dict[str, Any], ...]
    """{"shots", "value", "deviation", "interval"}, the fewest first."""
    left_out: tuple[int, ...]
    """Shots that were asked for, of which a class has fewer items."""
    labels_to_match: str
    """Labels a class by which a probe is as good as zero-shot; blank: not known."""
    num_items: int
    """On which all are judged."""


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


def linear_probe(
    problem: Problem, splits: Splits, device: str, details: dict[str, Any], folds: Sequence[Fold] = ()
) -> Outcome:
    """Return what a linear probe recognises (paper, section 3.2); of folds a probe each, all their items one by one.

    Raises InputError when a fold has none of the training or test images.
    """
    if folds:
        return _fold_probes(problem, splits, device, details, folds)
    found = probe(splits, by_metric(problem), Settings(device=device))
    own = {
        **_fit_facts(found),
        "validation": "given" if splits.validation is not None else "a fifth of the training images, by hash",
        "trials": [[trial.strength, trial.value] for trial in found.trials],
        **count_unfitted(splits.test.labels, splits.train.labels),
    }
    items = list(splits.test.items)
    return Outcome(problem, LINEAR_PROBE, items, found.scores, own | details, problem.has_several)


def count_unfitted(test: Labels, train: Labels) -> dict[str, int]:
    """Return how many classes have test images and none to fit on, so that none of theirs can be right; {}: none."""
    if test.ndim == 2:
        lost = int(((test == 1).any(axis=0) & ~(train == 1).any(axis=0)).sum())
    else:
        lost = len(np.setdiff1d(test, train))
    return {"num_classes_not_fitted": lost} if lost else {}


def _fit_facts(found: ProbeResult) -> dict[str, Any]:
    return {
        "strength": found.strength,
        "strength_is_at_edge": found.at_edge,
        "converged": found.converged,
        "num_train": found.num_train,
        "num_validation": found.num_validation,
    }


def _fold_probes(
    problem: Problem, splits: Splits, device: str, details: dict[str, Any], folds: Sequence[Fold]
) -> Outcome:
    parts = [split_fold(splits, fold) for fold in folds]
    found = [probe(part, by_metric(problem), Settings(device=device)) for part in parts]
    stops = np.cumsum([len(part.test.items) for part in parts])
    judged = tuple(
        JudgedFold(fold.name, np.arange(stop - len(part.test.items), stop))
        for fold, part, stop in zip(folds, parts, stops.tolist(), strict=True)
    )
    whole = replace(problem, labels=np.concatenate([part.test.labels for part in parts]), folds=judged)
    items = [item for part in parts for item in part.test.items]
    scores = np.concatenate([each.scores for each in found])
    outcome = Outcome(whole, LINEAR_PROBE, items, scores, {}, problem.has_several)
    values = whole.fold_values(scores, outcome.independent)
    rows = [
        {"fold": fold.name, "value": value, **_fit_facts(each), **count_unfitted(part.test.labels, part.train.labels)}
        for fold, value, each, part in zip(folds, values, found, parts, strict=True)
    ]
    return replace(outcome, details={"folds": rows} | details)


def split_fold(splits: Splits, fold: Fold) -> Splits:
    """Return a fold's part of splits; validation items are for all folds. Raises InputError when it has no items."""
    train = splits.train.take(rows_of(splits.train.items, fold.train, f"{fold.name}, training images"))
    test = splits.test
    if fold.test:
        test = test.take(rows_of(test.items, fold.test, f"{fold.name}, test images"))
    return replace(splits, train=train, test=test)


def few_shot_curve(
    problem: Problem, splits: Splits, shots: tuple[int, ...], device: str, matched: tuple[float, float | None]
) -> Curve:
    """Return what probes of few examples are worth; `matched`: the values of zero-shot, and of the full probe or None.

    Names without an image in the set are no classes of it. Raises InputError for items of several classes, and when no
    number of shots is within what each class has.
    """
    if problem.has_several:
        raise InputError(f"{problem.name}: few-shot: expected one class an image, found several; leave --shots out")
    whole = _without_gaps(splits.with_validation())
    fewest = int(np.bincount(whole.train.labels, minlength=whole.num_classes).min())
    possible = tuple(number for number in shots if number <= fewest)
    if not possible:
        raise InputError(
            f"{problem.name}: expected {shots[0]} training items of each class at least, found {fewest} of one; "
            "leave --shots out, as the paper does with such sets"
        )
    results = few_shot(whole, by_metric(problem), possible, NUM_REPEATS, Settings(device=device))
    rows = tuple(
        {"shots": one.shots, "value": one.value, "deviation": one.deviation, "interval": list(one.interval)}
        for one in results
    )
    points: list[tuple[float, float]] = [(float(one.shots), one.value) for one in results]
    target, full = matched
    if full is not None:
        assert whole.validation is not None
        num_labels = len(whole.train.items) + len(whole.validation.items)  # the full probe is fitted on both
        points.append((num_labels / whole.num_classes, full))
    left_out = tuple(number for number in shots if number > fewest)
    return Curve(rows, left_out, str(labels_to_match(target, points)), len(splits.test.items))


def _without_gaps(splits: Splits) -> Splits:
    """Return splits of one label an item whose classes are those that have an item, numbered anew."""
    assert splits.validation is not None
    parts = {"train": splits.train, "test": splits.test, "validation": splits.validation}
    seen = np.unique(np.concatenate([part.labels for part in parts.values()]))
    numbered = {name: replace(part, labels=np.searchsorted(seen, part.labels)) for name, part in parts.items()}
    return Splits(num_classes=len(seen), **numbered)


def curve_result(outcome: Outcome, curve: Curve, details: dict[str, Any]) -> dict[str, Any]:
    """Return what a page shows of a curve: the value is that of the most shots; `outcome` is zero-shot's."""
    own = {"curve": list(curve.rows), "num_repeats": NUM_REPEATS, "labels_to_match_zero_shot": curve.labels_to_match}
    return {
        "task": outcome.problem.name,
        "protocol": FEW_SHOT,
        "metric": outcome.problem.metric,
        "value": curve.rows[-1]["value"],
        "interval": curve.rows[-1]["interval"],
        "num_items": curve.num_items,
        "num_classes": outcome.problem.num_classes,
        "chance": outcome.problem.chance,
        "published": {},
        "by_class": [],
        "details": own | {"shots_left_out": list(curve.left_out)} | details,
    }
