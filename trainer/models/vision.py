"""The Vision Transformer, and which patches of an image it leaves out in training.

Shapes: B batch, P patches, L length in tokens, S image side in px, W width, D embedding.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trainer.models.config import VisionConfig
from trainer.models.transformer import LayerNorm, Transformer

_LOW = 0xFFFFFFFF


class VisionTransformer(nn.Module):
    """The image tower: patches, a class token, and a norm before the blocks (paper, section 2.4)."""

    def __init__(self, config: VisionConfig, embed_dim: int, activation: str = "quick_gelu") -> None:
        super().__init__()
        width = config.width
        std = width**-0.5
        self.patch_dropout = 0.0
        """Share of the patches that training leaves out (FLIP, arXiv 2212.00794); the class token stays."""
        self.conv1 = nn.Conv2d(3, width, config.patch_px, stride=config.patch_px, bias=False)
        self.class_embedding = nn.Parameter(std * torch.randn(width))
        self.positional_embedding = nn.Parameter(std * torch.randn(config.num_tokens, width))
        self.ln_pre = LayerNorm(width)
        self.transformer = Transformer(width, config.layers, config.heads, causal=False, activation=activation)
        self.ln_post = LayerNorm(width)
        self.proj = nn.Parameter(std * torch.randn(width, embed_dim))

    def forward(self, images_B3SS: Tensor, seeds_B: Tensor | None = None) -> Tensor:
        """Return (B, D) embeddings of normalised images, not of unit length.

        `seeds_B` (int64) says of each image which patches training leaves out; eval mode leaves out none.
        """
        x_BPW = self.conv1(images_B3SS).flatten(2).transpose(1, 2)
        positions = self.positional_embedding.to(x_BPW.dtype)
        class_B1W = (self.class_embedding.to(x_BPW.dtype) + positions[0]).expand(len(x_BPW), 1, -1)
        x_BPW = x_BPW + positions[1:]
        if self.training and self.patch_dropout:
            assert seeds_B is not None, "patch dropout needs a seed for each image"
            kept_BQ = kept_patches(seeds_B, x_BPW.shape[1], self.patch_dropout)
            x_BPW = x_BPW.gather(1, kept_BQ[..., None].expand(-1, -1, x_BPW.shape[2]))
        x_BLW = torch.cat([class_B1W, x_BPW], dim=1)
        first_B = x_BLW.new_zeros(len(x_BLW), dtype=torch.long)
        x_BW = self.transformer(self.ln_pre(x_BLW), last_B=first_B)
        out_BD: Tensor = self.ln_post(x_BW) @ self.proj
        return out_BD


def kept_patches(seeds_B: Tensor, num_patches: int, dropout: float) -> Tensor:
    """Return (B, Q) numbers of the patches that stay, in order: at random, but the same for a seed on any device.

    Q = round(P * (1 - dropout)), at least 1. The patches of the lowest hashes of (seed, patch) stay.
    """
    num_kept = max(1, round(num_patches * (1 - dropout)))
    patches_P = torch.arange(num_patches, device=seeds_B.device)
    hashes_BP = _mix(_mix((seeds_B & _LOW)[:, None]) ^ _mix(((seeds_B >> 32) & _LOW)[:, None] + 1))
    hashes_BP = _mix(hashes_BP ^ _mix(patches_P + 1)[None])
    return hashes_BP.argsort(dim=1, stable=True)[:, :num_kept].sort(dim=1).values


def _mix(x: Tensor) -> Tensor:
    """Return 32-bit hashes of 32-bit numbers, in int64: the finaliser of MurmurHash3 (public domain, A. Appleby)."""
    x = ((x ^ (x >> 16)) * 0x85EBCA6B) & _LOW
    x = ((x ^ (x >> 13)) * 0xC2B2AE35) & _LOW
    return x ^ (x >> 16)
