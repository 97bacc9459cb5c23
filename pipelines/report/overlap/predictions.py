"""Files of a model's predictions, and the accuracy of each split that follows from them."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from pipelines.report.overlap.results import Accuracies


@dataclass(frozen=True)
class Predictions:
    """A model's predictions, by item."""

    url: str


@dataclass(frozen=True)
class Joined:
    """A set's accuracies, and what did not find its counterpart."""

    accuracies: Accuracies
    num_missing: int
    num_unknown: int


def read_predictions(url: str) -> Predictions:
    """Read (item or path, correct) or (item or path, label, prediction) from Parquet, CSV, TSV or JSON lines."""
    raise NotImplementedError


def join_predictions(predictions: Predictions, name: str, items: pa.Table) -> Joined:
    """Return the accuracies of a set; `items`: item, label (nullable), split ("overlap", "clean", "unreadable")."""
    raise NotImplementedError
