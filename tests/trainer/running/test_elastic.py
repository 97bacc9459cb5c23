"""A run that is killed and goes on with another number of ranks, and ranks that stop or die."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest

from tests.trainer.conftest import micro_recipe
from tests.trainer.ranks import start_ranks
from trainer.saving import checkpoint
from trainer.training import train
from wit.recipe import dumps

NUM_STEPS = 15  # 5 epochs of 60 // 16 = 3 batches
RECIPE = micro_recipe(epochs=5, save_every_steps=1)
SLOWLY = (
    "import sys, time, torch, trainer.session as session; torch.set_num_threads(1); step = session.train_step\n"
    "session.train_step = lambda *a: (time.sleep(0.05), step(*a))[1]\n"
    "from wit.cli import main; main(sys.argv[1:])"
)
"""`wit`, so slow that a signal hits it in the middle of training."""


def start(size: int, shards: Path, out: Path, *overrides: str) -> list[subprocess.Popen[str]]:
    recipe = out.with_suffix(".toml")
    recipe.write_text(dumps(RECIPE))
    changes = [word for one in overrides for word in ("--set", one)]
    arguments = ["train", str(recipe), "--shards", str(shards), "--out", str(out), "--device", "cpu", *changes]
    return start_ranks([sys.executable, "-c", SLOWLY, *arguments], size)


@contextmanager
def ended(processes: Sequence[subprocess.Popen[str]]) -> Iterator[None]:
    """Leave no process behind."""
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def metrics(out: Path) -> list[tuple[int, str, float]]:
    """Return (step, sum over all samples so far and their places, loss) of each line of the log."""
    lines = (out / "log.jsonl").read_text().splitlines() if (out / "log.jsonl").exists() else []
    found = [json.loads(line) for line in lines if line.endswith("}")]
    return [(line["step"], line["samples"], line["loss"]) for line in found if line["event"] == "metrics"]


def wait_for_step(step: int, out: Path, processes: Sequence[subprocess.Popen[str]]) -> None:
    deadline = time.monotonic() + 240
    while not any(one[0] >= step for one in metrics(out)):
        assert all(process.poll() is None for process in processes), "ended before its time"
        assert time.monotonic() < deadline
        time.sleep(0.01)


def kill_after(step: int, size: int, shards: Path, out: Path, *overrides: str) -> None:
    processes = start(size, shards, out, *overrides)
    with ended(processes):
        wait_for_step(step, out, processes)
        for process in processes:
            process.kill()


@pytest.fixture(scope="module")
def undisturbed(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[int, str, float]]:
    """What a run of one rank sees, from beginning to end."""
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    assert train(RECIPE, str(shards), str(out), "cpu").step == NUM_STEPS
    return metrics(out)


def assert_same_samples(out: Path, expected: list[tuple[int, str, float]]) -> None:
    found = metrics(out)
    assert [one[:2] for one in found] == [one[:2] for one in expected]
    assert [one[2] for one in found] == pytest.approx([one[2] for one in expected], rel=1e-4)


def test_a_run_goes_on_with_another_number_of_ranks(
    undisturbed: list[tuple[int, str, float]], shards: Path, tmp_path: Path
) -> None:
    """kill -9 at random steps with one rank, two, and one again: the samples of the undisturbed run, in its order."""
    out, rng = tmp_path / "out", Random(7)
    kill_after(rng.randint(1, 4), 1, shards, out, "data.num_threads=1")
    kill_after(rng.randint(6, 10), 2, shards, out, "data.num_threads=3", "data.micro_batch_size=3")
    assert 0 < checkpoint.newest_step(str(out)) < NUM_STEPS
    assert train(RECIPE, str(shards), str(out), "cpu").step == NUM_STEPS
    assert_same_samples(out, undisturbed)


@pytest.mark.slow
def test_shards_of_a_model_go_on_as_a_whole_one(
    undisturbed: list[tuple[int, str, float]], shards: Path, tmp_path: Path
) -> None:
    """Two ranks that share one model out (FSDP), then two that each hold it (DDP), then one alone."""
    out = tmp_path / "out"
    kill_after(4, 2, shards, out, "run.parallel=fsdp")
    kill_after(8, 2, shards, out, "run.parallel=ddp")
    assert train(RECIPE, str(shards), str(out), "cpu").step == NUM_STEPS
    assert_same_samples(out, undisturbed)


@pytest.mark.slow
def test_at_the_same_number_of_ranks_losses_are_the_same_bits(shards: Path, tmp_path: Path) -> None:
    """Two ranks, killed and started again: every loss is that of two ranks left alone."""
    kill_after(5, 2, shards, tmp_path / "killed")
    for out in (tmp_path / "killed", tmp_path / "whole"):
        processes = start(2, shards, out)
        with ended(processes):
            assert [process.wait(timeout=120) for process in processes] == [0, 0]
    assert metrics(tmp_path / "killed") == metrics(tmp_path / "whole")


def test_a_signal_to_any_rank_stops_all(shards: Path, tmp_path: Path) -> None:
    """SIGTERM to the second of two ranks: both end with 143 after the same step, which is saved."""
    out = tmp_path / "out"
    processes = start(2, shards, out, "run.save_every_steps=1000")
    with ended(processes):
        wait_for_step(2, out, processes)
        processes[1].send_signal(signal.SIGTERM)
        said = [process.communicate(timeout=120) for process in processes]
        assert [process.returncode for process in processes] == [143, 143]
    step = metrics(out)[-1][0]
    assert 2 <= step < NUM_STEPS
    assert checkpoint.newest_step(str(out)) == step
    assert said[0][0].endswith(f"step-{step:08d}: step {step} of {NUM_STEPS}\n")
    assert said[0][1].endswith("stopped by SIGTERM; the same command goes on from here\n")
    assert said[1] == ("", "")


def test_a_rank_that_dies_takes_the_others_along(shards: Path, tmp_path: Path) -> None:
    """kill -9 of one rank: the other ends soon, with one line and 1, and what was saved stays."""
    out = tmp_path / "out"
    processes = start(2, shards, out)
    with ended(processes):
        wait_for_step(3, out, processes)
        processes[1].kill()
        _, told = processes[0].communicate(timeout=120)
        assert processes[0].returncode == 1
    errors = [line for line in told.splitlines() if not line.startswith("step ")]
    assert len(errors) == 1
    assert errors[0].startswith("wit: error: rank 0 of 2: another rank ended, or was silent for too long")
    assert checkpoint.newest_step(str(out)) >= 1


def test_a_mistake_is_told_once(shards: Path, tmp_path: Path) -> None:
    """Where the first rank finds a mistake, the others end with its exit code and say nothing."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "photo.jpg").write_text("not a run")
    processes = start(2, shards, out)
    with ended(processes):
        said = [process.communicate(timeout=120) for process in processes]
        assert [process.returncode for process in processes] == [2, 2]
    assert said[0][1].startswith("wit: error: ")
    assert "expected a new folder or a training run" in said[0][1]
    assert said[1] == ("", "")
