"""Clusters of near-duplicates from edges between prints, in compact arrays and linear time.

A *label* is what images may share: a print as it is, a print turned, a content. Two images are next to each other, at
no distance, when they share a label, and at the distance of an edge when it joins labels of theirs. An edge between two
labels so stands for any number of pairs of images, and a million copies of one picture are a million memberships, not
5e11 pairs.

- *stars*: images are taken in order, the best first. One that is next to a survivor goes, and the first such
  survivor claims it; any other survives. So whoever goes is within the radius of the one that stays, and no two that
  stay are within it (Aslam, Pelekhov, Rus, "The star clustering algorithm", JGAA 8(1), 2004, with the order of
  survivors in place of degrees).
- *components*: an image goes, too, when a chain of near-duplicates leads to the survivor, as long as the steps together
  are at most `limit` bits, which is never less than its true distance. What lies farther is clustered again without
  those that were claimed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

NO_LIMIT = (1 << 30) - 1


class Ragged32(NamedTuple):
    """Numbers in rows: those of row i are values[starts[i]:starts[i + 1]]."""

    starts: I64
    values: I32


class Neighbourhood(NamedTuple):
    """Images, their labels, and the edges between labels."""

    labels_of: Ragged32
    """Labels of each image."""
    images_of: Ragged32
    """Images that have each label."""
    near: Ragged32
    """Labels that an edge joins to each label, both ways."""
    distances: I32
    """Of the edges, as `near` has them; bits."""

    @property
    def num_images(self) -> int:
        """The number of images."""
        return len(self.labels_of.starts) - 1

    @classmethod
    def of(
        cls, num_images: int, num_labels: int, members: tuple[I32, I32], edges: tuple[I32, I32, I32]
    ) -> Neighbourhood:
        """Return it for members (image, label) and edges (label, label, distance), each told once, in any order."""
        images, labels = members
        one, other, distances = edges
        ends, others = np.concatenate([one, other]), np.concatenate([other, one])
        order = np.argsort(ends, kind="stable")
        return cls(
            _rows(images, labels, num_images),
            _rows(labels, images, num_labels),
            Ragged32(_starts(ends, num_labels), others[order]),
            np.concatenate([distances, distances])[order],
        )


class Claims(NamedTuple):
    """Which image stays for each."""

    survivors: I32
    """[num_images]: itself for one that stays; GONE for one that was gone before."""
    distances: I32
    """[num_images]: bits to the survivor; in components along the shortest chain."""


def claim(neighbourhood: Neighbourhood, order: I32, is_gone: Bools, limit: int | None = None) -> Claims:
    """Return who claims whom; `order` lists the images, the best first.

    `is_gone`: images that neither claim nor are claimed. `limit`: None for stars, else the bits of the longest chain of
    a component (NO_LIMIT: any). Memory: 24 bytes an edge and 16 a membership beside the neighbourhood.
    """
    from pipelines.stages.dedup.claim_kernels import GONE, claim_chains, claim_stars

    labels_of, images_of, near, near_distances = neighbourhood
    num_labels = len(near.starts) - 1
    survivors = np.where(is_gone, np.int32(GONE), np.int32(-1))
    distances = np.zeros(len(survivors), np.int32)
    if limit is None:
        owner, owned_at = np.full(num_labels, -1, np.int32), np.zeros(num_labels, np.int32)
        claim_stars(order, *labels_of, *near, near_distances, owner, owned_at, survivors, distances)
    else:
        is_done = _without_images(images_of, is_gone)
        heap = np.empty(len(labels_of.values) + len(near.values) + 1, np.int64)
        claim_chains(
            order, *labels_of, *images_of, *near, near_distances, limit, is_done, heap, survivors, distances
        )  # fmt: skip
    return Claims(survivors, distances)


def _without_images(images_of: Ragged32, is_gone: Bools) -> Bools:
    """Return which labels have no image that is still there."""
    alive = np.concatenate([[0], np.cumsum(~is_gone[images_of.values])])
    is_empty: Bools = alive[images_of.starts[1:]] == alive[images_of.starts[:-1]]
    return is_empty


def _rows(rows: I32, values: I32, num_rows: int) -> Ragged32:
    return Ragged32(_starts(rows, num_rows), values[np.argsort(rows, kind="stable")])


def _starts(rows: I32, num_rows: int) -> I64:
    starts = np.zeros(num_rows + 1, np.int64)
    np.cumsum(np.bincount(rows, minlength=num_rows), out=starts[1:])
    return starts
