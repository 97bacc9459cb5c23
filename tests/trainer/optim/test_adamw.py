from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

import trainer.optim.adamw
from tests.trainer.ranks import run_ranks
from trainer.models.clip import Clip, build_clip
from trainer.models.config import CONFIGS
from trainer.optim.adamw import FP16_SCALE, AdamW, build_optimiser
from trainer.optim.groups import text_weights
from trainer.optim.schedule import set_learning_rate
from trainer.recipe import Optimiser

PAPER = Optimiser()
STATES = ("fp32", "bf16", "fp16")
KINDS = [Optimiser(state=state, text_weights=weights) for state in STATES for weights in ("fp32", "fp16")]
SHAPE = (64, 48)
STATE_NAMES = ("exp_avg", "exp_avg_sq", "step")


def draw(number: int, size: float = 1e-3, shape: tuple[int, ...] = SHAPE) -> Tensor:
    """Return gradients of a step: of the same few directions, and noise."""
    generator = torch.Generator().manual_seed(number)
    bias = torch.randn(shape, generator=torch.Generator().manual_seed(99))
    return size * (torch.randn(shape, generator=generator) + bias)


def make(options: Optimiser, seed: int = 0) -> tuple[nn.Linear, AdamW]:
    """Return a linear layer and its optimiser."""
    torch.manual_seed(0)
    layer = nn.Linear(SHAPE[1], SHAPE[0])
    return layer, build_optimiser(layer, options, seed)


def run(layer: nn.Linear, optimiser: AdamW, steps: range, size: float = 1e-3) -> None:
    """Take steps with drawn gradients."""
    for step in steps:
        layer.weight.grad, layer.bias.grad = draw(step, size), draw(step, size, SHAPE[:1])
        optimiser.step()


def moments(optimiser: AdamW, parameter: Tensor) -> tuple[Tensor, Tensor]:
    """Return both moments of a parameter as numbers, in fp64."""
    mean, square = (optimiser.state[parameter][name].double() for name in ("exp_avg", "exp_avg_sq"))
    if optimiser.state[parameter]["exp_avg"].dtype == torch.float16:
        return mean / FP16_SCALE, (square / FP16_SCALE) ** 2
    return mean, square


def clip_with_gradients(options: Optimiser) -> tuple[Clip, AdamW]:
    """Return a model of both towers, two steps on."""
    model = build_clip(CONFIGS["ViT-micro/16"], seed=0)
    optimiser = build_optimiser(model, options)
    for step in range(2):
        for number, parameter in enumerate(model.parameters()):
            parameter.grad = draw(100 * step + number, 1e-3, tuple(parameter.shape))
        optimiser.step()
    return model, optimiser


def test_gains_and_biases_do_not_decay() -> None:
    """Matrices and embeddings decay; norms, biases, the class token and the scale do not; each is in one group."""
    model = build_clip(CONFIGS["ViT-micro/16"], seed=0)
    optimiser = build_optimiser(model, PAPER)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    decayed, plain = ({names[id(parameter)] for parameter in group["params"]} for group in optimiser.param_groups)
    assert decayed | plain == set(names.values())
    assert not decayed & plain
    assert {name for name in plain if not name.endswith("bias") and "ln_" not in name} == {
        "logit_scale",
        "visual.class_embedding",
    }
    assert [group["weight_decay"] for group in optimiser.param_groups] == [0.2, 0.0]


@pytest.mark.parametrize("state", STATES)
def test_decay_is_decoupled(state: str) -> None:
    """With no gradient at all a decaying weight shrinks by rate x decay, and a bias stays."""
    model = build_clip(CONFIGS["ViT-micro/16"], seed=0)
    optimiser = build_optimiser(model, Optimiser(state=state))
    set_learning_rate(optimiser, 0.1)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    weight, gain = cast(Tensor, model.visual.proj).detach().clone(), model.ln_final.weight.detach().clone()
    optimiser.step()
    torch.testing.assert_close(cast(Tensor, model.visual.proj).detach(), weight * (1 - 0.1 * 0.2))
    assert torch.equal(model.ln_final.weight.detach(), gain)


def test_moments_in_fp32_are_torchs_adamw() -> None:
    """Twenty steps give the weights and moments of torch.optim.AdamW to the last bit."""
    options = replace(PAPER, learning_rate=1e-2)
    layer, optimiser = make(options)
    run(layer, optimiser, range(20))
    mine = [layer.weight, layer.bias, *optimiser.state[layer.weight].values()]
    torch.manual_seed(0)
    other = nn.Linear(SHAPE[1], SHAPE[0])
    groups = [{"params": [other.weight], "weight_decay": 0.2}, {"params": [other.bias], "weight_decay": 0.0}]
    theirs = torch.optim.AdamW(groups, lr=1e-2, betas=(0.9, 0.98), eps=1e-6, fused=True)
    run(other, theirs, range(20))  # type: ignore[arg-type]
    state = theirs.state[other.weight]
    for ours, torchs in zip(mine, [other.weight, other.bias, *(state[n] for n in STATE_NAMES)], strict=True):
        assert torch.equal(ours, torchs)


@pytest.mark.parametrize("state", ["bf16", "fp16"])
@pytest.mark.parametrize("beta2", [0.98, 0.999])
@pytest.mark.parametrize("size", [1e-1, 1e-3, 1e-7])
def test_half_moments_are_those_of_fp32_on_average(state: str, beta2: float, size: float) -> None:
    """Over 600 steps of the same gradients both moments stay, on average, within 0.5 % of fp32's.

    Also where squares, 1e-14, are far below fp16's least number, and where a step of beta2 = 0.999 is less than half
    of what bf16 can tell apart. Weights are within 1 % of their way, and no single one
    is off by more than 3 % of the longest.
    """
    options = replace(PAPER, beta2=beta2, learning_rate=1e-3, epsilon=1e-12, weight_decay=0.0)
    exact, exact_optimiser = make(options)
    half, half_optimiser = make(replace(options, state=state))
    start = exact.weight.detach().clone()
    for layer, optimiser in ((exact, exact_optimiser), (half, half_optimiser)):
        run(layer, optimiser, range(600), size)
    expected, found = moments(exact_optimiser, exact.weight), moments(half_optimiser, half.weight)
    assert half_optimiser.state[half.weight]["exp_avg"].dtype != torch.float32
    for one, other in zip(expected, found, strict=True):
        assert float((other / one.abs().mean()).mean() - (one / one.abs().mean()).mean()) == pytest.approx(0, abs=5e-3)
    assert float((found[1] / expected[1]).mean()) == pytest.approx(1, abs=5e-3)
    way, difference = exact.weight.detach() - start, half.weight.detach() - exact.weight.detach()
    assert float(difference.norm() / way.norm()) < 0.01
    assert float(difference.abs().max() / way.abs().max()) < 0.03


@pytest.mark.parametrize("state", STATES)
def test_every_precision_solves_the_same_problem(state: str) -> None:
    """A regression of noisy examples ends within 5 % of the loss that it has with moments in fp32."""

    def final_loss(state: str) -> float:
        layer, optimiser = make(Optimiser(state=state, weight_decay=0.0))
        set_learning_rate(optimiser, 1e-2)
        generator = torch.Generator().manual_seed(5)
        truth = torch.randn(SHAPE, generator=generator)
        for _ in range(300):
            x = torch.randn(32, SHAPE[1], generator=generator)
            noise = 0.5 * torch.randn(32, SHAPE[0], generator=generator)
            loss = ((layer(x) - x @ truth.T - noise) ** 2).mean()
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        return float(loss.detach())

    assert final_loss(state) == pytest.approx(final_loss("fp32"), rel=0.05)


@pytest.mark.parametrize("options", KINDS, ids=lambda one: f"{one.state}-{one.text_weights}")
def test_a_step_that_is_called_off_changes_nothing(options: Optimiser) -> None:
    """With `skip` of 1, weights, moments and step counts stay, whatever the gradients; with 0 it is the plain step."""
    model, optimiser = clip_with_gradients(options)
    before = snapshot(model, optimiser)
    gradients = [cast(Tensor, parameter.grad) for parameter in model.parameters()]
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        parameter.grad = torch.full_like(gradient, float("nan"))
    optimiser.step(torch.tensor(True))
    assert_same(snapshot(model, optimiser), before)
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        parameter.grad = gradient
    optimiser.step(torch.tensor(0.0))
    other, other_optimiser = clip_with_gradients(options)
    other_optimiser.step()
    assert_same(snapshot(model, optimiser), snapshot(other, other_optimiser))


def snapshot(model: nn.Module, optimiser: AdamW) -> dict[str, Tensor]:
    """Return copies of all weights and of all that is kept of them."""
    kept = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for name, parameter in model.named_parameters():
        kept |= {f"{name}.{slot}": value.clone() for slot, value in optimiser.state[parameter].items()}
    return kept


def assert_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    """Compare bit by bit."""
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


@pytest.mark.parametrize("options", KINDS[1:], ids=lambda one: f"{one.state}-{one.text_weights}")
def test_chance_is_a_function_of_the_seed(options: Optimiser, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same seed gives the same bits, in whatever buckets the weights are taken; another gives others."""
    first = snapshot(*clip_with_gradients(options))
    monkeypatch.setattr(trainer.optim.adamw, "BUCKET_ELEMENTS", 1_000)
    assert_same(snapshot(*clip_with_gradients(options)), first)
    built = build_optimiser
    monkeypatch.setattr("tests.trainer.optim.test_adamw.build_optimiser", lambda *given: built(*given, seed=1))
    other = snapshot(*clip_with_gradients(options))
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_only_matrices_have_moments_in_half_precision() -> None:
    """Gains, biases, the class token and the scale, a thousandth of the numbers, keep theirs in fp32."""
    model, optimiser = clip_with_gradients(Optimiser(state="fp16"))
    for parameter in model.parameters():
        kept = optimiser.state[parameter]
        expected = torch.float16 if parameter.ndim >= 2 else torch.float32
        assert kept["exp_avg"].dtype == kept["exp_avg_sq"].dtype == expected
        assert kept["step"].dtype == torch.float32
        assert float(kept["step"]) == 2


def test_text_weights_are_numbers_of_fp16() -> None:
    """After a step the text tower's matrices are, the image tower's and all gains and biases are not."""
    model, _ = clip_with_gradients(Optimiser(text_weights="fp16"))
    short = {name for name, one in model.named_parameters() if torch.equal(one, one.half().float())}
    names = {name for name, _ in model.named_parameters()}
    text = {name for name in names if not name.startswith(("visual.", "logit_scale"))}
    assert short == {name for name in text if "ln_" not in name and not name.endswith("bias")}
    assert len(text_weights(model)) == len(short)


def test_small_updates_of_text_weights_add_up() -> None:
    """Updates of a hundredth of fp16's step at 1 move weights by their sum on average; to the nearest none would."""
    model = nn.Module()
    model.text_projection = nn.Parameter(torch.ones(64, 64))
    optimiser = build_optimiser(model, Optimiser(text_weights="fp16", weight_decay=0.0))
    rate = 2.0**-10 / 100
    set_learning_rate(optimiser, rate)
    for _ in range(300):
        model.text_projection.grad = -torch.ones(64, 64)
        optimiser.step()
    assert float(model.text_projection.detach().mean()) - 1 == pytest.approx(300 * rate, rel=0.03)


def test_a_parameter_without_gradient_stays() -> None:
    """What a loss does not read is neither updated nor decayed, and its step is not counted."""
    for state in STATES:
        layer, optimiser = make(Optimiser(state=state))
        weight = layer.weight.detach().clone()
        layer.bias.grad = torch.ones(SHAPE[:1])
        optimiser.step()
        assert torch.equal(layer.weight, weight)
        assert [float(optimiser.state[one]["step"]) for one in (layer.weight, layer.bias)] == [0, 1]


def _layout(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def _as_is(x: Tensor) -> Tensor:
    return x


@pytest.mark.parametrize("state", STATES)
def test_the_layout_of_a_weight_changes_nothing(state: str) -> None:
    """Convolutions whose weights or gradients lie channels last in memory get the same update."""

    def updated(layout: Callable[[Tensor], Tensor], of_gradient: Callable[[Tensor], Tensor]) -> Tensor:
        layer = nn.Module()
        layer.weight = nn.Parameter(layout(draw(1, 1.0, (8, 4, 3, 3))))
        optimiser = build_optimiser(layer, Optimiser(state=state))
        for step in range(3):
            layer.weight.grad = of_gradient(draw(step, 1e-3, (8, 4, 3, 3)))
            optimiser.step()
        return layer.weight.detach()

    for layout, of_gradient in ((_layout, _layout), (_as_is, _layout), (_layout, _as_is)):
        torch.testing.assert_close(updated(layout, of_gradient), updated(_as_is, _as_is), rtol=0, atol=0)


SHARED_OUT = """
import sys

import safetensors.torch
import torch
from torch.distributed.tensor import DTensor, distribute_tensor

from tests.trainer.optim.test_adamw import draw
from trainer.optim.ema import Ema
from trainer.models.clip import build_clip
from trainer.models.config import CONFIGS
from trainer.optim.adamw import build_optimiser
from trainer.parallel.wrapping import gather_moments, gather_weights, prepare
from trainer.parallel.ranks import find_ranks, joined
from trainer.recipe import Optimiser, Run

ranks, device = find_ranks(), torch.device("cpu")
torch.set_num_threads(1)


def train(state):
    model = build_clip(CONFIGS["ViT-micro/16"], seed=0)
    prepare(model, Run(parallel="fsdp"), ranks, device)
    optimiser = build_optimiser(model, Optimiser(state=state, text_weights="fp16"), 7)
    average = Ema(model, 0.5)
    for step in range(4):
        for number, parameter in enumerate(model.parameters()):
            gradient = draw(100 * step + number, 1e-3, tuple(parameter.shape))
            if isinstance(parameter, DTensor):
                gradient = distribute_tensor(gradient, parameter.device_mesh, parameter.placements)
            parameter.grad = gradient
        optimiser.step(torch.tensor(step == 2))
        average.update(100, torch.tensor(step == 2))
    tensors = gather_weights(model) | gather_moments(model, optimiser)
    with average.swapped():
        return tensors | {f"average.{name}": value for name, value in gather_weights(model).items()}


with joined(ranks, device):
    for state in sys.argv[2:]:
        tensors = train(state)
        if ranks.is_first:
            safetensors.torch.save_file(tensors, f"{sys.argv[1]}/{state}.safetensors")
"""


def test_weights_that_are_shared_out_get_the_same_update(tmp_path: Path) -> None:
    """With the weights cut over 2 ranks by FSDP, weights, moments and their average are those of 1, bit for bit.

    So are the chances of the rounding: each rank hashes the numbers of its own elements.
    """
    for size in (1, 2):
        (tmp_path / str(size)).mkdir()
        run_ranks(SHARED_OUT, size, [str(tmp_path / str(size)), "fp32", "fp16"])
    for state in ("fp32", "fp16"):
        alone, shared = (safetensors.torch.load_file(tmp_path / size / f"{state}.safetensors") for size in "12")
        assert_same(alone, shared)
        assert float(alone["visual.proj.step"]) == 3
