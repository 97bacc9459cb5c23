"""What follows from counts: the paper's measures, its tests, and what its printed figures say of each other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from pipelines.report.overlap.results import ALPHA, CONFIDENCE, Accuracies
from tests.pipelines.report.overlap_world import result, set_result

counts = st.integers(0, 2000).flatmap(lambda num: st.tuples(st.just(num), st.integers(0, num)))
accuracies = st.builds(lambda clean, overlap: Accuracies(*clean, *overlap), counts, counts)

PAPER_SETS = 35
"""Evaluation sets of the paper's overlap analysis."""

PRINTED = {
    "Birdsnap": (2149, 0.121, 0.489, 0.006),
    "Country211": (21_100, 0.215, 0.296, 0.002),
}
"""The paper's test size, share of overlap, zero-shot accuracy of RN50x64 and All - Clean (section 5, tables 9, 11)."""


@given(accuracies)
def test_all_minus_clean_is_the_share_of_what_overlap_adds(found: Accuracies) -> None:
    """All - Clean = (Overlap / All) x (accuracy on Overlap - that on Clean); undefined when Clean is empty."""
    assert (found.difference is None) == (found.num_clean == 0)
    assert (found.overlap_difference is None) == (found.num_clean == 0 or found.num_overlap == 0)
    if found.difference is not None:
        share = found.num_overlap / found.num_all
        assert found.difference == pytest.approx(share * (found.overlap_difference or 0.0), abs=1e-12)


@given(accuracies)
def test_the_statistics_are_scipys(found: Accuracies) -> None:
    """The p-value is binomtest's against Clean's accuracy, the interval its exact one at 99.5 %."""
    if found.p_value is None:
        assert not (found.num_overlap and found.num_clean)
    else:
        assert found.accuracy_clean is not None
        expected = binomtest(found.correct_overlap, found.num_overlap, found.accuracy_clean, alternative="greater")
        assert found.p_value == pytest.approx(expected.pvalue, rel=1e-9, abs=1e-300)
    if found.num_overlap:
        expected = binomtest(found.correct_overlap, found.num_overlap).proportion_ci(CONFIDENCE, "exact")
        assert found.interval == pytest.approx(tuple(expected), abs=1e-9)
    else:
        assert found.interval is None


@given(accuracies)
def test_the_interval_lies_above_clean_when_p_is_under_a_quarter_percent(found: Accuracies) -> None:
    """The two checks of the paper are one where Overlap is better: half of 0.5 % is the tail of a 99.5 % interval."""
    if found.p_value is not None and found.interval is not None and found.accuracy_clean is not None:
        tail = (1 - CONFIDENCE) / 2
        if abs(found.p_value - tail) > 1e-9:
            assert (found.interval[0] > found.accuracy_clean) == (found.p_value < tail)
        assert not found.excludes_clean or found.overlap_difference != 0


def test_bonferroni_divides_by_the_sets_with_predictions() -> None:
    """Of 35 sets p is at most 0.05 / 35 = 0.00143; a set without predictions is no test, one without overlap is."""
    strong, weak = Accuracies(1000, 500, 100, 70), Accuracies(1000, 500, 100, 64)
    assert strong.p_value is not None
    assert weak.p_value is not None
    assert strong.p_value < ALPHA / PAPER_SETS < weak.p_value < ALPHA
    empty = [set_result(str(number), 10, 0, Accuracies(10, 5, 0, 0)) for number in range(33)]
    tested = [set_result("strong", 1100, 100, strong), set_result("weak", 1100, 100, weak), *empty]
    found = result(*tested, set_result("no predictions", 10, 1))
    assert found.num_tests == PAPER_SETS
    assert [each.contamination.set for each in tested if found.is_significant(each)] == ["strong"]
    alone = result(tested[1])
    assert alone.is_significant(tested[1])


@pytest.mark.parametrize("name", sorted(PRINTED))
def test_what_the_paper_prints_of_a_set_fits_together(name: str) -> None:
    """Counts made from the printed share, accuracy and difference give them again, and a plausible Overlap - Clean.

    Figure 17 speaks of differences up to 20 points. By our statistics neither of the two sets with the most overlap is
    significant after Bonferroni, and neither interval excludes Clean: their gains are small beside their noise.
    """
    num_items, share, accuracy, difference = PRINTED[name]
    num_overlap = round(share * num_items)
    clean = accuracy - difference
    correct_clean = round(clean * (num_items - num_overlap))
    found = Accuracies(num_items - num_overlap, correct_clean, num_overlap, round(accuracy * num_items) - correct_clean)
    assert found.accuracy_all == pytest.approx(accuracy, abs=5e-4)
    assert found.difference == pytest.approx(difference, abs=5e-4)
    assert found.overlap_difference == pytest.approx(difference / share, abs=5e-3)
    assert found.overlap_difference is not None
    assert 0 < found.overlap_difference < 0.2
    assert not result(*[set_result(str(n), num_items, num_overlap, found) for n in range(PAPER_SETS)]).is_significant(
        set_result("0", num_items, num_overlap, found)
    )
    assert not found.excludes_clean


def test_the_paper_counts_are_nested_as_its_tests_are() -> None:
    """2 significant after Bonferroni, 3 intervals above Clean (5 that exclude it, 2 of them below), 6 one-sided.

    So it must be at levels of 0.05 / 35, 0.0025 and 0.05, whatever the data; here on 35 sets with random gains.
    """
    assert ALPHA / PAPER_SETS < (1 - CONFIDENCE) / 2 < ALPHA
    rng = np.random.default_rng(0)
    sets = []
    for number in range(PAPER_SETS):
        accuracy, gain = rng.uniform(0.3, 0.9), rng.uniform(-0.1, 0.1)
        right = rng.binomial(5000, accuracy), rng.binomial(300, accuracy + gain)
        sets.append(set_result(str(number), 5300, 300, Accuracies(5000, int(right[0]), 300, int(right[1]))))
    found = result(*sets)
    all_of = [each.accuracies for each in sets if each.accuracies]
    significant = {each.contamination.set for each in sets if found.is_significant(each)}
    above = {str(n) for n, each in enumerate(all_of) if each.excludes_clean and (each.overlap_difference or 0) > 0}
    alone = {str(n) for n, each in enumerate(all_of) if each.p_value is not None and each.p_value <= ALPHA}
    assert 0 < len(significant) <= len(above) <= len(alone) < PAPER_SETS
    assert significant <= above <= alone
    assert any(each.excludes_clean and (each.overlap_difference or 0) < 0 for each in all_of)


def test_known_contamination_is_found_in_simulation() -> None:
    """With items known by heart the mean of All - Clean is the accuracy that they add, and power is as it should be.

    A model is right on 60 % of unseen items; of 5 % that it saw, on 70 %. 2,000 simulated sets of 4,000 items.
    """
    rng = np.random.default_rng(1)
    right = rng.binomial(3800, 0.6, 2000), rng.binomial(200, 0.7, 2000)
    found = [Accuracies(3800, int(clean), 200, int(overlap)) for clean, overlap in zip(*right, strict=True)]
    added = 0.05 * (0.7 - 0.6)
    standard_error = 0.05 * np.sqrt(0.7 * 0.3 / 200 + 0.6 * 0.4 / 3800) / np.sqrt(2000)
    assert np.mean([each.difference or 0.0 for each in found]) == pytest.approx(added, abs=4 * standard_error)
    covered = np.mean([low <= 0.7 <= high for low, high in (each.interval or (0, 0) for each in found)])
    assert covered >= CONFIDENCE - 4 * np.sqrt(CONFIDENCE * (1 - CONFIDENCE) / 2000)
    power = np.mean([(each.p_value or 0.0) <= ALPHA for each in found])
    assert 0.8 < power < 1  # normal theory: 0.89


def test_without_an_effect_a_family_of_sets_is_seldom_called_significant() -> None:
    """Size: of 600 simulated audits of 35 sets on which overlap does nothing, at most 5 % find any significant set."""
    rng = np.random.default_rng(2)
    alarms = 0
    for _ in range(600):
        accuracy = rng.uniform(0.3, 0.95, PAPER_SETS)
        right = rng.binomial(20_000, accuracy), rng.binomial(150, accuracy)
        sets = [
            set_result("s", 20_150, 150, Accuracies(20_000, int(clean), 150, int(overlap)))
            for clean, overlap in zip(*right, strict=True)
        ]
        found = result(*sets)
        alarms += any(found.is_significant(each) for each in sets)
    assert alarms / 600 <= ALPHA + 2 * np.sqrt(ALPHA * (1 - ALPHA) / 600)


def test_fisher_keeps_its_size_where_the_papers_test_does_not() -> None:
    """With Clean no larger than Overlap the binomial test, which takes Clean as known, errs twice as often as it says.

    Fisher's exact test does not.
    """
    rng = np.random.default_rng(3)
    right = rng.binomial(150, 0.6, (2000, 2))
    found = [Accuracies(150, int(clean), 150, int(overlap)) for clean, overlap in right]
    paper = np.mean([(each.p_value or 0.0) <= ALPHA for each in found])
    fisher = np.mean([(each.fisher_p_value or 0.0) <= ALPHA for each in found])
    assert paper > 2 * ALPHA
    assert fisher <= ALPHA
