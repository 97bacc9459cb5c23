"""One step of training: uint8 images and token ids in, updated weights and numbers for the log out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainer.loss import clip_log_scale, contrastive_loss
from trainer.models.clip import Clip

IMAGE_MEAN = (0.48145466, 0.4578275, 0.40821073)  # of CLIP's training images, RGB in [0, 1] (released code)
IMAGE_STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class StepNumbers:
    """What a step yields for the log; tensors stay on the device until they are read."""

    loss: Tensor
    accuracy: Tensor
    """Share of the batch's images whose own caption is the likeliest in the batch."""
    gradient_norm: Tensor
    scale: Tensor


def normalise_images(images_B3SS: Tensor) -> Tensor:
    """Return uint8 images as floats with CLIP's mean and deviation."""
    mean, std = (torch.tensor(values, device=images_B3SS.device).view(3, 1, 1) for values in (IMAGE_MEAN, IMAGE_STD))
    return (images_B3SS.float() / 255 - mean) / std


def trim_tokens(tokens_BL: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the tokens up to the batch's last end mark; what follows is padding and cannot change an embedding."""
    return tokens_BL[:, : int(tokens_BL.argmax(axis=1).max()) + 1]


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Return the context in which products run at a precision, "fp32" or "bf16"."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def train_step(
    model: Clip,
    optimiser: torch.optim.Optimizer,
    images_B3SS: Tensor,
    tokens_BL: Tensor,
    precision: str,
    max_norm: float,
) -> StepNumbers:
    """Take one optimiser step on a batch; `max_norm` bounds the gradient's norm, 0 leaves it alone."""
    with autocast(images_B3SS.device, precision):
        image_BD, text_BD = model(normalise_images(images_B3SS), tokens_BL)
        scale = model.logit_scale.exp()
        loss, logits_BB = contrastive_loss(image_BD, text_BD, scale)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm or float("inf"))
    optimiser.step()
    clip_log_scale(model.logit_scale)
    hits = logits_BB.argmax(dim=1) == torch.arange(len(logits_BB), device=logits_BB.device)
    return StepNumbers(loss.detach(), hits.float().mean(), norm, scale.detach())
