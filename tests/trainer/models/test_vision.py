from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.trainer.models.support import shaken, some_tokens
from trainer.models.build import build_model, set_checkpointing, set_patch_dropout
from trainer.models.clip import build_clip
from trainer.models.config import CONFIGS
from trainer.models.transformer import Transformer
from trainer.models.vision import VisionTransformer, kept_patches
from wit.errors import RecipeError

TINY = CONFIGS["ViT-tiny/8"]


@given(st.integers(-(2**63), 2**63 - 1), st.integers(1, 300), st.floats(0, 0.99))
def test_the_patches_that_stay_are_distinct_and_in_order(seed: int, num_patches: int, dropout: float) -> None:
    """As many stay as the share says, at least one; a row's choice is that of its seed, whatever stands beside it."""
    kept = kept_patches(torch.tensor([seed, 5, seed]), num_patches, dropout)
    rows = kept.tolist()
    assert rows[0] == rows[2] == kept_patches(torch.tensor([seed]), num_patches, dropout).tolist()[0]
    assert rows[0] == sorted(set(rows[0]))
    assert rows[0][0] >= 0
    assert rows[0][-1] < num_patches
    assert len(rows[0]) == max(1, round(num_patches * (1 - dropout)))


@pytest.mark.parametrize("step", [1, 1 << 32, -(1 << 40)])
def test_each_patch_stays_equally_often(step: int) -> None:
    """Over seeds in a row, low or high, every patch stays in its share of them, within five deviations, and so does
    every pair of neighbours.
    """
    seeds = torch.arange(20_000) * step
    kept = torch.zeros(len(seeds), 49).scatter_(1, kept_patches(seeds, 49, 0.5), 1)
    share = 24 / 49  # round(24.5) is even
    deviation = (share * (1 - share) / len(seeds)) ** 0.5
    assert float((kept.mean(dim=0) - share).abs().max()) < 5 * deviation
    both = share * 23 / 48
    found = (kept[:, 1:] * kept[:, :-1]).mean(dim=0)
    assert float((found - both).abs().max()) < 5 * (both * (1 - both) / len(seeds)) ** 0.5


def test_patches_are_left_out_in_training_only() -> None:
    """In training the tower sees the class token and the patches that stay, as if the others were not there."""
    tower = shaken(VisionTransformer(TINY.vision, TINY.embed_dim))
    images = torch.randn(3, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    seeds = torch.tensor([7, 8, 9])
    whole = tower(images)
    tower.patch_dropout = 0.5
    seen: list[int] = []
    tower.transformer.resblocks[0].register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape[1]))
    dropped = tower(images, seeds)
    assert seen == [1 + 18]
    assert not torch.allclose(dropped, whole, atol=1e-3)
    torch.testing.assert_close(tower(images[1:], seeds[1:]), dropped[1:])  # whatever stands beside it
    torch.testing.assert_close(tower.eval()(images, seeds), whole)


def test_a_patch_that_is_left_out_is_not_seen() -> None:
    """Pixels of the patches that are left out change nothing; those of the others do."""
    tower = shaken(VisionTransformer(TINY.vision, TINY.embed_dim))
    tower.patch_dropout = 0.5
    seeds = torch.tensor([3])
    kept = set(kept_patches(seeds, 36, 0.5)[0].tolist())
    images = torch.randn(1, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    for patch in range(36):
        changed = images.clone()
        top, left = patch // 6 * 8, patch % 6 * 8
        changed[:, :, top : top + 8, left : left + 8] += 1
        assert torch.equal(tower(changed, seeds), tower(images, seeds)) == (patch not in kept)


def test_a_resnet_has_no_patches_to_leave_out() -> None:
    """Patch dropout for a ResNet is a mistake in the recipe; none is not."""
    with pytest.raises(RecipeError, match=r"no patches, found 0\.5"):
        set_patch_dropout(build_model(CONFIGS["RN-micro"], 0), 0.5)
    set_patch_dropout(build_model(CONFIGS["RN-micro"], 0), 0.0)


@pytest.mark.parametrize("causal", [True, False])
def test_the_last_block_for_one_token_is_the_whole_ones_row(causal: bool) -> None:
    """Reading one token a row from the last block gives what the whole output holds there."""
    tower = shaken(Transformer(32, layers=2, heads=2, causal=causal))
    x_BLW = torch.randn(4, 9, 32, generator=torch.Generator().manual_seed(0))
    last_B = torch.tensor([0, 3, 8, 5])
    wanted = tower(x_BLW)[torch.arange(4), last_B]
    torch.testing.assert_close(tower(x_BLW, last_B=last_B), wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["ViT-micro/16", "RN-micro"])
def test_computing_activations_again_changes_no_gradient(name: str) -> None:
    """With blocks checkpointed every gradient and running statistic is the same to the bit."""
    config = CONFIGS[name]
    images = torch.randn(5, 3, *[config.vision.image_px] * 2, generator=torch.Generator().manual_seed(0))
    found = []
    for on in (False, True):
        model = shaken(build_clip(config, seed=0))
        set_checkpointing(model, on)
        image_BD, text_BD = model(images, some_tokens())
        (image_BD * text_BD).sum().backward()
        gradients = {name: one.grad for name, one in model.named_parameters() if one.grad is not None}
        found.append(gradients | dict(model.named_buffers()))
    assert found[0].keys() == found[1].keys()
    assert len(found[0]) > 20
    assert all(torch.equal(found[0][key], found[1][key]) for key in found[0])
