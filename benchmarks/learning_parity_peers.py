"""open_clip's side of learning_parity.py; runs in an environment of its own.

    PEERS_PYTHON benchmarks/learning_parity_peers.py FOLDER

FOLDER holds settings.json, weights.safetensors and batches.npz, as learning_parity.py writes them. Everything else is
open_clip's: its CLIP, its ClipLoss, the AdamW of its main.py, its schedule and its `train_one_epoch`. Prints one line
of JSON: the versions, and the loss of every step.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from open_clip import CLIP, ClipLoss
from open_clip_train.scheduler import cosine_lr
from open_clip_train.train import train_one_epoch
from safetensors.torch import load_file


class Batches:
    """What `train_one_epoch` takes as data["train"] and as its loader: normalised images and token ids."""

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        with np.load(folder / "batches.npz") as arrays:
            self.images, self.tokens = torch.from_numpy(arrays["images"]), torch.from_numpy(arrays["tokens"])
        self.mean, self.std = (torch.tensor(settings[name]).view(3, 1, 1) for name in ("mean", "std"))
        self.num_batches = len(self.images)
        self.num_samples = self.images.shape[0] * self.images.shape[1]
        self.dataloader = self

    def set_epoch(self, epoch: int) -> None:
        """Do nothing: the order is given."""

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for images, tokens in zip(self.images, self.tokens, strict=True):
            yield (images.float() / 255 - self.mean) / self.std, tokens


class Losses:
    """A TensorBoard writer that keeps the losses."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def add_scalar(self, name: str, value: float, step: int) -> None:
        """Keep a value if it is a loss."""
        if name == "train/loss":
            assert step == len(self.values)
            self.values.append(value)


def build_model(folder: Path, settings: dict[str, Any]) -> CLIP:
    """Return open_clip's model with the given weights."""
    model = CLIP(output_dict=True, **settings["open_clip"])
    missing, unexpected = model.load_state_dict(load_file(folder / "weights.safetensors"), strict=False)
    assert not unexpected, unexpected
    assert set(missing) <= {"attn_mask"}, missing
    return model


def build_optimiser(model: CLIP, settings: dict[str, Any]) -> torch.optim.AdamW:
    """Return AdamW over two groups, drawn by the rule of open_clip's main.py."""
    groups: dict[bool, list[torch.nn.Parameter]] = {True: [], False: []}
    for name, parameter in model.named_parameters():
        is_plain = parameter.ndim < 2 or any(part in name for part in ("bn", "ln", "bias", "logit_scale"))
        groups[is_plain].append(parameter)
    decayed = {"params": groups[False], "weight_decay": settings["weight_decay"]}
    options = {name: settings[name] for name in ("lr", "betas", "eps")}
    return torch.optim.AdamW([{"params": groups[True], "weight_decay": 0.0}, decayed], **options)


def main() -> None:
    """Train, print the facts."""
    folder = Path(sys.argv[1])
    settings = json.loads((folder / "settings.json").read_text())
    torch.set_num_threads(settings["threads"])
    batches, losses = Batches(folder, settings), Losses()
    model = build_model(folder, settings)
    optimiser = build_optimiser(model, settings)
    schedule = cosine_lr(optimiser, settings["lr"], settings["warmup_steps"], batches.num_batches)
    args = SimpleNamespace(
        device="cpu", precision="fp32", accum_freq=1, distill=False, skip_scheduler=False, grad_clip_norm=None,
        horovod=False, log_every_n_steps=1, world_size=1, rank=0, local_rank=0, batch_size=batches.images.shape[1],
        wandb=False,
    )  # fmt: skip
    train_one_epoch(model, {"train": batches}, ClipLoss(), 0, optimiser, None, schedule, None, args, losses)
    versions = {name: version(name) for name in ("open_clip_torch", "torch")}
    print(json.dumps({"versions": versions, "losses": losses.values}))


if __name__ == "__main__":
    main()
