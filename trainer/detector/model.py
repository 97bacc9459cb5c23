"""The detector's network: a ResNet with weight norm instead of batch norm, GELU, and blurred downsampling.

As the paper's appendix C says: batch norm would let the network tell a pair by the statistics of its batch, so that
weights are normalised instead (Salimans, Kingma 2016); every downsampling but the first convolution's is a binomial
blur before its stride (Zhang 2019, arXiv 1904.11486, which leaves that one alone as well); GELU stands for ReLU. What
the paper leaves open is ours: the plain order of a ResNet-50 v1 bottleneck, global average pooling, a linear map to the
embedding, and the first scales of all weights taken from a batch of pictures, as Salimans and Kingma propose.

Shapes: B batch, C channels, S image side in px, D embedding.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from wit.errors import RecipeError

STEM_KERNEL, STEM_STRIDE = 7, 2
BLUR = (1.0, 2.0, 1.0)  # Zhang's Triangle-3
_LEAST_DEVIATION = 1e-3  # of an output at the start; one below it is constant, and not scaled up without bound


@dataclass(frozen=True)
class DetectorConfig:
    """Shapes of a detector."""

    image_px: int
    stem_width: int
    widths: tuple[int, ...]
    """Channels of the 3 x 3 convolutions of each stage; all but the first stage halve the sides."""
    blocks: tuple[int, ...]
    """Bottlenecks of each stage."""
    embed_dim: int
    expansion: int = 4
    """A bottleneck puts out so many times its width."""


CONFIGS = {
    "resnet50": DetectorConfig(224, 64, (64, 128, 256, 512), (3, 4, 6, 3), 512),
    "small": DetectorConfig(64, 32, (32, 64, 128), (2, 2, 2), 128),
    "micro": DetectorConfig(32, 8, (8, 16), (1, 1), 16),
}
"""The paper's, one for two cores of a CPU, one for tests."""


def detector_config(name: str) -> DetectorConfig:
    """Return the shapes of a model by name; raises RecipeError."""
    if name not in CONFIGS:
        raise RecipeError(f"model.name: expected one of {', '.join(CONFIGS)}, found {name!r}")
    return CONFIGS[name]


class _WeightNorm(nn.Module):
    """A weight whose rows are directions times lengths: weight = gain x direction / |direction|, and a bias."""

    def __init__(self, outputs: int, *inputs: int) -> None:
        super().__init__()
        self.direction = nn.Parameter(torch.randn(outputs, *inputs) * 0.05)
        self.gain = nn.Parameter(torch.ones(outputs))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.is_measuring = False

    @property
    def weight(self) -> Tensor:
        """The weight itself: (outputs, *inputs)."""
        shape = (-1, *[1] * (self.direction.ndim - 1))
        lengths = self.direction.flatten(1).norm(dim=1).clamp_min(1e-12)
        weight: Tensor = self.direction * (self.gain / lengths).view(shape)
        return weight

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's outputs."""
        if self.is_measuring:
            self._measure(x)
        return self.apply_weight(x, self.weight, self.bias)

    def apply_weight(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return the product with a weight."""
        raise NotImplementedError

    @torch.no_grad()
    def _measure(self, x: Tensor) -> None:
        """Set gain and bias so that each output has mean 0 and deviation 1 over a batch (Salimans, Kingma, eq. 4)."""
        self.gain.fill_(1.0)
        out = self.apply_weight(x, self.weight, None).transpose(0, 1).flatten(1).float()
        deviation, mean = torch.std_mean(out, dim=1, correction=0)
        self.gain.copy_(1 / deviation.clamp_min(_LEAST_DEVIATION))
        self.bias.copy_(-mean * self.gain)


class Convolution(_WeightNorm):
    """A convolution with weight norm, padded by half its kernel."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__(outputs, inputs, kernel, kernel)
        self.padding, self.stride = kernel // 2, stride

    def apply_weight(self, x_BCSS: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return the convolution."""
        return functional.conv2d(x_BCSS, weight, bias, stride=self.stride, padding=self.padding)


class Projection(_WeightNorm):
    """A linear map with weight norm."""

    def apply_weight(self, x_BC: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return the product."""
        return functional.linear(x_BC, weight, bias)


def blur_kernel(channels: int) -> Tensor:
    """Return the binomial 3 x 3 filter of Zhang's anti-aliasing as a depthwise weight (C, 1, 3, 3); its sum is 1."""
    line = torch.tensor(BLUR) / sum(BLUR)
    return torch.outer(line, line).expand(channels, 1, 3, 3)


def blur_halved(x_BCSS: Tensor) -> Tensor:
    """Return features blurred and taken at every second place, as images are padded: by reflection."""
    channels = x_BCSS.shape[1]
    padded = functional.pad(x_BCSS, (1, 1, 1, 1), mode="reflect")
    return functional.conv2d(padded, blur_kernel(channels).to(x_BCSS), stride=2, groups=channels)


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3 and 1 x 1 convolutions beside a shortcut."""

    def __init__(self, inputs: int, width: int, outputs: int, is_halving: bool) -> None:
        super().__init__()
        self.reduce = Convolution(inputs, width, 1)
        self.mix = Convolution(width, width, 3)
        self.expand = Convolution(width, outputs, 1)
        self.shortcut = Convolution(inputs, outputs, 1) if is_halving or inputs != outputs else None
        self.is_halving = is_halving

    def forward(self, x_BCSS: Tensor) -> Tensor:
        """Return features with the block's output added to the shortcut."""
        inner = functional.gelu(self.mix(functional.gelu(self.reduce(x_BCSS))))
        inner = self.expand(blur_halved(inner) if self.is_halving else inner)
        beside = blur_halved(x_BCSS) if self.is_halving else x_BCSS
        return functional.gelu(inner + (self.shortcut(beside) if self.shortcut is not None else beside))


class Detector(nn.Module):
    """From normalised images (B, 3, S, S) to embeddings (B, D) of unit length."""

    def __init__(self, config: DetectorConfig) -> None:
        super().__init__()
        self.config = config
        self.stem = Convolution(3, config.stem_width, STEM_KERNEL, STEM_STRIDE)
        self.blocks = nn.ModuleList(_bottlenecks(config))
        self.projection = Projection(config.embed_dim, config.widths[-1] * config.expansion)

    def forward(self, images_B3SS: Tensor) -> Tensor:
        """Return embeddings of unit length."""
        return functional.normalize(self.project(images_B3SS).float(), dim=1)  # lengths in fp32 under any autocast

    def project(self, images_B3SS: Tensor) -> Tensor:
        """Return embeddings (B, D) before they are brought to unit length."""
        x_BCSS = functional.gelu(self.stem(images_B3SS))
        x_BCSS = blur_halved(functional.max_pool2d(x_BCSS, 3, stride=1, padding=1))
        for block in self.blocks:
            x_BCSS = block(x_BCSS)
        out_BD: Tensor = self.projection(x_BCSS.mean(dim=(2, 3)))
        return out_BD


def _bottlenecks(config: DetectorConfig) -> Iterator[Bottleneck]:
    inputs = config.stem_width
    for stage, (width, count) in enumerate(zip(config.widths, config.blocks, strict=True)):
        for block in range(count):
            outputs = width * config.expansion
            yield Bottleneck(inputs, width, outputs, is_halving=stage > 0 and block == 0)
            inputs = outputs


def build_detector(config: DetectorConfig, seed: int) -> Detector:
    """Return a detector with random directions, the same ones for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Detector(config)


@torch.no_grad()
def measure_scales(model: Detector, images_B3SS: Tensor) -> None:
    """Set every layer's gain and bias from a batch of normalised images, first layer first, before training."""
    with _measuring(model):
        model(images_B3SS)


@contextmanager
def _measuring(model: Detector) -> Iterator[None]:
    layers = [layer for layer in model.modules() if isinstance(layer, _WeightNorm)]
    for layer in layers:
        layer.is_measuring = True
    try:
        yield
    finally:
        for layer in layers:
            layer.is_measuring = False
