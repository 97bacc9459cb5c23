"""What an evaluation scores by: the metrics of the paper's Table 9, each a number in [0, 1].

A metric takes scores (N, C), of which only the order matters and the largest is the answer, and labels: the class of
each item (N,), or for an item of several classes 0 and 1 for each (N, C). Of equal scores the first class is better.

Shapes: N items, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from wit.errors import InputError

Scores = NDArray[np.floating[Any]]
Labels = NDArray[np.integer[Any]]
Ranks = NDArray[np.int64]
Metric = Callable[[Scores, Labels], float]

NOT_JUDGED: Final = -1
"""In labels of several classes: an item that neither counts for a class nor against it, VOC's "difficult"."""

RECALLS: Final = np.linspace(0, 1, 11)
"""The 11 points: 0, 0.1 ... 1."""


def accuracy(scores: Scores, labels: Labels) -> float:
    """Return the share of items whose best class is their own."""
    return _share(label_ranks(scores, labels), labels)


def mean_top1_top5(scores: Scores, labels: Labels) -> float:
    """Return the mean of top-1 and top-5 accuracy, as Kinetics is scored (Table 9)."""
    return _half_shares(label_ranks(scores, labels), labels)


def top_k(scores: Scores, labels: Labels, k: int) -> float:
    """Return the share of items whose own class is among the k best; a k beyond the classes is all of them."""
    return float((label_ranks(scores, labels) <= k).mean())


def label_ranks(scores: Scores, labels: Labels) -> Ranks:
    """Return the place of each item's own class (N,), 1 the best: one and the classes above it, or equal and before."""
    _require_single(scores, labels)
    own_N1 = np.take_along_axis(scores, labels[:, None], axis=1)
    before_NC = np.arange(scores.shape[1]) < labels[:, None]
    ranks: Ranks = 1 + ((scores > own_N1) | ((scores == own_N1) & before_NC)).sum(axis=1)
    return ranks


def mean_per_class(scores: Scores, labels: Labels) -> float:
    """Return the mean of the classes' accuracies, those without items left out (scikit-learn: balanced accuracy)."""
    return _mean_share(label_ranks(scores, labels), labels)


def _share(ranks: Ranks, labels: Labels) -> float:
    return float((ranks == 1).mean())


def _half_shares(ranks: Ranks, labels: Labels) -> float:
    return float((ranks == 1).mean() + (ranks <= 5).mean()) / 2


def _class_shares(ranks: Ranks, labels: Labels, num_classes: int) -> NDArray[np.float64]:
    counts_C = np.bincount(labels, minlength=num_classes)
    hits_C = np.bincount(labels, weights=ranks == 1, minlength=num_classes)
    return np.where(counts_C > 0, hits_C / np.maximum(counts_C, 1), np.nan)


def _mean_share(ranks: Ranks, labels: Labels) -> float:
    return float(np.nanmean(_class_shares(ranks, labels, int(labels.max()) + 1)))


OF_RANKS: Final[dict[Metric, Callable[[Ranks, Labels], float]]] = {
    accuracy: _share,
    mean_per_class: _mean_share,
    mean_top1_top5: _half_shares,
}
"""The metrics that `label_ranks` decides, as functions of those and of labels."""


def map_11_point(scores: Scores, labels: Labels) -> float:
    """Return the mean over classes of the 11-point average precision, as PASCAL VOC 2007 is scored.

    Classes without items are left out. Raises InputError when no class has any.
    """
    found_C = average_precisions(scores, labels)
    if np.isnan(found_C).all():
        raise InputError("labels: expected items of one class at least, found none; 1 marks the classes of an item")
    return float(np.nanmean(found_C))


def average_precisions(scores: Scores, labels: Labels) -> NDArray[np.float64]:
    """Return the 11-point average precision of each class (C,); NaN for a class without items.

    Everingham et al., IJCV 88 (2010), section 4.2: the mean of the best precision at recall >= 0, 0.1 ... 1. Items are
    ranked within each class, so what is added to all scores of an item matters: give probabilities (`softmax`), not
    cosines. Items of equal score come together, whatever their order. Items that are NOT_JUDGED are left out.
    """
    hot_NC = multi_hot(scores, labels)
    return np.array(
        [
            _average_precision(score_N[hot_N != NOT_JUDGED], hot_N[hot_N != NOT_JUDGED] == 1)
            if (hot_N == 1).any()
            else np.nan
            for score_N, hot_N in zip(scores.T, hot_NC.T, strict=True)
        ]
    )


def _average_precision(score_N: Scores, is_own_N: NDArray[np.bool_]) -> float:
    order = np.argsort(-score_N, kind="stable")
    last = np.append(np.flatnonzero(np.diff(score_N[order])), len(order) - 1)  # of the items of each score
    found = np.cumsum(is_own_N[order])[last]
    precision, recall = found / (last + 1), found / found[-1]
    best = np.maximum.accumulate(precision[::-1])[::-1]  # at this recall or more: recall never falls
    return float(best[np.searchsorted(recall, RECALLS - 1e-12)].mean())  # 0.1 + 0.2 is not 0.3


def roc_auc(scores: Scores, labels: Labels) -> float:
    """Return the area under the ROC curve of two classes, the second being what is looked for (Hateful Memes).

    The share of pairs, one item of each class, in which the item of the second class has the larger difference of the
    second score and the first; equal ones count half (Mann and Whitney, 1947). Raises InputError for other than two
    classes, or when one has no items.
    """
    from scipy.stats import rankdata

    _require_single(scores, labels)
    num_found = int(labels.sum())
    num_others = len(labels) - num_found
    if scores.shape[1] != 2 or not num_found or not num_others:
        raise InputError(
            f"roc_auc: expected two classes with items of both, found {scores.shape[1]} classes, "
            f"{len(np.unique(labels))} with items"
        )
    ranks_N = rankdata(scores[:, 1].astype(np.float64) - scores[:, 0])
    above = float(ranks_N[labels == 1].sum()) - num_found * (num_found + 1) / 2
    return above / (num_found * num_others)


METRICS: Final[dict[str, Metric]] = {
    "accuracy": accuracy,
    "mean_per_class": mean_per_class,
    "map_11_point": map_11_point,
    "roc_auc": roc_auc,
    "mean_top1_top5": mean_top1_top5,
}


def chance(metric: str, num_classes: int) -> float | None:
    """Return what guessing scores on average, each class equally often; None for map_11_point: the set decides."""
    return {
        "accuracy": 1 / num_classes,
        "mean_per_class": 1 / num_classes,
        "map_11_point": None,
        "roc_auc": 0.5,
        "mean_top1_top5": (1 + min(5, num_classes)) / 2 / num_classes,
    }[metric]


def score_blocks(metric: Metric, blocks: Iterable[Scores], labels: Labels) -> float:
    """Return a metric of scores that come some items at a time; where ranks decide, these alone are kept."""
    if metric not in OF_RANKS:
        return metric(np.concatenate(list(blocks)), labels)
    ranks, start = [], 0
    for scores in blocks:
        ranks.append(label_ranks(scores, labels[start : start + len(scores)]))
        start += len(scores)
    return OF_RANKS[metric](np.concatenate(ranks), labels)


def softmax(scores: Scores) -> NDArray[np.float64]:
    """Return logits (N, C) as probabilities of each item's classes."""
    shares: NDArray[np.float64] = np.exp(scores - scores.max(axis=1, keepdims=True), dtype=np.float64)
    shares /= shares.sum(axis=1, keepdims=True)
    return shares


def _require_single(scores: Scores, labels: Labels) -> None:
    """Raise InputError unless each item has scores that are numbers, and one label of their classes."""
    _require_scores(scores, labels)
    if labels.ndim != 1:
        raise InputError("labels: expected one class an item, found several; this metric is not for those")
    wrong = np.flatnonzero((labels < 0) | (labels >= scores.shape[1]))
    if len(wrong):
        raise InputError(
            f"labels: expected 0 to {scores.shape[1] - 1}, found {labels[wrong[0]]} at item {wrong[0]}; "
            "leave out items without a label"
        )


def _require_scores(scores: Scores, labels: Labels) -> None:
    if scores.ndim != 2 or not scores.size or len(scores) != len(labels):
        raise InputError(
            f"scores: expected a row for each of {len(labels)} labels, one at least, found the shape {scores.shape}"
        )
    is_number = np.isfinite(scores)
    if not is_number.all():
        item, place = np.argwhere(~is_number)[0]
        raise InputError(f"scores: expected finite numbers, found {scores[item, place]} at item {item}, class {place}")


def multi_hot(scores: Scores, labels: Labels) -> Labels:
    """Return labels of several classes (N, C), from either form; raises InputError for what is neither."""
    if labels.ndim == 1:
        _require_single(scores, labels)
        hot_NC: Labels = (np.arange(scores.shape[1]) == labels[:, None]).astype(np.int64)
        return hot_NC
    _require_scores(scores, labels)
    if labels.shape != scores.shape or not np.isin(labels, (0, 1, NOT_JUDGED)).all():
        raise InputError(
            f"labels: expected 0, 1 or {NOT_JUDGED} for each of {scores.shape[1]} classes, found {_range(labels)} of "
            f"the shape {labels.shape}"
        )
    return labels


def _range(labels: Labels) -> str:
    return f"{labels.min()} to {labels.max()}" if labels.size else "nothing"
