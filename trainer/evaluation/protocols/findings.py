"""What a protocol found, in the form that all results of evaluations have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from wit.errors import InputError
from wit.statistics import clopper_pearson

CONFIDENCE = 0.95

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Share:
    """How many of a group's items something is true of."""

    group: str
    num_hits: int
    num_items: int

    @property
    def value(self) -> float:
        """The share, 0 to 1; 0 of nothing."""
        return self.num_hits / self.num_items if self.num_items else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """Clopper-Pearson interval at CONFIDENCE; items are taken to be independent."""
        return clopper_pearson(self.num_hits, self.num_items, CONFIDENCE)

    def to_json(self) -> dict[str, object]:
        """Return it for a result's details."""
        return {
            "group": self.group,
            "num_items": self.num_items,
            "num_hits": self.num_hits,
            "value": self.value,
            "interval": list(self.interval),
        }


def share_of(hits_N: Bools, group: str = "all") -> Share:
    """Return how many of all items are hits."""
    return Share(group, int(hits_N.sum()), len(hits_N))


def shares_by(hits_N: Bools, groups: Sequence[str], order: Sequence[str] = ()) -> tuple[Share, ...]:
    """Return the share of hits in each group: those of `order` that have items, then the others by name."""
    assert len(hits_N) == len(groups)
    items, hits = Counter(groups), Counter(group for group, hit in zip(groups, hits_N, strict=True) if hit)
    names = [name for name in order if name in items] + sorted(set(items) - set(order))
    return tuple(Share(name, hits[name], items[name]) for name in names)


@dataclass(frozen=True)
class Finding:
    """One number, what it is of, and all that belongs to it."""

    task: str
    protocol: str
    metric: str
    share: Share
    num_classes: int | None = None
    chance: float | None = None
    by_class: Sequence[Mapping[str, object]] = ()
    details: Mapping[str, object] = field(default_factory=dict)

    def result(self) -> dict[str, object]:
        """Return the result as it is written to results/TASK.PROTOCOL.json."""
        return {
            "task": self.task,
            "protocol": self.protocol,
            "metric": self.metric,
            "value": self.share.value,
            "interval": list(self.share.interval),
            "num_items": self.share.num_items,
            "num_classes": self.num_classes,
            "chance": self.chance,
            "published": {},
            "by_class": [dict(row) for row in self.by_class],
            "details": {"confidence": CONFIDENCE, **self.details},
        }


def similarities(image_ND: Floats, text_CD: Floats) -> Floats:
    """Return the products (N, C) of embeddings; of unit vectors they are cosines. Raises as `require_comparable`."""
    require_comparable(image_ND, text_CD)
    scores: Floats = np.asarray(image_ND, np.float32) @ np.asarray(text_CD, np.float32).T
    return scores


def require_comparable(image_ND: Floats, text_CD: Floats) -> None:
    """Raise InputError when embeddings are not tables of the same width, or a number in them is not finite."""
    if image_ND.ndim != 2 or text_CD.ndim != 2 or image_ND.shape[1] != text_CD.shape[1]:
        raise InputError(
            f"embeddings: expected two tables of one width, found {image_ND.shape} and {text_CD.shape}; "
            "take both from one checkpoint"
        )
    for what, table in (("of images", image_ND), ("to compare with", text_CD)):
        is_finite_N = np.isfinite(table).all(axis=1)
        if not is_finite_N.all():
            row = int(is_finite_N.argmin())
            raise InputError(f"embeddings {what}: expected finite numbers, found another in row {row}; embed it again")


def require_rows(what: str, num_rows: int, num_expected: int) -> None:
    """Raise InputError unless there are as many rows as things that they belong to, and any at all."""
    if num_rows != num_expected or not num_rows:
        raise InputError(f"{what}: expected {num_expected or 'some'} embeddings, found {num_rows}; embed the same list")
