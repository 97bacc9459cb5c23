from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

import trainer.session
from tests.trainer.conftest import Sample, kill_in_the_middle, make_sample, micro_recipe, write_shards
from trainer.interchange.reading import read_model
from trainer.recipe import TrainRecipe
from trainer.saving import checkpoint
from trainer.training import train
from wit.errors import MismatchError, OutputError, RecipeError, StageError
from wit.locking import locked
from wit.recipe import dumps, load

NUM_STEPS = 9  # 3 epochs of 60 // 16 = 3 batches


def lines_of(out: Path, event: str = "metrics") -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["event"] == event]


def metrics(out: Path) -> list[tuple[int, float, str]]:
    """Return (step, loss, sum over the samples seen so far) of each line of numbers."""
    return [(line["step"], line["loss"], line["samples"]) for line in lines_of(out)]


def weights(out: Path) -> dict[str, torch.Tensor]:
    return dict(read_model(str(out))[0].state_dict())


def assert_same_run(out: Path, other: Path) -> None:
    assert metrics(out) == metrics(other)
    left, right = weights(out), weights(other)
    assert all(torch.equal(left[name], right[name]) for name in left)


@pytest.fixture(scope="module")
def undisturbed(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the micro recipe from beginning to end."""
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    train(micro_recipe(), str(shards), str(out), "cpu")
    return out


def test_a_run_leaves_what_it_says(undisturbed: Path) -> None:
    """Every step is logged, the newest checkpoints are kept, the resolved recipe reads back, the loss falls."""
    steps = metrics(undisturbed)
    assert [step for step, _, _ in steps] == list(range(1, NUM_STEPS + 1))
    assert steps[-1][1] < steps[0][1]
    assert [Path(one).name for one in checkpoint.complete_folders(str(undisturbed))] == [
        "step-00000008",
        "step-00000009",
    ]
    assert load(str(undisturbed / "recipe.toml"), TrainRecipe).run.epochs == 3
    assert sorted(entry.name for entry in undisturbed.iterdir()) == [
        ".lock",
        "checkpoints",
        "log.jsonl",
        "recipe.toml",
        "run.json",
    ]


def test_the_same_recipe_gives_the_same_weights(undisturbed: Path, shards: Path, tmp_path: Path) -> None:
    """Two runs agree in every loss and every weight, with another number of loader threads."""
    recipe = load_with(micro_recipe(), tmp_path, "data.num_threads=5", "data.cache_mb=1")
    train(recipe, str(shards), str(tmp_path / "out"), "cpu")
    assert_same_run(tmp_path / "out", undisturbed)


def load_with(recipe: TrainRecipe, folder: Path, *overrides: str) -> TrainRecipe:
    (folder / "recipe.toml").write_text(dumps(recipe))
    return load(str(folder / "recipe.toml"), TrainRecipe, overrides)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_stops(
    number: signal.Signals, undisturbed: Path, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The step under way is finished and saved, also when SIGTERM comes twice; going on gives the undisturbed run."""
    original, before = trainer.session.train_step, signal.getsignal(number)

    def struck(*arguments: Any) -> Any:
        for _ in range(2 if number == signal.SIGTERM else 1):
            os.kill(os.getpid(), number)
        return original(*arguments)

    monkeypatch.setattr(trainer.session, "train_step", struck)
    for step in (1, 2, 3):
        result = train(micro_recipe(), str(shards), str(tmp_path), "cpu")
        assert (result.step, result.stopped_by) == (step, number)
        assert signal.getsignal(number) == before
    monkeypatch.setattr(trainer.session, "train_step", original)
    result = train(micro_recipe(), str(shards), str(tmp_path), "cpu")
    assert (result.step, result.stopped_by) == (NUM_STEPS, None)
    assert_same_run(tmp_path, undisturbed)


def test_a_killed_run_goes_on_as_if_nothing_had_been(undisturbed: Path, shards: Path, tmp_path: Path) -> None:
    """kill -9 in the middle of training, then the same call: the losses and weights of the undisturbed run."""
    (tmp_path / "recipe.toml").write_text(dumps(micro_recipe()))
    out = tmp_path / "out"
    code = (
        "import sys, time, torch, trainer.session as session; torch.set_num_threads(1)\n"
        "step = session.train_step; session.train_step = lambda *a: (time.sleep(0.05), step(*a))[1]\n"
        "from trainer.recipe import load_recipe; from trainer.training import train\n"
        "train(load_recipe(sys.argv[1]), *sys.argv[2:], 'cpu')"
    )
    kill_in_the_middle(code, [str(tmp_path / "recipe.toml"), str(shards), str(out)], out)
    assert checkpoint.newest(str(out)) is not None
    result = train(micro_recipe(), str(shards), str(out), "cpu")
    assert result.step == NUM_STEPS
    assert_same_run(out, undisturbed)
    assert not [path for path in out.rglob("*") if path.name.startswith(".tmp-")]


def test_a_finished_run_has_nothing_to_do(undisturbed: Path, shards: Path) -> None:
    """The same call again changes no byte of the checkpoints or the log."""
    before = {path: path.read_bytes() for path in undisturbed.rglob("*") if path.is_file()}
    assert train(micro_recipe(), str(shards), str(undisturbed), "cpu").step == NUM_STEPS
    assert {path: path.read_bytes() for path in undisturbed.rglob("*") if path.is_file()} == before


def test_another_recipe_or_other_shards_are_refused(
    undisturbed: Path, shards: Path, samples: list[Sample], tmp_path: Path
) -> None:
    """What differs is said: a value of the recipe, the shards; a foreign folder stays untouched."""
    with pytest.raises(MismatchError, match=r"recipe\.run\.seed: 0 -> 1.*choose another --out"):
        train(micro_recipe(seed=1), str(shards), str(undisturbed), "cpu")
    fewer = write_shards(tmp_path / "fewer", samples[:-1], 25)
    with pytest.raises(MismatchError, match=r"shards\.num_samples: 60 -> 59"):
        train(micro_recipe(), str(fewer), str(undisturbed), "cpu")
    with pytest.raises(MismatchError, match="expected a new folder or a training run"):
        train(micro_recipe(), str(shards), str(shards), "cpu")
    assert not list(shards.glob("run.json"))


def test_a_folder_is_trained_in_once_at_a_time(undisturbed: Path, shards: Path) -> None:
    """While another process holds the folder, a second one ends in one line and changes nothing."""
    before = {path: path.read_bytes() for path in undisturbed.rglob("*") if path.is_file()}
    with (
        locked(str(undisturbed), "wit train"),
        pytest.raises(OutputError, match="another wit train is at work in this folder"),
    ):
        train(micro_recipe(), str(shards), str(undisturbed), "cpu")
    assert {path: path.read_bytes() for path in undisturbed.rglob("*") if path.is_file()} == before


def test_settings_that_cannot_change_the_result_may_change(undisturbed: Path, shards: Path) -> None:
    """Log and checkpoint intervals may differ when a run goes on."""
    assert (
        train(micro_recipe(log_every_steps=7, save_every_steps=100), str(shards), str(undisturbed), "cpu").step
        == NUM_STEPS
    )


def test_replaced_samples_are_logged(samples: list[Sample], tmp_path: Path) -> None:
    """A corrupt sample ends in the log with its key, the reason, and the key that took its place."""
    broken = make_sample("http://pictures.example/broken", "a broken picture", b"\x89PNG\r\n\x1a\nbroken", "png")
    shards = write_shards(tmp_path / "shards", sorted([*samples[:15], broken], key=lambda one: str(one[0]["key"])), 25)
    result = train(micro_recipe(), str(shards), str(tmp_path / "out"), "cpu")
    found = lines_of(tmp_path / "out", "replaced")
    assert result.num_replaced == len(found) == result.num_steps == 3  # one batch of all 16 samples an epoch
    assert {line["key"] for line in found} == {broken[0]["key"]}
    assert all(line["reason"].startswith("corrupt_image") and line["by"] != line["key"] for line in found)


def test_losses_that_are_no_numbers_end_a_run(shards: Path, tmp_path: Path) -> None:
    """Weights that have run away are left as they are, and after as many steps as the recipe says training stops."""
    recipe = load_with(micro_recipe(max_skipped_steps=2), tmp_path, "optimiser.learning_rate=1e18")
    out = tmp_path / "out"
    with pytest.raises(StageError, match="step 4: expected a finite loss that does not leap, found 3 updates in a row"):
        train(recipe, str(shards), str(out), "cpu")
    assert all(torch.isfinite(value).all() for value in weights(out).values())
    assert [line["loss"] for line in lines_of(out)][1:] == [None, None]


def test_pictures_smaller_than_the_square_are_refused(shards: Path, tmp_path: Path) -> None:
    """data.resize_px below the model's side is a mistake in the recipe."""
    with pytest.raises(RecipeError, match="expected at least the model's 32 px, found 31"):
        train(load_with(micro_recipe(), tmp_path, "data.resize_px=31"), str(shards), str(tmp_path / "out"), "cpu")
