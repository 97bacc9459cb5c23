"""A set of a shift as it is opened: without a border that it has been given, and of videos the frames that count."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from trainer.evaluation.sets import OpenSet
from trainer.evaluation.shifts.frames import Frames
from trainer.evaluation.shifts.matching import Mapped
from wit.errors import InputError
from wit.evaluation_sets import Item
from wit.evaluation_sets.pieces import to_png
from wit.image import ImageRejected, decode


@dataclass(frozen=True)
class ShiftSet(OpenSet):
    """An opened set, of which only what is judged is read."""

    crop_px: int = 0
    """Pixels that are cut off on every side: ObjectNet's images have a red border that says what they are."""
    frames: Frames | None = None
    mapped: Mapped | None = None
    own_names: str = ""
    """A source of the names of its classes; blank: what it calls them itself."""

    @property
    def num_known(self) -> int | None:
        """Images, where that is known before all are read."""
        return super().num_known if self.frames is None else len(self.frames.items)

    def items(self) -> Iterator[Item]:
        """Yield the images that count, broken ones too, with a label each: of a frame the first that is said of it.

        Raises InputError when the set has none of the frames, or an image is no larger than its border.
        """
        is_empty = True
        for item in super().items():
            if self.frames is not None:
                if item.item not in self.frames.items:
                    continue
                labels = self.frames.labels.get(item.item)
                item = item._replace(label=labels[0]) if labels else item
            is_empty = False
            yield item._replace(body=self._cropped(item)) if self.crop_px else item
        if self.frames is not None and is_empty:
            raise InputError(
                f"{self.frames.source}: expected frames among the images of {self.listing.set.path}, found no "
                f"{next(iter(self.frames.near))!r} there; name them as they lie in the set"
            )

    def _cropped(self, item: Item) -> bytes:
        """Return an image without so many pixels on every side, as PNG; one that cannot be read stays as it is."""
        try:
            image = decode(item.body)
        except ImageRejected:
            return item.body  # what embeds it says why, and counts it
        width, height = image.size
        if min(width, height) <= 2 * self.crop_px:
            raise InputError(
                f"{item.item}: expected an image larger than its border of {self.crop_px} px on every side, found "
                f"{width} x {height}; choose a smaller --crop"
            )
        return to_png(np.asarray(image.crop((self.crop_px, self.crop_px, width - self.crop_px, height - self.crop_px))))

    def fingerprint(self) -> str:
        """Return SHA-256, in hex, over what is read, and how."""
        frames = None if self.frames is None else [sorted(self.frames.items), sorted(self.frames.labels.items())]
        facts = json.dumps([super().fingerprint(), self.crop_px, frames])
        return hashlib.sha256(facts.encode()).hexdigest() if self.crop_px or frames else super().fingerprint()
