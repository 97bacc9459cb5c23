"""What is embedded: images of shards (with their captions) or of folders, and captions in files."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import pyarrow as pa

from trainer.loader.cache import RangeCache
from trainer.loader.pictures import FolderSource, ShardSource, find_pictures
from trainer.loader.reading import Reader
from wit.errors import InputError
from wit.foreign import CAPTION_FIELDS
from wit.storage import base_name, is_remote, join, read_bytes, read_parquet, size


class Row(NamedTuple):
    """What a row of EMBEDDED_IMAGES says of where an image lies."""

    key: str
    source: str
    offset: int
    length: int


class ImageSource(Protocol):
    """Images in an order."""

    @property
    def hash(self) -> str:
        """SHA-256 over what the images are, hex."""

    def __len__(self) -> int: ...

    def row(self, place: int) -> Row:
        """Return where an image lies; raises InputError."""

    def read(self, place: int) -> tuple[bytes, str | None]:
        """Return an image's bytes and its caption, if it has one; raises InputError, ImageRejected."""


@dataclass(frozen=True)
class FolderImages:
    """The image files below a folder, which have no captions."""

    files: FolderSource

    @property
    def hash(self) -> str:
        """Over paths and sizes."""
        return self.files.hash

    def __len__(self) -> int:
        return len(self.files)

    def row(self, place: int) -> Row:
        """Return path below the folder, path, and the whole file."""
        path = self.files.paths[place]
        url = join(self.files.root, path)
        return Row(path, url, 0, size(url))

    def read(self, place: int) -> tuple[bytes, None]:
        """Return an image's bytes; raises InputError."""
        return self.files.read(place), None


@dataclass(frozen=True)
class ShardImages:
    """The samples of shards, by their indexes."""

    reader: Reader

    @property
    def hash(self) -> str:
        """The index's."""
        return self.reader.index.hash

    def __len__(self) -> int:
        return len(self.reader.index)

    def row(self, place: int) -> Row:
        """Return key, tar and the place of the image in it."""
        found = self.reader.index.locate(place)
        return Row(found.key, found.shard, *found.image)

    def read(self, place: int) -> tuple[bytes, str]:
        """Return a sample's image and caption; raises InputError, ImageRejected."""
        return self.reader.read(place)


@dataclass(frozen=True)
class Texts:
    """Captions of a file."""

    name: str
    lines: Sequence[str]
    hash: str

    def __len__(self) -> int:
        return len(self.lines)

    def key(self, place: int) -> str:
        """Return FILE:LINE, lines counted from 1."""
        return f"{self.name}:{place + 1}"


def find_images(path: str, open_cache: Callable[[], RangeCache | None]) -> ImageSource:
    """Return the images of a path: shards, as `wit train` takes them, or a folder of images in folders.

    `open_cache` is called for shards at a URL; without a cache each image is a request of its own. Raises InputError
    for a path that holds neither.
    """
    (source,) = find_pictures([path]).sources
    if isinstance(source, FolderSource):
        return FolderImages(source)
    assert isinstance(source, ShardSource)
    if is_remote(path):
        source.index.cache = open_cache()
    return ShardImages(Reader(source.index))


def read_texts(path: str) -> Texts:
    """Return the captions of a file: the lines of a text file in UTF-8, or a column of a Parquet file.

    The column is the first there is of `wit.foreign.CAPTION_FIELDS`. Raises InputError.
    """
    lines = _parquet_texts(path) if path.endswith(".parquet") else _text_lines(path)
    if not lines:
        raise InputError(f"{path}: expected captions, one a line, found none")
    digest = hashlib.sha256("\0".join(lines).encode("utf-8", "surrogatepass"))
    return Texts(base_name(path), lines, digest.hexdigest())


def _text_lines(path: str) -> list[str]:
    try:
        text = read_bytes(path).decode()
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: expected text in UTF-8, found other bytes at {error.start}") from error
    return text.removesuffix("\n").split("\n") if text else []


def _parquet_texts(path: str) -> list[str]:
    table = read_parquet(path)
    columns = [name for name in CAPTION_FIELDS if name in table.column_names]
    if not columns:
        raise InputError(f"{path}: expected a column of captions ({', '.join(CAPTION_FIELDS)}), found none of them")
    column = table[columns[0]]
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)) or column.null_count:
        raise InputError(f"{path}: expected text in every row of the column {columns[0]}, found {column.type} or nulls")
    try:
        lines: list[str] = column.to_pylist()
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: expected text in UTF-8, found other bytes in the column {columns[0]}") from error
    return lines
