"""The shapes of the paper's models (arXiv 2103.00020, Tables 18-20), and of small ones for a CPU."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from wit.errors import RecipeError

VOCABULARY_SIZE = 49_408  # 256 bytes + 256 bytes that end a word + 48,894 merges + start + end
CONTEXT_LENGTH = 77  # tokens, start and end included
HEAD_WIDTH = 64  # of every tower and attention pool of the paper
RESNET_STRIDE = 32  # px of the image to one place of a ResNet's last grid, and its last width to its first

ACTIVATIONS = ("quick_gelu", "gelu")
TEXT_KINDS = ("transformer", "bag_of_words")
EMBEDDING_OBJECTIVES = ("contrastive", "sigmoid")
OBJECTIVES = (*EMBEDDING_OBJECTIVES, "bag_of_words", "captioning")


@dataclass(frozen=True)
class VisionConfig:
    """A Vision Transformer: a square image cut into square patches."""

    image_px: int
    patch_px: int
    width: int
    layers: int
    heads: int

    @property
    def grid(self) -> int:
        """Patches along a side of the image."""
        return self.image_px // self.patch_px

    @property
    def num_tokens(self) -> int:
        """Patches of an image and the class token: (224 / 32)^2 + 1 = 50 for ViT-B/32."""
        return self.grid**2 + 1


@dataclass(frozen=True)
class ResNetConfig:
    """A ResNet-D with average pools for strides, and an attention pool at its end."""

    image_px: int
    width: int
    """Channels after the stem; the paper's tables give 32 times as many, those of the last stage."""
    blocks: tuple[int, int, int, int]
    """Bottlenecks of each stage."""
    heads: int
    """Of the attention pool."""

    @property
    def grid(self) -> int:
        """Places along a side of the last stage."""
        return self.image_px // RESNET_STRIDE

    @property
    def num_tokens(self) -> int:
        """Places of the last stage and their mean: (224 / 32)^2 + 1 = 50 for RN50."""
        return self.grid**2 + 1

    @property
    def feature_width(self) -> int:
        """Channels of the last stage."""
        return self.width * RESNET_STRIDE


@dataclass(frozen=True)
class TextConfig:
    """A causal Transformer over byte-pair tokens; a bag of words has its width and vocabulary, and no layers."""

    width: int
    layers: int
    heads: int
    context_length: int = CONTEXT_LENGTH
    vocabulary_size: int = VOCABULARY_SIZE
    kind: str = "transformer"


@dataclass(frozen=True)
class ClipConfig:
    """Two towers that end in one embedding space of `embed_dim` dimensions, and what they are trained for."""

    embed_dim: int
    vision: VisionConfig | ResNetConfig
    text: TextConfig
    activation: str = "quick_gelu"
    """Of the Transformers' MLPs: x * sigmoid(1.702 x), CLIP's; or the exact GELU of some models of others."""
    objective: str = "contrastive"


def _text(width: int) -> TextConfig:
    return TextConfig(width, layers=12, heads=width // HEAD_WIDTH)  # 12 deep in all of the paper's models


def _vit(embed_dim: int, image_px: int, patch_px: int, width: int, layers: int, text_width: int) -> ClipConfig:
    vision = VisionConfig(image_px, patch_px, width, layers, heads=width // HEAD_WIDTH)
    return ClipConfig(embed_dim, vision, _text(text_width))


def _resnet(
    embed_dim: int, image_px: int, width: int, blocks: tuple[int, int, int, int], text_width: int
) -> ClipConfig:
    vision = ResNetConfig(image_px, width, blocks, heads=width * RESNET_STRIDE // HEAD_WIDTH)
    return ClipConfig(embed_dim, vision, _text(text_width))


_TINY_TEXT = TextConfig(width=128, layers=3, heads=4, context_length=32, vocabulary_size=2_048)
_MICRO_TEXT = TextConfig(width=32, layers=2, heads=2, context_length=16, vocabulary_size=600)

CONFIGS: dict[str, ClipConfig] = {
    "RN50": _resnet(1024, 224, 64, (3, 4, 6, 3), 512),
    "RN101": _resnet(512, 224, 64, (3, 4, 23, 3), 512),
    "RN50x4": _resnet(640, 288, 80, (4, 6, 10, 6), 640),
    "RN50x16": _resnet(768, 384, 96, (6, 8, 18, 8), 768),
    "RN50x64": _resnet(1024, 448, 128, (3, 15, 36, 10), 1024),
    "ViT-B/32": _vit(512, 224, 32, 768, 12, 512),
    "ViT-B/16": _vit(512, 224, 16, 768, 12, 512),
    "ViT-L/14": _vit(768, 224, 14, 1024, 24, 768),
    "ViT-L/14@336px": _vit(768, 336, 14, 1024, 24, 768),
    "ViT-tiny/8": ClipConfig(128, VisionConfig(image_px=48, patch_px=8, width=128, layers=4, heads=4), _TINY_TEXT),
    "ViT-micro/16": ClipConfig(32, VisionConfig(image_px=32, patch_px=16, width=32, layers=2, heads=2), _MICRO_TEXT),
    "RN-tiny": ClipConfig(128, ResNetConfig(image_px=64, width=16, blocks=(1, 1, 1, 1), heads=8), _TINY_TEXT),
    "RN-micro": ClipConfig(32, ResNetConfig(image_px=64, width=4, blocks=(1, 1, 1, 1), heads=2), _MICRO_TEXT),
}
"""Every model that a recipe may name."""


def model_config(
    name: str, vocabulary_size: int, text: str = "transformer", objective: str = "contrastive"
) -> ClipConfig:
    """Return a named model's shapes, with the vocabulary it is trained on, its kind of text tower and its objective.

    Raises RecipeError for an unknown name, and for a bag of words in an objective that writes captions.
    """
    if name not in CONFIGS:
        raise RecipeError(f"model.name: expected one of {', '.join(CONFIGS)}; found {name!r}")
    if text == "bag_of_words" and objective not in EMBEDDING_OBJECTIVES:
        raise RecipeError(f"model.text: expected transformer with the objective {objective}, found {text}")
    config = CONFIGS[name]
    return replace(config, text=replace(config.text, vocabulary_size=vocabulary_size, kind=text), objective=objective)


def config_from_json(facts: Mapping[str, Any]) -> ClipConfig:
    """Return the shapes that `dataclasses.asdict` wrote as JSON; raises LookupError or TypeError for other facts."""
    vision = {**facts["vision"]}
    is_resnet = "blocks" in vision
    if is_resnet:
        vision["blocks"] = tuple(vision["blocks"])
    tower: VisionConfig | ResNetConfig = ResNetConfig(**vision) if is_resnet else VisionConfig(**vision)
    config = ClipConfig(**{**facts, "vision": tower, "text": TextConfig(**facts["text"])})
    _check_types(config)
    return config


def _check_types(config: ClipConfig) -> None:
    """Raise LookupError or TypeError unless every number is a whole one and every name one that we know."""
    text = vars(config.text) | {"kind": 1, "layers": config.text.layers + 1}  # a bag of words has no layers
    for number in (config.embed_dim, *vars(config.vision).values(), *text.values()):
        for one in number if isinstance(number, tuple) else (number,):
            if type(one) is not int or one < 1:
                raise TypeError(f"expected a whole number above 0, found {one!r}")
    for name, known in (
        (config.activation, ACTIVATIONS),
        (config.text.kind, TEXT_KINDS),
        (config.objective, OBJECTIVES),
    ):
        if name not in known:
            raise LookupError(f"expected one of {', '.join(known)}, found {name!r}")
