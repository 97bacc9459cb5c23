"""PASCAL VOC's folder as the classification challenge has it: JPEGImages, and ImageSets/Main with a list a class.

A line of ImageSets/Main/CLASS_SPLIT.txt is the number of an image, and 1 where it shows the class, -1 where it does
not, 0 where it does but too hard to see: such an image is left out when that class is judged. Source: VOC 2007's
development kit, section 4.1, and the challenge's VOCevalcls, which passes over marks of 0.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from wit.errors import InputError
from wit.evaluation_sets.folders import folder_pieces
from wit.evaluation_sets.labels import join_labels, read_text
from wit.evaluation_sets.pieces import Listing
from wit.evaluation_sets.sets import VOC, EvaluationSet
from wit.evaluation_sets.splits import File, Found, order_splits

_LIST = re.compile(r"((?:.*/)?)ImageSets/Main/([^/]+)_(train|val|trainval|test)\.txt")
_SPLITS = {"test": "test", "val": "validation", "train": "train"}
_BOTH = "trainval"  # is read as train where the two are not listed one by one
_MARKS = frozenset(("1", "0", "-1"))


class _Lists(NamedTuple):
    """The lists of a split."""

    root: str
    """Folder of JPEGImages and ImageSets, with a slash at its end, or blank."""
    by_class: dict[str, File]


def is_voc_list(name: str) -> bool:
    """Return whether a file is a list of one class's images."""
    return _LIST.fullmatch(name) is not None


def list_voc(evaluation_set: EvaluationSet, found: Found) -> Listing:
    """Return the set that a folder of VOC is; raises InputError when its lists are not right, or images are missing."""
    lists = _find_lists(evaluation_set, found)
    splits = {_SPLITS.get(each, "train"): lists[each] for each in (_BOTH, *_SPLITS) if each in lists}
    name, *left_out = order_splits(splits, evaluation_set.split)
    root, by_class = splits[name]
    classes = tuple(sorted(by_class))
    if len(classes) < 2:
        raise InputError(f"{evaluation_set.path}: expected lists of two classes or more in ImageSets/Main, found one")
    labels = _read_labels({each: by_class[each] for each in classes})
    images = [(f"{root}JPEGImages/{number}.jpg", label) for number, label in labels.items()]
    _require_images(evaluation_set, found, [image for image, _ in images], name)
    return Listing(evaluation_set, VOC, folder_pieces(found.root, images), classes, name, tuple(left_out))


def _find_lists(evaluation_set: EvaluationSet, found: Found) -> dict[str, _Lists]:
    """Return the lists of each split, by its name in the files."""
    lists: dict[str, _Lists] = {}
    for file in found.files:
        match = _LIST.fullmatch(file.name)
        if match is None:
            continue
        root, label, split = match.groups()
        own = lists.setdefault(split, _Lists(root, {}))
        if own.root != root:
            raise InputError(
                f"{evaluation_set.path}: expected one year of VOC, found {own.root.rstrip('/') or '.'!r} and "
                f"{root.rstrip('/') or '.'!r}; name the folder of one"
            )
        own.by_class[label] = file
    if not lists:
        raise InputError(f"{evaluation_set.path}: expected ImageSets/Main/CLASS_test.txt and the like, found none")
    return lists


def _read_labels(lists: Mapping[str, File]) -> dict[str, str]:
    """Return the label of each image that the lists of a split name, in the first one's order."""
    own: dict[str, list[str]] = {}
    unsure: dict[str, list[str]] = defaultdict(list)
    first: File | None = None
    for label, file in lists.items():
        marks = _read_marks(file)
        if first is None:
            first, own = file, {number: [] for number in marks}
        if marks.keys() != own.keys():
            number = min(marks.keys() ^ own.keys())
            raise InputError(f"{file.url}: expected the images of {first.url}, found {number} in one of them only")
        for number, mark in marks.items():
            if mark != "-1":
                (own if mark == "1" else unsure)[number].append(label)
    return {number: join_labels(names, unsure[number]) for number, names in own.items()}


def _read_marks(file: File) -> dict[str, str]:
    marks: dict[str, str] = {}
    for number, line in enumerate(read_text(file.url).splitlines(), 1):
        words = line.split()
        if not words:
            continue
        if len(words) != 2 or words[1] not in _MARKS or marks.setdefault(words[0], words[1]) != words[1]:
            raise InputError(
                f"{file.url}, line {number}: expected an image once, and 1, 0 or -1, found {line[:60]!r}; "
                "fetch the set again"
            )
    if not marks:
        raise InputError(f"{file.url}: expected lines of an image and 1, 0 or -1, found none; fetch the set again")
    return marks


def _require_images(evaluation_set: EvaluationSet, found: Found, images: Sequence[str], split: str) -> None:
    there = {file.name for file in found.files}
    missing = [image for image in images if image not in there]
    if missing:
        raise InputError(
            f"{evaluation_set.path}: expected {len(images):,} images of its split {split}, found {len(missing):,} "
            f"missing ({missing[0]}); unpack that split's images into the same folder"
        )
