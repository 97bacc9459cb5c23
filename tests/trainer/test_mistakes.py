"""Mistakes with what `wit train` and `wit evaluate` are given: one line that names it, and exit code 2."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.torch
import torch

from tests.support import ROOT
from tests.trainer.conftest import Sample, micro_recipe
from trainer.saving.checkpoint import MODEL, OPTIMISER, STATE, TOKENIZER, is_complete
from trainer.training import train
from wit.cli import main
from wit.recipe import dumps

Damage = Callable[[Path], object]


@pytest.fixture(scope="module")
def trained(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the micro recipe, with the newest checkpoint alone."""
    out = tmp_path_factory.mktemp("trained") / "run"
    train(micro_recipe(epochs=1, keep_checkpoints=1), str(shards), str(out), "cpu")
    return out


@pytest.fixture
def images(samples: list[Sample], tmp_path: Path) -> Path:
    """An evaluation set of two classes with one image each."""
    for name, (_, body) in zip(("red_thing", "blue_thing"), samples, strict=False):
        (tmp_path / "images" / name).mkdir(parents=True)
        (tmp_path / "images" / name / "0.png").write_bytes(body)
    return tmp_path / "images"


def fails(capsys: pytest.CaptureFixture[str], message: str, *arguments: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--device", "cpu"])
    told = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("step ")]
    assert ended.value.code == 2
    assert len(told) == 1
    assert told[0].startswith("wit: error: ")
    assert message in told[0]


def train_fails(capsys: pytest.CaptureFixture[str], message: str, shards: Path, out: Path) -> None:
    recipe = out.with_name("micro.toml")
    recipe.write_text(dumps(micro_recipe(epochs=1)))
    fails(capsys, message, "train", str(recipe), "--shards", str(shards), "--out", str(out))


def set_column(name: str, value: int) -> Damage:
    def damage(folder: Path) -> None:
        table = pq.read_table(folder / "00000.parquet")
        place = table.schema.get_field_index(name)
        changed = pa.array([value] * len(table), table.schema.field(place).type)
        pq.write_table(table.set_column(place, table.schema.field(place), changed), folder / "00000.parquet")

    return damage


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "00001.parquet").unlink(), "00001.parquet: expected a file here, found nothing"),
        (lambda folder: (folder / "00001.parquet").write_bytes(b"no"), "00001.parquet: not a readable Parquet file"),
        (
            lambda folder: pq.write_table(pa.table({"a": [1]}), folder / "00001.parquet"),
            "00001.parquet: expected the index of a shard, found another table",
        ),
        (
            lambda folder: shutil.copy(folder / "00000.parquet", folder / "00001.parquet"),
            "00001.parquet: expected the index of 00001.tar, found that of 00000.tar",
        ),
        (lambda folder: (folder / "00001.tar").write_bytes(b""), "00001.tar: expected the bytes that"),
        (lambda folder: (folder / "00001.tar").write_bytes(b"\0" * 10_000), "00001.tar: expected the bytes that"),
        (set_column("image_offset", -1), "00000.tar: expected the bytes that"),
        (set_column("text_length", 1 << 62), "00000.tar: expected the bytes that"),
    ],
)  # fmt: skip
def test_broken_shards(
    capsys: pytest.CaptureFixture[str], shards: Path, tmp_path: Path, damage: Damage, message: str
) -> None:
    """Shards without index, with that of another, cut short, or with an index that lies: refused before a step."""
    folder = tmp_path / "shards"
    shutil.copytree(shards, folder)
    damage(folder)
    train_fails(capsys, message, folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def edit_state(edit: Callable[[dict[str, Any]], object]) -> Damage:
    def damage(folder: Path) -> None:
        state = json.loads((folder / STATE).read_text())
        edit(state)
        for one in state.get("files", ()):
            one["bytes"] = (folder / one["name"]).stat().st_size
        (folder / STATE).write_text(json.dumps(state))

    return damage


def edit_tensors(name: str, edit: Callable[[dict[str, torch.Tensor]], object]) -> Damage:
    def damage(folder: Path) -> None:
        tensors = safetensors.torch.load((folder / name).read_bytes())
        edit(tensors)
        (folder / name).write_bytes(safetensors.torch.save(tensors))
        edit_state(lambda state: None)(folder)

    return damage


def shorten_vocabulary(folder: Path) -> None:
    (folder / TOKENIZER).write_text("#version\nt h\n")
    edit_state(lambda state: None)(folder)


BAD_CHECKPOINTS: list[tuple[Damage, str]] = [
    (edit_state(lambda state: state.pop("model")), "state.json: expected a manifest with"),
    (
        edit_tensors(MODEL, lambda tensors: tensors.update({"visual.proj": torch.zeros(3, 3)})),
        "model.safetensors: expected visual.proj of shape (32, 32), found (3, 3)",
    ),
    (
        edit_tensors(MODEL, lambda tensors: tensors.pop("visual.proj")),
        "model.safetensors: expected visual.proj of shape (32, 32), found none",
    ),
]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        *BAD_CHECKPOINTS,
        (lambda folder: (folder / STATE).write_text("{"), "expected a checkpoint or a training run with one"),
        (lambda folder: (folder / STATE).write_text("[]"), "expected a checkpoint or a training run with one"),
        (edit_state(lambda state: state.pop("files")), "expected a checkpoint or a training run with one"),
        (lambda folder: (folder / STATE).unlink(), "expected a checkpoint or a training run with one, found neither"),
        (lambda folder: os.truncate(folder / MODEL, 99), "expected a checkpoint or a training run with one"),
        (
            edit_state(lambda state: state["model"].update(embed_dim=7)),
            "expected text_projection of shape (32, 7), found (32, 32)",
        ),
        (
            edit_state(lambda state: state["model"]["vision"].update(depth=7)),
            "state.json: expected the shapes of a model, found others",
        ),
        (shorten_vocabulary, "tokenizer.txt: expected a vocabulary of 600 ids, found 515"),
    ],
)  # fmt: skip
def test_a_broken_checkpoint_is_not_evaluated(
    capsys: pytest.CaptureFixture[str], trained: Path, images: Path, tmp_path: Path, damage: Damage, message: str
) -> None:
    """A checkpoint torn, incomplete, or of another model."""
    shutil.copytree(trained, tmp_path / "run")
    damage(tmp_path / "run" / "checkpoints" / "step-00000003")
    fails(capsys, message, "evaluate", str(tmp_path / "run"), "--data", str(images))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        *BAD_CHECKPOINTS,
        (
            edit_tensors(OPTIMISER, lambda tensors: tensors.pop("ln_final.bias.exp_avg")),
            "optimiser.safetensors: expected ln_final.bias.exp_avg of shape (32,), found none",
        ),
        (shorten_vocabulary, "model.safetensors: expected token_embedding.weight of shape (515, 32), found (600, 32)"),
        (edit_state(lambda state: state.update(step=-1)), "expected where training stood, found something else: step"),
        (edit_state(lambda state: state.update(step=4)), "expected a checkpoint of at most the 3 steps of the recipe"),
        (edit_state(lambda state: state["loader"].update(batch="1")), "found something else: batch is '1'"),
        (edit_state(lambda state: state["loader"].update(epoch=0.5)), "found something else: epoch is 0.5"),
        (edit_state(lambda state: state["guard"].update(weight=None)), "found something else: weight is None"),
        (edit_state(lambda state: state["scaler"].update(factor=float("nan"))), "found something else: factor is nan"),
    ],
)
def test_a_broken_checkpoint_is_not_gone_on_from(
    capsys: pytest.CaptureFixture[str], trained: Path, shards: Path, tmp_path: Path, damage: Damage, message: str
) -> None:
    """The same faults, when a run is to go on from it."""
    shutil.copytree(trained, tmp_path / "out")
    damage(tmp_path / "out" / "checkpoints" / "step-00000003")
    train_fails(capsys, message, shards, tmp_path / "out")


def test_a_file_without_a_name_is_no_checkpoint(trained: Path, tmp_path: Path) -> None:
    """A state that names its files by numbers belongs to no complete checkpoint."""
    folder = shutil.copytree(trained, tmp_path / "run") / "checkpoints" / "step-00000003"
    state = json.loads((folder / STATE).read_text())
    (folder / STATE).write_text(json.dumps(state | {"files": [{"name": 3, "bytes": 1}]}))
    assert not is_complete(str(folder))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda out: out.write_text(""), "cannot be written: a file stands where a folder is needed"),
        (lambda out: (out / "photos").mkdir(parents=True), "expected a new folder or a training run"),
        (lambda out: out.symlink_to("/proc/no-such-folder"), "cannot be written"),
    ],
)
def test_a_folder_that_cannot_be_written(
    capsys: pytest.CaptureFixture[str], shards: Path, tmp_path: Path, make: Damage, message: str
) -> None:
    """A file, a foreign folder, a place where nothing can be made."""
    make(tmp_path / "out")
    train_fails(capsys, message, shards, tmp_path / "out")


def test_an_unreadable_image_is_named(capsys: pytest.CaptureFixture[str], trained: Path, images: Path) -> None:
    """A link to nowhere, a folder named like an image, and two folders of one class."""
    link = images / "red_thing" / "1.png"
    link.symlink_to("nowhere")
    fails(capsys, "1.png: expected a file, found", "evaluate", str(trained), "--data", str(images))
    link.unlink()
    link.mkdir()
    fails(capsys, "1.png: expected a file, found a folder", "evaluate", str(trained), "--data", str(images))
    link.rmdir()
    (images / "red_thing").rename(images / "blue thing")
    fails(capsys, "expected each class once, found two folders for 'blue thing'", "evaluate", str(trained), "--data",
          str(images))  # fmt: skip


def test_a_log_of_any_kind_does_not_stop_a_run(shards: Path, trained: Path, tmp_path: Path) -> None:
    """Lines cut off by a kill, or of something else, go; the others stay."""
    shutil.copytree(trained, tmp_path / "out")
    log = tmp_path / "out" / "log.jsonl"
    before = log.read_bytes()
    log.write_bytes(b'[]\n\xff\xfe\n{"step": 9}\n' + before + b'{"step": 1, "reason": "\xc3')
    train(micro_recipe(epochs=1), str(shards), str(tmp_path / "out"), "cpu")
    assert log.read_bytes() == before


def test_a_missing_extra_is_named() -> None:
    """Without torch each command says what to install."""
    code = "import sys; sys.modules['torch'] = None; from wit.cli import main; main(sys.argv[1:])"
    for command in (["train", "tiny", "--shards", "s", "--out", "o"], ["evaluate", "o", "--data", "d"]):
        shown = subprocess.run([sys.executable, "-c", code, *command], cwd=ROOT, capture_output=True, text=True)
        assert shown.returncode == 2
        assert shown.stderr == "wit: error: this command needs torch; install it with: pip install 'wit[train]'\n"


def test_ctrl_c_saves(shards: Path, tmp_path: Path) -> None:
    """Ctrl-C in training: exit 130, one line that tells how to go on, and a checkpoint from which that works."""
    recipe = tmp_path / "micro.toml"
    recipe.write_text(dumps(micro_recipe(epochs=10_000, save_every_steps=1_000_000)))
    out = tmp_path / "out"
    command = [sys.executable, "-m", "wit", "train", str(recipe), "--shards", str(shards), "--out", str(out)]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (out / "log.jsonl").exists() or not (out / "log.jsonl").read_text():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    said, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert [line for line in told.splitlines() if not line.startswith("step ")] == [
        "stopped by SIGINT; the same command goes on from here"
    ]
    step = int(said.split("step-")[1][:8])
    assert f": step {step} of 30000" in said
    assert (out / "checkpoints" / f"step-{step:08d}" / STATE).exists()
