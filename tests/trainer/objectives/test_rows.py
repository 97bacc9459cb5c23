"""Objectives whose loss is made row by row, and the two baselines of Figure 2 in the common loop."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import trainer.session
from tests.trainer.conftest import micro_recipe
from trainer.evaluation.scoring import prompt_scorer
from trainer.interchange.reading import read_model
from trainer.objectives.rows import RowLosses
from trainer.parallel.ranks import ALONE
from trainer.recipe import Objective, Optimiser, TrainRecipe
from trainer.saving.checkpoint import find, load_tokenizer
from trainer.training import train

BASELINES = ("bag_of_words", "captioning")


def _recipe(objective: str, **run: object) -> TrainRecipe:
    optimiser = Optimiser(learning_rate=1e-2, warmup_steps=2)
    return replace(micro_recipe(**run), objective=Objective(objective), optimiser=optimiser)


def _losses(out: Path) -> list[float]:
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if line["event"] == "metrics"]


def test_shares_of_rows_add_up_to_the_mean() -> None:
    """In whatever pieces the rows come, losses and hits add up to those of the whole, and so do the gradients."""
    rows = torch.rand(2, 8, generator=torch.Generator().manual_seed(0))
    loss = rows[0].clone().requires_grad_()
    shares = [RowLosses().loss((loss[i::3], rows[1][i::3]), torch.nn.Module(), ALONE, 8) for i in range(3)]
    total = torch.stack([one.loss for one in shares]).sum()
    total.backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(total.detach(), rows[0].mean())
    torch.testing.assert_close(loss.grad, torch.full((8,), 1 / 8))
    torch.testing.assert_close(torch.stack([one.num_hits for one in shares]).sum(), rows[1].sum())


@pytest.mark.parametrize("objective", BASELINES)
def test_a_baseline_learns_what_the_captions_say(objective: str, shards: Path, tmp_path: Path) -> None:
    """Over 60 steps on the miniature world the loss falls by a third and more; the checkpoint scores classes."""
    train(_recipe(objective, epochs=20), str(shards), str(tmp_path), "cpu")
    losses = _losses(tmp_path)
    assert sum(losses[-3:]) < 2 / 3 * sum(losses[:3])
    (model, _), tokenizer = read_model(str(tmp_path)), load_tokenizer(find(str(tmp_path)))
    score = prompt_scorer(model.eval(), tokenizer, (("a red circle",), ("a blue square",)))
    assert score(model.read_features(model.image_features(torch.zeros(2, 3, 32, 32)))).isfinite().all()


@pytest.mark.parametrize("objective", BASELINES)
def test_a_baseline_goes_on_as_if_nothing_had_been(
    objective: str, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken off between checkpoints and started again, losses and weights are those of a whole run, bit by bit."""
    train(_recipe(objective), str(shards), str(tmp_path / "whole"), "cpu")
    original = trainer.session.train_step

    def broken(*arguments: Any) -> Any:
        if arguments[3] == 5:  # the step's number; the newest checkpoint is of step 4
            raise RuntimeError("broken off")
        return original(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(trainer.session, "train_step", broken)
        with pytest.raises(RuntimeError, match="broken off"):
            train(_recipe(objective), str(shards), str(tmp_path / "cut"), "cpu")
    train(_recipe(objective), str(shards), str(tmp_path / "cut"), "cpu")
    assert _losses(tmp_path / "cut") == _losses(tmp_path / "whole")
    ends = [read_model(str(tmp_path / name))[0].state_dict() for name in ("cut", "whole")]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[1])
