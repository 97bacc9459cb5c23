from __future__ import annotations

import signal
import subprocess
import sys
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

import trainer.session
from tests.support import ROOT
from tests.trainer.conftest import micro_recipe
from trainer.models.config import CONFIGS
from trainer.recipe import TrainRecipe, load_recipe
from wit.cli import main
from wit.recipe import dumps

RECIPES = sorted(
    path.name for path in (resources.files("trainer") / "recipes").iterdir() if path.name.endswith(".toml")
)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    captured = capsys.readouterr()
    assert isinstance(ended.value.code, int)
    return ended.value.code, captured.out, captured.err


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    path = tmp_path / "micro.toml"
    path.write_text(dumps(micro_recipe()))
    return str(path)


def test_train_runs_a_recipe(capsys: pytest.CaptureFixture[str], recipe: str, shards: Path, tmp_path: Path) -> None:
    """The command trains, says where the checkpoint is, and ends with 0; --set changes the recipe."""
    out = str(tmp_path / "out")
    code, said, told = run(capsys, "train", recipe, "--shards", str(shards), "--out", out, "--set", "run.epochs=1")
    assert (code, said) == (0, f"{out}/checkpoints/step-00000003: step 3 of 3\n")
    assert "step 3/3  loss " in told


def test_a_stopped_run_says_so(
    capsys: pytest.CaptureFixture[str], recipe: str, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGTERM ends the command with 143 and a saved step: not all was done."""
    original = trainer.session.train_step

    def struck(*arguments: Any) -> Any:
        signal.raise_signal(signal.SIGTERM)
        return original(*arguments)

    monkeypatch.setattr(trainer.session, "train_step", struck)
    code, said, told = run(
        capsys, "train", recipe, "--shards", str(shards), "--out", str(tmp_path / "out"), "--device", "cpu"
    )
    assert code == 128 + signal.SIGTERM
    assert "step-00000001: step 1 of 9" in said
    assert "stopped by SIGTERM; the same command goes on from here" in told


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"recipe": "no-such-recipe.toml"}, "expected a recipe file or one of clip-rn101, "),
        ({"--shards": "no-such-shards"}, "no-such-shards: expected a file here, found nothing"),
        ({"--set": "data.batchsize=3"}, "unknown key 'data.batchsize'; did you mean 'batch_size'?"),
        ({"--set": "data.batch_size=1"}, "data.batch_size: expected at least 2, found 1"),
        ({"--set": "data.batch_size=100"}, "expected at least one batch of 100 samples, found 60"),
        ({"--set": "model.name=ViT-Z/1"}, "model.name: expected one of RN50, "),
        ({"--set": "tokenizer.merges=none.txt.gz"}, "none.txt.gz: expected a file here, found nothing"),
        ({"--set": "optimiser.beta2=1"}, "expected beta1 and beta2 below 1"),
        ({"--device": "tpu"}, "--device: expected cpu, cuda or auto, found 'tpu'"),
        ({"--out": "s3://bucket/run"}, "--out 's3://bucket/run': expected a local folder"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(
    capsys: pytest.CaptureFixture[str], recipe: str, shards: Path, tmp_path: Path, changes: dict[str, str], message: str
) -> None:
    """Whatever a user gets wrong: one line that names it, and 2."""
    options = {"--shards": str(shards), "--out": str(tmp_path / "out"), "--device": "cpu"} | changes
    name = options.pop("recipe", recipe)
    code, _, told = run(capsys, "train", name, *(word for option in options.items() for word in option))
    assert code == 2
    assert message in told
    assert told.startswith("wit: error: ")
    assert told.count("\n") == 1


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_loads_and_opens_with_its_story(name: str) -> None:
    """A recipe is valid, and says where it comes from, what it yields, what it takes, and the command."""
    path = resources.files("trainer") / "recipes" / name
    assert load_recipe(str(path)).model.name in CONFIGS
    opening = path.read_text().partition("\n[")[0]
    assert all(f"# {word}:" in opening for word in ("From", "Yields", "Takes", "Run"))
    assert f"wit train {name.removesuffix('.toml')} " in opening


def test_the_paper_recipe_has_the_papers_values() -> None:
    """clip-vit-b32.toml is the paper's table of hyper-parameters, and so are the defaults."""
    recipe = load_recipe(str(resources.files("trainer") / "recipes" / "clip-vit-b32.toml"))
    optimiser = recipe.optimiser
    assert (recipe.data.batch_size, recipe.run.epochs, optimiser.warmup_steps) == (32_768, 32, 2_000)
    assert (optimiser.learning_rate, optimiser.weight_decay) == (5e-4, 0.2)
    assert (optimiser.beta1, optimiser.beta2, optimiser.epsilon) == (0.9, 0.98, 1e-6)
    assert optimiser == TrainRecipe().optimiser


def test_help_needs_no_torch() -> None:
    """The commands are imported, and their help printed, without torch, numpy or pyarrow."""
    code = (
        "import sys; from click.testing import CliRunner; from trainer.cli import train\n"
        "from trainer.evaluation.cli import evaluate\n"
        "from trainer.detector.cli import train_detector; from trainer.embedding.cli import encode, search\n"
        "from trainer.interchange.cli import export\n"
        "for one in (train, evaluate, export, encode, search, train_detector):\n"
        "    shown = CliRunner().invoke(one, ['--help']); assert 'Example: wit' in shown.output, shown.output\n"
        "print(sorted({'torch', 'numpy', 'pyarrow', 'PIL'} & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"
