"""`wit shards verify`: every shard checked, several at a time, then all of them together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from wit.integrity import Checked, check_shard, shards_of
from wit.processes import map_in_order
from wit.set_integrity import check_manifest, check_together
from wit.shards import folder_of, stated_metadata
from wit.storage import base_name


@dataclass(frozen=True)
class Report:
    """What `verify` found: a line a problem, in the order of the shards."""

    num_shards: int
    num_samples: int
    problems: tuple[str, ...]


def verify(pattern: str, processes: int, advance: Callable[[int], None] = lambda _: None) -> Report:
    """Check the shards that a folder or pattern names; `advance(1)` is called as each ends.

    Raises InputError when there are none.
    """
    shards, is_whole = shards_of(pattern)
    problems: list[str] = []
    num_samples = 0
    files: dict[str, dict[str, dict[str, Any]]] = {}  # by folder, then name
    for checked in map_in_order(_check, _tasks(shards), min(processes, len(shards))):
        problems += [f"{base_name(checked.shard)}: {problem}" for problem in checked.problems]
        num_samples += checked.num_samples
        files.setdefault(folder_of(checked.shard), {}).update(checked.files)
        advance(1)
    problems += check_together(shards)
    for folder in sorted(files):
        problems += check_manifest(folder, files[folder], is_whole)
    return Report(len(shards), num_samples, tuple(problems))


def _tasks(shards: list[str]) -> list[tuple[str, tuple[str, ...]]]:
    """Return each shard with the fields that its samples' metadata has."""
    stated = {folder: stated_metadata(folder) for folder in dict.fromkeys(map(folder_of, shards))}
    return [(shard, stated[folder_of(shard)]) for shard in shards]


def _check(task: tuple[str, tuple[str, ...]]) -> Checked:
    return check_shard(*task)
