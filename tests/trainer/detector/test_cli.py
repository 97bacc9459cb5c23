from __future__ import annotations

import signal
import subprocess
import sys
from importlib import resources
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

pytest.importorskip("onnx")

import trainer.detector.session
from tests.support import ROOT
from tests.trainer.detector.conftest import micro_recipe
from trainer.detector.cli import train_detector
from trainer.detector.model import CONFIGS
from trainer.detector.recipe import load_detector_recipe
from wit.cli import main
from wit.errors import UserError
from wit.recipe import dumps

RECIPES = sorted(path.name for path in (resources.files("trainer.detector") / "recipes").iterdir())


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    path = tmp_path / "micro.toml"
    path.write_text(dumps(micro_recipe()))
    return str(path)


def run(*arguments: str) -> tuple[int, str, str]:
    found = CliRunner().invoke(train_detector, arguments)
    if found.exception is not None and not isinstance(found.exception, SystemExit):
        raise found.exception
    return found.exit_code, found.stdout, found.stderr


def test_the_command_trains_and_says_what_came_of_it(recipe: str, pictures: Path, tmp_path: Path) -> None:
    """Steps, the accuracy on held-out pictures, the proposed threshold, and what the file is for."""
    out = str(tmp_path / "out")
    code, said, told = run(recipe, "--images", str(pictures), "--out", out, "--set", "run.epochs=1", "--device", "cpu")
    assert code == 0
    assert said.startswith(f"{out}: step 2 of 2\nproxy accuracy ")
    assert "12 held-out pictures" in said
    assert said.endswith(f"{out}/detector.onnx: use it with wit overlap --descriptor\n")
    assert "step 2/2  loss " in told


def test_a_stopped_run_says_so(recipe: str, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGTERM ends the command with 143 and a saved step: not all was done."""
    original = trainer.detector.session.pair_step

    def struck(*arguments: Any) -> Any:
        signal.raise_signal(signal.SIGTERM)
        return original(*arguments)

    monkeypatch.setattr(trainer.detector.session, "pair_step", struck)
    code, said, told = run(recipe, "--images", str(pictures), "--out", str(tmp_path / "out"), "--device", "cpu")
    assert code == 128 + signal.SIGTERM
    assert "step 1 of 8" in said
    assert "stopped by SIGTERM; the same command goes on from here" in told


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"recipe": "no-such-recipe"}, "expected a recipe file or one of resnet50, small, found neither"),
        ({"--images": "no-such-folder"}, "no-such-folder: expected a file here, found nothing"),
        ({"--set": "data.batchsize=3"}, "unknown key 'data.batchsize'; did you mean 'batch_size'?"),
        ({"--set": "edits.crop_area=2"}, "edits.crop_area: expected at most 1, found 2"),
        ({"--set": "run.ema_decay=0.9"}, "ema_decay: expected 0.0, as a detector has no use for it"),
        ({"--set": "optimiser.text_weights=fp16"}, "text_weights: expected 'fp32', as a detector has no use for it"),
        ({"--set": "run.precision=fp16"}, "run.precision: expected fp32 or bf16 for a detector, found fp16"),
        ({"--device": "tpu"}, "--device: expected cpu, cuda or auto, found 'tpu'"),
        ({"--out": "s3://bucket/run"}, "--out 's3://bucket/run': expected a local folder"),
    ],
)
def test_mistakes_are_one_line(
    recipe: str, pictures: Path, tmp_path: Path, changes: dict[str, str], message: str
) -> None:
    """Whatever a user gets wrong: one line that names it."""
    options = {"--images": str(pictures), "--out": str(tmp_path / "out"), "--device": "cpu"} | changes
    name = options.pop("recipe", recipe)
    with pytest.raises((UserError, click.ClickException)) as caught:
        run(name, *(word for option in options.items() for word in option))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_loads_and_opens_with_its_story(name: str) -> None:
    """A recipe is valid, and says where it comes from, what it yields, what it takes, and the command."""
    path = resources.files("trainer.detector") / "recipes" / name
    assert load_detector_recipe(str(path)).model.name in CONFIGS
    opening = path.read_text().partition("\n[")[0]
    assert all(f"# {word}:" in opening for word in ("From", "Yields", "Takes", "Run"))
    assert f"wit overlap train-detector {name.removesuffix('.toml')} " in opening


def test_help_needs_no_torch() -> None:
    """The command is imported, and its help printed, without torch, numpy or pyarrow."""
    code = (
        "import sys; from click.testing import CliRunner; from trainer.detector.cli import train_detector\n"
        "shown = CliRunner().invoke(train_detector, ['--help']); assert 'Example: wit' in shown.output, shown.output\n"
        "print(sorted({'torch', 'numpy', 'pyarrow', 'PIL', 'onnx'} & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_it_is_a_command_of_two_words(capsys: pytest.CaptureFixture[str]) -> None:
    """`wit overlap train-detector` is this command; a mistake in it ends with 2 and one line."""
    with pytest.raises(SystemExit) as ended:
        main(["overlap", "train-detector", "--help"])
    assert ended.value.code == 0
    assert "Train a detector of near-duplicates" in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        main(["overlap", "train-detector", "none", "--images", "x", "--out", "y"])
    assert ended.value.code == 2
    assert capsys.readouterr().err == (
        "wit: error: 'none': expected a recipe file or one of resnet50, small, found neither\n"
    )
