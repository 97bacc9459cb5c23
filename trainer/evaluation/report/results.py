"""What `wit evaluate` leaves in a folder, read for a page: results, predictions, facts of the checkpoint.

    OUT/checkpoint.json               {"name", those in COMPUTE, ...}: optional, any facts; a name that is a path gives
                                      way to that of the folder
    OUT/results/TASK.PROTOCOL.json    one evaluation each
    OUT/predictions/TASK.parquet      wit.schema.PREDICTIONS, of the zero-shot evaluation
    OUT/results/robustness.json       trainer.evaluation.shifts.results, read by trainer.evaluation.report.shifts

Of a result's `details` a page knows "data" (the evaluation set as NAME=[FORMAT:]PATH, for its pictures), "confidence"
(of the interval), "warning" (shown before the results), "not_as_the_paper" (a remark beside the result), rows of
"shots" and "value" under any name (a curve, with the "deviation" over draws or the "interval"), its
"labels_to_match_zero_shot", "prompts" (what prompts are worth, rows of trainer.evaluation.evaluating.compare_prompts),
and rows of a "group" with its "num_items", "num_hits", "value" and "interval". Other rows of words and numbers are
shown as tables, other words and numbers are listed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from trainer.evaluation.report.reading import Reader, is_number, is_share, read_facts
from trainer.evaluation.report.shifts import Robustness, read_robustness
from trainer.evaluation.terms import ROBUSTNESS
from wit.errors import InputError
from wit.schema import PREDICTIONS
from wit.storage import base_name, exists, is_folder, join, list_names, read_parquet

COMPUTE = {
    "training_flops": "training compute, FLOP",
    "gflops_per_image": "forward pass of an image, GFLOP",
}
"""What a checkpoint may cost. The paper's Figure 9 is over the second."""


@dataclass(frozen=True)
class ClassResult:
    """How well one class is recognised."""

    name: str
    num_items: int
    accuracy: float
    mistaken_for: str
    """The class that its images are most often taken for wrongly; blank: none."""
    times: int
    precision: float | None = None
    """11-point average precision, where the set's metric is its mean."""

    @property
    def score(self) -> float:
        """What the classes of a result are put in order by."""
        return self.accuracy if self.precision is None else self.precision


@dataclass(frozen=True)
class Shots:
    """Accuracy of a classifier that saw so many examples a class."""

    num_shots: float
    value: float
    deviation: float | None = None
    """Over draws of the examples."""
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class Prompts:
    """What a way to word classes is worth, a share."""

    words: str
    num_templates: int
    value: float


@dataclass(frozen=True)
class Group:
    """How many of a group's items something is true of."""

    name: str
    num_hits: int
    num_items: int
    value: float
    interval: tuple[float, float]
    paper: float | None = None
    """What the paper prints, in percent."""


@dataclass(frozen=True)
class Result:
    """One evaluation of a checkpoint; `value` and its like are shares, 0 to 1."""

    task: str
    protocol: str
    metric: str
    value: float
    num_items: int
    num_classes: int | None = None
    interval: tuple[float, float] | None = None
    confidence: float | None = None
    """Of the interval; None: the file does not say."""
    chance: float | None = None
    published: Mapping[str, float] = field(default_factory=dict)
    """Of other models, in percent, as the file has it."""
    by_class: tuple[ClassResult, ...] = ()
    curve: tuple[Shots, ...] = ()
    """The fewest shots first."""
    labels_to_match: str = ""
    """Labels a class by which a probe is as good as zero-shot: 5.4, <1 or >16; blank: not said."""
    prompts: tuple[Prompts, ...] = ()
    groups: Mapping[str, tuple[Group, ...]] = field(default_factory=dict)
    data: str = ""
    """The evaluation set, as wit.evaluation_sets.parse has it; blank: not said."""
    warning: str = ""
    departures: str = ""
    """In what it is not the paper's of that name, as the evaluation says; blank: it does not."""
    details: Mapping[str, str] = field(default_factory=dict)
    tables: Mapping[str, tuple[Mapping[str, str], ...]] = field(default_factory=dict)
    """Rows of details, by name: a cell by its heading."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint's results."""

    name: str
    folder: str
    results: tuple[Result, ...]
    facts: Mapping[str, str] = field(default_factory=dict)
    compute: Mapping[str, float] = field(default_factory=dict)
    """What it costs, by the names in COMPUTE; those that are said."""
    robustness: Robustness | None = None

    @property
    def num_evaluations(self) -> int:
        """Results, robustness as one."""
        return len(self.results) + (self.robustness is not None)

    def of(self, protocol: str) -> dict[str, Result]:
        """Return the results of a protocol by task."""
        return {result.task: result for result in self.results if result.protocol == protocol}

    def predictions(self, task: str) -> pa.Table | None:
        """Return the zero-shot predictions of a task, or None when there are none; raises InputError."""
        url = join(self.folder, "predictions", f"{task}.parquet")
        if not exists(url):
            return None
        return require_predictions(url, read_parquet(url))


def require_predictions(url: str, table: pa.Table) -> pa.Table:
    """Return a table that has the columns of wit.schema.PREDICTIONS; raises InputError where it has not."""
    missing = [name for name in PREDICTIONS.names if name not in table.column_names]
    if missing:
        raise InputError(f"{url}: expected predictions as wit evaluate writes them, found no {', '.join(missing)}")
    return table


def read_checkpoint(folder: str) -> Checkpoint:
    """Return what a folder of `wit evaluate` holds, its results by file name.

    Raises InputError when there are no results, or one is not as described above.
    """
    results_folder = join(folder, "results")
    names = list_names(results_folder) if is_folder(results_folder) else []
    names = sorted(name for name in names if name.endswith(".json") and not name.startswith("."))
    if not names:
        raise InputError(
            f"{folder}: expected results/TASK.PROTOCOL.json of an evaluation, found none; "
            f"run wit evaluate CHECKPOINT --data ... --out {folder}"
        )
    results = [_read_result(join(results_folder, name)) for name in names if name != ROBUSTNESS]
    robustness = read_robustness(join(results_folder, ROBUSTNESS)) if ROBUSTNESS in names else None
    _require_distinct(folder, results)
    facts = read_facts(join(folder, "checkpoint.json")) if exists(join(folder, "checkpoint.json")) else {}
    said = str(facts.get("name") or "")
    name = said if said and "/" not in said else base_name(folder.rstrip("/")) or folder
    compute = {key: facts[key] for key in COMPUTE if facts.get(key) is not None}
    for key, value in compute.items():
        if not (is_number(value) and value > 0):
            raise InputError(f"{join(folder, 'checkpoint.json')}: {key}: expected a number above 0, found {value!r}")
    return Checkpoint(name, folder, tuple(results), _plain_facts(facts), compute, robustness)


def _require_distinct(folder: str, results: list[Result]) -> None:
    seen = set()
    for each in results:
        if (each.task, each.protocol, each.metric) in seen:
            raise InputError(
                f"{folder}/results: expected one result of {each.task} by {each.protocol}, found two; take one away"
            )
        seen.add((each.task, each.protocol, each.metric))


def _read_result(url: str) -> Result:
    """Return the result in a file; raises InputError that names the file and the key."""
    reader = Reader(url, read_facts(url, "task", "protocol", "metric", "value", "num_items"))
    told = reader.part("details")
    details, confidence = told.facts, told.facts.get("confidence")
    rows = {name: value for name, value in sorted(details.items()) if _is_rows(value)}
    curve = next((name for name, value in rows.items() if all(map(_is_shot, value))), None)
    groups = {name for name, value in rows.items() if all(row.keys() >= _GROUP for row in value)}
    elsewhere = {*_SHOWN_ELSEWHERE, *groups, *({curve} if curve else ())}
    elsewhere |= {f"{_PAPERS}{name}" for name in groups}
    return Result(
        task=reader.text("task"),
        protocol=reader.text("protocol"),
        metric=reader.text("metric"),
        value=reader.share("value"),
        num_items=reader.count("num_items"),
        num_classes=reader.maybe(reader.count, "num_classes"),
        interval=reader.maybe(reader.interval, "interval"),
        confidence=confidence if is_share(confidence) else None,
        chance=reader.maybe(reader.share, "chance"),
        published=reader.numbers("published"),
        by_class=tuple(map(_class_result, reader.rows("by_class"))),
        curve=tuple(sorted(map(_shots, told.rows(curve)), key=lambda one: one.num_shots)) if curve else (),
        labels_to_match=_labels_to_match(told),
        prompts=tuple(map(_prompts, told.rows("prompts"))),
        groups={name: _groups(told, name) for name in sorted(groups)},
        data=str(details.get("data") or ""),
        warning=str(details.get("warning") or ""),
        departures=str(details.get("not_as_the_paper") or ""),
        details=_plain_facts({key: value for key, value in details.items() if key not in elsewhere}),
        tables={name: tuple(map(_plain_facts, value)) for name, value in rows.items() if name not in elsewhere},
    )


_SHOWN_ELSEWHERE = ("confidence", "warning", "not_as_the_paper", "prompts", "labels_to_match_zero_shot")
_MATCH = re.compile(r"[<>]?[0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?")
_GROUP = {"group", "num_items", "num_hits", "value", "interval"}
_PAPERS = "published_"
"""Before the name of rows: the paper's percentages of their groups."""


def _is_rows(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)


def _is_shot(row: Mapping[str, Any]) -> bool:
    return is_number(row.get("shots")) and row["shots"] > 0 and is_share(row.get("value"))


def _shots(row: Reader) -> Shots:
    spread, interval = row.maybe(row.number, "deviation"), row.maybe(row.interval, "interval")
    return Shots(row.number("shots"), row.share("value"), spread, interval)


def _labels_to_match(told: Reader) -> str:
    key = "labels_to_match_zero_shot"
    words = told.maybe(told.text, key) if told.facts.get(key) else None
    if words and not _MATCH.fullmatch(words):
        raise told.wrong(key, "a number, or a bound such as <1")
    return words or ""


def _prompts(row: Reader) -> Prompts:
    return Prompts(row.text("prompts"), row.count("num_templates"), row.share("value"))


def _groups(told: Reader, name: str) -> tuple[Group, ...]:
    papers = told.numbers(f"{_PAPERS}{name}")
    return tuple(_group(row, papers) for row in told.rows(name))


def _group(row: Reader, papers: Mapping[str, float]) -> Group:
    name, paper = str(row.facts["group"]), row.maybe(row.number, "paper_percent")
    counts = row.count("num_hits"), row.count("num_items")
    return Group(
        name, *counts, row.share("value"), row.interval("interval"), papers.get(name) if paper is None else paper
    )


def _class_result(row: Reader) -> ClassResult:
    num_items, times = row.count("num_items"), row.maybe(row.count, "times") or 0
    if times > num_items:
        raise row.wrong("times", f"at most the class's {num_items:,} items")
    return ClassResult(
        str(row.facts.get("class")),
        num_items,
        row.share("accuracy"),
        str(row.facts.get("mistaken_for") or ""),
        times,
        row.maybe(row.share, "average_precision"),
    )


def _plain_facts(facts: Mapping[str, Any], before: str = "") -> dict[str, str]:
    """Return the facts that are a word, a number or a pair of numbers as text, those of facts in facts as a.b."""
    found: dict[str, str] = {}
    for key, value in sorted(facts.items()):
        if isinstance(value, dict):
            found |= _plain_facts(value, f"{before}{key}.")
        elif isinstance(value, list) and len(value) == 2 and all(map(is_number, value)):
            found[before + key] = f"{_plain(value[0])} to {_plain(value[1])}"
        elif isinstance(value, str | int | float):
            found[before + key] = _plain(value)
    return found


def _plain(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
