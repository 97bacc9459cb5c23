"""What `wit evaluate` leaves in a folder, read for a page: results, predictions, facts of the checkpoint.

    OUT/checkpoint.json               {"name", those in COMPUTE, ...}: optional, any facts; a name that is a path gives
                                      way to that of the folder
    OUT/results/TASK.PROTOCOL.json    one evaluation each
    OUT/predictions/TASK.parquet      wit.schema.PREDICTIONS, of the zero-shot evaluation

Of a result's `details` a page knows "data" (the evaluation set as NAME=[FORMAT:]PATH, for its pictures), "confidence"
(of the interval), "warning" (shown before the results), and rows of "shots" and "value" under any name (a curve). Other
rows of words and numbers are shown as tables, other words and numbers are listed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from wit import manifest
from wit.errors import InputError
from wit.schema import PREDICTIONS
from wit.storage import base_name, exists, is_folder, join, list_names, read_parquet

ZERO_SHOT, LINEAR_PROBE = "zero_shot", "linear_probe"
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


@dataclass(frozen=True)
class Shots:
    """Accuracy of a classifier that saw so many examples a class."""

    num_shots: float
    value: float


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
    data: str = ""
    """The evaluation set, as wit.evaluation_sets.parse has it; blank: not said."""
    warning: str = ""
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

    def of(self, protocol: str) -> dict[str, Result]:
        """Return the results of a protocol by task."""
        return {result.task: result for result in self.results if result.protocol == protocol}

    def predictions(self, task: str) -> pa.Table | None:
        """Return the zero-shot predictions of a task, or None when there are none; raises InputError."""
        url = join(self.folder, "predictions", f"{task}.parquet")
        if not exists(url):
            return None
        table = read_parquet(url)
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
    results = [_read_result(join(results_folder, name)) for name in names]
    _require_distinct(folder, results)
    facts = manifest.read(join(folder, "checkpoint.json")) if exists(join(folder, "checkpoint.json")) else {}
    said = str(facts.get("name") or "")
    name = said if said and "/" not in said else base_name(folder.rstrip("/")) or folder
    compute = {key: facts[key] for key in COMPUTE if facts.get(key) is not None}
    for key, value in compute.items():
        if not (_is_number(value) and value > 0):
            raise InputError(f"{join(folder, 'checkpoint.json')}: {key}: expected a number above 0, found {value!r}")
    return Checkpoint(name, folder, tuple(results), _plain_facts(facts), compute)


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
    facts = manifest.read(url, "task", "protocol", "metric", "value", "num_items")
    reader = _Reader(url, facts)
    details = reader.mapping("details")
    chance, low_high, num_classes = facts.get("chance"), facts.get("interval"), facts.get("num_classes")
    confidence = details.get("confidence")
    rows = {name: value for name, value in details.items() if _is_rows(value)}
    curves = [value for value in rows.values() if all(_is_shot(row) for row in value)]
    return Result(
        task=reader.text("task"),
        protocol=reader.text("protocol"),
        metric=reader.text("metric"),
        value=reader.share("value"),
        num_items=reader.count("num_items"),
        num_classes=None if num_classes is None else reader.count("num_classes"),
        interval=None if low_high is None else reader.interval(low_high),
        confidence=confidence if _is_share(confidence) else None,
        chance=None if chance is None else reader.share("chance"),
        published={model: reader.number(value, "published") for model, value in reader.mapping("published").items()},
        by_class=tuple(reader.by_class(row) for row in reader.rows("by_class")),
        curve=tuple(Shots(row["shots"], row["value"]) for row in curves[0]) if curves else (),
        data=str(details.get("data") or ""),
        warning=str(details.get("warning") or ""),
        details=_plain_facts({key: value for key, value in details.items() if key not in _SHOWN_ELSEWHERE}),
        tables={name: tuple(map(_plain_facts, value)) for name, value in sorted(rows.items())},
    )


_SHOWN_ELSEWHERE = ("confidence", "warning")


def _is_rows(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)


def _is_shot(row: Mapping[str, Any]) -> bool:
    return _is_number(row.get("shots")) and row["shots"] > 0 and _is_share(row.get("value"))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_share(value: Any) -> bool:
    return _is_number(value) and 0 <= value <= 1


def _plain_facts(facts: Mapping[str, Any], before: str = "") -> dict[str, str]:
    """Return the facts that are a word, a number or a pair of numbers as text, those of facts in facts as a.b."""
    found: dict[str, str] = {}
    for key, value in sorted(facts.items()):
        if isinstance(value, dict):
            found |= _plain_facts(value, f"{before}{key}.")
        elif isinstance(value, list) and len(value) == 2 and all(map(_is_number, value)):
            found[before + key] = f"{_plain(value[0])} to {_plain(value[1])}"
        elif isinstance(value, str | int | float):
            found[before + key] = _plain(value)
    return found


def _plain(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class _Reader:
    """The parts of a result file, each as it must be, or an InputError that says where it is not."""

    url: str
    facts: Mapping[str, Any]

    def _wrong(self, key: str, expected: str, found: object) -> InputError:
        return InputError(f"{self.url}: {key}: expected {expected}, found {str(found)[:60]!r}; evaluate again")

    def text(self, key: str) -> str:
        value = self.facts[key]
        if not isinstance(value, str) or not value:
            raise self._wrong(key, "a word", value)
        return value

    def number(self, value: Any, key: str) -> float:
        if not _is_number(value):
            raise self._wrong(key, "a number", value)
        return float(value)

    def share(self, key: str) -> float:
        return self._share(self.facts[key], key)

    def _share(self, value: Any, key: str) -> float:
        if not _is_share(value):
            raise self._wrong(key, "a share from 0 to 1", value)
        return float(value)

    def count(self, key: str) -> int:
        return self._count(self.facts[key], key)

    def _count(self, value: Any, key: str) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise self._wrong(key, "a count", value)
        return value

    def interval(self, value: Any) -> tuple[float, float]:
        if not isinstance(value, list) or len(value) != 2:
            raise self._wrong("interval", "two shares", value)
        low, high = (self._share(end, "interval") for end in value)
        if low > high:
            raise self._wrong("interval", "the lower end first", value)
        return low, high

    def mapping(self, key: str) -> Mapping[str, Any]:
        value = self.facts.get(key) or {}
        if not isinstance(value, dict):
            raise self._wrong(key, "names with values", value)
        return value

    def rows(self, key: str) -> list[Mapping[str, Any]]:
        value = self.facts.get(key) or []
        if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
            raise self._wrong(key, "a list of rows", value)
        return value

    def by_class(self, row: Mapping[str, Any]) -> ClassResult:
        times = row.get("times") or 0
        return ClassResult(
            str(row.get("class")),
            self._count(row.get("num_items"), "by_class"),
            self._share(row.get("accuracy"), "by_class"),
            str(row.get("mistaken_for") or ""),
            self._count(times, "by_class"),
        )
