"""Weights out: a safetensors file with the released names, which open_clip loads, or a folder that describes itself."""

from __future__ import annotations

import json
from dataclasses import asdict

import safetensors.torch
from torch import nn

from trainer.interchange.hints import OPEN_CLIP_CONFIG
from trainer.interchange.reading import CONFIG_KEY
from trainer.models.clip import BagOfWordsClip, Clip
from trainer.models.config import ClipConfig, ResNetConfig
from trainer.models.inputs import IMAGE_MEAN, IMAGE_STD
from wit import manifest
from wit.errors import InputError
from wit.storage import join, publish_bytes

OPEN_CLIP_MODEL = "open_clip_model.safetensors"


def write_openai(url: str, model: nn.Module) -> None:
    """Write a CLIP's weights as safetensors with the released names; the shapes stand in its metadata.

    Raises InputError for a model that the released code has no names for: a bag of words, another objective's.
    """
    config = _known_elsewhere(model).config
    tensors = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    publish_bytes(url, safetensors.torch.save(tensors, {"format": "pt", CONFIG_KEY: json.dumps(asdict(config))}))


def write_open_clip(folder: str, model: nn.Module) -> None:
    """Write a folder that open_clip loads by `local-dir:FOLDER`: the weights, and the description of the model.

    Raises InputError as `write_openai`.
    """
    description = open_clip_config(_known_elsewhere(model).config)
    manifest.write(join(folder, OPEN_CLIP_CONFIG), description)
    write_openai(join(folder, OPEN_CLIP_MODEL), model)


def _known_elsewhere(model: nn.Module) -> Clip:
    if not isinstance(model, Clip) or isinstance(model, BagOfWordsClip):
        raise InputError(f"model: expected one with an image and a Transformer tower, found {type(model).__name__}")
    return model


def open_clip_config(config: ClipConfig) -> dict[str, object]:
    """Return a model's shapes as open_clip describes them."""
    vision, text = config.vision, config.text
    if isinstance(vision, ResNetConfig):
        image = {"image_size": vision.image_px, "layers": list(vision.blocks), "width": vision.width}
        image["head_width"] = vision.feature_width // vision.heads
    else:
        image = {"image_size": vision.image_px, "layers": vision.layers, "width": vision.width}
        image |= {"patch_size": vision.patch_px, "head_width": vision.width // vision.heads}
    model: dict[str, object] = {
        "embed_dim": config.embed_dim,
        "quick_gelu": config.activation == "quick_gelu",
        "vision_cfg": image,
        "text_cfg": {
            "context_length": text.context_length,
            "vocab_size": text.vocabulary_size,
            "width": text.width,
            "heads": text.heads,
            "layers": text.layers,
        },
    }
    if config.objective == "sigmoid":
        model["init_logit_bias"] = 0  # else open_clip gives its model no bias at all
    return {"model_cfg": model, "preprocess_cfg": {"mean": list(IMAGE_MEAN), "std": list(IMAGE_STD)}}
