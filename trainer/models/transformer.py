"""The Transformer that both towers of CLIP share; parameters are named as in the released checkpoints.

Shapes: B batch, L length in tokens, W width, H heads.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class LayerNorm(nn.LayerNorm):
    """Layer normalisation that computes in fp32 and returns the type of its input."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalise the last axis of a (..., W) tensor."""
        weight, bias = self.weight.float(), self.bias.float()
        return functional.layer_norm(input.float(), self.normalized_shape, weight, bias, self.eps).to(input.dtype)


class QuickGELU(nn.Module):
    """x * sigmoid(1.702 x): the approximation of GELU that CLIP was trained with."""

    def forward(self, x: Tensor) -> Tensor:
        """Return a tensor of the same shape."""
        return functional.silu(1.702 * x) / 1.702  # the same function; one kernel, and one tensor kept for the gradient


class Attention(nn.Module):
    """Multi-head self-attention; the keys of `nn.MultiheadAttention`, whose initialisation it repeats."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, x_BLW: Tensor, causal: bool) -> Tensor:
        """Return (B, L, W); with `causal`, a token sees itself and those before it."""
        B, L, W = x_BLW.shape
        qkv = functional.linear(x_BLW, self.in_proj_weight, self.in_proj_bias)
        q, k, v = qkv.view(B, L, 3, self.heads, W // self.heads).permute(2, 0, 3, 1, 4)
        mixed_BHLK = functional.scaled_dot_product_attention(q, k, v, is_causal=causal)
        mixed: Tensor = self.out_proj(mixed_BHLK.transpose(1, 2).reshape(B, L, W))
        return mixed


class Mlp(nn.Module):
    """Two linear layers, four times as wide between them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.c_fc = nn.Linear(width, 4 * width)
        self.gelu = QuickGELU()
        self.c_proj = nn.Linear(4 * width, width)

    def forward(self, x_BLW: Tensor) -> Tensor:
        """Return (B, L, W)."""
        out: Tensor = self.c_proj(self.gelu(self.c_fc(x_BLW)))
        return out


class ResidualAttentionBlock(nn.Module):
    """A pre-norm block: x + attention(LN x), then x + MLP(LN x)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attn = Attention(width, heads)
        self.ln_1 = LayerNorm(width)
        self.mlp = Mlp(width)
        self.ln_2 = LayerNorm(width)

    def forward(self, x_BLW: Tensor, causal: bool) -> Tensor:
        """Return (B, L, W)."""
        x_BLW = x_BLW + self.attn(self.ln_1(x_BLW), causal)
        x_BLW = x_BLW + self.mlp(self.ln_2(x_BLW))
        return x_BLW


class Transformer(nn.Module):
    """A stack of blocks."""

    def __init__(self, width: int, layers: int, heads: int, causal: bool) -> None:
        super().__init__()
        self.causal = causal
        self.resblocks = nn.ModuleList(ResidualAttentionBlock(width, heads) for _ in range(layers))

    def forward(self, x_BLW: Tensor) -> Tensor:
        """Return (B, L, W)."""
        for block in self.resblocks:
            x_BLW = block(x_BLW, self.causal)
        return x_BLW
