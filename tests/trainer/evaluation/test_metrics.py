from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import special
from sklearn.metrics import (
    balanced_accuracy_score,
    precision_recall_curve,
    roc_auc_score,
    top_k_accuracy_score,
)

from trainer.evaluation.metrics import (
    METRICS,
    NOT_JUDGED,
    accuracy,
    chance,
    label_ranks,
    map_11_point,
    mean_per_class,
    mean_top1_top5,
    roc_auc,
    softmax,
    top_k,
)
from wit.errors import InputError

SEEDS = st.integers(0, 1 << 30)


def drawn(seed: int, num_classes: int, num_items: int = 60) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return scores without ties, and labels of which every class has some."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(num_items) % num_classes)
    return rng.normal(size=(num_items, num_classes)) + 0.7 * (labels[:, None] == np.arange(num_classes)), labels


@given(SEEDS, st.integers(3, 9))
def test_accuracies_are_scikit_learns(seed: int, num_classes: int) -> None:
    """Top-1, top-5, their mean, and the mean per class equal scikit-learn's on scores without ties."""
    scores, labels = drawn(seed, num_classes)
    names = np.arange(num_classes)
    tops = {k: top_k_accuracy_score(labels, scores, k=k, labels=names) for k in (1, 2)}
    assert accuracy(scores, labels) == pytest.approx(tops[1])
    assert top_k(scores, labels, 2) == pytest.approx(tops[2])
    five = top_k_accuracy_score(labels, scores, k=5, labels=names) if num_classes > 5 else 1.0
    assert mean_top1_top5(scores, labels) == pytest.approx((tops[1] + five) / 2)
    assert mean_per_class(scores, labels) == pytest.approx(balanced_accuracy_score(labels, scores.argmax(axis=1)))


@given(SEEDS, st.booleans())
def test_roc_auc_is_scikit_learns(seed: int, tied: bool) -> None:
    """Equal to scikit-learn's of the difference of two scores, of few values too, and of probabilities made of them."""
    scores, labels = drawn(seed, 2)
    scores = scores.round() if tied else scores
    expected = roc_auc_score(labels, scores[:, 1] - scores[:, 0])
    assert roc_auc(scores, labels) == pytest.approx(expected)
    if not tied:
        assert roc_auc(softmax(scores), labels) == pytest.approx(expected)


def test_softmax_is_scipys() -> None:
    """Probabilities are scipy's, of logits in the hundreds too."""
    logits = (np.random.default_rng(0).standard_normal((5, 7)) * 300).astype(np.float32)
    assert softmax(logits) == pytest.approx(special.softmax(logits.astype(np.float64), axis=1), rel=1e-12)


def naive_11_point(scores: NDArray[np.float64], is_own: NDArray[np.bool_]) -> float:
    """Return the 11-point average precision from its definition: every threshold, every point, no sorting."""
    curve = []
    for threshold in scores:
        found = scores >= threshold
        curve.append(((found & is_own).sum() * 10, is_own.sum(), is_own[found].mean()))
    return float(np.mean([max(p for own, all_own, p in curve if own >= point * all_own) for point in range(11)]))


@given(SEEDS, st.booleans(), st.integers(1, 4))
def test_average_precision_is_the_definitions(seed: int, tied: bool, num_classes: int) -> None:
    """Of items of several classes, some not judged, with and without ties: the mean of the naive ones.

    scikit-learn has no 11-point precision; its curve of precision and recall, read at the points, gives the same.
    """
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(30, num_classes))
    scores = scores.round() if tied else scores
    labels = rng.choice([0, 1, NOT_JUDGED], p=[0.6, 0.3, 0.1], size=(30, num_classes))
    labels[0] = 1
    naive, by_curve = [], []
    for place in range(num_classes):
        judged = labels[:, place] != NOT_JUDGED
        own = labels[judged, place] == 1
        naive.append(naive_11_point(scores[judged, place], own))
        precision, recall, _ = precision_recall_curve(own, scores[judged, place])
        precision = precision[:-1]  # the last is a point that no threshold has
        by_curve.append(np.mean([precision[recall[:-1] >= point / 10 - 1e-9].max() for point in range(11)]))
    assert map_11_point(scores, labels) == pytest.approx(np.mean(naive))
    assert map_11_point(scores, labels) == pytest.approx(np.mean(by_curve))


def test_average_precision_by_hand() -> None:
    """Own items first, third and last of five: precision 1 to recall 1/3, 2/3 to 2/3, 3/5 to 1: (4 + 3*2/3 + 4*3/5)/11.

    A class without items is left out; the class of an item stands for 1 and 0s; the order of items changes nothing.
    """
    scores = np.array([[5.0, 0], [4, 0], [3, 0], [2, 0], [1, 0]])
    labels = np.array([[1, 0], [0, 0], [1, 0], [0, 0], [1, 0]])
    expected = (4 + 3 * 2 / 3 + 4 * 3 / 5) / 11
    assert map_11_point(scores, labels) == pytest.approx(expected)
    assert map_11_point(scores[::-1], labels[::-1]) == pytest.approx(expected)
    single = np.array([0, 1, 0, 1, 0])
    assert map_11_point(scores, single) == pytest.approx(map_11_point(scores, np.eye(2, dtype=int)[single]))


def test_average_precision_needs_a_softmax() -> None:
    """An item whose scores are all higher by a constant moves the ranking of cosines, not that of probabilities."""
    scores, labels = drawn(0, 4)
    moved = scores + np.linspace(0, 9, len(scores))[:, None]
    assert map_11_point(moved, labels) != pytest.approx(map_11_point(scores, labels))
    assert map_11_point(softmax(moved), labels) == pytest.approx(map_11_point(softmax(scores), labels))


@given(SEEDS, st.sampled_from(sorted(METRICS)))
def test_metrics_are_between_none_and_all(seed: int, name: str) -> None:
    """Every metric is in [0, 1], 1 of perfect scores, and knows neither the order of items nor scale."""
    scores, labels = drawn(seed, 2 if name == "roc_auc" else 6)
    metric = METRICS[name]
    value = metric(scores, labels)
    assert 0 <= value <= 1
    assert metric(np.eye(scores.shape[1])[labels], labels) == 1
    order = np.random.default_rng(seed).permutation(len(labels))
    assert metric(scores[order], labels[order]) == pytest.approx(value)
    assert metric(3 * scores - 1, labels) == pytest.approx(value)


@pytest.mark.parametrize("name", sorted(set(METRICS) - {"map_11_point"}))
def test_guessing_scores_chance(name: str) -> None:
    """Random scores of 20,000 items score what `chance` says, within 4 deviations of 0.0035."""
    num_classes = 2 if name == "roc_auc" else 8
    rng = np.random.default_rng(1)
    scores, labels = rng.normal(size=(20_000, num_classes)), rng.integers(0, num_classes, 20_000)
    assert METRICS[name](scores, labels) == pytest.approx(chance(name, num_classes), abs=0.014)
    assert chance("map_11_point", num_classes) is None


def test_equal_scores_favour_the_first_class() -> None:
    """A model that says the same of all classes answers with the first, and ranks are in class order."""
    scores = np.zeros((4, 4), np.float32)
    labels = np.arange(4)
    assert label_ranks(scores, labels).tolist() == [1, 2, 3, 4]
    assert accuracy(scores, labels) == 0.25
    assert mean_top1_top5(scores, labels) == (0.25 + 1) / 2


def test_a_class_without_items_is_left_out() -> None:
    """The mean of the accuracies of the classes that have items (1, a half and 1), without a warning."""
    scores = np.eye(4)[[0, 0, 1, 3]]
    labels = np.array([0, 1, 1, 3])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert mean_per_class(scores, labels) == pytest.approx(2.5 / 3)


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        (np.zeros((2, 3)), np.array([0, 3]), "labels: expected 0 to 2, found 3 at item 1"),
        (np.zeros((2, 3)), np.array([-1, 0]), "labels: expected 0 to 2, found -1 at item 0; leave out items without"),
        (np.zeros((2, 3)), np.zeros((2, 3), int), "expected one class an item, found several"),
        (np.zeros((2, 3)), np.array([0]), r"expected a row for each of 1 labels, one at least, found the shape \(2, 3"),
        (np.zeros((0, 3)), np.zeros(0, int), "one at least"),
        (np.array([[0, np.nan]]), np.array([0]), "expected finite numbers, found nan at item 0, class 1"),
    ],
)
def test_what_is_no_score_or_label(scores: NDArray[np.float64], labels: NDArray[np.int64], message: str) -> None:
    """Labels out of range, other numbers of items, NaN, nothing: one clear line, from every metric that takes them."""
    for metric in (accuracy, mean_per_class, mean_top1_top5, roc_auc):
        with pytest.raises(InputError, match=message):
            metric(scores, labels)


def test_what_a_metric_cannot_score() -> None:
    """ROC AUC of three classes or of one that has no items, precision where nothing is to be found: one clear line."""
    scores, labels = drawn(0, 3)
    with pytest.raises(InputError, match="expected two classes with items of both, found 3 classes, 3 with items"):
        roc_auc(scores, labels)
    with pytest.raises(InputError, match="found 2 classes, 1 with items"):
        roc_auc(scores[:, :2], np.zeros(60, int))
    with pytest.raises(InputError, match="expected items of one class at least, found none"):
        map_11_point(scores, np.zeros((60, 3), int))
    with pytest.raises(InputError, match=r"expected 0, 1 or -1 for each of 3 classes, found 0 to 2 of the shape"):
        map_11_point(scores, np.full((60, 3), 2) - np.eye(60, 3, dtype=int) * 2)
