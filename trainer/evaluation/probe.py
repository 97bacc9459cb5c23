"""The linear probe: logistic regression on features, its strength chosen on a validation split.

As the paper's appendix A.3 has it: at most 1,000 iterations of L-BFGS; strengths of 1e-6 to 1e6, 8 a decade, of which a
parametric binary search tries some; then a fit on training and validation items together, judged on the test items.
The paper leaves open, and is chosen here: which of equally good strengths is taken (the strongest), and how validation
items are split off where a data set has none (a fifth of each class, by a hash of their names).

Fits end at the optimum, not at an iteration: scikit-learn's L-BFGS, which the paper used, works on features as they
come, and of ill-conditioned ones 1,000 iterations at a weak strength end far from it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from trainer.evaluation.logistic import Fit, Problem, Settings, check, fit, prepare, score
from wit.errors import InputError

Labels = NDArray[np.int64]
Metric = Callable[[NDArray[np.float64], Labels], float]
"""From scores (N, C) and labels, (N,) or (N, C), to what is better the higher it is."""

STEPS_A_DECADE = 8
STRENGTHS = tuple(10 ** (step / STEPS_A_DECADE - 6) for step in range(12 * STEPS_A_DECADE + 1))
"""1e-6 to 1e6 in 96 steps of equal ratio; scikit-learn's C is 1 over it."""

_FIRST_STRIDE = 2 * STEPS_A_DECADE
VALIDATION_SHARE = 0.2


@dataclass(frozen=True)
class Labelled:
    """Items of a split: features (N, D) with labels from 0, (N,), or (N, C) as `prepare` takes them."""

    features: NDArray[np.floating]
    labels: Labels
    items: tuple[str, ...]
    """A name each; what is drawn at random is drawn by them."""

    def take(self, rows: NDArray[np.int64]) -> Labelled:
        """Return some of the items."""
        return Labelled(self.features[rows], self.labels[rows], tuple(self.items[row] for row in rows.tolist()))

    def join(self, other: Labelled) -> Labelled:
        """Return the items of both."""
        features = np.concatenate([self.features, other.features])
        return Labelled(features, np.concatenate([self.labels, other.labels]), self.items + other.items)


@dataclass(frozen=True)
class Splits:
    """What a probe is trained, chosen and judged on."""

    train: Labelled
    test: Labelled
    num_classes: int
    validation: Labelled | None = None
    """None: a part of `train`."""

    def with_validation(self) -> Splits:
        """Return the same with validation items."""
        if self.validation is not None:
            return self
        rest, held_out = split_off(self.train, VALIDATION_SHARE)
        return replace(self, train=rest, validation=held_out)


@dataclass(frozen=True)
class Trial:
    """A strength that was tried."""

    strength: float
    value: float
    """Of the metric on the validation items."""
    num_iterations: int
    converged: bool


@dataclass(frozen=True)
class ProbeResult:
    """What a probe found, values as the metric has them."""

    value: float
    """On the test items."""
    scores: NDArray[np.float64]
    """(N, C) of the test items."""
    strength: float
    trials: tuple[Trial, ...]
    """From the weakest strength to the strongest."""
    num_train: int
    num_validation: int
    converged: bool
    """Of the fit that was judged."""

    @property
    def at_edge(self) -> bool:
        """Whether the strength is the least or the most that there is, and a better one may lie beyond."""
        return self.strength in (STRENGTHS[0], STRENGTHS[-1])


@dataclass(frozen=True)
class FittedProbe:
    """A probe that can be judged on any items."""

    problem: Problem
    fitted: Fit
    trials: tuple[Trial, ...]
    """From the weakest strength to the strongest."""
    how: Settings

    def scores(self, features: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return a logit a class, (N, C), of features (N, D)."""
        return score(self.problem, self.fitted, 0, features, self.how)


def probe(splits: Splits, metric: Metric, how: Settings | None = None) -> ProbeResult:
    """Return what a linear probe of `splits` is worth by a metric.

    Raises InputError for labels out of range, features that are not finite, or no two classes to tell apart.
    """
    how = how or Settings()
    check(splits.test.features, splits.test.labels, splits.num_classes)
    whole = splits.with_validation()
    assert whole.validation is not None
    found = fit_probe(whole.train, whole.validation, splits.num_classes, metric, how)
    scores = found.scores(splits.test.features)
    value = metric(scores, splits.test.labels)
    sizes = len(whole.train.items), len(whole.validation.items)
    return ProbeResult(value, scores, found.fitted.strengths[0], found.trials, *sizes, found.fitted.converged[0])


def fit_probe(train: Labelled, validation: Labelled, num_classes: int, metric: Metric, how: Settings) -> FittedProbe:
    """Return the probe of training and validation items together, of the strength that is best on the latter."""
    best, trials = choose_strength(train, validation, num_classes, metric, how)
    both = train.join(validation)
    problem = prepare(both.features, both.labels, num_classes, how)
    return FittedProbe(problem, fit(problem, [best], how), trials, how)


def choose_strength(
    train: Labelled, validation: Labelled, num_classes: int, metric: Metric, how: Settings
) -> tuple[float, tuple[Trial, ...]]:
    """Return the strength of which a fit on `train` is best on `validation`, and all that were tried."""
    check(validation.features, validation.labels, num_classes)
    roughly = replace(how, tolerance=how.search_tolerance)
    sweep = _Sweep(prepare(train.features, train.labels, num_classes, how), validation, metric, roughly)
    best = search_strengths(sweep)
    return STRENGTHS[best], tuple(sweep.trials[index] for index in sorted(sweep.trials))


def search_strengths(judge: Callable[[Sequence[int]], Sequence[float]]) -> int:
    """Return the index into STRENGTHS of the best that the paper's parametric binary search meets.

    Every second decade first, then twice the one half as far on either side of the best so far, until neighbours have
    been tried: 15 strengths at most. `judge` values some at a time, the higher the better; of equals the strongest.
    """
    stride = _FIRST_STRIDE
    first = range(0, len(STRENGTHS), stride)
    values = dict(zip(first, judge(first), strict=True))
    while stride > 1:
        stride //= 2
        best = max(values, key=lambda index: (values[index], index))
        near = [index for index in (best - stride, best + stride) if 0 <= index < len(STRENGTHS)]
        values.update(zip(near, judge(near), strict=True))
    return max(values, key=lambda index: (values[index], index))


class _Sweep:
    """Fits that are judged on validation items; each starts from the nearest strength's that is there."""

    def __init__(self, problem: Problem, validation: Labelled, metric: Metric, how: Settings) -> None:
        self.problem, self.validation, self.metric, self.how = problem, validation, metric, how
        self.trials: dict[int, Trial] = {}
        self._parameters: dict[int, torch.Tensor] = {}

    def __call__(self, indices: Sequence[int]) -> list[float]:
        start = None
        if self._parameters:
            middle = sum(indices) / len(indices)
            start = self._parameters[min(self._parameters, key=lambda index: abs(index - middle))]
        found = fit(self.problem, [STRENGTHS[index] for index in indices], self.how, start)
        for which, index in enumerate(indices):
            scores = score(self.problem, found, which, self.validation.features, self.how)
            value = self.metric(scores, self.validation.labels)
            taken = found.num_iterations[which], found.converged[which]
            self.trials[index] = Trial(STRENGTHS[index], value, *taken)
            self._parameters[index] = found.parameters_KCP[which]
        return [self.trials[index].value for index in indices]


def split_off(items: Labelled, share: float, salt: str = "validation") -> tuple[Labelled, Labelled]:
    """Return the rest of some items, and a share of each class drawn from them: at least 1 of a class of 2 or more.

    Items of several labels are drawn without regard to them. Both parts keep the order of the items.
    """
    groups = np.zeros(len(items.items), np.int64) if items.labels.ndim == 2 else items.labels
    drawn = np.zeros(len(items.items), bool)
    order = hashed_order(items.items, salt)
    for group in np.unique(groups):
        own = order[groups[order] == group]
        num_drawn = max(round(share * len(own)), 1) if len(own) > 1 else 0
        drawn[own[:num_drawn]] = True
    if not drawn.any():
        raise InputError(
            f"expected classes of 2 items or more to choose a strength with, found {len(drawn)} items, "
            "none of a class with another; give a validation split"
        )
    return items.take(np.flatnonzero(~drawn)), items.take(np.flatnonzero(drawn))


def hashed_order(names: Sequence[str], salt: str) -> NDArray[np.int64]:
    """Return positions in an order that is random, but the same for the same salt and names."""
    keys = [
        hashlib.blake2b(f"{salt}\0{name}".encode("utf-8", "surrogateescape"), digest_size=16).digest() for name in names
    ]
    return np.array(sorted(range(len(names)), key=lambda row: (keys[row], row)), np.int64)
