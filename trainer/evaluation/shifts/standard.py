"""Standard models, those trained on ImageNet alone: what their accuracy says of a shift, from a file of the user's.

A CSV with a row a model: `model`, `ImageNet`, and a column a shift by its name, in per cent or shares; where it has
them, `ImageNet on SHIFT` (the accuracy on the classes of the shift) and `type` (rows of another than "standard" are
drawn, not fitted). The columns of imagenet-testbed's robustness_top1s.csv (Taori et al., 2020) are read as they are; it
has models of all kinds, and no `type`: which are standard its plotting/model_types.py says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainer.evaluation.lines import CONFIDENCE, NUM_RESAMPLES
from trainer.evaluation.robustness import IMAGENET, SHIFTS, Standard, fit_standard, from_logits, logit
from trainer.evaluation.suite.tasks import fold
from trainer.evaluation.tables import Row, read_rows
from wit.errors import InputError

ON_CLASSES = "ImageNet on its classes"
MIN_MODELS = 3
"""Of a line: two are on one whatever they are."""
CURVE_POINTS = 61
_STANDARD = "standard"
_TESTBED: dict[str, tuple[str, ...]] = {
    IMAGENET: ("val",),
    "ImageNetV2": ("imagenetv2-matched-frequency",),  # whose values Table 16 has, not those of the -format-val column
    "ImageNet-A": ("imagenet-a",),
    "ImageNet-R": ("imagenet-r",),
    "ImageNet-Sketch": ("imagenet-sketch",),
    "ObjectNet": ("objectnet-1.0-beta",),
    "ImageNet-Vid": ("imagenet-vid-robust_pm0", "imagenet-vid-robust_pm10"),
    "Youtube-BB": ("ytbb-robust_pm0", "ytbb-robust_pm10"),
}
_TESTBED_CLASSES = {
    "ImageNetV2": "val",
    "ImageNet-A": "val-on-imagenet-a-classes",
    "ImageNet-R": "val-on-imagenet-r-classes",
    "ImageNet-Sketch": "val",
    "ObjectNet": "val-on-objectnet-classes",
    "ImageNet-Vid": "val-on-vid-robust-classes",
    "Youtube-BB": "val-on-ytbb-robust-classes",
}


@dataclass(frozen=True)
class Model:
    """A model of the file."""

    name: str
    is_standard: bool
    accuracies: Mapping[str, float]
    """Shares, of ImageNet and of shifts; what the file has not is missing."""
    on_classes: Mapping[str, float]
    """Shares of ImageNet's images of a shift's classes."""


@dataclass(frozen=True)
class Point:
    """A model's place in a figure."""

    model: str
    x: float
    y: float
    is_standard: bool


@dataclass(frozen=True)
class Fitted:
    """The standard models of one shift, or of the mean over several, and their line."""

    against: str
    """What x is: IMAGENET or ON_CLASSES."""
    standard: Standard
    points: tuple[Point, ...]
    num_models: int
    """That were fitted."""
    left_out: int
    """Standard models without both numbers, or with one of 0 or 1, which has no logit."""

    def to_json(self, also: Sequence[float]) -> dict[str, Any]:
        """Return the line as results.py has it, drawn over all points and the places `also`."""
        inside = [each for each in (*also, *(point.x for point in self.points)) if 0 < each < 1]
        logits = np.linspace(logit(min(inside)), logit(max(inside)), CURVE_POINTS)
        x = from_logits(logits).tolist()
        low, high = self.standard.band(x)
        rows = zip(x, low.tolist(), high.tolist(), strict=True)
        line = self.standard.line
        return {
            "slope": line.slope,
            "intercept": line.intercept,
            "correlation": line.correlation,
            "num_models": self.num_models,
            "left_out": self.left_out,
            "num_resamples": NUM_RESAMPLES,
            "band_confidence": CONFIDENCE,
            "points": [
                {"model": one.model, "x": one.x, "y": one.y, "is_standard": one.is_standard} for one in self.points
            ],
            "curve": [{"x": x, "y": self.standard.expected(x), "low": low, "high": high} for x, low, high in rows],
        }


@dataclass(frozen=True)
class Models:
    """The models of a file."""

    source: str
    rows: tuple[Model, ...]
    has_types: bool = False
    """Whether the file says which models are standard; else all are taken for it."""

    @property
    def num_standard(self) -> int:
        """Standard ones, whatever numbers they have."""
        return sum(one.is_standard for one in self.rows)

    def fit(self, shifts: Sequence[str]) -> Fitted | None:
        """Return the line of one shift, or of the mean over several; None: fewer than MIN_MODELS have the numbers.

        x is the accuracy on the classes of each shift where the file has that of all, else on ImageNet.
        """
        against = ON_CLASSES if all(any(name in one.on_classes for one in self.rows) for name in shifts) else IMAGENET
        found = [(one, _place(one, shifts, against)) for one in self.rows]
        points = tuple(Point(one.name, *place, one.is_standard) for one, place in found if place is not None)
        fitted = [point for point in points if point.is_standard and 0 < point.x < 1 and 0 < point.y < 1]
        if len(fitted) < MIN_MODELS or len({point.x for point in fitted}) < MIN_MODELS:
            return None
        standard = fit_standard([point.x for point in fitted], [point.y for point in fitted])
        return Fitted(against, standard, points, len(fitted), self.num_standard - len(fitted))


def _place(model: Model, shifts: Sequence[str], against: str) -> tuple[float, float] | None:
    """Return (x, y) of a model; None when a number is missing."""
    x = [model.on_classes.get(name) if against == ON_CLASSES else model.accuracies.get(IMAGENET) for name in shifts]
    y = [model.accuracies.get(name) for name in shifts]
    if None in x or None in y:
        return None
    return tuple(float(np.mean([each for each in values if each is not None])) for values in (x, y))  # type: ignore[return-value]


def read_models(url: str, shifts: Sequence[str] = SHIFTS) -> Models:
    """Return the models of a file for some shifts.

    Raises InputError for a file that is none, has no column of ImageNet or of any of the shifts, a column or a model
    twice, or values that are neither shares nor per cent.
    """
    rows = read_rows(url, ("model",), once="model")
    columns = {fold(str(name)): str(name) for name in rows[0].values}
    accuracies = {name: found for name in (IMAGENET, *shifts) if (found := _columns(columns, name))}
    on_classes = {name: found for name in shifts if (found := _class_column(columns, name))}
    if IMAGENET not in accuracies or len(accuracies) < 2:
        raise InputError(
            f"{url}: expected columns model, {IMAGENET} and one of {', '.join(shifts)}, found "
            f"{', '.join(columns.values())[:200]!r}"
        )
    used = {column for found in (*accuracies.values(), *on_classes.values()) for column in found}
    if alike := [name for name in map(str, rows[0].values) if name not in used and columns[fold(name)] in used]:
        raise InputError(f"{url}: expected one column of a name, found {alike[0]!r} and {columns[fold(alike[0])]!r}; "
                         "take one away")  # fmt: skip
    numbers = {column: [_number(row, column) for row in rows] for column in used}
    scale = _scale(url, numbers)
    models = []
    for place, row in enumerate(rows):
        values = {column: each for column in used if (each := numbers[column][place]) is not None}
        kind = row.optional("type") if "type" in row.values else ""
        models.append(
            Model(
                row.text("model"),
                not kind or fold(kind) == _STANDARD,
                _means(values, accuracies, scale),
                _means(values, on_classes, scale),
            )
        )
    return Models(url, tuple(models), "type" in rows[0].values)


def _scale(url: str, numbers: Mapping[str, Sequence[float | None]]) -> int:
    """Return what the numbers of a file are parts of: 100 of per cent, 1 of shares; raises InputError for both."""
    most = {column: max((each for each in values if each is not None), default=0) for column, values in numbers.items()}
    large = sorted(name for name, each in most.items() if each > 1)
    small = sorted(name for name, each in most.items() if 0 < each <= 1)  # nothing but 0 is either
    if large and small:
        raise InputError(
            f"{url}: expected all columns in per cent or all as shares, found {large[0]!r} up to {most[large[0]]:g} "
            f"and {small[0]!r} up to {most[small[0]]:g}; write all as shares from 0 to 1"
        )
    return 100 if large else 1


def _columns(columns: Mapping[str, str], name: str) -> tuple[str, ...]:
    """Return the columns of which an accuracy is the mean; empty where the file has not all."""
    if fold(name) in columns:
        return (columns[fold(name)],)
    known = _TESTBED.get(name, ())
    return tuple(columns[fold(each)] for each in known) if all(fold(each) in columns for each in known) else ()


def _class_column(columns: Mapping[str, str], name: str) -> tuple[str, ...]:
    wanted = [f"{IMAGENET} on {name}"] + ([_TESTBED_CLASSES[name]] if name in _TESTBED_CLASSES else [])
    return tuple(columns[fold(each)] for each in wanted if fold(each) in columns)[:1]


def _number(row: Row, column: str) -> float | None:
    return row.number(column, 0, 100) if row.optional(column) else None


def _means(values: Mapping[str, float], columns: Mapping[str, tuple[str, ...]], scale: int) -> dict[str, float]:
    return {
        name: sum(values[column] for column in own) / len(own) / scale
        for name, own in columns.items()
        if all(column in values for column in own)
    }
