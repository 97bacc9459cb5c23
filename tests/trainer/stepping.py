"""Steps of the micro models in every manner, and a plain reference; run as a program, the same as one of the ranks."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn import functional

from trainer.gradients import LossScaler
from trainer.inputs import normalise_images
from trainer.models.build import build_model, set_patch_dropout
from trainer.models.config import CONFIGS, model_config
from trainer.optim import build_optimiser
from trainer.parallel import gather_moments, gather_weights, prepare
from trainer.ranks import ALONE, Ranks, find_ranks, joined
from trainer.recipe import Data, Model, Objective, Optimiser, Run, TrainRecipe
from trainer.step import Stepper, StepNumbers, build_stepper, train_step

CPU = torch.device("cpu")
NUM_ROWS = 8


def batch(image_px: int = 32) -> tuple[Tensor, NDArray[np.int64]]:
    """Return images and captions of two to five tokens and their marks, for the micro models."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (NUM_ROWS, 3, image_px, image_px), generator=generator, dtype=torch.uint8)
    tokens = torch.randint(1, 598, (NUM_ROWS, 9), generator=generator)
    tokens[:, 0] = 598
    ends = torch.randint(3, 7, (NUM_ROWS, 1), generator=generator)
    places = torch.arange(9)
    return images, torch.where(places == ends, 599, torch.where(places < ends, tokens, 0)).numpy()


@dataclass(frozen=True)
class Manner:
    """How a step is taken; the same gradients are expected of all that share objective, model and dropout."""

    objective: str = "contrastive"
    model: str = "ViT-micro/16"
    text: str = "transformer"
    patch_dropout: float = 0.0
    block_rows: int = 4_096
    micro_batch_size: int = 0
    run: dict[str, Any] = field(default_factory=dict)
    optimiser: dict[str, Any] = field(default_factory=dict)

    def recipe(self) -> TrainRecipe:
        return TrainRecipe(
            model=Model(self.model, text=self.text, patch_dropout=self.patch_dropout),
            objective=Objective(self.objective, self.block_rows),
            data=Data(batch_size=NUM_ROWS, micro_batch_size=self.micro_batch_size),
            optimiser=Optimiser(**({"learning_rate": 2e-3, "warmup_steps": 0} | self.optimiser)),
            run=Run(**self.run),
        )

    def batch(self) -> tuple[Tensor, NDArray[np.int64]]:
        return batch(CONFIGS[self.model].vision.image_px)

    def build(self) -> nn.Module:
        model = build_model(model_config(self.model, 600, self.text, self.objective), seed=0)
        set_patch_dropout(model, self.patch_dropout)
        return model


def make(manner: Manner, ranks: Ranks = ALONE) -> tuple[nn.Module, Stepper]:
    """Return a new model and what its steps work with."""
    model, recipe = manner.build(), manner.recipe()
    called = prepare(model, recipe.run, ranks, CPU)
    optimiser = build_optimiser(model, recipe.optimiser)
    return model, build_stepper(called, optimiser, LossScaler(recipe.run.precision, CPU), recipe, ranks)


@dataclass(frozen=True)
class Taken:
    """What a step left behind."""

    numbers: StepNumbers
    gradients: dict[str, Tensor]
    weights: dict[str, Tensor]
    moments: dict[str, Tensor]


def take(manner: Manner, ranks: Ranks = ALONE) -> Taken:
    """Return what one step leaves behind."""
    model, stepper = make(manner, ranks)
    images, tokens = manner.batch()
    rows = slice(ranks.rows(NUM_ROWS).start, ranks.rows(NUM_ROWS).stop)
    numbers = train_step(stepper, images[rows], tokens[rows], 0)
    gradients = {
        name: (one.full_tensor() if isinstance(one, DTensor) else one).clone()
        for name, one in ((name, parameter.grad) for name, parameter in model.named_parameters())
        if one is not None
    }
    return Taken(numbers, gradients, gather_weights(model), gather_moments(model, stepper.optimiser))  # type: ignore[arg-type]


def plain(manner: Manner, pieces: Sequence[Sequence[int]] = (tuple(range(NUM_ROWS)),)) -> dict[str, Tensor]:
    """Return the gradients of autograd alone: the whole matrix at once, everything kept, padded, one process.

    `pieces` are the rows that go through the network together, which batch norms can tell.
    """
    model = manner.build().train()
    images, tokens = manner.batch()
    seeds = make(manner)[1].seeds(0, NUM_ROWS, CPU)
    order = [row for piece in pieces for row in piece]
    outputs = [
        model(normalise_images(images[rows]), torch.from_numpy(tokens[rows]), None, seeds[rows])
        for rows in map(list, pieces)
    ]
    first, second = (torch.cat(parts)[np.argsort(order)] for parts in zip(*outputs, strict=True))
    plain_loss(manner.objective, model, first, second).backward()  # type: ignore[no-untyped-call]
    return {name: one.grad for name, one in model.named_parameters() if one.grad is not None}


def plain_loss(objective: str, model: Any, first: Tensor, second: Tensor) -> Tensor:
    """Return the loss as papers write it."""
    if objective not in ("contrastive", "sigmoid"):
        return first.mean()
    logits = model.logit_scale.exp() * first @ second.T
    target = torch.arange(len(first))
    if objective == "contrastive":
        return (functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target)) / 2
    signs = 2 * torch.eye(len(first)) - 1
    return -functional.logsigmoid(signs * (logits + model.logit_bias)).sum() / len(first)


def main(path: str) -> None:
    """Take one step in each of the manners of a file, together with the other ranks; rank 0 writes what came out."""
    torch.set_num_threads(1)
    ranks = find_ranks()
    with joined(ranks, CPU):
        taken = [take(manner, ranks) for manner in torch.load(path, weights_only=False)]
        if ranks.is_first:
            torch.save(taken, f"{path}.out")


if __name__ == "__main__":
    main(sys.argv[1])
