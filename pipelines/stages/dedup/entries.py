"""Entries: an image's print, its turned prints and its content, each a number, and the places that they lie in.

Images are numbered in the order of their keys, which is that of the table's rows, so a number is 8 bytes that stand for
a key. An entry is 16 x the number, + the turn of the print, or + CONTENT. Equal entries are copies; of each the first
stands for all.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from wit.fingerprint import Prints
from wit.near import Rule
from wit.schema import ENTRIES

I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]

ENTRIES_AN_IMAGE = 16
CONTENT = 8
AS_IT_IS, TURNED, CONTENT_SIDE = 0, 1, 2
"""Sides of entries: only those of one side can be copies of each other."""

PLACE_ROWS = 1 << 22
"""Prints that a place should have at most, unless buckets are too few. A task searches two of them: up to 4 GB."""


def place_bits(num_prints: int, num_buckets: int) -> int:
    """Return b, where prints are to lie in 2^b places: as many as bound a task's memory, and as buckets can hold."""
    wanted = (max(num_prints - 1, 0) // PLACE_ROWS).bit_length()
    return min(wanted, num_buckets.bit_length() - 1)


class Cut(NamedTuple):
    """What of prints a rule heeds, and where it lies."""

    rule: Rule
    place_bits: int

    @property
    def mask(self) -> np.uint64:
        """The low bits that say the place."""
        return np.uint64((1 << self.place_bits) - 1)

    def prints(self, numbers: I64, keys: pa.Array, prints: Prints, turns: I64 | int = 0) -> pa.RecordBatch:
        """Return ENTRIES of the prints that are good enough to be compared: of all, or of images turned."""
        rows = np.flatnonzero(prints.quality >= self.rule.min_quality)
        turn = np.broadcast_to(np.asarray(turns, np.int64), len(numbers))[rows]
        good, nothing = prints.take(rows), np.zeros(len(rows), np.uint64)
        value = nothing if self.rule.hash == "pdq" else good.phash
        words = np.zeros_like(good.pdq) if self.rule.hash == "phash" else good.pdq
        places = (value if self.rule.hash == "phash" else words[:, 3]) & self.mask
        side = np.where(turn > 0, TURNED, AS_IT_IS)
        return _batch(numbers[rows] * ENTRIES_AN_IMAGE + turn, keys.take(pa.array(rows)), side, places, value, words)

    def contents(self, numbers: I64, keys: pa.Array, prints: Prints) -> pa.RecordBatch:
        """Return ENTRIES of the contents of images."""
        value = np.ascontiguousarray(prints.content).view(np.uint64)
        side = np.full(len(numbers), CONTENT_SIDE)
        words = np.zeros((len(numbers), 4), np.uint64)
        return _batch(numbers * ENTRIES_AN_IMAGE + CONTENT, keys, side, value & self.mask, value, words)

    def rule_between(self, place_a: int, place_b: int) -> Rule | None:
        """Return the rule for prints of two places without the bits of their places; None when none can be near.

        Places that differ in d bits leave radius - d to the rest.
        """
        left = self.rule.radius - (place_a ^ place_b).bit_count()
        if left < 0:
            return None
        if self.rule.hash == "phash":
            return replace(self.rule, min_quality=0, phash_radius=left)
        return replace(self.rule, min_quality=0, pdq_radius=left)


def _batch(entries: I64, keys: pa.Array, side: I64, places: U64, value: U64, words: U64) -> pa.RecordBatch:
    columns = [
        pa.array(entries),
        keys.cast(pa.string()),
        pa.array(side.astype(np.int32)),
        pa.array(places.astype(np.int32)),
        pa.array(value.view(np.int64)),
        *(pa.array(np.ascontiguousarray(words[:, i]).view(np.int64)) for i in range(4)),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=ENTRIES)
