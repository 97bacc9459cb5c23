from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tests.trainer.manners import CPU, NUM_ROWS, Manner, error, make, plain, quick_compiler, take
from trainer.models.inputs import IMAGE_MEAN, normalise_images, trim_tokens
from trainer.stepping.gradients import GROWTH_STEPS, MAX_FACTOR, LossScaler, ScalerState
from trainer.stepping.step import train_step

TOLERANCE = 1e-6
"""Largest difference of an element of the gradient from the plain reference, as a share of the whole gradient's norm;
1.6e-7 was the most seen."""
OBJECTIVES = ("contrastive", "sigmoid", "bag_of_words", "captioning")
MANNERS: dict[str, dict[str, Any]] = {
    "at once": {},
    "pieces": {"micro_batch_size": 3},
    "row by row, in blocks of three": {"micro_batch_size": 1, "block_rows": 3},
    "packed": {"run": {"pack_text": True}},
    "checkpointed": {"run": {"checkpoint_blocks": True}, "micro_batch_size": 4},
    "patch dropout": {"patch_dropout": 0.5, "micro_batch_size": 3},
}
BAG: dict[str, Any] = {"text": "bag_of_words", "micro_batch_size": 3, "run": {"pack_text": True}}


def optimise(manner: Manner, steps: int) -> list[Any]:
    _, stepper = make(manner)
    return [train_step(stepper, *manner.batch(), step) for step in range(steps)]


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_steps_on_one_batch_lower_its_loss(precision: str) -> None:
    """A single step lowers the loss of its batch, and forty learn the batch by heart; fp16 may lose one to overflow."""
    manner = Manner(micro_batch_size=3, run={"precision": precision}, optimiser={"max_gradient_norm": 1.0})
    numbers = optimise(manner, 40)
    taken = [one for one in numbers if not one.skipped]
    assert len(taken) >= (39 if precision == "fp16" else 40)
    assert float(taken[1].loss) < float(taken[0].loss)
    assert float(numbers[-1].loss) < 0.3 < float(numbers[0].loss)
    assert float(numbers[-1].accuracy) == 1


@pytest.mark.parametrize(
    "one",
    [
        *(pytest.param(Manner(each, **MANNERS[name]), id=f"{each}: {name}") for each in OBJECTIVES for name in MANNERS),
        *(pytest.param(Manner(each, **BAG), id=f"{each}: bag of words") for each in OBJECTIVES[:2]),
    ],
)
def test_gradients_are_those_of_the_plain_reference(one: Manner) -> None:
    """In pieces, in blocks, packed, checkpointed, with patches left out: what autograd gives for the whole batch."""
    taken = take(one)
    wanted = plain(one)
    assert error(taken.gradients, wanted) < TOLERANCE
    norm = torch.stack([gradient.norm() for gradient in wanted.values()]).norm()
    assert float(taken.numbers.gradient_norm) == pytest.approx(float(norm), rel=1e-5)


@pytest.mark.parametrize("objective", ["contrastive", "sigmoid"])
@pytest.mark.parametrize("micro_batch_size", [1, 2, 3, 5])
def test_the_scale_gets_its_gradient_once(objective: str, micro_batch_size: int) -> None:
    """However many pieces: open_clip's is as many times too large, as it computes the loss once for each."""
    manner = Manner(objective, micro_batch_size=micro_batch_size)
    wanted, found = plain(manner), take(manner).gradients
    for name in {"logit_scale", "logit_bias"} & wanted.keys():
        assert float(wanted[name]) != 0
        assert float(found[name]) == pytest.approx(float(wanted[name]), rel=1e-5)


def test_random_choices_are_replayed_and_differ_between_steps_and_rows() -> None:
    """A row's seed depends on the run, the step and the row, and on nothing else: not on pieces, not on ranks."""
    _, stepper = make()
    seeds = stepper.seeds(3, NUM_ROWS, CPU)
    assert len(set(seeds.tolist())) == NUM_ROWS
    assert not set(seeds.tolist()) & set(stepper.seeds(4, NUM_ROWS, CPU).tolist())
    halves = [
        replace(stepper, work=replace(stepper.work, ranks=replace(stepper.work.ranks, rank=rank, size=2)))
        for rank in range(2)
    ]
    assert torch.cat([half.seeds(3, NUM_ROWS // 2, CPU) for half in halves]).tolist() == seeds.tolist()


def resnet_pieces(num_pieces: int) -> Sequence[Sequence[int]]:
    return [range(number, NUM_ROWS, num_pieces) for number in range(num_pieces)]


@pytest.mark.parametrize("checkpointed", [False, True], ids=["kept", "checkpointed"])
@pytest.mark.parametrize("num_pieces", [1, 2])
def test_a_batch_norm_sees_each_piece_once(num_pieces: int, checkpointed: bool) -> None:
    """Replayed or recomputed, a piece is normalised as the first time, and counts once in the running statistics."""
    run = {"checkpoint_blocks": checkpointed}
    manner = Manner(model="RN-micro", micro_batch_size=NUM_ROWS // num_pieces, run=run)
    taken = take(manner)
    assert error(taken.gradients, plain(manner, resnet_pieces(num_pieces))) < TOLERANCE
    model, (images, tokens) = manner.build().train(), manner.batch()
    pieces = list(resnet_pieces(num_pieces))
    for rows in (pieces[-1], *pieces[:-1]):  # the last goes first, as it need not be computed twice
        model(normalise_images(images[list(rows)]), torch.from_numpy(tokens[list(rows)]))
    for name, buffer in model.named_buffers():
        torch.testing.assert_close(taken.weights[name], buffer, msg=name)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute")  # the compiler looks at the gradients of what is no leaf
@pytest.mark.parametrize(
    "manner",
    [
        Manner(micro_batch_size=3, run={"compile": True, "checkpoint_blocks": True, "pack_text": True}),
        Manner(model="RN-micro", run={"compile": True, "checkpoint_blocks": True}),
    ],
    ids=["ViT", "ResNet"],
)
def test_compiled_blocks_give_the_same(manner: Manner) -> None:
    """Checkpointing inside what is compiled; no block is left uncompiled for its many shapes; names stay."""
    wanted = take(replace(manner, run={}))
    with quick_compiler(), torch._dynamo.config.patch(fail_on_recompile_limit_hit=True):
        taken = take(manner)
    assert error(taken.gradients, wanted.gradients) < TOLERANCE
    assert taken.weights.keys() == wanted.weights.keys()
    for name in (name for name in wanted.weights if "running" in name or "tracked" in name):
        torch.testing.assert_close(taken.weights[name], wanted.weights[name], msg=name)
    torch.compiler.reset()


def poison(model: Any) -> None:
    """Make the first convolution put out infinities."""
    with torch.no_grad():
        model.visual.conv1.weight[0] = math.inf


@pytest.mark.parametrize("model_name", ["ViT-micro/16", "RN-micro"])
def test_an_update_that_is_left_out_leaves_no_trace(model_name: str) -> None:
    """A loss that is no number, or above the limit: weights, moments, running statistics and scale as they were."""
    for reason in ("nan", "limit"):
        manner = Manner(model=model_name)
        model, stepper = make(manner)
        train_step(stepper, *manner.batch(), 0)
        if reason == "nan":
            poison(model)
        before = {name: value.clone() for name, value in model.state_dict().items()}
        moments = [value.clone() for state in stepper.optimiser.state.values() for value in state.values()]
        numbers = train_step(stepper, *manner.batch(), 1, torch.tensor(1e-3 if reason == "limit" else math.inf))
        assert numbers.skipped
        assert bool(numbers.loss.isnan()) == (reason == "nan")
        after = model.state_dict()
        assert all(torch.equal(after[name], value) for name, value in before.items() if "tracked" not in name)
        kept = [value for state in stepper.optimiser.state.values() for value in state.values()]
        assert all(torch.equal(one, other) for one, other in zip(kept, moments, strict=True))


def test_a_limit_that_is_kept_changes_nothing() -> None:
    """The step below its limit is the step without one, bit by bit."""
    weights = []
    for limit in (None, torch.tensor(1e3)):
        model, stepper = make()
        assert not train_step(stepper, *Manner().batch(), 0, limit).skipped
        weights.append(model.state_dict())
    assert all(torch.equal(weights[1][name], value) for name, value in weights[0].items())


def test_fp16_gradients_do_not_vanish() -> None:
    """The factor keeps small gradients: with it they are near fp32's, and it is not left in them."""
    manner = Manner(micro_batch_size=3)
    half = replace(manner, run={"precision": "fp16"})
    _, stepper = make(half)
    model, small = make(half)
    stepper = replace(small, scaler=LossScaler("fp16", CPU, ScalerState(factor=256.0)))
    numbers = train_step(stepper, *half.batch(), 0)
    wanted = plain(manner)
    found = {name: one.grad for name, one in model.named_parameters() if one.grad is not None}
    assert error(found, wanted) < 2e-3  # fp16 has 11 bits: 5e-4 a product
    assert float(numbers.gradient_norm) == pytest.approx(float(take(manner).numbers.gradient_norm), rel=5e-3)


def test_the_factor_falls_at_once_and_rises_slowly() -> None:
    """Half after a gradient that is no number, twice after 2,000 good steps, between 1 and 2^24; off, it is 1."""
    scaler = LossScaler("fp16", CPU)
    scaler.update(torch.tensor(False))
    assert scaler.read() == ScalerState(32_768.0, 0.0)
    for _ in range(GROWTH_STEPS):
        scaler.update(torch.tensor(True))
    assert scaler.read() == ScalerState(65_536.0, 0.0)
    scaler = LossScaler("fp16", CPU, ScalerState(1.0, 5.0))
    scaler.update(torch.tensor(False))
    assert scaler.read() == ScalerState(1.0, 0.0)
    scaler = LossScaler("fp16", CPU, ScalerState(MAX_FACTOR, GROWTH_STEPS - 1.0))
    scaler.update(torch.tensor(True))
    assert scaler.read().factor == MAX_FACTOR
    off = LossScaler("bf16", CPU)
    off.update(torch.tensor(False))
    assert float(off.factor) == 1


class NoWaiting(TorchDispatchMode):
    """Fails where the host reads a number of the device."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert func not in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default), "waits"
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_no_step_waits_for_the_device(objective: str) -> None:
    """Nothing in a step, skipping and bounding included, reads a number of the device."""
    run = {"precision": "fp16", "pack_text": True}
    manner = Manner(objective, micro_batch_size=3, run=run, optimiser={"max_gradient_norm": 1.0})
    _, stepper = make(manner)
    with NoWaiting():
        train_step(stepper, *manner.batch(), 0, torch.tensor(100.0))


def test_the_norm_of_the_gradient_is_bounded_only_when_asked() -> None:
    """`max_norm` scales the gradient down to that norm; 0 leaves it as it is; the log has the norm before."""
    for max_norm, bounded in ((0.01, True), (0.0, False)):
        taken = take(Manner(optimiser={"max_gradient_norm": max_norm}))
        norm = torch.stack([gradient.norm() for gradient in taken.gradients.values()]).norm()
        assert float(norm) == pytest.approx(0.01 if bounded else float(taken.numbers.gradient_norm), rel=1e-3)
        assert float(taken.numbers.gradient_norm) > 0.1


def test_images_get_clips_mean_and_deviation() -> None:
    """A picture of the mean colour becomes zeros."""
    mean = torch.tensor(IMAGE_MEAN).mul(255).round().to(torch.uint8).view(1, 3, 1, 1).expand(1, 3, 2, 2)
    assert float(normalise_images(mean).abs().max()) < 0.01


def test_padding_is_cut_behind_the_last_end_mark() -> None:
    """The longest text of the batch sets the length, also when it fills the context."""
    tokens = np.array([[598, 1, 599, 0, 0], [598, 1, 2, 599, 0]])
    assert trim_tokens(tokens).tolist() == [[598, 1, 599, 0], [598, 1, 2, 599]]
    assert trim_tokens(tokens[:, :4]).shape == (2, 4)
