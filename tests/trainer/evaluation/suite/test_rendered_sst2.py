from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from tests.trainer.evaluation.suite.killing import kill_when, read_all
from trainer.evaluation.suite import TASKS
from trainer.evaluation.suite.cli import evaluate_set
from trainer.evaluation.suite.rendered_sst2 import (
    PUBLISHED,
    SIDE_PX,
    Sentence,
    _wrap,
    draw_sentence,
    is_as_published,
    open_font,
    read_sentences,
)
from wit.errors import InputError, MismatchError
from wit.evaluation_sets import EvaluationSet, list_set

TREES = """(3 (2 It) (4 (4 (2 's) (4 lovely)) (2 .)))
(2 (2 It) (2 ends))
(1 (2 (2 dull) (2 -LRB-)) (1 (2 and\\/or) (2 -RRB-)))
(0 (2 Bad) (2 .))
"""


def ink(text: str) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    """Where an image of a sentence is not white."""
    picture = np.array(draw_sentence(text))
    assert picture.shape == (SIDE_PX, SIDE_PX, 3)
    assert (picture == picture[..., :1]).all()
    return picture[..., 0] < 255


def test_sentences_of_the_treebank(tmp_path: Path) -> None:
    """Neutral sentences are left out, the scale of five becomes two classes, and brackets are brackets again."""
    (tmp_path / "a.txt").write_text(TREES)
    expected = [Sentence("It 's lovely .", True), Sentence("dull ( and/or )", False), Sentence("Bad .", False)]
    assert read_sentences(str(tmp_path / "a.txt")) == expected
    (tmp_path / "b.tsv").write_text("sentence\tlabel\nIt 's lovely .\t1\ndull ( and/or )\t0\nBad .\t0\n")
    assert read_sentences(str(tmp_path / "b.tsv")) == expected
    (tmp_path / "c.txt").write_text("1 It 's lovely .\n0 dull ( and/or )\n0 Bad .\n")
    assert read_sentences(str(tmp_path / "c.txt")) == expected


def test_the_published_sizes_are_the_papers() -> None:
    """Training and validation sentences are Table 9's 7,792, test ones its 1,821."""
    assert sum(PUBLISHED["train"]) + sum(PUBLISHED["validation"]) == TASKS["SST2"].num_train == 7792
    assert sum(PUBLISHED["test"]) == TASKS["SST2"].num_test == 1821
    assert is_as_published("test", {"negative": 912, "positive": 909})
    assert not is_as_published("test", {"negative": 909, "positive": 912})


@given(st.text(st.characters(codec="latin-1", categories=("L", "N", "P")) | st.just(" "), max_size=300))
def test_nothing_of_a_sentence_is_lost_when_it_is_wrapped(text: str) -> None:
    """All its letters are there in order, and no line is wider than the picture has room for."""
    font = open_font("", 32)
    lines = _wrap(text, font, 416)
    assert "".join("".join(lines).split()) == "".join(text.split())
    assert all(font.getlength(line) <= 416 for line in lines)


def test_pictures_are_black_on_white_and_legible() -> None:
    """A sentence stays within its margins whether short, long, or one endless word; each has its own picture."""
    short, long, endless = ink("Good ."), ink(" ".join(["wonderfully crafted"] * 30)), ink("x" * 400)
    for picture in (short, long, endless):
        assert picture.any()
        assert not picture[:8].any()
        assert not picture[-8:].any()
        assert not picture[:, :8].any()
        assert not picture[:, -8:].any()
    assert short.sum() < endless.sum()
    letters = [ink(letter).tobytes() for letter in "aàáâäçèéêëíïñóôöûü—’“”£$%"]
    assert len(set(letters)) == len(letters), "letters that the font lacks all look alike"
    assert (draw_sentence("Good .").getextrema()[0]) == (0, 255)
    assert (ink("Good .") != ink("Bad .")).any()
    assert (ink("Good .") == short).all()
    with pytest.raises(InputError, match="expected a sentence that fits into 416 px, found 10000000 letters"):
        draw_sentence("x" * 10_000_000)  # which would be laid out for days
    with pytest.raises(InputError, match="expected a sentence that fits into 416 px, found 4000 letters"):
        draw_sentence("x" * 4000)


def build(*arguments: object) -> str:
    result = CliRunner().invoke(evaluate_set, ["rendered-sst2", *map(str, arguments)])
    if result.exception is not None:
        raise result.exception
    return result.output


def test_a_set_is_built_and_read(tmp_path: Path) -> None:
    """Files are found by their splits' names; two builds have the same bytes; it is a set as any other."""
    trees = tmp_path / "trees"
    trees.mkdir()
    for name in ("train.txt", "dev.txt", "test.txt"):
        (trees / name).write_text(TREES)
    output = build(trees, "--out", tmp_path / "a")
    build(trees, "--out", tmp_path / "b")
    names = sorted(str(path.relative_to(tmp_path / "a")) for path in (tmp_path / "a").rglob("*.png"))
    assert len(names) == 9
    assert {name.partition("/")[0] for name in names} == {"train", "validation", "test"}
    for name in [*names, "manifest.json"]:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert "test: 2 negative, 1 positive; published: 1,821" in output
    assert json.loads((tmp_path / "a" / "manifest.json").read_bytes())["images"]["test"] == {
        "negative": 2,
        "positive": 1,
    }
    listing = list_set(EvaluationSet("sst2", str(tmp_path / "a")))
    assert (listing.classes, listing.split) == (("negative", "positive"), "test")
    before = {name: (tmp_path / "a" / name).stat().st_mtime_ns for name in names}
    assert build(trees, "--out", tmp_path / "a") == output
    assert {name: (tmp_path / "a" / name).stat().st_mtime_ns for name in names} == before, "none is drawn again"
    (trees / "dev.txt").write_text(TREES.replace("Bad", "Good"))
    with pytest.raises(MismatchError, match=r"something else: made_from.files.validation: .*another --out"):
        build(trees, "--out", tmp_path / "a")
    with pytest.raises(MismatchError, match="expected a new or empty folder"):
        build(trees, "--out", trees)


def test_a_killed_build_goes_on(tmp_path: Path) -> None:
    """After a kill -9 the same command ends with the bytes of one that was never killed, and draws the rest alone."""
    trees = tmp_path / "trees"
    trees.mkdir()
    (trees / "test.txt").write_text("".join(f"(3 (2 film) (2 {n}))\n" for n in range(150)))
    command = ("evaluate-set", "rendered-sst2", str(trees), "--out")
    kill_when(command, tmp_path / "a", lambda: len(list((tmp_path / "a").rglob("*.png"))) > 20)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "a").rglob("[!.]*.png")}
    assert 20 < len(before) < 150
    build(trees, "--out", tmp_path / "a")
    build(trees, "--out", tmp_path / "b")
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert read_all(tmp_path / "a") == read_all(tmp_path / "b")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("train.txt", "A sentence alone", "train.txt, line 1: expected a tree, SENTENCE<tab>0|1"),
        ("test.tsv", "sentence\tlabel\nsecret\t-1", "labels of GLUE's test file are secret"),
        ("train.txt", "(9 x)", "expected a tree with labels 0 to 4"),
        ("train.txt", "", "expected sentences of SST-2, found none"),
        ("notes.md", "", "expected train, dev or test"),
    ],
)
def test_mistakes_are_said(tmp_path: Path, name: str, text: str, message: str) -> None:
    """In one line, with the file and the line."""
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / name).write_text(text)
    with pytest.raises(InputError, match=re.escape(message)):
        build(folder, "--out", tmp_path / "out")
    with pytest.raises(InputError, match=r"--font .*: expected a TrueType or OpenType font"):
        open_font(str(folder / name), 12)


def test_the_list_shows_what_does_not_fit() -> None:
    """All 27 sets with their places; misprints are marked."""
    output = CliRunner().invoke(evaluate_set, ["list"]).output
    assert all(f" {task.name} " in output and task.where in output for task in TASKS.values())
    assert re.search(r"^! Food101 +101 +75,750 +25,250  accuracy$", output, re.MULTILINE)
    assert "Table 9 prints 102 classes" in output
    assert re.search(r"^  CIFAR10 +10 +50,000", output, re.MULTILINE)
