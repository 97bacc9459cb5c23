"""AdamW with the paper's exclusions, and the learning rate as a function of the step."""

from __future__ import annotations

import math

import torch
from torch import nn

from trainer.recipe import Optimiser


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Return the model's parameters in two groups: those that decay, and gains and biases, which do not.

    As open_clip draws the line: a vector or a scalar (gains and biases of norms, biases, the class token, the
    logit scale) does not decay, anything with two axes or more does.
    """
    decayed = [parameter for parameter in model.parameters() if parameter.ndim >= 2]
    plain = [parameter for parameter in model.parameters() if parameter.ndim < 2]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]


def build_optimiser(model: nn.Module, options: Optimiser) -> torch.optim.AdamW:
    """Return AdamW over the model's parameters; the learning rate is set at each step."""
    return torch.optim.AdamW(
        parameter_groups(model, options.weight_decay),
        lr=options.learning_rate,
        betas=(options.beta1, options.beta2),
        eps=options.epsilon,
        fused=True,
    )


def learning_rate(step: int, num_steps: int, options: Optimiser) -> float:
    """Return the rate of a step (from 0): a linear rise over the warm-up, then half a cosine down to 0.

    The paper gives the cosine and the 2,000 warm-up steps; the linear rise and the end at 0 are open_clip's.
    """
    if step < options.warmup_steps:
        return options.learning_rate * (step + 1) / options.warmup_steps
    done = (step - options.warmup_steps) / max(1, num_steps - options.warmup_steps)
    return options.learning_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def set_learning_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Set the rate of every group."""
    for group in optimiser.param_groups:
        group["lr"] = rate
