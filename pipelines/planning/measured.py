"""What a run saw, in place of what a plan assumes: rates, shares and sizes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

from pipelines.planning.assumptions import Assumptions
from pipelines.recipes import STAGES
from pipelines.runner import IDENTITY, LOG, read_ledger, read_recipe, stage_manifest_path
from wit import manifest
from wit.storage import exists, join, read_bytes

_FEW = 10_000
"""Rows below which starting processes outweighs the work: such a stage's rate is not taken."""


def with_measured(given: Assumptions, root: str) -> tuple[Assumptions, frozenset[str]]:
    """Return assumptions with those that are at their defaults replaced by what a run saw, and their names.

    A stage that was killed on the way, or saw few rows, gives its share and size but no rate. Raises UserError when
    `root` is no run.
    """
    read_ledger(root)
    found: dict[str, dict[str, float]] = {}
    for section, name, value in _seen(root):
        found.setdefault(section, {})[name] = value
    names = set()
    sections: dict[str, Any] = {}
    for each in fields(given):
        values = getattr(given, each.name)
        defaults = {field.name: field.default for field in fields(values)}
        measured = found.get(each.name, {})
        new = {name: value for name, value in measured.items() if getattr(values, name) == defaults[name]}
        names |= {f"{each.name}.{name}" for name in new}
        sections[each.name] = replace(values, **new)
    return Assumptions(**sections), frozenset(names)


def _seen(root: str) -> Iterator[tuple[str, str, float]]:
    """Yield (section, name, value) of what the finished stages say."""
    log = _log(root)
    archive_bytes = _archive_bytes(root)
    for entry in read_ledger(root):
        stage, line = entry.stage, log.get(entry.stage)
        if stage in ("extract", "filter_text", "match", "fetch", "filter_image", "dedup", "overlap") and entry.num_in:
            yield "shares", stage, entry.num_out / entry.num_in
        seconds = line["seconds"] * line["cores"] if line and not line["resumed"] and entry.num_in >= _FEW else None
        if stage in ("extract", "filter_text", "match", "balance") and entry.num_in:
            yield "sizes", stage, _bytes_of(root, stage) / entry.num_in
        if seconds and stage == "extract":
            if archive_bytes:
                yield "rates", "extract_s_a_gb", seconds / (archive_bytes / 1e9)
        elif seconds:
            yield "rates", f"{stage}_s", seconds / (entry.num_in / 1e6)


def _log(root: str) -> dict[str, dict[str, Any]]:
    """Return the last line of each stage; a run under a URL has no log.

    A line that a kill or a full disk cut off says nothing.
    """
    path = join(root, LOG)
    if not exists(path):
        return {}
    lines = [line for text in read_bytes(path).splitlines() for line in _parsed(text)]
    return {line["stage"]: line for line in lines if line["stage"] in STAGES}


def _parsed(text: bytes) -> Iterator[dict[str, Any]]:
    """Yield what a line of the log holds, when it is whole."""
    try:
        line = json.loads(text)
    except ValueError:
        return
    kinds: dict[str, Any] = {"stage": str, "seconds": int | float, "cores": int, "resumed": bool}
    if isinstance(line, dict) and all(isinstance(line.get(name), kind) for name, kind in kinds.items()):
        yield line


def _archive_bytes(root: str) -> int:
    """Return the bytes of the WAT files that a run read; 0 when it read anything else, or their sizes are unknown."""
    recipe, made_from = read_recipe(root), manifest.read(join(root, IDENTITY), "inputs")
    if any(recipe["extract"][kind] for kind in ("warc", "tables", "shards")):
        return 0
    files = made_from["inputs"].get("extract", {})
    return sum(int(fingerprint.partition(":")[0]) for name, fingerprint in files.items() if "paths" not in name)


def _bytes_of(root: str, stage: str) -> int:
    tables = manifest.read(stage_manifest_path(root, stage), "tables")["tables"]
    return sum(table["num_bytes"] for table in tables.values())
