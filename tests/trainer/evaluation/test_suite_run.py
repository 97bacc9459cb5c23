"""`wit evaluate --suite` from end to end: all 27 sets, one that is bad, and what a kill leaves."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import trainer.evaluation.features
import trainer.evaluation.running
from tests.support import real_data
from tests.trainer.evaluation.suites import as_mnist, in_folders, write_set
from tests.trainer.evaluation.test_scoring import make_model
from trainer.evaluation.cli import evaluate
from trainer.evaluation.suite import SUITES, TASKS, read_names
from trainer.interchange.writing import write_openai
from wit.errors import InputError

PETS = ("a_cat", "a_dog", "a_fox")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A model of random weights, in a file for other programs, and the options that name its vocabulary."""
    folder = tmp_path_factory.mktemp("model")
    (folder / "merges.txt").write_text("#version: 0.2\nt h\nr e\n")
    write_openai(str(folder / "model.safetensors"), make_model("contrastive"))
    return [str(folder / "model.safetensors"), "--merges", str(folder / "merges.txt"), "--device", "cpu"]


@pytest.fixture
def sets(tmp_path: Path) -> Path:
    """Three of the sets: of digits, of pets with an image that cannot be read, of scenes."""
    root = tmp_path / "sets"
    as_mnist(root / "mnist", ())
    for name in ("oxford-pets", "sun397"):
        in_folders(root / name, PETS, ("test", "train"))
    (root / "oxford-pets" / "test" / "a_dog" / "1.png").write_bytes(b"no picture")
    return root


def run(checkpoint: list[str], *arguments: object) -> str:
    shown = CliRunner().invoke(evaluate, [*checkpoint, *map(str, arguments)], catch_exceptions=False)
    assert shown.exit_code == 0
    return shown.output


def results(out: Path) -> dict[str, dict[str, Any]]:
    return {path.stem: json.loads(path.read_text()) for path in sorted((out / "results").iterdir())}


def test_all_27_sets(checkpoint: list[str], tmp_path: Path) -> None:
    """Each in its layout, under the names that CLIP's prompts.md has: classes, metric, and one line a set at the end.

    The names match the sets' own, whatever the order; where the paper's set has folds or several classes an image, so
    has the small one.
    """
    names = tmp_path / "names"
    names.mkdir()
    shutil.copy(real_data("peers", "openai-CLIP", "prompts.md"), names)
    (names / "classnames.json").write_text(json.dumps({"imagenet1k": [f"thing {number}" for number in range(1000)]}))
    for task in SUITES["paper"]:
        write_set(tmp_path / "sets", task, read_names(str(names), task).titles)
    arguments = ("--suite", "paper", "--classes", names, "--templates", "photo", "--out", tmp_path / "out")
    shown = run(checkpoint, "--data", tmp_path / "sets", *arguments)
    found = results(tmp_path / "out")
    assert list(found) == sorted(f"{task}.zero_shot" for task in TASKS)
    for task in TASKS.values():
        result = found[f"{task.name}.zero_shot"]
        assert (result["metric"], result["num_classes"]) == (task.metric, task.num_classes), task.name
        assert 0 <= result["value"] <= 1
    assert "not as the paper's STL10: 10 images, Table 9 has 8,000\n" in shown
    assert "[27/27] ImageNet: folder" in shown
    assert "27 of 27 sets evaluated" in shown
    mean = sum(result["value"] for result in found.values()) / 27
    assert f"zero-shot {mean:.1%} over 27" in shown


def test_a_bad_set_does_not_lose_the_others(checkpoint: list[str], sets: Path, tmp_path: Path, capsys: Any) -> None:
    """The others are evaluated, the bad one is told, and the command fails; mended, only that one is computed."""
    arguments = ("--data", sets, "--suite", "paper", "--out", tmp_path / "out")
    with pytest.raises(InputError, match=r"OxfordPets: expected sets that can be evaluated, found 1 of 3 that cannot"):
        run(checkpoint, *arguments)
    before = results(tmp_path / "out")
    assert list(before) == ["MNIST.zero_shot", "SUN397.zero_shot"]
    shutil.copy(sets / "oxford-pets" / "test" / "a_cat" / "0.png", sets / "oxford-pets" / "test" / "a_dog" / "1.png")
    with pytest.MonkeyPatch.context() as patch:
        embedded = count(patch, trainer.evaluation.running, "embed_shown")
        shown = run(checkpoint, *arguments)
    assert [call[1].name for call in embedded] == ["OxfordPets"]
    assert "3 of 3 sets evaluated" in shown
    after = results(tmp_path / "out")
    assert {name: after[name] for name in before} == before


def test_a_set_that_cannot_be_opened_is_one_of_them(checkpoint: list[str], sets: Path, tmp_path: Path) -> None:
    """A set with an empty class folder is told, and the rest is done."""
    (sets / "oxford-pets" / "test" / "a_hen").mkdir()
    with pytest.raises(InputError, match=r"OxfordPets: expected sets .* found 1 of 3 .*expected images of the class"):
        run(checkpoint, "--data", sets, "--suite", "paper", "--out", tmp_path / "out")
    assert list(results(tmp_path / "out")) == ["MNIST.zero_shot", "SUN397.zero_shot"]


def count(patch: pytest.MonkeyPatch, module: Any, name: str, stop_at: int = 99) -> list[Any]:
    """Have a function of a module note its calls, and be interrupted at one of them."""
    calls: list[Any] = []
    original = getattr(module, name)

    def counted(*arguments: Any) -> Any:
        if len(calls) == stop_at:
            raise RuntimeError("killed")
        calls.append(arguments)
        return original(*arguments)

    patch.setattr(module, name, counted)
    return calls


def test_what_a_kill_leaves_is_not_made_again(checkpoint: list[str], tmp_path: Path) -> None:
    """Killed before the second probe: the same command fits that one, and ends with what an undisturbed one has.

    Once more, it computes nothing; other templates, or another model, are another evaluation.
    """
    data = tmp_path / "data"
    for name in ("food101", "sun397"):
        in_folders(data / name, PETS)
        in_folders(data / name, PETS, ("train",), num_images=4)
    arguments = ["--data", data, "--suite", "paper", "--probe", "--shots", "1"]
    with pytest.MonkeyPatch.context() as patch:
        count(patch, trainer.evaluation.running, "linear_probe", stop_at=1)
        with pytest.raises(RuntimeError, match="killed"):
            run(checkpoint, *arguments, "--out", tmp_path / "a")
    for expected in (1, 0):
        with pytest.MonkeyPatch.context() as patch:
            probes = count(patch, trainer.evaluation.running, "linear_probe")
            computed = count(patch, trainer.evaluation.features, "_compute")
            shown = run(checkpoint, *arguments, "--out", tmp_path / "a")
        assert (len(probes), len(computed)) == (expected, 0)
    assert shown == run(checkpoint, *arguments, "--out", tmp_path / "b")
    assert results(tmp_path / "a") == results(tmp_path / "b")
    with pytest.MonkeyPatch.context() as patch:
        probes = count(patch, trainer.evaluation.running, "linear_probe")
        run(checkpoint, *arguments, "--templates", "sample", "--out", tmp_path / "a")
    assert len(probes) == 2
