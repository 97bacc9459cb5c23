from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit
from scipy.special import logit as scipy_logit
from scipy.stats import linregress

from trainer.evaluation.metrics import accuracy
from trainer.evaluation.robustness import (
    VideoAccuracy,
    fit_standard,
    from_logits,
    group_hits,
    logit,
    near_frames,
    pool_scores,
    video_accuracy,
)
from wit.errors import InputError

SHARES = st.floats(0.02, 0.98)
SEEDS = st.integers(0, 1 << 30)


@given(SEEDS)
def test_expected_accuracy_is_scipys(seed: int) -> None:
    """The line is scipy's of scipy's logits, inverted."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(0.4, 0.9, 20)
    y = expit(0.9 * scipy_logit(x) - 1 + rng.normal(0, 0.2, 20))
    found, expected = fit_standard(x.tolist(), y.tolist(), 10), linregress(scipy_logit(x), scipy_logit(y))
    assert found.expected(0.7) == pytest.approx(expit(expected.slope * scipy_logit(0.7) + expected.intercept))


@given(SHARES, SHARES, SHARES)
def test_planted_robustness_is_found(on_imagenet: float, lift: float, other: float) -> None:
    """A model on the line has none, one above it what it is above; as good under a shift, all of the gap is closed."""
    xs = [0.3, 0.5, 0.7, 0.9]
    line = fit_standard(xs, [float(expit(0.8 * scipy_logit(x) - 1.2)) for x in xs], 20)
    expected = float(expit(0.8 * scipy_logit(on_imagenet) - 1.2))
    assert line.effective_robustness(on_imagenet, expected) == pytest.approx(0, abs=1e-9)
    assert line.effective_robustness(on_imagenet, expected + lift) == pytest.approx(lift)
    assert line.effective_interval(on_imagenet, expected + lift) == pytest.approx((lift, lift))
    assert (line.effective_robustness(on_imagenet, lift) < line.effective_robustness(on_imagenet, other)) == (
        lift < other
    )
    if abs(on_imagenet - expected) > 0.01:
        assert line.gap_closed(on_imagenet, on_imagenet) == pytest.approx(1)
        assert line.gap_closed(on_imagenet, expected) == pytest.approx(0, abs=1e-6)


def test_bands_of_the_figure() -> None:
    """The band is around what is expected, in [0, 1], wider far from the models, and the same when asked again."""
    rng = np.random.default_rng(0)
    x = rng.uniform(0.6, 0.8, 30)
    y = expit(scipy_logit(x) - 0.8 + rng.normal(0, 0.2, 30))
    line = fit_standard(x.tolist(), y.tolist())
    low, high = line.band([0.2, 0.7, 0.99])
    expected = [line.expected(each) for each in (0.2, 0.7, 0.99)]
    assert ((low > 0) & (low < expected) & (expected < high) & (high < 1)).all()
    assert high[0] - low[0] > 2 * (high[1] - low[1])
    again = fit_standard(x.tolist(), y.tolist()).band([0.2, 0.7, 0.99])
    assert np.array_equal([low, high], again)
    below, above = line.effective_interval(0.7, 0.9)
    assert below < line.effective_robustness(0.7, 0.9) < above


def test_accuracies_without_a_logit() -> None:
    """Nothing right and all right have no place on the line: one clear line; what has one is log(p / (1 - p))."""
    assert logit(0.75) == pytest.approx(np.log(3))
    for share in (0.0, 1.0, 76.2, float("nan")):
        with pytest.raises(InputError, match=f"expected a share above 0 and below 1, found {share:g}"):
            fit_standard([0.5, share], [0.5, 0.6])


def test_steep_lines_have_ends() -> None:
    """A line through models that are all but alike on ImageNet goes to 0 and 1, without a warning of numbers."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert from_logits(np.array([-2_000.0, 0.0, 2_000.0])).tolist() == [0, 0.5, 1]
        standard = fit_standard([0.5, 0.500001, 0.500002], [0.5, 0.49, 0.51])
        low, high = standard.band([0.1, 0.9])
    assert ((low >= 0) & (low <= high) & (high <= 1)).all()


@given(SEEDS)
def test_groups_are_naive_ones(seed: int) -> None:
    """Of the items of some classes, the best class of those alone: right where it is in the item's own group.

    Groups of one class are the plain accuracy on a subset of the classes, of all classes that of all.
    """
    rng = np.random.default_rng(seed)
    scores, labels = rng.normal(size=(40, 6)), rng.permutation(np.arange(40) % 6)
    first, second, third = rng.permutation(6)[:3].tolist()
    for groups in ([[first], [second], [third]], [[first, second], [third]]):
        classes = [place for group in groups for place in group]
        best = [max(classes, key=lambda place: row[place]) for row in scores]
        naive = [
            any(answer in group and label in group for group in groups)
            for answer, label in zip(best, labels, strict=True)
            if label in classes
        ]
        assert group_hits(scores, labels, groups).tolist() == naive
    assert group_hits(scores, labels, [[place] for place in range(6)]).mean() == accuracy(scores, labels)


def test_pooled_classes() -> None:
    """The score of a group is its best class's, by hand; groups of one change nothing."""
    scores = np.array([[1.0, 5, 2, 0], [9, 0, 3, 4]])
    assert pool_scores(scores, [[0, 2], [3, 1]]).tolist() == [[2, 5], [9, 4]]
    assert np.array_equal(pool_scores(scores, [[0], [1], [2], [3]]), scores)
    for groups, message in (
        ([[0], []], "found an empty one"),
        ([], "found an empty one"),
        ([[0, 4]], "expected 0 to 3, found 4"),
        ([[0, 1], [1]], "expected each once, found 1 twice"),
    ):
        with pytest.raises(InputError, match=message):
            pool_scores(scores, groups)
    with pytest.raises(InputError, match="expected items of 2 classes, found none"):
        group_hits(scores, np.array([0, 0]), [[1], [2]])


@given(SEEDS, st.integers(0, 4))
def test_video_accuracy_is_the_naive_one(seed: int, k: int) -> None:
    """Every anchor beside every frame of its video: pm-k needs all within k; pm-0 is accuracy, pm-k never above it."""
    rng = np.random.default_rng(seed)
    videos = rng.choice(["a", "b"], 30).tolist()
    frames, is_right = rng.integers(0, 20, 30), rng.random(30) < 0.8
    anchors = rng.permutation(30)[:6].tolist()
    found = video_accuracy(is_right, near_frames(frames, videos, anchors, k))
    steady = [
        all(is_right[row] for row in range(30) if videos[row] == videos[one] and abs(frames[row] - frames[one]) <= k)
        for one in anchors
    ]
    assert (found.pm0, found.pm_k) == pytest.approx((np.mean(is_right[anchors]), np.mean(steady)))
    assert found.pm_k <= found.mean <= found.pm0
    low, high = found.interval(0.995)
    assert 0 <= low <= found.mean <= high <= 1
    with pytest.raises(InputError, match="anchors: expected one frame at least, found none"):
        video_accuracy(is_right, {})


def test_the_interval_of_a_mean_of_shares_holds() -> None:
    """Of 400 drawn sets of 60 anchors with a known mean, the interval at 90 % has it in 90 % at least."""
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(400):
        right = rng.random(60) < 0.8
        steady = right & (rng.random(60) < 0.75)
        low, high = VideoAccuracy(60, int(right.sum()), int(steady.sum())).interval(0.9)
        held += low <= (0.8 + 0.8 * 0.75) / 2 <= high
    assert held >= 360
