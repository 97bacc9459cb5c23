"""The work of an audit: tables of prints, matches and thumbnails in a scratch folder, of which a killed audit's stay.

A table's folder is named by the hash of all that it is made from: the stage, the code, the inputs, the size and time
of their files. What is found there is therefore what would be made, and an audit goes on where one was killed, or
where one of other thresholds has hashed the same files.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from pipelines.audit.outputs import AUDIT
from pipelines.executors.local import LocalExecutor
from pipelines.executors.parts import part_name, parts_of, write_rows
from pipelines.report.overlap.page import REPORT
from pipelines.report.overlap.pairs import PAGES
from wit import manifest
from wit.errors import OutputError
from wit.locking import locked
from wit.progress import progress
from wit.stage import MapStage, Step
from wit.storage import (
    TEMPORARY_PREFIX,
    base_name,
    exists,
    is_folder,
    is_remote,
    join,
    local_path,
    make_folder,
    move,
    remove,
    remove_temporaries,
)

FOLDER = f"{TEMPORARY_PREFIX}audit"
_MEMORY_MB = 1024  # of the executor's SQL, which an audit has none of


class Work:
    """A scratch folder and the processes that fill it."""

    def __init__(self, root: str, processes: int) -> None:
        self.root = root
        self.executor = LocalExecutor(root, 1, processes, _MEMORY_MB)
        self._code = manifest.fingerprint_code("wit", "pipelines")

    def table(
        self, side: str, stage: MapStage, tasks: Sequence[Sequence[dict[str, Any]]], label: str, *made_from: object
    ) -> str:
        """Run a map stage over tasks, each some rows of what it reads; return the folder of its tables.

        `made_from` is what else decides the rows that it gives. What an earlier command did of it is not done again.
        """
        known = {"stage": repr(stage), "code": self._code, "tasks": list(tasks), "made_from": list(made_from)}
        target = f"{side}/{hashlib.sha256(manifest.dumps(known)).hexdigest()[:16]}"
        source = f"{target}/inputs"
        there = {base_name(part) for part in parts_of(self.root, source)}
        for index, rows in enumerate(tasks):
            if part_name(index) not in there:
                batches = pa.Table.from_pylist(list(rows), schema=stage.reads).to_batches()
                write_rows(join(self.root, source, part_name(index)), stage.reads, batches)
        if tasks:
            with progress(label, len(tasks)) as advance:
                self.executor.map(Step(stage, {"inputs": source}, target), advance)
        return target


@contextmanager
def opened(out: str, processes: int) -> Iterator[Work]:
    """Yield the work of an audit that writes to `out`; it stays until `finish`.

    Raises OutputError when another audit is at work there, or what is there is no audit's.
    """
    make_folder(out)
    _require_ours(out)
    root = join(out, FOLDER)
    with locked(root, "wit overlap command"):
        _sweep(out)
        work = Work(root, processes)
        try:
            yield work
        finally:
            work.executor.close()


def _require_ours(out: str) -> None:
    """Raise OutputError for a folder with pages that no audit made: they would be lost."""
    if exists(join(out, AUDIT)) or is_folder(join(out, FOLDER)):
        return
    for name in (PAGES, REPORT):
        if exists(join(out, name)):
            raise OutputError(
                f"{join(out, name)}: expected a new folder, or one of an audit ({AUDIT}), found this without it; "
                "choose another --out"
            )


def _sweep(out: str) -> None:
    """Remove what killed commands were writing, or removing."""
    remove_temporaries(join(out, FOLDER))
    for name in () if is_remote(out) else os.listdir(local_path(out)):
        if name.startswith(TEMPORARY_PREFIX) and name != FOLDER:
            remove(join(out, name))


def finish(work: Work) -> None:
    """Remove what the work has left: all at once, for what is half there would be taken for whole after a kill."""
    work.executor.close()
    if is_remote(work.root):
        remove(work.root)
        return
    done = f"{work.root}-done"
    move(work.root, done)
    remove(done)


def stamps(urls: Iterable[str]) -> list[Any]:
    """Return what tells that files are still the same: size and time of each that is local."""
    return [_stamp(local_path(url)) for url in urls if not is_remote(url) and exists(url)]


def _stamp(path: str) -> list[int]:
    found = os.stat(path)
    return [found.st_size, found.st_mtime_ns]


def digest(batches: Iterable[pa.RecordBatch]) -> str:
    """Return a SHA-256 (hex) over the values of tables of texts and integers, whatever batches they come in."""
    found = hashlib.sha256()
    for batch in batches:
        for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            found.update(repr(row).encode())
    return found.hexdigest()
