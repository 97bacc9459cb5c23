"""Pictures and a recipe with which a detector trains in a second."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainer.detector.edits import Edits
from trainer.detector.recipe import Data, DetectorRecipe, Model
from trainer.recipe import Optimiser, Run

NUM_PICTURES = 48


def picture(seed: int, width: int = 60, height: int = 44) -> Image.Image:
    """Return a picture of soft colours, unlike that of any other seed."""
    small = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 48 pictures in two folders, and a file that is none."""
    root = tmp_path_factory.mktemp("pictures")
    for number in range(NUM_PICTURES):
        path = root / ("ab"[number % 2]) / f"{number:02d}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(encoded(picture(number, 50 + number, 44)))
    (root / "notes.txt").write_text("not a picture")
    return root


def micro_recipe(**run: object) -> DetectorRecipe:
    """Return a recipe that trains in a second; keyword arguments go to its [run]."""
    defaults = {"epochs": 4, "save_every_steps": 2, "log_every_steps": 1}
    return DetectorRecipe(
        Model("micro"),
        Data(batch_size=16, held_out_share=0.25, num_threads=2),
        Edits(),
        Optimiser(learning_rate=3e-3, warmup_steps=2, weight_decay=0.0),
        Run(**(defaults | run)),  # type: ignore[arg-type]
    )
