"""The loop of every training: steps, the log, checkpoints on the way, and an orderly end when a signal asks for one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from trainer.loader.loader import Replaced
from trainer.loader.order import LoaderState
from trainer.parallel.agreement import from_first, gathered
from trainer.parallel.ranks import Ranks
from trainer.recipe import Run
from trainer.running.folder import claim_folder
from trainer.running.log import Log, open_log
from trainer.running.meter import Meter, Window
from trainer.running.profiler import profiled
from trainer.running.signals import stop_signals
from trainer.saving import checkpoint
from trainer.saving.checkpoint import Saver, Snapshot, TrainState
from trainer.stepping.guard import Guard, GuardState
from wit.errors import OutputError
from wit.locking import locked
from wit.progress import progress


class Numbers(Protocol):
    """What a step yields, on the device until it is read; of all ranks together."""

    @property
    def loss(self) -> Tensor:
        """Mean over the batch."""

    @property
    def accuracy(self) -> Tensor:
        """Share of the batch's rows that were answered rightly."""

    @property
    def gradient_norm(self) -> Tensor:
        """Before it was bounded."""

    @property
    def skipped(self) -> Tensor:
        """Whether the update was left out, as the limit on the loss asked for."""


class Rows(Protocol):
    """A rank's rows of a batch."""

    @property
    def replaced(self) -> tuple[Replaced, ...]:
        """Samples that could not be used."""

    @property
    def state(self) -> LoaderState:
        """Where the loader goes on after this batch."""


BatchT = TypeVar("BatchT", bound=Rows)


class Session(Protocol[BatchT]):
    """What is trained, in memory: made anew, or as a checkpoint had it.

    The methods are called by every rank at the same steps.
    """

    command: str
    """The command that trains it, for messages."""
    unit: str
    """What a batch is counted in."""
    out: str
    recipe: Any
    """Of any kind that has the section [run] of `wit train`."""
    device: torch.device
    ranks: Ranks
    state: TrainState
    """Where training stands; the loop moves it on."""
    saved_step: int
    """Step of the newest checkpoint under `out`, as it was before anything was read from there; -1: none."""

    @property
    def num_steps(self) -> int:
        """Steps of the whole run."""

    @property
    def facts(self) -> Mapping[str, object]:
        """What the run is made from, as run.json says it."""

    def batches(self) -> Generator[BatchT]:
        """Yield this rank's rows of batch after batch, from `state` on."""

    def step(self, batch: BatchT, limit: Tensor) -> Numbers:
        """Take the step after `state`; an update whose loss is above `limit`, or no number, is left out."""

    def report(self, numbers: Any, window: Window) -> dict[str, object]:
        """Return what else the log says of a step and the window that ends with it, by name."""

    def snapshot(self, guard: GuardState) -> Snapshot | None:
        """Return a copy of all that a checkpoint holds; None on every rank but the first."""

    def evaluate(self, log: Log) -> None:
        """Measure what has been learned, where it is time for that at this step and the log has no word of it."""


@dataclass(frozen=True)
class Ended:
    """How a call of `run` ended."""

    step: int
    num_steps: int
    num_replaced: int
    """Samples that this call had to replace."""
    checkpoint: str
    stopped_by: int | None
    """The signal that stopped it, or None."""

    @property
    def is_done(self) -> bool:
        """Whether the last step was taken."""
        return self.step == self.num_steps


def run(session: Session[Any]) -> Ended:
    """Train until the recipe is done or a signal asks one of the ranks to stop; the last step is saved.

    Raises OutputError when another process trains in the folder or it cannot be written, StageError when too many
    losses in a row are no numbers or leap.
    """
    with _held(session), closing(_open_log(session)) as log, stop_signals(session.ranks) as stopped_by:
        with Saver(session.out, session.recipe.run) as saver:
            loop = _Loop(session, log, saver)
            stopped = loop.run(stopped_by)
        session.evaluate(log)
        folder = from_first(session.ranks, lambda: checkpoint.find(session.out))
    return Ended(session.state.step, session.num_steps, loop.num_replaced, folder, stopped)


@contextmanager
def _held(session: Session[Any]) -> Iterator[None]:
    """Hold the folder; not before this: a folder that is not ours stays as it is."""
    with ExitStack() as stack:

        def claim() -> None:
            stack.enter_context(locked(session.out, session.command))
            if checkpoint.newest_step(session.out) != session.saved_step:  # before it was locked
                raise OutputError(
                    f"{session.out}: expected that nobody else trains in this folder, found a checkpoint that another "
                    f"{session.command} has just written; run the same command again"
                )
            claim_folder(session.out, session.recipe, session.facts)

        from_first(session.ranks, claim)
        yield


def _open_log(session: Session[Any]) -> Log:
    step = session.state.step
    return open_log(session.out, session.recipe.run, step, session.facts) if session.ranks.is_first else Log(None, step)


class _Loop:
    """A call of `run` under way."""

    def __init__(self, session: Session[Any], log: Log, saver: Saver) -> None:
        self.session, self.log, self.saver = session, log, saver
        self.run_options: Run = session.recipe.run
        self.guard = Guard(self.run_options, session.state.guard, session.device)
        self.meter = Meter(session.ranks, session.device)
        self.num_replaced = 0
        self._replaced: list[tuple[int, Replaced]] = []

    def run(self, stopped_by: Callable[[], int | None]) -> int | None:
        """Step until the recipe is done or a signal asks to stop; return the signal."""
        session, stopped = self.session, None
        if session.state.step < session.num_steps:
            with self.meter.paused():
                session.evaluate(self.log)  # what a kill left undone
        with (
            show_steps(session) as advance,
            closing(session.batches()) as batches,
            profiled(session.out, self._profile_steps()) as traced,
        ):
            while session.state.step < session.num_steps and (stopped := stopped_by()) is None:
                self._step(self.meter.wait_for(batches))
                self._after()
                traced()
                advance(1)
        self._save()
        return stopped

    def _profile_steps(self) -> int:
        return self.run_options.profile_steps if self.session.ranks.is_first else 0

    def _step(self, batch: Rows) -> None:
        session = self.session
        self.numbers = session.step(batch, self.guard.limit())
        self.guard.update(self.numbers.loss, self.numbers.skipped)
        session.state = replace(session.state, step=session.state.step + 1, loader=batch.state)
        self._replaced += [(session.state.step, one) for one in batch.replaced]

    def _after(self) -> None:
        """Do what is due after a step; only here the device is waited for."""
        step, run = self.session.state.step, self.run_options
        is_last = step == self.session.num_steps
        if step % run.log_every_steps == 0 or is_last:
            self._report()
        if step % run.save_every_steps == 0:
            self._save()
        self.saver.check()
        if not is_last:  # then it is saved first
            with self.meter.paused():
                self.session.evaluate(self.log)

    def _report(self) -> None:
        """Write the numbers of the step to the log, and say some of them."""
        session, numbers = self.session, self.numbers
        guard = self.guard.check(session.out, session.state.step)
        self._write_replaced()
        window = self.meter.report()
        facts = {
            "epoch": session.state.loader.epoch,
            "loss": float(numbers.loss),
            "accuracy": float(numbers.accuracy),
            "gradient_norm": float(numbers.gradient_norm),
            "skipped": int(guard.num_skipped),
            f"{session.unit}_per_s": round(window.num_steps * session.state.loader.batch_size / window.seconds, 1),
            "data_wait_share": round(window.wait_share, 4),
            "peak_memory_mb": round(window.peak_bytes / 2**20, 1),
            **session.report(numbers, window),
        }
        self.log.write(session.state.step, "metrics", **facts)
        if session.ranks.is_first:
            print(
                f"step {session.state.step}/{session.num_steps}  loss {facts['loss']:.3f}  "
                f"in-batch accuracy {facts['accuracy']:.1%}  {facts[f'{session.unit}_per_s']:,.1f} {session.unit}/s  "
                f"waiting {facts['data_wait_share']:.0%}",
                file=sys.stderr,
                flush=True,
            )

    def _write_replaced(self) -> None:
        """Write which samples of all ranks were replaced since the last time."""
        for step, one in sorted(chain(*gathered(self.session.ranks, self._replaced)), key=lambda each: each[0]):
            self.log.write(step, "replaced", key=one.key, reason=one.reason, by=one.by)
            self.num_replaced += 1
        self._replaced = []

    def _save(self) -> None:
        """Begin to write a checkpoint of the present step, unless there is one."""
        session = self.session
        if session.saved_step == session.state.step:
            return
        guard = self.guard.check(session.out, session.state.step)
        self._write_replaced()
        snapshot = session.snapshot(guard)
        if snapshot is not None:
            self.saver.submit(snapshot)
        session.saved_step = session.state.step


def show_steps(session: Session[Any]) -> AbstractContextManager[Callable[[int], None]]:
    """Return a progress bar on a terminal; elsewhere the lines of the log say enough."""
    if not (session.ranks.is_first and sys.stderr.isatty()):
        return nullcontext(lambda _: None)
    return progress("train", session.num_steps - session.state.step, "steps")
