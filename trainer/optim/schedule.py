"""The learning rate as a function of the step."""

from __future__ import annotations

import math

import torch

from trainer.recipe import Optimiser


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
