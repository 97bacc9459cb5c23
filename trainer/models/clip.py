"""CLIP: two towers into one embedding space, shapes, initialisation and parameter names of the released checkpoints.

Shapes: B batch, L length in tokens, N tokens of packed captions, S image side in px, W width, D embedding.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainer.models.config import ClipConfig, ResNetConfig
from trainer.models.packing import Packing
from trainer.models.reading import FeatureReader
from trainer.models.resnet import ModifiedResNet
from trainer.models.text import TextModel
from trainer.models.vision import VisionTransformer

INITIAL_TEMPERATURE = 0.07  # the paper, section 2.5; the parameter is ln(1 / 0.07) = 2.6593
SIGMOID_SCALE, SIGMOID_BIAS = 10.0, -10.0  # at the start of the sigmoid loss (SigLIP, arXiv 2303.15343, section 3.2)


def build_image_tower(config: ClipConfig) -> VisionTransformer | ModifiedResNet:
    """Return the image tower of a model: normalised images (B, 3, S, S) to embeddings (B, D)."""
    if isinstance(config.vision, ResNetConfig):
        return ModifiedResNet(config.vision, config.embed_dim)
    return VisionTransformer(config.vision, config.embed_dim, config.activation)


class Clip(FeatureReader, TextModel):
    """Contrastive language-image pre-training's model (arXiv 2103.00020).

    Its text tower is the paper's: a causal Transformer, read at the end mark.
    """

    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        text = config.text
        self.config = config
        self.visual = build_image_tower(config)
        self.build_text(config)
        self.text_projection = nn.Parameter(torch.empty(text.width, config.embed_dim))
        nn.init.normal_(self.text_projection, std=text.width**-0.5)
        is_sigmoid = config.objective == "sigmoid"
        scale = SIGMOID_SCALE if is_sigmoid else 1 / INITIAL_TEMPERATURE
        self.logit_scale = nn.Parameter(torch.tensor(math.log(scale)))
        if is_sigmoid:
            self.logit_bias = nn.Parameter(torch.tensor(SIGMOID_BIAS))

    def text_features(self, tokens_BL: Tensor, packing: Packing | None = None) -> Tensor:
        """Return (B, W): a caption before its projection."""
        last_B = tokens_BL.argmax(dim=-1) if packing is None else packing.last
        out_BW: Tensor = self.ln_final(self.transformer(self.embed_tokens(tokens_BL, packing), packing, last_B))
        return out_BW

    def encode_image(self, images_B3SS: Tensor, seeds_B: Tensor | None = None) -> Tensor:
        """Return (B, D) embeddings of unit length, in fp32; `seeds_B` as `VisionTransformer` has it."""
        return self.read_tower(self.visual(images_B3SS, seeds_B))

    def read_tower(self, tower_BD: Tensor) -> Tensor:
        """Return (B, D) embeddings of unit length, in fp32, from what the image tower puts out."""
        return functional.normalize(tower_BD.float(), dim=-1)

    def encode_text(self, tokens_BL: Tensor, packing: Packing | None = None) -> Tensor:
        """Return (B, D) embeddings of unit length, in fp32.

        What stands after a caption's end mark (the highest id) cannot change the result; L may thus be any length up
        to the context that holds every end mark, and a packing of the same tokens saves the work on padding.
        """
        return functional.normalize((self.text_features(tokens_BL, packing) @ self.text_projection).float(), dim=-1)

    def forward(
        self,
        images_B3SS: Tensor,
        tokens_BL: Tensor,
        packing: Packing | None = None,
        seeds_B: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return image and text embeddings, each (B, D), of unit length, in fp32."""
        return self.encode_image(images_B3SS, seeds_B), self.encode_text(tokens_BL, packing)


class BagOfWordsClip(Clip):
    """CLIP with the other text tower of the paper's Figure 3: CBOW, the mean of the embeddings of a caption's tokens.

    The marks of start and end are among them, so that the mean of an empty caption is one too. There is no norm
    before the projection: the pseudocode has none, and the unit length after it takes the mean's size away.
    """

    def build_text(self, config: ClipConfig) -> None:
        """Make the table of embeddings, all that a bag needs."""
        self.token_embedding = nn.Embedding(config.text.vocabulary_size, config.text.width)
        nn.init.normal_(self.token_embedding.weight, std=0.02)

    def text_features(self, tokens_BL: Tensor, packing: Packing | None = None) -> Tensor:
        """Return (B, W): a caption before its projection; a bag needs no packing, padding costs it nothing."""
        last_B1 = tokens_BL.argmax(dim=-1, keepdim=True)
        is_token_BL = torch.arange(tokens_BL.shape[1], device=tokens_BL.device) <= last_B1
        weight = self.token_embedding.weight
        shares_BL = (is_token_BL / (last_B1 + 1)).to(weight.dtype)
        return functional.embedding_bag(tokens_BL, weight, mode="sum", per_sample_weights=shares_BL)


_TEXT_KINDS: dict[str, type[Clip]] = {"transformer": Clip, "bag_of_words": BagOfWordsClip}


def make_clip(config: ClipConfig) -> Clip:
    """Return a CLIP with the text tower that its shapes name."""
    return _TEXT_KINDS[config.text.kind](config)


def build_clip(config: ClipConfig, seed: int) -> Clip:
    """Return a CLIP whose initial weights are a function of `seed`; the global generator is left as it was."""
    with seeded(seed):
        return make_clip(config)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Have random numbers of the CPU follow from `seed` for a while, and leave the global generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
