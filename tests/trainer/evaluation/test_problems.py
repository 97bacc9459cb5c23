from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from trainer.evaluation.features import Features
from trainer.evaluation.problems import Wording, departures, labels_of, pose, read_words, require_fit
from wit.errors import InputError, UserError


def features_of(classes: tuple[str, ...], labels: list[int]) -> Features:
    rows = np.zeros((len(labels), 2), np.float32)
    return Features(rows, np.array(labels), [str(row) for row in range(len(labels))], classes)


def test_classes_are_named_by_number_or_by_name(tmp_path: Path) -> None:
    """A set of numbers takes a list by number, though some have no image; one of names is matched by them."""
    (tmp_path / "names.txt").write_text("zero\none\ntwo\nthree\n")
    words = read_words("my set", Wording(str(tmp_path / "names.txt")))
    problem = pose(features_of(("0", "3"), [0, 1, 1]), words)
    assert problem.labels.tolist() == [0, 3, 3]
    assert problem.titles == ("zero", "one", "two", "three")
    assert labels_of(problem, features_of(("1", "2"), [1, 0]), "train").tolist() == [2, 1]
    named = pose(features_of(("one", "three", "two", "zero"), [0, 1, 2, 3]), words)
    assert named.titles == ("one", "three", "two", "zero")
    with pytest.raises(InputError, match=r"names\.txt: expected a name for each class of the set, found 4, and .* 7"):
        pose(features_of(("0", "7"), [0, 1]), words)
    with pytest.raises(InputError, match=r"expected names of the set's 5 classes, found 4"):
        require_fit(words, ("zero", "one", "two", "three", "four"))
    with pytest.raises(InputError, match=r"train: expected the 4 classes .* found 'five' too \(1 such\)"):
        labels_of(named, features_of(("one", "five"), [0, 1]), "train")


def test_numbers_that_may_count_from_1_are_never_guessed(tmp_path: Path) -> None:
    """1 to 4 are four names; 1 to 3 of four are an error, not the last three; 00 to 03 are numbers in both splits."""
    (tmp_path / "names.txt").write_text("first\nsecond\nthird\nfourth\n")
    words = read_words("my set", Wording(str(tmp_path / "names.txt")))
    whole = pose(features_of(("1", "2", "3", "4"), [3, 0]), words)
    assert [whole.titles[label] for label in whole.labels] == ["fourth", "first"]
    assert labels_of(whole, features_of(("2", "4"), [0, 1]), "train").tolist() == [1, 3]
    for judge in (lambda one: pose(features_of(one, [2]), words), lambda one: require_fit(words, one)):
        with pytest.raises(InputError, match=r"none for '1' .*write a line for each class: 1 = its name"):
            judge(("1", "2", "3"))
    padded = pose(features_of(("00", "01", "03"), [2]), words)
    assert padded.titles[padded.labels[0]] == "fourth"
    assert labels_of(padded, features_of(("00", "03"), [0, 1]), "train").tolist() == [0, 3]


def test_two_classes_of_one_name_are_told_apart(tmp_path: Path) -> None:
    """ImageNet has two missiles: a prediction of the one is no hit for the other."""
    (tmp_path / "names.txt").write_text("missile\nsunglasses\nmissile\n")
    problem = pose(features_of(("0", "1", "2"), [0, 1, 2]), read_words("s", Wording(str(tmp_path / "names.txt"))))
    assert problem.titles == ("missile", "sunglasses", "missile (2)")
    assert problem.prompts()[0] == problem.prompts()[2] == ("A photo of a missile.",)


def test_the_papers_sets_have_its_metric() -> None:
    """A set that is called as one of the paper's is scored as there, unless another metric is asked for."""
    assert (read_words("oxford-pets", Wording()).task, read_words("oxford-pets", Wording()).metric) == (
        "OxfordPets",
        "mean_per_class",
    )
    assert read_words("oxford-pets", Wording(), "accuracy").metric == "accuracy"
    assert read_words("other", Wording()).metric == "accuracy"
    with pytest.raises(UserError, match="--metric 'f1': expected one of accuracy"):
        read_words("other", Wording(), "f1")


def test_what_is_not_as_in_the_paper_is_said() -> None:
    """Fewer images, several classes an image, folds; nothing of a set that the paper has not."""
    features = features_of(("a", "b"), [0, 1])
    assert departures(pose(features, read_words("my set", Wording()))) == ()
    (images, classes, several) = departures(pose(features, read_words("PascalVOC2007", Wording())))
    assert (images, classes) == ("2 images, Table 9 has 4,952", "2 classes, the paper's prompts 20")
    assert several == "one class an image, the paper's set has several classes"
    assert departures(pose(features, read_words("stl10", Wording(), "mean_per_class")))[2:] == (
        "mean_per_class, the paper has accuracy",
        "one split, the paper has the mean of 10",
    )
