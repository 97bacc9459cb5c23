"""Files of a model's predictions, and the accuracy of each split that follows from them.

A file has a row an item: `item` or `path`, and either `correct` (true, false, 1, 0) or `prediction`, compared with the
row's `label` or, without one, with the set's own. What `wit evaluate` writes is such a file.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence, Set
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pyarrow as pa

from pipelines.report.overlap.results import Accuracies
from wit.errors import InputError, one_line
from wit.evaluation_sets.labels import read_text
from wit.evaluation_sets.splits import num_shared
from wit.parquet import open_parquet
from wit.rows import FORMS, parse_rows
from wit.storage import base_name

ITEM_COLUMNS = ("item", "path")
CORRECT, LABEL, PREDICTION = "correct", "label", "prediction"
MAX_MISSING = 0.5
"""Share of a set's readable items that may lack a prediction; with more missing, the names do not fit."""

_WANTED = "item (or path) with correct, or item (or path) with label and prediction"
_COLUMNS = (*ITEM_COLUMNS, CORRECT, LABEL, PREDICTION)
_TRUTHS = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}
_EXAMPLES = 3
_MAX_FOLDERS = 32  # that are taken off: each is a pass over all names
_MAX_SHOWN = 60  # characters of a name or value in a message
_MAX_BYTES = 1 << 32  # of a text file, which is read whole

Row = dict[str, Any]
Verdict = bool | str
"""Whether a prediction is right; or the class that is predicted, to be compared with the label that the set states."""


@dataclass(frozen=True)
class Predictions:
    """A model's predictions by item, as the file names them without a leading `./`."""

    url: str
    verdicts: dict[str, Verdict]


@dataclass(frozen=True)
class Joined:
    """A set's accuracies, and what did not find its counterpart."""

    accuracies: Accuracies
    num_missing: int
    """Readable items without a prediction."""
    num_unknown: int
    """Predictions of items that the set does not have."""


def read_predictions(url: str) -> Predictions:
    """Read a file of predictions: Parquet, CSV, TSV or JSON lines, by its name.

    Raises InputError for another format, for columns that are not there, for a row whose values say nothing, and for
    an item with two rows that contradict each other; rows that repeat each other are fine.
    """
    verdicts: dict[str, Verdict] = {}
    rows: dict[str, int] = {}
    item = ""
    read: Callable[[Row], Verdict]
    for number, row in _rows(url):
        if not item:
            item, read = _reader_of(url, row)
        try:
            name, verdict = _name(row.get(item)), read(row)
        except ValueError as error:
            raise InputError(f"{url}: row {number}: {error}; mend or remove the row") from error
        if verdicts.setdefault(name, verdict) != verdict:
            raise InputError(
                f"{url}: expected one prediction for {_shown(name)}, found row {rows[name]} and row {number}, which "
                "contradict each other; keep one"
            )
        rows.setdefault(name, number)
    if not verdicts:
        raise InputError(f"{url}: expected rows of {_WANTED}, found none")
    return Predictions(url, verdicts)


def _reader_of(url: str, row: Row) -> tuple[str, Callable[[Row], Verdict]]:
    """Return the column of names, and what makes a verdict of a row; by the columns of the first row."""
    item = next((name for name in ITEM_COLUMNS if name in row), None)
    if item is None or (CORRECT not in row and PREDICTION not in row):
        found = ", ".join(_shown(name) for name in islice(row, 20)) or "none"
        raise InputError(f"{url}: expected columns {_WANTED}, found {found}; rename the columns")
    if CORRECT in row:
        return item, _is_correct
    return item, _agrees if LABEL in row else _predicted


def _is_correct(row: Row) -> bool:
    value = row.get(CORRECT)
    truth = _TRUTHS.get(str(value).strip().lower())
    if truth is None:
        raise ValueError(f"expected true, false, 1 or 0 in column {CORRECT!r}, found {_shown(value)}")
    return truth


def _agrees(row: Row) -> bool:
    return _class(row, LABEL) == _class(row, PREDICTION)


def _predicted(row: Row) -> str:
    return _class(row, PREDICTION)


def _class(row: Row, column: str) -> str:
    """Return a class as text; the number 3.0 is class "3", as a table that was once a float column has it."""
    value = row.get(column)
    is_nan = isinstance(value, float) and value != value
    text = plain_class(value) if isinstance(value, (str, int, float)) and not is_nan else ""
    if not text:
        raise ValueError(f"expected a class in column {column!r}, found {_shown(value)}")
    return text


def plain_class(value: str | int | float) -> str:
    """Return the text by which classes are compared: without blanks around it, whole numbers without decimals."""
    text = str(value).strip()
    head, point, tail = text.partition(".")
    return head if point and head.lstrip("-").isdecimal() and tail.strip("0") == "" else text


def _name(value: object) -> str:
    text = value if isinstance(value, str) else str(value) if isinstance(value, int) else ""
    while text.startswith("./"):
        text = text[2:].lstrip("/")
    if not text:
        raise ValueError(f"expected the name of an item, found {_shown(value)}")
    return text


def _shown(value: object) -> str:
    text = "" if value is None else str(value)
    return repr(text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…")


def _rows(url: str) -> Iterator[tuple[int, Row]]:
    """Yield the rows of a file with their numbers from 1; each has all columns that its file has."""
    suffix = base_name(url).rpartition(".")[2].lower()
    if suffix == "parquet":
        return enumerate(_parquet_rows(url), 1)
    if suffix not in FORMS:
        formats = ", ".join(f".{name}" for name in ("parquet", *FORMS))
        raise InputError(f"{url}: expected a file of predictions ({formats}), found {_shown(base_name(url))}")
    rows = parse_rows(url, read_text(url, _MAX_BYTES), suffix)
    return enumerate((row for _, row in rows), 1)


def _parquet_rows(url: str) -> Iterator[Row]:
    with open_parquet(url) as file:
        names = list(dict.fromkeys(file.schema_arrow.names))
        # Of a file without the columns that are needed, the first few names serve the message that says so.
        columns = [name for name in names if name in _COLUMNS] or names[:20]
        try:
            for batch in file.iter_batches(columns=columns):
                yield from batch.to_pylist()
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise InputError(f"{url}: not a readable Parquet file: {one_line(error)}") from error


def join_predictions(predictions: Predictions, name: str, items: pa.Table) -> Joined:
    """Return the accuracies of the set `name`.

    `items`, a row an image of the set: item, label (nullable), split ("overlap", "clean" or "unreadable"). Names join
    as they are, or without the leading folders that all names on one side share. Unreadable items are in no split.
    Raises InputError when most readable items have no prediction, or a class has no label to be compared with.
    """
    paths = _join_names(predictions.verdicts.keys(), items["item"].to_pylist())
    counts = {"overlap": [0, 0], "clean": [0, 0]}
    num_missing = 0
    rows = zip(items["item"].to_pylist(), items["label"].to_pylist(), items["split"].to_pylist(), strict=True)
    for item, label, split in rows:
        if split not in counts:
            continue
        if item not in paths:
            num_missing += 1
            continue
        counts[split][0] += 1
        counts[split][1] += _verdict(predictions, name, paths[item], label)
    accuracies = Accuracies(*counts["clean"], *counts["overlap"])
    num_readable = accuracies.num_all + num_missing
    if num_missing > MAX_MISSING * num_readable:
        raise InputError(_nothing_in_common(predictions, name, items, accuracies.num_all, num_readable))
    return Joined(accuracies, num_missing, len(predictions.verdicts) - len(paths))


def _verdict(predictions: Predictions, name: str, path: str, label: str | None) -> bool:
    verdict = predictions.verdicts[path]
    if isinstance(verdict, bool):
        return verdict
    if label is None:
        raise InputError(
            f"{predictions.url}: expected a column label or correct, found neither, and the evaluation set {name!r} "
            f"states no label of {_shown(path)}; add the column"
        )
    return verdict == plain_class(label)


def _join_names(paths: Set[str], items: Sequence[str]) -> dict[str, str]:
    """Return for each item the name that the file has for it, where it has one.

    Folders are taken off one side only: val/1.png is not test/1.png. What joins most wins, then what takes off least.
    """
    names = {item: item for item in items}
    best = {item: item for item in names if item in paths}
    by_path = {path: path for path in paths}
    for shorter, others, is_path in ((by_path, names, True), (names, by_path, False)):
        for length in _shared_folders(shorter):
            if len(best) == min(len(names), len(by_path)):
                return best
            cut = {name[length:]: name for name in shorter}
            both = {short: whole for short, whole in cut.items() if short in others}
            if len(both) > len(best):
                best = both if is_path else {whole: short for short, whole in both.items()}
    return best


def _shared_folders(names: Collection[str]) -> list[int]:
    """Return the lengths of the beginnings, each up to a slash, that all names share: the shortest few of them."""
    low, high = min(names, default=""), max(names, default="")
    same = low[: num_shared((low, high))]
    return [place + 1 for place, sign in enumerate(same) if sign == "/"][:_MAX_FOLDERS]


def _nothing_in_common(predictions: Predictions, name: str, items: pa.Table, num_found: int, num_readable: int) -> str:
    shown = [
        ", ".join(map(_shown, islice(side, _EXAMPLES))) for side in (predictions.verdicts, items["item"].to_pylist())
    ]
    return (
        f"{predictions.url}: expected a prediction for most of the {num_readable:,} images of {name!r}, found "
        f"{num_found:,}; the file names {shown[0]}, the set {shown[1]}; name items as items.parquet does"
    )
