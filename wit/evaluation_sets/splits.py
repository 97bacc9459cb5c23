"""Which of its splits is read of a set that has several."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

SPLITS = ("test", "validation", "train")
"""The first that a set has is read: models are judged by it."""

_WORDS = {
    **dict.fromkeys(("test", "testing", "eval", "evaluation", "t10k"), "test"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("train", "training"), "train"),
}
"""Words that name a split, as Hugging Face's datasets has them, and MNIST's."""

SplitOf = Callable[[str], str]
"""Returns the split that a file is of by its name; blank: of none."""

_NO_WORD = re.compile(r"[^a-z0-9]+")


class File(NamedTuple):
    """A file of a set."""

    url: str
    name: str
    """Its path below the folder that the set is; else its own name."""


class Found(NamedTuple):
    """The files that the path of a set names, in order."""

    root: str
    """The folder (or URL) from which their names go."""
    files: tuple[File, ...]
    is_folder: bool
    """Whether the path names a folder, in which other files lie too, not the files themselves."""

    def named(self, is_mine: Callable[[str], bool]) -> tuple[File, ...]:
        """Return the files whose names are those of a format; all of them where they were named one by one."""
        mine = tuple(file for file in self.files if is_mine(file.name))
        return mine if mine or self.is_folder else self.files


class Split(NamedTuple):
    """The files that are read of a set, the split that they are, and the other splits."""

    files: tuple[File, ...]
    name: str = ""
    left_out: tuple[str, ...] = ()


def split_of_folder(name: str) -> str:
    """Return the split that a file is of by the first folder of its path: train/cat/1.png; blank: of none."""
    first, slash, _ = name.partition("/")
    return _split_of_word(first.lower()) if slash else ""


def split_of_words(name: str) -> str:
    """Return the split that a file is of by a word in its path: data/test-00000-of-00001.parquet; blank: of none."""
    return next(filter(None, map(_split_of_word, _NO_WORD.split(name.lower()))), "")


def _split_of_word(word: str) -> str:
    """Return the split that a word names, with a number behind it or not: val, val2017, val_256."""
    return _WORDS.get(word) or _WORDS.get(word.rstrip("0123456789-_."), "")


def choose_split(found: Found, files: Sequence[File], split_of: SplitOf, wanted: str = "") -> Split:
    """Return the files of the split that is wanted, else of the first of SPLITS.

    All of them where one is of no split, or they were named one by one. So a set is cut only where it is split without
    doubt. "Train" may be a class of vehicles, too.
    """
    splits = [split_of(file.name) if found.is_folder else "" for file in files]
    present = order_splits(splits, wanted)
    if not present or "" in splits:
        return Split(tuple(files))
    chosen = tuple(file for file, split in zip(files, splits, strict=True) if split == present[0])
    return Split(chosen, present[0], tuple(present[1:]))


def order_splits(present: Collection[str], wanted: str) -> list[str]:
    """Return the splits that are there: the wanted one first, then as SPLITS has them."""
    return [split for split in dict.fromkeys((wanted, *SPLITS)) if split in present and split]


def num_shared(names: Sequence[str] | Sequence[list[str]]) -> int:
    """Return with how many equal characters all names begin, or with how many equal parts those that are split up."""
    low, high = min(names), max(names)  # what these two share, all those between them share
    return next(
        (place for place, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), min(len(low), len(high))
    )
