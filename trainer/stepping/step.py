"""One step of training: uint8 images and token ids in, updated weights and numbers for the log out.

Nothing in it waits for the device, and all that is decided (whether the update is left out) is decided there, from
numbers that every rank has.

Shapes: b rows of a rank, L length in tokens, S image side in px.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from trainer.objectives.objective import Losses, learned
from trainer.objectives.registry import build_objective
from trainer.optim.adamw import AdamW
from trainer.parallel.ranks import Ranks, sum_over
from trainer.parallel.wrapping import loss_parameters, unwrap
from trainer.recipe import TrainRecipe
from trainer.stepping.accumulation import Work, backward, cut
from trainer.stepping.gradients import LossScaler, gradient_norm, gradients_of, scale_gradients
from trainer.stepping.statistics import keep, running_statistics, settle


@dataclass(frozen=True)
class StepNumbers:
    """What a step yields, of all ranks' rows together; 0-d tensors that stay on the device until they are read."""

    loss: Tensor
    accuracy: Tensor
    """Share of the batch's rows that are predicted right: of the images, when they are paired with texts."""
    gradient_norm: Tensor
    """Before it is bounded."""
    scale: Tensor
    """1 / temperature that the step used; 0 where the objective has none."""
    skipped: Tensor
    """Bool: the update was left out, as the loss or a gradient was no number, or the loss above its limit."""


@dataclass(frozen=True)
class Stepper:
    """All that a step works with, besides the batch."""

    work: Work
    optimiser: AdamW
    scaler: LossScaler
    max_norm: float
    """Bound of the gradient's norm; 0: none."""
    micro_batch_size: int
    """Rows of a rank in the network at once; 0: all."""
    pack_text: bool
    seed: int

    def num_pieces(self, num_rows: int) -> int:
        """Return the number of micro-batches of so many rows."""
        return -(-num_rows // (self.micro_batch_size or num_rows))

    def seeds(self, step: int, num_rows: int, device: torch.device) -> Tensor:
        """Return a seed (int64) for each of this rank's rows of a step: the same whatever the number of ranks."""
        digest = blake2b(f"rows {self.seed} {step}".encode(), digest_size=8).digest()
        first = (int.from_bytes(digest, "little") >> 2) + self.work.ranks.rank * num_rows
        return torch.arange(first, first + num_rows, device=device)


def build_stepper(model: nn.Module, optimiser: AdamW, scaler: LossScaler, recipe: TrainRecipe, ranks: Ranks) -> Stepper:
    """Return what the steps of a recipe work with; `model` is what `wrapping.prepare` returned."""
    return Stepper(
        Work(model, build_objective(recipe.objective), ranks, recipe.run.precision),
        optimiser,
        scaler,
        recipe.optimiser.max_gradient_norm,
        recipe.data.micro_batch_size,
        recipe.run.pack_text,
        recipe.run.seed,
    )


def train_step(
    stepper: Stepper, images_b3SS: Tensor, tokens_bL: NDArray[np.int64], step: int, limit: Tensor | None = None
) -> StepNumbers:
    """Take step number `step` on this rank's rows: uint8 images on the device, tokens in main memory.

    An update whose loss is above `limit` (0-d, on the device) or no number, or whose gradient is none, is left out on
    every rank: weights, moments and running statistics stay as they are.
    """
    work, model, device = stepper.work, unwrap(stepper.work.model), images_b3SS.device
    model.train()
    seeds_b = stepper.seeds(step, len(images_b3SS), device)
    pieces = cut(images_b3SS, tokens_bL, seeds_b, stepper.num_pieces(len(images_b3SS)), stepper.pack_text)
    statistics = running_statistics(model)
    before = keep(statistics)
    stepper.optimiser.zero_grad(set_to_none=True)
    losses = _add_up(work, backward(work, pieces, stepper.scaler.factor * work.ranks.size))
    norm = _settle_gradients(stepper, model)
    skipped = ~(losses.loss.isfinite() & norm.isfinite())
    if limit is not None:
        skipped = skipped | (losses.loss > limit)
    scale = learned(model, "logit_scale").detach().exp() if hasattr(model, "logit_scale") else torch.zeros_like(norm)
    stepper.optimiser.step(skipped)
    work.objective.constrain(model)
    if before is not None:
        settle(statistics, before, skipped, work.ranks)
    accuracy = losses.num_hits / (len(images_b3SS) * work.ranks.size)
    return StepNumbers(losses.loss, accuracy, norm, scale, skipped)


def _add_up(work: Work, losses: Losses) -> Losses:
    """Return the loss of all ranks, and give the parameters of the loss their whole gradient: in one message.

    Those gradients become the mean over the ranks, as the weights' are by now.
    """
    if work.ranks.size == 1:
        return losses
    gradients = gradients_of(loss_parameters(unwrap(work.model)))
    summed = sum_over(work.ranks, torch.stack([losses.loss, losses.num_hits, *gradients]))
    for gradient, total in zip(gradients, summed[2:], strict=True):
        gradient.copy_(total / work.ranks.size)
    return Losses(summed[0], summed[1])


def _settle_gradients(stepper: Stepper, model: nn.Module) -> Tensor:
    """Take the loss's factor out of the gradients, bound them, and return their norm from before it was bounded."""
    gradients, scaler = gradients_of(list(model.parameters())), stepper.scaler
    norm = gradient_norm(gradients, stepper.work.ranks) / scaler.factor
    factor = 1 / scaler.factor
    if stepper.max_norm:
        factor = factor * (stepper.max_norm / (norm + 1e-6)).clamp(max=1.0)
    if stepper.max_norm or scaler.is_on:
        scale_gradients(gradients, factor)
    scaler.update(norm.isfinite())
    return norm
