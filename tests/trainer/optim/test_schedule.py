from __future__ import annotations

import math

import pytest

from trainer.optim.schedule import learning_rate
from trainer.recipe import Optimiser

PAPER = Optimiser()


def test_rate_rises_over_the_warm_up_and_falls_as_a_cosine() -> None:
    """The rate is linear up to the peak, half of it halfway down, and 0 at the end."""
    num_steps = 10_000
    assert learning_rate(0, num_steps, PAPER) == pytest.approx(5e-4 / 2_000)
    assert learning_rate(999, num_steps, PAPER) == pytest.approx(2.5e-4)
    assert learning_rate(2_000, num_steps, PAPER) == pytest.approx(5e-4)
    assert learning_rate(6_000, num_steps, PAPER) == pytest.approx(2.5e-4)
    assert learning_rate(4_000, num_steps, PAPER) == pytest.approx(5e-4 * (0.5 + math.sqrt(0.5) / 2))
    assert learning_rate(num_steps, num_steps, PAPER) == pytest.approx(0)
    rates = [learning_rate(step, num_steps, PAPER) for step in range(0, num_steps, 50)]
    assert sorted(rates[40:], reverse=True) == rates[40:]
