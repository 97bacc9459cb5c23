"""CLIP's ResNet (paper, section 2.4): ResNet-D with average pools for strides, and an attention pool at its end.

Names of parameters and buffers are those of the released checkpoints.

Shapes: B batch, C channels, S side in px, L places of the last grid and their mean, W width, D embedding, H heads.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from trainer.models.config import ResNetConfig

EXPANSION = 4  # a bottleneck puts out so many times its width


class BatchNorm(nn.BatchNorm2d):
    """Batch normalisation whose running statistics can be held still while it normalises by those of the batch."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.holds_statistics = False

    def forward(self, x_BCSS: Tensor) -> Tensor:
        """Return a tensor of the same shape."""
        if self.training and self.holds_statistics:
            assert self.running_mean is not None
            assert self.running_var is not None
            spare = self.running_mean.clone(), self.running_var.clone()  # a checkpoint counts what the backward keeps
            return functional.batch_norm(x_BCSS, *spare, self.weight, self.bias, training=True, eps=self.eps)
        out: Tensor = super().forward(x_BCSS)
        return out


@contextmanager
def held_statistics(model: nn.Module) -> Iterator[None]:
    """Hold the running statistics of all batch norms still: what is computed a second time counts once."""
    norms = [module for module in model.modules() if isinstance(module, BatchNorm)]
    before = [norm.holds_statistics for norm in norms]
    for norm in norms:
        norm.holds_statistics = True
    try:
        yield
    finally:
        for norm, held in zip(norms, before, strict=True):
            norm.holds_statistics = held


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3 and 1 x 1 convolutions beside a shortcut; a stride is an average pool, in both."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.is_checkpointed = False
        self.stride = stride
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = BatchNorm(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = BatchNorm(width)
        self.conv3 = nn.Conv2d(width, width * EXPANSION, 1, bias=False)
        self.bn3 = BatchNorm(width * EXPANSION)
        nn.init.zeros_(self.bn3.weight)  # each block begins as its shortcut
        self.downsample = None
        if stride > 1 or inputs != width * EXPANSION:
            convolution = nn.Conv2d(inputs, width * EXPANSION, 1, bias=False)
            self.downsample = nn.Sequential(convolution, BatchNorm(width * EXPANSION))

    def forward(self, x_BCSS: Tensor) -> Tensor:
        """Return (B, 4 * width, S / stride, S / stride)."""
        if self.is_checkpointed and torch.is_grad_enabled():
            return self._checkpointed(x_BCSS)
        return self._compute(x_BCSS)

    def _checkpointed(self, x_BCSS: Tensor) -> Tensor:
        if torch.compiler.is_compiling():  # what is compiled writes its statistics once in any case
            out: Tensor = checkpoint(self._compute, x_BCSS, use_reentrant=False, preserve_rng_state=False)
            return out
        out = checkpoint(
            self._compute, x_BCSS, use_reentrant=False, preserve_rng_state=False, context_fn=self._contexts
        )
        return out

    def _contexts(self) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), held_statistics(self)

    def _compute(self, x_BCSS: Tensor) -> Tensor:
        y = self.bn1(self.conv1(x_BCSS)).relu()
        y = self.bn2(self.conv2(y)).relu()
        y = self.bn3(self.conv3(self._pool(y)))
        shortcut = x_BCSS if self.downsample is None else self.downsample(self._pool(x_BCSS))
        out: Tensor = (y + shortcut).relu()
        return out

    def _pool(self, x_BCSS: Tensor) -> Tensor:
        return functional.avg_pool2d(x_BCSS, self.stride) if self.stride > 1 else x_BCSS


class AttentionPool(nn.Module):
    """The image as the mean of its places sees it: one query over all places and their mean."""

    def __init__(self, config: ResNetConfig, embed_dim: int) -> None:
        super().__init__()
        width = config.feature_width
        self.heads = config.heads
        self.positional_embedding = nn.Parameter(width**-0.5 * torch.randn(config.num_tokens, width))
        self.k_proj, self.q_proj, self.v_proj = (nn.Linear(width, width) for _ in range(3))
        self.c_proj = nn.Linear(width, embed_dim)
        for linear in (self.q_proj, self.k_proj, self.v_proj, self.c_proj):
            nn.init.normal_(linear.weight, std=width**-0.5)

    def forward(self, x_BCSS: Tensor) -> Tensor:
        """Return (B, D)."""
        x_BLC = x_BCSS.flatten(2).transpose(1, 2)
        x_BLC = torch.cat([x_BLC.mean(dim=1, keepdim=True), x_BLC], dim=1)
        x_BLC = x_BLC + self.positional_embedding.to(x_BLC.dtype)
        q, k, v = (self._heads(one) for one in (self.q_proj(x_BLC[:, :1]), self.k_proj(x_BLC), self.v_proj(x_BLC)))
        mixed_BH1K = functional.scaled_dot_product_attention(q, k, v)
        out_BD: Tensor = self.c_proj(mixed_BH1K.flatten(1))
        return out_BD

    def _heads(self, x_BLC: Tensor) -> Tensor:
        return x_BLC.view(*x_BLC.shape[:2], self.heads, -1).transpose(1, 2)


class ModifiedResNet(nn.Module):
    """The image tower: a stem of three convolutions, four stages of bottlenecks, an attention pool."""

    def __init__(self, config: ResNetConfig, embed_dim: int) -> None:
        super().__init__()
        width = config.width
        self.conv1 = nn.Conv2d(3, width // 2, 3, stride=2, padding=1, bias=False)
        self.bn1 = BatchNorm(width // 2)
        self.conv2 = nn.Conv2d(width // 2, width // 2, 3, padding=1, bias=False)
        self.bn2 = BatchNorm(width // 2)
        self.conv3 = nn.Conv2d(width // 2, width, 3, padding=1, bias=False)
        self.bn3 = BatchNorm(width)
        blocks = config.blocks
        self.layer1 = _stage(width, width, blocks[0], stride=1)
        self.layer2 = _stage(width * EXPANSION, width * 2, blocks[1], stride=2)
        self.layer3 = _stage(width * 2 * EXPANSION, width * 4, blocks[2], stride=2)
        self.layer4 = _stage(width * 4 * EXPANSION, width * 8, blocks[3], stride=2)
        self.attnpool = AttentionPool(config, embed_dim)

    def forward(self, images_B3SS: Tensor, seeds_B: Tensor | None = None) -> Tensor:
        """Return (B, D) embeddings of normalised images, not of unit length; `seeds_B` is for towers with patches."""
        return self.project(self.features(images_B3SS))

    def project(self, features_BD: Tensor) -> Tensor:
        """Return the same: the attention pool's last layer is the projection."""
        return features_BD

    def features(self, images_B3SS: Tensor) -> Tensor:
        """Return (B, D): the attention pool's output, on which linear probes are fitted."""
        x = images_B3SS
        if x.is_cuda:  # channels last is the order of its tensor cores, and all that follows keeps it
            x = x.contiguous(memory_format=torch.channels_last)
        x = self.bn1(self.conv1(x)).relu()
        x = self.bn2(self.conv2(x)).relu()
        x = self.bn3(self.conv3(x)).relu()
        x = functional.avg_pool2d(x, 2)
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
        out_BD: Tensor = self.attnpool(x)
        return out_BD


def _stage(inputs: int, width: int, blocks: int, stride: int) -> nn.Sequential:
    rest = (Bottleneck(width * EXPANSION, width, stride=1) for _ in range(blocks - 1))
    return nn.Sequential(Bottleneck(inputs, width, stride), *rest)
