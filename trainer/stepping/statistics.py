"""Running statistics of batch norms: one set for all ranks, and none of a step that is left out."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from trainer.parallel.ranks import Ranks, sum_over


def running_statistics(model: nn.Module) -> list[Tensor]:
    """Return a model's buffers in floating point, in order."""
    return [buffer for buffer in model.buffers() if buffer.is_floating_point()]


def keep(buffers: Sequence[Tensor]) -> Tensor | None:
    """Return a copy of all buffers in one tensor, or None when there are none."""
    return torch.cat([buffer.flatten() for buffer in buffers]) if buffers else None


@torch.no_grad()
def settle(buffers: Sequence[Tensor], before: Tensor, skip: Tensor, ranks: Ranks) -> None:
    """Give every rank the mean of all ranks' statistics, or (`skip`, 0-d) those from before the step.

    Running statistics are linear in those of the batches: the mean of them is what one process that had seen the
    batches of all ranks would hold.
    """
    now = sum_over(ranks, torch.cat([buffer.flatten() for buffer in buffers])) / ranks.size
    parts = torch.split(torch.where(skip, before, now), [buffer.numel() for buffer in buffers])
    for buffer, part in zip(buffers, parts, strict=True):
        buffer.copy_(part.view_as(buffer))
