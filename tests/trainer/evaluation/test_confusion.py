from __future__ import annotations

import numpy as np
from sklearn.metrics import confusion_matrix

from trainer.evaluation.confusion import class_rows, confusion_pairs


def test_pairs_are_sklearns_matrix() -> None:
    """The pairs are the cells of scikit-learn's confusion matrix that are not zero."""
    rng = np.random.default_rng(0)
    labels, predicted = rng.integers(0, 9, 99), rng.integers(0, 9, 99)
    matrix = np.zeros((9, 9), int)
    for label, prediction, count in confusion_pairs(labels, predicted):
        matrix[label, prediction] = count
    assert np.array_equal(matrix, confusion_matrix(labels, predicted, labels=range(9)))


def test_class_rows() -> None:
    """A class's row has its accuracy and the class that it is most taken for; a class without items has no row."""
    rows = class_rows(confusion_pairs(np.array([0, 0, 0, 0, 2]), np.array([0, 1, 1, 2, 2])), ["a", "b", "c"])
    assert rows == [
        {"class": "a", "num_items": 4, "num_correct": 1, "accuracy": 0.25, "mistaken_for": "b", "times": 2},
        {"class": "c", "num_items": 1, "num_correct": 1, "accuracy": 1.0, "mistaken_for": "", "times": 0},
    ]
