"""The same as Markdown and as JSON, for other documents and other programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from trainer.evaluation.comparing import TIE_CONFIDENCE
from trainer.evaluation.report import across
from trainer.evaluation.report.chapters import chapters, published_grids
from trainer.evaluation.report.classes import classes_chapter
from trainer.evaluation.report.comparison import overview_rows
from trainer.evaluation.report.grids import Grid, escape, markdown_table
from trainer.evaluation.report.published import PAPER, STATUS, published
from trainer.evaluation.report.results import Checkpoint, Result
from trainer.evaluation.report.summary import (
    Contest,
    averages,
    beside,
    contests,
    in_order,
    metric_title,
    percent,
    protocol_title,
    published_range,
    remark,
    span,
    task_title,
    warnings,
    zero_shot_and_probe,
)


def checkpoint_markdown(checkpoint: Checkpoint) -> str:
    """Return a checkpoint's results as Markdown."""
    parts = [f"# Evaluation of {escape(checkpoint.name)}\n"]
    means = [
        f"{protocol_title(each.protocol)}: {100 * each.value:.1f} %, the mean of "
        f"{'' if each.is_whole else f'{each.num_tasks} of '}{each.suite} tasks."
        for each in averages(checkpoint)
    ]
    results = in_order(checkpoint.results)
    rows = [_row(each) for each in results]
    columns = ("task", "protocol", "metric", "%", "interval", "chance", "images", "the paper's models", "remarks")
    parts += ["\n\n".join(means) + "\n"] if means else []
    if rows:
        parts.append(markdown_table(columns, rows, [*_numbers(3, columns[:-1]), False]))
        parts.append(
            f"The paper's models ({PAPER}): the lowest and highest number printed for the same task, protocol and "
            f"metric, and how many could be verified. ≈ marks one that is {STATUS['consistent']}.\n"
        )
        parts += [grid.to_markdown() for grid in published_grids(results)]
    parts[1:1] = [f"> {escape(words)}\n" for words in warnings(results)]
    before, after = chapters(checkpoint)
    classes = classes_chapter(checkpoint, results)
    parts += [each.to_markdown() for each in (*before, *([classes] if classes else ()), *after)]
    return "\n".join(parts)


def _numbers(num_words: int, columns: Sequence[str]) -> list[bool]:
    return [place >= num_words for place in range(len(columns))]


def _row(each: Result) -> tuple[str, ...]:
    return (
        escape(task_title(each.task)),
        escape(protocol_title(each.protocol)),
        escape(metric_title(each.metric)),
        f"{100 * each.value:.1f}",
        span(each.interval) if each.interval else "–",
        percent(each.chance) or "–",
        f"{each.num_items:,}",
        escape(published_range(each) or "–"),
        escape(remark(each)) or "–",
    )


def checkpoint_facts(checkpoint: Checkpoint) -> dict[str, object]:
    """Return a checkpoint's results for JSON: shares, and published percentages with their status."""
    return {
        "name": checkpoint.name,
        "checkpoint": dict(checkpoint.facts),
        "averages": [
            {
                "protocol": each.protocol,
                "suite": each.suite,
                "value": each.value,
                "num_tasks": each.num_tasks,
                "num_in_suite": each.num_in_suite,
            }
            for each in averages(checkpoint)
        ],
        "warnings": warnings(checkpoint.results),
        "results": [_result_facts(each) for each in in_order(checkpoint.results)],
        "zero_shot_and_probe": [
            {"task": task, "zero_shot": zero_shot, "linear_probe": probe, "difference": zero_shot - probe}
            for task, zero_shot, probe in zero_shot_and_probe(checkpoint)
        ],
        "robustness": dict(checkpoint.robustness.facts) if checkpoint.robustness else None,
    }


def _result_facts(each: Result) -> dict[str, object]:
    found = published(each.task, each.protocol, each.published)
    return {
        "task": each.task,
        "protocol": each.protocol,
        "metric": each.metric,
        "value": each.value,
        "interval": None if each.interval is None else list(each.interval),
        "chance": each.chance,
        "num_items": each.num_items,
        "num_classes": each.num_classes,
        "published": {model: {"percent": one.percent, "status": one.status} for model, one in found.items()},
        "comparable": found == beside(each),
        "remark": remark(each),
        "by_class": [asdict(one) for one in each.by_class],
        "curve": [asdict(one) for one in each.curve],
        "labels_to_match_zero_shot": each.labels_to_match,
        "prompts": [asdict(one) for one in each.prompts],
        "groups": {name: [asdict(one) for one in rows] for name, rows in each.groups.items()},
        "tables": {name: [dict(row) for row in rows] for name, rows in each.tables.items()},
        "details": dict(each.details),
    }


def comparison_markdown(checkpoints: Sequence[Checkpoint]) -> str:
    """Return the results of several checkpoints as one Markdown table, those that count as best in bold."""
    columns = ("task", "protocol", "metric", *(escape(each.name) for each in checkpoints))
    found = contests(checkpoints)
    rows = [_contest_row(each) for each in found]
    named = {"": False} | {one.name: True for one in checkpoints}
    return "\n".join(
        (
            f"# Comparison of {len(checkpoints)} checkpoints\n",
            markdown_table(columns, rows, _numbers(3, columns)),
            f"Percent. Bold: the top score, and those inside its Clopper-Pearson interval at {TIE_CONFIDENCE:.1%}, as "
            f"in the paper ({PAPER}); none where the checkpoints saw unequal numbers of images.\n",
            Grid("The checkpoints as a whole, means in %", named, overview_rows(checkpoints, found)).to_markdown(),
            *(each.to_markdown() for each in across.chapters(checkpoints)),
        )
    )


def _contest_row(each: Contest) -> tuple[str, ...]:
    best = each.best()
    values = [
        "–" if one is None else f"**{100 * one.value:.1f}**" if place in best else f"{100 * one.value:.1f}"
        for place, one in enumerate(each.results)
    ]
    words = (task_title(each.task), protocol_title(each.protocol), metric_title(each.metric))
    return (*map(escape, words), *values)


def comparison_facts(checkpoints: Sequence[Checkpoint]) -> dict[str, object]:
    """Return the results of several checkpoints for JSON."""
    return {
        "checkpoints": [checkpoint_facts(each) for each in checkpoints],
        "contests": [
            {
                "task": each.task,
                "protocol": each.protocol,
                "metric": each.metric,
                "values": [None if one is None else one.value for one in each.results],
                "best": sorted(each.best()),
                "num_items": sorted(each.num_items),
            }
            for each in contests(checkpoints)
        ],
        **across.facts(checkpoints),
    }
