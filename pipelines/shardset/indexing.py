"""Indexes of tars that somebody else made, so that whatever reads our shards reads them too.

The index of X.tar is X.index.parquet: beside the tar, or in another folder with links to the tars. A sample's key is
the stem of its members; where a stem comes again in its tar, with a number behind it (STEM#2); where stems of several
tars are equal, TAR/STEM throughout the set. A stem of more than 255 bytes is known by its hash.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.shardset.foreign_rows import ForeignRows
from pipelines.shardset.making import folders_of, require_no_removal
from wit import manifest
from wit.errors import ContractError, InputError, OutputError
from wit.hosts import text_hashes
from wit.integrity import shards_of
from wit.locking import locked
from wit.processes import Pool
from wit.progress import progress
from wit.schema.samples import FOREIGN_INDEX, SHARD_INDEX
from wit.shards import (
    MANIFEST,
    as_index,
    describe,
    foreign_index_name,
    index_name,
    list_shards,
    publish_manifest,
    read_any_index,
    read_manifest,
)
from wit.storage import (
    base_name,
    exists,
    is_remote,
    join,
    local_path,
    make_folder,
    open_input,
    output_error,
    read_parquet,
    size,
    write_parquet,
)

_ROWS = 1_000


class _State(NamedTuple):
    """What an index says of its making, in the metadata of its schema: numbers; -1 bytes when it says nothing."""

    tar_bytes: int = -1
    left_out: int = 0
    unreadable: int = 0
    has_tar_names: int = 0
    has_prints: int = 0


@dataclass(frozen=True)
class Indexed:
    """What became of a tar."""

    shard: str
    num_samples: int = 0
    left_out: int = 0
    """Samples without an image, or with one that is too large (see ForeignRows)."""
    unreadable: int = 0
    """Samples whose image has no header that can be read."""
    problem: str = ""
    """Why it has no index; empty when it has."""


@dataclass(frozen=True)
class IndexedSet:
    """What became of the tars of a command."""

    tars: tuple[Indexed, ...]
    has_tar_names: bool
    """Keys are TAR/STEM."""


def index_tars(pattern: str, out: str | None, processes: int, *, with_prints: bool = False) -> IndexedSet:
    """Index the tars that a folder or pattern names, and publish a manifest of them; `out`: in another folder.

    `with_prints`: each image is decoded and hashed as well, so that no overlap audit need do it again.

    An index that is there already, of a tar of the same size, is kept: a killed command goes on. Memory: the index of
    a tar in each process (about 1 kB a sample), and 8 bytes for each sample of all. Raises UserError for a folder with
    a manifest of something else or with a removal under way, and for tars that cannot be linked to.
    """
    shards = shards_of(pattern)[0]
    if out is not None:
        shards = [_link(shard, out) for shard in shards]
    folders = folders_of(shards)
    for folder in folders:
        _require_no_other_manifest(folder)
        require_no_removal(folder)
    with ExitStack() as held, closing(Pool(min(processes, len(shards)))) as pool:
        for folder in folders:
            held.enter_context(locked(folder, "wit shards command"))
        found = []
        with progress("index", len(shards), "tars") as advance:
            for each in pool.map_in_order(partial(index_tar, with_prints=with_prints), shards):
                found.append(each)
                advance(1)
        sound = [each.shard for each in found if not each.problem]
        has_tar_names = _repeat(sound)
        list(pool.map_in_order(partial(_rename_keys, has_tar_names), sound))
        for folder in folders:
            _renew_manifest(folder, {base_name(shard) for shard in sound if folders_of([shard]) == [folder]}, pool)
    return IndexedSet(tuple(found), has_tar_names)


def _link(shard: str, out: str) -> str:
    """Return the path of a link to a tar in another folder."""
    if is_remote(shard) or is_remote(out):
        raise InputError(f"{shard}: expected a local tar and folder, for a link in {out}; leave out --out, or copy it")
    make_folder(out)
    link, target = join(out, base_name(shard)), os.path.realpath(local_path(shard))
    if os.path.islink(link) and os.path.realpath(link) == target:
        return link
    try:
        os.symlink(target, link)
    except FileExistsError as error:
        raise OutputError(f"{link}: expected nothing here, found a file; index {shard} with another --out") from error
    except OSError as error:
        raise output_error(link, error) from error
    return link


def _require_no_other_manifest(folder: str) -> None:
    url = join(folder, MANIFEST)
    if exists(url) and not {"shards", "indexes"} <= set(manifest.read(url)):
        raise OutputError(f"{url}: expected none, or one of shards; index the tars with --out in another folder")


def _renew_manifest(folder: str, indexed: set[str], pool: Pool) -> None:
    """Publish the manifest of all shards of a folder that have an index; what it said of the others it says again."""
    known, more = read_manifest(folder) if exists(join(folder, MANIFEST)) else ({}, {})
    shards = {base_name(shard): shard for shard in list_shards(folder)}
    new = [name for name, shard in shards.items() if name in indexed or (name not in known and _has_index(shard))]
    described = known | dict(zip(new, pool.map_in_order(describe, [shards[name] for name in new]), strict=True))
    each = [described[name] for name in shards if name in described]
    if not known or any(one.of_shard.get("is_foreign") for one in each):
        more = {**more, "metadata": []}  # what the tars of others say is not known
    publish_manifest(folder, each, more)


def _has_index(shard: str) -> bool:
    try:
        read_any_index(shard)
    except (InputError, ContractError):
        return False
    return True


def index_tar(shard: str, *, with_prints: bool = False) -> Indexed:
    """Write the index of a tar, unless there is one for a tar of that size; return what became of it."""
    try:
        _require_no_index_of_ours(shard)
        known = _known(shard, with_prints)
        if known:
            return known
        with open_input(shard) as file:
            tar_url = shard if is_remote(shard) else os.path.realpath(local_path(shard))
            rows = ForeignRows(file, shard, tar_url, with_prints=with_prints)
            batches = list(_batches(iter(rows)))
    except InputError as error:
        return Indexed(shard, problem=str(error))
    table = pa.Table.from_batches(batches, FOREIGN_INDEX)
    _write(shard, table, _State(size(shard), rows.left_out, rows.unreadable, has_prints=int(with_prints)))
    return Indexed(shard, len(table), rows.left_out, rows.unreadable)


def _batches(rows: Iterator[Mapping[str, object]]) -> Iterator[pa.RecordBatch]:
    while some := list(islice(rows, _ROWS)):
        yield pa.RecordBatch.from_pylist(some, schema=FOREIGN_INDEX)


def _require_no_index_of_ours(shard: str) -> None:
    """Raise InputError when a tar has an index of ours: it needs no other."""
    if not exists(index_name(shard)):
        return
    try:
        as_index(read_parquet(index_name(shard)), SHARD_INDEX)
    except ContractError:
        return  # img2dataset's table
    raise InputError(f"{shard}: expected a tar without an index, found {base_name(index_name(shard))}")


def _write(shard: str, table: pa.Table, state: _State) -> None:
    metadata = {name: str(value) for name, value in state._asdict().items()}
    write_parquet(foreign_index_name(shard), table.replace_schema_metadata(metadata))


def _state(table: pa.Table) -> _State:
    """Return what `_write` said; what it did not say is as if nothing had been."""
    said = {name.decode(): value.decode() for name, value in (table.schema.metadata or {}).items()}
    return _State(**{name: int(said[name]) for name in _State._fields if said.get(name, "").isdigit()})


def _known(shard: str, with_prints: bool) -> Indexed | None:
    """Return what an earlier command found of a tar of the same size."""
    url = foreign_index_name(shard)
    if not exists(url):
        return None
    try:
        table = read_parquet(url)
        state = _state(table)
        as_index(table, FOREIGN_INDEX)
    except (InputError, ContractError):
        return None
    if state.tar_bytes != size(shard) or (with_prints and not state.has_prints):
        return None
    return Indexed(shard, len(table), state.left_out, state.unreadable)


def _repeat(shards: list[str]) -> bool:
    """Return whether a stem stands in more than one of the tars (or, once in 2^64 pairs of stems, seems to)."""
    hashes = [np.empty(0, np.uint64)]
    for shard in shards:
        table = read_parquet(foreign_index_name(shard))
        hashes.append(text_hashes(_stems(shard, table, has_tar_names=bool(_state(table).has_tar_names))))
    every = np.sort(np.concatenate(hashes))
    return bool((every[1:] == every[:-1]).any())


def _stems(shard: str, table: pa.Table, *, has_tar_names: bool) -> pa.ChunkedArray:
    """Return the keys of a tar alone, whose index has or has not its name before them."""
    skipped = len(base_name(shard).removesuffix(".tar")) + 1 if has_tar_names else 0
    return pc.utf8_slice_codeunits(table["key"], skipped)


def _rename_keys(has_tar_names: bool, shard: str) -> None:
    """Give the keys of a tar its name, or take it away."""
    table = read_parquet(foreign_index_name(shard))
    state = _state(table)
    if state.has_tar_names == has_tar_names:
        return
    keys = _stems(shard, table, has_tar_names=bool(state.has_tar_names)).combine_chunks()
    if has_tar_names:
        keys = pc.binary_join_element_wise(base_name(shard).removesuffix(".tar"), keys, "/")
    renamed = as_index(table.set_column(0, "key", keys), FOREIGN_INDEX)
    _write(shard, renamed, state._replace(has_tar_names=int(has_tar_names)))
