"""Position embeddings for images of another size (336 px after 224: the grid grows from 16 x 16 to 24 x 24).

Shapes: L places of a square grid and one before them, G side of the grid, W width.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

IMAGE_POSITIONS = ("visual.positional_embedding", "visual.attnpool.positional_embedding")


def resize_positions(positions_LW: Tensor, grid: int) -> Tensor:
    """Return (grid^2 + 1, W): the first place as it is, the others bicubic with antialiasing, as open_clip does it."""
    old = math.isqrt(len(positions_LW) - 1)
    if old == grid:
        return positions_LW
    square_1WGG = positions_LW[1:].float().T.reshape(1, -1, old, old)
    resized_1WGG = functional.interpolate(
        square_1WGG, size=(grid, grid), mode="bicubic", antialias=True, align_corners=False
    )
    rest_LW = resized_1WGG.flatten(2)[0].T.to(positions_LW.dtype)
    return torch.cat([positions_LW[:1], rest_LW])


def resized(tensors: Mapping[str, Tensor], grid: int) -> dict[str, Tensor]:
    """Return a model's tensors with the positions of its image tower for a grid of another side."""
    return {
        name: resize_positions(value, grid) if name in IMAGE_POSITIONS else value for name, value in tensors.items()
    }
