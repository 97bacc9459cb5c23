"""The loops in which images claim others, for pipelines.stages.dedup.claiming.

Images and labels are numbered from 0. `labels_of`, `images_of` and `near` are ragged: those of row i stand at
starts[i]:starts[i + 1]. `order` lists the images, the best first. A survivor of -1 says that an image has none yet.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from wit.compiled import inlined, kernel

I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

GONE = -2
"""Survivor of an image that some other rule has already taken out: it neither claims nor is claimed."""
_LABEL_BITS = 32


@inlined
def _own(label: int, place: int, distance: int, owner: I32, owned_at: I32) -> None:
    """Let the image at `place` in the order own a label, unless an earlier one does."""
    if owner[label] < 0:
        owner[label] = place
        owned_at[label] = distance
    elif owner[label] == place and distance < owned_at[label]:
        owned_at[label] = distance


@kernel
def claim_stars(
    order: I32, label_starts: I64, labels_of: I32, near_starts: I64, near: I32, near_distances: I32,
    owner: I32, owned_at: I32, survivors: I32, distances: I32,
) -> None:  # fmt: skip
    """Give each image the first survivor in order that is next to it, or make it one.

    `owner` (-1 at first) and `owned_at` are room for a number a label.
    """
    for place in range(len(order)):
        image = order[place]
        if survivors[image] == GONE:
            continue
        first, distance = len(order), 0
        for at in range(label_starts[image], label_starts[image + 1]):
            label = labels_of[at]
            if 0 <= owner[label] < first or (owner[label] == first and owned_at[label] < distance):
                first, distance = owner[label], owned_at[label]
        if first < place:
            survivors[image] = order[first]
            distances[image] = distance
            continue
        survivors[image] = image
        distances[image] = 0
        for at in range(label_starts[image], label_starts[image + 1]):
            label = labels_of[at]
            _own(label, place, 0, owner, owned_at)
            for edge in range(near_starts[label], near_starts[label + 1]):
                _own(near[edge], place, near_distances[edge], owner, owned_at)


@inlined
def _push(heap: I64, size: int, value: int) -> int:
    """Add a value to a binary heap whose least stands at 0; return its new size."""
    at = size
    while at > 0 and heap[(at - 1) >> 1] > value:
        heap[at] = heap[(at - 1) >> 1]
        at = (at - 1) >> 1
    heap[at] = value
    return size + 1


@inlined
def _pop(heap: I64, size: int) -> int:
    """Take the least value out of a binary heap of `size`, which is then one less."""
    last, at, child = heap[size - 1], 0, 1
    while child < size - 1:
        if child + 1 < size - 1 and heap[child + 1] < heap[child]:
            child += 1
        if heap[child] >= last:
            break
        heap[at] = heap[child]
        at, child = child, 2 * child + 1
    heap[at] = last
    return size - 1


@kernel
def claim_chains(
    order: I32, label_starts: I64, labels_of: I32, image_starts: I64, images_of: I32,
    near_starts: I64, near: I32, near_distances: I32, limit: int,
    is_done: Bools, heap: I64, survivors: I32, distances: I32,
) -> None:  # fmt: skip
    """Let each image in order that has no survivor claim all others that a chain of at most `limit` bits leads to.

    Dijkstra's algorithm through images without a survivor. Whatever it reaches is claimed, so each image and each label
    is gone through once, however many claim. `is_done`: labels to be left alone, at first those without such images.
    `heap` must hold an entry for each of `labels_of` and `near`.
    """
    for place in range(len(order)):
        best = order[place]
        if survivors[best] != -1:
            continue
        survivors[best] = best
        distances[best] = 0
        size = 0
        for at in range(label_starts[best], label_starts[best + 1]):
            size = _push(heap, size, labels_of[at])
        while size > 0:
            distance, label = heap[0] >> _LABEL_BITS, heap[0] & ((1 << _LABEL_BITS) - 1)
            size = _pop(heap, size)
            if is_done[label]:
                continue
            is_done[label] = True
            for member in range(image_starts[label], image_starts[label + 1]):
                image = images_of[member]
                if survivors[image] == -1:
                    survivors[image] = best
                    distances[image] = distance
                    for at in range(label_starts[image], label_starts[image + 1]):
                        if not is_done[labels_of[at]]:
                            size = _push(heap, size, distance << _LABEL_BITS | labels_of[at])
            for edge in range(near_starts[label], near_starts[label + 1]):
                reach = distance + near_distances[edge]
                if reach <= limit and not is_done[near[edge]]:
                    size = _push(heap, size, reach << _LABEL_BITS | near[edge])
