"""Counts of true and false pairs by distance, from which every curve is a running sum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.edits import EDITS
from benchmarks.near_duplicates.pictures import Picture
from benchmarks.near_duplicates.signs import Detector, Distances, Signs, rows

I64 = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

IS_TURN: Mask = np.array([edit.turns for edit in EDITS])
_ROWS = 500  # rows of a table of distances that are computed at a time


@dataclass(frozen=True)
class Planted:
    """Photos, the signs of their edits, and all the pictures that the edits are compared with."""

    photos: Sequence[Picture]
    edits: Sequence[Signs]
    """For each photo, a row an edit."""
    references: Sequence[Picture]
    """The photos, then the pictures that are not edited."""
    signs: Signs
    """Of the references."""

    def held_out(self) -> Planted:
        """Return what the learned detector was not trained on."""
        photos = np.array([photo.is_held_out for photo in self.photos])
        references = np.array([picture.is_held_out for picture in self.references])
        return Planted(
            [photo for photo in self.photos if photo.is_held_out],
            [signs for signs, stays in zip(self.edits, photos, strict=True) if stays],
            [picture for picture in self.references if picture.is_held_out],
            rows(self.signs, references),
        )


@dataclass(frozen=True)
class Counts:
    """What one detector, or several together, make of the planted edits."""

    true: Distances
    """[detectors, photos, edits]: how far each edit is from its photo."""
    false: I64
    """Comparisons of an edit and another picture by their distances, an axis a detector."""
    kin: I64
    """The same for other pictures of the same series, which are in neither."""

    def recall(self, *radii: int) -> npt.NDArray[np.float64]:
        """Return for each edit the share of photos found within all the radii, [edits]."""
        found = (self.true <= np.array(radii)[:, None, None]).all(axis=0)
        share: npt.NDArray[np.float64] = found.mean(axis=0)
        return share

    def recall_of_all(self, *radii: int) -> float:
        """Return the share of planted edits that are found, turns left out."""
        return float(self.recall(*radii)[~IS_TURN].mean())

    def num_false(self, *radii: int) -> int:
        """Return the comparisons of unrelated pictures within all the radii."""
        return int(self.false[_within(radii)].sum())

    def either(self, *radii: int) -> tuple[npt.NDArray[np.float64], int]:
        """Return the recall of each edit, and the false pairs, when one detector within its radius is enough."""
        share: npt.NDArray[np.float64] = (self.true <= np.array(radii)[:, None, None]).any(axis=0).mean(axis=0)
        beyond = self.false[tuple(slice(radius + 1, None) for radius in radii)]
        return share, int(self.false.sum() - beyond.sum())

    def num_kin(self, *radii: int) -> int:
        """Return the comparisons of different pictures of one series within all the radii."""
        return int(self.kin[_within(radii)].sum())

    def false_per_million(self, *radii: int) -> float:
        """Return the comparisons of unrelated pictures within all the radii, of a million of them."""
        return 1e6 * self.num_false(*radii) / int(self.false.sum())


def _within(radii: Sequence[int]) -> tuple[slice, ...]:
    return tuple(slice(radius + 1) for radius in radii)


def count(detectors: Sequence[Detector], planted: Planted, min_quality: int = 0) -> Counts:
    """Count edits by their distance to their photo, and to all others; below `min_quality` nothing is near anything."""
    same, kin = (relation(planted.photos, planted.references) for relation in (is_same, is_kin))
    shape = tuple(detector.most + 2 for detector in detectors)  # the last of an axis: too little detail to tell
    false, of_kin = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    true = []
    is_plain = planted.signs["quality"] >= min_quality
    for place, signs in enumerate(planted.edits):
        judged = (signs["quality"] >= min_quality)[:, None] & is_plain
        apart = [_distances(each, signs, planted.signs, judged) for each in detectors]
        true.append([distances[:, place] for distances in apart])
        for counts, which in ((false, ~same & ~kin), (of_kin, kin & ~same)):
            counts += _histogram([distances[~IS_TURN][:, which[place]] for distances in apart], shape)
    return Counts(np.array(true, dtype=np.int32).transpose(1, 0, 2), false, of_kin)


def count_turned(detector: Detector, planted: Planted, turned: Sequence[Signs]) -> Counts:
    """Count as `count` does when every photo is known in eight turns, and the least of the distances is what counts."""
    same, kin = (relation(planted.photos, planted.photos) for relation in (is_same, is_kin))
    references = np.concatenate([signs[detector.name] for signs in turned])
    shape = (detector.most + 2,)
    false, of_kin = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    true = []
    for place, signs in enumerate(planted.edits):
        distances = detector.distances(signs[detector.name], references)
        least = distances.reshape(len(distances), len(planted.photos), -1).min(axis=2)
        true.append(least[:, place])
        for counts, which in ((false, ~same & ~kin), (of_kin, kin & ~same)):
            counts += _histogram([least[~IS_TURN][:, which[place]]], shape)
    return Counts(np.array(true, dtype=np.int32)[None], false, of_kin)


def count_pairs(detectors: Sequence[Detector], signs: Signs, among: Mask) -> I64:
    """Return the pairs i < j for which `among` [N, N] is true, by their distances, an axis a detector."""
    shape = tuple(detector.most + 2 for detector in detectors)
    counts = np.zeros(shape, np.int64)
    num = len(signs["quality"])
    for start in range(0, num, _ROWS):
        block = rows(signs, slice(start, start + _ROWS))
        apart = [each.distances(block[each.name], signs[each.name]) for each in detectors]
        height = len(block["quality"])
        wanted = among[start : start + height] & (np.arange(num) > np.arange(start, start + height)[:, None])
        counts += _histogram([distances[wanted] for distances in apart], shape)
    return counts


def _distances(detector: Detector, queries: Signs, references: Signs, judged: Mask) -> Distances:
    distances = detector.distances(queries[detector.name], references[detector.name])
    return np.where(judged, distances, detector.most + 1)


def _histogram(distances: Sequence[Distances], shape: tuple[int, ...]) -> I64:
    flat = np.ravel_multi_index(tuple(each.ravel() for each in distances), shape)
    return np.bincount(flat, minlength=int(np.prod(shape))).reshape(shape)


_COPIES = (
    ("eval/caltech101/pigeon/image_0002.jpg", "eval/caltech101/pigeon/image_0006.jpg"),
    ("eval/caltech101/stop_sign/image_0001.jpg", "eval/caltech101/stop_sign/image_0005.jpg"),
    ("eval/caltech101/lobster/image_0001.jpg", "eval/caltech101/lobster/image_0004.jpg"),
    ("eval/caltech101/grand_piano/image_0002.jpg", "eval/caltech101/grand_piano/image_0007.jpg"),
    (
        "image_text/openstax-introduction-anthropology/media/ANTHRO_Figure_01_04_009.jpg",
        "image_text/openstax-introduction-anthropology/media/ANTHRO_Figure_02_03_010.jpg",
    ),
)
"""The same picture twice in the collections, found by eye among the 50 pairs within 12 bits by pHash or 76 by PDQ."""


def is_same(pictures: Sequence[Picture], references: Sequence[Picture]) -> Mask:
    """Return which reference is which picture, or a copy of it, [pictures, references]."""
    copies = dict(_COPIES)
    names, known = ([copies.get(each.name, each.name) for each in side] for side in (pictures, references))
    same: Mask = np.array(names)[:, None] == np.array(known)
    return same


_CHARTS = ("ANTHRO_Figure_11_02_005.png", "ANTHRO_Figure_11_03_008.png", "ANTHRO_Figure_11_03_009.png")
"""Charts of kinship drawn from one template, whose labels differ."""


def is_kin(pictures: Sequence[Picture], references: Sequence[Picture]) -> Mask:
    """Return which references are of the series of a picture, [pictures, references].

    A folder of Caltech-101 is a series (frames of an animation, motorbikes of one catalogue), and so are three charts.
    """
    series, known = ([_series(each) for each in side] for side in (pictures, references))
    kin: Mask = np.array(series)[:, None] == np.array(known)
    return kin


def _series(picture: Picture) -> str:
    folder, _, name = picture.name.rpartition("/")
    if picture.collection == "caltech101":
        return folder
    return "charts of kinship" if name in _CHARTS else picture.name
