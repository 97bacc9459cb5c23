"""What an objective is to a step of training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn

from trainer.parallel.ranks import Ranks


@dataclass(frozen=True)
class Losses:
    """A rank's share of a batch's loss, or a micro-batch's share of it."""

    loss: Tensor
    """0-d, fp32: the shares of all ranks and micro-batches add up to the mean loss of the batch, and so do their
    gradients to its gradient."""
    num_hits: Tensor
    """0-d, fp32: rows that are predicted right."""


def learned(model: nn.Module, name: str) -> Tensor:
    """Return a parameter of a model, such as its scale."""
    parameter = getattr(model, name)
    assert isinstance(parameter, Tensor)
    return parameter


class Objective(Protocol):
    """Turns the rows that a model returns into a loss."""

    @property
    def pairs_rows(self) -> bool:
        """Whether a row's loss depends on the other rows, so that a loss needs the whole batch at once."""

    def loss(self, features: tuple[Tensor, ...], model: nn.Module, ranks: Ranks, num_rows: int) -> Losses:
        """Return the share of these rows in the mean loss of the `num_rows` rows of the whole batch.

        Where `pairs_rows`, the features are all rows of this rank, in their order.
        """

    def constrain(self, model: nn.Module) -> None:
        """Bring the parameters of the loss back into their bounds, after a step of the optimiser."""
