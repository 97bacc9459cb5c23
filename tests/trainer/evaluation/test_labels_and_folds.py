"""`wit evaluate` on images of several classes, and on sets of several folds: from their own files to results."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from PIL import Image
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from pipelines.report.overlap.predictions import read_predictions
from tests.trainer.evaluation.test_evaluate import MERGES
from tests.trainer.evaluation.test_scoring import make_model
from trainer.evaluation.cli import evaluate
from trainer.evaluation.evaluating import evaluate_zero_shot, score_prompts
from trainer.evaluation.features import Embedding, Features, embed_set
from trainer.evaluation.fitting import few_shot_curve, linear_probe, split_features
from trainer.evaluation.metrics import NOT_JUDGED, average_precisions
from trainer.evaluation.outcomes import Outcome
from trainer.evaluation.problems import (
    JudgedFold,
    Problem,
    Wording,
    departures,
    judged_part,
    labels_of,
    pose,
    read_words,
    remarks,
)
from trainer.evaluation.sets import number_labels, open_set, open_split
from trainer.evaluation.suite import Names
from trainer.interchange.writing import write_openai
from trainer.tokenizer import ClipTokenizer
from wit.errors import InputError
from wit.evaluation_sets import Fold
from wit.schema import PREDICTIONS

CLASSES = ("blue", "green", "red")
COLOURS = {"blue": (20, 20, 220), "green": (20, 220, 20), "red": (220, 20, 20)}
RNG = np.random.default_rng(0)
MODEL: Any = make_model("contrastive")


def halves(left: str, right: str, seed: int) -> bytes:
    """An image whose halves have two colours."""
    rng = np.random.default_rng(seed)
    pixels = np.concatenate([rng.normal(COLOURS[name], 25, (40, 20, 3)) for name in (left, right)], axis=1)
    buffer = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def write_voc(root: Path, num_test: int = 18, num_train: int = 36) -> Path:
    """VOC's folder of images with one or two colours, which are their classes; the first is red, but hard to see."""
    folder = root / "VOC2007"
    (folder / "JPEGImages").mkdir(parents=True)
    (folder / "ImageSets" / "Main").mkdir(parents=True)
    marks: dict[str, dict[str, list[str]]] = {"test": {}, "trainval": {}}
    pairs = [(left, right) for left in CLASSES for right in CLASSES]
    for number in range(num_test + num_train):
        own = pairs[number % len(pairs)]
        split = "test" if number < num_test else "trainval"
        (folder / "JPEGImages" / f"{number:06}.jpg").write_bytes(halves(*own, number))
        for name in CLASSES:
            mark = "0" if number == 0 and name == "red" else "1" if name in own else "-1"
            marks[split].setdefault(name, []).append(f"{number:06} {mark:>2}\n")
    for split, lists in marks.items():
        for name, lines in lists.items():
            (folder / "ImageSets" / "Main" / f"{name}_{split}.txt").write_text("".join(lines))
    return root


@pytest.fixture(scope="module")
def voc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_voc(tmp_path_factory.mktemp("voc"))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("model")
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in MERGES))
    write_openai(str(folder / "model.safetensors"), MODEL)
    return [str(folder / "model.safetensors"), "--merges", str(folder / "merges.txt"), "--device", "cpu"]


def run(checkpoint: list[str], *arguments: object) -> str:
    shown = CliRunner().invoke(evaluate, [*checkpoint, *map(str, arguments)], catch_exceptions=False)
    assert shown.exit_code == 0, shown.output
    return shown.output


def result(out: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "results" / f"{name}.json").read_text())
    return found


def eleven_points(scores: np.ndarray[Any, Any], own: np.ndarray[Any, Any]) -> float:
    """The mean of the best precision at recall of 0, 0.1 ... 1, item by item: scores are distinct."""
    hits = own[np.argsort(-scores)]
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    recall = np.cumsum(hits) / hits.sum()
    return float(np.mean([precision[recall >= point / 10 - 1e-9].max() for point in range(11)]))


def test_labels_are_rows_of_classes() -> None:
    """One class an item: its number; several in any label: 1, 0, and what is not judged, for each item."""
    assert number_labels(CLASSES, ["red", "blue"]).tolist() == [2, 0]
    several = number_labels(CLASSES, ["red\nblue\n", "\n", "\ngreen\n"])
    assert several.tolist() == [[1, 0, 1], [0, 0, 0], [0, NOT_JUDGED, 0]]


def test_voc_is_scored_as_its_challenge_does(voc: Path, checkpoint: list[str], tmp_path: Path) -> None:
    """Zero-shot's value is the mean of the 11-point precisions of a softmax over classes, a class's difficult images
    left out, which are in the rows of classes; predictions agree with what the result says is right."""
    out = tmp_path / "out"
    shown = run(checkpoint, "--data", f"voc2007={voc}", "--out", out)
    found = result(out, "PascalVOC2007.zero_shot")
    features = embed(voc)
    shares = softmax(score_prompts(MODEL, ClipTokenizer(MERGES), features, pose(
        features, read_words("voc2007", Wording())).prompts()).astype(np.float64), axis=1)  # fmt: skip
    assert features.labels[0].tolist() == [1, 0, NOT_JUDGED]
    expected = [
        eleven_points(shares[labels >= 0, number], labels[labels >= 0])
        for number, labels in enumerate(features.labels.T)
    ]
    assert found["value"] == pytest.approx(np.mean(expected))
    by_class = {row["class"]: row for row in found["by_class"]}
    assert [by_class[name]["average_precision"] for name in CLASSES] == pytest.approx(expected)
    assert [by_class[name]["num_items"] for name in CLASSES] == (features.labels == 1).sum(axis=0).tolist()
    low, high = found["interval"]
    assert low <= found["value"] <= high
    assert "images that neither show a class nor lack it for certain, left out of that class: 1" in shown
    table = pq.read_table(out / "predictions" / "PascalVOC2007.parquet")
    assert table.schema.equals(PREDICTIONS)
    right = sum(row["label"] == row["prediction"] for row in table.to_pylist())
    assert right == found["details"]["num_correct"]
    likeliest = np.where(features.labels == NOT_JUDGED, -1, shares).argmax(axis=1)
    assert right == int((features.labels[np.arange(len(likeliest)), likeliest] == 1).sum())


def test_predictions_of_several_classes_are_read_by_the_audit(voc: Path, checkpoint: list[str], tmp_path: Path) -> None:
    """`wit overlap --predictions` reads the file: an image is right where its likeliest class is one of its own."""
    run(checkpoint, "--data", f"voc={voc}", "--metric", "map_11_point", "--out", tmp_path)
    read = read_predictions(str(tmp_path / "predictions" / "voc.parquet"))
    assert len(read.verdicts) == 18
    assert (
        sum(verdict is True for verdict in read.verdicts.values())
        == (result(tmp_path, "voc.zero_shot")["details"]["num_correct"])
    )


def test_a_probe_of_several_classes_is_scikit_learns(voc: Path) -> None:
    """A regression a class: each scores images as scikit-learn's does at the strength that was found, but for
    a constant, which ranks nothing."""
    test, train = embed(voc), embed_split(voc, "train")
    problem = pose(test, read_words("voc2007", Wording()))
    splits = split_features(problem, test, train, None, "voc")
    found = linear_probe(problem, splits, "cpu", {})
    assert found.independent
    assert found.value > 0.9
    for number in range(3):
        theirs = LogisticRegression(C=1 / found.details["strength"], max_iter=10_000, tol=1e-8)
        theirs.fit(train.features, train.labels[:, number])
        ours, own = found.scores[:, number], theirs.decision_function(test.features)
        np.testing.assert_allclose(ours - ours.mean(), own - own.mean(), atol=0.02 * np.std(own))
    assert found.value == pytest.approx(
        np.mean([eleven_points(found.scores[labels >= 0, number], labels[labels >= 0])
                 for number, labels in enumerate(test.labels.T)])
    )  # fmt: skip


def embed(path: Path) -> Features:
    return embed_set(MODEL, open_set(f"s={path}"), Embedding())


def embed_split(path: Path, split: str) -> Features:
    opened = open_split(open_set(f"s={path}"), split)
    assert opened is not None
    return embed_set(MODEL, opened, Embedding())


def test_what_does_not_go_with_several_classes(voc: Path, checkpoint: list[str], tmp_path: Path) -> None:
    """Another metric and few-shot are refused in one line; in a suite few-shot is left out, and said.

    So are labels that say of every image that it shows no class.
    """
    with pytest.raises(InputError, match="expected one class an image for accuracy, found several; give --metric map"):
        run(checkpoint, "--data", f"s={voc}")
    features = embed(voc)
    problem = pose(features, read_words("voc2007", Wording()))
    splits = split_features(problem, features, features, None, "voc")
    with pytest.raises(InputError, match="few-shot: expected one class an image, found several; leave --shots out"):
        few_shot_curve(problem, splits, (1,), "cpu", (0.5, None))
    one = Features(features.features, np.zeros(len(features.items), np.int64), features.items, CLASSES)
    with pytest.raises(InputError, match="expected several classes an image, as those that are judged have, found one"):
        labels_of(problem, one, "train")
    bare = replace(features, labels=np.zeros_like(features.labels))
    with pytest.raises(InputError, match="PascalVOC2007: expected images that show one of its classes, found none"):
        pose(bare, read_words("voc2007", Wording()))
    (tmp_path / "sets").mkdir()
    (tmp_path / "sets" / "VOC2007").symlink_to(voc)
    shown = run(checkpoint, "--suite", "kornblith", "--data", tmp_path / "sets", "--shots", "1")
    assert "PascalVOC2007: left out of few-shot, as its images have several classes" in shown


def problem_of(labels: np.ndarray[Any, Any], metric: str, num_classes: int = 3) -> Problem:
    names = Names(tuple((name,) for name in ("a", "b", "c")[:num_classes]), labels=("a", "b", "c")[:num_classes])
    return Problem("s", metric, labels, names, ("{label}",))


def test_the_full_probe_stands_where_its_labels_are() -> None:
    """Labels to match zero-shot at the full probe's own value: all that this was fitted on, training and validation
    images, over the classes that have images; a name without one is no class."""
    problem = problem_of(np.tile([0, 2], 10), "accuracy")
    rng = np.random.default_rng(0)

    def some(num_each: int) -> Features:
        items = [f"{number}.png" for number in range(2 * num_each)]
        return Features(
            rng.normal(size=(2 * num_each, 4)).astype(np.float32), np.tile([0, 1], num_each), items, ("a", "c")
        )

    splits = split_features(problem, some(10), some(12), some(8), "s")
    curve = few_shot_curve(problem, splits, (1,), "cpu", (1.0, 1.0))
    assert curve.labels_to_match == f"{12 + 8:.1f}"
    assert curve.num_items == 20


def test_images_without_a_class_are_in_no_predictions() -> None:
    """They count against every class in precision, and are neither right nor wrong; a difficult class is never the
    answer."""
    labels = np.array([[1, 0, 0], [0, 0, 0], [0, NOT_JUDGED, 1], [0, 1, 0]])
    scores = np.array([[2.0, 1, 0], [9, 0, 0], [0, 9, 8], [3, 0, 1]], np.float32)
    outcome = Outcome(problem_of(labels, "map_11_point"), "zero_shot", ["p", "q", "r", "s"], scores)
    rows = outcome.predictions().to_pylist()
    assert [(row["path"], row["label"], row["prediction"]) for row in rows] == [
        ("p", "a", "a"), ("r", "c", "c"), ("s", "b", "a"),
    ]  # fmt: skip
    assert [row["label_rank"] for row in rows] == [1, 1, 3]
    assert outcome.accuracy == pytest.approx(2 / 3)
    assert outcome.result()["details"]["num_labelled"] == 3
    precisions = average_precisions(softmax(scores.astype(np.float64), axis=1), labels)
    assert outcome.value == pytest.approx(precisions.mean())
    assert [line[:24] for line in remarks(outcome.problem)] == ["images that neither show", "images of no class, whic"]


def test_a_class_that_a_fold_has_not_is_the_mean_of_the_others() -> None:
    """Class 2 has items in the second fold only, where it ranks first: its precision is 1, and a number of JSON."""
    labels = np.array([[1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 1], [0, 1, 0]])
    scores = np.eye(3, dtype=np.float32)[[0, 1, 0, 2, 1]]
    folds = (JudgedFold("a", np.array([0, 1])), JudgedFold("b", np.array([2, 3, 4])))
    outcome = Outcome(replace(problem_of(labels, "map_11_point"), folds=folds), "zero_shot", list("pqrst"), scores)
    assert [row["average_precision"] for row in outcome.by_class()] == [1, 1, 1]


def test_roc_auc_ranks_by_logits() -> None:
    """By the difference of the two logits, however large, whichever class stands first: scikit-learn's value."""
    labels = RNG.integers(0, 2, 200)
    margin = RNG.normal(0, 60, 200) + 30 * labels  # a softmax of which is 0 or 1 for most
    scores = np.stack([RNG.normal(0, 1, 200), np.zeros(200)], axis=1)
    scores[:, 1] = scores[:, 0] + margin
    expected = roc_auc_score(labels, margin)
    assert Outcome(problem_of(labels, "roc_auc", 2), "zero_shot", [], scores).value == pytest.approx(expected)
    turned = Outcome(problem_of(1 - labels, "roc_auc", 2), "zero_shot", [], scores[:, ::-1])
    assert turned.value == pytest.approx(expected)


def write_stl(folder: Path, labels: dict[str, list[int]], folds: str) -> Path:
    """STL-10's files of images that are blue, green or red as their class says, but those of the last fold's."""
    folder.mkdir(parents=True)
    for part, own in labels.items():
        rng = np.random.default_rng(len(own))
        images = [rng.normal(COLOURS[CLASSES[label % 3]], 25, (96, 96, 3)).clip(0, 255) for label in own]
        data = b"".join(each.astype(np.uint8).tobytes(order="F") for each in images)
        (folder / f"{part}_X.bin").write_bytes(data)
        (folder / f"{part}_y.bin").write_bytes(bytes(label + 1 for label in own))
    (folder / "fold_indices.txt").write_text(folds)
    return folder


def test_stl10_is_the_mean_of_its_folds(checkpoint: list[str], tmp_path: Path) -> None:
    """A fold of all classes is right, one that has not seen a class is wrong on that class: the value is their mean,
    each fold's is told with what it was fitted on; zero-shot has nothing to fit and judges once."""
    own = [0, 1, 2] * 8
    root = write_stl(tmp_path / "stl10", {"train": own, "test": [0, 1, 2] * 4}, "")
    whole = " ".join(map(str, range(24)))
    two = " ".join(str(number) for number in range(24) if own[number] != 2)
    (root / "fold_indices.txt").write_text(f"{whole}\n{two}\n")
    out = tmp_path / "out"
    shown = run(checkpoint, "--data", f"stl10={root}", "--probe", "--shots", "2", "--out", out)
    found, zero = result(out, "STL10.linear_probe"), result(out, "STL10.zero_shot")
    assert [row["fold"] for row in found["details"]["folds"]] == ["fold 1", "fold 2"]
    assert [row["value"] for row in found["details"]["folds"]] == [1.0, pytest.approx(2 / 3)]
    assert [row["num_train"] + row["num_validation"] for row in found["details"]["folds"]] == [24, 16]
    assert found["value"] == pytest.approx(5 / 6)
    assert found["num_items"] == zero["num_items"] == 12
    assert "folds" not in zero["details"]
    assert [row.get("num_classes_not_fitted") for row in found["details"]["folds"]] == [None, 1]
    assert "classes with images to judge and none to fit on, so that none of theirs can be right: 1" in shown
    assert re.search(r"  2-shot accuracy [\d.]+% \(95 % interval [\d.]+% to [\d.]+%\), deviation over 3 draws", shown)
    assert "the mean of 2 folds, 66.7% to 100.0%" in shown
    assert "the mean of 2 splits, the paper has that of 10" in shown
    assert result(out, "STL10.few_shot")["details"]["fold"] == "fold 1"


def write_ucf(root: Path) -> Path:
    """Frames of 18 videos of three classes; in the second split all of them are in the list of training."""
    lists = root / "ucfTrainTestlist"
    lists.mkdir(parents=True)
    (lists / "classInd.txt").write_text("".join(f"{place} {name}\n" for place, name in enumerate(CLASSES, 1)))
    videos = [(name, f"{name}/v_{name}_g{group:02}.avi") for name in CLASSES for group in range(6)]
    for number, (name, video) in enumerate(videos):
        path = root / video.replace(".avi", ".png")
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(halves(name, name, number))
    for split, groups in ((1, {"00", "01"}), (2, {"02"})):
        tests = [video for _, video in videos if video[-6:-4] in groups]
        rest = [(name, video) for name, video in videos if video not in tests]
        (lists / f"testlist{split:02}.txt").write_text("".join(f"{video}\n" for video in tests))
        (lists / f"trainlist{split:02}.txt").write_text(
            "".join(f"{video} {CLASSES.index(name) + 1}\n" for name, video in rest)
        )
    return root


def test_ucf101_is_the_mean_of_its_splits(checkpoint: list[str], tmp_path: Path) -> None:
    """Zero-shot and probe are the mean over splits of their own test videos; a video that is in no list of tests is
    judged in none, though it is trained on."""
    root, out = write_ucf(tmp_path / "UCF101"), tmp_path / "out"
    run(checkpoint, "--data", f"UCF101={root}", "--probe", "--out", out)
    zero, probe = result(out, "UCF101.zero_shot"), result(out, "UCF101.linear_probe")
    features = judged_part(embed(root), open_set(f"s={root}").listing.folds)
    assert zero["num_items"] == probe["num_items"] == len(features.items) == 9
    problem = pose(features, read_words("UCF101", Wording()))
    scores = score_prompts(MODEL, ClipTokenizer(MERGES), features, problem.prompts())
    hits = scores.argmax(axis=1) == problem.labels
    groups = [item[-6:-4] for item in features.items]
    values = [np.mean([hit for hit, group in zip(hits, groups, strict=True) if group in own])
              for own in ({"00", "01"}, {"02"})]  # fmt: skip
    assert [row["value"] for row in zero["details"]["folds"]] == pytest.approx(values)
    assert zero["value"] == pytest.approx(np.mean(values))
    training = evaluate_zero_shot(MODEL, ClipTokenizer(MERGES), open_set(f"s={root}"), read_words("s", Wording()))
    assert (training.value, training.items) == (zero["value"], features.items)
    assert pq.read_table(out / "predictions" / "UCF101.parquet")["path"].to_pylist() == features.items
    assert probe["value"] == 1.0
    assert [row["num_train"] + row["num_validation"] for row in probe["details"]["folds"]] == [12, 15]
    assert "2 splits, the paper has that of 3" in zero["details"]["not_as_the_paper"]


def test_folds_of_other_images_are_an_error() -> None:
    """Folds name images of the set's own training part: others, given by --train, are none of them."""
    rows = RNG.normal(size=(6, 4)).astype(np.float32)
    features = Features(rows, np.array([0, 1] * 3), [f"x/{row}" for row in range(6)], ("a", "b"))
    problem = pose(features, read_words("s", Wording()))
    splits = split_features(problem, features, features, None, "s")
    with pytest.raises(InputError, match=r"fold 1, training images: expected some of its 1 images .* leave --train"):
        linear_probe(problem, splits, "cpu", {}, (Fold("fold 1", frozenset({"y/0"})),))


def test_images_are_not_fitted_and_judged(voc: Path, checkpoint: list[str], tmp_path: Path) -> None:
    """The same images for both are a mistake; of a set of several parts that is named twice each has its own."""
    run(checkpoint, "--data", f"voc2007={voc}", "--train", f"voc2007={voc}", "--probe")
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.png").write_bytes(halves("red", "blue", 0))
    with pytest.raises(InputError, match="--train: expected other images than those that are judged, found"):
        run(checkpoint, "--data", f"s={tmp_path}", "--train", f"s={tmp_path}", "--probe")


CALTECH = ("background", "off-center face", "centered face", "leopard", "head of a  crocodile", "crocodile", "ant")


def test_caltechs_folders_are_known(tmp_path: Path) -> None:
    """The released names of Caltech-101 find the folders whose names are others; what has no folder stays an answer
    that can be given, and that is said; a training folder of it is known."""
    names = [*CALTECH, *(f"class {number}" for number in range(95))]
    (tmp_path / "names.txt").write_text("\n".join(names))
    words = read_words("caltech101", Wording(str(tmp_path / "names.txt")))
    folders = ("Faces", "Faces_easy", "Leopards", "ant", "crocodile", "crocodile_head")
    rows = np.zeros((6, 2), np.float32)
    problem = pose(Features(rows, np.arange(6), list("abcdef"), folders), words)
    assert problem.titles[:6] == ("off-center face", "centered face", "leopard", "ant", "crocodile",
                                  "head of a  crocodile")  # fmt: skip
    assert problem.titles[6] == "background"
    assert problem.num_classes == 102
    assert remarks(problem) == ("96 of 102 classes have no image here: they can only be wrong answers",)
    assert problem.chance == pytest.approx(1 / 102)
    train = Features(rows[:2], np.array([0, 1]), ["a", "b"], ("BACKGROUND_Google", "Leopards"))
    assert labels_of(problem, train, "train").tolist() == [6, 2]
    assert departures(problem) == ("6 images, Table 9 has 6,085",)
