"""The log of a run and its copies for TensorBoard and Weights & Biases."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tests.trainer.conftest import micro_recipe
from trainer.recipe import Run
from trainer.running.log import Log, open_log
from trainer.training import train
from wit.errors import OutputError, UserError


def test_a_log_goes_on_where_its_run_does(tmp_path: Path) -> None:
    """Lines beyond the checkpoint go, the others stay, and it is known which events there are."""
    path = str(tmp_path / "log.jsonl")
    log = Log(path, 0)
    for step in range(1, 5):
        log.write(step, "metrics", loss=float(step))
    log.write(4, "evaluation", accuracy=0.5)
    log.close()
    log = Log(path, 3)
    assert log.has(3, "metrics")
    assert not log.has(4, "metrics")
    assert not log.has(4, "evaluation")
    log.write(4, "metrics", loss=float("nan"))
    assert log.has(4, "metrics")
    log.close()
    lines = [json.loads(line, parse_constant=pytest.fail) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [(line["step"], line["loss"]) for line in lines] == [(1, 1.0), (2, 2.0), (3, 3.0), (4, None)]


def test_no_line_stays_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that takes a part of a line at a time, as one on a disk that fills up, gets the rest after it."""
    log = Log(str(tmp_path / "log.jsonl"), 0)
    file = log._file
    assert file is not None
    monkeypatch.setattr(log, "_file", SimpleNamespace(write=lambda data: file.write(bytes(data[:7])), close=file.close))
    log.write(1, "metrics", loss=1.0)
    log.close()
    assert json.loads((tmp_path / "log.jsonl").read_text()) == {"step": 1, "event": "metrics", "loss": 1.0}


def test_events_that_cannot_be_written_are_said(shards: Path, tmp_path: Path) -> None:
    """A file where TensorBoard's folder should be: one line that names it, not that of another file."""
    pytest.importorskip("tensorboard")
    out = tmp_path / "out"
    train(micro_recipe(), str(shards), str(out), "cpu")
    (out / "tensorboard").write_text("")
    with pytest.raises(OutputError, match="out/tensorboard: cannot be written: a file stands where a folder is needed"):
        train(micro_recipe(tensorboard=True), str(shards), str(out), "cpu")


def test_tensorboard_shows_no_step_twice(shards: Path, tmp_path: Path) -> None:
    """A run that goes on: every step once, with the numbers of the log."""
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    out = tmp_path / "out"
    run = Run(tensorboard=True)
    for start, stop in ((0, 5), (3, 8)):  # killed after step 5, with a checkpoint of step 3
        log = open_log(str(out), run, start, {})
        for step in range(start + 1, stop + 1):
            log.write(step, "metrics", loss=step + start / 100, note="a word")
        log.close()
    shown = EventAccumulator(str(out / "tensorboard")).Reload()
    assert shown.Tags()["scalars"] == ["metrics/loss"]
    found = [(event.step, round(event.value, 2)) for event in shown.Scalars("metrics/loss")]
    assert found == [(1, 1.0), (2, 2.0), (3, 3.0), (4, 4.03), (5, 5.03), (6, 6.03), (7, 7.03), (8, 8.03)]
    assert train(micro_recipe(tensorboard=True), str(shards), str(tmp_path / "run"), "cpu").is_done
    shown = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    assert {"metrics/loss", "metrics/images_per_s", "metrics/temperature"} <= set(shown.Tags()["scalars"])
    assert [event.step for event in shown.Scalars("metrics/loss")] == list(range(1, 10))


class FakeWandb(ModuleType):
    """What of Weights & Biases is used: runs by project and id, which know their last step."""

    class Error(Exception):
        """Base of its errors."""

    def __init__(self) -> None:
        super().__init__("wandb")
        self.runs: dict[tuple[str, str], list[tuple[int, dict[str, float]]]] = {}

    def init(self, project: str, id: str, dir: str, config: dict[str, Any], resume: str) -> Any:
        assert resume == "allow"
        assert Path(dir).is_dir()
        json.dumps(config)
        rows = self.runs.setdefault((project, id), [])
        step = rows[-1][0] + 1 if rows else 0
        return SimpleNamespace(step=step, log=lambda numbers, step: rows.append((step, numbers)), finish=lambda: None)


def test_wandb_gets_no_step_twice(shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that goes on is the same run there, also in another folder's stead; every step is sent once."""
    fake = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    out = tmp_path / "out"
    run = Run(wandb_project="clip")
    for start, stop in ((0, 5), (3, 8)):
        log = open_log(str(out), run, start, {"recipe": {"seed": 0}})
        for step in range(start + 1, stop + 1):
            log.write(step, "metrics", loss=float(step))
        log.close()
        out = out.rename(tmp_path / f"moved-{start}")
    ((name, rows),) = fake.runs.items()
    assert name[0] == "clip"
    assert [step for step, _ in rows] == list(range(1, 9))
    assert rows[0][1] == {"metrics/loss": 1.0}
    assert train(micro_recipe(wandb_project="clip"), str(shards), str(tmp_path / "run"), "cpu").is_done
    assert len(fake.runs) == 2


def test_what_wandb_refuses_is_said_in_one_line(shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where nobody has logged in: its reason, and the way on without it; the folder can be trained in."""
    fake = FakeWandb()

    def refuse(**_: object) -> None:
        raise FakeWandb.Error("No API key\nconfigured.")

    monkeypatch.setattr(fake, "init", refuse)
    monkeypatch.setitem(sys.modules, "wandb", fake)
    with pytest.raises(UserError, match=r"run\.wandb_project 'clip': .*: No API key configured\.; or set WANDB_MODE"):
        train(micro_recipe(wandb_project="clip"), str(shards), str(tmp_path), "cpu")
    assert train(micro_recipe(), str(shards), str(tmp_path), "cpu").is_done


@pytest.mark.parametrize(("key", "package"), [("tensorboard", "tensorboard"), ("wandb_project", "wandb")])
def test_a_copy_without_its_package_is_refused_at_once(
    key: str, package: str, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key and the package are named, before the folder is made."""
    monkeypatch.setitem(sys.modules, package, None)
    recipe = micro_recipe(**{key: True if key == "tensorboard" else "clip"})
    with pytest.raises(UserError, match=f"run.{key}: expected the package {package}, found none"):
        train(recipe, str(shards), str(tmp_path / "out"), "cpu")
    assert not (tmp_path / "out").exists()
