"""CLIP: two towers into one embedding space, shapes, initialisation and parameter names of the released checkpoints.

Shapes: B batch, L length in tokens, S image side in px, W width, D embedding.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainer.models.config import ClipConfig, TextConfig, VisionConfig
from trainer.models.transformer import LayerNorm, Transformer

INITIAL_TEMPERATURE = 0.07  # the paper, section 2.5; the parameter is ln(1 / 0.07) = 2.6593


class VisionTransformer(nn.Module):
    """The image tower: patches, a class token, and a norm before the blocks (paper, section 2.4)."""

    def __init__(self, config: VisionConfig, embed_dim: int) -> None:
        super().__init__()
        width = config.width
        std = width**-0.5
        self.conv1 = nn.Conv2d(3, width, config.patch_px, stride=config.patch_px, bias=False)
        self.class_embedding = nn.Parameter(std * torch.randn(width))
        self.positional_embedding = nn.Parameter(std * torch.randn(config.num_tokens, width))
        self.ln_pre = LayerNorm(width)
        self.transformer = Transformer(width, config.layers, config.heads, causal=False)
        self.ln_post = LayerNorm(width)
        self.proj = nn.Parameter(std * torch.randn(width, embed_dim))

    def forward(self, images_B3SS: Tensor) -> Tensor:
        """Return (B, D) embeddings of normalised images, not of unit length."""
        x_BLW = self.conv1(images_B3SS).flatten(2).transpose(1, 2)
        class_B1W = self.class_embedding.to(x_BLW.dtype).expand(len(x_BLW), 1, -1)
        x_BLW = torch.cat([class_B1W, x_BLW], dim=1) + self.positional_embedding.to(x_BLW.dtype)
        x_BLW = self.transformer(self.ln_pre(x_BLW))
        out_BD: Tensor = self.ln_post(x_BLW[:, 0]) @ self.proj
        return out_BD


class Clip(nn.Module):
    """Contrastive language-image pre-training's model (arXiv 2103.00020)."""

    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        text = config.text
        self.visual = VisionTransformer(config.vision, config.embed_dim)
        self.transformer = Transformer(text.width, text.layers, text.heads, causal=True)
        self.token_embedding = nn.Embedding(text.vocabulary_size, text.width)
        self.positional_embedding = nn.Parameter(torch.empty(text.context_length, text.width))
        self.ln_final = LayerNorm(text.width)
        self.text_projection = nn.Parameter(torch.empty(text.width, config.embed_dim))
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / INITIAL_TEMPERATURE)))
        self._initialise_text(text)

    def _initialise_text(self, text: TextConfig) -> None:
        attention_std = text.width**-0.5
        out_std = attention_std * (2 * text.layers) ** -0.5
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        nn.init.normal_(self.positional_embedding, std=0.01)
        nn.init.normal_(self.text_projection, std=attention_std)
        for name, parameter in self.transformer.named_parameters():
            if name.endswith("in_proj_weight"):
                nn.init.normal_(parameter, std=attention_std)
            elif name.endswith(("out_proj.weight", "c_proj.weight")):
                nn.init.normal_(parameter, std=out_std)
            elif name.endswith("c_fc.weight"):
                nn.init.normal_(parameter, std=(2 * text.width) ** -0.5)

    def encode_image(self, images_B3SS: Tensor) -> Tensor:
        """Return (B, D) embeddings of unit length, in fp32."""
        return functional.normalize(self.visual(images_B3SS).float(), dim=-1)

    def encode_text(self, tokens_BL: Tensor) -> Tensor:
        """Return (B, D) embeddings of unit length, in fp32, taken at the end token (the highest id).

        Padding after the end token cannot change the result, as attention is causal; L may thus be any
        length up to the context that holds every end token.
        """
        x_BLW = self.token_embedding(tokens_BL) + self.positional_embedding[: tokens_BL.shape[1]]
        x_BLW = self.ln_final(self.transformer(x_BLW))
        rows = torch.arange(len(tokens_BL), device=tokens_BL.device)
        features_BW = x_BLW[rows, tokens_BL.argmax(dim=-1)]
        return functional.normalize((features_BW @ self.text_projection).float(), dim=-1)

    def forward(self, images_B3SS: Tensor, tokens_BL: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return image embeddings (B, D), text embeddings (B, D) and the scale 1 / temperature (0-d)."""
        return self.encode_image(images_B3SS), self.encode_text(tokens_BL), self.logit_scale.exp()


def build_clip(config: ClipConfig, seed: int) -> Clip:
    """Return a model whose initial weights are a function of `seed`; the global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Clip(config)
