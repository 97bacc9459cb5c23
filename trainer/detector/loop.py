"""The loop: steps, the log, checkpoints on the way, and the detector's file at the end."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass

import torch

from trainer.checkpoint import TrainState
from trainer.detector.data import PairBatch
from trainer.detector.export import FACTS, ONNX, write_detector
from trainer.detector.measuring import Measured, measure, whiten_on
from trainer.detector.pictures import find_pictures
from trainer.detector.recipe import TEMPERATURE, DetectorRecipe
from trainer.detector.session import DetectorSession, begin, open_session, run_facts
from trainer.detector.step import PairNumbers, pair_step
from trainer.folder import claim_folder, require_finite
from trainer.log import Log
from trainer.loop import show_steps, stop_signals
from trainer.optim import learning_rate, set_learning_rate
from wit import manifest
from wit.errors import InputError
from wit.locking import locked
from wit.storage import exists, join


@dataclass(frozen=True)
class DetectorResult:
    """How a call of `train_detector` ended."""

    step: int
    num_steps: int
    num_replaced: int
    """Pictures that this call had to replace."""
    detector: str | None
    """The detector's file; None before the last step."""
    measured: Measured | None
    """None before the last step, or where no pictures were held out."""
    stopped_by: int | None
    """The signal that stopped it, or None."""


def train_detector(recipe: DetectorRecipe, images: Sequence[str], out: str, device: str) -> DetectorResult:
    """Train a detector on pictures of folders or shards, or go on from the newest checkpoint under `out`.

    The same recipe and pictures give the same weights, killed and resumed or not, on the same CPU with the same number
    of threads. Raises InputError for pictures that cannot be read, MismatchError when `out` holds something else,
    OutputError when another process trains there, StageError when the loss is no longer a number.
    """
    import onnx  # noqa: F401 - needed at the end: what is not installed is said now

    pictures = find_pictures(images)
    session = open_session(recipe, pictures, out, torch.device(device))
    with locked(out, "wit overlap train-detector"):  # not before: a folder that is not ours stays as it is
        claim_folder(out, recipe, run_facts(recipe, pictures))
        with closing(Log(join(out, "log.jsonl"), session.state.step)) as log, stop_signals() as stopped_by:
            num_replaced = _run(session, log, stopped_by)
            session.save()
        is_done = session.state.step == session.num_steps
        measured = _finish(session) if is_done else None
    detector = join(out, ONNX) if is_done else None
    return DetectorResult(session.state.step, session.num_steps, num_replaced, detector, measured, stopped_by())


def _run(session: DetectorSession, log: Log, stopped_by: Callable[[], int | None]) -> int:
    """Step until the recipe is done or a signal asks to stop; return how many pictures were replaced."""
    run = session.recipe.run
    num_replaced, window, started = 0, 0, time.perf_counter()
    if session.state.step == 0:
        begin(session)
    with show_steps(session.num_steps - session.state.step) as advance, closing(iter(session.loader)) as batches:
        while session.state.step < session.num_steps and stopped_by() is None:
            batch = next(batches)
            rate = learning_rate(session.state.step, session.num_steps, session.recipe.optimiser)
            numbers = _step(session, batch, rate)
            step, window = session.state.step, window + len(batch.pictures)
            for one in batch.replaced:
                log.write(step, event="replaced", key=one.key, reason=one.reason, by=one.by)
            num_replaced += len(batch.replaced)
            if step % run.log_every_steps == 0 or step == session.num_steps:
                pairs_per_s = window / (time.perf_counter() - started)
                log.write(step, **_report(session, numbers, rate, pairs_per_s))
                window, started = 0, time.perf_counter()
            if step % run.save_every_steps == 0:
                session.save()
            advance(1)
    return num_replaced


def _step(session: DetectorSession, batch: PairBatch, rate: float) -> PairNumbers:
    set_learning_rate(session.optimiser, rate)
    recipe = session.recipe
    images = tuple(torch.from_numpy(each).to(session.device) for each in (batch.pictures, batch.copies))
    numbers = pair_step(
        session.model,
        session.optimiser,
        (images[0], images[1]),
        recipe.run.precision,
        recipe.optimiser.max_gradient_norm,
        recipe.data.micro_batch_size,
    )
    step = session.state.step + 1
    is_saved = step % recipe.run.save_every_steps == 0 or step == session.num_steps
    if is_saved:  # only then: to read the loss is to wait for the device
        require_finite(session.out, step, float(numbers.loss))
    session.state = TrainState(step, batch.state)
    return numbers


def _report(session: DetectorSession, numbers: PairNumbers, rate: float, pairs_per_s: float) -> dict[str, object]:
    """Return the numbers of a step for the log, and say them."""
    loss, accuracy, state = float(numbers.loss), float(numbers.accuracy), session.state
    print(
        f"step {state.step}/{session.num_steps}  loss {loss:.3f}  in-batch accuracy {accuracy:.1%}  "
        f"{pairs_per_s:,.1f} pairs/s",
        file=sys.stderr,
        flush=True,
    )
    return {
        "event": "metrics",
        "epoch": state.loader.epoch,
        "loss": loss,
        "accuracy": accuracy,
        "learning_rate": rate,
        "gradient_norm": float(numbers.gradient_norm),
        "pairs_per_s": round(pairs_per_s, 1),
    }


def _finish(session: DetectorSession) -> Measured | None:
    """Measure the trained detector and write its files, unless they are there; return what it is worth."""
    facts = join(session.out, FACTS)
    if not exists(facts):
        whiten_on(session.model, session.pictures, session.loader.places, session.recipe)
        measured = measure(session.model, session.pictures, session.held_out, session.recipe)
        made = {
            **run_facts(session.recipe, session.pictures),
            "step": session.state.step,
            "temperature": TEMPERATURE,
        }
        write_detector(session.out, session.model, measured, made)
    found = manifest.read(facts, "held_out")["held_out"]
    try:
        return Measured(**found) if found else None
    except TypeError as error:
        raise InputError(
            f"{facts}: expected what training wrote, found something else; remove it to have it again"
        ) from error
