"""The contrastive objective (paper, section 2.3 and Figure 3): symmetric InfoNCE with a learned temperature.

Shapes: N pairs of the whole batch, n those of this rank, K rows of a block, D embedding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

from trainer.objectives.objective import Losses, learned
from trainer.objectives.pairs import Block, Pairs, count_hits, exact_products, gather_rows, scatter_sum
from trainer.parallel.ranks import ALONE, Ranks, sum_over

MAX_LOG_SCALE = math.log(100)  # the paper clips the scale of the logits at 100


@dataclass(frozen=True)
class Contrastive:
    """Each image over all texts and each text over all images: the mean of the two cross-entropies."""

    block_rows: int

    @property
    def pairs_rows(self) -> bool:
        """Every pair is told apart from all others of the batch."""
        return True

    def loss(self, features: tuple[Tensor, ...], model: nn.Module, ranks: Ranks, num_rows: int) -> Losses:
        """Return this rank's share for (image, text) embeddings of unit length, at the scale of `model`."""
        image_nD, text_nD = features
        return contrastive_loss(image_nD, text_nD, learned(model, "logit_scale").exp(), ranks, self.block_rows)

    def constrain(self, model: nn.Module) -> None:
        """Clamp the learned ln(1 / temperature) to [0, ln 100], as open_clip does; the paper gives the 100."""
        with torch.no_grad():
            learned(model, "logit_scale").clamp_(0, MAX_LOG_SCALE)


def contrastive_loss(
    image_nD: Tensor, text_nD: Tensor, scale: Tensor, ranks: Ranks = ALONE, block_rows: int = 4_096
) -> Losses:
    """Return this rank's share of the symmetric InfoNCE loss of all ranks' pairs, fp32 under any autocast.

    The inputs are of unit length; row i of each side belongs to row i of the other; every rank gives as many.
    """
    loss, num_hits = _InfoNce.apply(image_nD.float(), text_nD.float(), scale.float(), ranks, block_rows)  # type: ignore[no-untyped-call]
    return Losses(loss, num_hits)


class _InfoNce(torch.autograd.Function):
    """Two passes over the blocks: the logarithms of the sums of rows and columns; then, going back, the gradients.

    With logits s, r_i = log sum_j exp(s_ij - s_ii), c_j = log sum_i exp(s_ij - s_jj), and d = 1 on the diagonal:
    loss = sum_i (r_i + c_i) / 2N, dloss/ds_ij = (exp(s_ij - s_ii - r_i) + exp(s_ij - s_jj - c_j) - 2 d_ij) / 2N.
    Sums relative to the own logit keep a loss near 0 exact, where s_ii itself has no bits left for it.
    """

    @staticmethod
    def forward(
        ctx: Any, image_nD: Tensor, text_nD: Tensor, scale: Tensor, ranks: Ranks, block_rows: int
    ) -> tuple[Tensor, Tensor]:
        """Return the loss and the number of hits."""
        with exact_products(image_nD.device):
            text_ND, own_n = gather_rows(text_nD, ranks), scale * (image_nD * text_nD).sum(dim=1)
            own_N = gather_rows(own_n, ranks)
            pairs = Pairs(image_nD, text_ND, ranks.rank * len(image_nD), block_rows)
            row_n, column_N, num_hits = _log_sums(pairs, scale, own_N)
            column_N = _log_sum_over(ranks, column_N)
            loss = (row_n + column_N[pairs.mine]).sum() / (2 * len(text_ND))
        ctx.save_for_backward(image_nD, text_ND, scale, own_n + row_n, own_N + column_N)
        ctx.pairs = pairs.first, block_rows, ranks
        ctx.mark_non_differentiable(num_hits)
        return loss, num_hits

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of images, texts and scale."""
        image_nD, text_ND, scale, row_n, column_N = cast(tuple[Tensor, ...], ctx.saved_tensors)
        first, block_rows, ranks = ctx.pairs
        factor = gradients[0] / (2 * len(text_ND))

        def of_logits(block: Block) -> Tensor:
            logits_KN = scale * block.cosine_KN
            gradient_KN = (logits_KN - row_n[block.rows, None]).exp_()
            gradient_KN += logits_KN.sub_(column_N).exp_()
            gradient_KN[block.own] -= 2
            gradient_KN *= factor
            return gradient_KN

        with exact_products(image_nD.device):
            found = Pairs(image_nD, text_ND, first, block_rows).gradients(scale, of_logits)
            return found.image_nD, scatter_sum(found.text_ND, ranks), found.scale, None, None


def _log_sums(pairs: Pairs, scale: Tensor, own_N: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return r (n), this rank's part of c (N), and the number of hits; `own_N` has the s_ii of all ranks."""
    row_n, own_n = torch.empty_like(pairs.image_nD[:, 0]), own_N[pairs.mine]
    column_N = torch.full_like(own_N, -math.inf)
    num_hits = torch.zeros_like(scale)
    for block in pairs.blocks():
        logits_KN = block.cosine_KN.mul_(scale)
        logits_KN[block.own] = own_n[block.rows]
        column_N = torch.logaddexp(column_N, (logits_KN - own_N).logsumexp(dim=0))
        row_n[block.rows] = logits_KN.sub_(own_n[block.rows, None]).logsumexp(dim=1)
        num_hits += count_hits(logits_KN, block)
    return row_n, column_N, num_hits


def _log_sum_over(ranks: Ranks, column_N: Tensor) -> Tensor:
    """Return the logarithms of the sums over the ranks of what the ranks have the logarithms of."""
    if ranks.size == 1:
        return column_N
    most_N = column_N.clone()
    dist.all_reduce(most_N, dist.ReduceOp.MAX)
    return most_N + sum_over(ranks, (column_N - most_N).exp()).log()
