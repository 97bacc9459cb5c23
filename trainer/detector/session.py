"""What training a detector works with, made anew or restored, and the folder it belongs to.

OUT/run.json       what the run is made from; another recipe or other pictures under the same OUT are refused
    recipe.toml    the recipe with every value written out
    log.jsonl      numbers of the training, and each picture that was replaced
    checkpoints/   as those of wit train, without a tokenizer
    detector.onnx  the detector, at the end (export.py)
    detector.json  how to use it, and what it is worth
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from trainer import checkpoint
from trainer.checkpoint import MODEL, OPTIMISER, TrainState
from trainer.detector.data import PairLoader
from trainer.detector.model import Detector, build_detector, detector_config, measure_scales
from trainer.detector.pictures import Pictures, split_held_out
from trainer.detector.recipe import DetectorRecipe
from trainer.folder import check_folder
from trainer.loader.order import LoaderState
from trainer.optim import build_optimiser
from trainer.step import normalise_images
from wit.recipe import identity

MEASURED_PICTURES = 64
"""Pictures of the first batch by which the first scales of the weights are set."""


@dataclass
class DetectorSession:
    """A run in memory; `state` moves on with each step."""

    recipe: DetectorRecipe
    out: str
    device: torch.device
    pictures: Pictures
    held_out: NDArray[np.int64]
    model: Detector
    optimiser: torch.optim.Optimizer
    loader: PairLoader
    state: TrainState
    saved_step: int
    """Step of the newest checkpoint; -1 before the first."""

    @property
    def num_steps(self) -> int:
        """Steps of the whole run."""
        return self.recipe.run.epochs * self.loader.batches_per_epoch

    def save(self) -> None:
        """Write a checkpoint of the present step, unless there is one, and remove those that are not to be kept."""
        if self.saved_step == self.state.step:
            return
        parts = {MODEL: checkpoint.weights(self.model), OPTIMISER: checkpoint.moments(self.model, self.optimiser)}
        checkpoint.save_parts(self.out, parts, asdict(self.model.config), self.state)
        checkpoint.keep_newest(self.out, self.recipe.run.keep_checkpoints)
        self.saved_step = self.state.step


def open_session(recipe: DetectorRecipe, pictures: Pictures, out: str, device: torch.device) -> DetectorSession:
    """Return a new session, or the one that the newest checkpoint under `out` holds.

    Raises MismatchError when `out` was made from another recipe or other pictures, or holds something else.
    """
    resumed = check_folder(out, run_facts(recipe, pictures))
    model = build_detector(detector_config(recipe.model.name), recipe.run.seed).to(device)
    optimiser = build_optimiser(model, recipe.optimiser)
    state = TrainState(0, LoaderState(0, 0, recipe.run.seed, recipe.data.batch_size, pictures.hash))
    if resumed:
        state = checkpoint.restore(resumed, model, optimiser)
    share, most = recipe.data.held_out_share, recipe.data.max_held_out
    trained_on, held_out = split_held_out(len(pictures), share, most, recipe.run.seed)
    loader = PairLoader(pictures, trained_on, recipe, state.loader)
    saved_step = state.step if resumed else -1
    return DetectorSession(recipe, out, device, pictures, held_out, model, optimiser, loader, state, saved_step)


def begin(session: DetectorSession) -> None:
    """Set the first scales of a new model's weights from pictures of its first batch."""
    batches = iter(session.loader)
    images = torch.from_numpy(next(batches).pictures[:MEASURED_PICTURES]).to(session.device)
    batches.close()
    measure_scales(session.model, normalise_images(images))


def run_facts(recipe: DetectorRecipe, pictures: Pictures) -> dict[str, object]:
    """Return what a run is made from, as run.json says it."""
    return {"recipe": identity(recipe), "pictures": {"hash": pictures.hash, "num_pictures": len(pictures)}}
