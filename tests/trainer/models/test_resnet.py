from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from tests.trainer.models.support import shaken
from trainer.models.build import empty_model
from trainer.models.config import CONFIGS, ResNetConfig
from trainer.models.resnet import BatchNorm, ModifiedResNet, held_statistics

MICRO = CONFIGS["RN-micro"]


def micro_vision() -> ResNetConfig:
    assert isinstance(MICRO.vision, ResNetConfig)
    return MICRO.vision


def norm_shapes(prefix: str, channels: int) -> dict[str, tuple[int, ...]]:
    of_channels = ("weight", "bias", "running_mean", "running_var")
    return {f"{prefix}.{name}": (channels,) for name in of_channels} | {f"{prefix}.num_batches_tracked": ()}


def test_state_dict_has_the_released_names_and_shapes() -> None:
    """The image tower of RN50 has the released checkpoint's tensors and buffers, by name and shape, and no others."""
    expected: dict[str, tuple[int, ...]] = {
        "attnpool.positional_embedding": (50, 2048),
        **{f"attnpool.{one}_proj.weight": (2048, 2048) for one in "qkv"},
        **{f"attnpool.{one}_proj.bias": (2048,) for one in "qkv"},
        "attnpool.c_proj.weight": (1024, 2048),
        "attnpool.c_proj.bias": (1024,),
    }
    for number, (inputs, outputs) in enumerate(((3, 32), (32, 32), (32, 64)), start=1):
        expected |= {f"conv{number}.weight": (outputs, inputs, 3, 3), **norm_shapes(f"bn{number}", outputs)}
    inputs = 64
    for stage, num_blocks in enumerate((3, 4, 6, 3), start=1):
        width = 64 << (stage - 1)
        for block in range(num_blocks):
            prefix = f"layer{stage}.{block}"
            convolutions = {1: (width, inputs, 1, 1), 2: (width, width, 3, 3), 3: (4 * width, width, 1, 1)}
            for number, shape in convolutions.items():
                expected |= {f"{prefix}.conv{number}.weight": shape, **norm_shapes(f"{prefix}.bn{number}", shape[0])}
            if block == 0:
                expected |= {f"{prefix}.downsample.0.weight": (4 * width, inputs, 1, 1)}
                expected |= norm_shapes(f"{prefix}.downsample.1", 4 * width)
            inputs = 4 * width
    tower = empty_model(CONFIGS["RN50"]).get_submodule("visual")
    assert {name: tuple(value.shape) for name, value in tower.state_dict().items()} == expected


# --- the forward pass against a second implementation, with the same weights ---


def reference_norm(state: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    mean, variance, gain, bias = (
        state[f"{name}.{part}"].view(-1, 1, 1) for part in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / torch.sqrt(variance + 1e-5) * gain + bias


def reference_pool(x: Tensor, side: int) -> Tensor:
    return x.unfold(2, side, side).unfold(3, side, side).mean(dim=(-1, -2))


def reference_block(state: dict[str, Tensor], name: str, x: Tensor, stride: int) -> Tensor:
    y = torch.relu(reference_norm(state, f"{name}.bn1", functional.conv2d(x, state[f"{name}.conv1.weight"])))
    y = functional.conv2d(y, state[f"{name}.conv2.weight"], padding=1)
    y = reference_pool(torch.relu(reference_norm(state, f"{name}.bn2", y)), stride)
    y = reference_norm(state, f"{name}.bn3", functional.conv2d(y, state[f"{name}.conv3.weight"]))
    if f"{name}.downsample.0.weight" in state:
        x = functional.conv2d(reference_pool(x, stride), state[f"{name}.downsample.0.weight"])
        x = reference_norm(state, f"{name}.downsample.1", x)
    return torch.relu(x + y)


def reference_attention(state: dict[str, Tensor], x: Tensor, heads: int) -> Tensor:
    places = torch.cat([x.mean(dim=(2, 3))[:, None], x.flatten(2).transpose(1, 2)], dim=1)
    places = places + state["attnpool.positional_embedding"]
    q, k, v = (places @ state[f"attnpool.{one}_proj.weight"].T + state[f"attnpool.{one}_proj.bias"] for one in "qkv")
    mixed = []
    for one_q, one_k, one_v in zip(q[:, 0].chunk(heads, -1), k.chunk(heads, -1), v.chunk(heads, -1), strict=True):
        scores = (one_k @ one_q[:, :, None])[:, :, 0] / one_q.shape[-1] ** 0.5
        mixed.append((torch.softmax(scores, dim=1)[:, :, None] * one_v).sum(dim=1))
    return torch.cat(mixed, dim=1) @ state["attnpool.c_proj.weight"].T + state["attnpool.c_proj.bias"]


@torch.no_grad()
def test_forward_equals_a_plain_implementation() -> None:
    """Embeddings equal those of a second implementation from the paper's description, to 1e-5 of their size."""
    config = ResNetConfig(image_px=64, width=8, blocks=(1, 2, 1, 1), heads=4)
    tower = shaken(ModifiedResNet(config, embed_dim=24)).eval()
    state = dict(tower.state_dict())
    images = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    x = images
    for number, stride in ((1, 2), (2, 1), (3, 1)):
        x = functional.conv2d(x, state[f"conv{number}.weight"], stride=stride, padding=1)
        x = torch.relu(reference_norm(state, f"bn{number}", x))
    x = reference_pool(x, 2)
    for stage, num_blocks in enumerate(config.blocks, start=1):
        for block in range(num_blocks):
            x = reference_block(state, f"layer{stage}.{block}", x, stride=2 if stage > 1 and block == 0 else 1)
    wanted = reference_attention(state, x, config.heads)
    torch.testing.assert_close(tower(images), wanted, atol=float(wanted.abs().max()) * 1e-5, rtol=0)


def test_initial_weights_follow_the_released_code() -> None:
    """The attention pool's products are drawn at width^-0.5, each block begins as its shortcut, and the rest is
    PyTorch's own.
    """
    torch.manual_seed(0)
    tower = ModifiedResNet(ResNetConfig(image_px=96, width=16, blocks=(1, 2, 1, 1), heads=8), embed_dim=512)
    state = tower.state_dict()
    names = ["positional_embedding", *(f"{one}_proj.weight" for one in "qkvc")]
    assert [float(state[f"attnpool.{name}"].std()) for name in names] == pytest.approx([512**-0.5] * 5, rel=0.05)
    gains = [name for name in state if name.endswith("bn3.weight") and name.startswith("layer")]
    assert len(gains) == 5
    assert not any(state[name].any() for name in gains)
    assert bool((state["bn3.weight"] == 1).all())  # of the stem
    fan_in = state["layer4.0.conv2.weight"][0].numel()
    assert float(state["layer4.0.conv2.weight"].std()) == pytest.approx((3 * fan_in) ** -0.5, rel=0.05)


def test_held_statistics_normalise_by_the_batch_and_stay() -> None:
    """While statistics are held a tower in training gives the same features, and its buffers do not move."""
    tower = shaken(ModifiedResNet(micro_vision(), MICRO.embed_dim))
    images = torch.randn(6, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    wanted = tower(images)
    before = {name: value.clone() for name, value in tower.named_buffers()}
    with held_statistics(tower):
        torch.testing.assert_close(tower(images), wanted, atol=1e-6, rtol=1e-6)
    assert all(torch.equal(value, before[name]) for name, value in tower.named_buffers())
    tower(images)
    assert all(not torch.equal(value, before[name]) for name, value in tower.named_buffers())
    norms = [module for module in tower.modules() if isinstance(module, BatchNorm)]
    assert norms
    assert not any(norm.holds_statistics for norm in norms)
