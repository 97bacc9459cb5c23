"""Result files are read as they were written; a mistake in one is a line that names the file and the key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.trainer.evaluation.report.world import result, write, write_predictions
from trainer.evaluation.report.results import ClassResult, Shots, read_checkpoint
from wit.errors import InputError


def test_what_was_written_is_read(tmp_path: Path) -> None:
    """Values, classes, curves, details and facts arrive; of facts in facts the names are joined."""
    row = {"class": "cat", "num_items": 4, "accuracy": 0.25, "mistaken_for": "dog", "times": 3}
    details = {
        "data": "cifar10=folder:/x",
        "confidence": 0.95,
        "top_k": {"5": 0.75},
        "warning": "careful",
        "shots": [{"shots": 1, "value": 0.25}, {"shots": 2, "value": 0.5}],
        "km": [{"group": "25 km", "value": 0.125, "interval": [0.0, 0.5]}],
        "confusion": [[0, 0, 1]],
    }
    facts = {"name": "tiny", "model": {"vision": {"width": 64}}, "training_flops": 1e15}
    folder = write(tmp_path / "run", [result(by_class=[row], details=details, published={"m": 3.0})], facts)
    read = read_checkpoint(str(folder))
    (found,) = read.results
    assert (read.name, read.compute) == ("tiny", {"training_flops": 1e15})
    assert read.facts == {"name": "tiny", "model.vision.width": "64", "training_flops": "1e+15"}
    assert found.by_class == (ClassResult("cat", 4, 0.25, "dog", 3),)
    assert found.curve == (Shots(1, 0.25), Shots(2, 0.5))
    assert (found.data, found.confidence, found.warning) == ("cifar10=folder:/x", 0.95, "careful")
    assert found.details == {"data": "cifar10=folder:/x", "top_k.5": "0.75"}
    assert found.tables["km"] == ({"group": "25 km", "interval": "0 to 0.5", "value": "0.125"},)
    assert found.published == {"m": 3.0}
    assert read.predictions("CIFAR10") is None


def test_a_checkpoint_has_a_short_name(tmp_path: Path) -> None:
    """What checkpoint.json says, or the name of the folder where it says a path or nothing."""
    for number, (facts, name) in enumerate([({"name": "tiny"}, "tiny"), ({"name": "runs/x"}, "1"), (None, "2")]):
        assert read_checkpoint(str(write(tmp_path / str(number), [result()], facts)) + "/").name == name


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"value": 50.0}, "value: expected a share from 0 to 1, found"),
        ({"value": 1.5}, "value: expected a share from 0 to 1, found"),
        ({"value": True}, "value: expected a share from 0 to 1, found"),
        ({"task": 3}, "task: expected a word, found"),
        ({"num_items": -1}, "num_items: expected a count"),
        ({"interval": [0.9, 0.1]}, "interval: expected the lower end first"),
        ({"interval": 0.5}, "interval: expected two shares"),
        ({"chance": "low"}, "chance: expected a share from 0 to 1, found"),
        ({"published": {"RN50": "high"}}, "published: RN50: expected a number"),
        ({"by_class": {"cat": 1}}, "by_class: expected a list of rows"),
        (
            {"by_class": [{"class": "cat", "num_items": 1, "accuracy": 2}]},
            "by_class, row 1: accuracy: expected a share from 0 to 1, found",
        ),
        ({"details": "none"}, "details: expected names with values"),
        (
            {"by_class": [{"class": "cat", "num_items": 1, "accuracy": 0, "times": 2}]},
            "by_class, row 1: times: expected at most the class's 1 items",
        ),
        ({"details": {"loss": float("nan")}}, "expected results in JSON: unexpected character"),
        ({"details": {"loss": 10**400}}, "expected results in JSON: number is infinity"),
        ({"details": {"name": "\ud800"}}, "expected results in JSON: no low surrogate"),
    ],
)
def test_a_wrong_value_is_named(tmp_path: Path, changed: dict[str, Any], expected: str) -> None:
    """One line: the file, the key, what was expected and found, what to do."""
    folder = write(tmp_path / "run", [result(**changed)])
    with pytest.raises(InputError) as caught:
        read_checkpoint(str(folder))
    message = str(caught.value)
    assert f"results/0.json: {expected}" in message
    assert message.endswith("; evaluate again")
    assert "\n" not in message


def test_what_is_no_result_is_said(tmp_path: Path) -> None:
    """Nothing there, no JSON, a missing key, the same evaluation twice, a compute that is none, other tables."""
    with pytest.raises(InputError, match=r"expected results/TASK.PROTOCOL.json .* found none; run wit evaluate"):
        read_checkpoint(str(tmp_path / "nothing"))
    broken = write(tmp_path / "broken", [result()])
    (broken / "results" / "0.json").write_text("{")
    with pytest.raises(InputError, match=r"0\.json: expected results in JSON"):
        read_checkpoint(str(broken))
    (broken / "results" / "0.json").write_text(json.dumps({"task": "x"}))
    with pytest.raises(InputError, match=r"0\.json: expected a manifest with task, protocol"):
        read_checkpoint(str(broken))
    with pytest.raises(InputError, match="expected one result of CIFAR10 by zero_shot, found two"):
        read_checkpoint(str(write(tmp_path / "twice", [result(), result()])))
    with pytest.raises(InputError, match="training_flops: expected a number above 0, found -1"):
        read_checkpoint(str(write(tmp_path / "flops", [result()], {"training_flops": -1})))
    folder = write(tmp_path / "run", [result()])
    write_predictions(folder, "CIFAR10", [("a", "b", "c", 0.5)])
    path = folder / "predictions" / "CIFAR10.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["prediction"]), path)
    with pytest.raises(InputError, match="found no prediction"):
        read_checkpoint(str(folder)).predictions("CIFAR10")
