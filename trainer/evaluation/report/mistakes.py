"""Which classes a model knows best and worst, which it takes for which, and pictures of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from trainer.evaluation.report.results import ClassResult, Result
from wit.errors import WitError
from wit.evaluation_sets import list_inputs, parse, read_items
from wit.thumbnails import thumbnail

PICTURES = 2
"""Of a class."""


@dataclass(frozen=True)
class Confusion:
    """How often images of one class are taken for another."""

    label: str
    prediction: str
    times: int
    num_items: int
    """Of the first class."""


@dataclass(frozen=True)
class Example:
    """An image that the model is sure of, rightly or wrongly."""

    item: str
    prediction: str
    probability: float


@dataclass(frozen=True)
class Picture:
    """A small picture as a data URI, or why there is none."""

    uri: str
    problem: str = ""


def class_results(result: Result, predictions: pa.Table | None) -> tuple[ClassResult, ...]:
    """Return the result of each class that has images: what the result says, else what its predictions add up to."""
    if result.by_class or predictions is None:
        return tuple(each for each in result.by_class if each.num_items)
    labels, guesses = predictions["label"].to_pylist(), predictions["prediction"].to_pylist()
    counts = Counter(labels)
    hits = Counter(label for label, guess in zip(labels, guesses, strict=True) if label == guess)
    worst: dict[str, Confusion] = {}
    for each in confusions(result, predictions):
        worst.setdefault(each.label, each)
    return tuple(
        ClassResult(name, counts[name], hits[name] / counts[name], *_mistake(worst.get(name)))
        for name in sorted(counts)
    )


def _mistake(found: Confusion | None) -> tuple[str, int]:
    return (found.prediction, found.times) if found else ("", 0)


def confusions(result: Result, predictions: pa.Table | None) -> list[Confusion]:
    """Return the pairs of classes that are confused, the most frequent first; of equals by name.

    Without predictions a result names one pair a class, which misses the second most frequent of a class.
    """
    if predictions is None:
        pairs = Counter({(each.name, each.mistaken_for): each.times for each in result.by_class if each.times})
        counts = Counter({each.name: each.num_items for each in result.by_class})
    else:
        labels, guesses = predictions["label"].to_pylist(), predictions["prediction"].to_pylist()
        counts = Counter(labels)
        pairs = Counter(pair for pair in zip(labels, guesses, strict=True) if pair[0] != pair[1])
    found = [Confusion(label, guess, times, counts[label]) for (label, guess), times in pairs.items()]
    return sorted(found, key=lambda each: (-each.times, each.label, each.prediction))


def worst_first(classes: Sequence[ClassResult]) -> list[ClassResult]:
    """Return the classes by score, the lowest first; of equals that of more images, then by name."""
    return sorted(classes, key=lambda each: (each.score, -each.num_items, each.name))


def examples(predictions: pa.Table, label: str, right: bool) -> list[Example]:
    """Return a class's images that the model is surest of: those it has `right`, or those it has wrong."""
    is_own = pc.equal(predictions["label"], label)
    is_right = pc.equal(predictions["prediction"], label)
    mine = predictions.filter(pc.and_(is_own, is_right if right else pc.invert(is_right)))
    rows = [
        Example(*row)
        for row in zip(*(mine[name].to_pylist() for name in ("path", "prediction", "probability")), strict=True)
    ]
    return sorted(rows, key=lambda each: (-each.probability, each.item))[:PICTURES]


def pictures(data: str, items: Sequence[str]) -> tuple[dict[str, Picture], str]:
    """Return small pictures of a set's items by name, and why some are missing, in one line; blank: none is.

    `data` is [NAME=][FORMAT:]PATH. A set that has gone, or is broken, is no reason to have no page.
    """
    if not data:
        return {}, "The result does not say where its images lie." if items else ""
    wanted = {("set", item) for item in items}
    path = data.partition("=")[2] if _is_named(data) else data
    found: dict[str, Picture] = {}
    try:
        for item in read_items(list_inputs(parse(f"set={path}")), wanted):
            found[item.item] = Picture(*thumbnail(item.body))
            if len(found) == len(wanted):
                break
    except WitError as error:
        return found, f"Pictures are missing: {error}"
    num_missing = len(wanted) - len(found)
    return found, f"{num_missing:,} of {len(wanted):,} images are no longer in {path}." if num_missing else ""


def _is_named(data: str) -> bool:
    """Return whether a set begins with its name: a path may have an equals sign, too, after a slash."""
    name, equals, _ = data.partition("=")
    return bool(equals) and "/" not in name
