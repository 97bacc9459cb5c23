"""Scores of one model beside another's, data set by data set: gaps, correlation, ties (the paper's section 3)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from trainer.evaluation.lines import Line, as_floats, fit_line, resample_lines
from wit.errors import InputError
from wit.statistics import clopper_pearson

TIE_CONFIDENCE: Final = 0.995
"""Of the Clopper-Pearson interval within which the paper calls models equal."""


@dataclass(frozen=True)
class Gap:
    """Scores of one data set."""

    task: str
    score: float
    other: float

    @property
    def ahead(self) -> float:
        """By how much the first is ahead."""
        return self.score - self.other


def gaps(scores: Mapping[str, float], others: Mapping[str, float]) -> tuple[Gap, ...]:
    """Return the gaps of the data sets that both have, the largest lead first (Figure 5).

    Raises InputError when they have none in common.
    """
    found = [Gap(task, scores[task], others[task]) for task in scores if task in others]
    if not found:
        raise InputError(f"scores: expected a data set that both have, found {_few(scores)} and {_few(others)}")
    return tuple(sorted(found, key=lambda gap: (-gap.ahead, gap.task)))


@dataclass(frozen=True)
class Relation:
    """How zero-shot scores go with those of a linear probe of the same features (Figure 8)."""

    gaps: tuple[Gap, ...]
    """Zero-shot and probe; `ahead` is below 0 where the probe is better."""
    line: Line
    """Of zero-shot over probe: how many points a point of the probe is worth."""
    slope_interval: tuple[float, float]
    """The bootstrap's at 95 %, of data sets drawn anew."""

    def within(self, margin: float) -> tuple[str, ...]:
        """Return the data sets whose zero-shot score is at most `margin` below the probe's."""
        return tuple(gap.task for gap in self.gaps if gap.ahead >= -margin)


def relate(zero_shot: Mapping[str, float], probe: Mapping[str, float]) -> Relation:
    """Return how scores of the data sets that both have are related; raises InputError as `gaps` and `fit_line`."""
    found = gaps(zero_shot, probe)
    x, y = as_floats([gap.other for gap in found]), as_floats([gap.score for gap in found])
    return Relation(found, fit_line(x, y), resample_lines(x, y).slope_interval())


@dataclass(frozen=True)
class Ties:
    """Which models are as good as the best on a data set."""

    best: str
    low: float
    """The end of the best score's interval."""
    models: tuple[str, ...]
    """The best, and those at `low` or above; the best first."""


def find_ties(scores: Mapping[str, float], num_items: int, confidence: float = TIE_CONFIDENCE) -> Ties:
    """Return the models within the Clopper-Pearson interval of the best score, shares of 1 (Table 10's rule).

    `num_items`: test items that the share is of. A score that is no share of items, a mean per class or an area, is
    taken for one. Raises InputError for no models, or a score that is no share.
    """
    wrong = [f"{model} {score:g}" for model, score in scores.items() if not 0 <= score <= 1]
    if wrong or not scores or num_items < 1:
        raise InputError(f"scores: expected shares from 0 to 1 of items, found {_few(wrong)} of {num_items} items")
    order = sorted(scores, key=lambda model: (-scores[model], model))
    low, _ = clopper_pearson(round(scores[order[0]] * num_items), num_items, confidence)
    return Ties(order[0], low, tuple(model for model in order if scores[model] >= low))


def _few(names: Collection[str]) -> str:
    shown = ", ".join(list(names)[:3])
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown or "none"
