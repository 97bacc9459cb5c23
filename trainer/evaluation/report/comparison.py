"""The page that compares checkpoints: task by task with ties, over compute, and zero-shot beside the probe."""

from __future__ import annotations

from collections.abc import Sequence

from trainer.evaluation.comparing import TIE_CONFIDENCE
from trainer.evaluation.report import across
from trainer.evaluation.report.results import COMPUTE, Checkpoint
from trainer.evaluation.report.summary import (
    Contest,
    averages,
    common_mean,
    common_tasks,
    contests,
    metric_title,
    percent,
    protocol_title,
    task_title,
)
from trainer.evaluation.terms import LINEAR_PROBE, ZERO_SHOT
from wit.page import (
    Cell,
    Divider,
    Section,
    document,
    element,
    foreign,
    headline,
    paragraph,
    table,
)


def comparison_page(checkpoints: Sequence[Checkpoint], links: Sequence[str]) -> str:
    """Return the page that compares checkpoints; `links` leads to the page of each."""
    found = contests(checkpoints)
    num_evaluations = sum(one.num_evaluations for one in checkpoints)
    facts = {"checkpoints": f"{len(checkpoints):,}", "evaluations": f"{num_evaluations:,}"}
    opening = [paragraph("Checkpoints evaluated on the same tasks, side by side."), headline(facts)]
    sections = [
        _overview(checkpoints, links, found),
        _tasks(checkpoints, found),
        *(each.to_html() for each in across.chapters(checkpoints)),
    ]
    return document(f"Comparison of {len(checkpoints)} checkpoints", opening, sections)


def _overview(checkpoints: Sequence[Checkpoint], links: Sequence[str], found: Sequence[Contest]) -> Section:
    """Return what there is to say of each checkpoint as a whole, a column each."""
    names = (f"{place}. {one.name}" for place, one in enumerate(checkpoints, 1))
    columns: dict[str, int | None] = {"": None}
    columns |= dict.fromkeys((element("a", name, href=link) for name, link in zip(names, links, strict=True)), 0)
    rows = overview_rows(checkpoints, found)
    note = "Means in percent. A mean over a suite is there where all of its tasks were evaluated."
    body = (table(columns, rows, "The checkpoints as a whole"), paragraph(note, class_="quiet"))
    return Section("Checkpoints", body, "checkpoints")


def overview_rows(checkpoints: Sequence[Checkpoint], found: Sequence[Contest]) -> list[list[str | None]]:
    """Return what there is to say of each checkpoint as a whole: a title, and a cell each."""
    wins = (sum(place in each.best() for each in found) for place in range(len(checkpoints)))
    rows: list[list[str | None]] = [
        ["evaluations", *(f"{one.num_evaluations:,}" for one in checkpoints)],
        ["best or tied on", *map(str, wins)],
        *_means(checkpoints),
    ]
    for key, title in COMPUTE.items():
        if any(key in one.compute for one in checkpoints):
            rows.append([title, *(f"{one.compute[key]:.3g}" if key in one.compute else None for one in checkpoints)])
    return rows


def _means(checkpoints: Sequence[Checkpoint]) -> list[list[str | None]]:
    """Return the means over whole suites, and over the tasks that all checkpoints have."""
    means = [{(each.protocol, each.suite): each for each in averages(one) if each.is_whole} for one in checkpoints]
    rows: list[list[str | None]] = []
    for protocol in (ZERO_SHOT, LINEAR_PROBE):
        tasks = common_tasks(checkpoints, protocol)
        if tasks:
            shared = (percent(common_mean(one, protocol, tasks)) for one in checkpoints)
            count = f"{len(tasks)} tasks that all have" if len(tasks) > 1 else "1 task that all have"
            rows.append([f"{protocol_title(protocol)}, {count}", *shared])
        for key in dict.fromkeys(key for one in means for key in one if key[0] == protocol):
            values = (percent(one[key].value) if key in one else None for one in means)
            rows.append([f"{protocol_title(protocol)}, {key[1]}", *values])
    return rows


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
