"""How much work training does a second: tokens, and arithmetic as a share of what the devices can do (MFU)."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from trainer.models.config import ClipConfig
from trainer.models.flops import training_flops
from trainer.parallel.agreement import gathered
from trainer.parallel.ranks import Ranks
from trainer.recipe import TrainRecipe
from trainer.running.meter import Window
from trainer.running.peaks import peak_flops


class WorkMeter:
    """Counts the tokens of this rank's captions between two lines of the log."""

    def __init__(self, recipe: TrainRecipe, config: ClipConfig, device: torch.device) -> None:
        self._recipe, self._config = recipe, config
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
        self._peak = peak_flops(name, recipe.run.precision)
        self._begin()

    def _begin(self) -> None:
        self._num_captions = self._num_tokens = self._num_computed = 0

    def add(self, tokens_bL: NDArray[np.int64]) -> None:
        """Count a batch's captions, (b, L): up to their end marks, and with the padding that is computed."""
        lengths_b = tokens_bL.argmax(axis=1) + 1
        num_tokens = int(lengths_b.sum())
        self._num_captions += len(tokens_bL)
        self._num_tokens += num_tokens
        self._num_computed += num_tokens if self._recipe.run.pack_text else int(lengths_b.max()) * len(tokens_bL)

    def report(self, window: Window, ranks: Ranks) -> dict[str, object]:
        """Return tokens a second of all ranks and, on devices whose peak is known, MFU; begin the next window.

        Every rank must call it. MFU counts what is computed: no padding where captions are packed, no patch that is
        left out, nothing twice. Its mean is over ranks of one kind of device.
        """
        told = gathered(ranks, (self._num_captions, self._num_tokens, self._num_computed))
        num_captions, num_tokens, num_computed = (sum(each) for each in zip(*told, strict=True))
        self._begin()
        found: dict[str, object] = {"tokens_per_s": round(num_tokens / window.seconds, 1)}
        if self._peak is not None and num_captions:
            flops = training_flops(self._config, num_computed / num_captions, self._recipe.model.patch_dropout)
            found["mfu"] = round(num_captions * flops / window.seconds / (ranks.size * self._peak), 4)
        return found
