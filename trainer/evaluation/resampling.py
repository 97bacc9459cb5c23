"""Intervals of metrics, most by the bootstrap: items are drawn anew, as how often each comes, no score is read twice.

Of a draw only the counts of the items matter. A mean is a sum of counts times what an item adds; a ranking is sorted
once, and then read by the counts of many draws at a time. What comes out is the metric of the drawn items themselves.

Items with one label are drawn within their class, so that each draw has all classes (Efron and Tibshirani, An
Introduction to the Bootstrap, 1993, chapter 13, strata as in 8.4); those with several from all. Draws within a class
of n vary by (n - 1) / n of what its mean does, two thirds of it where n is 3 (Rao and Wu, JASA 83 (1988), section 1);
so one item of a draw is at times a second copy of another, just often enough. Classes of one item each, which alone
would not vary at all, are drawn from together: that is rather too much (collapsed strata; Cochran, Sampling Techniques,
1977, section 5A.12).

Shapes: N items, C classes, R draws.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainer.evaluation.metrics import (
    NOT_JUDGED,
    OF_RANKS,
    RECALLS,
    Labels,
    Metric,
    Ranks,
    Scores,
    label_ranks,
    map_11_point,
    mean_per_class,
    mean_top1_top5,
    multi_hot,
    roc_auc,
)
from wit.statistics import clopper_pearson

Counts = NDArray[np.int32]
Redraw = Callable[[Counts], NDArray[np.float64]]
"""From how often each item comes in each draw (R, N) to the metric of each draw (R,)."""

_BLOCK_COUNTS: Final = 1 << 22
"""Of draws times items that are in memory at once, 16 MB: rankings are sorted anew for each block."""


def bootstrap_interval(
    metric: Metric, scores: Scores, labels: Labels, confidence: float = 0.95, num_resamples: int = 1000
) -> tuple[float, float]:
    """Return the interval (low, high) of a metric, with items drawn anew; the same call gives the same.

    Percentiles of the draws; those of which the metric says nothing, as none of their items has a class, are left out.
    11-point precision is above the truth in a sample, and of its draws, which have items twice, above that again: there
    the percentiles are turned over about the value (the basic interval; Davison and Hinkley, Bootstrap Methods, 1997,
    section 5.2), which takes out as much as the draws put in. Where all draws are alike, as when all items are right,
    they say nothing: there it is Clopper-Pearson's, the value taken for a share of the items.
    """
    values = resample(redrawn(metric, scores, labels), labels, num_resamples)
    low, high = np.nanquantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    value = metric(scores, labels)
    if high - low < 1e-12:  # sums are rounded
        return clopper_pearson(value * len(labels), len(labels), confidence)
    if metric is map_11_point:
        low, high = max(0.0, 2 * value - high), min(1.0, 2 * value - low)
    return float(low), float(high)


def mean_per_class_interval(scores: Scores, labels: Labels, confidence: float = 0.95) -> tuple[float, float]:
    """Return the interval (low, high) of the mean per class: Clopper-Pearson's of as many items as it is worth.

    Korn and Graubard, Survey Methodology 24 (1998): of v (1 - v) / variance items, at most of those that there are. So
    it has a length where each class is all right or all wrong, of which a bootstrap knows nothing. The variance is that
    within classes; a class of one item is taken to vary as much as all together would.
    """
    ranks = label_ranks(scores, labels)
    sizes_C = np.bincount(labels)
    share_C = np.bincount(labels, ranks == 1)[sizes_C > 0] / sizes_C[sizes_C > 0]
    size_C = sizes_C[sizes_C > 0]
    value = float(share_C.mean())
    within_C = np.where(size_C > 1, share_C * (1 - share_C) / np.maximum(size_C - 1, 1), value * (1 - value))
    variance = float(within_C.sum()) / len(size_C) ** 2
    worth = min(len(labels), value * (1 - value) / variance) if variance else len(labels)
    return clopper_pearson(value * worth, worth, confidence)


def resample(redraw: Redraw, labels: Labels, num_resamples: int) -> NDArray[np.float64]:
    """Return the metric of each draw, (num_resamples,)."""
    return np.concatenate([redraw(counts_RN) for counts_RN in draw_counts(labels, num_resamples)])


def draw_counts(labels: Labels, num_resamples: int) -> Iterator[Counts]:
    """Yield how often each item comes in each draw, (R, N), some draws at a time; always the same."""
    rng = np.random.default_rng(0)
    num_items = len(labels)
    strata = _Strata.of(labels)
    height = max(1, _BLOCK_COUNTS // num_items)
    for start in range(0, num_resamples, height):
        counts_RN = np.empty((min(height, num_resamples - start), num_items), np.int32)
        for row_N in counts_RN:
            row_N[strata.order_N] = np.bincount(strata.draw(rng), minlength=num_items)
        yield counts_RN


class _Strata(NamedTuple):
    """Items in the order of what they are drawn within."""

    order_N: NDArray[np.int64]
    first_N: NDArray[np.int64]
    """Place in that order of the first of an item's own."""
    size_N: NDArray[np.int64]

    @staticmethod
    def of(labels: Labels) -> _Strata:
        stratum_N = labels if labels.ndim == 1 else np.zeros(len(labels), np.int64)
        _, own_N, counts = np.unique(stratum_N, return_inverse=True, return_counts=True)
        stratum_N = np.where(counts[own_N] == 1, -1, stratum_N)  # those of one item together
        sizes = np.unique(stratum_N, return_counts=True)[1]
        first_N = np.repeat(np.cumsum(sizes) - sizes, sizes)
        return _Strata(np.argsort(stratum_N, kind="stable"), first_N, np.repeat(sizes, sizes))

    def draw(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """Return N places, as many of each stratum as it has items.

        Of n items the last is a copy of another with probability n / (2 (n - 1)): the mean of the draw then varies by
        (n + 2 n / (2 (n - 1))) / n^2 = 1 / (n - 1) of the variance within, as that of a sample does.
        """
        drawn_N = self.first_N + (rng.random(len(self.order_N)) * self.size_N).astype(np.int64)
        last = np.flatnonzero(np.diff(self.first_N, append=-1))
        last = last[self.size_N[last] > 1]
        size = self.size_N[last]
        other = self.first_N[last] + (rng.random(len(last)) * (size - 1)).astype(np.int64)
        is_copy = rng.random(len(last)) < size / (2 * (size - 1))
        drawn_N[last[is_copy]] = drawn_N[other[is_copy]]
        return drawn_N


def redrawn(metric: Metric, scores: Scores, labels: Labels) -> Redraw:
    """Return what scores the draws of items by a metric; it holds a number an item, or the scores of a ranking."""
    if metric in OF_RANKS:
        return partial(_redraw_sum, _added(metric, label_ranks(scores, labels), labels))
    if metric is roc_auc:
        return _redrawn_auc(scores, labels)
    if metric is map_11_point:
        return partial(_redraw_map, scores, multi_hot(scores, labels))
    return partial(_redraw_any, metric, scores, labels)


def _redraw_any(metric: Metric, scores: Scores, labels: Labels, counts_RN: Counts) -> NDArray[np.float64]:
    rows = [np.repeat(np.arange(len(labels)), counts_N) for counts_N in counts_RN]
    return np.array([metric(scores[each], labels[each]) for each in rows])


def _redraw_sum(added_N: NDArray[np.float64], counts_RN: Counts) -> NDArray[np.float64]:
    total_R: NDArray[np.float64] = counts_RN @ added_N
    return total_R


def _added(metric: Metric, ranks: Ranks, labels: Labels) -> NDArray[np.float64]:
    """Return what each item, as often as it comes, adds to a metric (N,): of each class all draws have as many."""
    share_N = np.full(len(labels), 1 / len(labels))
    if metric is mean_per_class:
        sizes_C = np.bincount(labels)
        share_N = 1 / sizes_C[labels] / np.count_nonzero(sizes_C)
    credit_N = (ranks == 1).astype(np.float64)
    if metric is mean_top1_top5:
        credit_N = (credit_N + (ranks <= 5)) / 2
    added_N: NDArray[np.float64] = credit_N * share_N
    return added_N


def _redrawn_auc(scores: Scores, labels: Labels) -> Redraw:
    """Return what gives the area of draws: the share of pairs, of which those before in order are cumulated."""
    roc_auc(scores, labels)  # raises what is not two classes
    score_N = scores[:, 1].astype(np.float64) - scores[:, 0]
    order_N = np.argsort(score_N, kind="stable")
    starts = np.flatnonzero(np.diff(score_N[order_N], prepend=-np.inf))
    is_found_N = labels[order_N] == 1
    num_pairs = int(is_found_N.sum()) * int((~is_found_N).sum())  # the same in all draws, as of each class are as many

    def redraw(counts_RN: Counts) -> NDArray[np.float64]:
        sorted_RN = counts_RN[:, order_N].astype(np.float64)
        found_RG = np.add.reduceat(sorted_RN * is_found_N, starts, axis=1)
        others_RG = np.add.reduceat(sorted_RN * ~is_found_N, starts, axis=1)
        below_RG = others_RG.cumsum(axis=1) - others_RG / 2
        above_R: NDArray[np.float64] = (found_RG * below_RG).sum(axis=1)
        return above_R / num_pairs

    return redraw


def _redraw_map(scores: Scores, hot_NC: Labels, counts_RN: Counts) -> NDArray[np.float64]:
    """Return the mean over the classes that a draw has items of; NaN where it has none."""
    total_R, num_R = np.zeros(len(counts_RN)), np.zeros(len(counts_RN))
    for score_N, hot_N in zip(scores.T, hot_NC.T, strict=True):
        rows = np.flatnonzero(hot_N != NOT_JUDGED)
        rows = rows[np.argsort(-score_N[rows], kind="stable")]
        if (hot_N[rows] == 1).any():
            value_R = _redraw_precision(counts_RN, rows, score_N[rows], hot_N[rows] == 1)
            has_R = ~np.isnan(value_R)
            total_R[has_R] += value_R[has_R]
            num_R += has_R
    with np.errstate(invalid="ignore"):
        mean_R: NDArray[np.float64] = total_R / num_R
    return mean_R


def _redraw_precision(
    counts_RN: Counts, rows: NDArray[np.int64], ranked: Scores, is_own: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return the 11-point average precision of draws; `rows` are the items in order of their scores `ranked`.

    Only scores that an item of the class has are looked at: of others the precision is less, the recall the same.
    """
    group = np.cumsum(np.diff(ranked, prepend=np.inf) != 0) - 1
    own_group, own_start = np.unique(group[is_own], return_index=True)
    found = np.add.reduceat(counts_RN[:, rows[is_own]], own_start, axis=1).cumsum(axis=1)
    ends = np.searchsorted(group, own_group, side="right")  # items from the first to the last of each such score
    starts = np.concatenate([[0], ends[:-1]])
    seen = np.add.reduceat(counts_RN[:, rows[: ends[-1]]], starts, axis=1).cumsum(axis=1)
    precision = found / np.maximum(seen, 1)
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    num_own_R1 = found[:, -1:]
    needed = [(found < (point - 1e-12) * num_own_R1).sum(axis=1) for point in RECALLS]
    value_R: NDArray[np.float64] = np.take_along_axis(best, np.stack(needed, axis=1), axis=1).mean(axis=1)
    return np.where(num_own_R1[:, 0] > 0, value_R, np.nan)
