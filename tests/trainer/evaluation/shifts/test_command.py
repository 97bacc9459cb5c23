"""`wit evaluate-robustness` in a world whose truth is planted: every accuracy is known before it is measured."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import trainer.evaluation.features
from tests.trainer.evaluation.shifts.world import BORDER_PX, IDS, World, make_world, write_pictures, write_table
from trainer.evaluation.robustness import fit_standard
from trainer.evaluation.sets import open_set
from trainer.evaluation.shifts.sets import ShiftSet
from wit.errors import InputError
from wit.statistics import clopper_pearson

STANDARD = [("a", 60, 30), ("b", 70, 44), ("c", 80, 55), ("d", 90, 76)]
"""Model, ImageNet, ImageNet-A; in per cent."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """The world with three shifts.

    ImageNet-A has red and green, 7 of 8 as they are labelled. ObjectNet has a border, "Warm one" is red or white,
    "Leaf" green, "Mug" nothing of ImageNet's; 5 of 6 are as labelled. ImageNet-Vid has three anchors of two videos: the
    first is right with its neighbours, the second has a wrong one 10 frames away, the third one that is 11 away.
    """
    made = make_world(tmp_path_factory.mktemp("world"))
    root = made.root
    write_pictures(root / "a" / IDS["red"], ["red", "red", "red", "green"], 40)
    write_pictures(root / "a" / IDS["green"], ["green"] * 4, 50)
    write_pictures(root / "objects" / "warm_one", ["red", "white", "green"], 60, border=True)
    write_pictures(root / "objects" / "leaf", ["green"] * 3, 70, border=True)
    write_pictures(root / "objects" / "mug", ["blue"] * 2, 80, border=True)
    (root / "objects.json").write_text(json.dumps({"Warm one": "red; white", "Leaf": [1], "Lamp": "blue"}))
    write_pictures(root / "videos" / "one", ["red", "red", "white", "blue"], 90)
    write_pictures(root / "videos" / "two", ["blue", "red"], 95)
    rows = [("one/00.png", 0, 1), ("one/01.png", 12, 1), ("one/02.png", 2, 0), ("one/03.png", 22, 0),
            ("two/00.png", 0, 1), ("two/01.png", 11, 0)]  # fmt: skip
    write_table(root / "frames.csv", [
        {"item": item, "video": item[:3], "frame": frame, "anchor": anchor, "label": "warm" if "one" in item else "sea"}
        for item, frame, anchor in rows
    ])  # fmt: skip
    (root / "videos.json").write_text(json.dumps({"warm": ["red", IDS["white"]], "sea": 2}))
    write_table(root / "standard.csv", [
        {"model": name, "ImageNet": x, "ImageNet-A": y, "ImageNet-Vid": y, "ObjectNet": ""} for name, x, y in STANDARD
    ])  # fmt: skip
    return made


def whole(world: World, *more: object) -> list[object]:
    root = world.root
    return [
        "--shift", f"imagenet-vid={root / 'videos'}", "--frames", f"ImageNet-Vid={root / 'frames.csv'}",
        "--map", f"ImageNet-Vid={root / 'videos.json'}", "--shift", f"ImageNet-A={root / 'a'}",
        "--shift", f"ObjectNet={root / 'objects'}", "--map", f"ObjectNet={root / 'objects.json'}",
        "--crop", f"ObjectNet={BORDER_PX}", "--train", root / "train", "--standard", root / "standard.csv", *more,
    ]  # fmt: skip


@pytest.fixture(scope="module")
def measured(world: World) -> tuple[dict[str, Any], str]:
    shown = world.run(*whole(world, "--out", world.root / "out"))
    return world.result(world.root / "out"), shown


def rows_of(result: dict[str, Any], name: str) -> dict[str, dict[str, Any]]:
    shift = next(one for one in result["shifts"] if one["name"] == name)
    return {row["classifier"]: row for row in shift["results"]}


def test_planted_accuracies_are_found(measured: tuple[dict[str, Any], str]) -> None:
    """Zero-shot and adapted are right on all but the planted mistakes, ImageNet's on the same classes with its own."""
    result, shown = measured
    assert [one["name"] for one in result["shifts"]] == ["ImageNet-A", "ObjectNet", "ImageNet-Vid"]
    assert {row["classifier"]: row["accuracy"] for row in result["imagenet"]["results"]} == pytest.approx(
        {"zero_shot": 20 / 21, "adapted": 20 / 21}
    )
    for classifier in ("zero_shot", "adapted"):
        first, objects, videos = (
            rows_of(result, name)[classifier] for name in ("ImageNet-A", "ObjectNet", "ImageNet-Vid")
        )
        assert (first["accuracy"], first["imagenet_on_classes"]) == pytest.approx((7 / 8, 10 / 11))
        assert first["interval"] == pytest.approx(clopper_pearson(7, 8, 0.995))
        assert (objects["accuracy"], objects["imagenet_on_classes"]) == pytest.approx((5 / 6, 15 / 16))
        assert (videos["pm0"], videos["pm10"], videos["accuracy"]) == pytest.approx((1, 2 / 3, 5 / 6))
        assert videos["imagenet_on_classes"] == pytest.approx(1)
    assert "ImageNet-A         zero-shot      87.5%" in shown


def test_what_was_judged_is_said(measured: tuple[dict[str, Any], str]) -> None:
    """Items, classes, what ImageNet has not, and in what it is not the paper's."""
    result, shown = measured
    facts = {one["name"]: one for one in result["shifts"]}
    sizes = {name: (one["num_items"], one["num_classes"], one["num_imagenet_classes"]) for name, one in facts.items()}
    assert sizes == {"ImageNet-A": (8, 2, 2), "ObjectNet": (6, 2, 3), "ImageNet-Vid": (3, 2, 3)}
    assert facts["ObjectNet"]["left_out"] == {"num_classes": 1, "num_items": 2}
    assert "ObjectNet: 2 images left out, without a class of ImageNet's; classes that it has not: 1" in shown
    assert "6 judged, the paper's set has 18,514" in facts["ObjectNet"]["not_as_the_paper"]
    assert facts["ImageNet-Vid"]["metric"] == "mean_pm0_pm10"
    assert facts["ImageNet-A"]["published"]["Zero-shot CLIP"] == 0.772
    assert result["adapted"]["num_train"] + result["adapted"]["num_validation"] == 32


def test_effective_robustness_is_that_of_the_line(measured: tuple[dict[str, Any], str]) -> None:
    """Against ImageNet, as the file has no accuracies on classes; in shares; a set without a column has none."""
    result, _ = measured
    line = fit_standard([x / 100 for _, x, _ in STANDARD], [y / 100 for _, _, y in STANDARD])
    row = rows_of(result, "ImageNet-A")["zero_shot"]
    assert (row["against"], row["x"]) == ("ImageNet", pytest.approx(20 / 21))
    assert row["effective"] == pytest.approx(line.effective_robustness(20 / 21, 7 / 8))
    assert row["effective_interval"] == pytest.approx(line.effective_interval(20 / 21, 7 / 8))
    assert row["gap_closed"] == pytest.approx(line.gap_closed(20 / 21, 7 / 8))
    shift = result["shifts"][0]["standard"]
    assert [(one["model"], one["y"]) for one in shift["points"]] == [(name, y / 100) for name, _, y in STANDARD]
    assert all(one["low"] <= one["y"] <= one["high"] for one in shift["curve"])
    assert shift["curve"][-1]["x"] == pytest.approx(20 / 21)
    assert rows_of(result, "ObjectNet")["zero_shot"]["effective"] is None
    assert any(line.startswith("all 4 models of ") for line in result["remarks"])
    assert any(line.startswith("ObjectNet: too few standard models") for line in result["remarks"])


def test_means_are_over_all_sets(measured: tuple[dict[str, Any], str]) -> None:
    """A set without names of its own counts with its zero-shot number among them; three sets are not the paper's."""
    mean = measured[0]["mean"]
    assert (mean["over"], mean["is_the_papers"]) == (["ImageNet-A", "ObjectNet", "ImageNet-Vid"], False)
    rows = {row["classifier"]: row for row in mean["results"]}
    assert rows["zero_shot"]["accuracy"] == pytest.approx((7 / 8 + 5 / 6 + 5 / 6) / 3)
    own = [rows_of(measured[0], name).get("own_names", {"accuracy": 7 / 8})["accuracy"] for name in mean["over"]]
    assert rows["own_names"]["accuracy"] == pytest.approx(np.mean(own))
    assert "own_names" not in rows_of(measured[0], "ImageNet-A")
    assert rows["adapted"]["relative"] == pytest.approx(0)


def test_names_of_their_own(world: World) -> None:
    """A set that is asked by the names it has itself: what is called red is found as well under the name of white."""
    write_pictures(world.root / "own" / "red", ["red"] * 3, 300)
    write_pictures(world.root / "own" / "snow", ["white"] * 3, 310)
    (world.root / "own.json").write_text(json.dumps({"red": "red", "snow": "white"}))
    own = ["--shift", f"Other={world.root / 'own'}", "--map", f"Other={world.root / 'own.json'}"]
    world.run(*own, "--out", world.root / "out-own")
    found = rows_of(world.result(world.root / "out-own"), "Other")
    assert set(found) == {"zero_shot", "own_names"}
    (world.root / "own-names.json").write_text(json.dumps({"red": "white", "snow": "red"}))
    world.run(*own, "--own-names", f"Other={world.root / 'own-names.json'}", "--out", world.root / "out-own")
    wrong = rows_of(world.result(world.root / "out-own"), "Other")
    assert (wrong["zero_shot"]["accuracy"], wrong["own_names"]["accuracy"]) == (1.0, 0.0)
    assert wrong["own_names"]["relative"] == -1.0


def test_what_is_kept_is_not_embedded_again(world: World, measured: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what a kill left, only the set that is missing is embedded, and the result is the same file."""
    before = (world.root / "out" / "results" / "robustness.json").read_bytes()
    computed: list[int] = []
    compute = trainer.evaluation.features._compute

    def counted(*arguments: Any) -> Any:
        computed.append(len(arguments[1]))
        return compute(*arguments)

    monkeypatch.setattr(trainer.evaluation.features, "_compute", counted)
    (world.root / "out" / "results" / "robustness.json").unlink()
    kept = sorted((world.root / "out" / "features").glob("*/part-00000.safetensors"))
    for path in kept[0].parent.iterdir():
        path.unlink()
    world.run(*whole(world, "--out", world.root / "out"))
    assert len(computed) == 1
    assert (world.root / "out" / "results" / "robustness.json").read_bytes() == before


def test_borders_are_cut_off(world: World) -> None:
    """The pixels inside stay as they are; an image that is all border is an error, and not judged with its border."""
    opened = open_set(f"ObjectNet={world.root / 'objects'}")
    cropped = ShiftSet(opened.listing, True, crop_px=BORDER_PX)
    for before, after in zip(opened.items(), cropped.items(), strict=True):
        inside = _pixels(before.body)[BORDER_PX:-BORDER_PX, BORDER_PX:-BORDER_PX]
        assert np.array_equal(_pixels(after.body), inside)
    assert cropped.fingerprint() != opened.fingerprint()
    assert ShiftSet(opened.listing, True).fingerprint() == opened.fingerprint()
    with pytest.raises(
        InputError, match="expected an image larger than its border of 22 px on every side, found 48 x 44"
    ):
        next(ShiftSet(opened.listing, True, crop_px=22).items())


def _pixels(body: bytes) -> np.ndarray[Any, Any]:
    return np.asarray(Image.open(io.BytesIO(body)).convert("RGB"))


def test_frames_that_are_not_judged_are_counted(world: World, tmp_path: Path) -> None:
    """An anchor, or a frame near one, that has no image makes pm-10 easier and is said; what is far from all is not."""
    rows = [("two/00.png", 0, 1), ("two/none.png", 3, 0), ("two/gone.png", 40, 1), ("two/far.png", 80, 0)]
    table = write_table(tmp_path / "frames.csv", [
        {"item": item, "video": "two", "frame": frame, "anchor": anchor, "label": "blue"}
        for item, frame, anchor in rows
    ])  # fmt: skip
    words = ("--shift", f"Films={world.root / 'videos'}", "--frames", f"Films={table}", "--out", tmp_path / "out")
    world.run(*words)
    assert world.result(tmp_path / "out")["shifts"][0]["not_as_the_paper"] == [
        f"anchors of {table} that are not judged, without an image or a class: 1",
        f"frames near anchors of {table} that are not judged, without an image or a class: 1",
    ]


def test_classes_without_images_to_fit_on_are_counted(world: World, tmp_path: Path) -> None:
    """A classifier that is adapted to some of ImageNet's classes can never be right on the others, and that is said."""
    write_pictures(tmp_path / "some" / IDS["red"], ["red"] * 5, 2_000)
    write_pictures(tmp_path / "some" / IDS["blue"], ["blue"] * 5, 2_100)
    words = ("--shift", f"ImageNet-A={world.root / 'a'}", "--train", tmp_path / "some", "--out", tmp_path / "out")
    assert "adapted: 2 classes of ImageNet have images to judge and none to fit on" in world.run(*words)


def test_mistakes(world: World, tmp_path: Path) -> None:
    """Each in one line that says where, and what to do; nothing is embedded before what can be seen without."""
    root = world.root
    first = ["--shift", f"ImageNet-A={root / 'a'}", "--out", tmp_path]
    write_pictures(tmp_path / "numbers" / "0", ["red"], 1)
    write_pictures(tmp_path / "numbers" / "1", ["green"], 2)
    write_pictures(tmp_path / "broken" / IDS["red"], ["red"], 3)
    write_pictures(tmp_path / "broken" / IDS["green"], ["green", "green"], 4)
    (tmp_path / "broken" / IDS["red"] / "bad.png").write_bytes(b"no picture")
    (tmp_path / "twice.json").write_text(json.dumps({"warm one": "red", "leaf": "red"}))
    (tmp_path / "no.json").write_text(json.dumps({"lamp": "blue"}))
    objects = ["--shift", f"ObjectNet={root / 'objects'}", "--out", tmp_path]
    for arguments, message in (
        (["--shift", root / "a", "--out", tmp_path], "expected NAME=VALUE"),
        ([*first, "--shift", f"imagenet-a={root / 'a'}"], "expected another name for each set"),
        ([*first, "--map", "ImageNet-R=x.json"], "expected one for a set of --shift (ImageNet-A), found 'ImageNet-R'"),
        ([*first, "--map", f"ImageNet={tmp_path / 'no.json'}"], "expected classes of ImageNet's 4, found 'lamp'"),
        ([*first, "--map", "ImageNet=a.json", "--map", "imagenet=b.json"], "--map ImageNet=b.json: expected one"),
        ([*first, "--crop", "ImageNet-A=red"], "expected pixels from 0 to 64"),
        (["--shift", f"Digits={tmp_path / 'numbers'}", "--out", tmp_path], "numbers from 0 to 1 that may be the set's"),
        (objects, "expected classes of ImageNet's 4, found 'leaf' (and 2 more); say which they are: --map ObjectNet="),
        ([*objects, "--map", f"ObjectNet={tmp_path / 'twice.json'}"], "found one for both"),
        ([*objects, "--map", f"ObjectNet={tmp_path / 'no.json'}"], "expected the set's classes (leaf, mug, warm_one"),
        (["--shift", f"ImageNet-R={tmp_path / 'broken'}", "--out", tmp_path], "bad.png: expected an image"),
        (["--shift", f"ImageNet-R={tmp_path / 'none'}", "--out", tmp_path], "none"),
        ([*first, "--standard", root / "names.txt"], "names.txt: expected a file named .csv"),
        ([*first, "--frames", f"ImageNet-A={root / 'frames.csv'}"], "expected frames among the images of"),
        ([*first, "--train", root / "val"], "--train: expected other images than those that are judged, found"),
        ([*first, "--train", tmp_path / "numbers"], "--train: expected the 4 classes of the images that are judged"),
        ([*first, "--by-order", "--classes", tmp_path / "no.json"], "expected names of the set's 4 classes, found 1"),
    ):
        assert message in world.fail(*arguments)
    shown = world.run("--shift", f"ImageNet-R={tmp_path / 'broken'}", "--out", tmp_path, "--skip-broken")
    assert "ImageNet-R: left out, as they could not be read: not_image 1" in shown
