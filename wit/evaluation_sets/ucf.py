"""UCF101 by frames of its videos: an image a video, or a folder of frames, of which the middle one is taken.

classInd.txt has the classes, a number from 1 and a name; trainlist01.txt to trainlist03.txt and testlist01.txt to
testlist03.txt name the videos of three splits (CLASS/VIDEO.avi), each of which is a fold: scores are their mean.
Source: UCF101's "Train/Test Splits for Action Recognition" in crcv.ucf.edu/data/UCF101.php.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping

from wit.errors import InputError
from wit.evaluation_sets.folders import folder_pieces
from wit.evaluation_sets.labels import read_text
from wit.evaluation_sets.pieces import Fold, Listing, by_number, is_image_name
from wit.evaluation_sets.sets import UCF101, EvaluationSet
from wit.evaluation_sets.splits import File, Found
from wit.storage import base_name

_LIST = re.compile(r"(train|test)list(\d\d)\.txt")
_CLASSES = "classInd.txt"


def is_ucf_list(name: str) -> bool:
    """Return whether a file lists the videos of a split."""
    return _LIST.fullmatch(base_name(name)) is not None


def list_ucf(evaluation_set: EvaluationSet, found: Found) -> Listing:
    """Return the set that frames of UCF101's videos are: all that its splits name, in the order of their names.

    Raises InputError for lists that are not right, and for videos without a frame.
    """
    classes = _classes(evaluation_set, found)
    lists: dict[tuple[str, str], dict[str, str]] = {}
    for file in found.files:
        match = _LIST.fullmatch(base_name(file.name))
        if match is not None:
            lists[match.group(2), match.group(1)] = _videos(file, classes)
    numbers = sorted({number for number, _ in lists})
    for number in numbers:
        for part in ("train", "test"):
            if (number, part) not in lists:
                raise InputError(f"{evaluation_set.path}: expected {part}list{number}.txt, found none; fetch it too")
        both = lists[number, "train"].keys() & lists[number, "test"].keys()
        if both:
            raise InputError(
                f"{evaluation_set.path}: expected other videos in testlist{number}.txt than in trainlist{number}.txt, "
                f"found {min(both)} in both; fetch them again"
            )
    labels = {video: label for videos in lists.values() for video, label in videos.items()}
    frames = _frames(evaluation_set, found, labels)
    folds = tuple(
        Fold(f"split {int(number)}", *(frozenset(frames[video] for video in lists[number, part])
                                       for part in ("train", "test")))
        for number in numbers
    )  # fmt: skip
    images = sorted((frames[video], label) for video, label in labels.items())
    return Listing(evaluation_set, UCF101, folder_pieces(found.root, images), classes, folds=folds)


def _classes(evaluation_set: EvaluationSet, found: Found) -> tuple[str, ...]:
    """Return the classes by number."""
    url = next((file.url for file in found.files if base_name(file.name) == _CLASSES), "")
    if not url:
        raise InputError(f"{evaluation_set.path}: expected {_CLASSES} with its lists, found none; fetch it too")
    lines = [line.split() for line in read_text(url).splitlines() if line.strip()]
    if [line[0] for line in lines if len(line) == 2] != [str(number) for number in range(1, len(lines) + 1)]:
        raise InputError(f"{url}: expected lines of a number, counting from 1, and a class, found others")
    return tuple(line[1] for line in lines)


def _videos(file: File, classes: tuple[str, ...]) -> dict[str, str]:
    """Return the class of each video that a list names: its folder; the number behind it, if any, must agree."""
    videos: dict[str, str] = {}
    for number, line in enumerate(read_text(file.url).splitlines(), 1):
        words = line.split()
        if not words:
            continue
        label, _, name = words[0].rpartition("/")
        is_known = label in classes and bool(name)
        if not is_known or (len(words) > 1 and words[1] != str(classes.index(label) + 1)):
            raise InputError(
                f"{file.url}, line {number}: expected CLASS/VIDEO of {_CLASSES}, and the class's number or none, found "
                f"{line[:80]!r}"
            )
        videos[name.rpartition(".")[0] or name] = label
    if not videos:
        raise InputError(f"{file.url}: expected lines of CLASS/VIDEO, found none")
    return videos


def _frames(evaluation_set: EvaluationSet, found: Found, labels: Mapping[str, str]) -> dict[str, str]:
    """Return the middle frame (n // 2 of n, in the order of the numbers in their names) of each video."""
    frames: dict[str, list[str]] = defaultdict(list)
    for file in found.files:
        if is_image_name(file.name):
            folder, _, base = file.name.rpartition("/")
            video = next((each for each in (base.rpartition(".")[0], base_name(folder)) if each in labels), None)
            if video is not None:
                frames[video].append(file.name)
    missing = [video for video in labels if video not in frames]
    if missing:
        raise InputError(
            f"{evaluation_set.path}: expected a frame of each of {len(labels):,} videos, found none of "
            f"{len(missing):,} ({missing[0]}); write frames as CLASS/VIDEO.jpg or CLASS/VIDEO/NUMBER.jpg"
        )
    return {video: sorted(names, key=by_number)[len(names) // 2] for video, names in frames.items()}
