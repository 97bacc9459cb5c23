"""What a training run works with, made anew or restored, and the folder it belongs to.

OUT/run.json      what the run is made from; another recipe or other shards under the same OUT are refused
    recipe.toml   the recipe with every value written out
    log.jsonl     numbers of the training, and each sample that was replaced (log.py)
    checkpoints/  (checkpoint.py)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from trainer import checkpoint
from trainer.checkpoint import TrainState
from trainer.folder import check_folder
from trainer.loader.index import Index, read_captions
from trainer.loader.loader import Loader, LoaderOptions
from trainer.loader.order import LoaderState
from trainer.models.clip import Clip, build_clip
from trainer.models.config import ClipConfig, model_config
from trainer.optim import build_optimiser
from trainer.recipe import TrainRecipe
from trainer.tokenizer import ClipTokenizer, read_merges, train_merges
from wit.errors import RecipeError
from wit.recipe import identity


@dataclass
class Session:
    """A run in memory; `state` moves on with each step."""

    recipe: TrainRecipe
    out: str
    device: torch.device
    tokenizer: ClipTokenizer
    config: ClipConfig
    model: Clip
    optimiser: torch.optim.Optimizer
    loader: Loader
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
        checkpoint.save(self.out, self.model, self.config, self.optimiser, self.tokenizer, self.state)
        checkpoint.keep_newest(self.out, self.recipe.run.keep_checkpoints)
        self.saved_step = self.state.step


def open_session(recipe: TrainRecipe, index: Index, out: str, device: torch.device) -> Session:
    """Return a new session, or the one that the newest checkpoint under `out` holds.

    Raises MismatchError when `out` was made from another recipe or other shards, or holds something else.
    """
    resumed = check_folder(out, run_facts(recipe, index))
    tokenizer = checkpoint.load_tokenizer(resumed) if resumed else _build_tokenizer(recipe, index)
    config = model_config(recipe.model.name, tokenizer.vocabulary_size)
    model = build_clip(config, recipe.run.seed).to(device)
    optimiser = build_optimiser(model, recipe.optimiser)
    state = TrainState(0, LoaderState(0, 0, recipe.run.seed, recipe.data.batch_size, index.hash))
    if resumed:
        state = checkpoint.restore(resumed, model, optimiser)
    loader = _build_loader(recipe, index, tokenizer, config, state.loader)
    saved_step = state.step if resumed else -1
    return Session(recipe, out, device, tokenizer, config, model, optimiser, loader, state, saved_step)


def _build_tokenizer(recipe: TrainRecipe, index: Index) -> ClipTokenizer:
    if recipe.tokenizer.merges:
        return ClipTokenizer(read_merges(recipe.tokenizer.merges))
    return ClipTokenizer(train_merges(read_captions(index), recipe.tokenizer.vocabulary_size))


def _build_loader(
    recipe: TrainRecipe, index: Index, tokenizer: ClipTokenizer, config: ClipConfig, state: LoaderState
) -> Loader:
    def tokenize(captions: Sequence[str]) -> NDArray[np.int64]:
        return tokenizer(captions, config.text.context_length)

    image_px = config.vision.image_px
    resize_px = recipe.data.resize_px or image_px
    if resize_px < image_px:
        raise RecipeError(f"data.resize_px: expected at least the model's {image_px} px, found {resize_px}")
    options = LoaderOptions(
        image_px=image_px,
        resize_px=resize_px,
        decode=recipe.data.decode,
        block_samples=recipe.data.block_samples,
        window_samples=recipe.data.window_samples,
        num_threads=recipe.data.num_threads,
        prefetch_batches=recipe.data.prefetch_batches,
        cache_bytes=recipe.data.cache_mb << 20,
    )
    return Loader(index, tokenize, state, options)


def run_facts(recipe: TrainRecipe, index: Index) -> dict[str, object]:
    """Return what a run is made from, as run.json says it."""
    return {"recipe": identity(recipe), "shards": {"index_hash": index.hash, "num_samples": len(index)}}
