"""What readers of evaluation sets share: an image, the part of a set that one task reads, and what a set is."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from wit.evaluation_sets.sets import EvaluationSet
from wit.foreign import IMAGE_SUFFIXES

PIECE_ITEMS = 1_000
"""Images of a piece, where a set can be cut: about 10 s of decoding photographs."""

Wanted = Callable[[str], bool]
"""Says whether an image is read, by its name."""


class Item(NamedTuple):
    """An image of an evaluation set."""

    set: str
    item: str
    """Its name, unique in the set: a label, by which nothing is ever opened."""
    label: str | None
    """Its class, or its classes as `wit.evaluation_sets.labels.join_labels` has them; None: the set does not say."""
    body: bytes
    """An encoded image as it lies in the set, which may be broken; PNG where the set has raw pixels."""


@dataclass(frozen=True)
class Piece:
    """The part of a set that one task reads: a row of `wit.schema.EVALUATION_INPUTS`, which says what is what."""

    kind: str
    url: str
    set: str = ""
    item: str = ""
    start: int | None = None
    stop: int | None = None
    members: tuple[str, ...] = ()
    labels: tuple[str | None, ...] = ()
    classes: tuple[str, ...] = ()
    label_url: str | None = None
    image_column: str | None = None
    label_column: str | None = None
    item_column: str | None = None

    @staticmethod
    def of(row: dict[str, Any]) -> Piece:
        """Return the piece that a row is."""
        lists = {name: tuple(row[name]) for name in ("members", "labels", "classes")}
        return Piece(**{field.name: row[field.name] for field in fields(Piece)} | lists)

    def row(self) -> dict[str, Any]:
        """Return the piece as a row."""
        row = {field.name: getattr(self, field.name) for field in fields(self)}
        return row | {name: list(row[name]) for name in ("members", "labels", "classes")}


class Fold(NamedTuple):
    """A part of a set's images to fit on, and one to judge by: scores are the mean over folds."""

    name: str
    train: frozenset[str]
    """Names of items."""
    test: frozenset[str] = frozenset()
    """Names of items; empty: all of the test split."""


class Labelled(NamedTuple):
    """An image as a reader of a format yields it."""

    item: str
    label: str | None
    body: bytes


@dataclass(frozen=True)
class Listing:
    """What a set is: its format, the split that is read, its classes, and the pieces to read."""

    set: EvaluationSet
    format: str
    pieces: tuple[Piece, ...]
    classes: tuple[str, ...] = ()
    """In the order that the set gives them; empty: not known before it is read."""
    split: str = ""
    """The split that is read; blank: the set has none, or it is all there is."""
    left_out: tuple[str, ...] = ()
    """The other splits, which are not read."""
    folds: tuple[Fold, ...] = ()
    """In the order of their numbers; empty: one fit on all there is."""

    def named(self) -> Listing:
        """Return the same with the name of the set in every piece."""
        return replace(self, pieces=tuple(replace(piece, set=self.set.name) for piece in self.pieces))

    def line(self) -> str:
        """Return what is read, in one line."""
        split = f", split {self.split} (not {', '.join(self.left_out)})" if self.left_out else ""
        classes = f", {len(self.classes):,} classes" if self.classes else ""
        folds = f", {len(self.folds)} folds" if self.folds else ""
        return f"{self.set.name}: {self.format}{split}{classes}{folds}, {self.set.path}"


def is_image_name(name: str) -> bool:
    """Return whether a file or member is named as an image; names that begin with a dot are none."""
    base = name.rpartition("/")[2]
    return not base.startswith(".") and base.rpartition(".")[2].lower() in IMAGE_SUFFIXES and "." in base


def by_number(name: str) -> list[tuple[int, int, str]]:
    """Return a key that orders frames of a video by the numbers in their names: 2 is before 10, and 2 before 02."""
    parts = re.split(r"([0-9]+)", name)
    return [(0, int(part), part) if part.isdecimal() else (1, 0, part) for part in parts]


def cut(total: int, size: int = PIECE_ITEMS) -> Iterator[tuple[int, int]]:
    """Yield (start, stop) of the pieces of so many records."""
    for start in range(0, total, size):
        yield start, min(start + size, total)


def to_png(pixels: npt.NDArray[np.uint8]) -> bytes:
    """Return pixels [height, width] or [height, width, 3] as a PNG.

    Without compression, which would take longer than everything else that is done to an image of 32 px.
    """
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=0)
    return buffer.getvalue()
