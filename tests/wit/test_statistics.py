"""Known values of the interval and the test, and their agreement with each other."""

from __future__ import annotations

import pytest

from wit.statistics import binomial_p_value, clopper_pearson


def test_clopper_pearson_known_values() -> None:
    """Textbook intervals: 0 of n has the closed form 1 - (alpha/2)^(1/n); 10 of 20 at 95 % is (0.2720, 0.7280)."""
    assert clopper_pearson(0, 10, 0.95) == pytest.approx((0.0, 1 - 0.025 ** (1 / 10)))
    assert clopper_pearson(10, 10, 0.95) == pytest.approx((0.025 ** (1 / 10), 1.0))
    assert clopper_pearson(10, 20, 0.95) == pytest.approx((0.27196, 0.72804), abs=5e-6)


def test_no_trials_say_nothing() -> None:
    """Without trials every proportion is possible."""
    assert clopper_pearson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(("successes", "trials"), [(1, 50), (7, 50), (49, 50)])
def test_the_interval_inverts_the_binomial_tails(successes: int, trials: int) -> None:
    """At the lower end the upper tail is (1 - confidence)/2, and at the upper end the lower tail is."""
    low, high = clopper_pearson(successes, trials, 0.995)
    assert binomial_p_value(successes, trials, low) == pytest.approx(0.0025)
    assert 1 - binomial_p_value(successes + 1, trials, high) == pytest.approx(0.0025)


def test_binomial_p_value_by_hand() -> None:
    """Three heads of three fair coins: 1/8; at least two: 1/2; at least none: 1."""
    assert binomial_p_value(3, 3, 0.5) == pytest.approx(1 / 8)
    assert binomial_p_value(2, 3, 0.5) == pytest.approx(1 / 2)
    assert binomial_p_value(0, 3, 0.5) == 1.0
