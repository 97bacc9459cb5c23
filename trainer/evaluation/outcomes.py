"""What scores of a set's classes add up to, and the files in which that is kept.

Shapes: N items, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from trainer.evaluation.confusion import class_rows, confusion_pairs
from trainer.evaluation.metrics import (
    METRICS,
    NOT_JUDGED,
    accuracy,
    average_precisions,
    label_ranks,
    map_11_point,
    mean_per_class,
    softmax,
)
from trainer.evaluation.problems import Problem
from trainer.evaluation.resampling import bootstrap_interval, mean_per_class_interval
from wit.schema import PREDICTIONS
from wit.statistics import clopper_pearson

CONFIDENCE = 0.95
KS = (1, 5, 10)
_BOOTSTRAPPED = 1000  # resamples: the ends of an interval are then right to about a fiftieth of its length


class OneLabel(NamedTuple):
    """Items that have a class, as items of one: the M of N for which it can be said whether the likeliest is right."""

    rows: NDArray[np.int64]
    """(M,): which items."""
    scores: NDArray[np.floating[Any]]
    """(M, C) logits; those of classes that an item neither has nor lacks are the lowest of all."""
    labels: NDArray[np.int64]
    """(M,): the class; of several the likeliest."""

    @staticmethod
    def of(scores: NDArray[np.floating[Any]], labels: NDArray[np.int64]) -> OneLabel:
        """Return the items of logits (N, C) and labels, (N,) or (N, C)."""
        if labels.ndim == 1:
            return OneLabel(np.arange(len(labels)), scores, labels)
        rows = np.flatnonzero((labels == 1).any(axis=1))
        scores, labels = scores[rows], labels[rows]
        own = np.where(labels == 1, scores, -np.inf).argmax(axis=1)
        lowest = np.where(labels == NOT_JUDGED, np.finfo(np.float32).min, scores)
        return OneLabel(rows, lowest, own)


@dataclass(frozen=True)
class Outcome:
    """One evaluation: a row of what a page shows."""

    problem: Problem
    protocol: str
    items: list[str]
    scores: NDArray[np.floating[Any]]
    """(N, C) logits; the labels are the problem's."""
    details: Mapping[str, Any] = field(default_factory=dict)
    independent: bool = False
    """Whether each class has a classifier of its own, so that its logits rank items."""

    @property
    def value(self) -> float:
        """By the problem's metric; of folds the mean."""
        return self.problem.value(self.scores, self.independent)

    @cached_property
    def labelled(self) -> OneLabel:
        """The items that have a class."""
        return OneLabel.of(self.scores, self.problem.labels)

    @property
    def predicted(self) -> NDArray[np.int64]:
        """The likeliest class of each item that has one; of equal ones the first."""
        found: NDArray[np.int64] = self.labelled.scores.argmax(axis=1)
        return found

    @cached_property
    def ranks(self) -> NDArray[np.int64]:
        """Place of the own class of each item that has one, 1 the best; of several classes that of the likeliest."""
        return label_ranks(self.labelled.scores, self.labelled.labels)

    @property
    def num_correct(self) -> int:
        """Items whose likeliest class is their own."""
        return int((self.ranks == 1).sum())

    @property
    def accuracy(self) -> float:
        """Share of the items whose likeliest class is their own."""
        return self.top_k(1)

    def top_k(self, k: int) -> float:
        """Return the share of items whose own class is among the k likeliest."""
        return float((self.ranks <= k).mean())

    @property
    def accuracy_interval(self) -> tuple[float, float]:
        """Clopper-Pearson interval of the accuracy, at CONFIDENCE."""
        return clopper_pearson(self.num_correct, len(self.ranks), CONFIDENCE)

    @property
    def interval(self) -> tuple[float, float]:
        """At CONFIDENCE: Clopper-Pearson of an accuracy, as is the mean per class's; resamples of any other metric.

        Of folds the mean of their intervals: as wide as if all were one, so that it is rather too wide than too narrow,
        for they share items, and it is not known how far their errors go together.
        """
        parts = [fold.rows for fold in self.problem.folds] or [np.arange(len(self.items))]
        low, high = np.mean([self._interval(part) for part in parts], axis=0)
        return float(low), float(high)

    def _interval(self, rows: NDArray[np.int64]) -> tuple[float, float]:
        metric, labels = METRICS[self.problem.metric], self.problem.labels[rows]
        if metric is accuracy:
            num_correct = int((self.scores[rows].argmax(axis=1) == labels).sum())
            return clopper_pearson(num_correct, len(rows), CONFIDENCE)
        if metric is mean_per_class:
            return mean_per_class_interval(self.scores[rows], labels, CONFIDENCE)
        scores = self.problem.judged(self.scores, self.independent)[rows]
        return bootstrap_interval(metric, scores, labels, CONFIDENCE, _BOOTSTRAPPED)

    def confusion(self) -> list[list[int]]:
        """Return [class, predicted class, items] of all pairs that occur, in order: the matrix without its zeros.

        An item of several classes is in the row of each of them: as right in all where the likeliest class is one.
        """
        if not self.problem.has_several:
            return confusion_pairs(self.problem.labels, self.predicted)
        own_NC = self.problem.labels[self.labelled.rows] == 1
        rows, labels = np.nonzero(own_NC)
        is_right_N = np.take_along_axis(own_NC, self.predicted[:, None], axis=1)[:, 0]
        return confusion_pairs(labels, np.where(is_right_N[rows], labels, self.predicted[rows]))

    def by_class(self) -> list[dict[str, Any]]:
        """Return the classes that have items: how many are right, and what they are most often taken for wrongly.

        Of classes that are equally often taken for it the first by name is said. Where the metric is 11-point precision
        each class has its "average_precision", of folds the mean.
        """
        rows = class_rows(self.confusion(), self.problem.titles)
        if METRICS[self.problem.metric] is not map_11_point:
            return rows
        place = {title: number for number, title in enumerate(self.problem.titles)}
        precision_C = self._precisions()
        return [row | {"average_precision": float(precision_C[place[row["class"]]])} for row in rows]

    def _precisions(self) -> NDArray[np.float64]:
        """Return each class's 11-point average precision: the mean of the folds that have items of it; NaN: none."""
        scores, labels = self.problem.judged(self.scores, self.independent), self.problem.labels
        parts = [fold.rows for fold in self.problem.folds] or [np.arange(len(labels))]
        each_FC = np.ma.masked_invalid([average_precisions(scores[part], labels[part]) for part in parts])
        found: NDArray[np.float64] = each_FC.mean(axis=0).filled(np.nan)
        return found

    def predictions(self) -> pa.Table:
        """Return a row of PREDICTIONS for each item that has a class.

        Of several classes the likeliest is an item's label, so that label and prediction agree where the likeliest of
        all is one of its own.
        """
        labelled, titles = self.labelled, self.problem.titles
        shares, labels = softmax(labelled.scores), labelled.labels
        rows = np.arange(len(labels))
        columns = {
            "path": [self.items[row] for row in labelled.rows],
            "label": [titles[label] for label in labels],
            "prediction": [titles[prediction] for prediction in self.predicted],
            "probability": shares[rows, self.predicted],
            "label_probability": shares[rows, labels],
            "label_rank": self.ranks.astype(np.int32),
        }
        return pa.table(columns, schema=PREDICTIONS)

    def result(self) -> dict[str, Any]:
        """Return what a page shows, as JSON has it."""
        top_k = {str(k): self.top_k(k) for k in KS if k < self.problem.num_classes}
        own: dict[str, Any] = {"confidence": CONFIDENCE, "top_k": top_k, "classes": list(self.problem.titles)}
        own |= {"num_correct": self.num_correct, "num_labelled": len(self.ranks)}
        return {
            "task": self.problem.name,
            "protocol": self.protocol,
            "metric": self.problem.metric,
            "value": self.value,
            "interval": list(self.interval),
            "num_items": len(set(self.items)),
            "num_classes": self.problem.num_classes,
            "chance": self.problem.chance,
            "published": {},
            "by_class": self.by_class(),
            "details": own | {"confusion": self.confusion()} | self._by_fold() | dict(self.details),
        }

    def _by_fold(self) -> dict[str, Any]:
        values = self.problem.fold_values(self.scores, self.independent)
        rows = [{"fold": fold.name, "value": value} for fold, value in zip(self.problem.folds, values, strict=False)]
        return {"folds": rows} if rows else {}
