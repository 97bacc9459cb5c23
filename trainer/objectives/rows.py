"""Objectives whose loss the model itself makes, row by row: no row looks at another."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from trainer.objectives.objective import Losses
from trainer.parallel.ranks import Ranks


@dataclass(frozen=True)
class RowLosses:
    """The mean of the losses that the model returns for the rows."""

    @property
    def pairs_rows(self) -> bool:
        """A row's loss is its own."""
        return False

    def loss(self, features: tuple[Tensor, ...], model: nn.Module, ranks: Ranks, num_rows: int) -> Losses:
        """Return the share of these rows, given (loss, hit) of each; a hit is between 0 and 1."""
        loss_B, hit_B = features
        return Losses(loss_B.float().sum() / num_rows, hit_B.detach().float().sum())

    def constrain(self, model: nn.Module) -> None:
        """Nothing is bounded."""
