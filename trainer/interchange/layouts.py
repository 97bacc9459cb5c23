"""Names of other programs' tensors, turned into those of the released CLIP checkpoints.

OpenAI       visual.*, transformer.*, token_embedding.weight, ...; open_clip's own are the same, with `module.` before
             them in training checkpoints, and with `text.` before the text tower's in CustomTextCLIP
transformers vision_model.*, text_model.*: queries, keys and values apart, projections transposed
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from wit.errors import InputError

_RELEASED_FACTS = ("input_resolution", "context_length", "vocab_size")
"""Numbers that OpenAI's archives keep beside the weights; the shapes say the same."""
_BUFFERS = ("attn_mask", "position_ids")
"""Constants that some versions save: the causal mask, and 0, 1, 2, ..."""
_TEXT_PARTS = ("transformer.", "token_embedding.", "ln_final.")
_TEXT_TENSORS = ("positional_embedding", "text_projection")

_HF_TENSORS = {
    "logit_scale": "logit_scale",
    "logit_bias": "logit_bias",
    "text_model.embeddings.token_embedding.weight": "token_embedding.weight",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "text_model.final_layer_norm.weight": "ln_final.weight",
    "text_model.final_layer_norm.bias": "ln_final.bias",
    "vision_model.embeddings.class_embedding": "visual.class_embedding",
    "vision_model.embeddings.patch_embedding.weight": "visual.conv1.weight",
    "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
    "vision_model.pre_layrnorm.weight": "visual.ln_pre.weight",  # so spelt
    "vision_model.pre_layrnorm.bias": "visual.ln_pre.bias",
    "vision_model.post_layernorm.weight": "visual.ln_post.weight",
    "vision_model.post_layernorm.bias": "visual.ln_post.bias",
}
_HF_TRANSPOSED = {"text_projection.weight": "text_projection", "visual_projection.weight": "visual.proj"}
_HF_LAYER = re.compile(r"^(text|vision)_model\.encoder\.layers\.(\d+)\.(.+)\.(weight|bias)$")
_HF_TOWERS = {"text": "transformer", "vision": "visual.transformer"}
_HF_PARTS = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}
_HF_QUERY = "self_attn.q_proj"
_HF_JOINED = tuple(f"self_attn.{one}_proj" for one in "qkv")


def is_transformers(tensors: Mapping[str, Tensor]) -> bool:
    """Return whether tensors have the names of transformers' CLIPModel."""
    return "text_model.embeddings.token_embedding.weight" in tensors


def to_released(tensors: Mapping[str, Tensor], url: str) -> dict[str, Tensor]:
    """Return tensors by the released names, floating ones in fp32; names that mean nothing stay as they are.

    Raises InputError when queries, keys and values of a layer are not all there, or differ in shape.
    """
    if is_transformers(tensors):
        named = _from_transformers(tensors, url)
    else:
        named = {_plain_name(name): value for name, value in tensors.items()}
    constants = [name for name in named if name in _RELEASED_FACTS or name.split(".")[-1] in _BUFFERS]
    for name in constants:
        del named[name]
    for name in ("logit_scale", "logit_bias"):  # some of open_clip's have one number in a row
        if name in named and named[name].numel() == 1:
            named[name] = named[name].reshape(())
    return in_single(named)


def in_single(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors with floating numbers in fp32, and whole ones as they are."""
    return {name: value.float() if value.is_floating_point() else value for name, value in tensors.items()}


def _plain_name(name: str) -> str:
    name = name.removeprefix("module.").removeprefix("_orig_mod.")  # DistributedDataParallel's, torch.compile's
    inner = name.removeprefix("text.")
    return inner if inner.startswith(_TEXT_PARTS) or inner in _TEXT_TENSORS else name


def _from_transformers(tensors: Mapping[str, Tensor], url: str) -> dict[str, Tensor]:
    named: dict[str, Tensor] = {}
    for name, value in tensors.items():
        if name in _HF_TRANSPOSED and value.ndim == 2:
            named[_HF_TRANSPOSED[name]] = value.T.contiguous()
        elif layer := _HF_LAYER.match(name):
            named |= _layer_tensor(tensors, layer, url)
        else:
            named[_HF_TENSORS.get(name, name)] = value
    return named


def _layer_tensor(tensors: Mapping[str, Tensor], name: re.Match[str], url: str) -> dict[str, Tensor]:
    """Return a layer's tensor by its released name; queries stand for the keys and values that join them."""
    tower, number, part, kind = name.groups()
    prefix = f"{_HF_TOWERS[tower]}.resblocks.{number}."
    if part in _HF_PARTS:
        return {f"{prefix}{_HF_PARTS[part]}.{kind}": tensors[name[0]]}
    if part not in _HF_JOINED:
        return {name[0]: tensors[name[0]]}
    if part != _HF_QUERY and name[0].replace(part, _HF_QUERY) in tensors:
        return {}
    names = [name[0].replace(part, one) for one in _HF_JOINED]
    missing = [one for one in names if one not in tensors]
    if missing:
        raise InputError(f"{url}: expected {missing[0]} beside {name[0]}, found none; the file is not whole")
    parts = [tensors[one] for one in names]
    if len({part.shape for part in parts}) > 1:
        raise InputError(f"{url}: expected {', '.join(names)} of one shape, found several")
    return {f"{prefix}attn.in_proj_{kind}": torch.cat(parts)}
