"""What the tests of the baselines share: captions as tokens, images, and gradients beside finite differences."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

VOCABULARY = 40
START, END = VOCABULARY - 2, VOCABULARY - 1
CAPTIONS = [[5, 6, 5, 7], [0, 0], [], [11]]


def make_tokens(captions: list[list[int]], length: int, padding: int = 0) -> Tensor:
    """Return ids (B, length): start, the caption, end, then `padding`."""
    rows = [[START, *words, END] for words in captions]
    return torch.tensor([row + [padding] * (length - len(row)) for row in rows])


def make_images(count: int, side_px: int = 32) -> Tensor:
    """Return (count, 3, side_px, side_px) random numbers."""
    return torch.randn(count, 3, side_px, side_px, generator=torch.Generator().manual_seed(1))


def assert_gradients(model: nn.Module, loss: Callable[[], Tensor]) -> None:
    """Compare each parameter's gradient along a random direction with the central difference of a loss.

    Norms compute in fp32, so that a loss near 10 is known to 1e-6: over steps of 2e-3 that is 5e-4.
    """
    loss().backward()  # type: ignore[no-untyped-call]
    generator = torch.Generator().manual_seed(2)
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        direction = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
        direction = direction / direction.norm()
        sides = []
        for sign in (1, -1):
            with torch.no_grad():
                parameter += sign * 1e-3 * direction
                sides.append(loss())
                parameter -= sign * 1e-3 * direction
        expected = float(sides[0] - sides[1]) / 2e-3
        assert float((parameter.grad * direction).sum()) == pytest.approx(expected, rel=1e-2, abs=2e-3), name
