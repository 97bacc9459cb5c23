"""The Vision Transformer, and which patches of an image it leaves out in training.

Shapes: B batch, P patches, Q of them that stay, C numbers of a patch, L length in tokens, S image side in px, W width,
D embedding.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

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
        return self.project(self.features(images_B3SS, seeds_B))

    def project(self, features_BW: Tensor) -> Tensor:
        """Return (B, D): what `forward` makes of `features`."""
        return features_BW @ self.proj

    def features(self, images_B3SS: Tensor, seeds_B: Tensor | None = None) -> Tensor:
        """Return (B, W): what is projected, on which the paper fits its linear probes."""
        patches_BPC = self._patches(images_B3SS)
        positions_PW = self.positional_embedding[1:]
        if self.training and self.patch_dropout:
            assert seeds_B is not None, "patch dropout needs a seed for each image"
            kept_BQ = kept_patches(seeds_B, patches_BPC.shape[1], self.patch_dropout)
            patches_BPC = patches_BPC.gather(1, kept_BQ[..., None].expand(-1, -1, patches_BPC.shape[2]))
            positions_PW = functional.embedding(kept_BQ, positions_PW)
        x_BPW = functional.linear(patches_BPC, self.conv1.weight.flatten(1))
        x_BPW = x_BPW + positions_PW.to(x_BPW.dtype)
        class_W = (self.class_embedding + self.positional_embedding[0]).to(x_BPW.dtype)
        x_BLW = torch.cat([class_W.expand(len(x_BPW), 1, -1), x_BPW], dim=1)
        first_B = x_BLW.new_zeros(len(x_BLW), dtype=torch.long)
        x_BW = self.transformer(self.ln_pre(x_BLW), last_B=first_B)
        features_BW: Tensor = self.ln_post(x_BW)
        return features_BW

    def _patches(self, images_B3SS: Tensor) -> Tensor:
        """Return (B, P, C) pixels, row after row of patches, each as `conv1`'s weight has them.

        A convolution whose windows do not overlap is a product of these; patches that are left out then cost nothing.
        """
        patch_px = self.conv1.kernel_size[0]
        grid = images_B3SS.shape[-1] // patch_px
        split = images_B3SS.reshape(-1, 3, grid, patch_px, grid, patch_px)
        return split.permute(0, 2, 4, 1, 3, 5).reshape(len(images_B3SS), grid**2, 3 * patch_px**2)


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
