"""Zero-shot classification: class names through the text tower are the classifier (paper, section 3.1).

Shapes: N images, C classes, T templates, D embedding.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainer.loader.decode import Pixels, center_crop, decode_short_side
from trainer.models.clip import Clip
from trainer.step import normalise_images, trim_tokens
from trainer.tokenizer import ClipTokenizer
from wit.errors import InputError
from wit.image import ImageRejected
from wit.schema import PREDICTIONS
from wit.statistics import clopper_pearson
from wit.storage import read_bytes

BATCH_IMAGES = 256
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")
CONFIDENCE = 0.95


@dataclass(frozen=True)
class ImageFolder:
    """Images of a folder of class folders: paths relative to it, and the class of each."""

    root: str
    classes: tuple[str, ...]
    """Names for prompts: folder names, "_" as a space."""
    paths: tuple[str, ...]
    labels: tuple[int, ...]


@dataclass(frozen=True)
class ZeroShotResult:
    """Predictions of every image, and what they add up to."""

    classes: tuple[str, ...]
    predictions: pa.Table

    @property
    def num_images(self) -> int:
        """Images evaluated."""
        return len(self.predictions)

    @property
    def num_correct(self) -> int:
        """Images whose most likely class is their own."""
        return sum(self.correct_by_class().values())

    @property
    def accuracy(self) -> float:
        """Share of the images that is correct."""
        return self.num_correct / self.num_images

    @property
    def top5_accuracy(self) -> float:
        """Share of the images whose own class is among the five likeliest."""
        ranks: list[int] = self.predictions["label_rank"].to_pylist()
        return sum(rank <= 5 for rank in ranks) / self.num_images

    @property
    def chance(self) -> float:
        """Accuracy of guessing: 1 / classes."""
        return 1 / len(self.classes)

    @property
    def interval(self) -> tuple[float, float]:
        """Clopper-Pearson interval of the accuracy at CONFIDENCE."""
        return clopper_pearson(self.num_correct, self.num_images, CONFIDENCE)

    def count_by_class(self) -> dict[str, int]:
        """Return the number of images of each class."""
        counts = Counter(self.predictions["label"].to_pylist())
        return {name: counts[name] for name in self.classes}

    def correct_by_class(self) -> dict[str, int]:
        """Return the number of correct images of each class."""
        rows = self.predictions.select(["label", "prediction"]).to_pylist()
        hits = Counter(row["label"] for row in rows if row["label"] == row["prediction"])
        return {name: hits[name] for name in self.classes}

    def mistaken_by_class(self) -> dict[str, tuple[str, int]]:
        """Return the class that the images of each class are most often taken for wrongly, and how many are."""
        rows = self.predictions.select(["label", "prediction"]).to_pylist()
        wrong = Counter((row["label"], row["prediction"]) for row in rows if row["label"] != row["prediction"])
        mistaken: dict[str, tuple[str, int]] = {}
        for (label, prediction), count in sorted(wrong.items(), key=lambda item: (-item[1], item[0])):
            mistaken.setdefault(label, (prediction, count))
        return mistaken


def read_image_folder(root: str) -> ImageFolder:
    """Return the images of a folder of class folders, in name order; raises InputError when it is not one."""
    folder = Path(root)
    if not folder.is_dir():
        found = "a file" if folder.exists() else "nothing"
        raise InputError(f"{root}: expected a folder of class folders, found {found}")
    names = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))
    paths: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(names):
        images = sorted(one for one in os.listdir(folder / name) if one.lower().endswith(IMAGE_SUFFIXES))
        if not images:
            raise InputError(f"{folder / name}: expected images of the class {name!r}, found none")
        paths += [f"{name}/{image}" for image in images]
        labels += [label] * len(images)
    if len(names) < 2:
        raise InputError(f"{root}: expected at least two class folders, found {len(names)}")
    classes = tuple(name.replace("_", " ") for name in names)
    if len(set(classes)) < len(classes):
        twice = Counter(classes).most_common(1)[0][0]
        raise InputError(f"{root}: expected each class once, found two folders for {twice!r}")
    return ImageFolder(root, classes, tuple(paths), tuple(labels))


@torch.no_grad()
def build_classifier(
    model: Clip, tokenizer: ClipTokenizer, classes: Sequence[str], templates: Sequence[str], device: torch.device
) -> Tensor:
    """Return one unit embedding a class, (C, D): the mean of its T prompts' unit embeddings, of unit length again."""
    context_length = len(model.positional_embedding)
    weights = []
    for name in classes:
        prompts = [template.replace("{label}", name) for template in templates]
        tokens_TL = torch.from_numpy(trim_tokens(tokenizer(prompts, context_length))).to(device)
        weights.append(torch.nn.functional.normalize(model.encode_text(tokens_TL).mean(dim=0), dim=0))
    return torch.stack(weights)


def _read_images(data: ImageFolder, side_px: int) -> Iterator[tuple[range, NDArray[np.uint8]]]:
    """Yield (rows, uint8 images (B, 3, S, S)) in order: short side resized, middle cut out."""
    for start in range(0, len(data.paths), BATCH_IMAGES):
        rows = range(start, min(start + BATCH_IMAGES, len(data.paths)))
        images = [_read_image(Path(data.root, data.paths[row]), side_px) for row in rows]
        yield rows, np.stack([center_crop(image, side_px).transpose(2, 0, 1) for image in images])


def _read_image(path: Path, side_px: int) -> Pixels:
    try:
        return decode_short_side(read_bytes(str(path)), side_px)
    except ImageRejected as rejected:
        raise InputError(f"{path}: expected an image, found {rejected}") from rejected


@torch.no_grad()
def evaluate_zero_shot(
    model: Clip, tokenizer: ClipTokenizer, data: ImageFolder, templates: Sequence[str], device: torch.device
) -> ZeroShotResult:
    """Return the prediction of each image: the class whose prompts are nearest.

    Every image counts: one that cannot be read is an InputError, since leaving it out would change the accuracy.
    """
    model.eval()
    classifier_CD = build_classifier(model, tokenizer, data.classes, templates, device)
    scale = float(model.logit_scale.exp())
    side_px = round((len(model.visual.positional_embedding) - 1) ** 0.5) * model.visual.conv1.kernel_size[0]
    rows: list[dict[str, object]] = []
    for numbers, images in _read_images(data, side_px):
        image_BD = model.encode_image(normalise_images(torch.from_numpy(images).to(device)))
        probability_BC = (scale * image_BD @ classifier_CD.T).softmax(dim=1).cpu()
        for number, probabilities in zip(numbers, probability_BC, strict=True):
            label, order = data.labels[number], probabilities.argsort(descending=True, stable=True).tolist()
            rows.append(
                {
                    "path": data.paths[number],
                    "label": data.classes[label],
                    "prediction": data.classes[order[0]],
                    "probability": float(probabilities[order[0]]),
                    "label_probability": float(probabilities[label]),
                    "label_rank": order.index(label) + 1,
                }
            )
    return ZeroShotResult(data.classes, pa.Table.from_pylist(rows, schema=PREDICTIONS))
