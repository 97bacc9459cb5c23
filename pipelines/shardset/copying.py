"""Shards out of shards: samples are copied as they stand in their tars, whole ranges of bytes at a time.

A plan says which samples a new shard has, and in which order. Only a sample of a foreign tar whose members do not bear
its key is written anew, its members named KEY.SUFFIX: else two samples of one stem would be one to any reader.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import IO, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from wit import tar
from wit.blobs import OpenFiles
from wit.errors import InputError
from wit.foreign import read_tar, split_name
from wit.schema import SHARD_INDEX
from wit.schema.samples import FOREIGN_INDEX
from wit.shards import (
    PARTS,
    Described,
    describe,
    foreign_index_name,
    index_name,
    is_foreign,
    read_any_index,
    shard_name,
)
from wit.storage import base_name, exists, join, publish, write_parquet

I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

COPY_BYTES = 4 << 20


@dataclass(frozen=True)
class Plan:
    """The samples of a new shard, in order: sample i is row `rows[i]` of the index of `sources[numbers[i]]`."""

    sources: tuple[str, ...]
    numbers: I32
    rows: I32

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True)
class NewShard:
    """A shard to be made in a folder."""

    folder: str
    number: int
    plan: Plan

    @property
    def url(self) -> str:
        """The URL of the tar."""
        return join(self.folder, shard_name(self.number))


class Extents(NamedTuple):
    """Where samples lie in a tar: from the headers of the first member to the end of the last, padding included."""

    start: I64
    stop: I64


def extents(index: pa.Table) -> Extents:
    """Return where the samples of an index (SHARD_INDEX or FOREIGN_INDEX) lie in its tar."""
    if is_foreign(index):
        start = index["sample_offset"].to_numpy()
        return Extents(start, start + index["sample_length"].to_numpy())
    offsets = [index[f"{part}_offset"].to_numpy() for part in PARTS]
    ends = [
        offset + -(-index[f"{part}_length"].to_numpy() // tar.BLOCK) * tar.BLOCK
        for part, offset in zip(PARTS, offsets, strict=True)
    ]
    return Extents(np.min(offsets, axis=0) - tar.BLOCK, np.max(ends, axis=0))


def read_checked_index(shard: str) -> pa.Table:
    """Return the index of a shard (SHARD_INDEX or FOREIGN_INDEX), from which its samples can be copied.

    Raises InputError when its samples overlap.
    """
    index = read_any_index(shard)
    start, stop = extents(index)
    if not ((start >= 0) & (stop > start)).all() or not (start[1:] >= stop[:-1]).all():
        raise InputError(f"{shard}: its index cannot be that of this tar; see wit shards verify")
    return index


def make_shard(new: NewShard) -> Described:
    """Make a shard and its index, unless both are there; return what a manifest says of them.

    Memory: the index rows of the new shard and the index of one source (about 1 kB a sample), and COPY_BYTES.
    """
    if not (exists(index_name(new.url)) or exists(foreign_index_name(new.url))):  # the index is published last
        with publish(new.url) as file:
            index = write_tar(file, base_name(new.url), new.plan)
        write_parquet(foreign_index_name(new.url) if is_foreign(index) else index_name(new.url), index)
    return describe(new.url)


def write_tar(file: IO[bytes], name: str, plan: Plan, *, rename: bool = True) -> pa.Table:
    """Write the tar of a plan; return its index, FOREIGN_INDEX when one of its samples is from a foreign tar.

    `rename` false: the names of members stay, whatever the keys.
    """
    index, has_foreign = _gather(plan)
    renamed = _renamed(index) if has_foreign and rename else np.zeros(len(index), np.bool_)
    placed = _Copier(file, plan, index, renamed).copy()
    file.write(tar.END)
    schema = FOREIGN_INDEX if has_foreign else SHARD_INDEX
    columns = {"shard": pa.array([name] * len(index), pa.string()), **placed}
    return pa.table([columns.get(field, index[field]) for field in schema.names], schema=schema)


def _gather(plan: Plan) -> tuple[pa.Table, bool]:
    """Return the rows of a plan as FOREIGN_INDEX, and whether any is of a foreign tar."""
    pieces, places, has_foreign = [FOREIGN_INDEX.empty_table()], [np.empty(0, np.int64)], False
    for number, source in enumerate(plan.sources):
        mine = np.flatnonzero(plan.numbers == number)
        index = read_checked_index(source)
        has_foreign |= is_foreign(index)
        start, stop = extents(index)
        index = index.select(SHARD_INDEX.names).append_column("sample_offset", pa.array(start))
        index = index.append_column("sample_length", pa.array(stop - start))
        pieces.append(index.take(pa.array(plan.rows[mine])).cast(FOREIGN_INDEX))
        places.append(mine)
    order = np.argsort(np.concatenate(places), kind="stable")
    return pa.concat_tables(pieces).take(pa.array(order)).combine_chunks(), has_foreign


def _renamed(index: pa.Table) -> Bools:
    stems = [split_name(member)[0] for member in index["image_member"].to_pylist()]
    changed: Bools = pc.not_equal(index["key"], pa.array(stems, pa.string())).to_numpy()
    return changed


class _Copier:
    """Copies the samples of a plan into a tar, and says where their members are now."""

    def __init__(self, file: IO[bytes], plan: Plan, index: pa.Table, renamed: Bools) -> None:
        self._file, self._plan, self._renamed = file, plan, renamed
        self._keys, self._names = index["key"], index["image_member"].to_pylist()
        self._start = index["sample_offset"].to_numpy()
        self._length = np.array(index["sample_length"].to_numpy())
        self._old = {part: index[f"{part}_offset"].to_numpy() for part in PARTS}
        self._moved: dict[int, dict[int, int]] = {}

    def copy(self) -> dict[str, pa.Array]:
        """Copy all; return the columns of FOREIGN_INDEX that differ from those of the sources."""
        with closing(OpenFiles()) as files:
            for first, last in self._runs():
                source = self._plan.sources[self._plan.numbers[first]]
                if self._renamed[first]:
                    self._rename(first, files.get(source), source)
                else:
                    stop = int(self._start[last] + self._length[last])
                    self._copy_range(files.get(source), source, int(self._start[first]), stop)
        return self._columns()

    def _runs(self) -> Iterator[tuple[int, int]]:
        """Yield first and last sample of what can be copied at once."""
        numbers, start, alone = self._plan.numbers, self._start, self._renamed
        follows = (numbers[1:] == numbers[:-1]) & (start[1:] == start[:-1] + self._length[:-1])
        follows &= ~alone[1:] & ~alone[:-1]
        firsts = np.flatnonzero(np.concatenate([[True], ~follows]))[: len(start)]
        lasts = np.append(firsts[1:], len(start)) - 1
        yield from zip(firsts.tolist(), lasts.tolist(), strict=False)  # no sample, no first

    def _copy_range(self, file: IO[bytes], url: str, start: int, stop: int) -> None:
        file.seek(start)
        for position in range(start, stop, COPY_BYTES):
            data = file.read(min(COPY_BYTES, stop - position))
            if len(data) < min(COPY_BYTES, stop - position):
                raise InputError(
                    f"{url}: expected {stop:,} bytes, found {position + len(data):,}; fetch or make it again"
                )
            self._file.write(data)

    def _rename(self, sample: int, file: IO[bytes], url: str) -> None:
        """Write the members of a sample under its key."""
        key, begin, moved = self._keys[sample].as_py(), self._file.tell(), {}
        for member in next(read_tar(file, url, int(self._start[sample]))).members:
            name = f"{key}.{split_name(member.name)[1]}"
            self._file.write(tar.long_header(name, member.length))
            moved[member.offset] = self._file.tell()
            self._copy_range(file, url, member.offset, member.stop)
            if member.offset == self._old["image"][sample]:
                self._names[sample] = name
        self._moved[sample] = moved
        self._length[sample] = self._file.tell() - begin

    def _columns(self) -> dict[str, pa.Array]:
        start = np.cumsum(self._length) - self._length
        placed = {}
        for part, old in self._old.items():
            new = np.where(old > 0, old - self._start + start, 0)  # 0: the tar has no such member
            for sample, moved in self._moved.items():
                new[sample] = moved.get(int(old[sample]), 0)
            placed[f"{part}_offset"] = pa.array(new)
        return placed | {
            "image_member": pa.array(self._names, pa.string()),
            "sample_offset": pa.array(start),
            "sample_length": pa.array(self._length),
        }
