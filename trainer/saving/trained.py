"""What training changes: weights, what the optimiser keeps of each, their moving average; in and out of checkpoints."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from trainer.optim.ema import Ema
from trainer.parallel.agreement import tensors_from_first
from trainer.parallel.ranks import ALONE, Ranks
from trainer.parallel.wrapping import gather_moments, gather_weights, load_moments, load_weights, moments, unwrap
from trainer.saving.checkpoint import EMA, MODEL, OPTIMISER
from trainer.saving.tensorfile import read_tensors, require_shapes
from wit.storage import join


@dataclass(frozen=True)
class Trained:
    """A model and what goes with it, on the device, shared out over the ranks or not."""

    model: nn.Module
    optimiser: torch.optim.Optimizer
    ema: Ema | None = None

    def gather(self) -> dict[str, dict[str, Tensor]]:
        """Return copies of all tensors, whole, in main memory, by file; empty on all ranks but the first.

        Every rank must call it.
        """
        files = {MODEL: gather_weights(self.model), OPTIMISER: gather_moments(self.model, self.optimiser)}
        if self.ema is not None:
            with self.ema.swapped():
                files[EMA] = gather_weights(self.model)
        return files

    def restore(self, folder: str, ranks: Ranks = ALONE) -> None:
        """Take over the tensors of a checkpoint; the first rank reads them, and tells the others.

        Raises InputError when the checkpoint is of another model.
        """
        weights = unwrap(self.model).state_dict()
        load_weights(self.model, _read(folder, MODEL, weights, ranks))
        load_moments(self.model, self.optimiser, _read(folder, OPTIMISER, moments(self.model, self.optimiser), ranks))
        if self.ema is not None:
            with self.ema.swapped():
                load_weights(self.model, _read(folder, EMA, weights, ranks))


def _read(folder: str, name: str, expected: dict[str, Tensor], ranks: Ranks) -> dict[str, Tensor]:
    url = join(folder, name)

    def read() -> dict[str, Tensor]:
        tensors = read_tensors(url)
        require_shapes(tensors, expected, url)
        return tensors

    return tensors_from_first(ranks, read)
