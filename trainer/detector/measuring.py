"""What a detector is worth on pictures that it has not seen: each edited copy is looked for among all originals.

The paper reports "near 100 % proxy accuracy" on this task. Shapes: N pictures, S image side in px, D embedding.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from trainer.detector.data import decode_picture, pairs
from trainer.detector.model import Detector
from trainer.detector.recipe import DetectorRecipe
from trainer.detector.whitening import MAX_PICTURES, whiten
from trainer.loader.pictures import Pictures
from trainer.models.inputs import normalise_images
from wit.descriptors import U8
from wit.image import ImageRejected
from wit.progress import progress

BATCH_PICTURES = 64
FALSE_PAIRS = 1e-5
"""Share of the comparisons of different pictures that should pass the proposed threshold."""
_TAIL = 0.01  # share of the highest cosines of different pictures from which the rest of their tail is extrapolated
_HIGHEST = 0.95  # of a proposed threshold: above it there are hardly copies left
_STEP = 0.01


@dataclass(frozen=True)
class Measured:
    """How well copies are found among held-out pictures."""

    num_pictures: int
    accuracy: float
    """Share of the copies whose nearest original is their own."""
    threshold: float
    """Cosine that about `FALSE_PAIRS` of the pairs of different pictures reach: where a user begins to look."""
    recall: float
    """Share of the copies that reach it with their own original."""
    num_unreadable: int


def measure(model: Detector, pictures: Pictures, places: NDArray[np.int64], recipe: DetectorRecipe) -> Measured | None:
    """Return what a detector does on held-out pictures and one edit of each, always the same; None without two.

    Memory: N x N cosines and copies, 13 bytes a pair: 52 MB for 2,000 pictures, 1.3 GB for 10,000.
    """
    originals, copies, num_unreadable = [], [], 0
    for batch, bad in _batches(pictures, places, recipe, "measure"):
        num_unreadable += bad
        if batch is not None:
            originals.append(_embed(model, batch[0]))
            copies.append(_embed(model, batch[1]))
    if sum(map(len, originals)) < 2:
        return None
    cosines_NN = np.concatenate(copies) @ np.concatenate(originals).T
    is_own = np.eye(len(cosines_NN), dtype=np.bool_)
    threshold = _threshold(cosines_NN[~is_own])
    return Measured(
        num_pictures=len(cosines_NN),
        accuracy=float((cosines_NN.argmax(axis=1) == np.arange(len(cosines_NN))).mean()),
        threshold=threshold,
        recall=float((cosines_NN[is_own] >= threshold).mean()),
        num_unreadable=num_unreadable,
    )


def _threshold(cosines_of_others: NDArray[np.float32]) -> float:
    """Return the proposed threshold, rounded up to hundredths.

    Held-out pictures are too few to see what happens once in 100,000 times: beyond the highest hundredth of the cosines
    the tail is taken for exponential, with the mean excess that is seen there (peaks over threshold: Pickands 1975, at
    shape 0).
    """
    begin = float(np.quantile(cosines_of_others, 1 - _TAIL))
    excess = float(np.mean(cosines_of_others[cosines_of_others >= begin], dtype=np.float64)) - begin
    extrapolated = begin + excess * math.log(_TAIL / FALSE_PAIRS)
    return min(_HIGHEST, round(math.ceil(extrapolated / _STEP) * _STEP, 2))


def _batches(
    pictures: Pictures, places: NDArray[np.int64], recipe: DetectorRecipe, label: str
) -> Iterator[tuple[tuple[U8, U8] | None, int]]:
    """Yield (originals and copies, or None where there are none; how many pictures could not be read)."""
    with progress(label, len(places), "pictures") as advance:
        for start in range(0, len(places), BATCH_PICTURES):
            chosen = places[start : start + BATCH_PICTURES].tolist()
            pixels, seeds = [], []
            for place in chosen:
                try:
                    pixels.append(decode_picture(pictures.read(place), recipe.picture_px))
                except ImageRejected:
                    continue
                seeds.append(f"held out {place}")
            yield (pairs(pixels, seeds, recipe) if pixels else None), len(chosen) - len(pixels)
            advance(len(chosen))


@torch.inference_mode()
def _embed(model: Detector, images_B3SS: U8) -> NDArray[np.float32]:
    device = next(model.parameters()).device
    embeddings: NDArray[np.float32] = model(normalise_images(torch.from_numpy(images_B3SS).to(device))).cpu().numpy()
    return embeddings


def whiten_on(model: Detector, pictures: Pictures, places: NDArray[np.int64], recipe: DetectorRecipe) -> None:
    """Whiten a trained model on some of the pictures at `places`, those that it was trained on, spread over them all.

    Pictures that cannot be decoded are left out.
    """
    device = next(model.parameters()).device
    chosen = places[np.linspace(0, len(places) - 1, min(len(places), MAX_PICTURES)).astype(np.int64)]
    found = []
    for batch, _ in _batches(pictures, chosen, recipe, "whiten"):
        if batch is not None:
            with torch.inference_mode():
                found.append(model.project(normalise_images(torch.from_numpy(batch[0]).to(device))).cpu().numpy())
    if found:
        whiten(model, np.concatenate(found).astype(np.float64))
