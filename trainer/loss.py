"""The contrastive objective (paper, Figure 3). Shapes: B batch, D embedding."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

MAX_LOG_SCALE = math.log(100)  # the paper clips the scale of the logits at 100


def contrastive_loss(image_BD: Tensor, text_BD: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Return the symmetric InfoNCE loss and the scaled cosine matrix (B, B), both fp32 under any autocast.

    The inputs are of unit length; row i of each side belongs to row i of the other. The loss is the mean of two
    cross-entropies: each image over all texts, each text over all images.
    """
    with torch.autocast(image_BD.device.type, enabled=False):
        logits_BB = scale.float() * (image_BD.float() @ text_BD.float().T)
        target_B = torch.arange(len(logits_BB), device=logits_BB.device)
        both = functional.cross_entropy(logits_BB, target_B) + functional.cross_entropy(logits_BB.T, target_B)
        return both / 2, logits_BB


@torch.no_grad()
def clip_log_scale(log_scale: Tensor) -> None:
    """Clamp the learned ln(1 / temperature) to [0, ln 100] in place; called after each optimiser step."""
    log_scale.clamp_(0, MAX_LOG_SCALE)
