"""Sets of image files: in folders of any depth, by class (ImageFolder) or with a table of metadata beside them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np

from wit.errors import InputError
from wit.evaluation_sets.folds import read_folds
from wit.evaluation_sets.labels import all_classes, order_classes
from wit.evaluation_sets.metadata import is_metadata, read_labels
from wit.evaluation_sets.pieces import Labelled, Listing, Piece, Wanted, cut, is_image_name, to_png
from wit.evaluation_sets.sets import FOLDER, EvaluationSet
from wit.evaluation_sets.splits import File, Found, SplitOf, choose_split, num_shared, split_of_folder
from wit.foreign import MAX_IMAGE_BYTES
from wit.storage import join, reading

_PPM = re.compile(rb"P6\s+(?:#[^\n]*\n\s*)*([1-9]\d{0,4})\s+([1-9]\d{0,4})\s+255\s")


def list_folder(evaluation_set: EvaluationSet, found: Found) -> Listing:
    """Return the set that image files are, in the order of their paths.

    Raises InputError when there is none, or when the metadata beside them are not right.
    """
    images = found.named(is_image_name)
    if not images:
        raise InputError(f"{evaluation_set.path}: expected image files, found none")
    split = choose_split(found, images, _split_below(images), evaluation_set.split)
    names = [file.name for file in split.files]
    tables = [file for file in found.files if is_metadata(file.name)]
    said = read_labels(tables, [file.name for file in images])
    labels = folder_classes(names) | {name: said[name] for name in names if name in said}
    classes = order_classes(all_classes(labels.values()))
    pieces = folder_pieces(found.root, [(name, labels[name]) for name in names])
    folds = read_folds(found, names, [file.name for file in images])
    return Listing(evaluation_set, FOLDER, pieces, classes, split.name, split.left_out, folds)


def folder_pieces(root: str, images: Sequence[tuple[str, str | None]]) -> tuple[Piece, ...]:
    """Return the pieces of image files, by name below a folder, with their labels."""
    parts = (images[start:stop] for start, stop in cut(len(images)))
    return tuple(Piece(FOLDER, root, members=tuple(names), labels=tuple(labels)) for names, labels in
                 (zip(*part, strict=True) for part in parts))  # fmt: skip


def _split_below(images: Sequence[File]) -> SplitOf:
    """Return how to tell the split of an image below the folders that all images lie in."""
    depth = num_shared([_folders(file.name) for file in images])
    return lambda name: split_of_folder("/".join(name.split("/")[depth:]))


def folder_classes(names: Sequence[str]) -> dict[str, str | None]:
    """Return the class of each image: the folders in which it lies, without those that are the same for all.

    Of train/cat/images/1.png and train/dog/images/2.png that is "cat" and "dog", of SUN397's a/abbey/1.jpg "a/abbey".
    None for an image in no folder, and for all where there are not two classes.
    """
    folders = [_folders(name) for name in names]
    first = num_shared(folders)
    last = num_shared([each[first:][::-1] for each in folders])
    classes = ["/".join(each[first : len(each) - last]) or None for each in folders]
    if len({name for name in classes if name is not None}) < 2:
        return dict.fromkeys(names)
    return dict(zip(names, classes, strict=True))


def _folders(name: str) -> list[str]:
    return name.split("/")[:-1]


def read_folder(piece: Piece, wanted: Wanted) -> Iterator[Labelled]:
    """Yield the images of a piece as they lie; raises InputError for a file that is not there or cannot be read.

    Of a file of more than 256 MiB only so much is read, which no decoder takes for an image.
    """
    for name, label in zip(piece.members, piece.labels, strict=True):
        if wanted(name):
            with reading(join(piece.url, name)) as file:
                body = file.read(MAX_IMAGE_BYTES)
            yield Labelled(name, label, ppm_to_png(body) if name.lower().endswith(".ppm") else body)


def ppm_to_png(body: bytes) -> bytes:
    """Return a binary PPM (netpbm's P6, 255 levels), as GTSRB has them, as a PNG; what is none, as it is."""
    head = _PPM.match(body)
    if head is None:
        return body
    width, height = map(int, head.groups())
    num_bytes = 3 * width * height
    if not 0 < num_bytes <= len(body) - head.end():
        return body
    return to_png(np.frombuffer(body, np.uint8, num_bytes, head.end()).reshape(height, width, 3))
