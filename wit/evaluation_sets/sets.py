"""How an evaluation set is named: NAME=PATH, or NAME=FORMAT:PATH."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from wit.errors import UserError

FOLDER, WEBDATASET, PARQUET = "folder", "webdataset", "parquet"
CIFAR10, CIFAR100, MNIST, STL10 = "cifar10", "cifar100", "mnist", "stl10"
VOC, GTSRB, UCF101 = "voc", "gtsrb", "ucf101"

FORMATS = {
    FOLDER: "image files in folders, by class or not, with metadata.csv or .jsonl or without",
    WEBDATASET: "tars of images",
    PARQUET: "Parquet files with a column of images, as Hugging Face publishes sets",
    CIFAR10: "CIFAR-10's binary version",
    CIFAR100: "CIFAR-100's binary version",
    MNIST: "MNIST's idx files, and those of its likes",
    STL10: "STL-10's binary files, with its ten folds",
    VOC: "PASCAL VOC's folder, its images with several classes each",
    GTSRB: "GTSRB's images, with the tables of their classes",
    UCF101: "frames of UCF101's videos, with the lists of its three splits",
}
"""What can be read, and stands before a path to say that it is that."""

_FORCED = re.compile(rf"({'|'.join(FORMATS)}):(?!//)(.*)", re.DOTALL)


@dataclass(frozen=True)
class EvaluationSet:
    """A named set of images that must not be trained on."""

    name: str
    path: str
    """A folder, a file, a URL, or a pattern of files."""
    format: str = ""
    """One of FORMATS; blank: what is there says it."""
    split: str = ""
    """Of wit.evaluation_sets.splits.SPLITS, the one that is read where the set has it; blank: their first."""


def parse(text: str) -> EvaluationSet:
    """Return the set that NAME=[FORMAT:]PATH names; raises UserError for anything else."""
    name, equals, path = (part.strip() for part in text.partition("="))
    forced = _FORCED.fullmatch(path)
    kind, path = (forced.group(1), forced.group(2).strip()) if forced else ("", path)
    if not equals or not name or not path:
        raise UserError(
            "expected an evaluation set as NAME=PATH (cifar10=eval/cifar10), or as NAME=FORMAT:PATH with one of "
            f"{', '.join(FORMATS)}; found {text!r}"
        )
    if not name.isprintable():
        raise UserError(f"expected a name of printable characters for an evaluation set, found {name!r}; rename it")
    return EvaluationSet(name, path, kind)


def parse_all(texts: Iterable[str]) -> tuple[EvaluationSet, ...]:
    """Return the sets in the order of their names; raises UserError when two have the same name."""
    sets = sorted((parse(text) for text in texts), key=lambda each: each.name)
    for first, second in pairwise(sets):
        if first.name == second.name:
            raise UserError(f"two evaluation sets are named {first.name!r} ({first.path}, {second.path}); rename one")
    return tuple(sets)
