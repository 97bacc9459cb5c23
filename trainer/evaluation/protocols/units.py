"""What a protocol is about, one at a time: a picture, or a video with its frames, read when it is its turn."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from trainer.evaluation.protocols.findings import Floats
from wit.errors import InputError
from wit.storage import is_remote, read_bytes

PICTURES, VIDEOS = 256, 16
"""Units that are embedded, and kept, together: a picture is one image, a video may be thousands."""
UNREADABLE = "unreadable"
"""The reason of what a disk or a network did not give; it may the next time."""
NOTHING: Floats = np.zeros((0, 0), np.float32)


@dataclass(frozen=True)
class Opened:
    """A picture or a video that is read."""

    identity: str
    """The same for what has the same pictures, and for nothing else: under it their embeddings are kept."""
    pictures: Callable[[], Iterable[bytes]]
    """Image files: one of a picture, the frames of a video. On the way raises InputError for what cannot be read,
    ImageRejected for a video that is none."""


@dataclass(frozen=True)
class Unit:
    """A picture or a video by its name; `open` raises InputError when it cannot be read."""

    name: str
    open: Callable[[], Opened]


@dataclass(frozen=True)
class Embedded:
    """The unit embeddings (F, D) of what a unit shows; of one that cannot be read there are none, but a reason."""

    rows_FD: Floats
    reason: str = ""
    detail: str = ""


class Embedder(Protocol):
    """What a protocol needs of a model."""

    @property
    def scale(self) -> float:
        """What cosines are multiplied with to be logits: 1 / temperature."""

    def embed(self, units: Sequence[Unit], part_units: int = PICTURES) -> Iterator[Embedded]:
        """Yield the embeddings of each unit, in order; in memory are those of `part_units` at a time."""

    def texts(self, prompts: Sequence[Sequence[str]]) -> Floats:
        """Return unit embeddings (T, D): the mean of the prompts of each text, of unit length again."""


def require_file(url: str) -> None:
    """Raise InputError for what is there and no file: a pipe or a device may have no end."""
    if not is_remote(url) and os.path.exists(url) and not os.path.isfile(url):
        raise InputError(f"{url}: expected a file, found a folder, a pipe or a device; take it away")


def picture(url: str) -> Unit:
    """Return the unit of an image file."""

    def opened() -> Opened:
        require_file(url)
        body = read_bytes(url)
        return Opened(hashlib.sha256(body).hexdigest(), lambda: (body,))

    return Unit(url, opened)
