"""What an audit writes beside its pages: figures by set, items and their split, matches, samples, how it was made."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.audit.search import place_of_items
from pipelines.report.overlap.predictions import Predictions, join_predictions
from pipelines.report.overlap.results import AuditResult, Contamination, SetResult
from wit import manifest
from wit.schema import CONTAMINATIONS, ITEMS
from wit.storage import join, remove, write_parquet

SCHEMA_VERSION = 1
AUDIT, SETS, ITEMS_FILE, MATCHES, SAMPLES_FILE, UNREADABLE_FILE = (
    "audit.json", "sets.parquet", "items.parquet", "matches.parquet", "samples.parquet", "unreadable.parquet",
)  # fmt: skip
TABLES = (SETS, ITEMS_FILE, MATCHES, SAMPLES_FILE, UNREADABLE_FILE)
OVERLAP, CLEAN, UNREADABLE_SPLIT = "overlap", "clean", "unreadable"


@dataclass(frozen=True)
class Measured:
    """What was found of an evaluation set."""

    result: SetResult
    items: pa.Table
    """ITEMS"""


def measure(
    name: str, threshold: float, references: pa.Table, unreadable: pa.Table, found: pa.Table, min_quality: int
) -> Measured:
    """Return the splits of a set: `references`, REFERENCES of its images as they are; UNREADABLE; what was FOUND."""
    mine, lost, near = (table.filter(pc.equal(table["set"], name)) for table in (references, unreadable, found))
    nearest = near.filter(pa.array(place_of_items(near) == 0))
    rows = pc.index_in(mine["item"], value_set=nearest["item"].combine_chunks()).combine_chunks()
    is_blank = pc.less(mine["quality"], min_quality) if min_quality else pa.repeat(False, len(mine))
    columns = {
        "set": mine["set"],
        "item": mine["item"],
        "label": mine["label"],
        "split": pc.if_else(pc.is_valid(rows), OVERLAP, CLEAN),
        "is_blank": is_blank,
        **{column: nearest[column].combine_chunks().take(rows) for column in ("distance", "key", "shard")},
    }
    items = pa.table([columns[column] for column in ITEMS.names], schema=ITEMS)
    num_overlap = len(rows) - rows.null_count
    contamination = Contamination(name, len(mine), num_overlap, len(lost), pc.sum(is_blank).as_py(), threshold)
    return Measured(SetResult(contamination), pa.concat_tables([items, _lost_items(lost)]))


def _lost_items(lost: pa.Table) -> pa.Table:
    columns = {name: lost[name] for name in ("set", "item", "label")}
    columns |= {"split": pa.repeat(UNREADABLE_SPLIT, len(lost)), "is_blank": pa.repeat(False, len(lost))}
    nothing = {name: pa.nulls(len(lost), ITEMS.field(name).type) for name in ITEMS.names}
    return pa.table([(nothing | columns)[name] for name in ITEMS.names], schema=ITEMS)


def with_accuracies(measured: Measured, predictions: Predictions | None) -> Measured:
    """Return the same with the accuracies of the splits; raises InputError when the predictions are not of this set."""
    if predictions is None:
        return measured
    contamination = measured.result.contamination
    joined = join_predictions(predictions, contamination.set, measured.items)
    result = SetResult(contamination, joined.accuracies, joined.num_missing, joined.num_unknown)
    return Measured(result, measured.items)


def figures(result: AuditResult) -> pa.Table:
    """Return CONTAMINATIONS: a row a set."""
    return pa.Table.from_pylist([_figures(result, each) for each in result.sets], schema=CONTAMINATIONS)


def _figures(result: AuditResult, each: SetResult) -> dict[str, Any]:
    found, accuracies = each.contamination, each.accuracies
    low, high = found.interval
    row = {**asdict(found), "num_clean": found.num_items - found.num_overlap, "contamination": found.share}
    row |= {"contamination_low": low, "contamination_high": high}
    row |= {"num_missing": each.num_missing, "num_unknown": each.num_unknown}
    if accuracies is None:
        return row
    overlap_low, overlap_high = accuracies.interval or (None, None)
    names = ("accuracy_all", "accuracy_clean", "accuracy_overlap", "difference", "p_value")
    row |= {name: getattr(accuracies, name) for name in names}
    return row | {
        "overlap_low": overlap_low,
        "overlap_high": overlap_high,
        "is_significant": result.is_significant(each),
    }


def write_tables(
    out: str, result: AuditResult, measured: Sequence[Measured], matches: pa.Table, unreadable: pa.Table
) -> None:
    """Write the figures, the items, the matches (OVERLAPS) and what could not be read into the folder `out`."""
    write_parquet(join(out, SETS), figures(result))
    write_parquet(join(out, ITEMS_FILE), pa.concat_tables([each.items for each in measured]))
    write_parquet(join(out, MATCHES), matches)
    write_parquet(join(out, UNREADABLE_FILE), unreadable)


def write_making(out: str, value: Mapping[str, Any], written: Collection[str]) -> None:
    """Write `audit.json`, which says what the audit was made from and by which rule.

    Of the tables only those `written` stay: others are of another command in the same folder.
    """
    for name in TABLES:
        if name not in written:
            remove(join(out, name))
    manifest.write(join(out, AUDIT), {"schema_version": SCHEMA_VERSION, **value})


def format_table(result: AuditResult) -> str:
    """Return a line a set, as a table of plain text; with predictions also what the overlap does to the accuracy."""
    lines = [_HEADER + (_ACCURACY_HEADER if result.num_tests else ())]
    lines += [_line(each) + (_accuracy_line(result, each) if result.num_tests else ()) for each in result.sets]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join("  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]) for line in lines)


_HEADER = ("set", "images", "overlap", "share", "99.5 % interval", "threshold", "blank", "unreadable")
_ACCURACY_HEADER = ("all", "clean", "overlap", "all - clean", "p", "significant")


def _line(each: SetResult) -> tuple[str, ...]:
    found = each.contamination
    low, high = found.interval
    numbers = (f"{found.num_items:,}", f"{found.num_overlap:,}", f"{found.share:.2%}", f"{low:.2%} to {high:.2%}")
    return (found.set, *numbers, f"{found.threshold:g}", f"{found.num_blank:,}", f"{found.num_unreadable:,}")


def _accuracy_line(result: AuditResult, each: SetResult) -> tuple[str, ...]:
    found = each.accuracies
    if found is None:
        return ("-",) * len(_ACCURACY_HEADER)
    shares = (found.accuracy_all, found.accuracy_clean, found.accuracy_overlap)
    difference, p_value = found.difference, found.p_value
    return (
        *("-" if share is None else f"{share:.2%}" for share in shares),
        "-" if difference is None else f"{100 * difference:+.2f}",
        "-" if p_value is None else f"{p_value:.2g}",
        "yes" if result.is_significant(each) else "no",
    )
