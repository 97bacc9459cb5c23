from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import trainer.session
from tests.trainer.conftest import micro_recipe
from tests.trainer.running.test_loop import lines_of
from trainer.recipe import Run
from trainer.stepping.guard import DECAY, MEAN_STEPS, Guard, GuardState
from trainer.training import train
from wit.errors import StageError

CPU = torch.device("cpu")


def feed(guard: Guard, losses: list[float]) -> list[bool]:
    """Return which updates a step would have left out, and tell the guard of each."""
    left_out = []
    for loss in losses:
        limit = float(guard.limit())
        left_out.append(not math.isfinite(loss) or loss > limit)
        guard.update(torch.tensor(loss), torch.tensor(left_out[-1]))
    return left_out


@settings(max_examples=30)
@given(st.lists(st.floats(0.125, 9.0, width=32), min_size=MEAN_STEPS, max_size=MEAN_STEPS + 20))
def test_the_limit_is_the_running_mean_and_the_rise(losses: list[float]) -> None:
    """As in the definition: a mean that forgets by DECAY a step, of the updates that were taken."""
    guard = Guard(Run(max_loss_rise=50.0), GuardState(), CPU)
    assert not any(feed(guard, losses))
    weights = [DECAY ** (len(losses) - 1 - place) for place in range(len(losses))]
    mean = sum(weight * loss for weight, loss in zip(weights, losses, strict=True)) / sum(weights)
    assert float(guard.limit()) == pytest.approx(mean + 50, rel=1e-4)


def test_the_mean_judges_when_it_has_seen_enough_and_leaps_do_not_move_it() -> None:
    """A leap early on passes, a later one does not and changes nothing; losses that are no numbers never count."""
    guard = Guard(Run(max_loss_rise=1.0, max_skipped_steps=3), GuardState(), CPU)
    assert not any(feed(guard, [9.0, 2.0] + [2.0] * MEAN_STEPS * 10))
    before = float(guard.limit())
    assert before == pytest.approx(3.0, abs=0.01)
    assert feed(guard, [3.5, math.nan, math.inf]) == [True, True, True]
    assert float(guard.limit()) == before
    assert guard.check("out", 1).num_skipped == 3
    assert feed(guard, [2.0, 2.9, 3.2]) == [False, False, True]
    assert guard.read().in_row == 1


def test_too_many_in_a_row_end_training_even_when_the_row_is_over() -> None:
    """What is counted is the longest row since the last check; many bad steps apart from one another are borne."""
    guard = Guard(Run(max_skipped_steps=2), GuardState(), CPU)
    feed(guard, [1.0, math.nan, math.nan] * 10)
    assert guard.check("out", 30).num_skipped == 20
    feed(guard, [math.nan, 1.0])  # the third in a row: a row goes on across a check
    with pytest.raises(StageError, match=r"out: step 32: expected a finite loss .* found 3 updates in a row"):
        guard.check("out", 32)


@settings(max_examples=20)
@given(st.lists(st.one_of(st.floats(0.125, 9.0, width=32), st.just(math.nan)), max_size=150), st.integers(0, 150))
def test_a_guard_goes_on_from_its_state(losses: list[float], at: int) -> None:
    """A guard made from what another remembers, through JSON's numbers, says the same from then on, bit by bit."""
    run = Run(max_loss_rise=0.5, max_skipped_steps=1_000)
    whole, first = Guard(run, GuardState(), CPU), Guard(run, GuardState(), CPU)
    feed(first, losses[:at])
    second = Guard(run, first.read(), CPU)
    assert feed(second, losses[at:]) == feed(whole, losses)[at:]
    assert second.read() == whole.read()


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 100.0])
def test_a_bad_step_leaves_a_run_as_if_it_had_not_been(
    bad: float, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A planted loss, no number or one that leaps: the weights stay as they were before that step; it is logged."""
    monkeypatch.setattr(trainer.stepping.guard, "MEAN_STEPS", 2)
    weights: list[dict[str, torch.Tensor]] = []
    take, count = trainer.session.train_step, iter(range(100))

    def planted(stepper: Any, images: torch.Tensor, *arguments: Any) -> Any:
        model = stepper.work.model
        scale = model.logit_scale.data
        kept, is_bad = scale.clone(), next(count) == 5
        scale.copy_(torch.tensor(bad).log() if is_bad else kept)
        numbers = take(stepper, images, *arguments)
        if is_bad:
            scale.copy_(kept)
        weights.append({name: value.clone() for name, value in model.state_dict().items()})
        return numbers

    monkeypatch.setattr(trainer.session, "train_step", planted)
    train(micro_recipe(max_loss_rise=1.0), str(shards), str(tmp_path / "out"), "cpu")
    same = [all(torch.equal(one[name], other[name]) for name in one) for one, other in pairwise(weights)]
    assert same == [step == 4 for step in range(8)]
    assert [line["skipped"] for line in lines_of(tmp_path / "out")] == [0] * 5 + [1] * 4
