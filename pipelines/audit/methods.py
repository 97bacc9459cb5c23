"""How copies are known: by hashes, or by the vectors of a descriptor. The rest of an audit is the same."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Protocol

import pyarrow as pa

from pipelines.audit.search import Search
from pipelines.audit.training import HashTraining
from pipelines.stages.overlap import HashReferences
from pipelines.stages.thresholds import MAX_RADIUS, rules_of
from wit.near import Rule, copy_rule
from wit.schema import REFERENCES
from wit.stage import MapStage

WIDER = 1.5
"""How many times the threshold `--calibrate` searches."""

_TURNED = {"none": "", "mirror": ", as it is or mirrored", "all": ", as it is, mirrored or rotated by 90 degrees"}


class Method(Protocol):
    """What an audit must know of the way in which it finds copies."""

    @property
    def unit(self) -> str:
        """Of distances and thresholds."""

    @property
    def threshold(self) -> float:
        """Greatest distance of a copy unless a set has its own."""

    @property
    def most(self) -> float:
        """Greatest threshold that makes sense."""

    @property
    def min_quality(self) -> int:
        """Images of lower quality are blank; 0: the method knows of no quality."""

    @property
    def references(self) -> pa.Schema:
        """Of the table that `hash_items` keeps: set, item, label and turn first."""

    @property
    def made_from(self) -> Sequence[str]:
        """What tells that files of the method are still the same."""

    @property
    def hash_training(self) -> MapStage:
        """Reads TRAINING_INPUTS."""

    def hash_items(self, turns: str) -> MapStage:
        """Return the stage that reads EVALUATION_INPUTS."""

    def search(self, tables: Sequence[str], thresholds: Mapping[str, float]) -> MapStage:
        """Return the stage that reads SEARCH_INPUTS; `tables` are those that `hash_items` kept."""

    def wider(self, threshold: float) -> float:
        """Return how far `--calibrate` searches."""

    def in_words(self, thresholds: Mapping[str, float], turns: str) -> str:
        """Return what counts as a copy, as words that follow "A copy is"."""

    def making(self) -> dict[str, Any]:
        """Return what `audit.json` says of the method."""


@dataclass(frozen=True)
class ByHashes:
    """Copies are near-duplicates by their perceptual hashes (wit.near)."""

    rule: Rule = field(default_factory=copy_rule)

    unit = "bits"
    references = REFERENCES
    made_from = ()
    hash_training = HashTraining()

    @property
    def threshold(self) -> float:
        """The radius of the hash that the rule measures distances by: of "both" that is PDQ."""
        return self.rule.radius

    @property
    def most(self) -> float:
        """One bit less than half of them, which is what two unrelated pictures differ by."""
        return MAX_RADIUS[self.rule.hash]

    @property
    def min_quality(self) -> int:
        """That of the rule."""
        return self.rule.min_quality

    def hash_items(self, turns: str) -> MapStage:
        """Return the stage that hashes evaluation images."""
        return HashReferences(turns)

    def search(self, tables: Sequence[str], thresholds: Mapping[str, float]) -> MapStage:
        """Return the stage that searches hashes."""
        return Search(tuple(tables), tuple(rules_of(self.rule, thresholds).items()))

    def wider(self, threshold: float) -> float:
        """Return a multiple of the threshold, at least two bits more."""
        return min(self.most, max(math.ceil(WIDER * threshold), threshold + 2))

    def in_words(self, thresholds: Mapping[str, float], turns: str) -> str:
        """Return what counts as a copy."""
        bits = _range(thresholds)
        hashes = {
            "phash": f"whose 64-bit pHash differs in at most {bits} bits",
            "pdq": f"whose 256-bit PDQ hash differs in at most {bits} bits",
            "both": f"whose 256-bit PDQ hash differs in at most {bits} bits and its 64-bit pHash in at most "
            f"{self.rule.phash_radius}",
        }
        quality = f", both of a PDQ quality of at least {self.rule.min_quality}" if self.rule.min_quality else ""
        return f"an image {hashes[self.rule.hash]}{_TURNED[turns]}{quality}; or one of equal content"

    def making(self) -> dict[str, Any]:
        """Return the rule."""
        return asdict(self.rule)


@dataclass(frozen=True)
class ByDescriptor:
    """Copies have near vectors by a descriptor, an ONNX or TorchScript file (wit.descriptors)."""

    descriptor: str

    most = 1.0
    min_quality = 0

    @property
    def unit(self) -> str:
        """1 - cosine."""
        from pipelines.audit.descriptors import UNIT

        return UNIT

    @cached_property
    def threshold(self) -> float:
        """What the descriptor proposes."""
        from pipelines.audit.descriptors import default_distance

        return default_distance(self.descriptor)

    @property
    def references(self) -> pa.Schema:
        """With the vectors."""
        from wit.schema.described import DESCRIBED_ITEMS

        return DESCRIBED_ITEMS

    @cached_property
    def made_from(self) -> Sequence[str]:
        """Digests of the descriptor's files."""
        from pipelines.audit.descriptors import made_from

        return made_from(self.descriptor)

    @property
    def hash_training(self) -> MapStage:
        """The stage that describes samples."""
        from pipelines.audit.descriptors import DescribeTraining

        return DescribeTraining(self.descriptor)

    def hash_items(self, turns: str) -> MapStage:
        """Return the stage that describes evaluation images."""
        from pipelines.audit.descriptors import DescribeItems

        return DescribeItems(self.descriptor, turns)

    def search(self, tables: Sequence[str], thresholds: Mapping[str, float]) -> MapStage:
        """Return the stage that compares vectors."""
        from pipelines.audit.descriptors import SearchDescribed

        return SearchDescribed(tuple(tables), tuple(thresholds.items()))

    def wider(self, threshold: float) -> float:
        """Return a multiple of the threshold."""
        return min(self.most, WIDER * threshold)

    def in_words(self, thresholds: Mapping[str, float], turns: str) -> str:
        """Return what counts as a copy."""
        return f"an image whose vector has a cosine distance of at most {_range(thresholds)}{_TURNED[turns]}"

    def making(self) -> dict[str, Any]:
        """Return the file, and the digests by which it is known."""
        return {"descriptor": self.descriptor, "digests": list(self.made_from)}


def _range(thresholds: Mapping[str, float]) -> str:
    """Return the thresholds of all sets in few words."""
    low, high = min(thresholds.values()), max(thresholds.values())
    return f"{low:g}" if low == high else f"{low:g} to {high:g} (as each set says)"
