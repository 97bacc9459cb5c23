"""The page of a checkpoint: its results beside chance and the paper's, its best and worst classes, what it confuses."""

from __future__ import annotations

from collections.abc import Sequence

from trainer.evaluation.report import figures
from trainer.evaluation.report.chapters import chapters, published_grids
from trainer.evaluation.report.classes import best_and_worst
from trainer.evaluation.report.published import GIVEN, PAPER, STATUS, TABLES
from trainer.evaluation.report.results import Checkpoint, Result
from trainer.evaluation.report.summary import (
    averages,
    beside,
    in_order,
    metric_title,
    percent,
    protocol_title,
    published_cell,
    published_range,
    remark,
    span,
    task_title,
    warnings,
)
from trainer.evaluation.terms import LINEAR_PROBE, ZERO_SHOT
from wit.page import (
    Cell,
    Divider,
    Html,
    Section,
    document,
    figure,
    foreign,
    glossary,
    headline,
    paragraph,
    table,
    warning,
)
from wit.page import beside as side_by_side

LARGEST = "ViT-L/14@336px"


def checkpoint_page(checkpoint: Checkpoint) -> str:
    """Return the page of a checkpoint, which stands alone; raises InputError for predictions that are none.

    Pictures are read from where the results say that the images lie; a set that is no longer there is told of.
    """
    results = in_order(checkpoint.results)
    opening = [paragraph("Results in ", foreign(checkpoint.folder), "."), headline(_facts(checkpoint))]
    opening += [warning("Before you use these numbers", paragraph(words)) for words in warnings(results)]
    before, after = chapters(checkpoint)
    sections = [
        _results(results) if results else None,
        _published(results),
        *(each.to_html() for each in before),
        best_and_worst(checkpoint, results),
        *(each.to_html() for each in after),
    ]
    return document(f"Evaluation of {checkpoint.name}", opening, [part for part in sections if part])


def _facts(checkpoint: Checkpoint) -> dict[str, str]:
    """Return the numbers that the page opens with."""
    facts = {"evaluations": f"{checkpoint.num_evaluations:,}"}
    for each in averages(checkpoint):
        how = "mean of" if each.is_whole else f"mean of {each.num_tasks} of"
        facts[f"{protocol_title(each.protocol)}, {how} {each.suite}, %"] = f"{100 * each.value:.1f}"
    return facts


def status_notes(shown: set[str]) -> list[Html]:
    """Return what the marks of published numbers mean, those that are shown."""
    words = {
        "unmarked": f"of the paper ({PAPER}), {STATUS['confirmed']}",
        "≈": f"of the paper, {STATUS['consistent']}",
        "†": STATUS[GIVEN],
        "–": "no number that could be verified, or not evaluated",
    }
    keys = {"confirmed": "unmarked", "consistent": "≈", "given": "†"}
    wanted = [keys[status] for status in STATUS if status in shown]
    return [glossary({word: words[word] for word in (*wanted, "–")})] if wanted else []


def _results(results: Sequence[Result]) -> Section:
    columns = {
        "task": None, "metric": None, "%": 0, f"{_confidence(results)}interval": 0, "chance": 0, "images": 0,
    }  # fmt: skip
    if any(map(beside, results)):
        columns |= {LARGEST: 0, "published": 0}
    if any(map(remark, results)):
        columns |= {"remarks": None}
    rows: list[Sequence[Cell] | Divider] = []
    for index, each in enumerate(results):
        if index == 0 or results[index - 1].protocol != each.protocol:
            rows.append(Divider(protocol_title(each.protocol)))
        published = (published_cell(beside(each).get(LARGEST)), published_range(each))
        more = {LARGEST: published[0], "published": published[1], "remarks": remark(each)}
        rows.append([*_measured(each), *(cell for name, cell in more.items() if name in columns)])
    marks = {found.status for each in results for found in beside(each).values()}
    parts: list[Html] = [table(columns, rows)]
    if marks:
        parts.append(
            paragraph(
                f"{LARGEST} and “published” (of all models, from the lowest to the highest, and how many) are what "
                f"CLIP's paper prints for the same task, protocol and metric ({PAPER}, Tables 10 and 11)."
            )
        )
    return Section("Results", (*parts, *status_notes(marks), *_drawn(results)), "results")


def _confidence(results: Sequence[Result]) -> str:
    found = {each.confidence for each in results if each.interval}
    (one,) = found if len(found) == 1 else (None,)
    return f"{100 * one:g} % " if one is not None else ""


def _measured(each: Result) -> tuple[Cell, ...]:
    return (
        foreign(task_title(each.task)),
        metric_title(each.metric),
        percent(each.value),
        span(each.interval) if each.interval else None,
        percent(each.chance),
        each.num_items,
    )


def _drawn(results: Sequence[Result]) -> list[Html]:
    """Return a figure a protocol, side by side."""
    found = []
    for protocol in (ZERO_SHOT, LINEAR_PROBE):
        mine = [each for each in results if each.protocol == protocol]
        if mine:
            titles = {each.task: task_title(each.task) for each in mine}
            grey = " Grey: from the lowest to the highest of the paper's models." if any(map(beside, mine)) else ""
            words = f"{protocol_title(protocol)}.{grey}"
            found.append(figure(figures.by_task(mine, titles), words))
    return [side_by_side(*found)] if found else []


def _published(results: Sequence[Result]) -> Section | None:
    """Return every published number of the tasks that were evaluated, and what their marks mean."""
    grids = published_grids(results)
    marks = {found.status for each in results if each.protocol in TABLES for found in beside(each).values()}
    parts = (*(grid.to_html() for grid in grids), *status_notes(marks))
    return Section("Beside the paper's models", parts, "published") if grids else None
