"""`wit shards verify`: every shard checked, several at a time, then all of them together."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from wit.errors import WorkerDied
from wit.integrity import Checked, check_manifest, check_shard, check_together, shards_of
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
    with _mapper(min(processes, len(shards))) as map_:
        for checked in map_(check_shard, shards):
            problems += [f"{base_name(checked.shard)}: {problem}" for problem in checked.problems]
            num_samples += checked.num_samples
            files.setdefault(_folder(checked.shard), {}).update(checked.files)
            advance(1)
    problems += check_together(shards)
    for folder in sorted(files):
        problems += check_manifest(folder, files[folder], is_whole)
    return Report(len(shards), num_samples, tuple(problems))


def _folder(shard: str) -> str:
    return shard.rpartition("/")[0] or "."


Mapper = Callable[[Callable[[str], Checked], Iterable[str]], Iterable[Checked]]


@contextmanager
def _mapper(processes: int) -> Iterator[Mapper]:
    """Yield an ordered map over processes; one process is this one."""
    if processes == 1:
        yield map
        return
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            yield pool.map
        except BrokenProcessPool as error:
            raise WorkerDied("a worker died while it checked a shard; run again with --processes 1") from error
