"""Zero-shot classification: the names of classes in prompts are the classifier (paper, section 3.1).

Shapes: B images of a batch, S their side in px, C classes, T templates, D embedding.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainer.evaluation.scoring import Scorer, class_scorer
from trainer.loader.decode import decode_short_side
from trainer.loader.inference import Decoding, decode_batches
from trainer.models.build import AnyModel
from trainer.models.inputs import normalise_images
from trainer.parallel.ranks import ALONE, Ranks, sum_over
from trainer.tokenizer import ClipTokenizer
from wit.errors import InputError
from wit.foreign import IMAGE_SUFFIXES, last_suffix
from wit.image import ImageRejected
from wit.patterns import utf8
from wit.schema import PREDICTIONS
from wit.statistics import clopper_pearson
from wit.storage import read_bytes

BATCH_IMAGES = 256
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

    def correct_by_class(self) -> dict[str, int]:
        """Return the number of correct images of each class."""
        rows = self.predictions.select(["label", "prediction"]).to_pylist()
        hits = Counter(row["label"] for row in rows if row["label"] == row["prediction"])
        return {name: hits[name] for name in self.classes}


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
        if not name.isprintable():  # it goes into prompts, and to a terminal
            raise InputError(
                f"{str(folder / name)!r}: expected the name of a class, found signs that none has; rename it"
            )
        images = sorted(one for one in os.listdir(folder / name) if last_suffix(one) in IMAGE_SUFFIXES)
        if not images:
            raise InputError(f"{folder / name}: expected images of the class {name!r}, found none")
        for image in images:
            if not os.path.isfile(folder / name / utf8(image)):  # a pipe would never end
                raise InputError(f"{folder / name / image}: expected a file, found a folder, a pipe, or nothing")
        paths += [f"{name}/{image}" for image in images]
        labels += [label] * len(images)
    if len(names) < 2:
        raise InputError(f"{root}: expected at least two class folders, found {len(names)}")
    classes = tuple(name.replace("_", " ") for name in names)
    if len(set(classes)) < len(classes):
        twice = Counter(classes).most_common(1)[0][0]
        raise InputError(f"{root}: expected each class once, found two folders for {twice!r}")
    return ImageFolder(root, classes, tuple(paths), tuple(labels))


Advance = Callable[[int], None]


def _silent(_: int) -> None:
    """Say nothing of progress."""


def evaluate_zero_shot(
    model: AnyModel,
    tokenizer: ClipTokenizer,
    data: ImageFolder,
    templates: Sequence[str],
    ranks: Ranks = ALONE,
    advance: Advance = _silent,
) -> ZeroShotResult:
    """Return the prediction of each image: the class that `class_scorer` finds likeliest; as `predict_classes`.

    The model stays on its device; it is in training mode after the call if it was before.
    """
    was_training = model.training
    model.eval()
    try:
        score = class_scorer(model, tokenizer, data.classes, templates)
        device = next(model.parameters()).device
        return predict_classes(score, data, model.config.vision.image_px, device, ranks, advance)
    finally:
        model.train(was_training)


@torch.no_grad()
def predict_classes(
    score: Scorer,
    data: ImageFolder,
    side_px: int,
    device: torch.device,
    ranks: Ranks = ALONE,
    advance: Advance = _silent,
) -> ZeroShotResult:
    """Return the prediction of each image, the same on every rank; each rank looks at its share of the images.

    All ranks must call it, and all call `score` equally often, as a model in shards (FSDP) needs.
    `advance(n)` is called as n more images of this rank are done. Every image counts:
    one that cannot be read is an InputError on every rank, since leaving it out would change the accuracy.
    """
    found = np.zeros((len(data.paths), len(_FOUND)))
    how = Decoding(side_px, BATCH_IMAGES, ranks.num_cores, pin=device.type == "cuda")
    for batch in decode_batches(partial(_read, data), _share(len(data.paths), ranks), how):
        for one in batch.rejected:
            found[min(one.place, len(data.paths) - 1), _REJECTED] = 1
        images = batch.images if len(batch.places) else torch.zeros((1, 3, side_px, side_px), dtype=torch.uint8)
        logits_BC = score(normalise_images(images.to(device, non_blocking=True))).cpu()
        for place, logits_C in zip(batch.places, logits_BC, strict=False):
            if place < len(data.paths):
                found[place] = _judge(logits_C, data.labels[place])
        advance(len(batch.places) + len(batch.rejected))
    return _gather(found, data, device, ranks)


_FOUND = ("prediction", "probability", "label_probability", "label_rank", "rejected")
_REJECTED = _FOUND.index("rejected")


def _share(num_images: int, ranks: Ranks) -> range:
    """Return a rank's images, as many as any other's: numbers beyond the last are for company."""
    return range(ranks.rank, -(-num_images // ranks.size) * ranks.size, ranks.size)


def _read(data: ImageFolder, place: int) -> bytes:
    return read_bytes(str(Path(data.root, data.paths[min(place, len(data.paths) - 1)])))


def _judge(logits_C: Tensor, label: int) -> tuple[float, ...]:
    """Return the numbers that _FOUND names; of equal classes the first is the likelier."""
    probabilities_C = logits_C.float().softmax(dim=0)
    order = probabilities_C.argsort(descending=True, stable=True).tolist()
    rank = order.index(label) + 1
    return order[0], float(probabilities_C[order[0]]), float(probabilities_C[label]), rank, 0


def _gather(found: NDArray[np.float64], data: ImageFolder, device: torch.device, ranks: Ranks) -> ZeroShotResult:
    """Put the ranks' shares together: each image's numbers are zeros on all ranks but one."""
    whole = sum_over(ranks, torch.from_numpy(found).to(device)).cpu().numpy()
    for place in np.flatnonzero(whole[:, _REJECTED])[:1]:
        raise InputError(f"{Path(data.root, data.paths[place])}: expected an image, found {_problem(data, place)}")
    rows = [
        {
            "path": path,
            "label": data.classes[label],
            "prediction": data.classes[int(prediction)],
            "probability": probability,
            "label_probability": label_probability,
            "label_rank": int(rank),
        }
        for path, label, (prediction, probability, label_probability, rank, _) in zip(
            data.paths, data.labels, whole.tolist(), strict=True
        )
    ]
    return ZeroShotResult(data.classes, pa.Table.from_pylist(rows, schema=PREDICTIONS))


def _problem(data: ImageFolder, place: int) -> str:
    """Return why an image was rejected; not every rank has seen it."""
    try:
        decode_short_side(_read(data, place), 1)
    except ImageRejected as rejected:
        return str(rejected)
    return "another one at the first reading"
