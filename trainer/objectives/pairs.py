"""Every image against every text, in blocks of rows of the similarity matrix, which is never there as a whole.

Ranks share the work: each compares its own images with the texts of all, and so holds n rows of N columns. What goes
between them are the texts (N x D, forth), their gradients (N x D, back), and where a column's sum is needed, N numbers.

Shapes: N pairs of the whole batch, n those of this rank, K rows of a block, D embedding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from trainer.parallel.ranks import Ranks

_all_gather = getattr(dist, "all_gather_single", dist.all_gather_into_tensor)  # the names from torch 2.13 on
_reduce_scatter = getattr(dist, "reduce_scatter_single", dist.reduce_scatter_tensor)


@contextmanager
def exact_products(device: torch.device) -> Iterator[None]:
    """Compute in fp32 here, whatever autocast and the precision of matrix products are outside.

    At a scale of 100, logits in bf16 are off by up to 0.26, in TF32 by some 0.01.
    """
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


def gather_rows(rows_n: Tensor, ranks: Ranks) -> Tensor:
    """Return the (N, ...) rows of all ranks, in the order of the ranks; no gradient goes back."""
    if ranks.size == 1:
        return rows_n
    all_N = rows_n.new_empty(ranks.size * len(rows_n), *rows_n.shape[1:])
    _all_gather(all_N, rows_n.contiguous())
    return all_N


def scatter_sum(rows_ND: Tensor, ranks: Ranks) -> Tensor:
    """Return this rank's (n, D) rows of the sum of all ranks' (N, D) tensors."""
    if ranks.size == 1:
        return rows_ND
    sum_nD = rows_ND.new_empty(len(rows_ND) // ranks.size, rows_ND.shape[1])
    _reduce_scatter(sum_nD, rows_ND)
    return sum_nD


@dataclass(frozen=True)
class Block:
    """Some rows of the matrix of cosines."""

    rows: slice
    """Of this rank's images."""
    own: tuple[Tensor, Tensor]
    """Index of each image's own text: (row in the block, column)."""
    cosine_KN: Tensor


@dataclass(frozen=True)
class PairGradients:
    """Gradients of the sum of a loss over a rank's rows of the matrix, for logits = scale x cosine + bias."""

    image_nD: Tensor
    text_ND: Tensor
    """This rank's part of it: the sum over the ranks is the gradient."""
    scale: Tensor
    bias: Tensor


@dataclass(frozen=True)
class Pairs:
    """This rank's images against all texts; both of unit length."""

    image_nD: Tensor
    text_ND: Tensor
    first: int
    """Column of the own text of this rank's first image; the others follow."""
    block_rows: int

    @property
    def mine(self) -> slice:
        """This rank's pairs among all."""
        return slice(self.first, self.first + len(self.image_nD))

    def blocks(self) -> Iterator[Block]:
        """Yield the matrix of cosines, block by block; a block may be written over."""
        for start in range(0, len(self.image_nD), self.block_rows):
            image_KD = self.image_nD[start : start + self.block_rows]
            row_K = torch.arange(len(image_KD), device=image_KD.device)
            rows = slice(start, start + len(image_KD))
            yield Block(rows, (row_K, row_K + (self.first + start)), image_KD @ self.text_ND.T)

    def gradients(self, scale: Tensor, of_logits: Callable[[Block], Tensor]) -> PairGradients:
        """Return the gradients that follow from those of the logits, (K, N) for each block."""
        image_nD, text_ND = torch.empty_like(self.image_nD), torch.zeros_like(self.text_ND)
        scale_sum, bias_sum = torch.zeros_like(scale), torch.zeros_like(scale)
        for block in self.blocks():
            gradient_KN = of_logits(block)
            torch.mm(gradient_KN, self.text_ND, out=image_nD[block.rows])
            text_ND.addmm_(gradient_KN.T, self.image_nD[block.rows])
            bias_sum += gradient_KN.sum()
            scale_sum += gradient_KN.mul_(block.cosine_KN).sum()
        return PairGradients(image_nD.mul_(scale), text_ND.mul_(scale), scale_sum, bias_sum)


def count_hits(logits_KN: Tensor, block: Block) -> Tensor:
    """Return how many images of a block have their own text as the likeliest."""
    return (logits_KN.argmax(dim=1) == block.own[1]).sum()
