"""CIFAR-10 and CIFAR-100 in their binary version, unpacked or in the tar as published.

A record of CIFAR-10 is a byte with the class and 3 x 32 x 32 bytes, red, green and blue, each row by row; of CIFAR-100
two bytes, the coarse and the fine class, before them. Source: "Binary version" in cs.toronto.edu/~kriz/cifar.html.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import IO, NamedTuple

import numpy as np

from wit import tar
from wit.errors import InputError
from wit.evaluation_sets.labels import class_lines, decode_text, name_class, read_text
from wit.evaluation_sets.packed import open_unpacked
from wit.evaluation_sets.pieces import Labelled, Listing, Piece, Wanted, cut, to_png
from wit.evaluation_sets.sets import CIFAR10, CIFAR100, EvaluationSet
from wit.evaluation_sets.splits import File, Found, choose_split, split_of_words
from wit.evaluation_sets.tars import is_tar_name
from wit.shards import folder_of
from wit.storage import exists, join, reading, size

_SIDE_PX = 32
_PIXEL_BYTES = 3 * _SIDE_PX * _SIDE_PX
_MAX_CLASSES_BYTES = 1 << 20
_PICKLES = re.compile(r"data_batch_\d|test_batch|batches\.meta|train|test|meta")
_RECORDS = 2_000  # of a piece; small as they are, they are as much work as half as many photographs


@dataclass(frozen=True)
class _Version:
    """How a data set lies in its files."""

    files: re.Pattern[str]
    label_bytes: int
    """Bytes before the pixels; the last is the class."""
    num_classes: int
    classes: str
    """File with the names of the classes, a line each."""
    download: str

    @property
    def record_bytes(self) -> int:
        return self.label_bytes + _PIXEL_BYTES


_VERSIONS = {
    CIFAR10: _Version(
        re.compile(r"(data_batch_\d|test_batch)\.bin"), 1, 10, "batches.meta.txt", "cifar-10-binary.tar.gz"
    ),
    CIFAR100: _Version(re.compile(r"(train|test)\.bin"), 2, 100, "fine_label_names.txt", "cifar-100-binary.tar.gz"),
}


class _Place(NamedTuple):
    """Where the records of a file are."""

    url: str
    num_bytes: int
    member: str = ""
    """Of a tar, the member; blank: the file itself."""


def cifar_of(name: str) -> str:
    """Return which CIFAR a file, or a member of a tar, is of by its name; blank: of none."""
    base = name.rpartition("/")[2]
    return next((kind for kind, version in _VERSIONS.items() if version.files.fullmatch(base)), "")


def is_pickled(name: str) -> bool:
    """Return whether a file is named as one of CIFAR's Python version."""
    return _PICKLES.fullmatch(name.rpartition("/")[2]) is not None


def refuse_pickles(where: str) -> InputError:
    """Return what to say of CIFAR's Python version: pickles run code when they are opened, so none ever is."""
    downloads = " or ".join(version.download for version in _VERSIONS.values())
    return InputError(
        f"{where}: expected CIFAR's binary version, found its Python version, whose pickled files are never opened; "
        f"fetch {downloads} from https://www.cs.toronto.edu/~kriz/cifar.html"
    )


def list_cifar(kind: str, evaluation_set: EvaluationSet, found: Found) -> Listing:
    """Return the set that the files of a version are; raises InputError when there is none, or one breaks off."""
    version = _VERSIONS[kind]
    files = found.named(lambda name: cifar_of(name) == kind or is_tar_name(name))
    places: dict[str, _Place] = {}
    for name, place in _places(files, version):
        if name in places:
            raise InputError(f"{place.url}: expected each file of {version.download} once, found {name!r} twice")
        places[name] = place
    if not places:
        raise InputError(f"{evaluation_set.path}: expected files of {version.download}, found none")
    is_packed = any(place.member for place in places.values())
    everything = found._replace(is_folder=found.is_folder or is_packed)
    named = [File(place.url, name) for name, place in places.items()]
    split = choose_split(everything, named, _split, evaluation_set.split)
    chosen = {file.name: places[file.name] for file in split.files}
    classes = _classes(version, next(iter(chosen.values())))
    pieces = tuple(piece for name, place in chosen.items() for piece in _cut(kind, name, place, classes))
    return Listing(evaluation_set, kind, pieces, classes, split.name, split.left_out)


def _places(files: Sequence[File], version: _Version) -> Iterator[tuple[str, _Place]]:
    """Yield the names of files in the set, and where they are.

    Names are the same in a tar and out of it; of several tars, the tar's stands before its members'.
    """
    for file in files:
        prefix = f"{file.name}/" if len(files) > 1 else ""
        if not is_tar_name(file.name):
            yield file.name, _Place(file.url, size(file.url))
            continue
        with open_unpacked(file.url) as (archive, _):
            for member in tar.members(archive, file.url):
                base = member.name.rpartition("/")[2]
                if version.files.fullmatch(base):
                    yield f"{prefix}{base}", _Place(file.url, member.length, member.name)


def _split(name: str) -> str:
    """Return the split of a file: data_batch_1.bin to data_batch_5.bin are the training images."""
    base = name.rpartition("/")[2]
    return "train" if base.startswith("data_batch") else split_of_words(base)


def _cut(kind: str, name: str, place: _Place, classes: tuple[str, ...]) -> Iterator[Piece]:
    """Yield the pieces of a file; one in a tar is one piece, for it is unpacked from its beginning."""
    num_records, rest = divmod(place.num_bytes, _VERSIONS[kind].record_bytes)
    where = f"{place.url}, {place.member!r}" if place.member else place.url
    if rest or not num_records:
        raise InputError(
            f"{where}: expected records of {_VERSIONS[kind].record_bytes} bytes, as {kind} has them, found "
            f"{place.num_bytes} bytes; fetch it again"
        )
    if place.member:
        yield Piece(kind, place.url, item=name, start=0, stop=num_records, members=(place.member,), classes=classes)
        return
    for start, stop in cut(num_records, _RECORDS):
        yield Piece(kind, place.url, item=name, start=start, stop=stop, classes=classes)


def _classes(version: _Version, place: _Place) -> tuple[str, ...]:
    """Return the names of the classes, from the file beside the records; empty when there is none."""
    if not place.member:
        url = join(folder_of(place.url), version.classes)
        found, text = url, read_text(url) if exists(url) else ""
    else:
        found, text = f"{place.url}, {version.classes}", _member_text(place.url, version.classes)
    classes = class_lines(text)
    if len(classes) not in (0, version.num_classes):
        raise InputError(f"{found}: expected {version.num_classes} names of classes, found {len(classes)}")
    return classes


def _member_text(url: str, base: str) -> str:
    with open_unpacked(url) as (archive, _):
        for member in tar.members(archive, url):
            if member.name.rpartition("/")[2] == base:
                short = replace(member, length=min(member.length, _MAX_CLASSES_BYTES))
                return decode_text(tar.read_member(archive, short, url), f"{url}, {base}")
    return ""


def read_cifar(piece: Piece, wanted: Wanted) -> Iterator[Labelled]:
    """Yield the images of a piece as PNGs; raises InputError where a file breaks off, or a class is not there."""
    if not piece.members:
        with reading(piece.url) as file:
            yield from _images(file, piece, 0, wanted)
        return
    with open_unpacked(piece.url) as (archive, _):
        for member in tar.members(archive, piece.url):
            if member.name == piece.members[0]:
                yield from _images(archive, piece, member.offset, wanted)
                return
    raise InputError(f"{piece.url}: expected {piece.members[0]!r} in the tar, found it no more")


def _images(file: IO[bytes], piece: Piece, offset: int, wanted: Wanted) -> Iterator[Labelled]:
    version = _VERSIONS[piece.kind]
    start, stop = piece.start or 0, piece.stop or 0
    file.seek(offset + start * version.record_bytes)
    for number in range(start, stop):
        record = file.read(version.record_bytes)
        where = f"{piece.url}, image {number}"
        if len(record) < version.record_bytes:
            raise InputError(f"{where}: the file breaks off; fetch it again")
        name = f"{piece.item}/{number}"
        if wanted(name):
            label = record[version.label_bytes - 1]
            if label >= version.num_classes:
                raise InputError(f"{where}: expected a class from 0 to {version.num_classes - 1}, found {label}")
            pixels = np.frombuffer(record, np.uint8, _PIXEL_BYTES, version.label_bytes).reshape(3, _SIDE_PX, _SIDE_PX)
            yield Labelled(name, name_class(str(label), piece.classes, where), to_png(pixels.transpose(1, 2, 0)))
