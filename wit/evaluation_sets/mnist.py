"""MNIST's idx files and those of its likes (Fashion-MNIST, KMNIST, EMNIST), packed by gzip or not.

An idx file is two zeros, a byte for the type (8: unsigned bytes), a byte with the number of dimensions, each dimension
in four bytes, the highest first, then the values. Source: "File formats" in yann.lecun.com/exdb/mnist.

EMNIST's images lie transposed, as its authors' MATLAB wrote them; they are turned upright here.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import IO

import numpy as np

from wit.errors import InputError
from wit.evaluation_sets.labels import name_class, read_text
from wit.evaluation_sets.packed import open_unpacked
from wit.evaluation_sets.pieces import Labelled, Listing, Piece, Wanted, cut, to_png
from wit.evaluation_sets.sets import MNIST, EvaluationSet
from wit.evaluation_sets.splits import File, Found, choose_split, split_of_words
from wit.image import Limits
from wit.shards import folder_of
from wit.storage import base_name, exists, join

_IMAGES = re.compile(r"(?:.*[-_.])?images[-_.]idx3[-_.]ubyte(\.gz)?", re.IGNORECASE)
_BYTES = 8  # the type code of unsigned bytes
_RECORDS = 2_000  # of a piece; small as they are, they are as much work as half as many photographs
_MAX_IMAGES = 100_000_000


def is_idx_name(name: str) -> bool:
    """Return whether a file is named as images in idx."""
    return _IMAGES.fullmatch(name.rpartition("/")[2]) is not None


def _read_shape(file: IO[bytes], url: str, num_dimensions: int) -> tuple[int, ...]:
    """Return the dimensions that the header of an idx file states; raises InputError for another file."""
    header = file.read(4 + 4 * num_dimensions)
    if header[:4] != bytes((0, 0, _BYTES, num_dimensions)):
        raise InputError(
            f"{url}: expected an idx file of bytes in {num_dimensions} dimensions (00 00 08 {num_dimensions:02}), "
            f"found {header[:4].hex(' ') or 'nothing'}"
        )
    if len(header) < 4 + 4 * num_dimensions:
        raise _broken_off(url)
    return struct.unpack_from(f">{num_dimensions}I", header, 4)


def _broken_off(url: str) -> InputError:
    return InputError(f"{url}: the file breaks off; fetch it again")


def list_mnist(evaluation_set: EvaluationSet, found: Found) -> Listing:
    """Return the set that idx files are; raises InputError when there is none, or headers and sizes do not agree."""
    images = found.named(is_idx_name)
    names = {file.name for file in images}
    images = tuple(file for file in images if not (file.name.endswith(".gz") and file.name[:-3] in names))
    if not images:
        raise InputError(f"{evaluation_set.path}: expected files like t10k-images-idx3-ubyte or .gz, found none")
    split = choose_split(found, images, lambda name: split_of_words(base_name(name)), evaluation_set.split)
    pieces = tuple(piece for file in split.files for piece in _pieces(file))
    distinct = {piece.classes for piece in pieces}
    classes = distinct.pop() if len(distinct) == 1 else ()
    return Listing(evaluation_set, MNIST, pieces, tuple(filter(None, classes)), split.name, split.left_out)


def _pieces(file: File) -> Iterator[Piece]:
    """Yield the pieces of a file; a packed one is one piece, for it is unpacked from its beginning."""
    with open_unpacked(file.url) as (opened, is_packed):
        num_images, height, width = _read_shape(opened, file.url, 3)
        if not (0 < num_images <= _MAX_IMAGES and 0 < height * width <= Limits().max_pixels):
            raise InputError(
                f"{file.url}: expected images, found a header of {num_images} of {width} x {height} pixels"
            )
        _require_end(opened, is_packed, num_images * height * width, file.url)
    label_url = _label_url(file.url)
    if label_url is not None:
        _require_labels(label_url, file.url, num_images)
    classes = _classes(file.url)
    for start, stop in cut(num_images, num_images if is_packed else _RECORDS):
        yield Piece(MNIST, file.url, item=file.name, start=start, stop=stop, classes=classes, label_url=label_url)


def _require_end(file: IO[bytes], is_packed: bool, num_bytes: int, url: str) -> None:
    """Raise InputError unless a file that is not packed has so many bytes from here on."""
    if is_packed:
        return
    begin = file.tell()
    found = file.seek(0, 2) - begin
    if found != num_bytes:
        raise InputError(f"{url}: expected {num_bytes} bytes after its header, found {found}; fetch it again")


def _label_url(url: str) -> str | None:
    """Return the file of labels beside a file of images, packed or not; None when there is none."""
    base = base_name(url)
    match = _IMAGES.fullmatch(base)
    if match is None:
        return None
    bare = re.sub("idx3", "idx1", base.removesuffix(match.group(1) or ""), flags=re.IGNORECASE)
    start = bare.lower().rindex("images")
    bare = f"{bare[:start]}labels{bare[start + len('images') :]}"
    places = (join(folder_of(url), bare + suffix) for suffix in ("", ".gz"))
    return next((place for place in places if exists(place)), None)


def _require_labels(url: str, images: str, num_images: int) -> None:
    with open_unpacked(url) as (opened, is_packed):
        (num_labels,) = _read_shape(opened, url, 1)
        if num_labels != num_images:
            raise InputError(f"{url}: expected a label for each of {num_images} images ({images}), found {num_labels}")
        _require_end(opened, is_packed, num_labels, url)


def _classes(url: str) -> tuple[str, ...]:
    """Return the characters that EMNIST's mapping beside a file names by number; blanks for numbers it leaves out.

    Its lines are the number, and the code of the capital letter or digit.
    """
    match = re.match(r"(emnist-[a-z]+)-", base_name(url))
    place = join(folder_of(url), f"{match.group(1)}-mapping.txt") if match else ""
    if not match or not exists(place):
        return ()
    try:
        codes = {int(number): int(code) for number, code, *_ in map(str.split, read_text(place).splitlines()) if code}
        return tuple(chr(codes[number]) if number in codes else "" for number in range(min(max(codes) + 1, 256)))
    except (ValueError, OverflowError) as error:
        raise InputError(
            f"{place}: expected lines of a class and a character's code, found otherwise ({error})"
        ) from error


def read_mnist(piece: Piece, wanted: Wanted) -> Iterator[Labelled]:
    """Yield the images of a piece as PNGs; raises InputError where a file breaks off."""
    start, stop = piece.start or 0, piece.stop or 0
    is_transposed = base_name(piece.url).lower().startswith("emnist")
    labels = _labels(piece, start, stop)
    with open_unpacked(piece.url) as (file, _):
        _, height, width = _read_shape(file, piece.url, 3)
        file.seek(file.tell() + start * height * width)
        for number in range(start, stop):
            data = file.read(height * width)
            if len(data) < height * width:
                raise _broken_off(piece.url)
            name = f"{piece.item}/{number}"
            if wanted(name):
                pixels = np.frombuffer(data, np.uint8).reshape(height, width)
                label = str(labels[number - start]) if labels else None
                where = f"{piece.label_url}, image {number}"
                body = to_png(np.ascontiguousarray(pixels.T) if is_transposed else pixels)
                yield Labelled(name, name_class(label, piece.classes, where), body)


def _labels(piece: Piece, start: int, stop: int) -> bytes:
    """Return the classes of the images of a piece; empty where the set has none."""
    if piece.label_url is None:
        return b""
    with open_unpacked(piece.label_url) as (file, _):
        _read_shape(file, piece.label_url, 1)
        file.seek(file.tell() + start)
        labels = file.read(stop - start)
    if len(labels) < stop - start:
        raise _broken_off(piece.label_url)
    return labels
