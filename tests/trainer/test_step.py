from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from trainer.gradients import LossScaler
from trainer.inputs import IMAGE_MEAN, normalise_images, trim_tokens
from trainer.models.build import build_model
from trainer.models.config import CONFIGS
from trainer.optim import build_optimiser
from trainer.parallel import prepare
from trainer.ranks import ALONE
from trainer.recipe import Data, Optimiser, Run, TrainRecipe
from trainer.step import Stepper, build_stepper, train_step

CPU = torch.device("cpu")


def batch(rows: int = 8) -> tuple[Tensor, NDArray[np.int64]]:
    """Return images and captions of two to five tokens and their marks, for the micro models."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (rows, 3, 32, 32), generator=generator, dtype=torch.uint8)
    tokens = torch.randint(1, 598, (rows, 9), generator=generator)
    ends = torch.randint(3, 7, (rows, 1), generator=generator)
    places = torch.arange(9)
    return images, torch.where(places == ends, 599, torch.where(places < ends, tokens, 0)).numpy()


def make(precision: str = "fp32", micro_batch_size: int = 0, **optimiser: Any) -> tuple[nn.Module, Stepper]:
    """Return a new model and what its steps work with; keyword arguments go to the recipe's [optimiser]."""
    recipe = TrainRecipe(
        data=Data(batch_size=8, micro_batch_size=micro_batch_size),
        optimiser=Optimiser(**({"learning_rate": 2e-3} | optimiser)),
        run=Run(precision=precision),
    )
    model = build_model(CONFIGS["ViT-micro/16"], seed=0)
    called = prepare(model, recipe.run, ALONE, CPU)
    optimiser_ = build_optimiser(model, recipe.optimiser)
    return model, build_stepper(called, optimiser_, LossScaler(precision, CPU), recipe, ALONE)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_steps_on_one_batch_lower_its_loss(precision: str) -> None:
    """A single step lowers the loss of its batch, and forty learn the batch by heart."""
    _, stepper = make(precision, micro_batch_size=3, max_gradient_norm=1.0)
    numbers = [train_step(stepper, *batch(), step) for step in range(40)]
    taken = [one for one in numbers if not one.skipped]
    assert float(taken[1].loss) < float(taken[0].loss)
    assert float(numbers[-1].loss) < 0.3 < float(numbers[0].loss)
    assert float(numbers[-1].accuracy) == 1


def test_the_norm_of_the_gradient_is_bounded_only_when_asked() -> None:
    """`max_norm` scales the gradient down to that norm; 0 leaves it as it is; the log has the norm before."""
    for max_norm, bounded in ((0.01, True), (0.0, False)):
        model, stepper = make(learning_rate=0.0, max_gradient_norm=max_norm)
        numbers = train_step(stepper, *batch(), 0)
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
