"""How good a classifier is on a set, and on ImageNet's images of the set's classes.

Shapes: N items of a set, M of them that count, C classes of ImageNet, G classes of the set that ImageNet has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.evaluation.features import Features
from trainer.evaluation.metrics import Labels, Scores
from trainer.evaluation.robustness import VideoAccuracy, group_hits, video_accuracy
from trainer.evaluation.shifts.frames import Frames
from trainer.evaluation.shifts.matching import Matched
from wit.errors import InputError
from wit.statistics import clopper_pearson

CONFIDENCE = 0.995
"""Of Clopper-Pearson intervals: alpha of 0.005, as imagenet-testbed has it (Taori et al., 2020)."""

Interval = tuple[float, float]


@dataclass(frozen=True)
class Truth:
    """What the items of a set show, and which of them count."""

    rows_M: NDArray[np.int64]
    """Of the set's features."""
    items: tuple[str, ...]
    """Names of the M."""
    is_own_MG: NDArray[np.bool_]
    """Whether an item is of a class; a frame may be of several."""
    near: dict[int, list[int]] | None
    """Of each anchor, by place among M, the frames near it; None: all items are judged."""

    @property
    def num_judged(self) -> int:
        """Anchors of videos, else items."""
        return len(self.rows_M) if self.near is None else len(self.near)


def set_labels(features: Features, frames: Frames | None) -> tuple[str, ...]:
    """Return the classes of a set that have images, as it calls them, in its order."""
    if frames is not None and frames.labels:
        return frames.classes
    if features.labels.ndim != 1:
        raise InputError("expected one class an image, found several; shifts of ImageNet are judged by one")
    return tuple(features.classes[place] for place in np.unique(features.labels) if place >= 0)


def find_truth(name: str, features: Features, matched: Matched, frames: Frames | None) -> Truth:
    """Return what the items of a set show; raises InputError when no anchor of frames is in the set."""
    place = {label: number for number, label in enumerate(matched.labels)}
    if frames is not None:
        return _truth_of_frames(name, features, place, frames)
    own = np.array([place.get(label, -1) for label in features.classes], np.int64)[features.labels]
    rows_M = np.flatnonzero((features.labels >= 0) & (own >= 0))
    items = tuple(features.items[row] for row in rows_M.tolist())
    return Truth(rows_M, items, own[rows_M, None] == np.arange(len(place)), None)


def _truth_of_frames(name: str, features: Features, place: Mapping[str, int], frames: Frames) -> Truth:
    row_of = {item: row for row, item in enumerate(features.items)}
    said = frames.labels or {item: (features.classes[features.labels[row]],) for item, row in row_of.items()}
    groups = {item: [place[label] for label in said[item] if label in place] for item in row_of if item in said}
    items = [item for item, own_groups in groups.items() if own_groups]
    order = {item: number for number, item in enumerate(items)}
    near = {
        order[anchor]: [order[item] for item in nearby if item in order]
        for anchor, nearby in frames.near.items()
        if anchor in order
    }
    if not near:
        shown = next(iter(frames.near))
        raise InputError(f"{frames.source}: expected anchors among the images of {name}, found no {shown!r} there")
    is_own_MG = np.zeros((len(items), len(place)), bool)
    for number, item in enumerate(items):
        is_own_MG[number, groups[item]] = True
    return Truth(np.array([row_of[item] for item in items], np.int64), tuple(items), is_own_MG, near)


@dataclass(frozen=True)
class Judged:
    """What one classifier is worth on a set, and on ImageNet's images of its classes."""

    classifier: str
    accuracy: float
    interval: Interval
    """At CONFIDENCE, as that of ImageNet: Clopper-Pearson."""
    video: VideoAccuracy | None
    on_classes: float
    """Of ImageNet's images of the set's classes."""
    on_classes_interval: Interval


@dataclass(frozen=True)
class Share:
    """A share of items, and its Clopper-Pearson interval at CONFIDENCE."""

    value: float
    interval: Interval

    @staticmethod
    def of(hits: NDArray[np.bool_]) -> Share:
        """Return the share of items that are right."""
        return Share(float(hits.mean()), clopper_pearson(int(hits.sum()), len(hits), CONFIDENCE))


def on_classes(scores_NC: Scores, labels: Labels, groups: Sequence[Sequence[int]]) -> Share:
    """Return the accuracy on ImageNet's images of some of its classes, of which alone the answer may be."""
    return Share.of(group_hits(scores_NC, labels, groups))


def judge(classifier: str, scores_MG: Scores, truth: Truth, imagenet: Share) -> Judged:
    """Return what scores of the items that count are worth; `imagenet` is the classifier's on ImageNet."""
    is_right_M = truth.is_own_MG[np.arange(len(scores_MG)), scores_MG.argmax(axis=1)]
    if truth.near is None:
        share, video = Share.of(is_right_M), None
    else:
        video = video_accuracy(is_right_M, truth.near)
        share = Share(video.mean, video.interval(CONFIDENCE))
    return Judged(classifier, share.value, share.interval, video, imagenet.value, imagenet.interval)
