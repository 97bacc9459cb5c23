"""`wit evaluate-people`: planted answers give back their accuracy, and the page says what the command prints."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from tests.trainer.evaluation.report.test_report import check_alone
from tests.trainer.evaluation.report.world import planted_rows, write, write_predictions
from trainer.evaluation.report.cli import evaluate_people
from trainer.evaluation.report.people import judge
from wit.errors import InputError


def prepare(folder: Path) -> tuple[str, str]:
    """Write predictions of 24 items, and answers of two people: Ann always right, Bob "don't know" of red, else right.

    With one shot Ann alone answers, and calls all red. The model has red never right, grey always.
    """
    write_predictions(write(folder, []), "colours", planted_rows())
    lines = ["person,item,answer,shots"]
    for path, label, _, _ in planted_rows():
        lines += [f"Ann,{path},{label},0", f"Bob,{path},{'Don’t know' if label == 'red' else label.upper()},0"]
        lines += [f"Ann,{path},red,1"]
    (folder / "answers.csv").write_text("\n".join(lines), encoding="utf-8")
    return str(folder / "answers.csv"), str(folder / "predictions" / "colours.parquet")


def test_planted_answers_give_back_their_accuracy(tmp_path: Path) -> None:
    """Ann 100 % and Bob 75 % are 87.5 % in the mean; the model has 14 of 24; red is the hardest for all."""
    found = judge(*prepare(tmp_path / "run"))
    assert [one.people.accuracy for one in found.values()] == [0.875, 0.25]
    assert [one.model for one in found.values()] == pytest.approx([14 / 24, 14 / 24])
    hardest = found[0].agreement.classes[0]
    assert (hardest.name, hardest.people, hardest.model) == ("red", 0.5, 0.0)


def test_the_command_prints_and_writes(tmp_path: Path) -> None:
    """A line a number of shots; the page stands alone, Markdown has its rows, JSON null for what is not known."""
    answers, predictions = prepare(tmp_path / "run")
    out = tmp_path / "out"
    done = CliRunner().invoke(evaluate_people, [answers, "--predictions", predictions, "--out", str(out)])
    assert done.exit_code == 0
    assert done.output.startswith("0 shots: 2 people 87.5%, majority 100.0%, the model 58.3% (24 items); ")
    assert "1 shot: 1 person 25.0%" in done.output
    check_alone(out / "people.html")
    assert "| red | 50.0 | 0.0 | 0.0 | 6 | 12 |" in (out / "people.md").read_text()
    first = json.loads((out / "people.json").read_text())["by_shots"]
    assert [each["accuracy"] for each in first] == [0.875, 0.25]
    assert [each["paper"] for each in first] == [0.537, 0.757]
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    CliRunner().invoke(evaluate_people, [answers, "--predictions", predictions, "--out", str(out)])
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_other_predictions_are_one_line(tmp_path: Path) -> None:
    """A table without the columns of predictions, and an answer to an item that it has not, are named."""
    answers, predictions = prepare(tmp_path / "run")
    table = pq.read_table(predictions)
    pq.write_table(table.slice(1), predictions)
    with pytest.raises(InputError, match=r"answer of Ann to red/0\.png: expected an item of the evaluation"):
        judge(answers, predictions)
    pq.write_table(table.drop_columns(["label"]), predictions)
    with pytest.raises(InputError, match=r"colours\.parquet: expected predictions as wit evaluate writes them"):
        judge(answers, predictions)
