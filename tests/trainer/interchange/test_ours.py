from __future__ import annotations

from pathlib import Path

import safetensors.torch
import torch

from tests.trainer.conftest import micro_recipe
from trainer.interchange.reading import read_model, read_weights
from trainer.models.clip import Clip
from trainer.training import train


def test_checkpoints_of_ours_are_read(shards: Path, tmp_path: Path) -> None:
    """A run and its checkpoint name the same weights, with their shapes and vocabulary."""
    result = train(micro_recipe(epochs=1), str(shards / "*.tar"), str(tmp_path / "run"), "cpu")
    weights = read_weights(str(tmp_path / "run"))
    found = safetensors.torch.load_file(Path(result.checkpoint) / "model.safetensors")
    assert weights.tensors.keys() == found.keys()
    assert all(torch.equal(weights.tensors[name], value) for name, value in found.items())
    assert weights.activation_from == "checkpoint"
    assert weights.tokenizer == f"{result.checkpoint}/tokenizer.txt"
    model, again = read_model(result.checkpoint)
    assert isinstance(model, Clip)
    assert again.config == weights.config == model.config


def test_the_moving_average_is_what_is_read_and_in_single_precision(shards: Path, tmp_path: Path) -> None:
    """Where a checkpoint keeps an average of the weights it counts; tensors in half precision are read as fp32."""
    result = train(micro_recipe(epochs=1), str(shards / "*.tar"), str(tmp_path / "run"), "cpu")
    folder = Path(result.checkpoint)
    tensors = safetensors.torch.load_file(folder / "model.safetensors")
    half = {name: (value / 2).half() for name, value in tensors.items()}
    safetensors.torch.save_file(half, folder / "ema.safetensors")
    weights = read_weights(str(folder))
    assert all(torch.equal(value, half[name].float()) for name, value in weights.tensors.items())
    assert {value.dtype for value in weights.tensors.values()} == {torch.float32}
