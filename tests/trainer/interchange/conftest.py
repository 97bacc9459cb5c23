"""Small models with heads 64 wide, as every layout but ours expects them, and their weights in others' layouts."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.trainer.models.support import shaken
from trainer.models.clip import Clip, build_clip
from trainer.models.config import ClipConfig, ResNetConfig, TextConfig, VisionConfig

TEXT = TextConfig(width=64, layers=2, heads=1, context_length=16, vocabulary_size=600)
VIT = ClipConfig(32, VisionConfig(image_px=32, patch_px=16, width=128, layers=2, heads=2), TEXT)
RESNET = ClipConfig(24, ResNetConfig(image_px=64, width=8, blocks=(1, 2, 1, 1), heads=4), TEXT)


@pytest.fixture(scope="session")
def vit() -> Clip:
    return shaken(build_clip(VIT, seed=0)).eval()


@pytest.fixture(scope="session")
def resnet() -> Clip:
    return shaken(build_clip(RESNET, seed=0)).eval()


class _Node(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x


def module_tree(tensors: dict[str, Tensor]) -> nn.Module:
    """Return modules within modules that hold tensors by their dotted names."""
    root = _Node()
    for name, value in tensors.items():
        *path, last = name.split(".")
        module: nn.Module = root
        for part in path:
            if not hasattr(module, part):
                module.add_module(part, _Node())
            module = module.get_submodule(part)
        module.register_buffer(last, value.clone())
    return root


@pytest.fixture
def archive(vit: Clip, tmp_path: Path) -> Path:
    """A TorchScript archive as OpenAI's: fp16 weights, and three numbers beside them."""
    facts = {"input_resolution": torch.tensor(32), "context_length": torch.tensor(16), "vocab_size": torch.tensor(600)}
    path = tmp_path / "released.pt"
    script = torch.jit.script(module_tree({n: v.half() for n, v in vit.state_dict().items()} | facts))
    script.save(str(path))
    return path


def transformers_tensors(model: Clip) -> dict[str, Tensor]:
    """Return a ViT's weights by the names of transformers' CLIPModel, from its documented structure."""
    state = model.state_dict()
    found = {"logit_scale": state["logit_scale"]}
    for tower, ours, embedding in (("text", "", "token_embedding"), ("vision", "visual.", "patch_embedding")):
        weight = "token_embedding.weight" if tower == "text" else "conv1.weight"
        found[f"{tower}_model.embeddings.{embedding}.weight"] = state[f"{ours}{weight}"]
        found[f"{tower}_model.embeddings.position_embedding.weight"] = state[f"{ours}positional_embedding"]
        found[f"{tower}_model.embeddings.position_ids"] = torch.arange(len(state[f"{ours}positional_embedding"]))[None]
        for layer in range(2):
            theirs = f"{tower}_model.encoder.layers.{layer}"
            block = f"{ours}transformer.resblocks.{layer}"
            for kind in ("weight", "bias"):
                for one, part in zip("qkv", state[f"{block}.attn.in_proj_{kind}"].chunk(3), strict=True):
                    found[f"{theirs}.self_attn.{one}_proj.{kind}"] = part
                found[f"{theirs}.self_attn.out_proj.{kind}"] = state[f"{block}.attn.out_proj.{kind}"]
                found[f"{theirs}.layer_norm1.{kind}"] = state[f"{block}.ln_1.{kind}"]
                found[f"{theirs}.layer_norm2.{kind}"] = state[f"{block}.ln_2.{kind}"]
                found[f"{theirs}.mlp.fc1.{kind}"] = state[f"{block}.mlp.c_fc.{kind}"]
                found[f"{theirs}.mlp.fc2.{kind}"] = state[f"{block}.mlp.c_proj.{kind}"]
    for kind in ("weight", "bias"):
        found[f"text_model.final_layer_norm.{kind}"] = state[f"ln_final.{kind}"]
        found[f"vision_model.pre_layrnorm.{kind}"] = state[f"visual.ln_pre.{kind}"]
        found[f"vision_model.post_layernorm.{kind}"] = state[f"visual.ln_post.{kind}"]
    found["vision_model.embeddings.class_embedding"] = state["visual.class_embedding"]
    found["text_projection.weight"] = state["text_projection"].T.contiguous()
    found["visual_projection.weight"] = state["visual.proj"].T.contiguous()
    return found
