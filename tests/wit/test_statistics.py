"""Known values of the interval and the test, and their agreement with each other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest, fisher_exact

from wit.statistics import binomial_p_value, clopper_pearson, fisher_p_value


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


counts = st.integers(1, 3000).flatmap(lambda trials: st.tuples(st.integers(0, trials), st.just(trials)))


@given(counts, st.floats(0.5, 0.999))
def test_the_interval_is_scipys_exact_one(found: tuple[int, int], confidence: float) -> None:
    """Clopper-Pearson as scipy.stats.binomtest has it."""
    expected = binomtest(*found).proportion_ci(confidence, "exact")
    assert clopper_pearson(*found, confidence) == pytest.approx((expected.low, expected.high), abs=1e-9)


@given(counts, st.floats(0, 1))
def test_the_p_value_is_scipys(found: tuple[int, int], probability: float) -> None:
    """The one-tailed (greater) p-value of scipy.stats.binomtest."""
    expected = binomtest(*found, probability, alternative="greater").pvalue
    assert binomial_p_value(*found, probability) == pytest.approx(expected, rel=1e-9, abs=1e-300)


@given(counts, counts)
def test_fishers_p_value_is_scipys(one: tuple[int, int], other: tuple[int, int]) -> None:
    """The one-tailed (greater) p-value of scipy.stats.fisher_exact on the table of right and wrong."""
    table = [[right, trials - right] for right, trials in (one, other)]
    expected = fisher_exact(table, "greater")[1]
    assert fisher_p_value(*one, *other) == pytest.approx(expected, rel=1e-6, abs=1e-300)


def test_fishers_lady_tasting_tea() -> None:
    """Fisher's own example, 4 of 8 cups to be named: all 4 right has probability 1/70, 3 or more right 17/70."""
    assert fisher_p_value(4, 4, 0, 4) == pytest.approx(1 / 70)
    assert fisher_p_value(3, 4, 1, 4) == pytest.approx(17 / 70)


@pytest.mark.parametrize(("trials", "probability"), [(20, 0.05), (200, 0.5), (1000, 0.97)])
def test_the_interval_covers_at_least_what_it_says(trials: int, probability: float) -> None:
    """The chance that the interval holds the truth, summed over all outcomes, is never under 99.5 %."""
    outcomes = np.arange(trials + 1)
    inside = [low <= probability <= high for low, high in (clopper_pearson(int(n), trials) for n in outcomes)]
    assert binom.pmf(outcomes, trials, probability)[inside].sum() >= 0.995


@pytest.mark.parametrize(("trials", "probability"), [(20, 0.05), (200, 0.5), (1000, 0.97)])
def test_the_test_errs_no_more_often_than_it_says(trials: int, probability: float) -> None:
    """Under the null the chance of a p-value of at most alpha, summed over all outcomes, is at most alpha."""
    outcomes = np.arange(trials + 1)
    p_values = np.array([binomial_p_value(int(n), trials, probability) for n in outcomes])
    for alpha in (0.05, 0.05 / 35, 0.0025):
        assert binom.pmf(outcomes, trials, probability)[p_values <= alpha].sum() <= alpha
