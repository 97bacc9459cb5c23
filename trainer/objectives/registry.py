"""The objectives that a recipe may name."""

from __future__ import annotations

from collections.abc import Callable

from trainer.objectives.contrastive import Contrastive
from trainer.objectives.objective import Objective
from trainer.objectives.rows import RowLosses
from trainer.objectives.sigmoid import Sigmoid
from trainer.recipe import Objective as Options

OBJECTIVES: dict[str, Callable[[Options], Objective]] = {
    "contrastive": lambda options: Contrastive(options.block_rows),
    "sigmoid": lambda options: Sigmoid(options.block_rows),
    "bag_of_words": lambda _: RowLosses(),
    "captioning": lambda _: RowLosses(),
}
"""Every objective, by the name that [objective] gives it."""


def build_objective(options: Options) -> Objective:
    """Return the objective of a recipe."""
    return OBJECTIVES[options.name](options)
