from __future__ import annotations

import numpy as np
import pytest
import torch

from trainer.models.clip import build_clip
from trainer.models.config import CONFIGS
from trainer.optim import build_optimiser
from trainer.recipe import Optimiser
from trainer.step import IMAGE_MEAN, normalise_images, train_step, trim_tokens

MICRO = CONFIGS["ViT-micro/16"]


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (8, 3, 32, 32), generator=generator, dtype=torch.uint8)
    tokens = torch.randint(1, 598, (8, 6), generator=generator)
    tokens[:, 5] = 599
    return images, tokens


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_steps_on_one_batch_lower_its_loss(precision: str) -> None:
    """A single step lowers the loss of its batch, and forty learn the batch by heart."""
    model = build_clip(MICRO, seed=0)
    optimiser = build_optimiser(model, Optimiser(learning_rate=2e-3))
    numbers = [train_step(model, optimiser, *batch(), precision, max_norm=1.0) for _ in range(40)]
    assert float(numbers[1].loss) < float(numbers[0].loss)
    assert float(numbers[-1].loss) < 0.3 < float(numbers[0].loss)
    assert float(numbers[-1].accuracy) == 1


def test_the_norm_of_the_gradient_is_bounded_only_when_asked() -> None:
    """`max_norm` scales the gradient down to that norm; 0 leaves it as it is; the log has the norm before."""
    for max_norm, bounded in ((0.01, True), (0.0, False)):
        model = build_clip(MICRO, seed=0)
        numbers = train_step(model, build_optimiser(model, Optimiser(learning_rate=0.0)), *batch(), "fp32", max_norm)
        squares = [(parameter.grad**2).sum() for parameter in model.parameters() if parameter.grad is not None]
        norm = torch.stack(squares).sum().sqrt()
        assert float(norm) == pytest.approx(0.01 if bounded else float(numbers.gradient_norm), rel=1e-3)
        assert float(numbers.gradient_norm) > 0.1


def test_images_get_clips_mean_and_deviation() -> None:
    """A picture of the mean colour becomes zeros."""
    mean = torch.tensor(IMAGE_MEAN).mul(255).round().to(torch.uint8).view(1, 3, 1, 1).expand(1, 3, 2, 2)
    assert float(normalise_images(mean).abs().max()) < 0.01


def test_padding_is_cut_behind_the_last_end_mark() -> None:
    """The longest text of the batch sets the length, also when it fills the context."""
    tokens = np.array([[598, 1, 599, 0, 0], [598, 1, 2, 599, 0]])
    assert trim_tokens(tokens).tolist() == [[598, 1, 599, 0], [598, 1, 2, 599]]
    assert trim_tokens(tokens[:, :4]).shape == (2, 4)
