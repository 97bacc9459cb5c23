"""Gradients after the backward pass: their norm over the ranks, their scale, and whether they may be followed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from trainer.parallel.ranks import Ranks, sum_over
from trainer.parallel.wrapping import local

INITIAL_FACTOR, MAX_FACTOR = 65_536.0, 2.0**24
GROWTH_STEPS = 2_000  # as torch.amp.GradScaler: twice the factor after so many good steps, half of it after a bad one


@dataclass(frozen=True)
class ScalerState:
    """What a LossScaler remembers."""

    factor: float = INITIAL_FACTOR
    good_steps: float = 0.0
    """Since the factor last changed."""


class LossScaler:
    """The factor that keeps fp16's small gradients from vanishing; 1 for good in other precisions.

    torch.amp.GradScaler's rule, decided on the device and the same on every rank, so that no step waits.
    """

    def __init__(self, precision: str, device: torch.device, state: ScalerState = ScalerState()) -> None:
        self.is_on = precision == "fp16"
        factor = state.factor if self.is_on else 1.0
        self._numbers = torch.tensor([factor, state.good_steps], dtype=torch.float32, device=device)

    @property
    def factor(self) -> Tensor:
        """What the loss is multiplied by (0-d)."""
        return self._numbers[0]

    def update(self, is_finite: Tensor) -> None:
        """Take note of whether (0-d) the gradients were finite."""
        if not self.is_on:
            return
        factor, good_steps = self._numbers
        good_steps = torch.where(is_finite, good_steps + 1, 0.0)
        grows = good_steps >= GROWTH_STEPS
        factor = torch.where(is_finite, torch.where(grows, factor * 2, factor), factor / 2)
        self._numbers = torch.stack([factor.clamp(1.0, MAX_FACTOR), torch.where(grows, 0.0, good_steps)])

    def read(self) -> ScalerState:
        """Return what is remembered; this waits for the device."""
        return ScalerState(*self._numbers.tolist())


def gradients_of(parameters: Sequence[nn.Parameter]) -> list[Tensor]:
    """Return the gradients there are."""
    return [parameter.grad for parameter in parameters if parameter.grad is not None]


def gradient_norm(gradients: Sequence[Tensor], ranks: Ranks) -> Tensor:
    """Return the norm (0-d) of all gradients together; those in shards are added up over the ranks."""
    whole = _square_sum([one for one in gradients if not isinstance(one, DTensor)])
    shards = _square_sum([local(one) for one in gradients if isinstance(one, DTensor)])
    if shards is not None:
        shards = sum_over(ranks, shards)
    return torch.stack([one for one in (whole, shards) if one is not None]).sum().sqrt()


def _square_sum(tensors: list[Tensor]) -> Tensor | None:
    return torch.stack(torch._foreach_norm(tensors)).square().sum() if tensors else None


@torch.no_grad()
def scale_gradients(gradients: Sequence[Tensor], factor: Tensor) -> None:
    """Multiply gradients in place."""
    torch._foreach_mul_([local(one) for one in gradients], factor)
