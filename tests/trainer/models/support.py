"""Models whose every parameter counts, and captions of several lengths."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn

from trainer.models.config import CONFIGS

AnyModel = TypeVar("AnyModel", bound=nn.Module)
LENGTHS = (2, 3, 7, 11, 16)


def shaken(model: AnyModel) -> AnyModel:
    """Return the model with gains, biases and statistics that are not ones and zeros, so that leaving one out shows."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                buffer += 0.1 * torch.randn(buffer.shape, generator=generator)
            elif name.endswith("running_var"):
                buffer += torch.rand(buffer.shape, generator=generator)
    return model


def some_tokens(lengths: tuple[int, ...] = LENGTHS) -> Tensor:
    """Return texts of the micro vocabulary of several lengths: start, words, end, padding."""
    text = CONFIGS["ViT-micro/16"].text
    tokens = torch.zeros(len(lengths), text.context_length, dtype=torch.long)
    for row, length in enumerate(lengths):
        tokens[row, :length] = torch.randint(1, 598, (length,), generator=torch.Generator().manual_seed(row))
        tokens[row, 0], tokens[row, length - 1] = 598, 599
    return tokens
