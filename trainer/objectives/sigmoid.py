"""The sigmoid objective (SigLIP, arXiv 2303.15343): each cell of the similarity matrix is a yes or no of its own.

Shapes: N pairs of the whole batch, n those of this rank, K rows of a block, D embedding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainer.objectives.objective import Losses, learned
from trainer.objectives.pairs import Block, Pairs, count_hits, exact_products, gather_rows, scatter_sum
from trainer.parallel.ranks import ALONE, Ranks


@dataclass(frozen=True)
class Sigmoid:
    """Whether a text belongs to an image, for every text and image of the batch."""

    block_rows: int

    @property
    def pairs_rows(self) -> bool:
        """Every image is compared with every text."""
        return True

    def loss(self, features: tuple[Tensor, ...], model: nn.Module, ranks: Ranks, num_rows: int) -> Losses:
        """Return this rank's share for (image, text) embeddings of unit length, at the scale and bias of `model`."""
        image_nD, text_nD = features
        return sigmoid_loss(
            (image_nD, text_nD),
            learned(model, "logit_scale").exp(),
            learned(model, "logit_bias"),
            ranks,
            self.block_rows,
        )

    def constrain(self, model: nn.Module) -> None:
        """Leave scale and bias as they are: SigLIP bounds neither."""


def sigmoid_loss(
    features: tuple[Tensor, Tensor], scale: Tensor, bias: Tensor, ranks: Ranks = ALONE, block_rows: int = 4_096
) -> Losses:
    """Return this rank's share of -1/N sum_ij log sigmoid(z_ij (scale cos_ij + bias)), z = 1 for pairs, else -1.

    fp32 under any autocast; the features (image, text) are of unit length, and every rank gives as many.
    """
    image_nD, text_nD = (one.float() for one in features)
    loss, num_hits = _SigmoidLoss.apply(image_nD, text_nD, torch.stack([scale, bias]).float(), ranks, block_rows)  # type: ignore[no-untyped-call]
    return Losses(loss, num_hits)


class _SigmoidLoss(torch.autograd.Function):
    """With logits s and d = 1 on the diagonal: dloss/ds_ij = (sigmoid(s_ij) - d_ij) / N."""

    @staticmethod
    def forward(
        ctx: Any, image_nD: Tensor, text_nD: Tensor, line: Tensor, ranks: Ranks, block_rows: int
    ) -> tuple[Tensor, Tensor]:
        """Return the loss and the number of hits; `line` is (scale, bias)."""
        scale, bias = line.unbind()
        with exact_products(image_nD.device):
            text_ND = gather_rows(text_nD, ranks)
            pairs = Pairs(image_nD, text_ND, ranks.rank * len(image_nD), block_rows)
            loss, num_hits = (image_nD.new_zeros(()) for _ in range(2))
            for block in pairs.blocks():
                logits_KN = block.cosine_KN.mul_(scale).add_(bias)
                num_hits += count_hits(logits_KN, block)
                logits_KN[block.own] *= -1
                loss += functional.softplus(logits_KN).sum()
            loss /= len(text_ND)
        ctx.save_for_backward(image_nD, text_ND, line)
        ctx.ranks, ctx.block_rows = ranks, block_rows
        ctx.mark_non_differentiable(num_hits)
        return loss, num_hits

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of images, texts, and (scale, bias)."""
        image_nD, text_ND, line = cast(tuple[Tensor, ...], ctx.saved_tensors)
        scale, bias = line.unbind()
        factor = gradients[0] / len(text_ND)

        def of_logits(block: Block) -> Tensor:
            gradient_KN = (scale * block.cosine_KN + bias).sigmoid_()
            gradient_KN[block.own] -= 1
            return gradient_KN.mul_(factor)

        with exact_products(image_nD.device):
            pairs = Pairs(image_nD, text_ND, ctx.ranks.rank * len(image_nD), ctx.block_rows)
            found = pairs.gradients(scale, of_logits)
            text_nD = scatter_sum(found.text_ND, ctx.ranks)
            return found.image_nD, text_nD, torch.stack([found.scale, found.bias]), None, None
