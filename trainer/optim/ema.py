"""A moving average of a model's weights, to evaluate with and to keep beside them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule

from trainer.parallel.wrapping import local


class Ema:
    """The running mean of a model's weights and of the statistics of its norms, in fp32, shared out as they are.

    It begins as the weights are when it is made; the average of a checkpoint is loaded while it is `swapped` in.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self._model = model
        tensors = {id(tensor): tensor for tensor in model.state_dict(keep_vars=True).values()}
        self._floating = [local(tensor.detach()) for tensor in tensors.values() if tensor.is_floating_point()]
        self._average = [tensor.to(torch.float32, copy=True) for tensor in self._floating]

    @torch.no_grad()
    def update(self, step: int, skip: Tensor | None = None) -> None:
        """Move the average towards the weights after step `step` (from 1), unless `skip` (0-d, on the device) is 1.

        The decay is min(decay, (1 + step) / (10 + step)), so that the average soon forgets the weights it began with:
        the rule of TensorFlow's ExponentialMovingAverage with `num_updates`.
        """
        share = 1 - min(self.decay, (1 + step) / (10 + step))
        if skip is None:
            torch._foreach_lerp_(self._average, self._floating, share)
        else:  # chosen on the device; a step called off left the weights as they were, and so stays their average
            weight = share * (1 - skip.float())
            torch._foreach_lerp_(self._average, self._floating, [weight] * len(self._average))

    @contextmanager
    def swapped(self) -> Iterator[None]:
        """Put the average into the model for a while, and the weights into the average's place."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for mine, models in zip(self._average, self._floating, strict=True):
            held = models.clone()
            models.copy_(mine)
            mine.copy_(held)
        for module in self._model.modules():
            if isinstance(module, FSDPModule):
                module.reshard()  # whole weights that the last forward pass left behind are no longer these
