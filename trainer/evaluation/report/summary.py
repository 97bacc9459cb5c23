"""What the pages of evaluations say, before it is HTML, Markdown or JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trainer.evaluation.comparing import find_ties
from trainer.evaluation.report.published import GIVEN, MARKS, Published, published
from trainer.evaluation.report.results import Checkpoint, Result
from trainer.evaluation.suite.tasks import TASKS, find_task
from trainer.evaluation.terms import FEW_SHOT, LINEAR_PROBE, NO_MERITS, ZERO_SHOT

PROTOCOL_TITLES = {
    ZERO_SHOT: "Zero-shot",
    LINEAR_PROBE: "Linear probe",
    FEW_SHOT: "Few-shot",
    "text_retrieval": "Retrieval of texts",
    "image_retrieval": "Retrieval of images",
}
METRIC_TITLES = {
    "accuracy": "accuracy",
    "mean_per_class": "mean per class",
    "map_11_point": "11-point mAP",
    "roc_auc": "ROC AUC",
    "mean_top1_top5": "mean of top-1 and top-5",
}


def protocol_title(protocol: str) -> str:
    """Return how a protocol is called on a page."""
    return PROTOCOL_TITLES.get(protocol, protocol.replace("_", " ").capitalize())


def metric_title(metric: str) -> str:
    """Return how a metric is called on a page."""
    return METRIC_TITLES.get(metric, metric.replace("_", " "))


def task_title(task: str) -> str:
    """Return a task's name as the paper prints it; that of another task as it is."""
    known = find_task(task)
    return known.title if known else task


def percent(share: float | None) -> str | None:
    """Return a share in percent with one decimal, as the paper prints it."""
    return None if share is None else f"{100 * share:.1f}"


def points(share: float | None) -> str | None:
    """Return a difference of shares in points, with its sign."""
    return None if share is None else f"{round(100 * share, 1) + 0.0:+.1f}"


def span(interval: tuple[float, float]) -> str:
    """Return an interval of shares in percent."""
    return f"{100 * interval[0]:.1f} to {100 * interval[1]:.1f}"


def beside(result: Result) -> dict[str, Published]:
    """Return the published results that may stand beside a result: those in the same metric."""
    known = find_task(result.task)
    if known is not None and known.metric != result.metric:
        return {}
    return published(result.task, result.protocol, result.published)


def published_cell(found: Published | None) -> str | None:
    """Return a published number with the mark of its status."""
    return None if found is None else f"{MARKS[found.status]}{found.percent:.1f}"


def published_range(result: Result) -> str | None:
    """Return the lowest and highest number of the paper's models, and of how many; None: nothing is published.

    It is marked when one of the two is only consistent. Where the paper's table has none, what the results file brings
    stands instead, with its model.
    """
    found = beside(result)
    paper = [one for one in found.values() if one.status != GIVEN]
    if not paper:
        return "; ".join(f"{MARKS[GIVEN]}{one.percent:.1f} {model}" for model, one in found.items()) or None
    low, high = (choose(paper, key=lambda one: one.percent) for choose in (min, max))
    mark = next((MARKS[one.status] for one in (low, high) if MARKS[one.status]), "")
    if len(paper) == 1:
        return f"{mark}{low.percent:.1f} (1)"
    return f"{mark}{low.percent:.1f} to {high.percent:.1f} ({len(paper)})"


def remark(result: Result) -> str:
    """Return what keeps a result from being compared with the paper's as it is; blank: nothing that is known."""
    known = find_task(result.task)
    found = [result.departures] if result.departures else []
    if known is not None and result.protocol in (ZERO_SHOT, LINEAR_PROBE):
        if known.metric != result.metric:
            found.append(f"the paper's metric is {metric_title(known.metric)}: its numbers are left out")
        if known.num_test != result.num_items and not result.departures:
            found.append(f"the paper's test set has {known.num_test:,}")
    return "; ".join(found)


def warnings(results: Sequence[Result]) -> list[str]:
    """Return what a reader is to know before the numbers, each once."""
    return list(dict.fromkeys(each.warning for each in results if each.warning))


def in_order(results: Sequence[Result]) -> list[Result]:
    """Return results by protocol, and within it in the order of the paper's Table 9."""
    return sorted(results, key=lambda each: _place((each.task, each.protocol, each.metric)))


@dataclass(frozen=True)
class Average:
    """The mean of a protocol's results over those tasks of a suite that were evaluated."""

    protocol: str
    suite: str
    value: float
    num_tasks: int
    num_in_suite: int

    @property
    def is_whole(self) -> bool:
        """Whether no task of the suite is missing."""
        return self.num_tasks == self.num_in_suite


def averages(checkpoint: Checkpoint) -> list[Average]:
    """Return the mean over the paper's 27 tasks and over Kornblith's 12, for zero-shot and the linear probe."""
    suites = {
        "the paper's 27": {task.name for task in TASKS.values()},
        "Kornblith's 12": {task.name for task in TASKS.values() if task.kornblith},
    }
    found = []
    for protocol in (ZERO_SHOT, LINEAR_PROBE):
        values = {
            task.name: result.value for name, result in checkpoint.of(protocol).items() if (task := find_task(name))
        }
        for suite, names in suites.items():
            mine = [values[name] for name in sorted(names & set(values))]
            if mine:
                found.append(Average(protocol, suite, sum(mine) / len(mine), len(mine), len(names)))
    return found


def zero_shot_and_probe(checkpoint: Checkpoint) -> list[tuple[str, float, float]]:
    """Return (task, zero-shot, linear probe) of the tasks that have both, in the same metric."""
    probes = checkpoint.of(LINEAR_PROBE)
    return [
        (task, result.value, probes[task].value)
        for task, result in checkpoint.of(ZERO_SHOT).items()
        if task in probes and probes[task].metric == result.metric
    ]


def common_tasks(checkpoints: Sequence[Checkpoint], protocol: str) -> list[str]:
    """Return the tasks that all checkpoints have by a protocol, those left out that have none of it at all."""
    tables = [set(found) for one in checkpoints if (found := one.of(protocol))]
    return sorted(set.intersection(*tables)) if tables else []


def common_mean(checkpoint: Checkpoint, protocol: str, tasks: Sequence[str]) -> float | None:
    """Return the mean of a protocol's results over tasks; None when the checkpoint has none of it."""
    found = checkpoint.of(protocol)
    return sum(found[task].value for task in tasks) / len(tasks) if tasks and found else None


@dataclass(frozen=True)
class Contest:
    """One task of several checkpoints; None: a checkpoint was not evaluated."""

    task: str
    protocol: str
    metric: str
    results: tuple[Result | None, ...]

    @property
    def num_items(self) -> set[int]:
        """Return how many items the checkpoints saw: one number where they can be compared."""
        return {each.num_items for each in self.results if each is not None}

    def best(self) -> frozenset[int]:
        """Return the places of the checkpoints that count as best: the top score, and those it cannot be told from.

        As in the paper: inside the Clopper-Pearson interval of the top score at 99.5 %, the score taken for a
        share of the items, which it is of accuracy, and about is of the other metrics. None where fewer than two were
        evaluated, or not on as many items, or by a metric that is no merit.
        """
        values = {str(place): each.value for place, each in enumerate(self.results) if each is not None}
        if self.metric in NO_MERITS or len(values) < 2 or len(self.num_items) != 1 or 0 in self.num_items:
            return frozenset()
        return frozenset(map(int, find_ties(values, *self.num_items).models))


def contests(checkpoints: Sequence[Checkpoint]) -> list[Contest]:
    """Return every evaluation that some checkpoint has, in the order of protocols and tasks."""
    tables = [{(each.task, each.protocol, each.metric): each for each in one.results} for one in checkpoints]
    keys = sorted({key for table in tables for key in table}, key=_place)
    return [Contest(*key, tuple(table.get(key) for table in tables)) for key in keys]


def _place(key: tuple[str, str, str]) -> tuple[object, ...]:
    """Return what puts evaluations in order: by protocol, within it as Table 9 has the tasks, others after them."""
    task, protocol, metric = key
    protocols, tasks = list(PROTOCOL_TITLES), list(TASKS)
    known = find_task(task)
    return (
        protocols.index(protocol) if protocol in protocols else len(protocols),
        protocol,
        tasks.index(known.name) if known else len(tasks),
        task,
        metric,
    )
