"""Weights in, whoever wrote them: this trainer's checkpoints, safetensors, `.pt` files, OpenAI's archives.

What is read is tensors only: pickles through torch's weights-only loader or an unpickler of our own (archive.py).
"""

from __future__ import annotations

import json
import pickle
import re
import struct
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import IO, Any

import torch
from torch import Tensor

from trainer.interchange.archive import BROKEN, is_archive, read_archive, require_plain
from trainer.interchange.hints import read_hints
from trainer.interchange.layouts import in_single, is_transformers, to_released
from trainer.interchange.shapes import check_tensors, find_config
from trainer.models.build import AnyModel, empty_model
from trainer.models.config import ACTIVATIONS, ClipConfig, config_from_json
from trainer.saving import checkpoint
from trainer.saving.tensorfile import read_tensors
from wit.errors import InputError
from wit.storage import exists, is_folder, join, reading

CONFIG_KEY = "wit.config"
"""Under which a safetensors file of ours says its shapes, as JSON."""
_FOLDER_FILES = (
    "open_clip_model.safetensors", "model.safetensors", "open_clip_pytorch_model.bin", "pytorch_model.bin",
)  # fmt: skip
"""What a downloaded folder may hold, the first of them counts."""
_MAX_HEADER_BYTES = 100_000_000  # of safetensors, its own limit


@dataclass(frozen=True)
class Weights:
    """A model's tensors by the released names, on the CPU, floating ones in fp32, and its shapes."""

    tensors: dict[str, Tensor]
    config: ClipConfig
    activation_from: str
    """Who says which activation it is: "checkpoint", "file beside", "caller", or "default"."""
    tokenizer: str
    """File with the vocabulary's merges; empty: CLIP's own vocabulary."""


def read_weights(path: str, activation: str = "") -> Weights:
    """Return the weights in a file or folder.

    `activation` ("quick_gelu", "gelu") is for files that do not say it: weights look the same for both. Without it
    they are taken for quick_gelu, as in all models of the paper; those that open_clip names without "-quickgelu" are
    gelu. Raises InputError for a file of another kind or another model, and for an activation that contradicts it.
    """
    if activation and activation not in ACTIVATIONS:
        raise InputError(f"activation: expected one of {', '.join(ACTIVATIONS)}, found {activation!r}")
    if not is_folder(path):
        return _checked(_read_foreign(path, activation), path, activation)
    foreign = [join(path, name) for name in _FOLDER_FILES if exists(join(path, name))]
    if foreign and not exists(join(path, checkpoint.STATE)):
        return _checked(_read_foreign(foreign[0], activation), foreign[0], activation)
    folder = checkpoint.find(path)
    return _checked(_read_ours(folder), _file_of_ours(folder), activation)


def read_model(path: str, activation: str = "") -> tuple[AnyModel, Weights]:
    """Return the model of a file or folder, on the CPU, and its weights; raises InputError as `read_weights`."""
    weights = read_weights(path, activation)
    model = empty_model(weights.config)
    model.load_state_dict(weights.tensors, assign=True)
    return model, weights


def _checked(weights: Weights, url: str, activation: str) -> Weights:
    if activation and weights.config.activation != activation:
        raise InputError(f"{url}: expected {activation}, as was asked, found {weights.config.activation}")
    check_tensors(weights.tensors, weights.config, url)
    return weights


def _read_ours(folder: str) -> Weights:
    tensors = read_tensors(_file_of_ours(folder))
    return Weights(in_single(tensors), checkpoint.read_config(folder), "checkpoint", join(folder, checkpoint.TOKENIZER))


def _file_of_ours(folder: str) -> str:
    """Return the file of a checkpoint's weights: of their moving average where there is one."""
    average = join(folder, checkpoint.EMA)
    return average if exists(average) else join(folder, checkpoint.MODEL)


def _read_foreign(url: str, activation: str) -> Weights:
    found, metadata = _read_tensors(url)
    tensors = to_released(found, url)
    if CONFIG_KEY in metadata:
        return Weights(tensors, _config_from_metadata(metadata[CONFIG_KEY], url), "checkpoint", "")
    hints = read_hints(url, "transformers" if is_transformers(found) else "open_clip")
    source = "file beside" if hints.activation else "caller" if activation else "default"
    config = find_config(tensors, replace(hints, activation=hints.activation or activation or None), url)
    return Weights(_with_counts(tensors), config, source, "")


def _with_counts(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors with the number of batches that each batch norm saw: some writers leave out what nobody reads."""
    norms = [name.removesuffix("running_mean") for name in tensors if name.endswith(".running_mean")]
    return {f"{norm}num_batches_tracked": torch.tensor(0) for norm in norms} | tensors


def _config_from_metadata(text: str, url: str) -> ClipConfig:
    try:
        return config_from_json(json.loads(text))
    except (LookupError, RecursionError, TypeError, ValueError) as error:
        raise InputError(f"{url}: expected the shapes of a model under {CONFIG_KEY}, found others: {error}") from error


def _read_tensors(url: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors of a file and the metadata of safetensors; the first bytes say of which format it is."""
    with reading(url) as file:
        start = file.read(9)
        if start[8:] == b"{":
            return read_tensors(url), _read_metadata(url)
        file.seek(0)
        if start[:2] == b"PK" and is_archive(file):
            return read_archive(file, url), {}
        return _read_pickle(file, url), {}


def _read_metadata(url: str) -> dict[str, str]:
    """Return what a safetensors file says besides its tensors; it was read before, so its header is sound."""
    with reading(url) as file:
        (length,) = struct.unpack("<Q", file.read(8))
        metadata: dict[str, str] = json.loads(file.read(min(length, _MAX_HEADER_BYTES))).get("__metadata__", {})
    return metadata


def _read_pickle(file: IO[bytes], url: str) -> dict[str, Tensor]:
    require_plain(file, url)
    try:
        with warnings.catch_warnings(action="ignore"):  # of pickles that torch did not write; they fail or hold tensors
            loaded: Any = torch.load(file, map_location="cpu", weights_only=True)
    except BROKEN as error:
        raise InputError(
            f"{url}: expected weights (safetensors, or .pt with nothing but tensors), found {_problem(error)}"
        ) from error
    if isinstance(loaded, Mapping) and isinstance(loaded.get("state_dict"), Mapping):
        loaded = loaded["state_dict"]
    if not isinstance(loaded, Mapping) or not all(map(_is_plain, loaded.values())):
        raise InputError(f"{url}: expected names and plain tensors, or a state_dict of them, found something else")
    return {str(name): value for name, value in loaded.items()}


def _problem(error: Exception) -> str:
    """Return what torch found in a file, without its advice, which is to run what is in the pickle."""
    if not isinstance(error, pickle.UnpicklingError):
        return str(error).split("\n")[0][:200] or "the end of the file"
    name = re.search(r"Unsupported (?:global: GLOBAL|class) (\S+)", str(error))
    return f"{name[1][:100]} in its pickle, which is not run" if name else "something else, or a part of it"


def _is_plain(value: object) -> bool:
    """Return whether a value is a tensor whose numbers are all in its file: other kinds claim any size in few bytes."""
    if not isinstance(value, Tensor) or value.is_nested or value.layout != torch.strided or value.device.type != "cpu":
        return False
    return not value.is_quantized and value.numel() * value.element_size() <= value.untyped_storage().nbytes()
