"""The page of a checkpoint: its results beside chance and the paper's, its best and worst classes, what it confuses."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from trainer.evaluation.report import figures
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
from trainer.evaluation.report.published import GIVEN, MARKS, PAPER, STATUS, TABLES, Published, models
from trainer.evaluation.report.results import LINEAR_PROBE, ZERO_SHOT, Checkpoint, ClassResult, Result
from trainer.evaluation.report.summary import (
    averages,
    beside,
    in_order,
    metric_title,
    protocol_title,
    remark,
    task_title,
    zero_shot_and_probe,
)
from wit.page import (
    Cell,
    Divider,
    Html,
    Section,
    document,
    element,
    figure,
    foreign,
    glossary,
    headline,
    joined,
    paragraph,
    table,
)
from wit.page import beside as side_by_side

LARGEST = "ViT-L/14@336px"
CLASSES_SHOWN = 6
"""The best, and as many of the worst."""
PAIRS_SHOWN, CLASSES_DRAWN = 10, 8
MAX_CURVES = 12

_NARROW_TILES = "grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr))"


def checkpoint_page(checkpoint: Checkpoint) -> str:
    """Return the page of a checkpoint, which stands alone; raises InputError for predictions that are none.

    Pictures are read from where the results say that the images lie; a set that is no longer there is told of.
    """
    results = in_order(checkpoint.results)
    opening = [paragraph("Results in ", foreign(checkpoint.folder), "."), headline(_facts(checkpoint))]
    sections = [
        _results(results),
        _published(results),
        _differences(checkpoint),
        _curves(checkpoint, results),
        _classes(checkpoint, results),
        _made(checkpoint, results),
    ]
    return document(f"Evaluation of {checkpoint.name}", opening, [part for part in sections if part])


def percent(share: float | None) -> str | None:
    """Return a share in percent with one decimal, as the paper prints it."""
    return None if share is None else f"{100 * share:.1f}"


def _facts(checkpoint: Checkpoint) -> dict[str, str]:
    """Return the numbers that the page opens with."""
    facts = {"evaluations": f"{len(checkpoint.results):,}"}
    for each in averages(checkpoint):
        how = "mean of" if each.is_whole else f"mean of {each.num_tasks} of"
        facts[f"{protocol_title(each.protocol)}, {how} {each.suite}, %"] = f"{100 * each.value:.1f}"
    return facts


def published_cell(found: Published | None) -> str | None:
    """Return a published number with the mark of its status."""
    return None if found is None else f"{MARKS[found.status]}{found.percent:.1f}"


def status_notes(shown: set[str]) -> list[Html]:
    """Return what the marks of published numbers mean, those that are shown."""
    words = {
        "unmarked": f"printed in {PAPER}, " + STATUS["confirmed"],
        "≈": f"printed in {PAPER}, {STATUS['consistent']}",
        "†": STATUS[GIVEN],
        "–": "no number that could be verified, or not evaluated",
    }
    keys = {"confirmed": "unmarked", "consistent": "≈", "given": "†"}
    wanted = [keys[status] for status in STATUS if status in shown]
    return [glossary({word: words[word] for word in (*wanted, "–")})] if wanted else []


def _results(results: Sequence[Result]) -> Section:
    columns = {
        "task": None, "metric": None, "%": 0, f"{_confidence(results)}interval": 0, "chance": 0, "images": 0,
        f"{LARGEST}": 0, "the paper's models": 0, "remarks": None,
    }  # fmt: skip
    rows: list[Sequence[Cell] | Divider] = []
    for index, each in enumerate(results):
        if index == 0 or results[index - 1].protocol != each.protocol:
            rows.append(Divider(protocol_title(each.protocol)))
        rows.append(_result_row(each))
    marks = {found.status for each in results for found in beside(each).values()}
    parts: list[Html] = [table(columns, rows)]
    if marks:
        parts.append(
            paragraph(
                f"{LARGEST} and “the paper's models” (from the lowest to the highest, and how many) are what CLIP's "
                f"paper prints for the same task, protocol and metric ({PAPER}, Tables 10 and 11), as far as verified."
            )
        )
    return Section("Results", (*parts, *status_notes(marks), *_drawn(results)), "results")


def _confidence(results: Sequence[Result]) -> str:
    found = {each.confidence for each in results if each.interval}
    (one,) = found if len(found) == 1 else (None,)
    return f"{100 * one:g} % " if one is not None else ""


def _result_row(each: Result) -> tuple[Cell, ...]:
    found = beside(each)
    numbers = [one.percent for one in found.values()]
    low_high = f"{100 * each.interval[0]:.1f} to {100 * each.interval[1]:.1f}" if each.interval else None
    span = f"{min(numbers):.1f} to {max(numbers):.1f} ({len(numbers)})" if numbers else None
    return (
        foreign(task_title(each.task)),
        metric_title(each.metric),
        percent(each.value),
        low_high,
        percent(each.chance),
        each.num_items,
        published_cell(found.get(LARGEST)),
        span,
        remark(each),
    )


def _drawn(results: Sequence[Result]) -> list[Html]:
    """Return a figure a protocol, side by side."""
    found = []
    for protocol in (ZERO_SHOT, LINEAR_PROBE):
        mine = [each for each in results if each.protocol == protocol]
        if mine:
            titles = {each.task: task_title(each.task) for each in mine}
            drawn = figures.by_task(
                mine, titles, f"{protocol_title(protocol)} of the paper's models, lowest to highest"
            )
            found.append(figure(drawn, f"{protocol_title(protocol)}."))
    return [side_by_side(*found)] if found else []


def _published(results: Sequence[Result]) -> Section | None:
    """Return every published number of the tasks that were evaluated, a column a model."""
    parts: list[Html] = []
    marks: set[str] = set()
    for protocol, source in TABLES.items():
        mine = {each.task: (each, beside(each)) for each in results if each.protocol == protocol}
        rows = [(task, each, found) for task, (each, found) in mine.items() if found]
        if not rows:
            continue
        known = [model for model in models(protocol) if any(model in found for _, _, found in rows)]
        others = sorted({model for _, _, found in rows for model in found} - set(known))
        columns = {"task": None, "this checkpoint": 0} | dict.fromkeys((*known, *others), 0)
        marks |= {one.status for _, _, found in rows for one in found.values()}
        cells = [
            (
                foreign(task_title(task)),
                element("strong", percent(each.value) or ""),
                *(published_cell(found.get(model)) for model in (*known, *others)),
            )
            for task, each, found in rows
        ]
        parts.append(table(columns, cells, f"{protocol_title(protocol)}, %, beside {source}"))
    return Section("Beside the paper's models", (*parts, *status_notes(marks)), "published") if parts else None


def _differences(checkpoint: Checkpoint) -> Section | None:
    """Return zero-shot beside the probe of the same checkpoint."""
    pairs = zero_shot_and_probe(checkpoint)
    if not pairs:
        return None
    rows = sorted(((task_title(task), 100 * (zero - probe)) for task, zero, probe in pairs), key=lambda row: -row[1])
    label = "Zero-shot minus the linear probe on the same features, by task."
    drawn = figures.differences(rows, label, "points: zero-shot minus linear probe")
    note = (
        "Zero-shot minus a linear probe of this checkpoint's own features. (The paper's Figure 5 has a probe of a "
        "ResNet-50 trained on ImageNet in its place.)"
    )
    return Section("Zero-shot beside the probe", (figure(drawn, note),), "probe")


def _curves(checkpoint: Checkpoint, results: Sequence[Result]) -> Section | None:
    mine = [each for each in results if each.curve][:MAX_CURVES]
    if not mine:
        return None
    zero_shot = checkpoint.of(ZERO_SHOT)
    curves = [
        (
            task_title(each.task),
            sorted(each.curve, key=lambda point: point.num_shots),
            zero_shot[each.task].value if each.task in zero_shot else None,
        )
        for each in mine
    ]
    left_out = sum(bool(each.curve) for each in results) - len(mine)
    more = f" {left_out} more are in the results." if left_out else ""
    note = f"Accuracy of a classifier fitted to few examples a class; a star is zero-shot, which sees none.{more}"
    return Section("Few shots", (figure(figures.few_shot(curves), note),), "shots")


def _classes(checkpoint: Checkpoint, results: Sequence[Result]) -> Section | None:
    parts: list[Html] = []
    for each in results:
        if each.protocol != ZERO_SHOT and not each.by_class:
            continue
        predictions = checkpoint.predictions(each.task) if each.protocol == ZERO_SHOT else None
        classes = worst_first(class_results(each, predictions))
        if len(classes) > 1:
            title = f"{task_title(each.task)}, {protocol_title(each.protocol).lower()}"
            parts += [element("h3", foreign(title)), *_of_task(each, classes, predictions)]
    return Section("Best and worst classes", tuple(parts), "classes") if parts else None


def _of_task(result: Result, classes: Sequence[ClassResult], predictions: pa.Table | None) -> list[Html]:
    num_shown = min(CLASSES_SHOWN, len(classes) // 2)
    worst, best = list(classes[:num_shown]), list(classes[len(classes) - num_shown :])[::-1]
    parts: list[Html] = []
    if predictions is None:
        parts.append(_class_table([*worst, *best[::-1]]))
    else:
        chosen = [*((each, False) for each in worst), *((each, True) for each in best)]
        shown = {(each.name, right): examples(predictions, each.name, right) for each, right in chosen}
        items = [one.item for each, right in chosen for one in shown[each.name, right]]
        found, problem = pictures(result.data, items)
        if problem:
            parts.append(paragraph(foreign(problem), class_="quiet"))
        for words, group, right in (("Worst, the surest mistakes", worst, False), ("Best, the surest", best, True)):
            tiles = [_tile(each, shown[each.name, right], found, right) for each in group]
            parts += [paragraph(words, class_="step"), element("div", *tiles, class_="tiles", style=_NARROW_TILES)]
    return [*parts, *_confused(confusions(result, predictions))]


def _class_table(classes: Sequence[ClassResult]) -> Html:
    columns = {"class": None, "%": 1, "images": 0, "taken for": None, "times": 0}
    rows = [
        (
            foreign(each.name, 80),
            100 * each.accuracy,
            each.num_items,
            foreign(each.mistaken_for, 80) if each.times else None,
            each.times or None,
        )
        for each in classes
    ]
    return table(columns, rows, "The worst classes, then the best")


def _tile(each: ClassResult, own: Sequence[Example], found: dict[str, Picture], right: bool) -> Html:
    """Return a class with pictures of it, and what the model says of them."""
    shown = [_picture(one, found.get(one.item)) for one in own]
    if not shown:
        shown = [element("span", "none is wrong" if not right else "none is right", class_="missing")]
    words = [element("strong", foreign(each.name, 60)), f" {100 * each.accuracy:.1f} % of {each.num_items:,}"]
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
    columns = {"class": None, "taken for": None, "times": 0, "% of its images": 1}
    rows = [
        (foreign(each.label, 80), foreign(each.prediction, 80), each.times, 100 * each.times / each.num_items)
        for each in pairs[:PAIRS_SHOWN]
    ]
    names = _drawn_classes(pairs)
    drawn = figure(figures.confusion(pairs, names), "The classes of the worst pairs; a square is a share of its row.")
    return [side_by_side(table(columns, rows, "Confused most often"), drawn)]


def _drawn_classes(pairs: Sequence[Confusion]) -> list[str]:
    """Return the first classes of the worst pairs, by name."""
    names: dict[str, None] = {}
    for each in pairs:
        more = dict.fromkeys((each.label, each.prediction))
        if len(names | more) <= CLASSES_DRAWN:
            names |= more
    return sorted(names)


def _made(checkpoint: Checkpoint, results: Sequence[Result]) -> Section | None:
    parts: list[Html] = []
    if checkpoint.facts:
        rows = [(foreign(name), foreign(value)) for name, value in checkpoint.facts.items()]
        parts.append(table({"checkpoint": None, "": None}, rows))
    told = [each for each in results if each.details]
    if told:
        cells = [(foreign(task_title(each.task)), protocol_title(each.protocol), _told(each)) for each in told]
        parts.append(table({"task": None, "protocol": None, "details": None}, cells))
    return Section("How it was made", tuple(parts), "made") if parts else None


def _told(each: Result) -> Html:
    pairs = [
        joined([element("span", name, class_="quiet"), " ", foreign(value)]) for name, value in each.details.items()
    ]
    return joined(pairs, "; ")
