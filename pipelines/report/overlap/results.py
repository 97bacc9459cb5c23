"""What an audit found, as its pages and tables tell it: counts, and the statistics that follow from them.

Names and methods are those of CLIP's overlap analysis (arXiv 2103.00020, section 5): each set is split into Overlap
(items that a training sample shows) and Clean (the others); All is both. A set's inflation is All - Clean.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from wit.statistics import binomial_p_value, clopper_pearson, fisher_p_value

CONFIDENCE = 0.995
"""Of every interval; the paper's."""
ALPHA = 0.05
"""Chance that any set at all is called significant when no overlap helps; Bonferroni shares it among the sets."""

BITS = "bits"
"""Unit of distances that are whole numbers; others are fractions, as "cosine distance" of descriptors is."""

EVALUATION, TRAINING = "evaluation", "training"
Thumbs = Callable[[str, str], bytes | None]
"""Returns the JPEG thumbnail (at most 160 px a side) of an image, or None when there is none.

Called with (EVALUATION, "SET/ITEM") or (TRAINING, "SHARD/KEY").
"""


@dataclass(frozen=True)
class Contamination:
    """How much of an evaluation set the training shards show."""

    set: str
    num_items: int
    """Images of the set that could be read, blank ones with them."""
    num_overlap: int
    """Those of them that some training sample shows."""
    num_unreadable: int
    num_blank: int
    """Readable images with too little detail for a hash: found only where a sample has the same content."""
    threshold: float
    """Greatest distance of a copy, in the unit of the audit."""

    @property
    def share(self) -> float:
        """Overlap / All, as the paper defines contamination; 0 for a set of which nothing could be read."""
        return self.num_overlap / self.num_items if self.num_items else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """The 99.5 % Clopper-Pearson interval of the share."""
        return clopper_pearson(self.num_overlap, self.num_items, CONFIDENCE)


@dataclass(frozen=True)
class Accuracies:
    """How a model does on the splits of a set: items with a prediction, and those of them that it gets right."""

    num_clean: int
    correct_clean: int
    num_overlap: int
    correct_overlap: int

    @property
    def num_all(self) -> int:
        """Items with a prediction."""
        return self.num_clean + self.num_overlap

    @property
    def accuracy_all(self) -> float | None:
        """Share of right predictions on All; None without items."""
        return _share(self.correct_clean + self.correct_overlap, self.num_all)

    @property
    def accuracy_clean(self) -> float | None:
        """Share of right predictions on Clean; None without items."""
        return _share(self.correct_clean, self.num_clean)

    @property
    def accuracy_overlap(self) -> float | None:
        """Share of right predictions on Overlap; None without items."""
        return _share(self.correct_overlap, self.num_overlap)

    @property
    def difference(self) -> float | None:
        """All - Clean, what the overlap adds to the accuracy that is reported; None without clean items."""
        return _minus(self.accuracy_all, self.accuracy_clean)

    @property
    def overlap_difference(self) -> float | None:
        """Overlap - Clean; All - Clean is its product with the share of Overlap. None without items in both."""
        return _minus(self.accuracy_overlap, self.accuracy_clean)

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 99.5 % Clopper-Pearson interval of the accuracy on Overlap; None without items."""
        if not self.num_overlap:
            return None
        return clopper_pearson(self.correct_overlap, self.num_overlap, CONFIDENCE)

    @property
    def excludes_clean(self) -> bool:
        """Whether the accuracy on Clean lies outside that interval, on either side."""
        if self.interval is None or self.accuracy_clean is None:
            return False
        low, high = self.interval
        return not low <= self.accuracy_clean <= high

    @property
    def p_value(self) -> float | None:
        """One-tailed (greater) binomial p-value of Overlap when Clean's accuracy is the truth: the paper's test.

        It takes Clean's accuracy as known, which is fair while Clean is much larger than Overlap. None without items
        in both.
        """
        if not self.num_overlap or self.accuracy_clean is None:
            return None
        return binomial_p_value(self.correct_overlap, self.num_overlap, self.accuracy_clean)

    @property
    def fisher_p_value(self) -> float | None:
        """One-tailed p-value of Fisher's exact test of Overlap against Clean, which holds for any sizes."""
        if not self.num_overlap or not self.num_clean:
            return None
        return fisher_p_value(self.correct_overlap, self.num_overlap, self.correct_clean, self.num_clean)


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _minus(left: float | None, right: float | None) -> float | None:
    return None if left is None or right is None else left - right


@dataclass(frozen=True)
class SetResult:
    """All that is said of an evaluation set; without a file of predictions there are no accuracies."""

    contamination: Contamination
    accuracies: Accuracies | None = None
    num_missing: int = 0
    """Readable items without a prediction: in neither split of the accuracies."""
    num_unknown: int = 0
    """Predictions of items that the set does not have."""


@dataclass(frozen=True)
class AuditResult:
    """All that an audit found."""

    shards: str
    rule: str
    """What counts as a copy, in words that follow "A copy is" and end without a full stop."""
    sets: tuple[SetResult, ...]
    unit: str = BITS
    """Of distances and thresholds."""
    num_samples: int = 0
    """Training samples that were compared."""
    num_unreadable_samples: int = 0
    versions: Mapping[str, str] = field(default_factory=dict)
    """What made the audit, and digests of what went in; shown as it stands."""

    @property
    def num_tests(self) -> int:
        """Sets with predictions: the number that Bonferroni's correction divides by, as the paper's 35."""
        return sum(each.accuracies is not None for each in self.sets)

    def is_significant(self, result: SetResult) -> bool:
        """Return whether the set's Overlap is better than its Clean after Bonferroni: p <= 0.05 / num_tests."""
        p_value = result.accuracies.p_value if result.accuracies else None
        return p_value is not None and p_value <= ALPHA / self.num_tests


@dataclass(frozen=True)
class Comparison:
    """What was found between two training sets, or within one."""

    shards: str
    other: str | None
    """The other set's name; None: the set was compared with itself."""
    rule: str
    unit: str
    threshold: float
    num_samples: int
    num_other: int
    """Samples of the other set; 0 when there is none."""
    num_pairs: int
    num_matched: int
    """Samples of the first set that are in some pair."""
    num_clusters: int
    """Groups of samples that pairs join, directly or by way of others."""
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The set that stands on the left of the pairs."""
        return self.shards if self.other is None else self.other


@dataclass(frozen=True)
class SearchedSet:
    """An evaluation set as `--calibrate` searched it."""

    set: str
    num_items: int
    """Images of the set that could be read."""
    threshold: float
    """Where the search of an audit would stop if nothing else is typed."""
    searched: float
    """Greatest distance that was searched."""


@dataclass(frozen=True)
class Calibration:
    """What the page of nearest neighbours around the threshold opens with."""

    shards: str
    rule: str
    sets: tuple[SearchedSet, ...]
    command: str
    """The audit's command up to its thresholds: the page adds `--threshold NAME=N` for each set."""
    unit: str = BITS
