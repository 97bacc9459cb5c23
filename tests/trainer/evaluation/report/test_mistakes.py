"""Classes, confusions and pictures are those of the predictions."""

from __future__ import annotations

from pathlib import Path

import pytest
from sklearn.metrics import confusion_matrix, recall_score

from tests.trainer.evaluation.report.world import picture, planted_rows, write, write_images, write_predictions
from tests.trainer.evaluation.report.world import result as facts
from trainer.evaluation.report.mistakes import class_results, confusions, examples, pictures, worst_first
from trainer.evaluation.report.results import ClassResult, read_checkpoint
from wit.thumbnails import thumbnail


def test_classes_and_confusions_are_scikit_learns(tmp_path: Path) -> None:
    """Accuracy of a class is its recall, a confusion an entry of the matrix off the diagonal."""
    rows = planted_rows()
    folder = write(tmp_path / "run", [facts()])
    write_predictions(folder, "CIFAR10", rows)
    checkpoint = read_checkpoint(str(folder))
    predictions = checkpoint.predictions("CIFAR10")
    names = sorted({row[1] for row in rows})
    truth, guesses = [row[1] for row in rows], [row[2] for row in rows]
    matrix = confusion_matrix(truth, guesses, labels=names)
    found = class_results(checkpoint.results[0], predictions)
    assert [each.name for each in found] == names
    assert [each.accuracy for each in found] == pytest.approx(list(recall_score(truth, guesses, average=None)))
    pairs = {(each.label, each.prediction): each.times for each in confusions(checkpoint.results[0], predictions)}
    assert pairs == {
        (own, other): matrix[row, column]
        for row, own in enumerate(names)
        for column, other in enumerate(names)
        if row != column and matrix[row, column]
    }
    assert [each.name for each in worst_first(found)] == ["red", "blue", "green", "grey"]


def test_examples_are_those_that_the_model_is_surest_of(tmp_path: Path) -> None:
    """Of red the two mistakes of the highest probability; of grey the two hits; of grey no mistake."""
    folder = write(tmp_path / "run", [facts()])
    write_predictions(folder, "CIFAR10", planted_rows())
    table = read_checkpoint(str(folder)).predictions("CIFAR10")
    assert table is not None
    assert [each.item for each in examples(table, "red", right=False)] == ["red/5.png", "red/4.png"]
    assert [each.item for each in examples(table, "grey", right=True)] == ["grey/5.png", "grey/4.png"]
    assert examples(table, "grey", right=False) == []


def test_pictures_are_read_from_the_set(tmp_path: Path) -> None:
    """By the names that predictions have, with or without a name before the path; what is missing is said."""
    folder = write_images(tmp_path / "images=1")
    for data in (f"colours=folder:{folder}", f"colours={folder}", str(folder)):
        found, problem = pictures(data, ["red/2.png", "blue/0.png"])
        assert problem == ""
        assert found["red/2.png"].uri == thumbnail(picture(2, (220, 20, 20)))[0]
        assert set(found) == {"red/2.png", "blue/0.png"}
    assert pictures(str(folder), ["red/9.png", "red/1.png"])[1] == f"1 of 2 images are no longer in {folder}."
    assert pictures(str(tmp_path / "gone"), ["red/1.png"])[1].startswith("Pictures are missing: ")
    assert pictures("", ["red/1.png"]) == ({}, "The result does not say where its images lie.")
    (folder / "red" / "0.png").write_bytes(b"no picture")
    assert pictures(str(folder), ["red/0.png"])[0]["red/0.png"].problem


def test_classes_of_a_precision_are_in_its_order() -> None:
    """Where results bring the average precision of classes, it is what puts them in order, not the share of hits."""
    one = ClassResult("one", 4, 0.9, "", 0, precision=0.2)
    two = ClassResult("two", 4, 0.1, "", 0, precision=0.8)
    assert worst_first([two, one]) == [one, two]
