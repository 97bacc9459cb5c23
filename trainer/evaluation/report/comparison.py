"""The page that compares checkpoints: task by task with ties, over compute, and zero-shot beside the probe."""

from __future__ import annotations

from collections.abc import Sequence

from trainer.evaluation.report import plots
from trainer.evaluation.report.page import percent
from trainer.evaluation.report.plots import Scaled, Spot
from trainer.evaluation.report.results import COMPUTE, ZERO_SHOT, Checkpoint
from trainer.evaluation.report.summary import (
    TIE_CONFIDENCE,
    Contest,
    averages,
    contests,
    metric_title,
    protocol_title,
    task_title,
    zero_shot_and_probe,
)
from wit.page import (
    Cell,
    Divider,
    Html,
    Section,
    beside,
    document,
    element,
    figure,
    foreign,
    headline,
    paragraph,
    table,
)


def comparison_page(checkpoints: Sequence[Checkpoint], links: Sequence[str]) -> str:
    """Return the page that compares checkpoints; `links` leads to the page of each."""
    found = contests(checkpoints)
    facts = {"checkpoints": f"{len(checkpoints):,}", "evaluations": f"{sum(len(one.results) for one in checkpoints):,}"}
    opening = [paragraph("Checkpoints evaluated on the same tasks, side by side."), headline(facts)]
    sections = [
        _overview(checkpoints, links, found),
        _tasks(checkpoints, found),
        _scaling(checkpoints),
        _scatter(checkpoints),
    ]
    return document(f"Comparison of {len(checkpoints)} checkpoints", opening, [part for part in sections if part])


def _overview(checkpoints: Sequence[Checkpoint], links: Sequence[str], found: Sequence[Contest]) -> Section:
    means = [{(each.protocol, each.suite): each for each in averages(one)} for one in checkpoints]
    keys = list(dict.fromkeys(key for one in means for key in one))
    columns: dict[str, int | None] = {"checkpoint": None, "evaluations": 0, "best on": 0}
    columns |= dict.fromkeys((f"{protocol_title(protocol)}, {suite}" for protocol, suite in keys), 0)
    computes = [key for key in COMPUTE if any(key in one.compute for one in checkpoints)]
    columns |= dict.fromkeys((COMPUTE[key] for key in computes), 0)
    rows = []
    for place, (one, link, mine) in enumerate(zip(checkpoints, links, means, strict=True)):
        cells: list[Cell] = [element("a", foreign(one.name), href=link), len(one.results)]
        cells.append(sum(place in each.best() for each in found))
        for key in keys:
            mean = mine.get(key)
            of = "" if mean is None or mean.is_whole else f" of {mean.num_tasks}"
            cells.append(None if mean is None else f"{100 * mean.value:.1f}{of}")
        cells += [f"{one.compute[key]:.3g}" if key in one.compute else None for key in computes]
        rows.append(cells)
    note = "Means in percent; “of n”: over the n tasks of the suite that were evaluated, which may not be the same n."
    return Section("Checkpoints", (table(columns, rows), paragraph(note, class_="quiet")), "checkpoints")


def _tasks(checkpoints: Sequence[Checkpoint], found: Sequence[Contest]) -> Section:
    columns: dict[str, int | None] = {"task": None, "metric": None}
    columns |= {f"{place}. {one.name}": 0 for place, one in enumerate(checkpoints, 1)}
    columns |= {"images": 0}
    rows: list[Sequence[Cell] | Divider] = []
    for index, each in enumerate(found):
        if index == 0 or found[index - 1].protocol != each.protocol:
            rows.append(Divider(protocol_title(each.protocol)))
        rows.append(_contest_row(each))
    words = (
        f"Percent. Marked: the top score, and every other inside its Clopper-Pearson interval at {TIE_CONFIDENCE:.1%}, "
        "which counts as best, too, as in the paper (Tables 10 and 11). For metrics that are no share of the images "
        "the interval is about right. Where checkpoints saw unequal numbers of images none is marked."
    )
    return Section("Task by task", (table(columns, rows), paragraph(words, class_="quiet")), "tasks")


def _contest_row(each: Contest) -> list[Cell]:
    best = each.best()
    cells: list[Cell] = [foreign(task_title(each.task)), metric_title(each.metric)]
    for place, one in enumerate(each.results):
        value = None if one is None else percent(one.value)
        is_tied = place in best and len(best) > 1
        label = "a tie" if is_tied else "the best"
        cells.append(element("span", value or "", class_="tag", title=label) if place in best else value)
    return [*cells, " / ".join(f"{count:,}" for count in sorted(each.num_items))]


def _scaling(checkpoints: Sequence[Checkpoint]) -> Section | None:
    """Return the mean zero-shot error over each kind of compute that several checkpoints have."""
    drawn = [part for key in COMPUTE for part in _error_over(key, checkpoints)]
    if not drawn:
        return None
    after = (
        "The paper's Figure 9 has the mean over 39 evaluations on 36 data sets, of five ResNets, over the forward pass."
    )
    return Section("Error over compute", (beside(*drawn), paragraph(after, class_="quiet")), "scaling")


def _error_over(key: str, checkpoints: Sequence[Checkpoint]) -> list[Html]:
    """Return the figure, over the tasks that all checkpoints with such a compute have, where there are two at least."""
    mine = [one for one in checkpoints if key in one.compute and one.of(ZERO_SHOT)]
    tasks = sorted(set.intersection(*(set(one.of(ZERO_SHOT)) for one in mine))) if mine else []
    errors = [sum(1 - one.of(ZERO_SHOT)[task].value for task in tasks) / max(1, len(tasks)) for one in mine]
    points = [Scaled(one.name, one.compute[key], error) for one, error in zip(mine, errors, strict=True) if error > 0]
    if len({point.compute for point in points}) < 2:
        return []
    words = f"Mean zero-shot error over the {len(tasks):,} tasks that all have; both axes logarithmic."
    return [figure(plots.scaling(points, COMPUTE[key]), words)]


def _scatter(checkpoints: Sequence[Checkpoint]) -> Section | None:
    series = {
        f"{place}. {one.name}": [Spot(task_title(task), 100 * probe, 100 * zero) for task, zero, probe in pairs]
        for place, one in enumerate(checkpoints, 1)
        if (pairs := zero_shot_and_probe(one))
    }
    if not series:
        return None
    drawn, words = plots.zero_shot_over_probe(series)
    return Section("Zero-shot over linear probe", (figure(drawn, words),), "probe")
