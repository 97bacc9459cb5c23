from __future__ import annotations

import math

import pytest
import torch

from trainer.models.clip import build_clip
from trainer.models.config import CONFIGS
from trainer.optim import build_optimiser, learning_rate, set_learning_rate
from trainer.recipe import Optimiser

PAPER = Optimiser()


def test_rate_rises_over_the_warm_up_and_falls_as_a_cosine() -> None:
    """The rate is linear up to the peak, half of it halfway down, and 0 at the end."""
    num_steps = 10_000
    assert learning_rate(0, num_steps, PAPER) == pytest.approx(5e-4 / 2_000)
    assert learning_rate(999, num_steps, PAPER) == pytest.approx(2.5e-4)
    assert learning_rate(2_000, num_steps, PAPER) == pytest.approx(5e-4)
    assert learning_rate(6_000, num_steps, PAPER) == pytest.approx(2.5e-4)
    assert learning_rate(4_000, num_steps, PAPER) == pytest.approx(5e-4 * (0.5 + math.sqrt(0.5) / 2))
    assert learning_rate(num_steps, num_steps, PAPER) == pytest.approx(0)
    rates = [learning_rate(step, num_steps, PAPER) for step in range(0, num_steps, 50)]
    assert sorted(rates[40:], reverse=True) == rates[40:]


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


def test_decay_is_decoupled() -> None:
    """With no gradient at all a decaying weight shrinks by rate x decay, and a bias stays."""
    model = build_clip(CONFIGS["ViT-micro/16"], seed=0)
    optimiser = build_optimiser(model, PAPER)
    set_learning_rate(optimiser, 0.1)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    weight, gain = model.visual.proj.detach().clone(), model.ln_final.weight.detach().clone()
    optimiser.step()
    torch.testing.assert_close(model.visual.proj.detach(), weight * (1 - 0.1 * 0.2))
    assert torch.equal(model.ln_final.weight.detach(), gain)
