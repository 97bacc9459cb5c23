"""The shapes of the paper's models (arXiv 2103.00020, Tables 18-20), and of small ones for a CPU."""

from __future__ import annotations

from dataclasses import dataclass, replace

from wit.errors import RecipeError

VOCABULARY_SIZE = 49_408  # 256 bytes + 256 bytes that end a word + 48,894 merges + start + end
CONTEXT_LENGTH = 77  # tokens, start and end included


@dataclass(frozen=True)
class VisionConfig:
    """A Vision Transformer: a square image cut into square patches."""

    image_px: int
    patch_px: int
    width: int
    layers: int
    heads: int

    @property
    def num_tokens(self) -> int:
        """Patches of an image and the class token: (224 / 32)^2 + 1 = 50 for ViT-B/32."""
        return (self.image_px // self.patch_px) ** 2 + 1


@dataclass(frozen=True)
class TextConfig:
    """A causal Transformer over byte-pair tokens."""

    width: int
    layers: int
    heads: int
    context_length: int = CONTEXT_LENGTH
    vocabulary_size: int = VOCABULARY_SIZE


@dataclass(frozen=True)
class ClipConfig:
    """Two towers that end in one embedding space of `embed_dim` dimensions."""

    embed_dim: int
    vision: VisionConfig
    text: TextConfig


def _vit(embed_dim: int, image_px: int, patch_px: int, width: int, layers: int, text_width: int) -> ClipConfig:
    # the paper's heads are 64 wide everywhere, its text towers 12 deep
    vision = VisionConfig(image_px, patch_px, width, layers, heads=width // 64)
    return ClipConfig(embed_dim, vision, TextConfig(text_width, layers=12, heads=text_width // 64))


CONFIGS: dict[str, ClipConfig] = {
    "ViT-B/32": _vit(512, 224, 32, 768, 12, 512),
    "ViT-B/16": _vit(512, 224, 16, 768, 12, 512),
    "ViT-L/14": _vit(768, 224, 14, 1024, 24, 768),
    "ViT-L/14@336px": _vit(768, 336, 14, 1024, 24, 768),
    "ViT-tiny/8": ClipConfig(
        embed_dim=128,
        vision=VisionConfig(image_px=48, patch_px=8, width=128, layers=4, heads=4),
        text=TextConfig(width=128, layers=3, heads=4, context_length=32, vocabulary_size=2_048),
    ),
    "ViT-micro/16": ClipConfig(
        embed_dim=32,
        vision=VisionConfig(image_px=32, patch_px=16, width=32, layers=2, heads=2),
        text=TextConfig(width=32, layers=2, heads=2, context_length=16, vocabulary_size=600),
    ),
}
"""Every model that a recipe may name."""


def model_config(name: str, vocabulary_size: int) -> ClipConfig:
    """Return a named model's shapes, with the size of the vocabulary it is trained on.

    Raises RecipeError for an unknown name.
    """
    if name not in CONFIGS:
        raise RecipeError(f"model.name: expected one of {', '.join(CONFIGS)}; found {name!r}")
    config = CONFIGS[name]
    return replace(config, text=replace(config.text, vocabulary_size=vocabulary_size))
