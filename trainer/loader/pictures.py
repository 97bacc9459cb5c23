"""Pictures by themselves: those of shards, or the image files of folders; no captions, no labels."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from trainer.loader.index import Index, read_index
from trainer.loader.reading import read_sample
from wit.errors import InputError
from wit.foreign import IMAGE_SUFFIXES
from wit.patterns import walk_files
from wit.storage import is_remote, join, list_names, local_path, read_bytes, size


class Source(Protocol):
    """A part of the pictures."""

    @property
    def hash(self) -> str:
        """SHA-256 over what the pictures are, hex."""

    def __len__(self) -> int: ...

    def name(self, place: int) -> str:
        """Return the name of a picture, for messages."""

    def read(self, place: int) -> bytes:
        """Return a picture's bytes."""


@dataclass(frozen=True)
class FolderSource:
    """Image files below a folder, in the order of their paths."""

    root: str
    paths: tuple[str, ...]
    """Relative to the folder."""
    hash: str
    """Over paths and sizes."""

    def __len__(self) -> int:
        return len(self.paths)

    def name(self, place: int) -> str:
        """Return a picture's path below the folder."""
        return self.paths[place]

    def read(self, place: int) -> bytes:
        """Return a picture's bytes; raises InputError."""
        return read_bytes(join(self.root, self.paths[place]))


@dataclass(frozen=True)
class ShardSource:
    """The samples of shards, by their indexes."""

    index: Index

    @property
    def hash(self) -> str:
        """The index's."""
        return self.index.hash

    def __len__(self) -> int:
        return len(self.index)

    def name(self, place: int) -> str:
        """Return the key of a sample."""
        return self.index.key(place)

    def read(self, place: int) -> bytes:
        """Return a sample's image; raises InputError."""
        return read_sample(self.index, place)[0]


class Pictures:
    """Sources, one after the other."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self.sources = tuple(sources)
        self._ends = np.cumsum([len(source) for source in self.sources])

    def __len__(self) -> int:
        return int(self._ends[-1])

    @property
    def hash(self) -> str:
        """SHA-256 over what the pictures are, hex; the folders that hold them do not count."""
        return hashlib.sha256("\0".join(source.hash for source in self.sources).encode()).hexdigest()

    def name(self, place: int) -> str:
        """Return the name of a picture, for messages."""
        source, within = self._locate(place)
        return source.name(within)

    def read(self, place: int) -> bytes:
        """Return a picture's bytes; raises InputError."""
        source, within = self._locate(place)
        return source.read(within)

    def _locate(self, place: int) -> tuple[Source, int]:
        number = int(np.searchsorted(self._ends, place, side="right"))
        return self.sources[number], place - int(self._ends[number - 1] if number else 0)


def find_pictures(paths: Sequence[str]) -> Pictures:
    """Return the pictures that paths name, each a folder of images in folders, or shards as `wit train` takes them.

    Raises InputError for a path that holds neither.
    """
    return Pictures([_source(path) for path in paths])


def _source(path: str) -> Source:
    is_folder = not is_remote(path) and os.path.isdir(local_path(path))
    if not is_folder or any(name.endswith(".tar") for name in list_names(path)):
        return ShardSource(read_index(path))
    root = local_path(path)
    paths = [
        os.path.relpath(found, root)
        for found in walk_files(root)
        if os.path.splitext(found)[1].lower().removeprefix(".") in IMAGE_SUFFIXES
    ]
    if not paths:
        raise InputError(f"{path}: expected a folder of images or of shards (*.tar), found neither")
    digest = hashlib.sha256()
    for one in paths:
        digest.update(f"{one}\0{size(join(root, one))}\0".encode())
    return FolderSource(root, tuple(paths), digest.hexdigest())
