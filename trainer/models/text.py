"""The paper's text tower: a causal Transformer over byte-pair tokens, its parameters at the top level of a model.

Shapes: B batch, L length in tokens, N tokens of packed captions, W width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainer.models.config import ClipConfig
from trainer.models.packing import Packing
from trainer.models.transformer import LayerNorm, Transformer, initialise_gpt


class TextModel(nn.Module):
    """What models that read or write captions have in common, under the names of the released checkpoints."""

    def build_text(self, config: ClipConfig) -> None:
        """Make the text tower, as the released code initialises it."""
        text = config.text
        self.transformer = Transformer(text.width, text.layers, text.heads, causal=True, activation=config.activation)
        self.token_embedding = nn.Embedding(text.vocabulary_size, text.width)
        self.positional_embedding = nn.Parameter(torch.empty(text.context_length, text.width))
        self.ln_final = LayerNorm(text.width)
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        nn.init.normal_(self.positional_embedding, std=0.01)
        initialise_gpt(self.transformer, text.width)

    def embed_tokens(self, tokens_BL: Tensor, packing: Packing | None = None) -> Tensor:
        """Return what the Transformer reads: tokens and their positions, (B, L, W), or (N, W) of packed captions."""
        if packing is None:
            positions = self.positional_embedding[: tokens_BL.shape[1]]
        else:
            positions = functional.embedding(packing.positions, self.positional_embedding)
            tokens_BL = packing.pack(tokens_BL)
        embedded: Tensor = self.token_embedding(tokens_BL)
        return embedded + positions
