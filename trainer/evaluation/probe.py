"""The linear probe: logistic regression on features, its strength chosen on a validation split.

As the paper's appendix A.3 has it: at most 1,000 iterations of L-BFGS; strengths of 1e-6 to 1e6, 8 a decade, of which a
parametric binary search tries some; then a fit on training and validation items together, judged on the test items.
The paper leaves open, and is chosen here: which of equally good strengths is taken (the strongest), and how validation
items are split off where a data set has none (a fifth of each class, by a hash of their names).

Fits end at the optimum, not at an iteration: scikit-learn's L-BFGS, which the paper used, works on features as they
come, and of ill-conditioned ones 1,000 iterations at a weak strength end far from it.

Strengths are tried from the strongest, each from where the nearest has ended. The weakest take the most iterations and
are seldom the best; one is not tried when a stronger one is worse by far than one that is stronger still. The search
takes it for granted that there is one hill, and comes to the same end.

Features are in memory once: training and validation items are turned to their axes together, the search fits the
first of them, and the last fit goes on from there.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

import numpy as np
import torch
from numpy.typing import NDArray

from trainer.evaluation.logistic import Fit, Problem, Settings, begin, check, fit, prepare, score, score_turned
from trainer.evaluation.metrics import Labels, Metric, score_blocks
from trainer.evaluation.rows import Floats, Rows
from wit.errors import InputError

STEPS_A_DECADE = 8
STRENGTHS = tuple(10 ** (step / STEPS_A_DECADE - 6) for step in range(12 * STEPS_A_DECADE + 1))
"""1e-6 to 1e6 in 96 steps of equal ratio; scikit-learn's C is 1 over it."""

_FIRST_STRIDE = 2 * STEPS_A_DECADE
_MOST_TOGETHER = 4
_WIDTH = 256
"""Scores of an item that are computed together: of fewer a CPU's product of matrices is slower."""
_FAR = 2.0
"""Over the root of the number of items: 4 deviations of a share at least, as 1 is at most 0.5 over that root."""
VALIDATION_SHARE = 0.2


@dataclass(frozen=True)
class Labelled:
    """Items of a split: features (N, D) with labels from 0, (N,), or (N, C) as `prepare` takes them."""

    features: Floats | Rows
    labels: Labels
    items: tuple[str, ...]
    """A name each; what is drawn at random is drawn by them."""

    def take(self, rows: NDArray[np.int64]) -> Labelled:
        """Return some of the items; their features are not copied."""
        names = tuple(self.items[row] for row in rows.tolist())
        return Labelled(Rows.of(self.features).take(rows), self.labels[rows], names)

    def join(self, other: Labelled) -> Labelled:
        """Return the items of both; no features are copied."""
        features = Rows.of(self.features).join(Rows.of(other.features))
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
    scores: Floats
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
        """Whether a better strength may lie beyond."""
        return is_edge(self.strength)


@dataclass(frozen=True)
class FittedProbe:
    """A probe that can be judged on any items."""

    fitted: Fit
    trials: tuple[Trial, ...]
    """From the weakest strength to the strongest."""

    def scores(self, features: Floats | Rows) -> Floats:
        """Return a logit a class, (N, C), of features (N, D)."""
        return score(self.fitted, 0, features)


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
    check(validation.features, validation.labels, num_classes)
    both = train.join(validation)
    whole = prepare(both.features, both.labels, num_classes, how)
    num_train = len(train.items)
    sweep = Sweep(begin(whole, train.labels, how), whole.axes_NR[num_train:], validation.labels, metric, how)
    best = sweep.search()
    return FittedProbe(fit(whole, [best], how, sweep.start(best, whole)), sweep.tried())


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


def is_edge(strength: float) -> bool:
    """Return whether a strength is the least or the most that is tried, so that a better one may lie beyond."""
    return strength in (STRENGTHS[0], STRENGTHS[-1])


class Sweep:
    """Fits of a problem that are judged on validation items; later ones start from the nearest strength's."""

    def __init__(
        self, problem: Problem, judged_NR: torch.Tensor, labels: Labels, metric: Metric, how: Settings
    ) -> None:
        """Take the validation items' features on the problem's axes, and their labels."""
        self.problem, self.judged_NR, self.labels, self.metric = problem, judged_NR, labels, metric
        self.how = replace(how, tolerance=how.search_tolerance)
        self.trials: dict[int, Trial] = {}
        self._parameters: dict[int, torch.Tensor] = {}

    def search(self) -> float:
        """Return the best strength that the search meets."""
        return STRENGTHS[search_strengths(self)]

    def tried(self) -> tuple[Trial, ...]:
        """Return all trials, from the weakest strength to the strongest."""
        return tuple(self.trials[index] for index in sorted(self.trials))

    def start(self, strength: float, problem: Problem) -> torch.Tensor | None:
        """Return where a fit of a problem on the same axes may start; None where it has other classes."""
        is_same = problem.classes == self.problem.classes
        return self._parameters[STRENGTHS.index(strength)] if is_same else None

    def __call__(self, indices: Sequence[int]) -> list[float]:
        """Return a value each; minus infinity of those that are hopeless.

        Those of the first call all start from zeros: at the optimum of a strength far above, items that can be told
        apart leave hardly a gradient, and a weak strength's fit would stop where the other had ended.
        """
        is_first = not self.trials
        left = sorted(indices, reverse=True)
        most = max(1, min(_MOST_TOGETHER, _WIDTH // len(self.problem.classes.fitted)))
        while left:
            height = 1 if self.trials and left[0] < min(self.trials) else most  # what is weaker still may be hopeless
            some, left = left[:height], left[height:]
            some = [index for index in some if not self._is_hopeless(index)]
            if some:
                self._try(some, is_first)
        return [self.trials[index].value if index in self.trials else -math.inf for index in indices]

    def _is_hopeless(self, index: int) -> bool:
        """Whether the values have fallen by far already on the way from the best to this weaker one."""
        if not self.trials:
            return False
        best = max(self.trials, key=lambda one: self.trials[one].value)
        least = self.trials[best].value - _FAR / math.sqrt(len(self.labels))
        return any(index < one < best and each.value < least for one, each in self.trials.items())

    def _try(self, indices: Sequence[int], from_zeros: bool) -> None:
        start = None if from_zeros else torch.stack([self._nearest(index) for index in indices])
        found = fit(self.problem, [STRENGTHS[index] for index in indices], self.how, start)
        for which, index in enumerate(indices):
            value = score_blocks(self.metric, score_turned(found, which, self.judged_NR), self.labels)
            taken = found.num_iterations[which], found.converged[which]
            self.trials[index] = Trial(STRENGTHS[index], value, *taken)
            self._parameters[index] = found.parameters_KCP[which]

    def _nearest(self, index: int) -> torch.Tensor:
        return self._parameters[min(self._parameters, key=lambda other: (abs(other - index), -other))]


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
    """Return positions in an order that is random, but the same for the same salt and names.

    The folder that all names share does not count: images are drawn alike, however their set is named.
    """
    paths = [name.split("/") for name in names]
    folders = [path[:-1] for path in paths]
    shared = takewhile(lambda both: both[0] == both[1], zip(min(folders), max(folders), strict=False)) if paths else ()
    depth = len(list(shared))
    told = [f"{salt}\0{'/'.join(path[depth:])}".encode("utf-8", "surrogateescape") for path in paths]
    keys = [hashlib.blake2b(one, digest_size=16).digest() for one in told]
    return np.array(sorted(range(len(names)), key=lambda row: (keys[row], row)), np.int64)
