from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from trainer.models.build import build_model, set_patch_dropout
from trainer.models.captioner import PREFIX_TOKENS
from trainer.models.config import CONFIGS, ClipConfig
from trainer.models.flops import dense_flops, dense_macs, training_flops

IMAGE_GMACS = {
    "RN50": 6.11, "RN101": 9.77, "RN50x4": 21.28, "RN50x16": 74.70, "RN50x64": 264.56,
    "ViT-B/32": 4.41, "ViT-B/16": 17.57, "ViT-L/14": 81.02, "ViT-L/14@336px": 190.96,
}  # fmt: skip
"""Multiply-adds of the image towers in 1e9: open_clip's model_profile.csv, half its "image GFLOPs"."""


@pytest.mark.parametrize(("name", "gmacs"), IMAGE_GMACS.items())
def test_image_towers_cost_what_open_clip_profiled(name: str, gmacs: float) -> None:
    """The formulas give the published multiply-adds of all nine towers, to 0.05 %: profilers count norms as well."""
    assert dense_macs(CONFIGS[name]).image / 1e9 == pytest.approx(gmacs, rel=5e-4, abs=0.01)


@pytest.mark.parametrize(("name", "gflop"), [("ViT-B/32", 44.3), ("ViT-B/16", 123.3), ("ViT-L/14", 526.0)])
def test_dense_training_costs_what_is_published(name: str, gflop: float) -> None:
    """Training GFLOP a sample, 2 x multiply-adds and a backward pass twice the forward one."""
    assert dense_flops(CONFIGS[name]) / 1e9 == pytest.approx(gflop, abs=0.05)


def _measured(config: ClipConfig, num_tokens: int, patch_dropout: float = 0.0) -> float:
    """Return the operations of a forward and a backward pass of one sample as torch counts them, one by one."""
    model = build_model(config, seed=0)
    set_patch_dropout(model, patch_dropout)
    side = config.vision.image_px
    tokens_BL = torch.zeros(2, num_tokens, dtype=torch.long)
    tokens_BL[:, -1] = config.text.vocabulary_size - 1
    seeds_B = torch.arange(2) if patch_dropout else None
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):  # others compute scores again
        torch.stack(
            [out.sum() for out in model(torch.randn(2, 3, side, side), tokens_BL, None, seeds_B)]
        ).sum().backward()
    return counter.get_total_flops() / 2


def _hidden_pairs(num_tokens: int, width: int, num_blocks: int) -> float:
    """Operations on pairs that a causal tower does not see: torch's plain attention computes and masks them."""
    return 6 * num_blocks * 2 * width * (num_tokens**2 - num_tokens * (num_tokens + 1) / 2)


@pytest.mark.parametrize("name", ["ViT-micro/16", "RN-micro"])
@pytest.mark.parametrize("num_tokens", [16, 9])
def test_a_training_step_costs_what_torch_counts(name: str, num_tokens: int) -> None:
    """The formula equals torch's count of every product, but for the masked half of causal attention."""
    config = CONFIGS[name]
    text = config.text
    hidden = _hidden_pairs(num_tokens, text.width, text.layers - 1)
    assert training_flops(config, num_tokens) + hidden == _measured(config, num_tokens)
    bag = replace(config, text=replace(text, kind="bag_of_words"))
    assert training_flops(bag, num_tokens) == _measured(bag, num_tokens)


@pytest.mark.parametrize("name", ["ViT-micro/16", "RN-micro"])
def test_the_baselines_cost_what_torch_counts(name: str) -> None:
    """So it does for word prediction and captioning, whose last block is read at every token."""
    words = replace(CONFIGS[name], objective="bag_of_words")
    assert training_flops(words, 12) == _measured(words, 12)
    captions = replace(CONFIGS[name], objective="captioning")
    hidden = _hidden_pairs(PREFIX_TOKENS + 11, captions.text.width, captions.text.layers)
    assert training_flops(captions, 12) + hidden == _measured(captions, 12)


def test_patches_left_out_cost_nothing() -> None:
    """With half the patches left out the tower sees half of them, from its first layer on."""
    config = CONFIGS["ViT-tiny/8"]
    hidden = _hidden_pairs(10, config.text.width, config.text.layers - 1)
    assert training_flops(config, 10, patch_dropout=0.5) + hidden == _measured(config, 10, patch_dropout=0.5)
