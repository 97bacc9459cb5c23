"""What scores of a set's classes add up to, and the files in which that is kept.

Shapes: N items, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from trainer.evaluation.confusion import class_rows, confusion_pairs
from trainer.evaluation.metrics import METRICS, label_ranks, softmax
from trainer.evaluation.problems import Problem
from trainer.evaluation.resampling import bootstrap_interval
from wit import manifest
from wit.schema import PREDICTIONS
from wit.statistics import clopper_pearson
from wit.storage import join, write_parquet

CONFIDENCE = 0.95
KS = (1, 5, 10)
_BOOTSTRAPPED = 200  # resamples: the ends of an interval are then right to about a tenth of its length


@dataclass(frozen=True)
class Outcome:
    """One evaluation: a row of what a page shows."""

    problem: Problem
    protocol: str
    items: list[str]
    scores: NDArray[np.floating[Any]]
    """(N, C) logits; the labels are the problem's."""
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def value(self) -> float:
        """By the problem's metric."""
        return METRICS[self.problem.metric](softmax(self.scores), self.problem.labels)

    @property
    def predicted(self) -> NDArray[np.int64]:
        """(N,): the likeliest class, of equal ones the first."""
        found: NDArray[np.int64] = self.scores.argmax(axis=1)
        return found

    @cached_property
    def ranks(self) -> NDArray[np.int64]:
        """(N,): place of each item's own class, 1 the best."""
        return label_ranks(self.scores, self.problem.labels)

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
        return clopper_pearson(self.num_correct, len(self.items), CONFIDENCE)

    @property
    def interval(self) -> tuple[float, float]:
        """At CONFIDENCE: Clopper-Pearson of an accuracy, percentiles of resamples of any other metric."""
        if self.problem.metric == "accuracy":
            return self.accuracy_interval
        scores, metric = softmax(self.scores), METRICS[self.problem.metric]
        return bootstrap_interval(metric, scores, self.problem.labels, CONFIDENCE, _BOOTSTRAPPED)

    def confusion(self) -> list[list[int]]:
        """Return [class, predicted class, items] of all pairs that occur, in order: the matrix without its zeros."""
        return confusion_pairs(self.problem.labels, self.predicted)

    def by_class(self) -> list[dict[str, Any]]:
        """Return the classes that have items: how many are right, and what they are most often taken for wrongly.

        Of classes that are equally often taken for it the first by name is said.
        """
        return class_rows(self.confusion(), self.problem.titles)

    def predictions(self) -> pa.Table:
        """Return a row of PREDICTIONS for each item."""
        shares, labels, titles = softmax(self.scores), self.problem.labels, self.problem.titles
        rows = np.arange(len(labels))
        columns = {
            "path": self.items,
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
        own = {"confidence": CONFIDENCE, "top_k": top_k, "classes": list(self.problem.titles)}
        return {
            "task": self.problem.name,
            "protocol": self.protocol,
            "metric": self.problem.metric,
            "value": self.value,
            "interval": list(self.interval),
            "num_items": len(self.items),
            "num_classes": self.problem.num_classes,
            "chance": self.problem.chance,
            "published": {},
            "by_class": self.by_class(),
            "details": own | {"confusion": self.confusion()} | dict(self.details),
        }


def write_outcome(out: str, outcome: Outcome) -> None:
    """Publish OUT/results/TASK.PROTOCOL.json, and of zero-shot outcomes OUT/predictions/TASK.parquet."""
    name = outcome.problem.name
    if outcome.protocol == "zero_shot":
        write_parquet(join(out, "predictions", f"{name}.parquet"), outcome.predictions())
    manifest.write(join(out, "results", f"{name}.{outcome.protocol}.json"), outcome.result())
