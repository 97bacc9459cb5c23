"""The log of a run: one JSON object a line, cut back to the checkpoint when a run goes on from it; and its copies.

The numbers go to TensorBoard (OUT/tensorboard) and Weights & Biases too where the recipe asks for it. Neither shows a
step twice: TensorBoard is told from which step on earlier events no longer count, W&B keeps the first of each step.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any, Protocol

from trainer.recipe import Run
from wit.errors import UserError
from wit.storage import exists, join, local_path, output_error, publish_bytes, publish_text, read_bytes

WANDB = "wandb.txt"
"""File of a run that holds its name at Weights & Biases."""


class Sink(Protocol):
    """Where numbers go besides the log."""

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        """Take the numbers of a step, by name."""

    def close(self) -> None:
        """Hand on what is left."""


class Log:
    """Appends to OUT/log.jsonl; each line has the step it belongs to. Without a path nothing is written."""

    def __init__(self, path: str | None, step: int, sinks: tuple[Sink, ...] = ()) -> None:
        """Open a log for a run that stands at `step`: what an interrupted run wrote beyond it is dropped."""
        self._path, self._sinks = path, sinks
        self._events: set[tuple[float, str]] = set()
        self._file = None
        if path is None:
            return
        if exists(path):
            lines = [line for line in read_bytes(path).splitlines(keepends=True) if _step_of(line) <= step]
            publish_bytes(path, b"".join(lines))
            self._events = {(_step_of(line), str(json.loads(line).get("event"))) for line in lines}
        try:
            self._file = open(local_path(path), "ab", buffering=0)  # noqa: SIM115
        except OSError as error:
            raise output_error(path, error) from error

    def has(self, step: int, event: str) -> bool:
        """Return whether there is a line of an event of a step."""
        return (step, event) in self._events

    def write(self, step: int, event: str, **facts: Any) -> None:
        """Append one line, and hand it to the operating system at once; raises OutputError."""
        self._events.add((step, event))
        if self._file is None or self._path is None:
            return
        facts = {name: _finite(value) for name, value in facts.items()}
        line = (json.dumps({"step": step, "event": event, **facts}, ensure_ascii=False) + "\n").encode()
        try:
            while line:  # a disk that fills up takes the beginning of a line; it says why when asked to take the rest
                line = line[self._file.write(line) :]
        except OSError as error:
            raise output_error(self._path, error) from error
        numbers = {f"{event}/{name}": float(value) for name, value in facts.items() if isinstance(value, int | float)}
        for sink in self._sinks if numbers else ():
            sink.write(step, numbers)

    def close(self) -> None:
        """Close the file and the copies."""
        if self._file is not None:
            self._file.close()
        for sink in self._sinks:
            sink.close()


def open_log(out: str, run: Run, step: int, facts: Mapping[str, object]) -> Log:
    """Return the log of a run under `out` that stands at `step`, and is made from `facts`, with the copies it wants.

    Raises UserError when the package that one of them needs is not there.
    """
    sinks: list[Sink] = []
    if run.tensorboard:
        sinks.append(TensorBoard(join(out, "tensorboard"), step))
    if run.wandb_project:
        sinks.append(WeightsAndBiases(run.wandb_project, out, facts))
    return Log(join(out, "log.jsonl"), step, tuple(sinks))


def require_sinks(run: Run) -> None:
    """Raise UserError when a package that the copies of the log need is not there."""
    if run.tensorboard:
        _import("tensorboard", "run.tensorboard", "pip install 'wit[train]'")
    if run.wandb_project:
        _import("wandb", "run.wandb_project", "pip install wandb")


def _import(name: str, key: str, remedy: str) -> ModuleType:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(f"{key}: expected the package {name}, found none; {remedy}, or leave {key} out") from error


class TensorBoard:
    """Event files in a folder."""

    def __init__(self, folder: str, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._folder = folder
        with self._writing():
            # events of an interrupted run beyond its checkpoint come again: TensorBoard drops those of before
            self._writer = SummaryWriter(local_path(folder), purge_step=step + 1)

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        """Take the numbers of a step, by name; raises OutputError."""
        with self._writing():
            for name, value in numbers.items():
                self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Write what is left; raises OutputError."""
        with self._writing():
            self._writer.close()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise output_error(self._folder, error) from error


class WeightsAndBiases:
    """A run of a project there: the same one when training goes on. WANDB_MODE=offline keeps it on the disk."""

    def __init__(self, project: str, out: str, facts: Mapping[str, object]) -> None:
        wandb = _import("wandb", "run.wandb_project", "pip install wandb")
        name = join(out, WANDB)
        if not exists(name):
            made_from = json.dumps([os.path.abspath(local_path(out)), facts], sort_keys=True, default=str)
            publish_text(name, hashlib.sha256(made_from.encode()).hexdigest()[:16] + "\n")
        key = read_bytes(name).decode().strip()
        try:
            self._run = wandb.init(project=project, id=key, dir=local_path(out), config=dict(facts), resume="allow")
        except wandb.Error as error:  # no login, no such project, no answer
            raise UserError(
                f"run.wandb_project {project!r}: expected a run at Weights & Biases, found none to be had: "
                f"{' '.join(str(error).split())}; or set WANDB_MODE=offline"
            ) from error
        self._last = int(self._run.step)  # of the run as it is known there

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        """Take the numbers of a step, by name; one that was sent before is not sent again."""
        if step >= self._last:
            self._run.log(dict(numbers), step=step)

    def close(self) -> None:
        """Send what is left."""
        self._run.finish()


def _finite(value: object) -> object:
    """Return a value for JSON, which has no word for what is not a number."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _step_of(line: bytes) -> float:
    """Return the step of a line; a line cut off by a kill, or not of this log, belongs to no checkpoint."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, TypeError, LookupError):
        return float("inf")
