"""The best and worst classes of an evaluation, with pictures, and the classes that are confused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa

from trainer.evaluation.report import figures
from trainer.evaluation.report.grids import Chapter, Grid
from trainer.evaluation.report.mistakes import (
    Confusion,
    Example,
    Picture,
    class_results,
    confusions,
    examples,
    pictures,
    worst_first,
)
from trainer.evaluation.report.results import Checkpoint, ClassResult, Result
from trainer.evaluation.report.summary import percent, protocol_title, task_title
from trainer.evaluation.terms import ZERO_SHOT
from wit.page import Html, Section, element, figure, foreign, paragraph
from wit.page import beside as side_by_side

CLASSES_SHOWN = 6
"""The best, and as many of the worst."""
PAIRS_SHOWN, CLASSES_DRAWN = 10, 8

_NARROW_TILES = "grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr))"


def best_and_worst(checkpoint: Checkpoint, results: Sequence[Result]) -> Section | None:
    """Return the best and worst classes of each result that tells of classes, with pictures if it has predictions.

    Raises InputError for predictions that are none.
    """
    parts: list[Html] = []
    for each, classes, predictions in _told(checkpoint, results):
        parts += [element("h3", foreign(_title(each))), *_of_task(each, classes, predictions)]
    return Section(_HEADING, tuple(parts), "classes") if parts else None


def classes_chapter(checkpoint: Checkpoint, results: Sequence[Result]) -> Chapter | None:
    """Return the same in words; raises InputError for predictions that are none."""
    grids: list[Grid] = []
    for each, classes, predictions in _told(checkpoint, results):
        worst, best = _ends(classes)
        grids.append(_class_grid(f"{_title(each)}: the worst classes, then the best", [*worst, *best[::-1]]))
        pairs = confusions(each, predictions)
        grids += [_pair_grid(f"{_title(each)}: confused most often", pairs)] if pairs else []
    return Chapter(_HEADING, "classes", grids) if grids else None


_HEADING = "Best and worst classes"


def _title(result: Result) -> str:
    return f"{task_title(result.task)}, {protocol_title(result.protocol).lower()}"


def _told(
    checkpoint: Checkpoint, results: Sequence[Result]
) -> Iterator[tuple[Result, list[ClassResult], pa.Table | None]]:
    """Yield the results that tell of classes, their classes, the worst first, and predictions where there are any."""
    for each in results:
        if each.protocol != ZERO_SHOT and not each.by_class:
            continue
        predictions = checkpoint.predictions(each.task) if each.protocol == ZERO_SHOT else None
        classes = worst_first(class_results(each, predictions))
        if len(classes) > 1:
            yield each, classes, predictions


def _ends(classes: Sequence[ClassResult]) -> tuple[list[ClassResult], list[ClassResult]]:
    """Return the worst classes, the worst first, and the best, the best first."""
    num_shown = min(CLASSES_SHOWN, len(classes) // 2)
    worst = [each for each in classes[:num_shown] if each.score < 1]
    return worst, [each for each in classes[len(classes) - num_shown :] if each.score > 0][::-1]


def _of_task(result: Result, classes: Sequence[ClassResult], predictions: pa.Table | None) -> list[Html]:
    worst, best = _ends(classes)
    parts: list[Html] = []
    if predictions is None:
        parts.append(_class_grid("The worst classes, then the best", [*worst, *best[::-1]]).to_html())
    else:
        chosen = [*((each, False) for each in worst), *((each, True) for each in best)]
        shown = {(each.name, right): examples(predictions, each.name, right) for each, right in chosen}
        items = [one.item for each, right in chosen for one in shown[each.name, right]]
        found, problem = pictures(result.data, items)
        if problem:
            parts.append(paragraph(foreign(problem), class_="quiet"))
        groups = (("Worst, with the surest mistakes", worst, False), ("Best, with the surest hits", best, True))
        for words, group, right in (each for each in groups if each[1]):
            tiles = [_tile(each, shown[each.name, right], found, right) for each in group]
            parts += [paragraph(words, class_="step"), element("div", *tiles, class_="tiles", style=_NARROW_TILES)]
    return [*parts, *_confused(confusions(result, predictions))]


def _class_grid(title: str, classes: Sequence[ClassResult]) -> Grid:
    has_precision = any(each.precision is not None for each in classes)
    columns = {"class": False} | ({"average precision": True} if has_precision else {})
    columns |= {"%": True, "images": True, "taken for": False, "times": True}
    rows = [
        (
            each.name,
            *([percent(each.precision)] if has_precision else []),
            percent(each.accuracy),
            f"{each.num_items:,}",
            each.mistaken_for if each.times else None,
            f"{each.times:,}" if each.times else None,
        )
        for each in classes
    ]
    return Grid(title, columns, rows)


def _tile(each: ClassResult, own: Sequence[Example], found: dict[str, Picture], right: bool) -> Html:
    """Return a class with pictures of it, and what the model says of them."""
    shown = [_picture(one, found.get(one.item)) for one in own]
    words = [element("strong", foreign(each.name, 60)), f" {100 * each.accuracy:.1f} % of {each.num_items:,}"]
    words += [f", average precision {percent(each.precision)} %"] if each.precision is not None else []
    if each.times and not right:
        words += [element("br"), "mostly for ", foreign(each.mistaken_for, 60), f": {each.times:,}"]
    return element("figure", element("div", *shown), element("figcaption", *words))


def _picture(one: Example, found: Picture | None) -> Html:
    words = f"{one.item}: {one.prediction}, {one.probability:.0%}"
    if found is None or not found.uri:
        problem = found.problem if found else "no picture"
        return element("span", foreign(problem, 60), class_="missing", title=words)
    return element("img", src=found.uri, alt=words, title=words)


def _confused(pairs: Sequence[Confusion]) -> list[Html]:
    if not pairs:
        return []
    names = _drawn_classes(pairs)
    drawn = figure(figures.confusion(pairs, names), "The classes of the worst pairs; a square is a share of its row.")
    return [side_by_side(_pair_grid("Confused most often", pairs).to_html(), drawn)]


def _pair_grid(title: str, pairs: Sequence[Confusion]) -> Grid:
    columns = {"class": False, "taken for": False, "times": True, "% of its images": True}
    rows = [
        (each.label, each.prediction, f"{each.times:,}", percent(each.times / each.num_items))
        for each in pairs[:PAIRS_SHOWN]
    ]
    return Grid(title, columns, rows)


def _drawn_classes(pairs: Sequence[Confusion]) -> list[str]:
    """Return the first classes of the worst pairs, by name."""
    names: dict[str, None] = {}
    for each in pairs:
        more = dict.fromkeys((each.label, each.prediction))
        if len(names | more) <= CLASSES_DRAWN:
            names |= more
    return sorted(names)
