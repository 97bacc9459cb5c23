from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import nn

from tests.trainer.models.support import shaken, some_tokens
from trainer.interchange.reading import read_model, read_weights
from trainer.interchange.starting import start_from
from trainer.interchange.writing import write_open_clip, write_openai
from trainer.models.clip import Clip, build_clip
from trainer.models.config import CONFIGS, VisionConfig, model_config
from trainer.models.positions import resize_positions
from wit.errors import InputError

MICRO = CONFIGS["ViT-micro/16"]


@pytest.mark.parametrize(
    "config",
    [MICRO, CONFIGS["RN-micro"], replace(MICRO, activation="gelu"), model_config("RN-micro", 600, objective="sigmoid")],
    ids=["ViT", "ResNet", "GELU", "sigmoid"],
)
@pytest.mark.parametrize("as_folder", [False, True])
@torch.no_grad()
def test_what_is_written_is_read(config: object, as_folder: bool, tmp_path: Path) -> None:
    """A model comes back from a file or folder of ours with its shapes, weights and embeddings, to the bit."""
    assert isinstance(config, type(MICRO))
    model = shaken(build_clip(config, seed=0)).eval()
    path = str(tmp_path / "model")
    (write_open_clip if as_folder else write_openai)(path, model)
    found, weights = read_model(path)
    assert isinstance(found, Clip)
    assert weights.config == config
    assert torch.equal(found.encode_text(some_tokens()), model.encode_text(some_tokens()))
    images = torch.randn(2, 3, *[config.vision.image_px] * 2)
    assert torch.equal(found.eval().encode_image(images), model.encode_image(images))


def test_the_file_has_the_released_names(tmp_path: Path) -> None:
    """Any reader of safetensors finds the model's own names and values."""
    model = build_clip(MICRO, seed=0)
    write_openai(str(tmp_path / "model.safetensors"), model)
    found = safetensors.torch.load_file(tmp_path / "model.safetensors")
    state = model.state_dict()
    assert found.keys() == state.keys()
    assert all(torch.equal(value, state[name]) for name, value in found.items())


def test_a_sigmoid_models_description_asks_for_a_bias(tmp_path: Path) -> None:
    """open_clip builds a bias only where its description names an initial one."""
    write_open_clip(str(tmp_path), build_clip(model_config("ViT-micro/16", 600, objective="sigmoid"), 0))
    assert "init_logit_bias" in json.loads((tmp_path / "open_clip_config.json").read_text())["model_cfg"]


@pytest.mark.parametrize(
    "model", [build_clip(model_config("ViT-micro/16", 600, text="bag_of_words"), 0), nn.Linear(2, 2)]
)
def test_what_others_have_no_names_for_is_not_written(model: nn.Module, tmp_path: Path) -> None:
    """A bag of words, or no CLIP at all, is a mistake that says so, and no file."""
    with pytest.raises(InputError, match="expected one with an image and a Transformer tower"):
        write_openai(str(tmp_path / "model.safetensors"), model)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "change",
    [
        lambda facts: "[" * 100_000,
        lambda facts: "{}",
        lambda facts: json.dumps(facts | {"text": facts["text"] | {"layers": 10**9}}),
        lambda facts: json.dumps(facts | {"vision": facts["vision"] | {"width": 1 << 60, "heads": 1}}),
        lambda facts: json.dumps(facts | {"vision": facts["vision"] | {"image_px": 1 << 40}}),
        lambda facts: json.dumps(facts | {"vision": facts["vision"] | {"patch_px": 0}}),
        lambda facts: json.dumps(facts | {"vision": facts["vision"] | {"heads": 5}}),
        lambda facts: json.dumps(facts | {"activation": "relu"}),
    ],
    ids=["deep", "empty", "endless", "too wide", "too large", "no patch", "heads", "activation"],
)
def test_a_file_that_lies_about_its_shapes_is_an_error(change: Callable[[dict[str, Any]], str], tmp_path: Path) -> None:
    """Metadata that is not that of the tensors is one error, and soon."""
    tensors = build_clip(MICRO, seed=0).state_dict()
    metadata = {"wit.config": change(json.loads(json.dumps(asdict(MICRO))))}
    safetensors.torch.save_file(tensors, tmp_path / "weights", metadata)
    with pytest.raises(InputError, match=r"weights: expected"):
        read_weights(str(tmp_path / "weights"))


# --- a model that begins with another's weights ---


def test_a_model_begins_with_anothers_weights_at_another_size(tmp_path: Path) -> None:
    """All tensors are the other's but the positions of the image, which are interpolated."""
    small = shaken(build_clip(MICRO, seed=0))
    write_openai(str(tmp_path / "small"), small)
    assert isinstance(MICRO.vision, VisionConfig)
    config = replace(MICRO, vision=replace(MICRO.vision, image_px=64))
    large = build_clip(config, seed=1)
    start_from(large, config, str(tmp_path / "small"))
    wanted = small.state_dict()
    wanted["visual.positional_embedding"] = resize_positions(wanted["visual.positional_embedding"], 4)
    found = large.state_dict()
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], value) for name, value in wanted.items())


def test_weights_of_another_model_are_no_beginning(tmp_path: Path) -> None:
    """Another width, vocabulary or activation is one error."""
    write_openai(str(tmp_path / "weights"), build_clip(MICRO, seed=0))
    other = replace(MICRO, text=replace(MICRO.text, vocabulary_size=700))
    with pytest.raises(InputError, match=r"expected token_embedding\.weight of shape \(700, 32\), found \(600, 32\)"):
        start_from(build_clip(other, 0), other, str(tmp_path / "weights"))
    gelu = replace(MICRO, activation="gelu")
    with pytest.raises(InputError, match="expected gelu, as was asked, found quick_gelu"):
        start_from(build_clip(gelu, 0), gelu, str(tmp_path / "weights"))


def test_half_a_file_is_never_seen(tmp_path: Path) -> None:
    """The file has its name only when it is whole: reading right after writing never fails."""
    write_openai(str(tmp_path / "weights"), build_clip(MICRO, seed=0))
    assert [one.name for one in tmp_path.iterdir()] == ["weights"]
    assert read_weights(str(tmp_path / "weights")).config == MICRO
