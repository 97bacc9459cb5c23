"""Few-shot probes, and how many labels a class zero-shot is worth (the paper's Figures 6 and 7).

A probe is fitted to 1, 2, 4, 8 or 16 items of each class. Its strength is chosen on the whole validation split (as the
authors answer in the code's issue 128), which is then not trained on. The paper does not say how items are drawn nor
how often; here it is by a hash of their names, so that the items of 1 shot are among those of 2, several times over.

The interval of a number of shots covers both what the draws of training items and what the test items happened to be:
the mean over ever more draws, judged on ever more items. All draws are judged on the same items, so that the two
variances add up: that of the values over their number, and that of their mean when test items are drawn anew. The
quantile is Student's with Satterthwaite's degrees of freedom (Biometrics Bulletin 2 (1946)), of which the
second variance is taken to have many. It covers neither other validation items nor another model.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, stdev, variance

import numpy as np

from trainer.evaluation.logistic import Settings, check, fit, prepare, score
from trainer.evaluation.metrics import Labels, Metric
from trainer.evaluation.probe import Labelled, Splits, Sweep, hashed_order
from trainer.evaluation.resampling import Redraw, redrawn, resample
from wit.errors import InputError
from wit.statistics import clopper_pearson

SHOTS = (1, 2, 4, 8, 16)
"""Figure 6's."""
NUM_REPEATS = 3
CONFIDENCE = 0.95
_NUM_RESAMPLES = 200  # a deviation is then right to a twentieth of it


@dataclass(frozen=True)
class ShotResult:
    """Probes of so many items a class, one a repeat."""

    shots: int
    values: tuple[float, ...]
    """Of the metric on the test items."""
    strengths: tuple[float, ...]
    interval: tuple[float, float]
    """At CONFIDENCE, of the mean; of one repeat it covers the test items alone."""

    @property
    def value(self) -> float:
        """The mean over repeats."""
        return fmean(self.values)

    @property
    def deviation(self) -> float:
        """The sample's standard deviation over repeats; 0 of one."""
        return stdev(self.values) if len(self.values) > 1 else 0.0


@dataclass(frozen=True)
class Match:
    """How many labels a class a probe needs to be as good as zero-shot."""

    labels: float | None
    """None: fewer than the fewest that were tried, or more than the most."""
    bound: float | None
    """Where `labels` is None: the fewest tried (it needs fewer) or the most (it needs more)."""
    is_below: bool = False
    """Whether it needs fewer than `bound`."""

    def __str__(self) -> str:
        if self.labels is not None:
            return f"{self.labels:.1f}"
        return f"{'<' if self.is_below else '>'}{self.bound:g}"


def few_shot(
    splits: Splits,
    metric: Metric,
    shots: Sequence[int] = SHOTS,
    num_repeats: int = NUM_REPEATS,
    how: Settings | None = None,
) -> tuple[ShotResult, ...]:
    """Return what probes of few items a class are worth by a metric.

    Raises InputError when a class has fewer items than the most that are asked, when items have several labels, and as
    `probe` does.
    """
    how = how or Settings()
    whole = splits.with_validation()
    assert whole.validation is not None
    for part in (whole.train, whole.validation, whole.test):
        check(part.features, part.labels, splits.num_classes)
    results = []
    for number in shots:
        found = [_one(whole, number, repeat, metric, how) for repeat in range(num_repeats)]
        values, strengths, redraws = zip(*found, strict=True)
        results.append(ShotResult(number, values, strengths, mean_interval(values, redraws, splits.test.labels)))
    return tuple(results)


def _one(splits: Splits, shots: int, repeat: int, metric: Metric, how: Settings) -> tuple[float, float, Redraw]:
    """Return the value on the test items, the strength, and what the value would be of others."""
    assert splits.validation is not None
    train = draw_shots(splits.train, splits.num_classes, shots, repeat)
    problem = prepare(train.features, train.labels, splits.num_classes, how)
    sweep = Sweep(problem, problem.axes.turn(splits.validation.features), splits.validation.labels, metric, how)
    strength = sweep.search()
    fitted = fit(problem, [strength], how, sweep.start(strength, problem))
    scores = score(fitted, 0, splits.test.features)
    return metric(scores, splits.test.labels), strength, redrawn(metric, scores, splits.test.labels)


def mean_interval(values: Sequence[float], redraws: Sequence[Redraw], labels: Labels) -> tuple[float, float]:
    """Return the interval of the mean of values, in [0, 1], of draws that are judged on the same items.

    Where neither draws nor items make a difference, as when all is right, Clopper-Pearson's of a share of the items.
    """
    from scipy.stats import t

    mean = fmean(values)
    resampled = resample(lambda counts: np.mean([each(counts) for each in redraws], axis=0), labels, _NUM_RESAMPLES)
    of_items = float(np.nanvar(resampled, ddof=1))
    of_draws = variance(values) / len(values) if len(values) > 1 else 0.0
    both = of_items + of_draws
    if both < 1e-24:  # sums are rounded
        return clopper_pearson(mean * len(labels), len(labels), CONFIDENCE)
    freedom = both**2 / (of_draws**2 / (len(values) - 1)) if of_draws else math.inf
    half = float(t.ppf((1 + CONFIDENCE) / 2, freedom)) * math.sqrt(both)
    return max(0.0, mean - half), min(1.0, mean + half)


def draw_shots(items: Labelled, num_classes: int, shots: int, repeat: int) -> Labelled:
    """Return `shots` items of each class, another draw each `repeat`; the first of what a larger number would be.

    Raises InputError when a class has fewer, or items have several labels.
    """
    if items.labels.ndim == 2:
        raise InputError("few-shot: expected one label an item, found several; leave this set out of it")
    counts = np.bincount(items.labels, minlength=num_classes)
    if counts.min() < shots:
        few = int(counts.argmin())
        raise InputError(
            f"few-shot: expected {shots} training items of each class, found {counts[few]} of class {few}; "
            "ask for fewer shots, or leave this set out of it as the paper does"
        )
    order = hashed_order(items.items, f"shots {repeat}")
    rows = [order[items.labels[order] == label][:shots] for label in range(num_classes)]
    return items.take(np.sort(np.concatenate(rows)))


def labels_to_match(target: float, curve: Sequence[tuple[float, float]]) -> Match:
    """Return how many labels a class a probe needs to reach `target`, zero-shot's value.

    `curve` holds (labels a class, value): the few-shot probes', and the full probe's with its training items over its
    classes. Between two points the value is taken to grow with the logarithm of the labels (Figure 7); where a curve
    goes up and down its first crossing counts.
    """
    points = sorted(curve)
    assert points
    if points[0][1] >= target:
        if points[0][1] == target:
            return Match(points[0][0], None)
        return Match(None, points[0][0], is_below=True)
    for (labels, value), (more_labels, more_value) in pairwise(points):
        if value < target <= more_value:
            share = (target - value) / (more_value - value)
            return Match(math.exp(math.log(labels) * (1 - share) + math.log(more_labels) * share), None)
    return Match(None, points[-1][0])
