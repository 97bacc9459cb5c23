"""Robustness to natural distribution shift: the seven sets of the paper's section 3.3 beside ImageNet.

Accuracies are shares of 1. Over models that are trained on ImageNet, the logit of the accuracy under a shift is a line
of the logit of that on ImageNet (Taori et al., "Measuring robustness to natural distribution shifts", 2020): effective
robustness is what a model has above the line, relative robustness what a change of it gains at all. The paper averages
over the seven sets, and over ImageNet's accuracy on the classes of each.

Shapes: N items, M of them that count, C classes, G groups of classes, F frames.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trainer.evaluation.lines import (
    CONFIDENCE,
    NUM_RESAMPLES,
    Floats,
    Line,
    ResampledLines,
    as_floats,
    fit_line,
    resample_lines,
)
from trainer.evaluation.metrics import Labels, Scores
from wit.errors import InputError
from wit.statistics import clopper_pearson

IMAGENET: Final = "ImageNet"
VIDEO_SHIFTS: Final = ("ImageNet-Vid", "Youtube-BB")
"""Scored by `video_accuracy`."""
SHIFTS: Final = ("ImageNetV2", "ImageNet-A", "ImageNet-R", "ObjectNet", "ImageNet-Sketch", *VIDEO_SHIFTS)
"""The seven, in the order of the paper's Table 16."""
NEAR_FRAMES: Final = 10
"""Of pm-10: frames on either side of an anchor that must be right too."""

_TABLE_16 = {  # percent: ImageNet, the five, then pm-0 and pm-10 of each of the two
    "NS EfficientNet-L2": (88.3, 80.2, 84.9, 74.7, 68.5, 47.6, 88.0, 82.1, 67.7, 63.5),
    "FixResNeXt101-32x48d V2": (86.4, 78.0, 68.4, 80.0, 57.8, 59.1, 85.8, 72.2, 68.9, 57.7),
    "Linear-probe CLIP": (85.4, 75.9, 75.3, 84.2, 66.2, 57.4, 89.1, 77.2, 68.7, 63.1),
    "Zero-shot CLIP": (76.2, 70.1, 77.2, 88.9, 72.3, 60.2, 95.3, 89.2, 95.2, 88.5),
}


def published_shifts() -> dict[str, dict[str, float]]:
    """Return the paper's Table 16: of four models the accuracy on ImageNet and each of SHIFTS."""
    found = {}
    for model, row in _TABLE_16.items():
        percent = (*row[:6], sum(row[6:8]) / 2, sum(row[8:]) / 2)
        found[model] = {name: each / 100 for name, each in zip((IMAGENET, *SHIFTS), percent, strict=True)}
    return found


@dataclass(frozen=True)
class Standard:
    """What accuracy under a shift is expected of a model by its accuracy on ImageNet: a line of logits."""

    line: Line
    """Of logits, natural."""
    resampled: ResampledLines
    """Of the models drawn anew."""

    def expected(self, on_imagenet: float) -> float:
        """Return the accuracy under the shift that the line has."""
        return float(from_logits(self.line.at(as_floats([logit(on_imagenet)])))[0])

    def band(self, on_imagenet: Sequence[float], confidence: float = CONFIDENCE) -> tuple[Floats, Floats]:
        """Return the band (low, high) of the expected accuracy at each accuracy on ImageNet."""
        low, high = self.resampled.band(as_floats([logit(each) for each in on_imagenet]), confidence)
        return from_logits(low), from_logits(high)

    def effective_robustness(self, on_imagenet: float, shifted: float) -> float:
        """Return by how much the accuracy under the shift is above what is expected."""
        return shifted - self.expected(on_imagenet)

    def effective_interval(
        self, on_imagenet: float, shifted: float, confidence: float = CONFIDENCE
    ) -> tuple[float, float]:
        """Return (low, high) of the effective robustness: as uncertain as the line is, the model's own share is not."""
        low, high = self.band([on_imagenet], confidence)
        return shifted - float(high[0]), shifted - float(low[0])

    def gap_closed(self, on_imagenet: float, shifted: float) -> float:
        """Return the share of the gap that is closed: 0 on the line, 1 for the same accuracy on both.

        The gap is that of accuracy on ImageNet and what is expected under the shift.
        """
        return self.effective_robustness(on_imagenet, shifted) / (on_imagenet - self.expected(on_imagenet))


def fit_standard(
    on_imagenet: Sequence[float], shifted: Sequence[float], num_resamples: int = NUM_RESAMPLES
) -> Standard:
    """Return the line of standard models: least squares over logits, with 1,000 resamples for its band (Taori et al.).

    Raises InputError for an accuracy that has no logit, or when all are alike on ImageNet.
    """
    x, y = (as_floats([logit(each) for each in values]) for values in (on_imagenet, shifted))
    return Standard(fit_line(x, y), resample_lines(x, y, num_resamples))


def logit(share: float) -> float:
    """Return log(p / (1 - p)); raises InputError when it has none."""
    if not 0 < share < 1:
        raise InputError(f"accuracy: expected a share above 0 and below 1, found {share:g}; leave out a model without")
    return float(np.log(share / (1 - share)))


def from_logits(logits: Floats) -> Floats:
    """Return shares, 1 / (1 + exp(-logit)); of steep lines, whose logits are large, too."""
    shares: Floats = np.exp(-np.logaddexp(0, -logits))
    return shares


def group_hits(scores: Scores, labels: Labels, groups: Sequence[Sequence[int]]) -> NDArray[np.bool_]:
    """Return for each item of some classes, of which alone the answer may be, whether its own group is the answer (M,).

    So ImageNet is scored on the 200 classes of ImageNet-A, each a group of its own, or on the 30 coarse classes that
    ImageNet-Vid has of 288, as imagenet-testbed does (Taori et al.). Raises InputError when no item is of any group,
    and as `pool_scores`.
    """
    pooled = pool_scores(scores, groups)
    owner = np.full(scores.shape[1], -1)
    for number, group in enumerate(groups):
        owner[list(group)] = number
    own = owner[labels]
    if not (own >= 0).any():
        raise InputError(f"classes: expected items of {(owner >= 0).sum()} classes, found none")
    hits: NDArray[np.bool_] = (pooled.argmax(axis=1) == own)[own >= 0]
    return hits


def pool_scores(scores: Scores, groups: Sequence[Sequence[int]]) -> Scores:
    """Return the score of each group of classes (N, G): the largest of its classes'.

    A classifier of ImageNet answers so for the 30 coarse classes of ImageNet-Vid, over 288 of ImageNet's (section 3.3);
    adapting to the classes of a set does without, by their own names. Raises InputError for an empty group, a
    class in two, or one that there is no score of.
    """
    _require_groups(groups, scores.shape[1])
    starts = np.cumsum([0, *map(len, groups[:-1])])
    pooled: Scores = np.maximum.reduceat(scores[:, [place for group in groups for place in group]], starts, axis=1)
    return pooled


def _require_groups(groups: Sequence[Sequence[int]], num_classes: int) -> None:
    """Raise InputError unless each class is there, and in one group only."""
    places = np.asarray([place for group in groups for place in group], np.int64)
    if not groups or not all(groups):
        raise InputError("classes: expected one at least in every group, found an empty one")
    outside = places[(places < 0) | (places >= num_classes)]
    if len(outside):
        raise InputError(f"classes: expected 0 to {num_classes - 1}, found {outside[0]}")
    if len(np.unique(places)) < len(places):
        raise InputError(f"classes: expected each once, found {np.bincount(places).argmax()} twice")


@dataclass(frozen=True)
class VideoAccuracy:
    """Accuracy on videos by anchors, frames that are judged."""

    num_anchors: int
    num_right: int
    """Anchors that are right."""
    num_steady: int
    """Anchors that are right with all frames near them."""

    @property
    def pm0(self) -> float:
        """Share of anchors that are right."""
        return self.num_right / self.num_anchors

    @property
    def pm_k(self) -> float:
        """Share of anchors that are right with all frames near them."""
        return self.num_steady / self.num_anchors

    @property
    def mean(self) -> float:
        """The paper's number of ImageNet-Vid and Youtube-BB: the mean of both, with k = 10."""
        return (self.pm0 + self.pm_k) / 2

    def interval(self, confidence: float) -> tuple[float, float]:
        """Return (low, high) of the mean, never too short: the mean of Clopper-Pearson intervals of both shares.

        Each has half the error, so that both hold at once at `confidence` (Bonferroni).
        """
        each = (1 + confidence) / 2
        first, second = (clopper_pearson(count, self.num_anchors, each) for count in (self.num_right, self.num_steady))
        return (first[0] + second[0]) / 2, (first[1] + second[1]) / 2


def near_frames(
    frames: NDArray[np.int64], videos: Sequence[str], anchors: Sequence[int], k: int = NEAR_FRAMES
) -> dict[int, list[int]]:
    """Return the rows of the frames that are at most k away from each anchor in its video, without its own.

    `frames`, `videos` (F): number of each frame in its video, and the video; `anchors`: rows.
    """
    rows_of: dict[str, list[int]] = {}
    for row, video in enumerate(videos):
        rows_of.setdefault(video, []).append(row)
    return {
        anchor: [row for row in rows_of[videos[anchor]] if row != anchor and abs(frames[row] - frames[anchor]) <= k]
        for anchor in anchors
    }


def video_accuracy(is_right: NDArray[np.bool_], near: Mapping[int, Sequence[int]]) -> VideoAccuracy:
    """Return pm-0 and pm-k of frames (Shankar et al., "Do image classifiers generalize across time?", 2021).

    `is_right` (F): whether each frame's answer is right; `near`: of the row of each anchor those of the frames near it,
    as `near_frames` has them. An anchor counts for pm-k when it and all of those are right. Raises InputError when
    there is no anchor.
    """
    if not near:
        raise InputError("anchors: expected one frame at least, found none")
    right = [anchor for anchor in near if is_right[anchor]]
    return VideoAccuracy(len(near), len(right), sum(bool(is_right[list(near[anchor])].all()) for anchor in right))
