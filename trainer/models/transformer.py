"""The Transformer that both towers of CLIP share; parameters are named as in the released checkpoints.

Only one token a row is read after the last block (the class token, the end mark), so the last block computes the
queries, the output and the MLP of that token alone: the same result for 10 of 12 parts less of one block's products.

Shapes: B batch, L length in tokens, N tokens of packed captions, W width, H heads, K width of a head.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from trainer.models.packing import VARLEN, Packing

_CAUSAL, _FULL = (-1, 0), (-1, -1)  # windows: tokens to the left and right that are seen, -1 for all


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


_ACTIVATIONS: dict[str, type[nn.Module]] = {"quick_gelu": QuickGELU, "gelu": nn.GELU}


class Attention(nn.Module):
    """Multi-head self-attention; the keys of `nn.MultiheadAttention`, whose initialisation it repeats."""

    def __init__(self, width: int, heads: int, causal: bool) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, x: Tensor, packing: Packing | None = None) -> Tensor:
        """Return (B, L, W), or (N, W) of packed captions; where causal, a token sees itself and those before it."""
        qkv = functional.linear(x, self.in_proj_weight, self.in_proj_bias)
        q, k, v = qkv.view(*x.shape[:-1], 3, self.heads, -1).unbind(-3)
        if packing is None:
            mixed = _attend(q, k, v, is_causal=self.causal)
        elif _has_kernel(q, packing):
            mixed = _attend_packed(q, k, v, packing, reads_last=False)
        else:
            q, k, v = packing.unpack(q), packing.unpack(k), packing.unpack(v)
            mixed = packing.pack(_attend(q, k, v, is_causal=self.causal))
        out: Tensor = self.out_proj(mixed.flatten(-2))
        return out

    def read(self, x: Tensor, last_B: Tensor, packing: Packing | None = None) -> Tensor:
        """Return (B, W): what the token at `last_B` of each row gathers from those that it sees.

        `last_B` is a place in the row, or among the N tokens of packed captions.
        """
        width = x.shape[-1]
        q_BW = functional.linear(_take(x, last_B), self.in_proj_weight[:width], self.in_proj_bias[:width])
        kv = functional.linear(x, self.in_proj_weight[width:], self.in_proj_bias[width:])
        q_BHK = q_BW.view(len(q_BW), self.heads, -1)
        k, v = kv.view(*x.shape[:-1], 2, self.heads, -1).unbind(-3)
        if packing is not None and _has_kernel(q_BHK, packing):
            mixed_BHK = _attend_packed(q_BHK, k, v, packing, reads_last=True)
        else:
            if packing is not None:
                k, v, last_B = packing.unpack(k), packing.unpack(v), last_B - packing.bounds[:-1]
            seen = torch.arange(k.shape[1], device=x.device) <= last_B[:, None] if self.causal else None
            mask = None if seen is None else seen[:, None, None]
            mixed_BHK = _attend(q_BHK[:, None], k, v, mask=mask)[:, 0]
        out_BW: Tensor = self.out_proj(mixed_BHK.flatten(-2))
        return out_BW


def _take(x: Tensor, last_B: Tensor) -> Tensor:
    """Return (B, W): one token a row of a (B, L, W) tensor, or of an (N, W) one of packed captions."""
    if x.ndim == 2:
        return x.index_select(0, last_B)
    return x[torch.arange(len(x), device=x.device), last_B]


def _attend(
    q_BLHK: Tensor, k_BLHK: Tensor, v_BLHK: Tensor, mask: Tensor | None = None, is_causal: bool = False
) -> Tensor:
    q, k, v = (one.transpose(1, 2) for one in (q_BLHK, k_BLHK, v_BLHK))
    return functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=is_causal).transpose(1, 2)


def _has_kernel(q: Tensor, packing: Packing) -> bool:
    """Return whether there is a kernel for packed captions: on GPUs, in half precision."""
    return packing.has_kernel and q.dtype in (torch.float16, torch.bfloat16)


def _attend_packed(q_NHK: Tensor, k_NHK: Tensor, v_NHK: Tensor, packing: Packing, reads_last: bool) -> Tensor:
    """Attend within each packed caption: every token to those before it, or (one query each) the last to all."""
    q_bounds, longest, window = packing.bounds, packing.length, _CAUSAL
    if reads_last:
        q_bounds, longest, window = torch.arange(len(q_bounds), dtype=torch.int32, device=q_bounds.device), 1, _FULL
    assert VARLEN is not None
    mixed: Tensor = VARLEN(q_NHK, k_NHK, v_NHK, q_bounds, packing.bounds, longest, packing.length, window_size=window)
    return mixed


class Mlp(nn.Module):
    """Two linear layers, four times as wide between them."""

    def __init__(self, width: int, activation: str) -> None:
        super().__init__()
        self.c_fc = nn.Linear(width, 4 * width)
        self.gelu = _ACTIVATIONS[activation]()
        self.c_proj = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return a tensor of the same shape, (..., W)."""
        out: Tensor = self.c_proj(self.gelu(self.c_fc(x)))
        return out


class ResidualAttentionBlock(nn.Module):
    """A pre-norm block: x + attention(LN x), then x + MLP(LN x)."""

    def __init__(self, width: int, heads: int, causal: bool, activation: str) -> None:
        super().__init__()
        self.is_checkpointed = False
        self.attn = Attention(width, heads, causal)
        self.ln_1 = LayerNorm(width)
        self.mlp = Mlp(width, activation)
        self.ln_2 = LayerNorm(width)

    def forward(self, x: Tensor, packing: Packing | None = None, last_B: Tensor | None = None) -> Tensor:
        """Return (B, L, W), or (N, W) of packed captions; with `last_B`, (B, W) of one token a row only.

        The checkpoint is inside, so that a block may be compiled with it, and FSDP's gathering stays outside.
        """
        if self.is_checkpointed and torch.is_grad_enabled():
            out: Tensor = checkpoint(self._compute, x, packing, last_B, use_reentrant=False, preserve_rng_state=False)
            return out
        return self._compute(x, packing, last_B)

    def _compute(self, x: Tensor, packing: Packing | None, last_B: Tensor | None) -> Tensor:
        if last_B is None:
            x = x + self.attn(self.ln_1(x), packing)
        else:
            x = _take(x, last_B) + self.attn.read(self.ln_1(x), last_B, packing)
        out: Tensor = x + self.mlp(self.ln_2(x))
        return out


class Transformer(nn.Module):
    """A stack of blocks."""

    def __init__(self, width: int, layers: int, heads: int, causal: bool, activation: str = "quick_gelu") -> None:
        super().__init__()
        blocks = (ResidualAttentionBlock(width, heads, causal, activation) for _ in range(layers))
        self.resblocks = nn.ModuleList(blocks)

    def forward(self, x: Tensor, packing: Packing | None = None, last_B: Tensor | None = None) -> Tensor:
        """Return (B, L, W), or (N, W) of packed captions; with `last_B`, (B, W) of one token a row only."""
        *first, last = self.resblocks
        for block in first:
            x = block(x, packing)
        out: Tensor = last(x, packing, last_B)
        return out


def initialise_gpt(transformer: Transformer, width: int) -> None:
    """Draw a text Transformer's products as the released code does: residual outputs smaller by sqrt(2 layers)."""
    attention_std = width**-0.5
    residual_std = attention_std * (2 * len(transformer.resblocks)) ** -0.5
    stds = {
        "attn.in_proj_weight": attention_std,
        "attn.out_proj.weight": residual_std,
        "mlp.c_proj.weight": residual_std,
        "mlp.c_fc.weight": (2 * width) ** -0.5,
    }
    for name, parameter in transformer.named_parameters():
        part = name.split(".", maxsplit=2)[2]  # resblocks.0.attn.in_proj_weight
        if part in stds:
            nn.init.normal_(parameter, std=stds[part])
