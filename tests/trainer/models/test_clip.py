from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tests.trainer.models.support import shaken, some_tokens
from trainer.models.build import blocks, build_model, empty_model
from trainer.models.clip import build_clip
from trainer.models.config import CONFIGS, model_config
from trainer.models.packing import pack

MICRO = CONFIGS["ViT-micro/16"]

COUNTS = {  # image tower, text tower, total; open_clip's model_profile.csv has the same
    "RN50": (38_316_896, 63_690_240, 102_007_137),
    "RN101": (56_259_936, 63_428_096, 119_688_033),
    "RN50x4": (87_137_080, 91_163_520, 178_300_601),
    "RN50x16": (167_328_912, 123_650_304, 290_979_217),
    "RN50x64": (420_380_352, 202_877_952, 623_258_305),
    "ViT-B/32": (87_849_216, 63_428_096, 151_277_313),
    "ViT-B/16": (86_192_640, 63_428_096, 149_620_737),
    "ViT-L/14": (303_966_208, 123_650_304, 427_616_513),
    "ViT-L/14@336px": (304_293_888, 123_650_304, 427_944_193),
}


def num_parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("name", COUNTS)
def test_parameter_counts_are_the_papers(name: str) -> None:
    """Each tower of each of the nine models has as many parameters as the released one, to the digit."""
    model = empty_model(CONFIGS[name])
    image, total = num_parameters(model.get_submodule("visual")), num_parameters(model)
    assert (image, total - image - 1, total) == COUNTS[name]  # 1: the scale


def block_shapes(prefix: str, width: int) -> dict[str, tuple[int, ...]]:
    return {
        f"{prefix}.attn.in_proj_weight": (3 * width, width),
        f"{prefix}.attn.in_proj_bias": (3 * width,),
        f"{prefix}.attn.out_proj.weight": (width, width),
        f"{prefix}.attn.out_proj.bias": (width,),
        f"{prefix}.ln_1.weight": (width,),
        f"{prefix}.ln_1.bias": (width,),
        f"{prefix}.mlp.c_fc.weight": (4 * width, width),
        f"{prefix}.mlp.c_fc.bias": (4 * width,),
        f"{prefix}.mlp.c_proj.weight": (width, 4 * width),
        f"{prefix}.mlp.c_proj.bias": (width,),
        f"{prefix}.ln_2.weight": (width,),
        f"{prefix}.ln_2.bias": (width,),
    }


def test_state_dict_has_the_released_names_and_shapes() -> None:
    """The state of ViT-B/32 has the 302 tensors of the released checkpoint, by name and shape."""
    expected: dict[str, tuple[int, ...]] = {
        "positional_embedding": (77, 512),
        "text_projection": (512, 512),
        "logit_scale": (),
        "token_embedding.weight": (49_408, 512),
        "ln_final.weight": (512,),
        "ln_final.bias": (512,),
        "visual.class_embedding": (768,),
        "visual.positional_embedding": (50, 768),
        "visual.proj": (768, 512),
        "visual.conv1.weight": (768, 3, 32, 32),
        "visual.ln_pre.weight": (768,),
        "visual.ln_pre.bias": (768,),
        "visual.ln_post.weight": (768,),
        "visual.ln_post.bias": (768,),
    }
    for layer in range(12):
        expected |= block_shapes(f"visual.transformer.resblocks.{layer}", 768)
        expected |= block_shapes(f"transformer.resblocks.{layer}", 512)
    assert {
        name: tuple(value.shape) for name, value in empty_model(CONFIGS["ViT-B/32"]).state_dict().items()
    } == expected
    assert len(expected) == 302


# --- the forward pass against plain PyTorch modules with the same weights ---


def reference_block(state: dict[str, Tensor], prefix: str, x_BLW: Tensor, heads: int, mask: Tensor | None) -> Tensor:
    width = x_BLW.shape[-1]
    attention = nn.MultiheadAttention(width, heads, batch_first=True)
    attention.load_state_dict(
        {
            name.removeprefix(f"{prefix}.attn."): v
            for name, v in state.items()
            if ".attn." in name and name.startswith(f"{prefix}.")
        }
    )
    y = reference_norm(state, f"{prefix}.ln_1", x_BLW)
    x_BLW = x_BLW + attention(y, y, y, need_weights=False, attn_mask=mask)[0]
    y = (
        reference_norm(state, f"{prefix}.ln_2", x_BLW) @ state[f"{prefix}.mlp.c_fc.weight"].T
        + state[f"{prefix}.mlp.c_fc.bias"]
    )
    y = y / (1 + torch.exp(-1.702 * y))
    return x_BLW + y @ state[f"{prefix}.mlp.c_proj.weight"].T + state[f"{prefix}.mlp.c_proj.bias"]


def reference_norm(state: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    centred = x - x.mean(dim=-1, keepdim=True)
    return (
        centred / torch.sqrt((centred**2).mean(dim=-1, keepdim=True) + 1e-5) * state[f"{name}.weight"]
        + state[f"{name}.bias"]
    )


def reference_image(state: dict[str, Tensor], images: Tensor) -> Tensor:
    patch, width = MICRO.vision.patch_px, MICRO.vision.width
    rows = []
    for top in range(0, MICRO.vision.image_px, patch):
        for left in range(0, MICRO.vision.image_px, patch):
            pixels = images[:, :, top : top + patch, left : left + patch].flatten(1)
            rows.append(pixels @ state["visual.conv1.weight"].view(width, -1).T)
    x = torch.stack([state["visual.class_embedding"].expand(len(images), -1), *rows], dim=1)
    x = reference_norm(state, "visual.ln_pre", x + state["visual.positional_embedding"])
    for layer in range(MICRO.vision.layers):
        x = reference_block(state, f"visual.transformer.resblocks.{layer}", x, MICRO.vision.heads, None)
    return reference_norm(state, "visual.ln_post", x[:, 0]) @ state["visual.proj"]


def reference_text(state: dict[str, Tensor], tokens: Tensor) -> Tensor:
    length = tokens.shape[1]
    x = state["token_embedding.weight"][tokens] + state["positional_embedding"]
    mask = torch.full((length, length), float("-inf")).triu(1)
    for layer in range(MICRO.text.layers):
        x = reference_block(state, f"transformer.resblocks.{layer}", x, MICRO.text.heads, mask)
    x = reference_norm(state, "ln_final", x)
    ends = [int(row.argmax()) for row in tokens]
    return torch.stack([x[row, end] for row, end in enumerate(ends)]) @ state["text_projection"]


@torch.no_grad()
def test_forward_equals_a_plain_implementation() -> None:
    """Embeddings equal those of a second implementation from the paper's description, to 1e-5."""
    model = shaken(build_clip(MICRO, seed=0))
    state = dict(model.state_dict())
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    image_BD, text_BD = model(images, some_tokens())
    for got, wanted in ((image_BD, reference_image(state, images)), (text_BD, reference_text(state, some_tokens()))):
        torch.testing.assert_close(got, wanted / wanted.norm(dim=-1, keepdim=True), atol=1e-5, rtol=0)


@torch.no_grad()
def test_text_after_the_end_mark_changes_nothing() -> None:
    """Padding may be cut off, and whatever stands after the end mark is not seen."""
    model = shaken(build_clip(MICRO, seed=0))
    tokens = some_tokens()[:3]
    wanted = model.encode_text(tokens)
    noise = tokens.clone()
    noise[0, 5:] = 17
    torch.testing.assert_close(model.encode_text(noise), wanted, atol=1e-6, rtol=0)
    torch.testing.assert_close(model.encode_text(tokens[:, :7]), wanted, atol=1e-6, rtol=0)


def test_initial_weights_follow_the_released_code() -> None:
    """Standard deviations of the initial weights are those of the released code, and the temperature is 0.07."""
    state = build_clip(CONFIGS["ViT-tiny/8"], seed=0).state_dict()
    width, layers = 128, 3
    expected = {
        "token_embedding.weight": 0.02,
        "positional_embedding": 0.01,
        "text_projection": width**-0.5,
        "transformer.resblocks.1.attn.in_proj_weight": width**-0.5,
        "transformer.resblocks.1.attn.out_proj.weight": width**-0.5 * (2 * layers) ** -0.5,
        "transformer.resblocks.1.mlp.c_proj.weight": width**-0.5 * (2 * layers) ** -0.5,
        "transformer.resblocks.1.mlp.c_fc.weight": (2 * width) ** -0.5,
        "visual.positional_embedding": 128**-0.5,
        "visual.proj": 128**-0.5,
        "visual.transformer.resblocks.0.mlp.c_fc.weight": (3 * 128) ** -0.5,  # uniform on +-128^-0.5
    }
    assert {name: float(state[name].std()) for name in expected} == pytest.approx(expected, rel=0.05)
    assert float(state["logit_scale"].exp()) == pytest.approx(1 / 0.07)


def test_weights_are_a_function_of_the_seed() -> None:
    """The same seed gives the same weights, another seed others, and the global generator does not notice."""
    before = torch.random.get_rng_state()
    first, again, other = (build_clip(MICRO, seed).state_dict() for seed in (3, 3, 4))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["visual.proj"], other["visual.proj"])


# --- the sigmoid loss's parameters, and the bag of words ---


def test_the_sigmoid_loss_begins_as_its_paper_says() -> None:
    """A model for the sigmoid loss has a bias of -10 beside a scale of 10; one for the contrastive loss has none."""
    state = build_model(model_config("ViT-micro/16", 600, objective="sigmoid"), seed=0).state_dict()
    assert (float(state["logit_scale"].exp()), float(state["logit_bias"])) == pytest.approx((10, -10))
    assert "logit_bias" not in build_model(MICRO, seed=0).state_dict()


@torch.no_grad()
def test_a_bag_of_words_is_the_mean_of_its_tokens() -> None:
    """The text is embedded as the mean over its tokens and marks, times the projection; order is nothing."""
    model = build_clip(model_config("ViT-micro/16", 600, text="bag_of_words"), seed=0)
    state, tokens = model.state_dict(), some_tokens()
    assert {name for name in state if not name.startswith("visual.")} == {
        "token_embedding.weight", "text_projection", "logit_scale"
    }  # fmt: skip
    means = [state["token_embedding.weight"][row[: int(row.argmax()) + 1]].mean(dim=0) for row in tokens]
    wanted = torch.stack(means) @ state["text_projection"]
    torch.testing.assert_close(model.encode_text(tokens), wanted / wanted.norm(dim=-1, keepdim=True), atol=1e-6, rtol=0)
    turned = tokens.clone()
    turned[4, 1:15] = tokens[4, 1:15].flip(0)
    torch.testing.assert_close(model.encode_text(turned), model.encode_text(tokens), atol=1e-6, rtol=0)
    torch.testing.assert_close(model.encode_text(tokens, pack(tokens.numpy())), model.encode_text(tokens))


def test_blocks_are_those_of_both_towers() -> None:
    """What is checkpointed, compiled and sharded one by one is every block of each tower, the ResNets' too."""
    assert [len(blocks(empty_model(CONFIGS[name]))) for name in ("ViT-B/32", "RN50")] == [12 + 12, 16 + 12]
