"""Compares what became of each candidate in a run with what must become of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from wit import manifest
from wit.errors import InputError
from wit.sample.build import SETTINGS
from wit.shards import shards_of_run
from wit.storage import join, list_names, read_parquet

Fate = tuple[str, str | None]
"""Stage and reason; ("pack", None): it is a sample."""

PACKED: Fate = ("pack", None)
KEYLESS = ("malformed_record", "unreadable_archive")
"""Reasons of records that hold no candidate: they are counted, for no key names them."""

NOWHERE: Fate = ("nowhere", None)


@dataclass
class Comparison:
    """Counts by (stage, reason), and every candidate whose fates differ."""

    expected: Counter[Fate] = field(default_factory=Counter)
    found: Counter[Fate] = field(default_factory=Counter)
    differences: list[str] = field(default_factory=list)
    """One line each, by key."""


def read_settings(folder: str) -> dict[str, Any]:
    """Return sample.json of a sample; raises InputError when `folder` holds no finished sample."""
    return manifest.read(join(folder, SETTINGS), "cap")


def compare(folder: str, run: str, source: str) -> Comparison:
    """Compare the run in `run` with the truth of the sample in `folder` about one of its sources.

    Raises InputError when either is not there, or the truth knows nothing of the source.
    """
    read_settings(folder)
    truth = _truth(join(folder, "truth.parquet"), source)
    expected = _fates_by_key(truth)
    comparison = Comparison(expected=Counter(expected.values()))
    expected = {key: fate for key, fate in expected.items() if fate[1] not in KEYLESS}
    found: dict[str, Fate] = {}
    for key, fate in _fates(run):
        comparison.found[fate] += 1
        if fate[1] in KEYLESS:
            continue
        if key in found:
            comparison.differences.append(f"{key}: twice in the run, as {_said(found[key])} and as {_said(fate)}")
        found[key] = fate
    for fate in (("extract", reason) for reason in KEYLESS):
        must_be, are = comparison.expected[fate], comparison.found[fate]
        if must_be != are:
            comparison.differences.append(f"{_said(fate)}: expected {must_be} records, found {are}")
    differing = sorted(
        key for key in expected.keys() | found.keys() if expected.get(key, NOWHERE) != found.get(key, NOWHERE)
    )
    names = _names(truth, differing)
    for key in differing:
        must, did = expected.get(key, NOWHERE), found.get(key, NOWHERE)
        comparison.differences.append(
            f"{key}: expected {_said(must)}, found {_said(did)} {names.get(key, '')}".rstrip()
        )
    return comparison


def _truth(path: str, source: str) -> pa.Table:
    table = read_parquet(path)
    rows = table.filter(pc.equal(table["source"], source))
    if not len(rows):
        sources = sorted(table["source"].unique().to_pylist())
        raise InputError(f"{path}: expected a source of {', '.join(sources)}, found {source!r}")
    return rows


def _fates_by_key(table: pa.Table) -> dict[str, Fate]:
    columns = (table[name].to_pylist() for name in ("key", "stage", "reason"))
    known: dict[Fate, Fate] = {}  # a few dozen fates for a million keys: each is kept once
    return {
        key: known.setdefault((stage, reason), (stage, reason)) for key, stage, reason in zip(*columns, strict=True)
    }


def _names(truth: pa.Table, keys: list[str]) -> dict[str, str]:
    """Return URL and caption, in brackets, of those keys that the truth knows."""
    rows = truth.filter(pc.is_in(truth["key"], pa.array(keys, pa.string()))).to_pylist()
    return {row["key"]: f"({row['url']!r}, {row['caption']!r})" for row in rows}


def _fates(run: str) -> Iterator[tuple[str, Fate]]:
    """Yield (key, fate) of every row of the run's rejects and of its shards' indexes."""
    rejects, shards = join(run, "rejects"), shards_of_run(run)
    if not list_names(rejects) or not list_names(shards):
        raise InputError(
            f"{run}: expected a finished run, with folders rejects and shards, found none; run wit run first"
        )
    for path in (join(rejects, stage, name) for stage in list_names(rejects) for name in _tables(join(rejects, stage))):
        table = read_parquet(path)
        columns = (table[name].to_pylist() for name in ("key", "stage", "reason"))
        yield from ((key, (stage, reason)) for key, stage, reason in zip(*columns, strict=True))
    for name in _tables(shards):
        yield from ((key, PACKED) for key in read_parquet(join(shards, name))["key"].to_pylist())


def _tables(folder: str) -> list[str]:
    return [name for name in list_names(folder) if name.endswith(".parquet")]


def _said(fate: Fate) -> str:
    stage, reason = fate
    return f"{stage}/{reason}" if reason else ("a sample in a shard" if fate == PACKED else stage)


def table_lines(comparison: Comparison) -> Iterator[str]:
    """Yield the counts as lines of text: stage/reason, expected, found."""
    yield f"{'what became of it':<36}{'expected':>10}{'found':>10}"
    for fate in sorted(comparison.expected.keys() | comparison.found.keys(), key=_said):
        must, did = comparison.expected[fate], comparison.found[fate]
        yield f"{_said(fate):<36}{must:>10,}{did:>10,}{'' if must == did else '  <--'}"
