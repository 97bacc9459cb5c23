"""What training a detector works with, made anew or restored, and the folder it belongs to.

OUT/run.json       what the run is made from; another recipe or other pictures under the same OUT are refused
    recipe.toml    the recipe with every value written out
    log.jsonl      numbers of the training, and each picture that was replaced
    checkpoints/   as those of wit train, without a tokenizer
    detector.onnx  the detector, at the end (export.py)
    detector.json  how to use it, and what it is worth
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainer.detector.data import PairBatch, PairLoader, split_held_out
from trainer.detector.model import Detector, build_detector, detector_config, measure_scales
from trainer.detector.recipe import DetectorRecipe
from trainer.detector.step import PairNumbers, pair_step
from trainer.loader.order import LoaderState
from trainer.loader.pictures import Pictures
from trainer.models.inputs import normalise_images
from trainer.optim.adamw import AdamW, build_optimiser
from trainer.optim.schedule import learning_rate, set_learning_rate
from trainer.parallel.ranks import ALONE, Ranks
from trainer.running.folder import check_folder
from trainer.running.log import Log, require_sinks
from trainer.running.meter import Window
from trainer.saving import checkpoint
from trainer.saving.checkpoint import Snapshot, TrainState
from trainer.saving.trained import Trained
from trainer.stepping.guard import GuardState
from wit.recipe import identity

MEASURED_PICTURES = 64
"""Pictures of the first batch by which the first scales of the weights are set."""


@dataclass
class DetectorSession:
    """A run in memory, as `trainer.running.loop.Session` asks for it; one process trains."""

    recipe: DetectorRecipe
    out: str
    device: torch.device
    facts: Mapping[str, object]
    pictures: Pictures
    held_out: NDArray[np.int64]
    model: Detector
    optimiser: AdamW
    loader: PairLoader
    state: TrainState
    saved_step: int
    ranks: Ranks = ALONE
    command = "wit overlap train-detector"
    unit = "pairs"

    @property
    def num_steps(self) -> int:
        """Steps of the whole run."""
        return self.recipe.run.epochs * self.loader.batches_per_epoch

    def batches(self) -> Generator[PairBatch]:
        """Yield batch after batch; of a new run the first sets the scales of the weights."""
        if self.state.step == 0:
            self._begin()
        return iter(self.loader)

    def _begin(self) -> None:
        """Set the first scales of a new model's weights from pictures of its first batch."""
        batches = iter(self.loader)
        images = torch.from_numpy(next(batches).pictures[:MEASURED_PICTURES]).to(self.device)
        batches.close()
        measure_scales(self.model, normalise_images(images))

    def step(self, batch: PairBatch, limit: Tensor) -> PairNumbers:
        """Take a step with a batch."""
        set_learning_rate(self.optimiser, self._rate(self.state.step))
        pictures, copies = (torch.from_numpy(each).to(self.device) for each in (batch.pictures, batch.copies))
        return pair_step(
            self.model,
            self.optimiser,
            (pictures, copies),
            self.recipe,
            limit,
        )

    def _rate(self, step: int) -> float:
        return learning_rate(step, self.num_steps, self.recipe.optimiser)

    def report(self, numbers: PairNumbers, window: Window) -> dict[str, object]:
        """Return what else the log says of a step and the window that ends with it."""
        return {"learning_rate": self._rate(self.state.step - 1)}

    def snapshot(self, guard: GuardState) -> Snapshot:
        """Return a copy of all that a checkpoint holds."""
        tensors = Trained(self.model, self.optimiser).gather()
        return Snapshot(replace(self.state, guard=guard), asdict(self.model.config), tensors)

    def evaluate(self, log: Log) -> None:
        """Do nothing: a detector is measured once it is trained."""


def open_session(recipe: DetectorRecipe, pictures: Pictures, out: str, device: torch.device) -> DetectorSession:
    """Return a new session, or the one that the newest checkpoint under `out` holds.

    Raises MismatchError when `out` was made from another recipe or other pictures, or holds something else.
    """
    require_sinks(recipe.run)
    facts = run_facts(recipe, pictures)
    saved_step, resumed = checkpoint.newest_step(out), check_folder(out, facts)
    model = build_detector(detector_config(recipe.model.name), recipe.run.seed).to(device)
    optimiser = build_optimiser(model, recipe.optimiser, recipe.run.seed)
    state = TrainState(0, LoaderState(0, 0, recipe.run.seed, recipe.data.batch_size, pictures.hash))
    if resumed:
        state = checkpoint.read_state(resumed)
        Trained(model, optimiser).restore(resumed)
    share, most = recipe.data.held_out_share, recipe.data.max_held_out
    trained_on, held_out = split_held_out(len(pictures), share, most, recipe.run.seed)
    loader = PairLoader(pictures, trained_on, recipe, state.loader)
    return DetectorSession(recipe, out, device, facts, pictures, held_out, model, optimiser, loader, state, saved_step)


def run_facts(recipe: DetectorRecipe, pictures: Pictures) -> dict[str, object]:
    """Return what a run is made from, as run.json says it."""
    return {"recipe": identity(recipe), "pictures": {"hash": pictures.hash, "num_pictures": len(pictures)}}
