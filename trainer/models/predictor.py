"""Bag-of-words prediction, a baseline of the paper's Figure 2: an image tower names the words of a caption.

The loss is the multi-class logistic one of Joulin et al. (arXiv 1511.02251, section 3), to which the paper points:
one softmax over the words, whose target is spread evenly over the words of the caption. A word here is a token of the
vocabulary: the paper gives none of its own, a token can spell any class name, and a checkpoint needs no second list.

Shapes: B batch, L length in tokens, S image side in px, D embedding, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainer.models.clip import build_image_tower
from trainer.models.config import ClipConfig
from trainer.models.packing import Packing
from trainer.models.reading import FeatureReader


def inside_caption(tokens_BL: Tensor) -> Tensor:
    """Return (B, L), true at a caption's own tokens: after the start mark and before the end mark (the highest id)."""
    places_L = torch.arange(tokens_BL.shape[1], device=tokens_BL.device)
    return (places_L > 0) & (places_L < tokens_BL.argmax(dim=1, keepdim=True))


def word_shares(tokens_BL: Tensor) -> Tensor:
    """Return (B, L): 1 / K where one of a caption's K distinct tokens stands first, else 0; fp32."""
    same_BLL = tokens_BL[:, :, None] == tokens_BL[:, None, :]
    is_repeated_BL = same_BLL.tril(diagonal=-1).any(dim=2)
    is_word_BL = (inside_caption(tokens_BL) & ~is_repeated_BL).float()
    return is_word_BL / is_word_BL.sum(dim=1, keepdim=True).clamp(min=1)


class WordPredictor(FeatureReader, nn.Module):
    """The image tower of a CLIP and a linear layer from its embedding to the vocabulary."""

    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        self.config = config
        self.visual = build_image_tower(config)
        self.words = nn.Linear(config.embed_dim, config.text.vocabulary_size)

    def predict_words(self, images_B3SS: Tensor, seeds_B: Tensor | None = None) -> Tensor:
        """Return (B, V) log-probabilities of the tokens, fp32."""
        return self.read_tower(self.visual(images_B3SS, seeds_B))

    def read_tower(self, tower_BD: Tensor) -> Tensor:
        """Return (B, V) log-probabilities of the tokens, fp32, from what the image tower puts out."""
        logits_BV: Tensor = self.words(tower_BD)
        return functional.log_softmax(logits_BV.float(), dim=1)

    def forward(
        self,
        images_B3SS: Tensor,
        tokens_BL: Tensor,
        packing: Packing | None = None,
        seeds_B: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return (B,) losses in nats a word, and (B,) hits: 1 where the likeliest token is one of the caption's.

        A caption without a word has loss 0. Padding costs nothing here, so that there is nothing to pack.
        """
        log_p_BV = self.predict_words(images_B3SS, seeds_B)
        loss_B = -(word_shares(tokens_BL) * log_p_BV.gather(1, tokens_BL)).sum(dim=1)
        is_top_BL = tokens_BL == log_p_BV.argmax(dim=1, keepdim=True)
        return loss_B, (is_top_BL & inside_caption(tokens_BL)).any(dim=1).float()
