"""What users bring: which classes are ImageNet's, frames of videos, standard models."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.trainer.evaluation.shifts.world import write_table
from trainer.evaluation.problems import Problem
from trainer.evaluation.robustness import SHIFTS
from trainer.evaluation.shifts.frames import read_frames
from trainer.evaluation.shifts.matching import ImageNetClasses, match, read_mapping
from trainer.evaluation.shifts.standard import ON_CLASSES, read_models
from trainer.evaluation.suite import Names
from wit.errors import InputError

NAMES = ("tench", "crane bird", "backpack", "analog clock", "digital clock", "crane")
IDS = tuple(f"n0{1_000_000 + 10 * number}" for number in range(len(NAMES)))


def imagenet(labels: tuple[str, ...] = IDS) -> ImageNetClasses:
    """Return classes that a set calls so; their names come as a list in ImageNet's order."""
    source = Names(tuple((name,) for name in NAMES))
    names = Names(source.classes, (), labels)
    return ImageNetClasses.of(Problem("ImageNet", "accuracy", np.zeros(1, np.int64), names, ()), source)


def test_classes_are_matched_by_id_number_or_name() -> None:
    """An id, ImageNet's number and a name in any writing lead to one class, whatever its own images call it."""
    for labels in (IDS, tuple(str(number) for number in range(len(NAMES))), NAMES):
        known = imagenet(labels)
        for place, name in enumerate(NAMES):
            assert [known.find(text) for text in (labels[place], str(place), name.upper())] == [place] * 3
    assert imagenet().find("rucksack, back pack, packsack") == 2
    assert imagenet().find("tench, crane") is None
    assert match("V2", [str(number) for number in range(6)], imagenet(), None).groups == tuple((n,) for n in range(6))
    some = match("A", ["1", "5"], imagenet(), None)
    assert (some.labels, some.groups) == (("1", "5"), ((1,), (5,)))


def test_a_published_mapping_is_read_as_it_is(tmp_path: Path) -> None:
    """ObjectNet's: its names in another writing than its folders', synonyms with commas, classes with ";" between."""
    path = tmp_path / "objectnet_to_imagenet_1k.json"
    path.write_text(json.dumps({"Alarm clock": "analog clock; digital clock", "Backpack": "backpack, back pack"}))
    found = match("ObjectNet", ["air_freshener", "alarm_clock", "backpack"], imagenet(), read_mapping(str(path)))
    assert (found.labels, found.groups, found.num_imagenet_classes) == (("alarm_clock", "backpack"), ((3, 4), (2,)), 3)
    (tmp_path / "vid.json").write_text(json.dumps({"0": [0], "1": [1, 5]}))
    assert match("Vid", ["0", "1"], imagenet(), read_mapping(str(tmp_path / "vid.json"))).groups == ((0,), (1, 5))
    table = write_table(
        tmp_path / "vid.csv", [{"class": "bird", "imagenet": 1}, {"class": "bird", "imagenet": "crane"}]
    )
    assert match("Vid", ["bird"], imagenet(), read_mapping(str(table))).groups == ((1, 5),)


def test_what_else_imagenets_classes_are_called(tmp_path: Path) -> None:
    """More names by number, id or name; one that two classes have is nobody's, rather than the wrong one's."""
    path = tmp_path / "imagenet_to_labels.json"
    path.write_text(json.dumps({"0": "Tinca tinca, fish", IDS[1]: "wader", "Crane": "wader", "2": "crane"}))
    known = imagenet().also(read_mapping(str(path)), "f")
    assert [known.find(text) for text in ("tinca tinca, fish", "wader", "crane", "tench")] == [0, None, None, 0]
    with pytest.raises(InputError, match="f: expected classes of ImageNet's 6, found 'heron'"):
        imagenet().also({"heron": ("x",)}, "f")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1]", "expected a JSON object"),
        ("{", "expected JSON"),
        ("{}", "expected a JSON object"),
        ('{"a": {}}', "class 'a': expected a number or a text"),
        ('{"a": []}', "class 'a': expected a number or a text"),
        ('{"a": "x;"}', "class 'a': expected a class of ImageNet, found 'x;'"),
        ('{"bird": 1, "bird": 2}', "class 'bird' twice; give its classes of ImageNet as one list"),
        ('{"bird": "heron"}', "expected classes of ImageNet's 6, found 'heron' (and 0 more)"),
        ('{"bird": 6}', "expected classes of ImageNet's 6, found '6' (and 0 more)"),
        ('{"bird": 1, "fowl": "crane bird"}', "found one for both 'bird' and 'fowl'"),
    ],
)
def test_mappings_that_say_nothing(tmp_path: Path, content: str, message: str) -> None:
    """Each is one line with its file or its set."""
    path = tmp_path / "map.json"
    path.write_text(content)
    with pytest.raises(InputError) as raised:
        match("Birds", ["bird", "fowl"], imagenet(), read_mapping(str(path)))
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_published_frames_are_a_tables_frames(tmp_path: Path) -> None:
    """ImageNet-Vid-Robust's two files and a table with videos and numbers say the same."""
    rows = [{"item": f"v/{number}.png", "video": "v", "frame": number, "anchor": int(number == 11), "label": "1|2"}
            for number in (0, 1, 5, 11, 21, 22)]  # fmt: skip
    table = read_frames(str(write_table(tmp_path / "frames.csv", rows)))
    (tmp_path / "pmsets.json").write_text(json.dumps({"v/11.png": ["v/1.png", "v/5.png", "v/21.png"]}))
    (tmp_path / "labels.json").write_text(json.dumps({row["item"]: [1, 2] for row in rows}))
    published = read_frames(str(tmp_path))
    assert (table.near, table.labels) == (published.near, published.labels)
    assert table.items == {"v/1.png", "v/5.png", "v/11.png", "v/21.png"}
    assert table.classes == ("1", "2")


def _same(rows: list[dict[str, object]]) -> None:
    rows[1]["item"] = rows[0]["item"]


def _none(rows: list[dict[str, object]]) -> None:
    for row in rows:
        row["anchor"] = 0


def _word(rows: list[dict[str, object]]) -> None:
    rows[0]["anchor"] = "maybe"


def _half(rows: list[dict[str, object]]) -> None:
    rows[0]["frame"] = 1.5


def _unlabelled(rows: list[dict[str, object]]) -> None:
    rows[1]["label"] = ""


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_same, "line 3: expected each item once, found 'a' again after"),
        (_none, "expected an anchor, found none"),
        (_word, "line 2: expected 1 or 0 under 'anchor', found 'maybe'"),
        (_half, "line 2: expected a whole number under 'frame', found '1.5'"),
        (_unlabelled, "line 3: expected a label as others have, found none"),
    ],
)
def test_frames_that_cannot_be_judged(
    tmp_path: Path, spoil: Callable[[list[dict[str, object]]], None], message: str
) -> None:
    """Each is one line with its place."""
    rows: list[dict[str, object]] = [
        {"item": item, "video": "v", "frame": 0, "anchor": 1, "label": "x"} for item in ("a", "b")
    ]
    spoil(rows)
    with pytest.raises(InputError, match=message):
        read_frames(str(write_table(tmp_path / "frames.csv", rows)))


@pytest.mark.parametrize(
    ("near", "labels", "message"),
    [
        ('{"a": [1]}', '{"a": ["x"]}', "pmsets.json: 'a': expected a list of texts, found '1' in it"),
        ('{"a": [{}]}', '{"a": ["x"]}', "pmsets.json: 'a': expected a list of texts, found '{}' in it"),
        ('{"a": []}', '{"a": [["x"]]}', "labels.json: 'a': expected a list of texts or numbers, found"),
        ('{"a": []}', '{"a": [null]}', "labels.json: 'a': expected a list of texts or numbers, found 'None' in it"),
        ('{"a": "b"}', '{"a": ["x"]}', "pmsets.json: 'a': expected a list, found 'b'"),
        ("{}", '{"a": ["x"]}', "pmsets.json: expected lists by frame, found none"),
    ],
)
def test_published_frames_of_another_form(tmp_path: Path, near: str, labels: str, message: str) -> None:
    """Each is one line with its file and its frame."""
    (tmp_path / "pmsets.json").write_text(near)
    (tmp_path / "labels.json").write_text(labels)
    with pytest.raises(InputError) as raised:
        read_frames(str(tmp_path))
    assert message in str(raised.value)


def test_the_testbeds_columns_are_read(tmp_path: Path) -> None:
    """Its names of sets, the mean of pm-0 and pm-10, ImageNet on a set's classes; other types are not fitted."""
    rows = [
        {"model": f"m{n}", "type": "standard" if n < 4 else "more data", "val": 50 + 10 * n,
         "val-on-imagenet-a-classes": 60 + 9 * n, "imagenet-a": n or "", "imagenetv2-matched-frequency": 40 + 10 * n,
         "imagenet-vid-robust_pm0": 60 + n, "imagenet-vid-robust_pm10": 40 + n}
        for n in range(5)
    ]  # fmt: skip
    models = read_models(str(write_table(tmp_path / "testbed.csv", rows)))
    first = models.rows[1]
    assert first.accuracies == pytest.approx(
        {"ImageNet": 0.6, "ImageNet-A": 0.01, "ImageNetV2": 0.5, "ImageNet-Vid": 0.51}
    )
    assert first.on_classes == pytest.approx({"ImageNet-A": 0.69, "ImageNetV2": 0.6, "ImageNet-Sketch": 0.6})
    fitted = models.fit(["ImageNet-A"])
    assert fitted is not None
    assert (fitted.against, fitted.num_models, fitted.left_out, len(fitted.points)) == (ON_CLASSES, 3, 1, 4)
    assert fitted.points[0].x == pytest.approx(0.69)
    mean = models.fit(["ImageNetV2", "ImageNet-Vid"])
    assert mean is not None
    assert mean.against == "ImageNet"
    assert (mean.points[0].x, mean.points[0].y) == pytest.approx((0.5, 0.45))
    assert models.has_types
    assert models.fit(["ObjectNet"]) is None
    assert models.fit(SHIFTS) is None


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"model": "a", "top1": 1}], "expected columns model, ImageNet and one of ImageNetV2"),
        ([{"model": "a", "ImageNet": 1}], "expected columns model, ImageNet and one of ImageNetV2"),
        ([{"net": "a", "ImageNet": 1}], "expected 'model', found no 'model'"),
        ([{"model": "a", "ImageNet": 101, "ImageNet-A": 1}], "expected a number from 0 to 100 under 'ImageNet'"),
        ([{"model": "a", "ImageNet": "good", "ImageNet-A": 1}], "found 'good'"),
        ([{"model": "", "ImageNet": 1, "ImageNet-A": 1}], "expected a text under 'model'"),
        ([{"model": "a", "ImageNet": 0.5, "ImageNet-A": 20}], "'ImageNet-A' up to 20 and 'ImageNet' up to 0.5; write"),
        ([{"model": "a", "ImageNet": 50, "ImageNet-A": 0.2}], "'ImageNet' up to 50 and 'ImageNet-A' up to 0.2; write"),
        (
            [{"model": "a", "ImageNet": 1, "imagenet": 2, "ImageNet-A": 1}],
            "expected one column of a name, found 'ImageN",
        ),
        (
            [{"model": "a", "ImageNet": 50, "ImageNet-A": 2}] * 2,
            "line 3: expected each model once, found 'a' again",
        ),
    ],
)
def test_models_that_cannot_be_read(tmp_path: Path, rows: list[dict[str, object]], message: str) -> None:
    """Each is one line with its file."""
    with pytest.raises(InputError, match=message):
        read_models(str(write_table(tmp_path / "models.csv", rows)))
