"""Checkpoints in others' layouts go through `wit evaluate` as they are, and score as their own code does.

golden_peers.json says what open_clip, OpenAI's model.py and transformers made of the weights, pictures and captions of
golden.py; benchmarks/foreign_checkpoints_golden.py wrote it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import safetensors.torch
import torch
from click.testing import CliRunner
from PIL import Image
from torch import Tensor

from tests.trainer.interchange.golden import (
    COLOURS,
    CONTEXT_LENGTH,
    MERGES,
    TEMPLATE,
    TOKENS,
    VOCABULARY_SIZE,
    pictures,
    tensor,
)
from trainer.evaluation.cli import evaluate
from trainer.tokenizer import ClipTokenizer

GOLDEN = json.loads(Path(__file__).with_name("golden_peers.json").read_text())
Tensors = dict[str, Tensor]


def tensors_of(peer: str) -> Tensors:
    shapes: Mapping[str, list[int]] = GOLDEN[peer]["shapes"]
    return {name: torch.from_numpy(tensor(name, tuple(shape))) for name, shape in shapes.items()}


def as_safetensors(folder: Path, tensors: Tensors) -> Path:
    safetensors.torch.save_file(tensors, folder / "open_clip_model.safetensors")
    return folder / "open_clip_model.safetensors"


def as_training_checkpoint(folder: Path, tensors: Tensors) -> Path:
    torch.save({"epoch": 1, "state_dict": {f"module.{name}": one for name, one in tensors.items()}}, folder / "e.pt")
    return folder / "e.pt"


def as_state_dict(folder: Path, tensors: Tensors) -> Path:
    """As OpenAI's files hold it: with three numbers beside the weights."""
    sizes = {"input_resolution": 32, "context_length": CONTEXT_LENGTH, "vocab_size": VOCABULARY_SIZE}
    torch.save(tensors | {name: torch.tensor(value) for name, value in sizes.items()}, folder / "ViT.pt")
    return folder / "ViT.pt"


def as_pretrained(folder: Path, tensors: Tensors) -> Path:
    safetensors.torch.save_file(tensors, folder / "model.safetensors")
    towers: dict[str, Any] = {
        f"{tower}_config": {"num_attention_heads": 1, "hidden_act": "quick_gelu"} for tower in ("text", "vision")
    }
    (folder / "config.json").write_text(json.dumps({"model_type": "clip", **towers}))
    return folder / "model.safetensors"


def test_prompts_are_the_captions() -> None:
    """The tokens that the peers were given are those of the prompts."""
    prompts = [TEMPLATE.format(label=name) for name in COLOURS]
    found = ClipTokenizer(list(MERGES))(prompts, CONTEXT_LENGTH)
    assert [tuple(row[row > 0].tolist()) for row in found] == list(TOKENS)


@pytest.mark.parametrize(
    ("peer", "write"),
    [
        ("open_clip", as_safetensors),
        ("open_clip", as_training_checkpoint),
        ("openai", as_state_dict),
        ("transformers", as_pretrained),
    ],
)
def test_a_checkpoint_scores_as_its_own_code_says(
    peer: str, write: Callable[[Path, Tensors], Path], tmp_path: Path
) -> None:
    """Probabilities and ranks of every picture, from pixels to predictions.parquet, are those of the peer's logits."""
    logits = np.array(GOLDEN[peer]["logits"])
    for path, pixels in pictures().items():
        (tmp_path / "set" / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "set" / path)
    (tmp_path / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in MERGES))
    (tmp_path / "templates.txt").write_text(TEMPLATE)
    (tmp_path / "model").mkdir()
    arguments = [str(write(tmp_path / "model", tensors_of(peer))), "--data", str(tmp_path / "set"), "--device", "cpu"]
    arguments += ["--merges", str(tmp_path / "merges.txt"), "--templates", str(tmp_path / "templates.txt")]
    shown = CliRunner().invoke(evaluate, [*arguments, "--out", str(tmp_path / "out")], catch_exceptions=False)
    assert shown.exit_code == 0, shown.output
    rows = pq.read_table(tmp_path / "out" / "predictions.parquet").to_pylist()
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    assert logits.max(axis=1).std() > 0.05  # pictures are told apart, so that agreement says something
    for row, own, path in zip(rows, shares, pictures(), strict=True):
        label = list(COLOURS).index(path.split("/")[0])
        assert row["path"] == path
        assert row["prediction"] == list(COLOURS)[int(own.argmax())]
        assert row["probability"] == pytest.approx(own.max(), abs=2e-5)
        assert row["label_probability"] == pytest.approx(own[label], abs=2e-5)
        assert row["label_rank"] == 1 + int((own > own[label]).sum())
