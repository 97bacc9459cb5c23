"""Where the bodies of the pairs lie: archives are indexed once, their answers joined with the URLs that are sought.

A URL is answered by a body, else by the original of a revisit, found by its digest in whichever archive, else by what
a redirect leads to, followed through the archives; of several by the first in the order of archives' names and of
offsets. Every join is cut by a hash of what it joins on, computed in map stages on both sides, and each table is sorted
by the hash that its reader cuts by, so that a bucket reads its own rows and not all bodies. In the end the pairs are
cut by archive, so that a part of the fetch reads an archive from its start to its end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from pipelines import sql
from pipelines.fetching.archive_index import MAX_REDIRECTS, PACKED_TARS, Held, archive_files, index
from pipelines.sources.copies import brought_here
from wit.hosts import text_buckets
from wit.schema import BODIES, INPUTS, LOCATED, ORIGINALS, REVISITED, REVISITS, SOUGHT, TRAILS
from wit.stage import KEPT, Output, Part, SqlStage, Step, View

_CHUNK_ROWS = 200_000  # sorted at once, so that a bucket's rows lie together
_CHUNK_BYTES = 96 << 20
_PIECE_BYTES = 256 << 20
"""Of an archive that one part of the fetch reads: some 5,000 images."""
_NAME = "fetch"


@dataclass(frozen=True)
class ListArchives:
    """Plans one part of work for each archive."""

    archives: tuple[str, ...]

    name: ClassVar[str] = "fetch_archives"
    writes: ClassVar[pa.Schema] = INPUTS

    def __call__(self, root: str) -> Iterator[pa.Table]:
        """Yield each archive; raises InputError for one that is missing, or is none."""
        for kind, url in archive_files(self.archives):
            yield pa.Table.from_pylist([{"kind": kind, "url": url, "start": 0, "stop": None}], schema=INPUTS)


@dataclass(frozen=True)
class IndexArchives:
    """Writes where archives hold bodies and redirects, and which bodies revisits mean."""

    num_buckets: int

    name: ClassVar[str] = "fetch_bodies"
    reads: ClassVar[pa.Schema] = INPUTS
    writes: ClassVar[Mapping[str, pa.Schema]] = {KEPT: BODIES, "originals": ORIGINALS, "revisits": REVISITS}

    def __call__(self, batches: Iterator[pa.RecordBatch], part: Part) -> Iterator[Output]:
        """Yield all three tables, sorted in chunks by the bucket that they are joined by, otherwise in file order."""
        for kind, url in ((row["kind"], row["url"]) for batch in batches for row in batch.to_pylist()):
            with brought_here(kind, url, part.root) as path:
                for chunk in _held_chunks(index(kind, path)):
                    yield from self._tables(chunk, url, part.index)

    def _tables(self, chunk: Sequence[Held], archive: str, number: int) -> Iterator[Output]:
        bodies = [held for held in chunk if not held.is_revisit]
        for name, rows in (
            (KEPT, bodies),
            ("originals", [held for held in bodies if held.digest]),
            ("revisits", [held for held in chunk if held.is_revisit]),
        ):
            yield name, self._table(name, rows, archive, number)

    def _table(self, name: str, rows: Sequence[Held], archive: str, number: int) -> pa.RecordBatch:
        schema = self.writes[name]
        columns: dict[str, Any] = {
            "url": pa.array([held.url for held in rows], pa.string()),
            "digest": pa.array([held.digest for held in rows], pa.string()),
            "target": pa.array([held.target for held in rows], pa.string()),
            "archive": pa.repeat(archive, len(rows)),
            "record_offset": pa.array([held.offset for held in rows], pa.int64()),
        }
        for text in ("url", "digest", "target"):
            columns[f"{text}_bucket"] = pa.array(text_buckets(columns[text], self.num_buckets))
        columns["place"] = self._places(columns["record_offset"], archive, number)
        batch = pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema=schema)
        return _sorted(batch, "url_bucket" if name == KEPT else "digest_bucket")

    def _places(self, offsets: pa.Array, archive: str, number: int) -> pa.Array:
        """Return the part of the fetch that reads each record: pieces of archives take turns."""
        pieces = offsets.to_numpy() // _PIECE_BYTES
        if archive.lower().endswith(PACKED_TARS):  # can be read from the start only
            pieces[:] = 0
        return pa.array(((number + pieces) % self.num_buckets).astype(np.int32))


@dataclass(frozen=True)
class SeekUrls:
    """Says in which bucket each pair's URL is looked up."""

    num_buckets: int

    name: ClassVar[str] = "fetch_sought"
    reads: ClassVar[pa.Schema] = pa.schema([SOUGHT.field(name) for name in ("key", "bucket", "rank", "url")])
    writes: ClassVar[Mapping[str, pa.Schema]] = {KEPT: SOUGHT}

    def __call__(self, batches: Iterator[pa.RecordBatch], part: Part) -> Iterator[Output]:
        """Yield SOUGHT, sorted in chunks by the URL's bucket."""
        for rows in _pair_chunks(batches):
            columns = [rows[name] for name in self.reads.names]
            buckets = pa.array(text_buckets(rows["url"], self.num_buckets))
            yield KEPT, _sorted(pa.RecordBatch.from_arrays([*columns, buckets], schema=SOUGHT), "url_bucket")


def _held_chunks(found: Iterable[Held]) -> Iterator[list[Held]]:
    chunk: list[Held] = []
    num_bytes = 0
    for held in found:
        chunk.append(held)
        num_bytes += len(held.url) + len(held.target)
        if len(chunk) >= _CHUNK_ROWS or num_bytes >= _CHUNK_BYTES:
            yield chunk
            chunk, num_bytes = [], 0
    if chunk:
        yield chunk


def _pair_chunks(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    chunk: list[pa.RecordBatch] = []
    num_rows = num_bytes = 0
    for batch in batches:
        chunk.append(batch)
        num_rows, num_bytes = num_rows + batch.num_rows, num_bytes + batch.nbytes
        if num_rows >= _CHUNK_ROWS or num_bytes >= _CHUNK_BYTES:
            yield pa.concat_batches(chunk)
            chunk, num_rows, num_bytes = [], 0, 0
    if chunk:
        yield pa.concat_batches(chunk)


def _sorted(batch: pa.RecordBatch, column: str) -> pa.RecordBatch:
    """Return a batch sorted by a column of integers, equal ones in their order."""
    return batch.take(pa.array(np.argsort(batch[column].to_numpy(), kind="stable")))


def locate_steps(archives: tuple[str, ...], source: str, num_buckets: int, max_redirects: int) -> tuple[Step, ...]:
    """Return the steps from a table of pairs with their URLs (`source`) to fetch/located, LOCATED by place."""
    hops = min(max_redirects, MAX_REDIRECTS)
    return (
        Step(ListArchives(archives), {}, "fetch/archives"),
        Step(IndexArchives(num_buckets), {"archives": "fetch/archives"}, "fetch/bodies"),
        *_answer_steps(),
        Step(SeekUrls(num_buckets), {"pairs": source}, "fetch/sought"),
        *_trail_steps(hops),
        _found_step(hops),
        Step(
            _stage("located", {"found": View(LOCATED, "place")}, LOCATED, "place", "key"),
            {"found": "fetch/found"},
            "fetch/located",
        ),
    )


def _stage(name: str, reads: Mapping[str, View], writes: pa.Schema, bucket: str, *sort_by: str) -> SqlStage:
    return SqlStage(
        name=_NAME, sql=sql.read(f"fetch_{name}"), reads=reads, writes=writes, bucket=bucket, sort_by=sort_by
    )


def _answer_steps() -> tuple[Step, Step]:
    """Return the steps that resolve revisits by digest, then choose one answer a URL."""
    originals, revisits = View(ORIGINALS, "digest_bucket"), View(REVISITS, "digest_bucket")
    reads = {"originals": originals, "revisits": revisits}
    revisited = _stage("revisited", reads, REVISITED, "digest_bucket", "url_bucket", "url")
    reads = {"bodies": View(BODIES, "url_bucket"), "revisited": View(REVISITED, "url_bucket")}
    return (
        Step(revisited, {name: f"fetch/bodies/{name}" for name in ("originals", "revisits")}, "fetch/revisited"),
        Step(
            _stage("answers", reads, BODIES, "url_bucket", "url"),
            {"bodies": "fetch/bodies/kept", "revisited": "fetch/revisited"},
            "fetch/answers",
        ),
    )


def _trail_steps(hops: int) -> Iterator[Step]:
    """Yield the steps that follow redirects: each looks up where the one before has led to."""
    answers = View(BODIES, "url_bucket")
    for hop in range(hops + 1):
        order = "url_bucket" if hop == hops else "reached_bucket"  # what the next step cuts by
        if hop:
            reads = {"trails": View(TRAILS, "reached_bucket"), "answers": answers}
            sources = {"trails": f"fetch/trails-{hop - 1}", "answers": "fetch/answers"}
        else:
            reads = {"sought": View(SOUGHT, "url_bucket"), "answers": answers}
            sources = {"sought": "fetch/sought/kept", "answers": "fetch/answers"}
        stage = _stage("followed" if hop else "redirected", reads, TRAILS, "part", order, "url")
        yield Step(stage, sources, f"fetch/trails-{hop}")


def _found_step(hops: int) -> Step:
    reads = {
        "sought": View(SOUGHT, "url_bucket"),
        "answers": View(BODIES, "url_bucket"),
        "trails": View(TRAILS, "url_bucket"),
    }
    sources = {"sought": "fetch/sought/kept", "answers": "fetch/answers", "trails": f"fetch/trails-{hops}"}
    return Step(_stage("found", reads, LOCATED, "url_bucket", "place", "key"), sources, "fetch/found")
