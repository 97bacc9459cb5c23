"""From shapes to a model: which class it is, its initial weights, and what is set after that."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from trainer.models.captioner import Captioner
from trainer.models.clip import Clip, make_clip, seeded
from trainer.models.config import ClipConfig
from trainer.models.predictor import WordPredictor
from trainer.models.resnet import Bottleneck
from trainer.models.transformer import ResidualAttentionBlock
from trainer.models.vision import VisionTransformer
from wit.errors import RecipeError

AnyModel = Clip | WordPredictor | Captioner

MODELS: dict[str, Callable[[ClipConfig], AnyModel]] = {
    "contrastive": make_clip,
    "sigmoid": make_clip,
    "bag_of_words": WordPredictor,
    "captioning": Captioner,
}
"""Objective -> what makes its model."""


def build_model(config: ClipConfig, seed: int) -> AnyModel:
    """Return a model whose initial weights are a function of `seed`; the global generator is left as it was."""
    with seeded(seed):
        return MODELS[config.objective](config)


def empty_model(config: ClipConfig) -> AnyModel:
    """Return a model without weights, on the meta device: to count, or to load weights by `assign=True`."""
    with torch.device("meta"):
        return MODELS[config.objective](config)


def set_checkpointing(model: nn.Module, on: bool) -> None:
    """Have every block of a model compute its activations again in the backward pass instead of keeping them."""
    for block in blocks(model):
        block.is_checkpointed = on


def blocks(model: nn.Module) -> list[ResidualAttentionBlock | Bottleneck]:
    """Return the repeated parts of all towers, in order: what is checkpointed, compiled and sharded one by one."""
    return [module for module in model.modules() if isinstance(module, ResidualAttentionBlock | Bottleneck)]


def set_patch_dropout(model: nn.Module, share: float) -> None:
    """Have the image tower leave out a share of the patches in training; raises RecipeError where it has none."""
    towers = [module for module in model.modules() if isinstance(module, VisionTransformer)]
    if share and not towers:
        raise RecipeError(f"model.patch_dropout: expected 0, as a ResNet has no patches, found {share}")
    for tower in towers:
        tower.patch_dropout = share
