"""STL-10's binary files: test_X.bin with test_y.bin, train_X.bin with train_y.bin, class_names.txt, fold_indices.txt.

An image is 3 x 96 x 96 bytes, red, green and blue, each column by column; a label a byte from 1 to 10. A line of
fold_indices.txt has the places, from 0, of a fold's 1,000 images among the training images; scores are the mean over
the ten. Source: "Dataset" in cs.stanford.edu/~acoates/stl10 (Coates, Lee and Ng, AISTATS 2011).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from wit.errors import InputError
from wit.evaluation_sets.labels import class_lines, read_text
from wit.evaluation_sets.pieces import Fold, Labelled, Listing, Piece, Wanted, cut, to_png
from wit.evaluation_sets.sets import STL10, EvaluationSet
from wit.evaluation_sets.splits import File, Found, choose_split, split_of_words
from wit.shards import folder_of
from wit.storage import base_name, exists, join, read_bytes, reading, size

_FILE = re.compile(r"(train|test)_X\.bin")
_SIDE_PX = 96
_IMAGE_BYTES = 3 * _SIDE_PX * _SIDE_PX
_NUM_CLASSES = 10
_CLASSES, _FOLDS, _TRAIN = "class_names.txt", "fold_indices.txt", "train_X.bin"


def is_stl_name(name: str) -> bool:
    """Return whether a file is named as labelled images of STL-10."""
    return _FILE.fullmatch(base_name(name)) is not None


def list_stl(evaluation_set: EvaluationSet, found: Found) -> Listing:
    """Return the set that STL-10's files are, with the folds that lie beside them.

    Raises InputError when there is none, or when images, labels and folds do not agree.
    """
    files = found.named(is_stl_name)
    if not files:
        raise InputError(f"{evaluation_set.path}: expected test_X.bin or train_X.bin, found none")
    split = choose_split(found, files, lambda name: split_of_words(base_name(name)), evaluation_set.split)
    classes = _classes(folder_of(split.files[0].url))
    pieces = tuple(piece for file in split.files for piece in _pieces(file, classes))
    folds = _folds([file for file in files if base_name(file.name) == _TRAIN])
    return Listing(evaluation_set, STL10, pieces, classes, split.name, split.left_out, folds)


def _classes(folder: str) -> tuple[str, ...]:
    url = join(folder, _CLASSES)
    classes = class_lines(read_text(url)) if exists(url) else ()
    if len(classes) not in (0, _NUM_CLASSES):
        raise InputError(f"{url}: expected {_NUM_CLASSES} names of classes, found {len(classes)}")
    return classes


def _num_images(url: str) -> int:
    count, rest = divmod(size(url), _IMAGE_BYTES)
    if rest or not count:
        raise InputError(
            f"{url}: expected images of {_IMAGE_BYTES} bytes, as STL-10 has them, found {size(url)} bytes; "
            "fetch it again"
        )
    return count


def _pieces(file: File, classes: tuple[str, ...]) -> Iterator[Piece]:
    num_images = _num_images(file.url)
    label_url = join(folder_of(file.url), base_name(file.url).replace("_X", "_y"))
    if not exists(label_url):
        raise InputError(f"{label_url}: expected a label for each of {num_images} images, found no such file")
    if size(label_url) != num_images:
        raise InputError(f"{label_url}: expected a label for each of {num_images} images, found {size(label_url)}")
    for start, stop in cut(num_images):
        yield Piece(STL10, file.url, item=file.name, start=start, stop=stop, classes=classes, label_url=label_url)


def _folds(train: list[File]) -> tuple[Fold, ...]:
    """Return the folds of the training images, where they and the list of folds are there."""
    url = join(folder_of(train[0].url), _FOLDS) if len(train) == 1 else ""
    if not url or not exists(url):
        return ()
    num_images = _num_images(train[0].url)
    folds = []
    for number, line in enumerate(read_text(url).splitlines(), 1):
        places = line.split()
        wrong = [each for each in places if not each.isdecimal() or int(each) >= num_images]
        if wrong:
            raise InputError(f"{url}, line {number}: expected places from 0 to {num_images - 1}, found {wrong[0]!r}")
        if len(set(places)) < len(places):
            raise InputError(f"{url}, line {number}: expected each place once, found one twice; fetch it again")
        if places:
            folds.append(Fold(f"fold {number}", frozenset(f"{train[0].name}/{int(each)}" for each in places)))
    return tuple(folds)


def read_stl(piece: Piece, wanted: Wanted) -> Iterator[Labelled]:
    """Yield the images of a piece as PNGs; raises InputError where the file breaks off, or a class is not there."""
    assert piece.label_url is not None  # a piece of `_pieces`
    start, stop = piece.start or 0, piece.stop or 0
    labels = read_bytes(piece.label_url)
    with reading(piece.url) as file:
        file.seek(start * _IMAGE_BYTES)
        for number in range(start, stop):
            data = file.read(_IMAGE_BYTES)
            if len(data) < _IMAGE_BYTES or number >= len(labels):
                raise InputError(f"{piece.url}, image {number}: the file breaks off; fetch it again")
            name = f"{piece.item}/{number}"
            if wanted(name):
                label = _label(piece, labels[number], number)
                pixels = np.frombuffer(data, np.uint8).reshape(3, _SIDE_PX, _SIDE_PX)
                yield Labelled(name, label, to_png(np.ascontiguousarray(pixels.transpose(2, 1, 0))))


def _label(piece: Piece, label: int, number: int) -> str:
    if not 1 <= label <= _NUM_CLASSES:
        raise InputError(
            f"{piece.label_url}, image {number}: expected a class from 1 to {_NUM_CLASSES}, found {label}; "
            "fetch it again"
        )
    return piece.classes[label - 1] if piece.classes else str(label)
