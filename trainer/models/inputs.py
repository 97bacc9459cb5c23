"""What the network is given: images as floats, tokens without common padding, and the precision of its products."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

IMAGE_MEAN = (0.48145466, 0.4578275, 0.40821073)  # of CLIP's training images, RGB in [0, 1] (released code)
IMAGE_STD = (0.26862954, 0.26130258, 0.27577711)
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def normalise_images(images_B3SS: Tensor) -> Tensor:
    """Return uint8 images as floats with CLIP's mean and deviation."""
    mean, std = _mean_and_std(images_B3SS.device)
    return images_B3SS.float().div_(255).sub_(mean).div_(std)


@cache  # to copy numbers to a device is to wait for it
def _mean_and_std(device: torch.device) -> tuple[Tensor, Tensor]:
    with torch.inference_mode(False):
        mean, std = (torch.tensor(values, device=device).view(3, 1, 1) for values in (IMAGE_MEAN, IMAGE_STD))
        return mean, std


def trim_tokens(tokens_BL: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the tokens up to the batch's last end mark; what follows is padding and cannot change an embedding."""
    return tokens_BL[:, : int(tokens_BL.argmax(axis=1).max()) + 1]


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Return the context in which products run at a precision: "fp32", "bf16" or "fp16"."""
    return torch.autocast(device.type, PRECISIONS[precision], enabled=precision != "fp32")
