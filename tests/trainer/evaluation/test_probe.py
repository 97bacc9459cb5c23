from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.trainer.evaluation.test_logistic import clusters, scikit
from trainer.evaluation import probe as probing
from trainer.evaluation.few_shot import draw_shots, few_shot, labels_to_match, mean_interval
from trainer.evaluation.logistic import Settings, prepare
from trainer.evaluation.metrics import Metric, accuracy, map_11_point, mean_per_class, mean_top1_top5, roc_auc
from trainer.evaluation.probe import (
    STRENGTHS,
    Labelled,
    Splits,
    Sweep,
    hashed_order,
    probe,
    search_strengths,
    split_off,
)
from wit.errors import InputError
from wit.statistics import clopper_pearson


def labelled(num_items: int, num_features: int, num_classes: int, seed: int = 0) -> Labelled:
    features, labels = clusters(num_items, num_features, num_classes, seed)
    return Labelled(features, labels, tuple(f"{row}.jpg" for row in range(num_items)))


def splits_of(whole: Labelled, num_classes: int) -> Splits:
    rest, test = split_off(whole, 0.3, "test")
    return Splits(rest, test, num_classes)


def test_strengths_are_the_papers() -> None:
    """1e-6 to 1e6, 96 steps, 8 a decade; 1e-6, 1e-4 ... 1e6 come first."""
    assert len(STRENGTHS) == 96 + 1
    np.testing.assert_allclose(STRENGTHS, np.logspace(-6, 6, 97))
    asked: list[tuple[float, ...]] = []

    def judge(indices: Sequence[int]) -> list[float]:
        asked.append(tuple(STRENGTHS[index] for index in indices))
        return [0.0] * len(indices)

    search_strengths(judge)
    np.testing.assert_allclose(asked[0], [1e-6, 1e-4, 1e-2, 1, 1e2, 1e4, 1e6])
    assert [len(each) for each in asked[1:]] == [1] * 4  # of equals the strongest is best, and lies at the edge


@given(st.integers(0, 96), st.floats(0.3, 3))
def test_search_finds_the_top_of_a_single_hill(top: int, power: float) -> None:
    """Wherever it is, in 15 fits at most, none of them twice."""
    asked: list[int] = []

    def judge(indices: Sequence[int]) -> list[float]:
        asked.extend(indices)
        return [-(abs(index - top) ** power) for index in indices]

    assert search_strengths(judge) == top
    assert len(asked) == len(set(asked)) <= 15


def test_of_equal_strengths_the_strongest_is_taken() -> None:
    """A plateau from 1e-4 to 1e2 gives its upper end, to an eighth of a decade."""
    best = search_strengths(lambda indices: [float(1e-4 <= STRENGTHS[index] <= 100.0001) for index in indices])
    assert STRENGTHS[best] == pytest.approx(100)


def test_probe_is_scikit_learns_at_the_same_strength() -> None:
    """Trained on train and validation items together, scored on the test items, to within one of 150."""
    whole = labelled(500, 20, 5)
    splits = splits_of(whole, 5)
    result = probe(splits, accuracy)
    theirs = scikit(np.asarray(splits.train.features), splits.train.labels, result.strength)
    assert result.value == pytest.approx(
        theirs.score(np.asarray(splits.test.features), splits.test.labels), abs=1.01 / 150
    )
    assert result.num_train + result.num_validation == len(splits.train.items)
    assert result.scores.shape == (len(splits.test.items), 5)
    assert result.converged
    assert max(each.value for each in result.trials) == next(
        each.value for each in result.trials if each.strength == result.strength
    )


@pytest.mark.parametrize("metric", [accuracy, mean_per_class, mean_top1_top5])
def test_hopeless_strengths_are_left_out_and_change_nothing(metric: Metric, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where labels are wrong and features many, weak strengths learn by heart and are not tried: the probe is the same.

    Beside it a search that gives up none, and has all its fits together.
    """
    random = np.random.default_rng(0)
    true = np.arange(2_400) % 6
    features = random.normal(size=(2_400, 120)).astype(np.float32) + 2 * np.eye(6, 120, dtype=np.float32)[true]
    labels = np.where(random.random(2_400) < 0.3, random.integers(0, 6, 2_400), true)
    whole = Labelled(features, labels, tuple(map(str, range(2_400))))
    train, validation = whole.take(np.arange(400)), whole.take(np.arange(400, 2_400))
    splits = Splits(train, validation, 6, validation)
    quick = probe(splits, metric)
    monkeypatch.setattr(probing, "_FAR", 1e9)
    monkeypatch.setattr(probing, "_WIDTH", 1 << 20)
    slow = probe(splits, metric)
    tried = {trial.strength: trial.value for trial in quick.trials}
    assert STRENGTHS[0] not in tried
    assert STRENGTHS[0] in {trial.strength for trial in slow.trials}
    assert quick.strength == slow.strength
    assert quick.value == pytest.approx(slow.value, abs=2.01 / 2_000)


def test_a_given_validation_split_chooses() -> None:
    """Validation items that are labelled at random but for their prior cannot gain from weights: the edge is said."""
    whole = labelled(200, 10, 3)
    train, test = split_off(whole, 0.3)
    noise = Labelled(test.features, np.zeros_like(test.labels), test.items)
    uneven = train.take(np.flatnonzero((train.labels == 0) | (np.arange(len(train.labels)) % 4 == 0)))
    result = probe(Splits(uneven, test, 3, noise), accuracy)
    assert result.strength == STRENGTHS[-1]
    assert result.at_edge
    assert result.num_validation == len(noise.items)


def test_probe_serves_every_kind_of_metric() -> None:
    """Two classes by ROC AUC, several labels by 11-point mAP: planted clusters are found by both."""
    two = labelled(300, 10, 2)
    assert probe(splits_of(two, 2), roc_auc).value > 0.8
    many = labelled(300, 10, 4)
    hot = np.eye(4, dtype=np.int64)[many.labels]
    splits = splits_of(Labelled(many.features, hot, many.items), 4)
    assert probe(splits, map_11_point).value > 1.5 * hot.mean()


def test_probe_is_the_same_again() -> None:
    """Same items, same numbers to the last bit."""
    splits = splits_of(labelled(200, 12, 3), 3)
    np.testing.assert_array_equal(probe(splits, accuracy).scores, probe(splits, accuracy).scores)


@given(st.lists(st.integers(0, 4), min_size=10, max_size=60), st.randoms(use_true_random=False))
def test_a_split_keeps_classes_and_does_not_look_at_order(labels: list[int], random: object) -> None:
    """Every item is on one side; a class of two or more is on both; which ones does not depend on their order."""
    items = Labelled(
        np.arange(len(labels), dtype=np.float32)[:, None], np.array(labels), tuple(map(str, range(len(labels))))
    )
    rest, held_out = split_off(items, 0.2)
    assert sorted(rest.items + held_out.items) == sorted(items.items)
    for label in set(labels):
        number = labels.count(label)
        drawn = int((held_out.labels == label).sum())
        assert drawn == (max(round(0.2 * number), 1) if number > 1 else 0)
    turned = items.take(np.arange(len(labels))[::-1].copy())
    assert set(split_off(turned, 0.2)[1].items) == set(held_out.items)


@pytest.mark.parametrize("folder", ["train/", "sets/cifar10/train/", "/sets/"])
def test_images_are_drawn_alike_however_their_set_is_named(folder: str) -> None:
    """By a path to train/ or by the folder above it, the same images; the folder of a class still counts."""
    names = [f"{label}/{number}.jpg" for label in ("cat", "dog") for number in range(20)]
    drawn = hashed_order(names, "salt").tolist()
    assert hashed_order([folder + name for name in names], "salt").tolist() == drawn
    assert hashed_order([name.replace("cat/", "cow/") for name in names], "salt").tolist() != drawn


def test_no_class_to_split_is_an_error() -> None:
    """One item a class leaves nothing to choose by."""
    items = Labelled(np.zeros((3, 2), np.float32), np.arange(3), ("a", "b", "c"))
    with pytest.raises(InputError, match=r"expected classes of 2 items or more .* give a validation split"):
        split_off(items, 0.2)


def test_a_weak_strength_is_judged_by_a_fit_of_its_own() -> None:
    """Of items that can be told apart, each strength of the first pass takes the way that it takes alone.

    From a stronger one's optimum the gradient is within the tolerance at once, and that fit would be judged again.
    """
    train, held_out = split_off(labelled(90, 120, 6), 0.4)
    how = Settings()
    problem = prepare(train.features, train.labels, 6, how)
    turned = problem.axes.turn(held_out.features)

    def sweep() -> Sweep:
        return Sweep(problem, turned, held_out.labels, accuracy, how)

    together = sweep()
    together(range(0, len(STRENGTHS), 16))
    assert len(together.trials) >= 4
    for index, trial in together.trials.items():
        alone = sweep()
        alone([index])
        assert alone.trials[index].num_iterations == pytest.approx(trial.num_iterations, abs=2)
        assert alone.trials[index].value == pytest.approx(trial.value, abs=1.5 / len(held_out.items))


def test_shots_are_nested_and_differ_by_repeat() -> None:
    """So many of each class; those of 2 are among those of 4; another repeat draws others."""
    items = labelled(400, 4, 5)
    drawn = {shots: draw_shots(items, 5, shots, 0) for shots in (1, 2, 4)}
    for shots, part in drawn.items():
        assert np.bincount(part.labels).tolist() == [shots] * 5
    assert set(drawn[1].items) < set(drawn[2].items) < set(drawn[4].items)
    assert set(draw_shots(items, 5, 4, 1).items) != set(drawn[4].items)


def test_more_shots_are_worth_more() -> None:
    """On planted clusters: from above chance to near the full probe; the deviation is of the repeats."""
    splits = splits_of(labelled(300, 8, 4), 4)
    results = few_shot(splits, accuracy, (1, 8), num_repeats=2)
    values = [each.value for each in results]
    assert 1 / 4 < values[0] < values[1] <= probe(splits, accuracy).value + 0.03
    assert results[0].deviation == pytest.approx(np.std(results[0].values, ddof=1))


def test_an_interval_covers_draws_and_items() -> None:
    """Of 300 experiments of 3 draws and 150 items, of an accuracy of 0.7 that both move, about 95 % cover it.

    300 trials at 0.95: 277 to 294 with probability 0.97. Items alone (one draw) are said to be 1.96 deviations.
    """
    rng = np.random.default_rng(0)
    labels, covered = np.zeros(150, np.int64), 0
    for _ in range(300):
        share = 0.7 + 0.04 * rng.normal(size=(3, 1)) + 0.2 * rng.choice([-1, 1], size=150)
        hits = (rng.random((3, 150)) < share).astype(np.float64)
        redraws = [partial(_mean_of, row) for row in hits]
        low, high = mean_interval(hits.mean(axis=1).tolist(), redraws, labels)
        covered += low <= 0.7 <= high
    assert 277 <= covered <= 294
    hits = np.arange(150) % 2.0
    low, high = mean_interval([0.5], [partial(_mean_of, hits)], labels)
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(0.25 / 150), rel=0.2)


def test_shots_that_are_all_right_have_an_interval() -> None:
    """150 of 150 in each of three draws: not 1 to 1, but Clopper-Pearson's."""
    found = mean_interval([1.0] * 3, [partial(_mean_of, np.ones(150))] * 3, np.arange(150) % 10)
    assert found == pytest.approx(clopper_pearson(150, 150, 0.95))


def _mean_of(hits: NDArray[np.float64], counts: NDArray[np.int32]) -> NDArray[np.float64]:
    return np.asarray(counts @ hits / len(hits), dtype=np.float64)


def test_intervals_of_shots_hold_their_means() -> None:
    """On planted clusters: around the mean, of some width, within 0 and 1."""
    splits = splits_of(labelled(300, 8, 4), 4)
    for each in few_shot(splits, accuracy, (1, 8), num_repeats=2):
        assert 0 <= each.interval[0] < each.value < each.interval[1] <= 1


def test_a_class_of_too_few_items_is_an_error() -> None:
    """It is named, with what it has."""
    with pytest.raises(InputError, match="few-shot: expected 16 training items of each class, found 0 of class 4"):
        draw_shots(labelled(300, 4, 4), 5, 16, 0)
    several = Labelled(np.zeros((2, 2), np.float32), np.eye(2, dtype=np.int64), ("a", "b"))
    with pytest.raises(InputError, match="few-shot: expected one label an item"):
        draw_shots(several, 2, 1, 0)


@given(st.floats(0.05, 0.1), st.floats(0.02, 0.1), st.floats(0.1, 6))
def test_labels_to_match_undoes_a_logarithm(base: float, slope: float, log2_labels: float) -> None:
    """Values that grow by `slope` a doubling give back the number of labels at which they were taken."""
    curve = [(2.0**power, base + slope * power) for power in (0, 1, 2, 3, 4, 7)]
    match = labels_to_match(base + slope * log2_labels, curve)
    assert match.labels is not None
    assert math.log2(match.labels) == pytest.approx(log2_labels, abs=1e-6)


def test_labels_to_match_says_what_lies_outside() -> None:
    """Below one shot as the paper prints it; above the full probe; at a point itself; at the first of two crossings."""
    curve = [(1, 0.3), (2, 0.5), (4, 0.4), (8, 0.6), (100, 0.8)]
    assert str(labels_to_match(0.2, curve)) == "<1"
    assert str(labels_to_match(0.9, curve)) == ">100"
    assert str(labels_to_match(0.3, curve)) == "1.0"
    assert labels_to_match(0.45, curve).labels == pytest.approx(2**0.75)
    assert labels_to_match(0.8, curve).labels == pytest.approx(100)
