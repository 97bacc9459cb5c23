from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.evaluation.scaling import compare_efficiency, examples_to_reach, fit_power_law
from trainer.models.config import CONFIGS
from trainer.models.flops import dense_macs
from wit.errors import InputError

RESNETS = {"RN50": 59.6, "RN101": 62.2, "RN50x4": 65.8, "RN50x16": 70.5, "RN50x64": 73.6}
"""Zero-shot ImageNet of the paper's Table 11, in percent."""
COMPUTE = {name: dense_macs(CONFIGS[name]).image / 1e9 for name in RESNETS}
ERRORS = [1 - percent / 100 for percent in RESNETS.values()]


def test_the_papers_resnets_are_on_a_power_law() -> None:
    """Over the 44 times of compute that Figure 9 says, their ImageNet error is a line of logarithms (r^2 above 0.98).

    The largest is foretold by the other four to 1.5 points. The compute is that of this package's models, and the
    ends are the figure's 6.1 and 265.9 to 1 %.
    """
    assert COMPUTE["RN50"] == pytest.approx(6.1, rel=0.01)
    assert COMPUTE["RN50x64"] == pytest.approx(265.9, rel=0.01)
    assert COMPUTE["RN50x64"] / COMPUTE["RN50"] == pytest.approx(44, abs=1)
    law = fit_power_law(list(COMPUTE.values()), ERRORS)
    assert law.r_squared > 0.98
    assert -0.14 < law.exponent < -0.09
    smaller = fit_power_law(list(COMPUTE.values())[:4], ERRORS[:4])
    assert smaller.error(COMPUTE["RN50x64"]) == pytest.approx(ERRORS[4], abs=0.015)
    low, high = law.interval(COMPUTE["RN50x16"])
    assert low < ERRORS[3] < high


def test_prompts_are_worth_four_times_the_compute() -> None:
    """The paper has the gain of prompts, 5 points, equal that of 4 times the compute: so has the law of its ResNets.

    RN50's error less 5 points takes 3 to 4.5 times its compute.
    """
    law = fit_power_law(list(COMPUTE.values()), ERRORS)
    assert 3 < ((ERRORS[0] - 0.05) / ERRORS[0]) ** (1 / law.exponent) < 4.5


@given(st.floats(0.01, 0.9), st.floats(-0.5, -0.01), st.floats(1.5, 100))
def test_planted_law_is_found(coefficient: float, exponent: float, times: float) -> None:
    """Errors made by a law give it back, whatever the unit of compute."""
    compute = [1.0, 4.0, 20.0, 300.0]
    errors = [coefficient * each**exponent for each in compute]
    law = fit_power_law(compute, errors)
    assert (law.coefficient, law.exponent, law.r_squared) == pytest.approx((coefficient, exponent, 1))
    assert law.error(50) == pytest.approx(coefficient * 50**exponent)
    assert law.interval(50) == pytest.approx((law.error(50), law.error(50)))
    assert (law.error(2 * times) / law.error(2)) ** (1 / law.exponent) == pytest.approx(times)
    assert fit_power_law([1e9 * each for each in compute], errors).exponent == pytest.approx(exponent)


def test_what_has_no_law() -> None:
    """An error or a compute of 0, one compute alone: one clear line."""
    with pytest.raises(InputError, match="error: expected a number above 0, found 0"):
        fit_power_law([1, 2], [0.5, 0])
    with pytest.raises(InputError, match="compute: expected a number above 0, found nan"):
        fit_power_law([1, math.nan], [0.5, 0.5])
    with pytest.raises(InputError, match="expected points at two places or more, found 2 points at 1"):
        fit_power_law([3, 3], [0.5, 0.4])


def test_examples_to_reach_an_accuracy() -> None:
    """Half way between two accuracies lies the geometric mean of the examples; first, last and never by hand."""
    seen, curve = [1e6, 1e8, 1e9], [0.1, 0.3, 0.2]
    assert examples_to_reach(seen, curve, 0.2) == pytest.approx(1e7)
    assert examples_to_reach(seen, curve, 0.3) == pytest.approx(1e8)
    assert examples_to_reach(seen, curve, 0.05) == 1e6
    assert examples_to_reach(seen, curve, 0.31) is None
    for wrong in ([1e6, 1e6, 2e6], [0, 1, 2], [1e6, 1e7], []):
        with pytest.raises(InputError, match="curve: expected rising counts above 0, one an accuracy"):
            examples_to_reach(wrong, curve, 0.2)


def test_figure_2_by_its_ticks() -> None:
    """Curves through the ticks that the figure joins, 400, 134 and 33 million images: 3 times, then another 4.

    An objective that never has the accuracy has no number, and no error.
    """
    curves = {
        "captioning": ([2e6, 400e6], [0.01, 0.16]),
        "words": ([2e6, 134e6, 400e6], [0.01, 0.16, 0.27]),
        "contrastive": ([2e6, 33e6, 400e6], [0.01, 0.16, 0.4]),
        "noise": ([2e6, 400e6], [0.001, 0.001]),
    }
    found = {one.objective: one for one in compare_efficiency(curves, "captioning", 0.16)}
    assert found["words"].times == pytest.approx(3, abs=0.05)
    assert found["contrastive"].times == pytest.approx(12, abs=0.2)
    assert found["captioning"].times == 1
    assert (found["noise"].examples, found["noise"].times) == (None, None)
    assert all(one.times is None for one in compare_efficiency(curves, "noise", 0.16))
    with pytest.raises(InputError, match=r"baseline: expected one of captioning, words, .*, found 'none'"):
        compare_efficiency(curves, "none", 0.16)
