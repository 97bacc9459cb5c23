"""New sets of shards: made several at a time, the manifest last; a command that was killed goes on where it stopped."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipelines.shardset.copying import NewShard, extents, make_shard, read_checked_index
from pipelines.shardset.cutting import Picked
from wit import manifest
from wit.errors import InputError, OutputError
from wit.integrity import shards_of
from wit.locking import LOCK, locked
from wit.processes import map_in_order
from wit.progress import progress
from wit.schema import conform
from wit.schema.samples import REMOVALS
from wit.shards import (
    MADE_FROM,
    MANIFEST,
    REMOVALS_NAME,
    UNDER_WAY,
    Described,
    common_metadata,
    find_index,
    folder_of,
    num_samples,
    publish_manifest,
)
from wit.storage import (
    base_name,
    exists,
    join,
    list_names,
    read_parquet,
    remove_temporaries,
    size,
    write_parquet,
)


@dataclass(frozen=True)
class Request:
    """What is made, out of what: the same request gives the same bytes."""

    what: Mapping[str, Any]
    """The command and its arguments, as plain values."""
    shards: tuple[str, ...]
    folders: tuple[str, ...]
    """Of the new sets."""

    def made_from(self) -> dict[str, Any]:
        """Return what says whether two requests are the same, with the shards as they are now."""
        return {**self.what, "shards": fingerprint_shards(self.shards)}


def open_set(pattern: str) -> tuple[str, ...]:
    """Return the shards that a folder or pattern names; raises InputError when a removal from them is not finished."""
    shards = tuple(shards_of(pattern)[0])
    for folder in folders_of(shards):
        require_no_removal(folder)
    return shards


def require_no_removal(folder: str) -> None:
    """Raise InputError when a removal from the shards in a folder is not finished."""
    if exists(join(folder, UNDER_WAY)):
        raise InputError(f"{folder}: a removal is under way; finish it with the same wit shards remove command")


def folders_of(shards: Iterable[str]) -> list[str]:
    """Return the folders in which shards lie, each once, in order."""
    return list(dict.fromkeys(map(folder_of, shards)))


def pick(shard: str, rows: npt.NDArray[np.integer[Any]] | None = None, index: pa.Table | None = None) -> Picked:
    """Return samples of a shard, in order of its index; all of them when `rows` is None."""
    start, stop = extents(read_checked_index(shard) if index is None else index)
    chosen = np.arange(len(start)) if rows is None else rows
    numbers = np.zeros(len(chosen), np.int32)
    return Picked((shard,), numbers, chosen.astype(np.int32), (stop - start)[chosen])


def make_sets(request: Request, new: Iterable[NewShard], processes: int, total: int) -> dict[str, dict[str, Any]]:
    """Make shards in the folders of a request, and their manifests; return these by folder.

    `new` is taken as it is needed, `total` its samples; of sets that are finished nothing is taken or made. Raises
    OutputError for a folder that holds something else, MismatchError for one that another request began.
    """
    with ExitStack() as held:
        for folder in request.folders:
            held.enter_context(locked(folder, "wit shards command"))
        _begin(request)
        if all(exists(join(folder, MANIFEST)) for folder in request.folders):
            return {folder: manifest.read(join(folder, MANIFEST)) for folder in request.folders}
        described: dict[str, list[Described]] = {folder: [] for folder in request.folders}
        try:
            with progress(str(request.what["command"]), total, "samples") as advance:
                for folder, each in map_in_order(_make, new, processes):
                    described[folder].append(each)
                    advance(each.of_shard["num_samples"])
            _require_unchanged(request)
            return _publish(request, described)
        finally:
            for folder in request.folders:
                remove_temporaries(folder)  # of workers that were killed


def _make(new: NewShard) -> tuple[str, Described]:
    return new.folder, make_shard(new)


def _publish(request: Request, described: Mapping[str, list[Described]]) -> dict[str, dict[str, Any]]:
    """Publish the manifests of finished folders, with the record of what was removed from the sources."""
    sources = folders_of(request.shards)
    removals, more = removals_of(sources), {"metadata": common_metadata(sources)}
    made = {}
    for folder, each in described.items():
        if len(removals):
            write_parquet(join(folder, REMOVALS_NAME), removals)
        made[folder] = publish_manifest(folder, each, more)
    return made


def _begin(request: Request) -> None:
    """Claim the folders of a request, or find that it began them."""
    made_from = request.made_from()
    others = []
    for folder in request.folders:
        names = [name for name in list_names(folder) if name != LOCK]
        if MADE_FROM in names:
            found = manifest.read(join(folder, MADE_FROM))
            manifest.require_same(folder, found, made_from, "choose another --out, or remove the folder")
            remove_temporaries(folder)
        elif names:
            raise OutputError(f"{folder}: expected a new or empty folder, found {names[0]}; choose another --out")
        else:
            others.append(folder)
    for folder in others:
        manifest.write(join(folder, MADE_FROM), made_from)


def _require_unchanged(request: Request) -> None:
    """Raise InputError when shards were changed while samples were copied from them: a removal may have begun."""
    for folder in folders_of(request.shards):
        require_no_removal(folder)
    if manifest.read(join(request.folders[0], MADE_FROM)) != request.made_from():
        raise InputError(
            f"{', '.join(folders_of(request.shards))}: the shards were changed while they were read; remove "
            f"{', '.join(request.folders)} and run the same command again"
        )


def fingerprint_shards(shards: Sequence[str]) -> str:
    """Return a hash over names and sizes of shards and their indexes."""
    facts = [f"{base_name(shard)}\0{size(shard)}\0{size(find_index(shard))}\n" for shard in shards]
    return hashlib.sha256("".join(facts).encode()).hexdigest()


def count_samples(shards: Iterable[str]) -> int:
    """Return the number of samples in shards."""
    return sum(map(num_samples, shards))


def removals_of(folders: Iterable[str]) -> pa.Table:
    """Return what was taken out of the shards in folders, as wit.schema.REMOVALS."""
    return pa.concat_tables([REMOVALS.empty_table(), *_read_removals(folders)])


def _read_removals(folders: Iterable[str]) -> Iterator[pa.Table]:
    for folder in folders:
        url = join(folder, REMOVALS_NAME)
        if exists(url):
            yield conform(read_parquet(url), REMOVALS)
