from __future__ import annotations

import torch

from trainer.models.clip import build_clip
from trainer.models.config import CONFIGS
from trainer.optim import build_optimiser, set_learning_rate
from trainer.recipe import Optimiser

PAPER = Optimiser()


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
