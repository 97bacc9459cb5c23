"""The pairs of CIFAR-10 that people judged, and how often different pictures of 32 px look alike to a detector."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.near_duplicates.counts import I64, Mask, count_pairs
from benchmarks.near_duplicates.pictures import CIFAR_TEST, CIFAR_TRAIN, judged_pairs, members
from benchmarks.near_duplicates.signs import Detector, Distances, Signs, joined, rows, signs_of
from wit.processes import Pool

_BATCH = 250
NEAR, SIMILAR = 1, 2
"""Judgments: a near-duplicate; very similar."""


@dataclass(frozen=True)
class Cifar:
    """Signs of both pictures of the judged pairs, and of all test pictures."""

    judgments: I64
    """[pairs]"""
    test: Signs
    train: Signs
    everything: Signs
    """Of the test pictures, judged or not."""

    def true(self, detector: Detector) -> Distances:
        """Return the distance of each judged pair."""
        pairs = zip(self.test[detector.name], self.train[detector.name], strict=True)
        return np.array([detector.distances(one[None], other[None])[0, 0] for one, other in pairs], np.int32)

    def near(self) -> Mask:
        """Return which pairs were judged to be near-duplicates."""
        near: Mask = self.judgments == NEAR
        return near

    def alike(self, detectors: Sequence[Detector]) -> I64:
        """Return the pairs of test pictures by their distances; a few are duplicates that nobody listed."""
        num = len(self.everything["quality"])
        return count_pairs(detectors, self.everything, np.broadcast_to(np.True_, (num, num)))


def read_cifar(data: Path, pool: Pool, descriptor: str | None, peers: Callable[[Sequence[bytes]], Signs]) -> Cifar:
    """Return the signs of CIFAR-10's pictures, as JPEG files of 32 px."""
    pairs = judged_pairs(data)
    wanted = {pair.train for pair in pairs}
    test = members(data / CIFAR_TEST)
    train = [picture for picture in members(data / CIFAR_TRAIN) if picture.name in wanted]
    place = {picture.name: row for row, picture in enumerate([*test, *train])}
    bodies = [picture.body for picture in (*test, *train)]
    batches = [bodies[start : start + _BATCH] for start in range(0, len(bodies), _BATCH)]
    ours = joined(pool.map_in_order(partial(signs_of, descriptor=descriptor), batches))
    signs = ours | peers(bodies)
    return Cifar(
        np.array([pair.judgment for pair in pairs]),
        rows(signs, np.array([place[pair.test] for pair in pairs])),
        rows(signs, np.array([place[pair.train] for pair in pairs])),
        rows(signs, slice(len(test))),
    )
