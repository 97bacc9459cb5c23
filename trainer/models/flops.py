"""How much arithmetic a sample costs in training, by the shapes of a model.

Counted are multiply-adds of products and convolutions, two operations each; norms, activations, sums and the loss are
not (for ViT-B/32 the similarities of a batch of 32,768 would add 0.2 %). The backward pass costs twice the forward one:
the gradients of what went in, and of the weights; pixels need none.

Two numbers are told apart. The dense one is what the published throughputs count: every block whole, every caption as
long as the context, no patch left out. The computed one is what this package's models do for a sample.

Letters: n tokens, W width, D embedding, L context, S image side in px.
"""

from __future__ import annotations

from dataclasses import dataclass

from trainer.models.captioner import PREFIX_TOKENS
from trainer.models.config import ClipConfig, ResNetConfig, VisionConfig
from trainer.models.resnet import EXPANSION

_BLOCK = 12  # products of W x W for each token of a block: query, key, value, output, and 4 + 4 of the MLP
_KEYS_VALUES = 2  # of them those that a block does for every token even where one token alone is read after it


@dataclass(frozen=True)
class ForwardMacs:
    """Multiply-adds of one sample's forward pass."""

    stem: float
    """Of the layer that reads the pixels: in the image tower's number too."""
    image: float
    text: float
    """Of what reads, or in captioning and word prediction writes, the caption."""

    @property
    def training_flops(self) -> float:
        """Operations of a forward and a backward pass; of the stem without a gradient of the pixels."""
        return 6 * (self.image + self.text) - 2 * self.stem


def dense_flops(config: ClipConfig) -> float:
    """Return training operations a sample as publications count them: 3 x 2 x multiply-adds, all of it dense.

    44.3e9 for ViT-B/32, 123e9 for ViT-B/16, 526e9 for ViT-L/14.
    """
    macs = dense_macs(config)
    return 6 * (macs.image + macs.text)


def dense_macs(config: ClipConfig) -> ForwardMacs:
    """Return a forward pass as publications count it; its image towers as open_clip does: RN50 6.11e9.

    An attention pool counts as one that asks for all places, though the mean's answer alone is read.
    """
    vision = config.vision
    if isinstance(vision, ResNetConfig):
        stem, trunk = _resnet_trunk(vision)
        image = trunk + _attention_pool(vision, config.embed_dim, num_queries=vision.num_tokens)
    else:
        stem = _patches(vision, vision.num_tokens - 1)
        image = stem + vision.layers * _block(vision.width, vision.num_tokens) + vision.width * config.embed_dim
    length = config.text.context_length
    if config.objective not in _WRITERS and config.text.kind == "transformer":
        text = config.text.layers * _block(config.text.width, length) + config.text.width * config.embed_dim
    else:
        text = _text(config, length)
    return ForwardMacs(stem, image, text)


def training_flops(config: ClipConfig, num_tokens: float, patch_dropout: float = 0.0) -> float:
    """Return the operations a sample that training computes; recomputed activations count once.

    `num_tokens`: mean length of a caption in tokens, its marks included; the padding too where it is computed. The
    share of attention in captions that are longer or shorter than the mean is taken as that of the mean.
    """
    vision = config.vision
    if isinstance(vision, ResNetConfig):
        stem, trunk = _resnet_trunk(vision)
        image = trunk + _attention_pool(vision, config.embed_dim, num_queries=1)
    else:
        kept = max(1, round(vision.grid**2 * (1 - patch_dropout))) + 1
        stem = _patches(vision, kept - 1)
        blocks = _read_blocks(vision.width, vision.layers, kept, pairs=kept**2)
        image = stem + blocks + vision.width * config.embed_dim
    return ForwardMacs(stem, image, _text(config, num_tokens)).training_flops


def _patches(vision: VisionConfig, num_patches: int) -> float:
    return num_patches * vision.width * 3 * vision.patch_px**2


def _block(width: int, num_tokens: float) -> float:
    """A whole block: its products, and the scores and sums of n x n pairs in attention."""
    return _BLOCK * num_tokens * width**2 + 2 * num_tokens**2 * width


def _read_blocks(width: int, layers: int, num_tokens: float, pairs: float) -> float:
    """Blocks after which one token is read: the last one computes keys and values of all, the rest of it once."""
    whole = (layers - 1) * (_BLOCK * num_tokens * width**2 + 2 * pairs * width)
    last = (_KEYS_VALUES * num_tokens + _BLOCK - _KEYS_VALUES) * width**2 + 2 * num_tokens * width
    return whole + last


def _causal_pairs(num_tokens: float) -> float:
    """Pairs of a token and one that it sees: itself and those before it."""
    return num_tokens * (num_tokens + 1) / 2


def _text(config: ClipConfig, num_tokens: float) -> float:
    if config.objective in _WRITERS:
        return _WRITERS[config.objective](config, num_tokens)
    text = config.text
    projection = text.width * config.embed_dim
    if text.kind == "bag_of_words":
        return projection
    return _read_blocks(text.width, text.layers, num_tokens, _causal_pairs(num_tokens)) + projection


def _predict_words(config: ClipConfig, num_tokens: float) -> float:
    return config.embed_dim * config.text.vocabulary_size


def _write_caption(config: ClipConfig, num_tokens: float) -> float:
    text = config.text
    length = PREFIX_TOKENS + num_tokens - 1  # the end mark is predicted, not read
    blocks = text.layers * (_BLOCK * length * text.width**2 + 2 * _causal_pairs(length) * text.width)
    prefix = config.embed_dim * PREFIX_TOKENS * text.width
    return prefix + blocks + (num_tokens - 1) * text.width * text.vocabulary_size


_WRITERS = {"bag_of_words": _predict_words, "captioning": _write_caption}
"""Objectives without a text encoder -> multiply-adds of what they have in its place."""


def _resnet_trunk(config: ResNetConfig) -> tuple[float, float]:
    """Return multiply-adds of the first convolution, and of all of them."""
    half, places = config.width // 2, (config.image_px // 2) ** 2
    stem = places * 9 * 3 * half
    total = stem + places * 9 * (half * half + half * config.width)
    places //= 4  # the stem ends in an average pool
    inputs = config.width
    for stage, num_blocks in enumerate(config.blocks):
        width = config.width << stage
        before, places = places, places if stage == 0 else places // 4
        # a stride is an average pool behind the 3 x 3 convolution and before the shortcut's
        total += before * (inputs * width + 9 * width**2) + places * (width + inputs) * width * EXPANSION
        inputs = width * EXPANSION
        total += (num_blocks - 1) * places * (2 * inputs * width + 9 * width**2)
    return stem, total


def _attention_pool(config: ResNetConfig, embed_dim: int, num_queries: int) -> float:
    """Keys and values of all places, and for each query its product, scores and sums, and the output."""
    width, places = config.feature_width, config.num_tokens
    return 2 * places * width**2 + num_queries * (width**2 + 2 * places * width + width * embed_dim)
