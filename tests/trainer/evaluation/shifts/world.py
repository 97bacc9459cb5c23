"""A world of four colours that are ImageNet, shifts of it with planted mistakes, and a model that knows colours."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from tests.trainer.evaluation.test_scoring import make_model
from trainer.evaluation.scoring import fill_templates, prompt_means
from trainer.evaluation.shifts.cli import evaluate_robustness
from trainer.interchange.writing import write_openai
from trainer.loader.decode import decode_center
from trainer.models.clip import Clip
from trainer.models.inputs import normalise_images
from trainer.models.vision import VisionTransformer
from trainer.tokenizer import ClipTokenizer
from wit.errors import UserError

MERGES = [("t", "h"), ("r", "e")]  # of `make_model`
COLOURS = {"red": (220, 20, 20), "green": (20, 220, 20), "blue": (20, 20, 220), "white": (235, 235, 235)}
IDS = {"red": "n01000000", "green": "n01000007", "blue": "n01000014", "white": "n01000021"}
"""In this order ImageNet's numbers are 0 to 3."""
BORDER_PX = 2


def picture(colour: str, seed: int, border: bool = False) -> bytes:
    """Return a noisy PNG of a colour, with a wide black border or without."""
    pixels = np.clip(np.random.default_rng(seed).normal(COLOURS[colour], 20, (40, 44, 3)), 0, 255).astype(np.uint8)
    if border:
        framed = np.zeros((40 + 2 * BORDER_PX, 44 + 2 * BORDER_PX, 3), np.uint8)
        framed[BORDER_PX:-BORDER_PX, BORDER_PX:-BORDER_PX] = pixels
        pixels = framed
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def write_pictures(folder: Path, colours: Sequence[str], seed: int = 0, border: bool = False) -> Path:
    """Write a picture of each colour, in order, into a folder, and return it."""
    folder.mkdir(parents=True)
    for number, colour in enumerate(colours):
        (folder / f"{number:02d}.png").write_bytes(picture(colour, seed + number, border))
    return folder


def write_table(path: Path, rows: Sequence[Mapping[str, object]]) -> Path:
    """Write rows as CSV and return the file."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


@dataclass(frozen=True)
class World:
    """Sets in folders, and the command's first words."""

    root: Path
    first: tuple[str, ...]

    def run(self, *arguments: object) -> str:
        """Return what the command shows."""
        shown = CliRunner().invoke(evaluate_robustness, [*self.first, *map(str, arguments)], catch_exceptions=False)
        assert shown.exit_code == 0
        return shown.output

    def fail(self, *arguments: object) -> str:
        """Return the one line in which the command says what is wrong."""
        with pytest.raises(UserError) as raised:
            self.run(*arguments)
        message = str(raised.value)
        assert "\n" not in message
        return message

    def result(self, out: Path) -> dict[str, Any]:
        """Return what a run has written."""
        found: dict[str, Any] = json.loads((out / "results" / "robustness.json").read_text())
        return found


def make_world(root: Path) -> World:
    """Write ImageNet and a model; every shift is written by its test.

    5 images a class, and one red picture more among the green: 20 of 21 are right, of red and green alone 10 of 11.
    8 a class to train on.
    """
    for number, (colour, name) in enumerate(IDS.items()):
        write_pictures(root / "val" / name, [colour] * 5, 100 * number)
        write_pictures(root / "train" / name, [colour] * 8, 1_000 + 100 * number)
    (root / "val" / IDS["green"] / "99.png").write_bytes(picture("red", 99))
    (root / "names.txt").write_text("".join(f"{colour}\n" for colour in IDS))
    (root / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in MERGES))
    model = make_model("contrastive")
    assert isinstance(model, Clip)
    teach_colours(model)
    write_openai(str(root / "model.safetensors"), model)
    words = f"--imagenet {root / 'val'} --merges {root / 'merges.txt'} --device cpu --by-order --classes".split()
    return World(root, (str(root / "model.safetensors"), *words, str(root / "names.txt")))


@torch.no_grad()
def teach_colours(model: Clip) -> None:
    """Set the last product of the image tower so that pictures of a colour come to the embedding of its name."""
    names = list(COLOURS)
    text_CD = prompt_means(model, ClipTokenizer(MERGES), fill_templates(names, ("A photo of a {label}.",)))
    shown = [torch.tensor(decode_center(picture(name, 5_000 + seed), 32)) for name in names for seed in range(30)]
    features_NW = model.visual.features(normalise_images(torch.stack(shown)))
    target_ND = (text_CD - text_CD.mean(dim=0)).repeat_interleave(30, dim=0)
    small = 1e-3 * torch.eye(features_NW.shape[1])
    fitted_WD = torch.linalg.solve(features_NW.T @ features_NW + small, features_NW.T @ target_ND)
    assert isinstance(model.visual, VisionTransformer)
    model.visual.proj.copy_(fitted_WD)
