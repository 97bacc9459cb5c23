"""Checkpoints: safetensors and JSON, each published atomically, in a folder that counts once its last file is there.

DIR/checkpoints/step-00001000/model.safetensors       names of the released CLIP checkpoints
                              optimiser.safetensors   NAME.exp_avg, NAME.exp_avg_sq, NAME.step
                              tokenizer.txt           merges of the vocabulary
                              state.json              written last: step, loader state, model, sizes of the files
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from trainer.data import LoaderState
from trainer.models.clip import Clip
from trainer.models.config import ClipConfig, TextConfig, VisionConfig
from trainer.tokenizer import ClipTokenizer, dump_merges, read_merges
from wit import manifest
from wit.errors import InputError
from wit.storage import exists, join, list_names, publish_bytes, read_bytes, remove, size

MODEL, OPTIMISER, TOKENIZER, STATE = "model.safetensors", "optimiser.safetensors", "tokenizer.txt", "state.json"
_FOLDER = re.compile(r"^step-(\d{8,})$")


@dataclass(frozen=True)
class TrainState:
    """Where training stands: steps taken, and where the loader goes on."""

    step: int
    loader: LoaderState


def checkpoints_folder(out: str) -> str:
    """Return the folder of a run's checkpoints."""
    return join(out, "checkpoints")


def _optimiser_tensors(model: Clip, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    return {
        f"{name}.{slot}": value
        for name, parameter in model.named_parameters()
        for slot, value in optimiser.state[parameter].items()
    }


def _load_optimiser(model: Clip, optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    for name, parameter in model.named_parameters():
        optimiser.state[parameter] = {
            slot: tensors[f"{name}.{slot}"].to(parameter.device) for slot in ("step", "exp_avg", "exp_avg_sq")
        }


def save(
    out: str,
    model: Clip,
    config: ClipConfig,
    optimiser: torch.optim.Optimizer,
    tokenizer: ClipTokenizer,
    state: TrainState,
) -> str:
    """Write a checkpoint under `out` and return its folder; it is complete when its state.json is there."""
    folder = join(checkpoints_folder(out), f"step-{state.step:08d}")
    parts = {
        MODEL: safetensors.torch.save({name: value.contiguous() for name, value in model.state_dict().items()}),
        OPTIMISER: safetensors.torch.save(_optimiser_tensors(model, optimiser)),
        TOKENIZER: dump_merges(tokenizer.merges),
    }
    for name, data in parts.items():
        publish_bytes(join(folder, name), data)
    facts = {
        "step": state.step,
        "loader": state.loader.to_json(),
        "model": asdict(config),
        "files": manifest.file_facts(folder, parts),
    }
    manifest.write(join(folder, STATE), facts)
    return folder


def is_complete(folder: str) -> bool:
    """Return whether a checkpoint's folder holds all its files, each as long as its state says."""
    if not exists(join(folder, STATE)):
        return False
    files = manifest.read(join(folder, STATE))["files"]
    return all(exists(join(folder, one["name"])) and size(join(folder, one["name"])) == one["bytes"] for one in files)


def newest(out: str) -> str | None:
    """Return the folder of the newest complete checkpoint of a run, or None."""
    complete = complete_folders(out)
    return complete[-1] if complete else None


def complete_folders(out: str) -> list[str]:
    """Return the complete checkpoints of a run, the oldest first."""
    folder = checkpoints_folder(out)
    names = sorted((name for name in list_names(folder) if _FOLDER.match(name)), key=lambda name: int(name[5:]))
    return [path for path in (join(folder, name) for name in names) if is_complete(path)]


def keep_newest(out: str, count: int) -> None:
    """Remove all but the newest `count` checkpoints; state.json goes first, so that no half-removed one counts."""
    for folder in complete_folders(out)[:-count]:
        remove(join(folder, STATE))
        remove(folder)


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
    facts = manifest.read(join(folder, STATE))
    return TrainState(facts["step"], LoaderState(**facts["loader"]))


def read_config(folder: str) -> ClipConfig:
    """Return the shapes of a checkpoint's model."""
    facts: dict[str, Any] = manifest.read(join(folder, STATE))["model"]
    return ClipConfig(facts["embed_dim"], VisionConfig(**facts["vision"]), TextConfig(**facts["text"]))


def _tensors(url: str) -> dict[str, Tensor]:
    try:
        tensors: dict[str, Tensor] = safetensors.torch.load(read_bytes(url))
        return tensors
    except SafetensorError as error:
        raise InputError(f"{url}: expected safetensors, found something else: {error}") from error


def load_tokenizer(folder: str) -> ClipTokenizer:
    """Return the tokenizer of a checkpoint."""
    return ClipTokenizer(read_merges(join(folder, TOKENIZER)))


def load_model(folder: str) -> tuple[Clip, ClipTokenizer]:
    """Return a checkpoint's model, on the CPU, and its tokenizer; raises InputError."""
    with torch.device("meta"):
        model = Clip(read_config(folder))
    model.load_state_dict(_tensors(join(folder, MODEL)), assign=True)
    return model, load_tokenizer(folder)


def restore(folder: str, model: Clip, optimiser: torch.optim.Optimizer) -> TrainState:
    """Load a checkpoint into a model and its optimiser, in place, and return where training stood."""
    model.load_state_dict(_tensors(join(folder, MODEL)))
    _load_optimiser(model, optimiser, _tensors(join(folder, OPTIMISER)))
    return read_state(folder)
