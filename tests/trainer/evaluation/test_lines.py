from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import linregress

from trainer.evaluation.lines import fit_line, resample_lines
from wit.errors import InputError


@given(st.integers(0, 1 << 30), st.integers(3, 40))
def test_line_is_scipys(seed: int, num_points: int) -> None:
    """Slope, intercept, correlation and p-value are scipy's; the line's y is on it."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(2, num_points))
    line, expected = fit_line(x, y), linregress(x, y)
    assert (line.slope, line.intercept) == pytest.approx((expected.slope, expected.intercept))
    assert (line.correlation, line.p_value) == pytest.approx((expected.rvalue, expected.pvalue))
    assert line.at(x) == pytest.approx(expected.slope * x + expected.intercept)


def test_resampled_lines_are_those_of_drawn_points() -> None:
    """Each is scipy's line of points drawn by the same generator; all points on one line give that line alone."""
    rng = np.random.default_rng(7)
    x, y = rng.normal(size=(2, 12))
    rows = np.random.default_rng(3).integers(0, 12, (50, 12))
    found = resample_lines(x, y, num_resamples=50, seed=3)
    for place, each in enumerate(rows):
        expected = linregress(x[each], y[each])
        assert (found.slopes[place], found.intercepts[place]) == pytest.approx((expected.slope, expected.intercept))
    straight = resample_lines(x, 2 * x - 1)
    low, high = straight.band(np.array([5.0]))
    assert (low[0], high[0], *straight.slope_interval()) == pytest.approx((9, 9, 2, 2))


def test_two_points_always_have_a_line() -> None:
    """Half of the draws of two points are one point twice, which has no line: they are drawn again, no slope is NaN."""
    found = resample_lines(np.array([0.0, 1.0]), np.array([1.0, 3.0]))
    assert found.slopes == pytest.approx(np.full(1000, 2.0))


def test_band_covers_the_line() -> None:
    """Of 100 sets of 40 noisy points, the 95 % band at a place covers the true line in 88 at least.

    The percentile bootstrap covers a little less than it says; of 100 at 0.93, 88 or more have probability 0.98.
    """
    covered = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        x = rng.uniform(-2, 2, 40)
        low, high = resample_lines(x, 0.5 * x + 1 + rng.normal(0, 0.3, 40), num_resamples=200).band(np.array([1.5]))
        covered += low[0] <= 1.75 <= high[0]
    assert covered >= 88


def test_a_level_line() -> None:
    """Equal y have a slope and a correlation of 0, not NaN, and no warning."""
    line = fit_line(np.arange(4.0), np.ones(4))
    assert (line.slope, line.intercept, line.correlation, line.p_value) == (0, 1, 0, 1)


def test_points_at_one_place_have_no_line() -> None:
    """None, one, or all at the same x: one clear line."""
    for points in ([], [0.5], [0.5, 0.5, 0.5]):
        with pytest.raises(InputError, match=f"expected points at two places or more, found {len(points)} points at"):
            fit_line(np.array(points), np.array(points))
        with pytest.raises(InputError, match="expected points at two places"):
            resample_lines(np.array(points), np.array(points))
