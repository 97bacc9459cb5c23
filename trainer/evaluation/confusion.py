"""What classes are taken for: pairs of a class and the one that was predicted, and what they say of each class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def confusion_pairs(labels: NDArray[np.int64], predicted: NDArray[np.int64]) -> list[list[int]]:
    """Return [class, predicted class, items] of all pairs that occur, in order: the matrix without its zeros."""
    counts = Counter(zip(labels.tolist(), predicted.tolist(), strict=True))
    return [[label, prediction, count] for (label, prediction), count in sorted(counts.items())]


def class_rows(pairs: Sequence[Sequence[int]], titles: Sequence[str]) -> list[dict[str, Any]]:
    """Return the classes that have items: how many are right, and what they are most often taken for wrongly.

    `pairs` are `confusion_pairs`; of classes that are equally often taken for it the first by name is said.
    """
    taken: dict[int, dict[int, int]] = {}
    for label, prediction, count in pairs:
        taken.setdefault(label, {})[prediction] = count
    rows = []
    for label, counts in taken.items():
        num_items, num_correct = sum(counts.values()), counts.get(label, 0)
        wrong = min(((-count, titles[other]) for other, count in counts.items() if other != label), default=(0, ""))
        rows.append(
            {
                "class": titles[label],
                "num_items": num_items,
                "num_correct": num_correct,
                "accuracy": num_correct / num_items,
                "mistaken_for": wrong[1],
                "times": -wrong[0],
            }
        )
    return rows
