"""Steps of the micro models in every manner, alone or by two ranks, and a plain reference."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn import functional

from tests.trainer.ranks import run_ranks
from trainer.models.build import build_model, set_patch_dropout
from trainer.models.config import CONFIGS, model_config
from trainer.models.inputs import normalise_images
from trainer.optim.adamw import build_optimiser
from trainer.parallel.ranks import ALONE, Ranks, find_ranks, joined
from trainer.parallel.wrapping import gather_moments, gather_weights, load_moments, load_weights, local, prepare
from trainer.recipe import Data, Model, Objective, Optimiser, Run, TrainRecipe
from trainer.stepping.gradients import LossScaler
from trainer.stepping.step import StepNumbers, Stepper, build_stepper, train_step

CPU = torch.device("cpu")
NUM_ROWS = 8
TIMEOUT_S = 120
SCRIPT = """
import sys, warnings
from pathlib import Path
from tests.trainer import manners
warnings.simplefilter("error", FutureWarning)
manners.main(Path(sys.argv[1]))
"""


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
    steps: int = 1
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


def make(manner: Manner = Manner(), ranks: Ranks = ALONE) -> tuple[nn.Module, Stepper]:
    """Return a new model and what its steps work with."""
    model, recipe = manner.build(), manner.recipe()
    called = prepare(model, recipe.run, ranks, CPU)
    optimiser = build_optimiser(model, recipe.optimiser)
    return model, build_stepper(called, optimiser, LossScaler(recipe.run.precision, CPU), recipe, ranks)


@dataclass(frozen=True)
class Taken:
    """What a step left behind, and whether a new model and optimiser took it over from rank 0."""

    numbers: StepNumbers
    gradients: dict[str, Tensor]
    weights: dict[str, Tensor]
    moments: dict[str, Tensor]
    local_elements: int
    """Of the weights on this rank."""
    embeddings: Tensor
    """Of the images, by the new weights; empty where the model makes none."""

    @property
    def state(self) -> dict[str, Tensor]:
        return self.weights | self.moments


def take(manner: Manner, ranks: Ranks = ALONE, state: dict[str, Tensor] | None = None) -> Taken:
    """Return what one step leaves behind; with `state`, that of another model goes into the new one first."""
    model, stepper = make(manner, ranks)
    optimiser: Any = stepper.optimiser
    embed(model, manner)  # a look before the weights change: what it gathered must not be what is seen afterwards
    if state is not None:
        load_weights(model, {name: state[name] for name in model.state_dict()})
        load_moments(model, optimiser, {name: one for name, one in state.items() if name not in model.state_dict()})
    images, tokens = manner.batch()
    rows = slice(ranks.rows(NUM_ROWS).start, ranks.rows(NUM_ROWS).stop)
    for step in range(manner.steps):
        numbers = train_step(stepper, images[rows], tokens[rows], step)
    gradients = {
        name: (one.full_tensor() if isinstance(one, DTensor) else one).clone()
        for name, one in ((name, parameter.grad) for name, parameter in model.named_parameters())
        if one is not None
    }
    elements = sum(local(parameter).numel() for parameter in model.parameters())
    weights, moments = gather_weights(model), gather_moments(model, optimiser)
    return Taken(numbers, gradients, weights, moments, elements, embed(model, manner))


@torch.no_grad()
def embed(model: Any, manner: Manner) -> Tensor:
    """Return embeddings (B, D) of the batch's images, which evaluation asks a model for in training."""
    if manner.objective not in ("contrastive", "sigmoid"):
        return torch.zeros(0)
    model.eval()
    embeddings: Tensor = model.read_features(model.image_features(normalise_images(manner.batch()[0])))
    return embeddings


def plain(manner: Manner, pieces: Sequence[Sequence[int]] = (tuple(range(NUM_ROWS)),)) -> dict[str, Tensor]:
    """Return the gradients of autograd alone: the whole matrix at once, everything kept, padded, one process.

    `pieces` are the rows that go through the network together, which batch norms can tell.
    """
    model = manner.build().train()
    images, tokens = manner.batch()
    seeds = make(replace(manner, run={}))[1].seeds(0, NUM_ROWS, CPU)
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


def error(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> float:
    """Return the largest difference of an element, as a share of the norm of all that is wanted."""
    assert found.keys() == wanted.keys()
    norm = torch.stack([one.norm() for one in wanted.values()]).norm()
    return max(float((found[name] - one).abs().max() / norm) for name, one in wanted.items())


def quick_compiler() -> AbstractContextManager[Any]:
    """Return a context in which torch.compile traces and takes gradients ahead of time, but makes no C++ of it."""
    return mock.patch("torch.compile", partial(torch.compile, backend="aot_eager"))


def take_together(manners: Sequence[Manner], folder: Path, state: dict[str, Tensor] | None = None) -> list[Taken]:
    """Return what the first of two processes holds after a step in each of the manners, which both take together.

    With `state` follow steps in the manner of the first, DDP and FSDP, that go on from there.
    """
    torch.save((manners, state), folder / "manners")
    run_ranks(SCRIPT, 2, [str(folder)], TIMEOUT_S)
    taken: list[Taken] = torch.load(folder / "taken", weights_only=False)
    return taken


def main(folder: Path) -> None:
    """Take a step in each of the manners of a file, together with the other ranks; rank 0 writes what came out."""
    torch.set_num_threads(1)
    ranks = find_ranks()
    with joined(ranks, CPU):
        manners, state = torch.load(folder / "manners", weights_only=False)
        taken = []
        for manner in manners:
            with quick_compiler() if manner.run.get("compile") else nullcontext():
                taken.append(take(manner, ranks))
        if state is not None:
            taken += [take(replace(manners[0], run={"parallel": each}), ranks, state) for each in ("ddp", "fsdp")]
        if ranks.is_first:
            torch.save(taken, folder / "taken")
