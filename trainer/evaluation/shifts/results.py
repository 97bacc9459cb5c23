"""What `wit evaluate-robustness` writes to OUT/results/robustness.json, and a page draws.

Accuracies, intervals and differences of them are shares of 1. "classifier" is one of CLASSIFIERS:

  zero_shot  one classifier of ImageNet's class names for all sets; of classes that a set has as one, the best counts
  own_names  one classifier a set, of the names the set itself has ("adapt to class shift"); no rows where it has none
  adapted    a logistic regression on ImageNet's training images ("adapt to ImageNet"); no rows without --train

    {"task": "robustness", "protocol": "shifts", "confidence": 0.995,
     "templates": ["a photo of a {label}.", ...], "class_names": "where they were read",
     "adapted": null | {"strength", "num_train", "num_validation", "strength_is_at_edge", "converged",
                        "num_classes_not_fitted": of those with images, where there are such},
     "imagenet": {"name": "ImageNet", "data": "ImageNet=folder:PATH", "num_items", "num_classes", "rejected": {},
                  "not_as_the_paper": [],
                  "results": [{"classifier": "zero_shot" | "adapted", "accuracy", "interval": [low, high]}, ...]},
     "shifts": [  # those of the paper first, in its order
       {"name": "ObjectNet", "data", "num_items", "num_classes", "num_imagenet_classes", "rejected": {},
        "left_out": {"num_classes", "num_items"},   # what is no class of ImageNet
        "not_as_the_paper": ["still images; ...", ...],
        "metric": "accuracy" | "mean_pm0_pm10",
        "published": {"Zero-shot CLIP": 0.723, ...},  # Table 16; empty for sets that are not the paper's
        "results": [
          {"classifier", "accuracy", "interval": [low, high],  # of a video set the mean of pm-0 and pm-10
           "pm0": null | share, "pm10": null | share,
           "imagenet_on_classes", "imagenet_interval": [low, high],  # ImageNet's images of the set's classes
           "against": "ImageNet on its classes" | "ImageNet",  # x of the standard models, and of this one below
           "x", "expected": null | share, "effective": null | share, "effective_interval": null | [low, high],
           "gap_closed": null | share,
           "relative": null | difference from zero_shot}, ...],
        "standard": null | LINE}, ...],
     "mean": {"over": ["ImageNetV2", ...], "is_the_papers": true,  # all seven and no other
              "results": [{"classifier", "accuracy", "imagenet_on_classes", "gap", "x", "expected", "effective",
                           "effective_interval", "gap_closed", "relative"}, ...],
              "standard": null | LINE},
     "standard": null | {"source": "FILE.csv", "num_models"},  # null: nothing can be said of effective robustness
     "remarks": ["...", ...]}  # a line each, to be shown

In "mean" a set without names of its own counts with its zero_shot accuracy among own_names, as in the paper; its "x" is
the mean of the x of the sets. LINE is a fit in logits, natural ones, and what to draw of it:

    {"slope", "intercept", "correlation", "num_models", "left_out": models without a number for it, or 0 or 1,
     "num_resamples": 1000, "band_confidence": 0.95,
     "points": [{"model", "x", "y", "is_standard"}, ...],  # models that are no standard ones are drawn, not fitted
     "curve": [{"x", "y", "low", "high"}, ...]}
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainer.evaluation.robustness import IMAGENET, SHIFTS, VideoAccuracy, published_shifts
from trainer.evaluation.shifts.judging import CONFIDENCE, Judged, Share
from trainer.evaluation.shifts.standard import MIN_MODELS, ON_CLASSES, Fitted, Models
from trainer.evaluation.terms import CLASSIFIERS, OWN_NAMES, ZERO_SHOT

_NO_STANDARD = (
    "effective robustness is not known: it needs the accuracies of standard models, --standard FILE.csv with model, "
    "ImageNet and a column a shift"
)


@dataclass(frozen=True)
class ShiftResult:
    """A set, and what each classifier is worth on it."""

    name: str
    data: str
    num_items: int
    num_classes: int
    num_imagenet_classes: int
    rejected: Mapping[str, int]
    num_classes_left_out: int
    num_items_left_out: int
    departures: Sequence[str]
    judged: tuple[Judged, ...]
    """ZERO_SHOT first."""

    def of(self, classifier: str) -> Judged | None:
        """Return one classifier's; None: it was not judged."""
        return next((one for one in self.judged if one.classifier == classifier), None)


@dataclass(frozen=True)
class ImageNetResult:
    """ImageNet's own images."""

    data: str
    num_items: int
    num_classes: int
    rejected: Mapping[str, int]
    departures: Sequence[str]
    shares: Mapping[str, Share]
    """By classifier."""


def to_json(
    imagenet: ImageNetResult, shifts: Sequence[ShiftResult], models: Models | None, facts: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the result as this module's text has it; `facts` are those of the classifiers."""
    order = {name: place for place, name in enumerate(SHIFTS)}
    ordered = sorted(shifts, key=lambda one: order.get(one.name, len(order)))
    remarks = [] if models else [_NO_STANDARD]
    if models and not models.has_types:
        remarks.append(
            f"all {len(models.rows)} models of {models.source} are taken for standard ones, trained on ImageNet alone; "
            'a column "type" says which are: standard'
        )
    if lost := (facts["adapted"] or {}).get("num_classes_not_fitted"):
        remarks.append(
            f"adapted: {lost:,} classes of {IMAGENET} have images to judge and none to fit on: none of theirs can be "
            "right"
        )
    rows = [_shift(one, imagenet, models, remarks) for one in ordered]
    return {
        "task": "robustness",
        "protocol": "shifts",
        "confidence": CONFIDENCE,
        **facts,
        "imagenet": {
            "name": IMAGENET,
            "data": imagenet.data,
            "num_items": imagenet.num_items,
            "num_classes": imagenet.num_classes,
            "rejected": dict(imagenet.rejected),
            "not_as_the_paper": list(imagenet.departures),
            "results": [
                {"classifier": name, "accuracy": share.value, "interval": list(share.interval)}
                for name, share in imagenet.shares.items()
            ],
        },
        "shifts": rows,
        "mean": _mean(ordered, imagenet, models, remarks),
        "standard": None if models is None else {"source": models.source, "num_models": len(models.rows)},
        "remarks": remarks,
    }


def _fit(models: Models | None, names: Sequence[str], what: str, remarks: list[str]) -> Fitted | None:
    fitted = models.fit(names) if models else None
    if models is not None and fitted is None:
        kinds = f"; of type standard are {models.num_standard} of {len(models.rows)}" if models.has_types else ""
        remarks.append(
            f"{what}: too few standard models in {models.source} have the accuracy, at least {MIN_MODELS} are needed"
            f"{kinds}"
        )
    return fitted


def _shift(one: ShiftResult, imagenet: ImageNetResult, models: Models | None, remarks: list[str]) -> dict[str, Any]:
    fitted = _fit(models, [one.name], one.name, remarks)
    rows = [
        {
            "classifier": judged.classifier,
            "accuracy": judged.accuracy,
            "interval": list(judged.interval),
            **_by_frames(judged.video),
            "imagenet_on_classes": judged.on_classes,
            "imagenet_interval": list(judged.on_classes_interval),
            "against": fitted.against if fitted else ON_CLASSES,
            **_effective(fitted, _x(judged, fitted, imagenet), judged.accuracy),
            "relative": _relative(judged, one.of(ZERO_SHOT)),
        }
        for judged in one.judged
    ]
    remarks += _unplaced(one.name, rows, fitted)
    published = {model: row[one.name] for model, row in published_shifts().items() if one.name in row}
    return {
        "name": one.name,
        "data": one.data,
        "num_items": one.num_items,
        "num_classes": one.num_classes,
        "num_imagenet_classes": one.num_imagenet_classes,
        "rejected": dict(one.rejected),
        "left_out": {"num_classes": one.num_classes_left_out, "num_items": one.num_items_left_out},
        "not_as_the_paper": list(one.departures),
        "metric": "accuracy" if one.judged[0].video is None else "mean_pm0_pm10",
        "published": published,
        "results": rows,
        "standard": fitted.to_json([row["x"] for row in rows]) if fitted else None,
    }


def _by_frames(video: VideoAccuracy | None) -> dict[str, float | None]:
    return {"pm0": video.pm0 if video else None, "pm10": video.pm_k if video else None}


def _x(judged: Judged, fitted: Fitted | None, imagenet: ImageNetResult) -> float:
    """Return a classifier's accuracy on what the standard models' x is; names of a set's own are judged by ImageNet's.

    (There is no ImageNet under the names of another set.)
    """
    if fitted is None or fitted.against == ON_CLASSES:
        return judged.on_classes
    return imagenet.shares[ZERO_SHOT if judged.classifier == OWN_NAMES else judged.classifier].value


def _effective(fitted: Fitted | None, x: float, accuracy: float) -> dict[str, Any]:
    """Return what standard models of the same accuracy on ImageNet have, and what is above it."""
    if fitted is None or not 0 < x < 1:  # without a logit there is no place on the line
        return {"x": x, "expected": None, "effective": None, "effective_interval": None, "gap_closed": None}
    standard = fitted.standard
    expected = standard.expected(x)
    return {
        "x": x,
        "expected": expected,
        "effective": accuracy - expected,
        "effective_interval": list(standard.effective_interval(x, accuracy)),
        "gap_closed": None if expected >= x else standard.gap_closed(x, accuracy),
    }


def _unplaced(what: str, rows: Sequence[Mapping[str, Any]], fitted: Fitted | None) -> list[str]:
    """Return why classifiers have no effective robustness though there is a line; none: all have."""
    return [
        f"{what}, {row['classifier'].replace('_', ' ')}: no effective robustness, as it is right on "
        f"{row['x']:.0%} of {IMAGENET}, which has no logit"
        for row in rows
        if fitted is not None and row["effective"] is None
    ]


def _relative(judged: Judged, base: Judged | None) -> float | None:
    return None if base is None or judged is base else judged.accuracy - base.accuracy


def _mean(
    shifts: Sequence[ShiftResult], imagenet: ImageNetResult, models: Models | None, remarks: list[str]
) -> dict[str, Any]:
    """Return the means over all sets, of each classifier that any set has."""
    names = [one.name for one in shifts]
    fitted = _fit(models, names, "the mean over the sets", remarks)
    rows: list[dict[str, Any]] = []
    for classifier in CLASSIFIERS:
        if all(one.of(classifier) is None for one in shifts):
            continue
        chosen = [one.of(classifier) or one.judged[0] for one in shifts]
        accuracy = _average(chosen, lambda one: one.accuracy)
        on_classes = _average(chosen, lambda one: one.on_classes)
        x = _average(chosen, lambda one: _x(one, fitted, imagenet))
        means = {"accuracy": accuracy, "imagenet_on_classes": on_classes, "gap": on_classes - accuracy}
        relative = accuracy - rows[0]["accuracy"] if rows else None
        rows.append({"classifier": classifier, **means, **_effective(fitted, x, accuracy), "relative": relative})
    remarks += _unplaced("the mean over the sets", rows, fitted)
    return {
        "over": names,
        "is_the_papers": set(names) == set(SHIFTS),
        "results": rows,
        "standard": fitted.to_json([row["x"] for row in rows]) if fitted else None,
    }


def _average(chosen: Sequence[Judged], number: Callable[[Judged], float]) -> float:
    return float(np.mean([number(one) for one in chosen]))
