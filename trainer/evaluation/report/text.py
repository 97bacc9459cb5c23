"""The same as Markdown and as JSON, for other documents and other programs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from trainer.evaluation.comparing import TIE_CONFIDENCE
from trainer.evaluation.report.published import PAPER, STATUS, published
from trainer.evaluation.report.results import Checkpoint, Result
from trainer.evaluation.report.summary import (
    Contest,
    averages,
    beside,
    contests,
    in_order,
    metric_title,
    protocol_title,
    published_range,
    remark,
    task_title,
)

_SPECIAL = frozenset("\\`*_{}[]<>()#+!|~&")


def escape(text: str) -> str:
    """Return text that Markdown shows as it is, in one line: signs that mean something have a backslash before them."""
    shown = (sign if sign.isprintable() else "�" for sign in text)
    return "".join(f"\\{sign}" if sign in _SPECIAL else sign for sign in shown)


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[str]], num_words: int) -> str:
    """Return a table whose first `num_words` columns are words, the others numbers; cells are Markdown already."""
    rule = ["---"] * num_words + ["---:"] * (len(columns) - num_words)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (columns, rule, *rows)) + "\n"


def checkpoint_markdown(checkpoint: Checkpoint) -> str:
    """Return a checkpoint's results as Markdown."""
    parts = [f"# Evaluation of {escape(checkpoint.name)}\n"]
    means = [
        f"{protocol_title(each.protocol)}: {100 * each.value:.1f} %, the mean of "
        f"{'' if each.is_whole else f'{each.num_tasks} of '}{each.suite} tasks."
        for each in averages(checkpoint)
    ]
    rows = [_row(each) for each in in_order(checkpoint.results)]
    columns = ("task", "protocol", "metric", "%", "interval", "chance", "images", "the paper's models", "remarks")
    parts += ["\n\n".join(means) + "\n"] if means else []
    parts.append(markdown_table(columns, rows, 3))
    parts.append(
        f"The paper's models ({PAPER}): the lowest and highest number printed for the same task, protocol and metric, "
        f"and how many could be verified. ≈ marks one with an end that is {STATUS['consistent']}.\n"
    )
    return "\n".join(parts)


def _row(each: Result) -> tuple[str, ...]:
    return (
        escape(task_title(each.task)),
        escape(protocol_title(each.protocol)),
        escape(metric_title(each.metric)),
        f"{100 * each.value:.1f}",
        f"{100 * each.interval[0]:.1f} to {100 * each.interval[1]:.1f}" if each.interval else "–",
        "–" if each.chance is None else f"{100 * each.chance:.1f}",
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
        "results": [_result_facts(each) for each in in_order(checkpoint.results)],
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
    }


def comparison_markdown(checkpoints: Sequence[Checkpoint]) -> str:
    """Return the results of several checkpoints as one Markdown table, those that count as best in bold."""
    columns = ("task", "protocol", "metric", *(escape(each.name) for each in checkpoints))
    rows = [_contest_row(each) for each in contests(checkpoints)]
    return "\n".join(
        (
            f"# Comparison of {len(checkpoints)} checkpoints\n",
            markdown_table(columns, rows, 3),
            f"Percent. Bold: the top score, and those inside its Clopper-Pearson interval at {TIE_CONFIDENCE:.1%}, as "
            f"in the paper ({PAPER}); none where the checkpoints saw unequal numbers of images.\n",
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
    }
