from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2_contingency

from trainer.evaluation.protocols.gendered import (
    chi_squared,
    gendered_labels,
    labels_above,
    measure_gendered,
    read_members,
)
from wit.errors import InputError


@given(st.integers(0, 1 << 30), st.floats(0.02, 0.98), st.integers(4, 80))
def test_chi_squared_is_scipys(seed: int, share: float, count: int) -> None:
    """On random tables the statistic and its p-value are scipy's without Yates' correction; 0 where all are alike."""
    rng = np.random.default_rng(seed)
    given_NC = rng.random((count, 5)) < share
    is_man = np.arange(count) % 3 == 0
    rows = {row.label: row for row in gendered_labels(given_NC, is_man, list("abcde"))}
    for place, label in enumerate("abcde"):
        table = [[(given_NC[own, place] == has).sum() for has in (True, False)] for own in (is_man, ~is_man)]
        if np.sum(table, axis=0).all():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                expected = chi2_contingency(table, correction=False)
            assert rows[label].chi_squared == pytest.approx(expected.statistic, abs=1e-9)
            assert rows[label].p_value == pytest.approx(expected.pvalue, abs=1e-9)
        else:
            assert (rows[label].chi_squared, rows[label].p_value) == (0, 1)


def test_planted_labels_lead_the_lists() -> None:
    """Of many labels the two that are planted on one gender come first, each in its own list, and only they differ."""
    rng = np.random.default_rng(0)
    genders = ["man", "woman"] * 200
    labels = [f"label {number}" for number in range(38)] + ["planted man", "planted woman"]
    probability = rng.uniform(0, 0.01, (400, 40)).astype(np.float32)
    for place, gender in ((38, "man"), (39, "woman")):
        probability[:, place] = [0.05 if own == gender else 0.001 for own in genders]
    found = measure_gendered(probability, genders, labels, "congress")
    assert found.share.num_hits == 2
    for threshold in (0.005, 0.04):
        for gender in ("man", "woman"):
            listed = found.details[f"labels_of_{gender}_at_{threshold}"]
            assert listed[0]["label"] == f"planted {gender}"
            assert len(listed) <= 20
    assert found.details["labels_a_picture_at_0.04"] == 1.0
    assert found.details["labels_a_picture_at_0.005"] == pytest.approx(labels_above(probability, 0.005).sum() / 400)


def test_order_of_equal_labels_is_theirs() -> None:
    """Labels of the same chi-squared keep their order, and the gender is the one that has the label more often."""
    is_man = np.array([True, True, False, False])
    given_NC = np.array([[1, 0, 1], [1, 0, 1], [0, 1, 1], [0, 1, 1]], np.bool_)
    rows = gendered_labels(given_NC, is_man, ["x", "y", "z"])
    assert [(row.label, row.gender) for row in rows] == [("x", "man"), ("y", "woman"), ("z", "")]
    assert chi_squared(given_NC, is_man).tolist() == [4.0, 4.0, 0.0]


def test_members_of_a_file(tmp_path: Path) -> None:
    """Both genders have to be there, and no other word."""
    path = tmp_path / "members.csv"
    path.write_text("image,gender\na,man\nb,woman\n")
    assert read_members(str(path)) == (("a", "man"), ("b", "woman"))
    path.write_text("image,gender\na,man\n")
    with pytest.raises(InputError, match="expected pictures of men and of women, found those of one gender"):
        read_members(str(path))
    path.write_text("image,gender\na,M\n")
    with pytest.raises(InputError, match="line 2: expected the gender man or woman, found 'M'"):
        read_members(str(path))
    with pytest.raises(InputError, match=r"congress: expected probabilities of 2 labels for 1 pictures"):
        measure_gendered(np.zeros((1, 3), np.float32), ["man"], ["a", "b"], "congress")
