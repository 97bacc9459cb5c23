"""Everything that the report is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.near_duplicates.cifar import Cifar
from benchmarks.near_duplicates.counts import Planted
from benchmarks.near_duplicates.signs import HASHES, LEARNED, PEERS, Detector, Signs


@dataclass(frozen=True)
class Measured:
    """What detectors saw of the planted edits, and of the other pictures."""

    planted: Planted
    turned: Sequence[Signs]
    """Of each photo, a row a turn."""
    cifar: Cifar
    files: dict[str, Signs]
    """Of imagededup's test files by name, one row each."""

    @property
    def detectors(self) -> tuple[Detector, ...]:
        """The detectors that saw the pictures: without their Python no peers, without a file no learned one."""
        return tuple(each for each in (*HASHES, *PEERS, LEARNED) if each.name in self.planted.signs)
