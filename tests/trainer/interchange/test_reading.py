from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.trainer.interchange.conftest import RESNET, VIT, transformers_tensors
from tests.trainer.models.support import some_tokens
from trainer.interchange.reading import Weights, read_model, read_weights
from trainer.interchange.writing import open_clip_config
from trainer.models.clip import Clip, build_clip
from trainer.models.config import CONFIGS
from wit.errors import InputError

Tensors = dict[str, Tensor]


def assert_same(weights: Weights, model: Clip) -> None:
    state = model.state_dict()
    assert weights.config == model.config
    assert weights.tensors.keys() == state.keys()
    assert all(torch.equal(value, state[name]) for name, value in weights.tensors.items())


def safetensors_file(tensors: Tensors, path: Path) -> Path:
    safetensors.torch.save_file({name: value.contiguous() for name, value in tensors.items()}, path)
    return path


def parallel(tensors: Tensors) -> Tensors:
    """Return weights by the names that DistributedDataParallel gives them."""
    return {f"module.{name}": value for name, value in tensors.items()}


def custom_text(tensors: Tensors) -> Tensors:
    """Return weights by the names of open_clip's CustomTextCLIP."""
    plain = ("visual.", "logit_")
    return {name if name.startswith(plain) else f"text.{name}": value for name, value in tensors.items()}


@pytest.mark.parametrize("name", ["vit", "resnet"])
@pytest.mark.parametrize(
    "write",
    [
        lambda tensors, path: safetensors_file(tensors, path),
        lambda tensors, path: torch.save(tensors, path),
        lambda tensors, path: torch.save(tensors, path, _use_new_zipfile_serialization=False),
        lambda tensors, path: torch.save({"epoch": 3, "state_dict": parallel(tensors)}, path),
        lambda tensors, path: safetensors_file(custom_text(tensors), path),
        lambda tensors, path: safetensors_file(tensors | {"logit_scale": tensors["logit_scale"][None]}, path),
    ],
    ids=["safetensors", "pt", "old pt", "open_clip training", "CustomTextCLIP", "scale in a row"],
)  # fmt: skip
def test_each_format_gives_the_same_weights(
    name: str, write: Callable[[Tensors, Path], object], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Whatever the file's format and layout, the tensors and the shapes are those of the model that was written."""
    model = request.getfixturevalue(name)
    write(dict(model.state_dict()), tmp_path / "weights")
    weights = read_weights(str(tmp_path / "weights"))
    assert_same(weights, model)
    assert weights.activation_from == "default"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda value: value.to(torch.int8), r"expected \S+ in torch.float32, found torch.int8"),
        (lambda value: value.to(torch.bool), r"expected \S+ in torch.float32, found torch.bool"),
        (lambda value: value.to(torch.complex64), r"expected \S+ in torch.float32, found torch.complex64"),
        (lambda value: torch.full_like(value, torch.nan), "expected finite numbers, found others in"),
        (lambda value: torch.full_like(value, -torch.inf), "expected finite numbers, found others in"),
        (lambda value: value.double() * 1e300, "expected finite numbers, found others in"),
    ],
)
def test_weights_that_are_no_numbers_are_told(
    change: Callable[[Tensor], Tensor], message: str, vit: Clip, tmp_path: Path
) -> None:
    """Whole or complex numbers, NaN, infinity: an evaluation of such would give a number that means nothing."""
    tensors = dict(vit.state_dict())
    safetensors_file(tensors | {"ln_final.weight": change(tensors["ln_final.weight"])}, tmp_path / "weights")
    with pytest.raises(InputError, match=message):
        read_weights(str(tmp_path / "weights"))


def test_half_precision_becomes_single(vit: Clip, tmp_path: Path) -> None:
    """Weights in half precision are read as fp32 of the same values."""
    half = {name: value.half() for name, value in vit.state_dict().items()}
    weights = read_weights(str(safetensors_file(half, tmp_path / "weights")))
    assert all(torch.equal(value, half[name].float()) for name, value in weights.tensors.items())
    assert {value.dtype for value in weights.tensors.values()} == {torch.float32}


def test_transformers_files_are_read(vit: Clip, tmp_path: Path) -> None:
    """A folder of transformers' CLIPModel gives the model: projections turned, queries, keys and values joined, heads
    and activation from its config.json.
    """
    safetensors_file(transformers_tensors(vit), tmp_path / "model.safetensors")
    facts = {"hidden_act": "gelu", "num_attention_heads": 1}
    (tmp_path / "config.json").write_text(json.dumps({"vision_config": facts, "text_config": facts}))
    weights = read_weights(str(tmp_path))
    vision, text = replace(VIT.vision, heads=1), replace(VIT.text, heads=1)
    assert weights.config == replace(VIT, vision=vision, text=text, activation="gelu")
    assert weights.activation_from == "file beside"
    state = vit.state_dict()
    assert weights.tensors.keys() == state.keys()
    assert all(torch.equal(value, state[name]) for name, value in weights.tensors.items())


def test_open_clips_folder_says_the_activation_and_the_heads(tmp_path: Path) -> None:
    """What open_clip_config.json says is taken: exact GELU, heads 32 wide."""
    config = replace(CONFIGS["ViT-tiny/8"], activation="gelu")
    model = build_clip(config, seed=0)
    safetensors_file(dict(model.state_dict()), tmp_path / "open_clip_model.safetensors")
    (tmp_path / "open_clip_config.json").write_text(json.dumps(open_clip_config(config)))
    assert_same(read_weights(str(tmp_path)), model)


@torch.no_grad()
def test_the_activation_may_be_asked_for(vit: Clip, tmp_path: Path) -> None:
    """Where no file says it the caller may, and the embeddings are those of the exact GELU; a contradiction is told."""
    path = safetensors_file(dict(vit.state_dict()), tmp_path / "open_clip_model.safetensors")
    model, weights = read_model(str(path), activation="gelu")
    assert weights.activation_from == "caller"
    assert isinstance(model, Clip)
    wanted = build_clip(replace(VIT, activation="gelu"), seed=1)
    wanted.load_state_dict(vit.state_dict())
    assert torch.equal(model.encode_text(some_tokens()), wanted.encode_text(some_tokens()))
    assert not torch.allclose(model.encode_text(some_tokens()), vit.encode_text(some_tokens()), atol=1e-4)
    (tmp_path / "open_clip_config.json").write_text(json.dumps(open_clip_config(VIT)))
    with pytest.raises(InputError, match="expected gelu, as was asked, found quick_gelu"):
        read_weights(str(path), activation="gelu")
    with pytest.raises(InputError, match="expected one of quick_gelu, gelu, found 'relu'"):
        read_weights(str(path), activation="relu")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("text_projection"), r"expected text_projection, .* found none"),
        (lambda t: t.pop("visual.conv1.weight"), r"expected visual\.conv1\.weight, .* found none"),
        (lambda t: t.pop("ln_final.bias"), r"expected ln_final\.bias of shape \(64,\), found none"),
        (
            lambda t: t.update({"visual.ln_extra.bias": torch.zeros(3)}),
            r"expected visual\.ln_extra\.bias of shape none",
        ),
        (lambda t: t.update({"ln_final.bias": torch.zeros(3)}), r"ln_final\.bias of shape \(64,\), found \(3,\)"),
        (lambda t: t.update({"visual.positional_embedding": torch.zeros(4, 128)}), r"a square and one place more"),
        (lambda t: t.update({"text_projection": torch.zeros(64)}), r"text_projection with 2 axes"),
        (lambda t: t.update({"token_embedding.weight": torch.zeros(600, 60)}), r"whole heads of 64, found 60"),
        (lambda t: t.clear(), r"expected text_projection"),
    ],
)
def test_another_models_weights_are_told_apart(
    change: Callable[[Tensors], Any], message: str, vit: Clip, tmp_path: Path
) -> None:
    """A tensor that is missing, left over or of another shape is one error that names the file and the tensor."""
    tensors = dict(vit.state_dict())
    change(tensors)
    path = safetensors_file(tensors, tmp_path / "weights.safetensors")
    with pytest.raises(InputError, match=message) as caught:
        read_weights(str(path))
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("text_model.encoder.layers.1.self_attn.k_proj.bias"), r"expected .*k_proj\.bias beside"),
        (lambda t: t.pop("text_model.encoder.layers.1.self_attn.q_proj.bias"), r"expected .*q_proj\.bias beside"),
        (
            lambda t: t.update({"text_model.encoder.layers.0.self_attn.v_proj.bias": torch.zeros(3)}),
            r"v_proj\.bias of one shape, found several",
        ),
        (lambda t: t.update({"visual_projection.weight": torch.zeros(3)}), r"visual\.proj of shape|visual_projection"),
    ],
)
def test_torn_transformers_files_are_told(
    change: Callable[[Tensors], Any], message: str, vit: Clip, tmp_path: Path
) -> None:
    """Queries without their keys, or of other shapes, are one error."""
    tensors = transformers_tensors(vit)
    change(tensors)
    with pytest.raises(InputError, match=message):
        read_weights(str(safetensors_file(tensors, tmp_path / "weights.safetensors")))


class Evil:
    """What a hostile pickle is made of."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("/tmp/wit-was-here"),))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK\x03\x04",
        b"not weights at all",
        (10).to_bytes(8, "little") + b"{",
        (1 << 62).to_bytes(8, "little") + b"{}",
        pickle.dumps(Evil()),
        pickle.dumps({"state_dict": 3}),
    ],
)
def test_files_that_are_no_weights_are_an_error(data: bytes, tmp_path: Path) -> None:
    """Anything else is one error that names the file; nothing in it is run."""
    (tmp_path / "weights.pt").write_bytes(data)
    with pytest.raises(InputError, match=r"weights\.pt: expected"):
        read_weights(str(tmp_path / "weights.pt"))
    assert not Path("/tmp/wit-was-here").exists()


@pytest.mark.parametrize("what", [3, {"a": 3}, [torch.zeros(2)]])
def test_pickles_of_something_else_are_an_error(what: object, tmp_path: Path) -> None:
    """Numbers, lists and dictionaries of them are no weights."""
    torch.save(what, tmp_path / "weights.pt")
    with pytest.raises(InputError, match="expected names and plain tensors"):
        read_weights(str(tmp_path / "weights.pt"))


@pytest.mark.parametrize(
    "value",
    [
        torch.zeros(1, dtype=torch.float16).expand(1 << 20, 1 << 20),
        torch.eye(4).to_sparse(),
        torch.empty(4, 4, device="meta"),
        torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)], layout=torch.jagged),
    ],
    ids=["expanded", "sparse", "meta", "nested"],
)
def test_tensors_whose_numbers_are_not_all_in_the_file_are_refused(value: Tensor, tmp_path: Path) -> None:
    """Kinds of tensors that claim any size in a few bytes; the first would take 4 TB in fp32."""
    torch.save({"text_projection": value}, tmp_path / "weights.pt")
    with pytest.raises(InputError, match=r"weights\.pt: expected"):
        read_weights(str(tmp_path / "weights.pt"))


def test_a_compressed_file_is_refused(tmp_path: Path) -> None:
    """What torch would unpack to a thousand times its size is not unpacked."""
    torch.save({"text_projection": torch.zeros(2, 2)}, tmp_path / "weights.pt")
    with (
        zipfile.ZipFile(tmp_path / "weights.pt") as whole,
        zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as bomb,
    ):
        for name in whole.namelist():
            bomb.writestr(name, bytes(1 << 20) if name.endswith("data/0") else whole.read(name))
    with pytest.raises(InputError, match=r"bomb\.pt: expected a zip as torch writes it, found a compressed one"):
        read_weights(str(tmp_path / "bomb.pt"))


@pytest.mark.parametrize("as_zip", [False, True])
def test_nobody_is_told_to_run_what_is_in_a_file(as_zip: bool, tmp_path: Path) -> None:
    """torch's own message recommends to load with code; ours names what the pickle would call."""
    torch.save({"a": Evil()}, tmp_path / "weights.pt", _use_new_zipfile_serialization=as_zip)
    with pytest.raises(InputError, match=r"found \S+ in its pickle, which is not run") as caught:
        read_weights(str(tmp_path / "weights.pt"))
    assert "weights_only" not in str(caught.value)
    assert not Path("/tmp/wit-was-here").exists()


@settings(max_examples=40)
@given(st.data())
def test_a_torn_file_is_an_error(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """A file cut anywhere, or with a byte changed, is read as other numbers or refused; there is no other end."""
    folder = tmp_path_factory.mktemp("torn")
    tensors = dict(build_clip(CONFIGS["ViT-micro/16"], seed=0).state_dict())
    if data.draw(st.booleans()):
        safetensors_file(tensors, folder / "weights")
    else:
        torch.save(tensors, folder / "weights")
    whole = (folder / "weights").read_bytes()
    place = data.draw(
        st.integers(0, len(whole) - 1) | st.integers(0, 2_000) | st.integers(len(whole) - 2_000, len(whole) - 1)
    )
    torn = whole[:place]
    if data.draw(st.booleans()):
        torn += bytes([whole[place] ^ data.draw(st.integers(1, 255))]) + whole[place + 1 :]
    (folder / "weights").write_bytes(torn)
    with pytest.raises(InputError, match=r"expected|cannot be read"):  # at the latest for want of the number of heads
        read_weights(str(folder / "weights"))


def test_what_is_not_there_is_an_error(tmp_path: Path) -> None:
    """A path that names nothing, or a folder without weights, says what was expected."""
    with pytest.raises(InputError):
        read_weights(str(tmp_path / "nothing"))
    with pytest.raises(InputError, match="expected a checkpoint"):
        read_weights(str(tmp_path))


def test_batch_counts_may_be_left_out(resnet: Clip, tmp_path: Path) -> None:
    """Files without `num_batches_tracked`, which nothing reads, are whole."""
    tensors = {name: v for name, v in resnet.state_dict().items() if not name.endswith("num_batches_tracked")}
    weights = read_weights(str(safetensors_file(tensors, tmp_path / "weights")))
    assert weights.config == RESNET
    assert weights.tensors.keys() == resnet.state_dict().keys()
