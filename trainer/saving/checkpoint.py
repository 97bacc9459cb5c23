"""Checkpoints: safetensors and JSON, each published atomically, in a folder that counts once its last file is there.

DIR/checkpoints/step-00001000/model.safetensors       names of the released CLIP checkpoints
                              optimiser.safetensors   NAME.exp_avg, NAME.exp_avg_sq, NAME.step
                              ema.safetensors         the moving average of the weights, where one is kept
                              tokenizer.txt           merges of the vocabulary
                              state.json              written last: step, loader, guard, ..., sizes of the files

The tensors are whole, however many ranks trained: any other number of them goes on from here.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from types import TracebackType
from typing import Any, Self, TypeVar, get_type_hints

from torch import Tensor

from trainer.loader.order import LoaderState
from trainer.models.config import ClipConfig, config_from_json
from trainer.recipe import Run
from trainer.saving.tensorfile import write_tensors
from trainer.stepping.gradients import ScalerState
from trainer.stepping.guard import GuardState
from trainer.tokenizer import ClipTokenizer, read_merges
from wit import manifest
from wit.errors import InputError
from wit.storage import base_name, exists, join, list_names, publish, publish_bytes, read_bytes, remove, size

MODEL, OPTIMISER, EMA = "model.safetensors", "optimiser.safetensors", "ema.safetensors"
TOKENIZER, STATE = "tokenizer.txt", "state.json"
_FOLDER = re.compile(r"^step-(\d{8,})$")

PartT = TypeVar("PartT")


@dataclass(frozen=True)
class TrainState:
    """Where training stands: steps taken, where the loader goes on, and what else the next step depends on."""

    step: int
    loader: LoaderState
    guard: GuardState = field(default_factory=GuardState)
    scaler: ScalerState = field(default_factory=ScalerState)
    samples: int = 0
    """A sum over all samples trained on and their places (meter.py): equal for runs that saw the same in one order."""


@dataclass(frozen=True)
class Snapshot:
    """All that a checkpoint holds, in memory of its own: training may go on while it is written."""

    state: TrainState
    shapes: Mapping[str, Any]
    """Of which model it is."""
    tensors: Mapping[str, Mapping[str, Tensor]]
    """By file name."""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Other files, by name."""


def checkpoints_folder(out: str) -> str:
    """Return the folder of a run's checkpoints."""
    return join(out, "checkpoints")


def write(out: str, snapshot: Snapshot) -> str:
    """Write a checkpoint under `out` and return its folder; it is complete when its state.json is there."""
    state = snapshot.state
    folder = join(checkpoints_folder(out), f"step-{state.step:08d}")
    for name, tensors in snapshot.tensors.items():
        with publish(join(folder, name)) as file:
            write_tensors(file, tensors)
    for name, data in snapshot.files.items():
        publish_bytes(join(folder, name), data)
    facts = {
        "step": state.step,
        "loader": state.loader.to_json(),
        "guard": asdict(state.guard),
        "scaler": asdict(state.scaler),
        "samples": f"{state.samples:016x}",
        "model": dict(snapshot.shapes),
        "files": manifest.file_facts(folder, [*snapshot.tensors, *snapshot.files]),
    }
    manifest.write(join(folder, STATE), facts)
    return folder


class Saver:
    """Writes snapshots beside the training, one at a time, and removes the checkpoints that are not to be kept.

    As a context it ends when all is written. What goes wrong there is raised (OutputError) by the next call.
    """

    def __init__(self, out: str, run: Run) -> None:
        self._out, self._run = out, run
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="wit-saver")
        self._writing: Future[None] | None = None

    def submit(self, snapshot: Snapshot) -> None:
        """Begin to write a snapshot, after the one before."""
        self.wait()
        self._writing = self._pool.submit(self._write, snapshot)

    def check(self) -> None:
        """Raise what went wrong so far."""
        if self._writing is not None and self._writing.done():
            self.wait()

    def wait(self) -> None:
        """Return when nothing is left to be written."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def _write(self, snapshot: Snapshot) -> None:
        write(self._out, snapshot)
        prune(self._out, self._run.keep_checkpoints, self._run.keep_every_steps)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._pool.shutdown()
        if error is None:  # else what stopped the training is said, not what it brought about
            self.wait()


def _read_facts(folder: str) -> dict[str, Any]:
    return manifest.read(join(folder, STATE), "step", "loader", "guard", "scaler", "samples", "model", "files")


def is_complete(folder: str) -> bool:
    """Return whether a checkpoint's folder holds all its files, each as long as its state says.

    Raises InputError when they cannot be read.
    """
    url = join(folder, STATE)
    if not exists(url):
        return False
    try:
        files = [(join(folder, str(one["name"])), one["bytes"]) for one in json.loads(read_bytes(url))["files"]]
    except (ValueError, TypeError, LookupError):  # cut off, or not ours
        return False
    return all(exists(name) and size(name) == num_bytes for name, num_bytes in files)


def newest(out: str) -> str | None:
    """Return the folder of the newest complete checkpoint of a run, or None."""
    complete = complete_folders(out)
    return complete[-1] if complete else None


def newest_step(out: str) -> int:
    """Return the step of the newest complete checkpoint of a run, or -1."""
    found = newest(out)
    return -1 if found is None else step_of(found)


def complete_folders(out: str) -> list[str]:
    """Return the complete checkpoints of a run, the oldest first."""
    return [folder for folder in _folders(out) if is_complete(folder)]


def _folders(out: str) -> list[str]:
    folder = checkpoints_folder(out)
    return sorted((join(folder, name) for name in list_names(folder) if _FOLDER.match(name)), key=step_of)


def prune(out: str, newest: int, every_steps: int = 0) -> None:
    """Remove all checkpoints but the `newest` ones and those of multiples of `every_steps` (0: none).

    What a kill left of others, half written or half removed, goes too. state.json goes first, so that no half-removed
    one counts.
    """
    complete = complete_folders(out)
    kept = complete[-newest:] + [one for one in complete if every_steps and step_of(one) % every_steps == 0]
    for folder in _folders(out):
        if folder not in kept:
            remove(join(folder, STATE))
            remove(folder)


def step_of(folder: str) -> int:
    """Return the step of a checkpoint's folder, by its name."""
    return int(base_name(folder)[5:])


def is_ours(path: str) -> bool:
    """Return whether a path names a checkpoint of this trainer, or a run with one."""
    return is_complete(path) or newest(path) is not None


def find(path: str) -> str:
    """Return the checkpoint that a path names: the folder itself, or the newest of a run; raises InputError."""
    if is_complete(path):
        return path
    found = newest(path)
    if found is None:
        raise InputError(f"{path}: expected a checkpoint or a training run with one, found neither")
    return found


def read_state(folder: str) -> TrainState:
    """Return where training stood at a checkpoint."""
    facts = _read_facts(folder)
    try:
        if not _fits(facts["step"], int):
            raise ValueError(f"step is {facts['step']!r}")
        return TrainState(
            facts["step"],
            _part(LoaderState, facts["loader"]),
            _part(GuardState, facts["guard"]),
            _part(ScalerState, facts["scaler"]),
            int(facts["samples"], 16),
        )
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{join(folder, STATE)}: expected where training stood, found something else: {error}"
        ) from error


def _part(cls: type[PartT], facts: Mapping[str, Any]) -> PartT:
    """Return a part of a state; raises TypeError or ValueError when a value is of another kind."""
    for name, kind in get_type_hints(cls).items():
        if name in facts and not _fits(facts[name], kind):
            raise ValueError(f"{name} is {facts[name]!r}")
    return cls(**facts)


def _fits(value: object, kind: type) -> bool:
    if kind is float:
        return isinstance(value, int | float) and math.isfinite(value)
    return type(value) is kind and (kind is str or value >= 0)  # type: ignore[operator]


def read_config(folder: str) -> ClipConfig:
    """Return the shapes of a checkpoint's model; raises InputError."""
    facts = _read_facts(folder)["model"]
    try:
        return config_from_json(facts)
    except (LookupError, TypeError) as error:
        raise InputError(f"{join(folder, STATE)}: expected the shapes of a model, found others: {error}") from error


def load_tokenizer(folder: str) -> ClipTokenizer:
    """Return the tokenizer of a checkpoint."""
    return ClipTokenizer(read_merges(join(folder, TOKENIZER)))
