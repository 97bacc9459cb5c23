"""The pictures that detectors are measured on: photos to edit, others that match nothing, and pairs judged by people.

All lie in one folder of real data: `image_text` (openstax, coco-mini), `eval` (caltech101, cifar10) and `neardup` (pdq,
imagededup, imagehash, cifar10-cifair).
"""

from __future__ import annotations

import csv
import hashlib
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_EDITED = {
    "openstax": "image_text/openstax-introduction-anthropology/media/*",
    "coco": "image_text/coco-mini/train2017/*",
    "labelme": "neardup/pdq/reg-test-input/labelme-subset/*",
    "ukbench": "neardup/imagededup/base_images/*",
    "pdq": "neardup/pdq/bridge-mods/aaa-orig.jpg",
    "imagehash": "neardup/imagehash/peppers.png",
}
_OTHERS = {"caltech101": "eval/caltech101/*/*.jpg"}
CIFAR_TEST = "eval/cifar10/cifar10-test-10000.tar"
CIFAR_TRAIN = "neardup/cifar10-cifair/train-side.tar"
CIFAR_PAIRS = "neardup/cifar10-cifair/pairs.csv"


@dataclass(frozen=True)
class Picture:
    """A file: its name is unique, `collection` where it comes from."""

    name: str
    collection: str
    body: bytes

    @property
    def is_held_out(self) -> bool:
        """Whether the learned detector of this project was not trained on it: its SHA-256 begins with 8 to f."""
        return hashlib.sha256(self.body).hexdigest()[0] >= "8"


@dataclass(frozen=True)
class Judged:
    """A test and a training picture that people called near-duplicates (1) or very similar (2)."""

    test: str
    train: str
    judgment: int


def photos(data: Path) -> list[Picture]:
    """Return the photos that are edited, in the order of their names."""
    return list(_files(data, _EDITED))


def others(data: Path) -> list[Picture]:
    """Return the pictures that are never edited."""
    return list(_files(data, _OTHERS))


def _files(data: Path, patterns: dict[str, str]) -> Iterator[Picture]:
    for collection, pattern in patterns.items():
        for path in sorted(data.glob(pattern)):
            yield Picture(path.relative_to(data).as_posix(), collection, path.read_bytes())


def judged_pairs(data: Path) -> list[Judged]:
    """Return the pairs of CIFAR-10 that people judged (ciFAIR, Barz and Denzler 2020)."""
    with (data / CIFAR_PAIRS).open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [Judged(row["test_path"], row["train_path"], int(row["cifair_judgment"])) for row in rows]


def members(archive: Path) -> list[Picture]:
    """Return the files of a tar."""
    with tarfile.open(archive) as tar:
        files = [(member.name, tar.extractfile(member)) for member in tar if member.isfile()]
        return [Picture(name, archive.stem, file.read()) for name, file in files if file]
