"""One step of training: pictures and their edited copies in, updated weights and numbers for the log out.

Shapes: B batch, S image side in px, D embedding.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from trainer.detector.model import Detector
from trainer.detector.recipe import TEMPERATURE, DetectorRecipe
from trainer.models.inputs import autocast, normalise_images
from trainer.objectives.contrastive import contrastive_loss
from trainer.optim.adamw import AdamW


@dataclass(frozen=True)
class PairNumbers:
    """What a step yields for the log; tensors stay on the device until they are read."""

    loss: Tensor
    accuracy: Tensor
    """Share of the pictures whose own copy is the nearest in the batch."""
    gradient_norm: Tensor
    skipped: Tensor
    """Bool: the update was left out."""


def pair_loss(picture_BD: Tensor, copy_BD: Tensor) -> tuple[Tensor, Tensor]:
    """Return the n-pair loss at the fixed temperature of 0.07, and the share of pictures nearest to their own copy."""
    scale = torch.tensor(1 / TEMPERATURE, device=picture_BD.device)
    losses = contrastive_loss(picture_BD, copy_BD, scale)
    return losses.loss, losses.num_hits / len(picture_BD)


def backward(
    model: Detector, pictures_B3SS: Tensor, copies_B3SS: Tensor, precision: str, micro_batch: int
) -> tuple[Tensor, Tensor]:
    """Add the gradients of a batch's loss to the model's; return loss and accuracy.

    With a `micro_batch` above 0, so many images at a time are in the network: all embeddings are made without
    gradients, the loss gives the gradient of each, and the images go through once more to carry it to the weights
    (Gao et al., "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup", 2021). The same gradients:
    no layer looks across a batch.
    """
    images = torch.cat([pictures_B3SS, copies_B3SS])
    size = micro_batch or len(images)
    pieces = torch.split(images, size)
    if len(pieces) == 1:
        embeddings = _embed(model, images, precision)
        loss, accuracy = pair_loss(*embeddings.chunk(2))
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach(), accuracy
    with torch.no_grad():
        embeddings = torch.cat([_embed(model, piece, precision) for piece in pieces])
    embeddings.requires_grad_()
    loss, accuracy = pair_loss(*embeddings.chunk(2))
    (gradients,) = torch.autograd.grad(loss, embeddings)
    for piece, gradient in zip(pieces, torch.split(gradients, size), strict=True):
        _embed(model, piece, precision).backward(gradient)  # type: ignore[no-untyped-call]
    return loss.detach(), accuracy


def _embed(model: Detector, images_B3SS: Tensor, precision: str) -> Tensor:
    with autocast(images_B3SS.device, precision):
        embeddings: Tensor = model(normalise_images(images_B3SS))
    return embeddings.float()


def pair_step(
    model: Detector,
    optimiser: AdamW,
    batch: tuple[Tensor, Tensor],
    recipe: DetectorRecipe,
    limit: Tensor,
) -> PairNumbers:
    """Take one optimiser step on (pictures, copies), both uint8 (B, 3, S, S).

    An update whose loss is above `limit` (0-d, on the device) or no number, or whose gradient is none, is left out.
    """
    optimiser.zero_grad(set_to_none=True)
    loss, accuracy = backward(model, *batch, recipe.run.precision, recipe.data.micro_batch_size)
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.optimiser.max_gradient_norm or float("inf"))
    skipped = ~(loss.isfinite() & norm.isfinite()) | (loss > limit)
    optimiser.step(skipped)
    return PairNumbers(loss, accuracy, norm, skipped)
