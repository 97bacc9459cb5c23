"""Frames of videos: which of them are judged, which are near those, and what each shows.

A file .csv, .tsv or .jsonl with the columns item (the image's path in its set), video, frame (its number) and anchor
(1 for a frame that is judged), and label where folders do not say it, several with "|" between; or a folder with
pmsets.json and labels.json, as ImageNet-Vid-Robust is published: {anchor: [frames near it]} and {frame: [classes]}.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from trainer.evaluation.robustness import near_frames
from trainer.evaluation.tables import Row, read_rows
from wit.errors import InputError
from wit.evaluation_sets.labels import read_text
from wit.rows import json_object
from wit.storage import is_folder, join

NEAR, LABELS = "pmsets.json", "labels.json"
_YES, _NO = ("1", "true", "yes"), ("0", "false", "no", "")
_MAX_JSON_BYTES = 256 << 20
MAX_FRAME = 10**9


@dataclass(frozen=True)
class Frames:
    """The frames of a set's videos, by the names of their images."""

    source: str
    near: Mapping[str, Sequence[str]]
    """Of each anchor the frames near it."""
    labels: Mapping[str, tuple[str, ...]]
    """Classes of each frame; empty: the set says them."""

    @cached_property
    def items(self) -> frozenset[str]:
        """All frames that count: anchors and those near them."""
        return frozenset(self.near).union(*self.near.values())

    @property
    def classes(self) -> tuple[str, ...]:
        """All that are said, in the order of their first frames."""
        return tuple(dict.fromkeys(label for labels in self.labels.values() for label in labels))


def read_frames(url: str) -> Frames:
    """Return what a file or folder says of frames; raises InputError."""
    return _read_published(url) if is_folder(url) else _read_table(url)


def _read_table(url: str) -> Frames:
    rows = read_rows(url, ("item", "video", "frame", "anchor"), once="item")
    items = [row.text("item") for row in rows]
    numbers = np.array([row.count("frame", MAX_FRAME) for row in rows], np.int64)
    anchors = [place for place, row in enumerate(rows) if _is_anchor(row)]
    if not anchors:
        raise InputError(f"{url}: expected an anchor, found none; write 1 under anchor for frames that are judged")
    near = near_frames(numbers, [row.text("video") for row in rows], anchors)
    labels = {item: row.texts("label") for item, row in zip(items, rows, strict=True) if row.optional("label")}
    if labels and len(labels) < len(items):
        missing = next(row for row in rows if not row.optional("label"))
        raise InputError(f"{missing.where}: expected a label as others have, found none; fill it in")
    return Frames(url, {items[anchor]: [items[row] for row in own] for anchor, own in near.items()}, labels)


def _is_anchor(row: Row) -> bool:
    text = row.optional("anchor").casefold()
    if text not in _YES + _NO:
        raise InputError(f"{row.where}: expected 1 or 0 under 'anchor', found {text[:60]!r}")
    return text in _YES


def _read_published(folder: str) -> Frames:
    near, labels = _read_lists(join(folder, NEAR), str), _read_lists(join(folder, LABELS), str, int)
    return Frames(folder, near, {frame: tuple(map(str, own)) for frame, own in labels.items()})


def _read_lists(url: str, *kinds: type) -> dict[str, list[Any]]:
    lists: dict[str, list[Any]] = {}
    for frame, found in json_object(url, read_text(url, _MAX_JSON_BYTES)).items():
        if not isinstance(found, list):
            raise InputError(f"{url}: {frame[:60]!r}: expected a list, found {str(found)[:60]!r}")
        if wrong := [each for each in found if isinstance(each, bool) or not isinstance(each, kinds)]:
            names = " or ".join("texts" if kind is str else "numbers" for kind in kinds)
            raise InputError(f"{url}: {frame[:60]!r}: expected a list of {names}, found {str(wrong[0])[:60]!r} in it")
        lists[frame] = found
    if not lists:
        raise InputError(f"{url}: expected lists by frame, found none")
    return lists
