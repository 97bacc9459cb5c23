"""Batches of pictures and edited copies, whose order and edits are a pure function of (pictures, seed, epoch).

Shapes: B batch, S image side in px.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from random import Random

import numpy as np
from numpy.typing import NDArray

from trainer.detector.edits import edited, plain
from trainer.detector.recipe import DetectorRecipe
from trainer.loader.decode import MAX_ASPECT, Pixels, short_side_size
from trainer.loader.loader import PixelCache, Replaced, chunks, prepared_ahead
from trainer.loader.order import LoaderState, Order, Rows, shuffled
from trainer.loader.pictures import Pictures
from wit.descriptors import U8
from wit.errors import InputError
from wit.image import TOO_MANY_PIXELS, ImageRejected, decode


@dataclass(frozen=True)
class PairBatch:
    """Pictures (B, 3, S, S) and their edited copies, which pictures had to be replaced, and the state after."""

    pictures: U8
    copies: U8
    replaced: tuple[Replaced, ...]
    state: LoaderState


def split_held_out(
    num_pictures: int, share: float, most: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (pictures to train on, pictures kept apart), each in order: a function of the numbers alone."""
    count = min(round(num_pictures * share), most)
    order = shuffled(num_pictures, seed, -1)
    return np.sort(order[count:]), np.sort(order[:count])


def decode_picture(body: bytes, short_px: int) -> Pixels:
    """Return a picture as RGB (height, width, 3), its shorter side `short_px` or less; raises ImageRejected."""
    image = decode(body, short_px)
    if max(image.size) > MAX_ASPECT * min(image.size):
        raise ImageRejected(TOO_MANY_PIXELS, f"{image.width} x {image.height}, aspect limit {MAX_ASPECT}")
    if min(image.size) > short_px:
        image = image.resize(short_side_size(*image.size, short_px), reducing_gap=3.0)
    return np.asarray(image)


class PairLoader:
    """Iterates over batches without end, epoch after epoch, from a state."""

    def __init__(
        self, pictures: Pictures, places: NDArray[np.int64], recipe: DetectorRecipe, state: LoaderState
    ) -> None:
        self.order = Order([np.array([0, len(places)])], [1.0], len(places), state.seed, state.batch_size)
        if not self.batches_per_epoch:
            raise InputError(
                f"--images: expected at least one batch of {state.batch_size} pictures, found {len(places)} to train "
                "on; set a smaller data.batch_size"
            )
        self.pictures, self.places, self.recipe, self.state = pictures, places, recipe, state
        self._cache = PixelCache(recipe.data.cache_mb << 20)

    @property
    def batches_per_epoch(self) -> int:
        """Whole batches in an epoch."""
        return self.order.batches_per_epoch

    def __iter__(self) -> Generator[PairBatch]:
        """Yield batches in order; threads stay at most `prefetch_batches` ahead."""
        data = self.recipe.data
        plans = ((state, [rows[one] for one in chunks(len(rows))]) for state, rows in self.order.plans(self.state))
        with closing(prepared_ahead(plans, self._prepare, data.num_threads, data.prefetch_batches)) as prepared:
            for state, parts in prepared:
                pictures, copies, replaced = zip(*parts, strict=True)
                bad = tuple(one for each in replaced for one in each)
                yield PairBatch(np.concatenate(pictures), np.concatenate(copies), bad, state)

    def _prepare(self, rows: Rows) -> tuple[U8, U8, list[Replaced]]:
        replaced: list[Replaced] = []
        pixels = []
        for row in range(len(rows)):
            place, found, bad = self._usable(rows, row)
            pixels.append(found)
            replaced += [Replaced(self.pictures.name(one), why, self.pictures.name(place)) for one, why in bad]
        seeds = [f"{self.state.seed} {epoch} {one}" for epoch, one in zip(rows.rounds, rows.samples, strict=True)]
        return *pairs(pixels, seeds, self.recipe), replaced

    def _usable(self, rows: Rows, row: int) -> tuple[int, Pixels, list[tuple[int, str]]]:
        """Return (picture, pixels, bad pictures) for a row; raises InputError."""
        bad: list[tuple[int, str]] = []
        for sample in rows.candidates(row):
            place = int(self.places[sample])
            try:
                return place, self._pixels(place), bad
            except ImageRejected as rejected:
                bad.append((place, str(rejected)))
        first, reason = bad[0]
        raise InputError(
            f"--images: expected images, found {len(bad)} bad ones in a row, the first {self.pictures.name(first)} "
            f"({reason})"
        )

    def _pixels(self, place: int) -> Pixels:
        found = self._cache.get(place)
        if found is None:
            found = decode_picture(self.pictures.read(place), self.recipe.picture_px)
            self._cache.offer(place, found)
        return found


def pairs(pixels: list[Pixels], seeds: list[str], recipe: DetectorRecipe) -> tuple[U8, U8]:
    """Return pictures as they are and as edited by each one's seed, both (B, 3, S, S)."""
    side = recipe.image_px
    pictures = np.stack([plain(one, side) for one in pixels])
    copies = np.stack([edited(one, side, recipe.edits, Random(seed)) for one, seed in zip(pixels, seeds, strict=True)])
    return (
        np.ascontiguousarray(pictures.transpose(0, 3, 1, 2)),
        np.ascontiguousarray(copies.transpose(0, 3, 1, 2)),
    )
