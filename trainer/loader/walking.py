"""The samples of a tar without an index, found by its headers: what training needs to know of them, kept as a table."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from trainer.loader.cache import Part, RangeCache
from trainer.loader.index import ShardFacts
from trainer.loader.remote import Fetcher
from wit import tar
from wit.errors import InputError
from wit.foreign import MAX_TEXT_BYTES, TEXT_SUFFIXES, ForeignSample, read_tar
from wit.schema import FOREIGN_INDEX
from wit.storage import base_name, is_remote, join, open_input, size, write_parquet

PART_BYTES = 1 << 25  # of a remote tar that is read from its beginning to its end

_BLANK = {
    "text_offset": 0, "text_length": 0, "json_offset": 0, "json_length": 0, "sha256": "", "width": 0, "height": 0,
    "caption": "", "url": "", "page_url": None, "attribute": "", "query_ids": [], "record_offset": 0,
}  # fmt: skip


@dataclass(frozen=True)
class Walked:
    """A tar whose samples are known."""

    facts: ShardFacts
    num_bytes: int
    problem: str
    """Why what follows the samples cannot be read; empty: it is whole."""
    left_out: int
    """Samples without an image that is used (see `wit.foreign.ForeignSample.indexed_image`)."""


@dataclass(frozen=True)
class Walker:
    """Walks tars; tables of their samples are published in a folder, remote tars read through a cache."""

    folder: str
    cache: RangeCache | None
    fetcher: Fetcher

    def walk(self, shard: str) -> Walked:
        """Return what a tar holds: as the folder says, or else after a walk along its headers.

        The samples before a place where the tar is broken count. Raises InputError when it cannot be read at all.
        """
        num_bytes = size(shard)
        name = hashlib.sha256(shard.encode()).hexdigest()[:16]
        url = join(self.folder, f"{base_name(shard).removesuffix('.tar')}-{name}.parquet")
        if not os.path.exists(url) or _said(url, "tar_bytes") != str(num_bytes):
            self._make(shard, num_bytes, url)
        table = pq.read_metadata(url)
        facts = ShardFacts(shard, url, table.num_rows, "")
        return Walked(facts, num_bytes, _said(url, "problem"), int(_said(url, "left_out")))

    def _make(self, shard: str, num_bytes: int, url: str) -> None:
        rows, problem, left_out = list[dict[str, Any]](), "", 0
        with self.opened(shard, num_bytes) as file:
            try:
                for sample in read_tar(file, shard):
                    image = sample.indexed_image()
                    if image:
                        rows.append(_row(sample, image, base_name(shard)))
                    else:
                        left_out += 1
            except _NotFetched as error:
                raise InputError(str(error)) from error
            except InputError as error:
                problem = str(error)
        said = {"tar_bytes": num_bytes, "problem": problem, "left_out": left_out}
        table = pa.Table.from_pylist(rows, schema=FOREIGN_INDEX)
        metadata = {key: str(value) for key, value in said.items()}
        write_parquet(url, table.replace_schema_metadata(metadata))

    def read(self, part: Part, offset: int, length: int) -> bytes:
        """Return bytes of a remote tar by way of a part of it."""
        fill = partial(self.fetcher.copy, part.url, part.start, part.stop)
        descriptor = self.cache.get(part, fill) if self.cache else None
        if descriptor is None:
            return self.fetcher.read(part.url, offset, length)
        try:
            return os.pread(descriptor, length, offset - part.start)
        finally:
            os.close(descriptor)

    def opened(self, shard: str, num_bytes: int) -> IO[bytes]:
        """Open a tar for reading here and there."""
        if not is_remote(shard):
            return open_input(shard)
        return io.BufferedReader(_RemoteFile(self, shard, num_bytes), 512)


def grid(shard: str, num_bytes: int, start: int, stop: int) -> Iterator[Part]:
    """Yield the parts of a remote tar that hold bytes `start` to `stop`."""
    for at in range(start // PART_BYTES * PART_BYTES, stop, PART_BYTES):
        yield Part(shard, at, min(at + PART_BYTES, num_bytes), str(num_bytes))


class _NotFetched(OSError):
    """Bytes of a remote tar could not be had: nothing is known of the tar."""


class _RemoteFile(io.RawIOBase):
    """A remote tar as a file that is read from parts in the cache."""

    def __init__(self, walker: Walker, shard: str, num_bytes: int) -> None:
        self._walker, self._shard, self._num_bytes, self._position = walker, shard, num_bytes, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._num_bytes}[whence]
        self._position = start + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        stop = min(self._position + len(buffer), self._num_bytes)
        if stop <= self._position:
            return 0
        part = next(grid(self._shard, self._num_bytes, self._position, stop))
        stop = min(stop, part.stop)
        try:
            data = self._walker.read(part, self._position, stop - self._position)
        except InputError as error:
            raise _NotFetched(str(error)) from error
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)


def _row(sample: ForeignSample, image: tar.Member, shard: str) -> dict[str, Any]:
    """Return the row of a sample; what its header does not tell is blank."""
    json = sample.find("json")
    texts = [sample.find(suffix) for suffix in TEXT_SUFFIXES]
    text = next((each for each in (*texts, json) if each and each.length <= MAX_TEXT_BYTES), None)
    row = _BLANK | {
        "key": sample.stem,
        "shard": shard,
        "image_member": image.name,
        "image_offset": image.offset,
        "image_length": image.length,
        "archive": shard,
        "sample_offset": sample.start,
        "sample_length": sample.stop - sample.start,
    }
    for part, member in (("text", text), ("json", json)):
        row |= {f"{part}_offset": member.offset, f"{part}_length": member.length} if member else {}
    return row


def _said(url: str, name: str) -> str:
    """Return what a table says of the walk it was made by; empty when it does not."""
    try:
        metadata = pq.read_schema(url).metadata or {}
    except (pa.ArrowInvalid, OSError):
        return ""
    return str(metadata.get(name.encode(), b"").decode())
