"""How error falls with compute (the paper's Figure 9), and how many images an objective needs (Figure 2)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from trainer.evaluation.lines import CONFIDENCE, Line, ResampledLines, as_floats, fit_line, resample_lines
from wit.errors import InputError

RESNET_GMACS: Final = {"RN50": 6.11, "RN101": 9.77, "RN50x4": 21.28, "RN50x16": 74.70, "RN50x64": 264.55}
"""Billion multiply-adds of an image's forward pass of the paper's ResNets: the compute axis of Figure 9.

Of this package's models (trainer.models.flops); the figure prints the ends, 6.1 and 265.9."""


@dataclass(frozen=True)
class PowerLaw:
    """error = coefficient x compute ^ exponent: a line of logarithms."""

    line: Line
    """Of natural logarithms, of the error over the compute."""
    resampled: ResampledLines
    """Of the checkpoints drawn anew."""

    @property
    def exponent(self) -> float:
        """Below 0 when error falls."""
        return self.line.slope

    @property
    def coefficient(self) -> float:
        """The error at a compute of 1, in whatever unit that was."""
        return math.exp(self.line.intercept)

    @property
    def r_squared(self) -> float:
        """Share of the variance of the logarithm of the error that the line explains."""
        return self.line.correlation**2

    def error(self, compute: float) -> float:
        """Return the law's error at a compute."""
        return math.exp(self.line.intercept + self.exponent * math.log(compute))

    def interval(self, compute: float, confidence: float = CONFIDENCE) -> tuple[float, float]:
        """Return the bootstrap's interval (low, high) of the law's error at a compute."""
        low, high = self.resampled.band(as_floats([math.log(compute)]), confidence)
        return math.exp(low[0]), math.exp(high[0])


def fit_power_law(compute: Sequence[float], errors: Sequence[float]) -> PowerLaw:
    """Return the power law of errors over compute, by least squares over logarithms.

    `errors` are shares above 0: 1 - accuracy, or the mean of it over several evaluations, as the paper's. `compute` in
    any unit: of the paper's figure, multiply-adds of an image's forward pass. Raises InputError for a number that has
    no logarithm, or when all are of one compute.
    """
    x = as_floats([_log("compute", each) for each in compute])
    y = as_floats([_log("error", each) for each in errors])
    return PowerLaw(fit_line(x, y), resample_lines(x, y))


def examples_to_reach(seen: Sequence[float], accuracy: Sequence[float], target: float) -> float | None:
    """Return after how many examples a curve first has an accuracy: log-linear between its points; None if it has not.

    `seen` rises, from above 0; the curve need not rise. Raises InputError for another order or count.
    """
    if len(seen) != len(accuracy) or not len(seen) or seen[0] <= 0 or min(np.diff(seen), default=1) <= 0:
        raise InputError(f"curve: expected rising counts above 0, one an accuracy, found {list(seen)[:5]}")
    if accuracy[0] >= target:
        return float(seen[0])
    for place in range(1, len(seen)):
        if accuracy[place] >= target:
            before, after = math.log(seen[place - 1]), math.log(seen[place])
            share = (target - accuracy[place - 1]) / (accuracy[place] - accuracy[place - 1])
            return math.exp(before + share * (after - before))
    return None


@dataclass(frozen=True)
class Efficiency:
    """How soon an objective has an accuracy."""

    objective: str
    examples: float | None
    """Examples to reach it; None: it does not."""
    times: float | None
    """How many times fewer than the baseline's; None when one of them does not reach it."""


def compare_efficiency(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]], baseline: str, target: float
) -> tuple[Efficiency, ...]:
    """Return how soon each objective has an accuracy, beside the baseline (Figure 2: captions 1, words 3, pairs 12).

    `curves`: examples seen and accuracies by objective. Raises InputError as `examples_to_reach`, or when the baseline
    is none of them.
    """
    if baseline not in curves:
        raise InputError(f"baseline: expected one of {', '.join(curves)}, found {baseline!r}")
    found = {name: examples_to_reach(seen, accuracy, target) for name, (seen, accuracy) in curves.items()}
    slowest = found[baseline]
    return tuple(
        Efficiency(name, examples, slowest / examples if slowest and examples else None)
        for name, examples in found.items()
    )


def _log(what: str, value: float) -> float:
    if not 0 < value < math.inf:
        raise InputError(f"{what}: expected a number above 0, found {value:g}; a law of powers has no other")
    return math.log(value)
