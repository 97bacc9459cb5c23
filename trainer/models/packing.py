"""Captions without their padding: all tokens of a micro-batch in one row, and where each caption lies in it.

A Transformer's linear layers and norms then run over the tokens there are (captions average near 20 of 77), and only
attention has to know where one caption ends and the next begins.

Shapes: B batch, L length in tokens, N tokens of all captions together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.util import find_spec
from inspect import signature
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def _find_varlen() -> Callable[..., Any] | None:
    if find_spec("torch.nn.attention.varlen") is None:
        return None
    kernel: Callable[..., Any] = import_module("torch.nn.attention.varlen").varlen_attn
    return kernel if "window_size" in signature(kernel).parameters else None


VARLEN = _find_varlen()
"""torch's attention over rows of several lengths, or None where torch is too old for it."""
_LEAST_CAPABILITY = (8, 0)  # of a GPU: the kernel is FlashAttention's, for Ampere and later


def _has_kernel(device: torch.device) -> bool:
    if VARLEN is None or device.type != "cuda":
        return False
    return torch.cuda.get_device_capability(device) >= _LEAST_CAPABILITY


@dataclass(frozen=True)
class Packing:
    """Where the tokens of a batch (B, L) lie when they are packed; the CPU makes it, so that no step waits for it."""

    places: Tensor
    """int64 (N): of each token in the flattened (B * L) batch."""
    positions: Tensor
    """int64 (N): of each token in its caption."""
    last: Tensor
    """int64 (B): of each caption's end mark among the N tokens."""
    bounds: Tensor
    """int32, (B + 1): where each caption begins among the N tokens, and N."""
    length: int
    """L."""
    has_kernel: bool
    """Whether `VARLEN` runs on the device that it lies on."""

    def to(self, device: torch.device | str) -> Packing:
        """Return it on a device; from pinned memory the copies do not wait."""
        moved = self._each(lambda one: one.to(device, non_blocking=True))
        return replace(moved, has_kernel=_has_kernel(moved.places.device))

    def pin(self) -> Packing:
        """Return it in pinned memory."""
        return self._each(lambda one: one.pin_memory())

    def _each(self, change: Callable[[Tensor], Tensor]) -> Packing:
        return replace(
            self,
            places=change(self.places),
            positions=change(self.positions),
            last=change(self.last),
            bounds=change(self.bounds),
        )

    @property
    def num_captions(self) -> int:
        """B."""
        return len(self.last)

    def pack(self, x_BL: Tensor) -> Tensor:
        """Return the (N, ...) items of the captions of a (B, L, ...) tensor."""
        return x_BL.flatten(0, 1).index_select(0, self.places)

    def unpack(self, x_N: Tensor) -> Tensor:
        """Return (B, L, ...): the items of an (N, ...) tensor at their places, zeros between them."""
        padded = x_N.new_zeros(self.num_captions * self.length, *x_N.shape[1:])
        return padded.index_copy(0, self.places, x_N).view(self.num_captions, self.length, *x_N.shape[1:])


def pack(tokens_BL: NDArray[np.int64]) -> Packing:
    """Return where the tokens up to each caption's end mark (the highest id) lie when they are packed."""
    length = tokens_BL.shape[1]
    lengths_B = tokens_BL.argmax(axis=1) + 1
    bounds = np.concatenate([[0], np.cumsum(lengths_B)])
    positions = np.arange(bounds[-1]) - np.repeat(bounds[:-1], lengths_B)
    places = positions + np.repeat(np.arange(len(tokens_BL)) * length, lengths_B)
    return Packing(
        torch.from_numpy(places),
        torch.from_numpy(positions),
        torch.from_numpy(bounds[1:] - 1),
        torch.from_numpy(bounds.astype(np.int32)),
        length,
        has_kernel=False,
    )
