"""The paper's numbers are those that could be verified, and no others come in."""

from __future__ import annotations

import tomllib
from importlib import resources
from statistics import fmean

import pytest

from trainer.evaluation.report.published import (
    CONFIRMED,
    CONSISTENT,
    GIVEN,
    STATUS,
    TABLES,
    Published,
    models,
    published,
)
from trainer.evaluation.suite.tasks import TASKS

MINE = tomllib.loads(resources.files("trainer.evaluation.report").joinpath("published.toml").read_text())


def test_every_number_is_of_a_task_of_table_9_and_has_a_status() -> None:
    """Tables 10 and 11 name tasks as the suite does; all are percentages, and each is found again by its task."""
    for protocol, table in MINE.items():
        for model, cells in table.items():
            assert set(cells) <= set(STATUS) - {GIVEN}
            assert len({task for values in cells.values() for task in values}) == sum(map(len, cells.values()))
            for status, values in cells.items():
                for task, value in values.items():
                    assert protocol not in TABLES or task in TASKS
                    assert 0 < value < 100
                    assert published(task, protocol, {})[model] == Published(value, status)


def test_the_probes_means_are_the_papers() -> None:
    """ViT-L/14@336px: 85.1 over the 27, 89.1 over Kornblith's 12: what the paper's leads of 5 and 2.6 points are of."""
    row = MINE["linear_probe"]["ViT-L/14@336px"][CONSISTENT]
    assert fmean(row[name] for name in TASKS) == pytest.approx(85.1, abs=0.05)
    assert fmean(row[name] for name, task in TASKS.items() if task.kornblith) == pytest.approx(89.1, abs=0.05)


def test_a_number_that_could_not_be_verified_does_not_come_in() -> None:
    """RN50 on Birdsnap is not in the file; a results file that brings one for it is not believed, however it spells."""
    given = {"RN50": 32.6, "ViT-L/14@336": 49.0, "CLIP vit_b_32": 37.8, "mine": 40.0}
    assert published("Birdsnap", "zero_shot", given) == {
        "ViT-L/14@336px": Published(49.5, CONSISTENT),
        "mine": Published(40.0, GIVEN),
    }


def test_a_task_is_known_by_its_other_names() -> None:
    """Confirmed numbers, such as ImageNet's 76.2, are found for any spelling; another protocol has none."""
    for name in ("ImageNet", "imagenet"):
        assert published(name, "zero_shot", {})["ViT-L/14@336px"] == Published(76.2, CONFIRMED)
    assert published("cifar10", "zero_shot", {}) == published("CIFAR10", "zero_shot", {})
    assert published("ImageNet", "few_shot", {}) == {}
    assert len(models("zero_shot")) == 9
    assert models("few_shot") == ()
