from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor

from tests.trainer.conftest import micro_recipe
from trainer.recipe import TrainRecipe
from trainer.saving import checkpoint
from trainer.training import train


def half_recipe(state: str) -> TrainRecipe:
    """Return a recipe with all that rounds by chance, and an average of the weights."""
    recipe = micro_recipe(ema_decay=0.9, keep_checkpoints=9, epochs=2)
    return replace(recipe, optimiser=replace(recipe.optimiser, state=state, text_weights="fp16"))


def tensors(folder: Path) -> dict[str, dict[str, Tensor]]:
    """Return every tensor of a checkpoint, by file."""
    return {path.name: safetensors.torch.load_file(path) for path in folder.glob("*.safetensors")}


@pytest.mark.parametrize("state", ["bf16", "fp16"])
def test_a_run_in_half_precision_goes_on_bit_by_bit(state: str, shards: Path, tmp_path: Path) -> None:
    """From a checkpoint on the way come the weights, moments and average of the undisturbed run.

    Nothing of the chance is in the checkpoint: it follows from the seed and the steps taken. The moments are written in
    the precision that they are kept in, the text tower's weights are numbers of fp16.
    """
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    assert train(half_recipe(state), str(shards), str(whole), "cpu").is_done
    newest = Path(checkpoint.find(str(whole)))
    shutil.copytree(whole, resumed)
    shutil.rmtree(resumed / "checkpoints" / newest.name)
    assert train(half_recipe(state), str(shards), str(resumed), "cpu").is_done
    expected, found = tensors(newest), tensors(resumed / "checkpoints" / newest.name)
    assert found.keys() == expected.keys() == {"model.safetensors", "optimiser.safetensors", "ema.safetensors"}
    for name, file in expected.items():
        assert [key for key in file if not torch.equal(file[key], found[name][key])] == []
    moments, weights = expected["optimiser.safetensors"], expected["model.safetensors"]
    assert moments["visual.proj.exp_avg_sq"].dtype == {"bf16": torch.bfloat16, "fp16": torch.float16}[state]
    assert torch.equal(weights["text_projection"], weights["text_projection"].half().float())
