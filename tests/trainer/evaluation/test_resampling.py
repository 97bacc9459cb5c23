from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.trainer.evaluation.test_metrics import drawn
from trainer.evaluation import resampling
from trainer.evaluation.metrics import (
    METRICS,
    NOT_JUDGED,
    Metric,
    accuracy,
    map_11_point,
    mean_top1_top5,
    roc_auc,
)
from trainer.evaluation.resampling import bootstrap_interval, draw_counts, mean_per_class_interval, redrawn, resample
from wit.statistics import clopper_pearson

SEEDS = st.integers(0, 1 << 30)


def naive(metric: Metric, scores: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the metric of the items of 20 draws, each written out as often as it comes."""
    counts_RN = np.concatenate(list(draw_counts(labels, 20)))
    rows = [np.repeat(np.arange(len(labels)), counts_N) for counts_N in counts_RN]
    return np.array([metric(scores[each], labels[each]) for each in rows])


@given(SEEDS, st.sampled_from(sorted(METRICS)), st.booleans())
def test_draws_are_worth_what_their_items_are(seed: int, name: str, tied: bool) -> None:
    """Every metric of every draw is that of the drawn items written out, with ties, and a class without items."""
    scores, labels = drawn(seed, 2 if name == "roc_auc" else 7)
    scores = scores.round() if tied else scores
    if name != "roc_auc":
        labels = np.where(labels == 3, 0, labels)
    found = resample(redrawn(METRICS[name], scores, labels), labels, 20)
    np.testing.assert_allclose(found, naive(METRICS[name], scores, labels), atol=1e-12)


@given(SEEDS, st.booleans())
def test_draws_of_several_labels_are_worth_what_their_items_are(seed: int, tied: bool) -> None:
    """11-point precision, some items not judged, a class of one item that a draw may miss: as written out."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(40, 4))
    scores = scores.round() if tied else scores
    labels = rng.choice([0, 1, NOT_JUDGED], p=[0.6, 0.3, 0.1], size=(40, 4))
    labels[:, 3] = np.arange(40) == 5
    found = resample(redrawn(map_11_point, scores, labels), labels, 20)
    np.testing.assert_allclose(found, naive(map_11_point, scores, labels), atol=1e-12)


def test_a_metric_of_ones_own_is_resampled() -> None:
    """Any function of scores and labels will do."""
    scores, labels = drawn(0, 4)
    own = resample(redrawn(lambda some, those: accuracy(some, those), scores, labels), labels, 20)
    np.testing.assert_allclose(own, naive(accuracy, scores, labels))


@given(SEEDS, st.integers(1, 50))
def test_draws_keep_the_size_of_classes(seed: int, num_classes: int) -> None:
    """Each draw has as many items of each class of two or more as there are, and as many in all."""
    labels = np.random.default_rng(seed).integers(0, num_classes, 70)
    sizes = np.bincount(labels, minlength=num_classes)
    for counts_RN in draw_counts(labels, 3):
        for counts_N in counts_RN:
            assert counts_N.sum() == 70
            drawn_sizes = np.bincount(labels, counts_N, num_classes)
            np.testing.assert_array_equal(drawn_sizes[sizes > 1], sizes[sizes > 1])
    (several,) = draw_counts(np.zeros((70, 2), np.int64), 3)
    assert several.sum(axis=1).tolist() == [70] * 3


@pytest.mark.parametrize("size", [2, 3, 8])
def test_draws_of_few_items_a_class_vary_as_samples_do(size: int) -> None:
    """The mean per class of 60 classes of few items: the draws' variance is s^2 / n a class, not (n - 1) / n of that.

    4,000 draws know a variance to 2.2 % (the root of 2 / 4,000); 8 % are allowed, where 50, 33 and 12.5 would be off.
    """
    labels = np.repeat(np.arange(60), size)
    is_right = np.random.default_rng(size).random(60 * size) < 0.6
    scores = np.zeros((60 * size, 60))
    scores[np.arange(60 * size), np.where(is_right, labels, (labels + 1) % 60)] = 1
    values = resample(redrawn(METRICS["mean_per_class"], scores, labels), labels, 4000)
    variances = is_right.reshape(60, size).var(axis=1, ddof=1)
    assert values.var() == pytest.approx((variances / size).sum() / 60**2, rel=0.08)
    assert values.mean() == pytest.approx(is_right.mean(), abs=0.005)


def right(is_right: NDArray[np.bool_], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Scores by which these items are right."""
    return np.eye(labels.max() + 1)[np.where(is_right, labels, (labels + 1) % (labels.max() + 1))]


def test_mean_per_class_is_a_share_where_classes_tell_no_more() -> None:
    """One item a class, or classes all right or all wrong, which no draw of items changes: Clopper-Pearson's interval
    of as many items."""
    one, five = np.arange(100), np.repeat(np.arange(20), 5)
    assert mean_per_class_interval(right(one < 60, one), one) == pytest.approx(clopper_pearson(60, 100, 0.95))
    assert mean_per_class_interval(right(five < 5, five), five) == pytest.approx(clopper_pearson(25, 100, 0.95))
    assert mean_per_class_interval(right(five >= 0, five), five) == pytest.approx(clopper_pearson(100, 100, 0.95))


@pytest.mark.parametrize(("share", "size"), [(0.5, 3), (0.99, 2), (0.87, 50)])
def test_intervals_of_mean_per_class_cover_it(share: float, size: int) -> None:
    """Of 200 samples of 40 classes 95 % cover the truth: fewer than 180 with probability 0.002.

    A bootstrap covers 0.99 of two items a class in three of four.
    """
    labels = np.repeat(np.arange(40), size)
    covered = 0
    for seed in range(200):
        low, high = mean_per_class_interval(
            right(np.random.default_rng(seed).random(len(labels)) < share, labels), labels
        )
        covered += low <= share <= high
    assert covered >= 180


def test_draws_that_are_all_alike_have_an_interval() -> None:
    """Items that are ranked without a mistake: not 1 to 1, but as 20 of 20."""
    labels = np.arange(20) % 2
    scores = np.stack([np.full(20, 0.5), labels + np.arange(20) / 100], axis=1)
    scores[:, 0] = 1 - scores[:, 1]
    for metric in (roc_auc, mean_top1_top5, map_11_point):
        assert bootstrap_interval(metric, scores, labels) == pytest.approx(clopper_pearson(20, 20, 0.95))


def test_intervals_of_precision_take_out_what_draws_put_in() -> None:
    """20 classes, 2,000 items: 11-point precision is above its truth in a sample, and in draws of that once more.

    So of 40 intervals 10 are wholly above the truth (the sample's own part); of percentiles as they are 21 would be.
    """
    truth = 0.8178  # of three times 200,000 items and two classes
    above = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        labels = (rng.random((2_000, 20)) < 0.05).astype(np.int64)
        scores = rng.normal(size=(2_000, 20)) + 3 * labels
        above += bootstrap_interval(map_11_point, scores, labels, num_resamples=60)[0] > truth
    assert above <= 14


def test_blocks_of_draws_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draws that come one at a time are the same."""
    scores, labels = drawn(1, 4)
    whole = resample(redrawn(map_11_point, scores, labels), labels, 7)
    monkeypatch.setattr(resampling, "_BLOCK_COUNTS", 1)
    np.testing.assert_array_equal(resample(redrawn(map_11_point, scores, labels), labels, 7), whole)


def test_a_draw_without_any_class_is_left_out() -> None:
    """One item has a class at all: draws that miss it say nothing, the others 1 / its place."""
    scores = np.array([[1.0], [2.0], [3.0]])
    labels = np.array([[0], [0], [1]])
    values = resample(redrawn(map_11_point, scores, labels), labels, 200)
    assert 0.2 < np.isnan(values).mean() < 0.4  # (2/3)^3 = 0.30
    assert bootstrap_interval(map_11_point, scores, labels) == clopper_pearson(3, 3, 0.95)


def test_large_sets_take_little_memory() -> None:
    """1,000 draws of as many items as ImageNet has, 50,000, within 100 MB: all of them would be 200."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, 50_000)
    scores = rng.normal(size=(50_000, 10)).astype(np.float32)
    tracemalloc.start()
    low, high = bootstrap_interval(mean_top1_top5, scores, labels)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert low < mean_top1_top5(scores, labels) < high
    assert peak < 100 << 20


def test_bootstrap_interval_covers_the_truth() -> None:
    """Of 60 samples of 200 items whose area is known (0.76 of unit normals a deviation apart), about 95 % cover it.

    60 trials at 0.95: at least 52 with probability 0.997. The same call gives the same interval.
    """
    truth = 0.76025  # P(X < Y), Y one above X: the normal distribution function at 1 / sqrt(2)
    labels = np.arange(200) % 2
    covered = 0
    for seed in range(60):
        second = np.random.default_rng(seed).normal(size=200) + labels
        scores = np.stack([np.zeros(200), second], axis=1)
        low, high = bootstrap_interval(roc_auc, scores, labels, num_resamples=100)
        covered += low <= truth <= high
    assert covered >= 52
    assert (low, high) == bootstrap_interval(roc_auc, scores, labels, num_resamples=100)
