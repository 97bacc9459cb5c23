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
from torch import Tensor, nn

from trainer.loader.loader import LoaderState
from trainer.models.clip import Clip
from trainer.models.config import ClipConfig, TextConfig, VisionConfig
from trainer.tokenizer import ClipTokenizer, dump_merges, read_merges
from wit import manifest
from wit.errors import InputError
from wit.storage import exists, join, list_names, publish_bytes, read_bytes, remove, size

MODEL, OPTIMISER, TOKENIZER, STATE = "model.safetensors", "optimiser.safetensors", "tokenizer.txt", "state.json"
_MOMENTS = ("exp_avg", "exp_avg_sq")
_FOLDER = re.compile(r"^step-(\d{8,})$")


@dataclass(frozen=True)
class TrainState:
    """Where training stands: steps taken, and where the loader goes on."""

    step: int
    loader: LoaderState


def checkpoints_folder(out: str) -> str:
    """Return the folder of a run's checkpoints."""
    return join(out, "checkpoints")


def weights(model: nn.Module) -> bytes:
    """Return a model's weights as safetensors."""
    data: bytes = safetensors.torch.save({name: value.contiguous() for name, value in model.state_dict().items()})
    return data


def moments(model: nn.Module, optimiser: torch.optim.Optimizer) -> bytes:
    """Return what AdamW keeps of each parameter as safetensors: NAME.exp_avg, NAME.exp_avg_sq, NAME.step."""
    data: bytes = safetensors.torch.save(_optimiser_tensors(model, optimiser))
    return data


def _optimiser_tensors(model: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    return {
        f"{name}.{slot}": value
        for name, parameter in model.named_parameters()
        for slot, value in optimiser.state[parameter].items()
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
    parts = {
        MODEL: weights(model),
        OPTIMISER: moments(model, optimiser),
        TOKENIZER: dump_merges(tokenizer.merges),
    }
    return save_parts(out, parts, asdict(config), state)


def save_parts(out: str, parts: Mapping[str, bytes], shapes: Mapping[str, Any], state: TrainState) -> str:
    """Write the files of a checkpoint under `out`, its state.json last, and return its folder.

    `shapes` says of which model it is.
    """
    folder = join(checkpoints_folder(out), f"step-{state.step:08d}")
    for name, data in parts.items():
        publish_bytes(join(folder, name), data)
    facts = {
        "step": state.step,
        "loader": state.loader.to_json(),
        "model": dict(shapes),
        "files": manifest.file_facts(folder, parts),
    }
    manifest.write(join(folder, STATE), facts)
    return folder


def _read_facts(folder: str) -> dict[str, Any]:
    return manifest.read(join(folder, STATE), "step", "loader", "model", "files")


def is_complete(folder: str) -> bool:
    """Return whether a checkpoint's folder holds all its files, each as long as its state says."""
    if not exists(join(folder, STATE)):
        return False
    files = _read_facts(folder)["files"]
    return all(exists(join(folder, one["name"])) and size(join(folder, one["name"])) == one["bytes"] for one in files)


def newest(out: str) -> str | None:
    """Return the folder of the newest complete checkpoint of a run, or None."""
    complete = complete_folders(out)
    return complete[-1] if complete else None


def complete_folders(out: str) -> list[str]:
    """Return the complete checkpoints of a run, the oldest first."""
    return [folder for folder in _folders(out) if is_complete(folder)]


def _folders(out: str) -> list[str]:
    folder = checkpoints_folder(out)
    names = sorted((name for name in list_names(folder) if _FOLDER.match(name)), key=lambda name: int(name[5:]))
    return [join(folder, name) for name in names]


def keep_newest(out: str, count: int) -> None:
    """Remove all but the newest `count` checkpoints, and what a kill left of others, half written or half removed.

    state.json goes first, so that no half-removed one counts.
    """
    kept = complete_folders(out)[-count:]
    for folder in _folders(out):
        if folder not in kept:
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
    facts = _read_facts(folder)
    return TrainState(facts["step"], LoaderState(**facts["loader"]))


def read_config(folder: str) -> ClipConfig:
    """Return the shapes of a checkpoint's model; raises InputError."""
    facts = _read_facts(folder)["model"]
    try:
        return ClipConfig(facts["embed_dim"], VisionConfig(**facts["vision"]), TextConfig(**facts["text"]))
    except (LookupError, TypeError) as error:
        raise InputError(f"{join(folder, STATE)}: expected the shapes of a model, found others: {error}") from error


def _read_tensors(url: str, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Return the tensors of a file; raises InputError when it is none, or has others than `shapes` names."""
    try:
        tensors: dict[str, Tensor] = safetensors.torch.load(read_bytes(url))
    except SafetensorError as error:
        raise InputError(f"{url}: expected safetensors, found something else: {error}") from error
    found_shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    for name in sorted({*shapes, *found_shapes}):
        expected, found = shapes.get(name, "none"), found_shapes.get(name, "none")
        if expected != found:
            raise InputError(f"{url}: expected {name} of shape {expected}, found {found}; it is of another model")
    return tensors


def _read_weights(folder: str, model: nn.Module) -> dict[str, Tensor]:
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    return _read_tensors(join(folder, MODEL), shapes)


def _restore_optimiser(folder: str, model: nn.Module, optimiser: torch.optim.Optimizer) -> None:
    shapes: dict[str, tuple[int, ...]] = {}
    for name, parameter in model.named_parameters():
        shapes |= {f"{name}.step": ()} | {f"{name}.{slot}": tuple(parameter.shape) for slot in _MOMENTS}
    tensors = _read_tensors(join(folder, OPTIMISER), shapes)
    for name, parameter in model.named_parameters():
        optimiser.state[parameter] = {
            slot: tensors[f"{name}.{slot}"].to(parameter.device) for slot in ("step", *_MOMENTS)
        }


def load_tokenizer(folder: str) -> ClipTokenizer:
    """Return the tokenizer of a checkpoint."""
    return ClipTokenizer(read_merges(join(folder, TOKENIZER)))


def load_model(folder: str) -> tuple[Clip, ClipTokenizer]:
    """Return a checkpoint's model, on the CPU, and its tokenizer; raises InputError."""
    config, tokenizer = read_config(folder), load_tokenizer(folder)
    if tokenizer.vocabulary_size != config.text.vocabulary_size:
        raise InputError(
            f"{join(folder, TOKENIZER)}: expected a vocabulary of {config.text.vocabulary_size} ids, "
            f"found {tokenizer.vocabulary_size}; it is of another model"
        )
    with torch.device("meta"):
        model = Clip(config)
    model.load_state_dict(_read_weights(folder, model), assign=True)
    return model, tokenizer


def restore(folder: str, model: nn.Module, optimiser: torch.optim.Optimizer) -> TrainState:
    """Load a checkpoint into a model and its optimiser, in place, and return where training stood.

    Raises InputError when the checkpoint is of another model.
    """
    model.load_state_dict(_read_weights(folder, model))
    _restore_optimiser(folder, model, optimiser)
    return read_state(folder)
