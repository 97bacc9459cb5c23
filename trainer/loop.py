"""The loop: steps, the log, checkpoints on the way, and an orderly end when a signal asks for one."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass
from types import FrameType

import torch

from trainer import checkpoint
from trainer.checkpoint import TrainState
from trainer.folder import claim_folder, require_finite
from trainer.loader.index import read_index
from trainer.loader.loader import Batch
from trainer.log import Log
from trainer.optim import learning_rate, set_learning_rate
from trainer.recipe import TrainRecipe
from trainer.session import Session, open_session, run_facts
from trainer.step import StepNumbers, train_step, trim_tokens
from wit.locking import locked
from wit.progress import progress
from wit.storage import join


@dataclass(frozen=True)
class TrainResult:
    """How a call of `train` ended."""

    step: int
    num_steps: int
    num_replaced: int
    """Samples that this call had to replace."""
    checkpoint: str
    stopped_by: int | None
    """The signal that stopped it, or None."""


def train(recipe: TrainRecipe, shards: str, out: str, device: str) -> TrainResult:
    """Train as a recipe says on the shards of a pattern, or go on from the newest checkpoint under `out`.

    Raises InputError for shards that cannot be read, MismatchError when `out` holds something else, OutputError when
    another process trains there, StageError when the loss is no longer a number.
    """
    index = read_index(shards)
    session = open_session(recipe, index, out, torch.device(device))
    with locked(out, "wit train"):  # not before: a folder that is not ours stays as it is
        claim_folder(out, recipe, run_facts(recipe, index))
        with closing(Log(join(out, "log.jsonl"), session.state.step)) as log, stop_signals() as stopped_by:
            num_replaced = _run(session, log, stopped_by)
            session.save()
    return TrainResult(session.state.step, session.num_steps, num_replaced, checkpoint.find(out), stopped_by())


def _run(session: Session, log: Log, stopped_by: Callable[[], int | None]) -> int:
    """Step until the recipe is done or a signal asks to stop; return how many samples were replaced."""
    run = session.recipe.run
    num_replaced = 0
    meter = _Meter(session.num_steps)
    with show_steps(session.num_steps - session.state.step) as advance, closing(iter(session.loader)) as batches:
        while session.state.step < session.num_steps and stopped_by() is None:
            batch = meter.wait_for(batches)
            rate = learning_rate(session.state.step, session.num_steps, session.recipe.optimiser)
            numbers = _step(session, batch, rate)
            step = session.state.step
            num_replaced += _log_replaced(log, step, batch)
            if step % run.log_every_steps == 0 or step == session.num_steps:
                log.write(step, **meter.report(session.state, numbers, rate))
            if step % run.save_every_steps == 0:
                session.save()
            advance(1)
    return num_replaced


def _step(session: Session, batch: Batch, rate: float) -> StepNumbers:
    set_learning_rate(session.optimiser, rate)
    numbers = train_step(
        session.model,
        session.optimiser,
        torch.from_numpy(batch.images).to(session.device),
        torch.from_numpy(trim_tokens(batch.tokens)).to(session.device),
        session.recipe.run.precision,
        session.recipe.optimiser.max_gradient_norm,
    )
    step = session.state.step + 1
    is_saved = step % session.recipe.run.save_every_steps == 0 or step == session.num_steps
    if is_saved:  # only then: to read the loss is to wait for the device
        require_finite(session.out, step, float(numbers.loss))
    session.state = TrainState(step, batch.state)
    return numbers


def _log_replaced(log: Log, step: int, batch: Batch) -> int:
    for one in batch.replaced:
        log.write(step, event="replaced", key=one.key, reason=one.reason, by=one.by)
    return len(batch.replaced)


class _Meter:
    """Measures a window of steps, between two lines of the log."""

    def __init__(self, num_steps: int) -> None:
        self.num_steps = num_steps
        self._begin()

    def _begin(self) -> None:
        self.started, self.wait_s, self.num_images = time.perf_counter(), 0.0, 0

    def wait_for(self, batches: Iterator[Batch]) -> Batch:
        """Return the next batch, and note the time that passed until it came."""
        asked = time.perf_counter()
        batch = next(batches)
        self.wait_s += time.perf_counter() - asked
        self.num_images += len(batch.keys)
        return batch

    def report(self, state: TrainState, numbers: StepNumbers, rate: float) -> dict[str, object]:
        """Return the window's numbers for the log, say them, and begin the next window."""
        loss, accuracy = float(numbers.loss), float(numbers.accuracy)
        seconds = time.perf_counter() - self.started
        images_per_s, wait_share = self.num_images / seconds, self.wait_s / seconds
        print(
            f"step {state.step}/{self.num_steps}  loss {loss:.3f}  in-batch accuracy {accuracy:.1%}  "
            f"{images_per_s:,.0f} images/s  waiting {wait_share:.0%}",
            file=sys.stderr,
            flush=True,
        )
        self._begin()
        return {
            "event": "metrics",
            "epoch": state.loader.epoch,
            "loss": loss,
            "accuracy": accuracy,
            "learning_rate": rate,
            "scale": float(numbers.scale),
            "gradient_norm": float(numbers.gradient_norm),
            "images_per_s": round(images_per_s, 1),
            "data_wait_share": round(wait_share, 4),
        }


def show_steps(num_steps: int) -> AbstractContextManager[Callable[[int], None]]:
    """Return a progress bar on a terminal; elsewhere the lines of the log say enough."""
    return progress("train", num_steps, "steps") if sys.stderr.isatty() else nullcontext(lambda _: None)


@contextmanager
def stop_signals() -> Iterator[Callable[[], int | None]]:
    """Note SIGTERM and SIGINT instead of dying of them, so that the loop can save first.

    A second Ctrl-C acts as ever. A second SIGTERM does not: job managers send it to a process and to its group.
    """
    received: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        received.append(number)
        if number == signal.SIGINT:
            signal.signal(number, before[signal.SIGINT])

    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield lambda: received[0] if received else None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
