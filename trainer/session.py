"""What a training run works with, made anew or restored, and the folder it belongs to.

OUT/run.json      what the run is made from; another recipe or other shards under the same OUT are refused
    recipe.toml   the recipe with every value written out
    log.jsonl     numbers of the training, and each sample that was replaced (running/log.py)
    checkpoints/  (saving/checkpoint.py)
    shards/       parts of remote shards, where the recipe names no other folder for them
    profile/      a trace, where the recipe asks for one (running/profiler.py)
"""

from __future__ import annotations

import sys
from collections.abc import Generator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainer.evaluation.periodic import EVENT, PeriodicEvaluation, line_of, open_evaluation
from trainer.interchange.starting import start_from
from trainer.loader.device import DeviceBatch, memory_for, to_device
from trainer.loader.index import Index, read_captions
from trainer.loader.loader import Loader, LoaderOptions
from trainer.loader.order import LoaderState
from trainer.models.build import build_model, set_patch_dropout
from trainer.models.config import CONFIGS, ClipConfig, model_config
from trainer.optim.adamw import build_optimiser
from trainer.optim.ema import Ema
from trainer.optim.schedule import learning_rate, set_learning_rate
from trainer.parallel.agreement import from_first
from trainer.parallel.ranks import Ranks
from trainer.parallel.wrapping import prepare
from trainer.recipe import TrainRecipe
from trainer.running.folder import check_folder
from trainer.running.log import Log, require_sinks
from trainer.running.meter import SampleSum, Window
from trainer.running.work import WorkMeter
from trainer.saving import checkpoint
from trainer.saving.checkpoint import TOKENIZER, Snapshot, TrainState
from trainer.saving.trained import Trained
from trainer.stepping.gradients import LossScaler
from trainer.stepping.guard import GuardState
from trainer.stepping.step import StepNumbers, Stepper, build_stepper, train_step
from trainer.tokenizer import ClipTokenizer, dump_merges, read_merges, train_merges
from wit.errors import MismatchError, RecipeError
from wit.recipe import identity


@dataclass(frozen=True)
class Place:
    """Where a run takes place."""

    out: str
    device: torch.device
    ranks: Ranks


@dataclass
class ClipSession:
    """A run in memory, as `trainer.running.loop.Session` asks for it."""

    recipe: TrainRecipe
    place: Place
    facts: Mapping[str, object]
    tokenizer: ClipTokenizer
    config: ClipConfig
    trained: Trained
    stepper: Stepper
    loader: Loader
    evaluation: PeriodicEvaluation | None
    state: TrainState
    saved_step: int
    command = "wit train"
    unit = "images"

    def __post_init__(self) -> None:
        self.out, self.device, self.ranks = self.place.out, self.place.device, self.place.ranks
        self._work = WorkMeter(self.recipe, self.config, self.device)
        self._samples = SampleSum(self.state.samples if self.ranks.is_first else 0)

    @property
    def num_steps(self) -> int:
        """Steps of the whole run."""
        return self.recipe.run.epochs * self.loader.batches_per_epoch

    def batches(self) -> Generator[DeviceBatch]:
        """Yield this rank's rows of batch after batch, the images on the device."""
        return to_device(iter(self.loader), self.device)

    def step(self, batch: DeviceBatch, limit: Tensor) -> StepNumbers:
        """Take a step with a batch."""
        set_learning_rate(self.trained.optimiser, self._rate(self.state.step))
        batch_size = self.recipe.data.batch_size
        self._samples.add(batch.keys, self.state.step * batch_size + self.ranks.rows(batch_size).start)
        self._work.add(batch.tokens)
        numbers = train_step(self.stepper, batch.images, batch.tokens, self.state.step, limit)
        if self.trained.ema is not None:
            self.trained.ema.update(self.state.step + 1, numbers.skipped)
        return numbers

    def _rate(self, step: int) -> float:
        return learning_rate(step, self.num_steps, self.recipe.optimiser)

    def report(self, numbers: StepNumbers, window: Window) -> dict[str, object]:
        """Return what else the log says of a step and the window that ends with it."""
        scale = float(numbers.scale)
        return {
            "learning_rate": self._rate(self.state.step - 1),
            "scale": scale,
            "temperature": 1 / scale if scale else None,
            "samples": f"{self._samples.total(self.ranks):016x}",
            **self._work.report(window, self.ranks),
        }

    def snapshot(self, guard: GuardState) -> Snapshot | None:
        """Return a copy of all that a checkpoint holds."""
        scaler, samples = self.stepper.scaler.read(), self._samples.total(self.ranks)
        state = replace(self.state, guard=guard, scaler=scaler, samples=samples)
        tensors = self.trained.gather()
        if not self.ranks.is_first:
            return None
        return Snapshot(state, asdict(self.config), tensors, {TOKENIZER: dump_merges(self.tokenizer.merges)})

    def evaluate(self, log: Log) -> None:
        """Measure zero-shot accuracy where the recipe asks for it."""
        step = self.state.step
        if self.evaluation is None or not self.evaluation.is_due(step, self.num_steps):
            return
        for opened, words in self.evaluation.sets:
            event = self.evaluation.event(opened)
            if from_first(self.ranks, partial(log.has, step, event)):
                continue
            found = self.evaluation.measure(self.trained, self.tokenizer, opened, words, self.ranks)
            log.write(step, event, **found)
            if self.ranks.is_first:
                name = event.removeprefix(EVENT).removeprefix("/")
                told = f"{name}  {line_of(found, words.metric)}" if name else line_of(found, words.metric)
                print(f"step {step}/{self.num_steps}  {told}", file=sys.stderr, flush=True)


def open_session(recipe: TrainRecipe, index: Index, place: Place, resume: str) -> ClipSession:
    """Return a new session, or the one that a checkpoint holds: `resume` is as `check_folder` has it.

    Raises MismatchError when `out` was made from another recipe or other shards, or holds something else.
    """
    require_sinks(recipe.run)
    evaluation = open_evaluation(recipe.evaluation)
    facts = run_facts(recipe, index)
    saved_step, resumed = from_first(
        place.ranks, lambda: (checkpoint.newest_step(place.out), check_folder(place.out, facts, resume))
    )
    tokenizer = ClipTokenizer(from_first(place.ranks, lambda: _merges(recipe, index, resumed)))
    config = model_config(recipe.model.name, tokenizer.vocabulary_size, recipe.model.text, recipe.objective.name)
    state = TrainState(0, LoaderState(0, 0, recipe.run.seed, recipe.data.batch_size, index.hash))
    if resumed:
        state = from_first(place.ranks, lambda: _require_same_order(resumed, checkpoint.read_state(resumed), state))
    trained, stepper = _build_trained(recipe, config, place, state)
    if resumed:
        trained.restore(resumed, place.ranks)
    loader = _build_loader(recipe, index, tokenizer, state.loader, place)
    session = ClipSession(
        recipe, place, facts, tokenizer, config, trained, stepper, loader, evaluation, state, saved_step
    )
    if state.step > session.num_steps:
        raise MismatchError(
            f"{resumed}: expected a checkpoint of at most the {session.num_steps} steps of the recipe, found one of "
            f"step {state.step}; set more run.epochs, or start from its weights: model.start_from"
        )
    return session


def _require_same_order(resumed: str, found: TrainState, new: TrainState) -> TrainState:
    """Return a checkpoint's state; raises MismatchError when another recipe's samples would come next."""
    for key, theirs, ours in (
        ("data.batch_size", found.loader.batch_size, new.loader.batch_size),
        ("run.seed", found.loader.seed, new.loader.seed),
    ):
        if theirs != ours:
            raise MismatchError(
                f"{resumed}: expected a checkpoint of a run with {key} {ours}, found one with {theirs}; set that, or "
                "start from its weights: model.start_from"
            )
    return found


def _build_trained(recipe: TrainRecipe, config: ClipConfig, place: Place, state: TrainState) -> tuple[Trained, Stepper]:
    """Return a new model, ready for its device and its ranks, and what takes its steps."""
    run = recipe.run
    model = build_model(config, run.seed)
    if recipe.model.start_from and state.step == 0:
        start_from(model, config, recipe.model.start_from)
    set_patch_dropout(model, recipe.model.patch_dropout)
    prepared = prepare(model, run, place.ranks, place.device)
    optimiser = build_optimiser(model, recipe.optimiser, run.seed)
    loss_scaler = LossScaler(run.precision, place.device, state.scaler)
    stepper = build_stepper(prepared, optimiser, loss_scaler, recipe, place.ranks)
    return Trained(model, optimiser, Ema(model, run.ema_decay) if run.ema_decay else None), stepper


def _merges(recipe: TrainRecipe, index: Index, resumed: str | None) -> list[tuple[str, str]]:
    """Return the merges of the vocabulary: of a checkpoint, of a file, or trained from the captions.

    A model that begins with another's weights has to have that one's vocabulary.
    """
    if resumed:
        return list(checkpoint.load_tokenizer(resumed).merges)
    started_from = recipe.model.start_from
    if not recipe.tokenizer.merges and started_from and checkpoint.is_ours(started_from):
        return list(checkpoint.load_tokenizer(checkpoint.find(started_from)).merges)
    if recipe.data.num_samples and not recipe.tokenizer.merges:
        raise RecipeError(
            "tokenizer.merges: expected a vocabulary's file, or installed, with data.num_samples, found none: captions "
            "of shards without an index are not known beforehand"
        )
    if recipe.tokenizer.merges:
        return read_merges(recipe.tokenizer.merges)
    return train_merges(read_captions(index), recipe.tokenizer.vocabulary_size)


def _build_loader(
    recipe: TrainRecipe, index: Index, tokenizer: ClipTokenizer, state: LoaderState, place: Place
) -> Loader:
    config, data = CONFIGS[recipe.model.name], recipe.data
    context_length, image_px = config.text.context_length, config.vision.image_px

    def tokenize(captions: Sequence[str]) -> NDArray[np.int64]:
        return tokenizer(captions, context_length)

    resize_px = data.resize_px or image_px
    if resize_px < image_px:
        raise RecipeError(f"data.resize_px: expected at least the model's {image_px} px, found {resize_px}")
    options = LoaderOptions(
        image_px=image_px,
        resize_px=resize_px,
        decode=data.decode,
        window_samples=data.window_samples,
        num_threads=data.num_threads,
        prefetch_batches=data.prefetch_batches,
        cache_bytes=data.cache_mb << 20,
        allocate=memory_for(place.device),
    )
    return Loader(index, tokenize, state, options, place.ranks)


def run_facts(recipe: TrainRecipe, index: Index) -> dict[str, object]:
    """Return what a run is made from, as run.json says it."""
    return {"recipe": identity(recipe), "shards": {"index_hash": index.hash, "num_samples": len(index)}}
