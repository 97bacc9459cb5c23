"""A straight line through points, and how far it may be off: what robustness, scaling and comparisons are fitted by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wit.errors import InputError

NUM_RESAMPLES = 1000
CONFIDENCE = 0.95

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Line:
    """The line of least squares of y over x."""

    slope: float
    intercept: float
    correlation: float
    """Pearson's r; 0 when all y are equal."""
    p_value: float
    """Two-sided, of a slope of 0; 0 for two points, which any line fits."""
    num_points: int

    def at(self, x: Floats) -> Floats:
        """Return the line's y."""
        return self.slope * x + self.intercept


@dataclass(frozen=True)
class ResampledLines:
    """The lines of as many points drawn anew, with replacement: (R,) for R resamples."""

    slopes: Floats
    intercepts: Floats

    def band(self, x: Floats, confidence: float = CONFIDENCE) -> tuple[Floats, Floats]:
        """Return the percentile band (low, high) of y at each x."""
        y_RX = self.slopes[:, None] * x + self.intercepts[:, None]
        low, high = np.quantile(y_RX, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
        return low, high

    def slope_interval(self, confidence: float = CONFIDENCE) -> tuple[float, float]:
        """Return the percentile interval (low, high) of the slope."""
        low, high = np.quantile(self.slopes, [(1 - confidence) / 2, (1 + confidence) / 2])
        return float(low), float(high)


def fit_line(x: Floats, y: Floats) -> Line:
    """Return the line of least squares; raises InputError unless there are points at two places of x at least."""
    from scipy.stats import linregress

    _require_places(x)
    found = linregress(x, y)
    is_flat = bool(np.ptp(y) == 0)  # neither correlation nor p-value has a value then
    correlation, p_value = (0.0, 1.0) if is_flat else (float(found.rvalue), float(found.pvalue))
    return Line(float(found.slope), float(found.intercept), correlation, p_value, len(x))


def resample_lines(x: Floats, y: Floats, num_resamples: int = NUM_RESAMPLES, seed: int = 0) -> ResampledLines:
    """Return the lines of points drawn anew (the bootstrap; Efron and Tibshirani, 1993, section 9.5, pairs).

    A draw all at one place of x has no line, and is drawn again. The same call gives the same lines. Raises InputError
    as `fit_line`.
    """
    _require_places(x)
    rng = np.random.default_rng(seed)
    rows_RN = rng.integers(0, len(x), (num_resamples, len(x)))
    while len(again := np.flatnonzero(np.ptp(x[rows_RN], axis=1) == 0)):
        rows_RN[again] = rng.integers(0, len(x), (len(again), len(x)))
    x_RN, y_RN = x[rows_RN], y[rows_RN]
    away_RN = x_RN - x_RN.mean(axis=1, keepdims=True)
    slopes = (away_RN * y_RN).sum(axis=1) / (away_RN**2).sum(axis=1)
    return ResampledLines(slopes, y_RN.mean(axis=1) - slopes * x_RN.mean(axis=1))


def as_floats(values: Sequence[float]) -> Floats:
    """Return numbers as an array (N,)."""
    return np.asarray(values, np.float64)


def _require_places(x: Floats) -> None:
    num_places = len(np.unique(x))
    if num_places < 2:
        raise InputError(f"line: expected points at two places or more, found {len(x)} points at {num_places}")
