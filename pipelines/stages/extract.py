"""extract: every image link with a text beside it, from web archives and tables; equal pairs are merged and counted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby, islice
from typing import ClassVar, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipelines import sql
from pipelines.sources.copies import brought_here
from pipelines.sources.occurrences import Settings, fault_rows, occurrences
from pipelines.sources.paths import COMMON_CRAWL, expand_paths, known_by
from pipelines.sources.shards import Shards
from pipelines.sources.source import MALFORMED_RECORD, UNREADABLE_ARCHIVE, Fault, Links, Slice, Source
from pipelines.sources.tables import PRESETS, Tables
from pipelines.sources.warc import Warc
from pipelines.sources.wat import Wat
from pipelines.stages.verb import RunSettings
from wit.errors import InputError
from wit.keys import key_words
from wit.schema import CANDIDATES, INPUTS, PAIRS
from wit.schema import REJECTS as REJECTED
from wit.stage import KEPT, REJECTS, Output, Part, SqlStage, Step, View
from wit.storage import base_name, is_remote

_MANY_FAULTS = 2_000  # one at a time costs 0.8 ms, many together 9 us each
CHUNK_ROWS = 200_000
CHUNK_BYTES = 96 << 20  # sorting takes about three times this


def _sources(preset: str, url_column: str, caption_column: str) -> dict[str, Source]:
    found: tuple[Source, ...] = (Wat(), Warc(), Tables(preset, url_column, caption_column), Shards())
    return {source.kind: source for source in found}


@dataclass(frozen=True)
class ListInputs:
    """Lists the input files, tables cut into slices: one part for each."""

    name: ClassVar[str] = "extract"
    writes: ClassVar[pa.Schema] = INPUTS

    patterns: tuple[tuple[str, str], ...]
    """(kind of source, pattern)."""
    paths_prefix: str = COMMON_CRAWL
    table_preset: str = "auto"
    url_column: str = ""
    caption_column: str = ""

    def __call__(self, root: str) -> Iterator[pa.Table]:
        """Yield one row a slice, in the order of the patterns; raises InputError when there is nothing to read."""
        sources = _sources(self.table_preset, self.url_column, self.caption_column)
        if not self.patterns:
            raise InputError("no input: set extract.wat, extract.warc, extract.tables or extract.shards")
        for kind, pattern in self.patterns:
            for url in expand_paths(pattern, self.paths_prefix):
                # A remote file is copied by the task that reads it, so it is one task, and is not looked at before.
                for piece in [Slice(url)] if is_remote(url) else sources[kind].slices(url):
                    yield pa.Table.from_pylist([{"kind": kind, **piece._asdict()}], schema=INPUTS)


@dataclass(frozen=True)
class FindPairs:
    """Finds the occurrences of (image URL, caption) in each input; equal ones that lie near each other become one row.

    Rows are sorted by key in chunks of bounded size, so that a bucket's rows lie together and the rest of a part need
    not be read for them.
    """

    name: ClassVar[str] = "extract"
    reads: ClassVar[pa.Schema] = INPUTS
    writes: ClassVar[Mapping[str, pa.Schema]] = {KEPT: CANDIDATES, REJECTS: REJECTED}

    num_buckets: int
    salt: str
    table_preset: str = "auto"
    url_column: str = ""
    caption_column: str = ""

    def __call__(self, batches: Iterator[pa.RecordBatch], part: Part) -> Iterator[Output]:
        """Yield candidates, sorted by key in each batch, and rejects in file order."""
        sources = _sources(self.table_preset, self.url_column, self.caption_column)
        settings = Settings(self.num_buckets, self.salt, self.name)
        for each in (row for batch in batches for row in batch.to_pylist()):
            with brought_here(each["kind"], each["url"], part.root) as path:
                findings = sources[each["kind"]].findings(Slice(path, each["start"], each["stop"]))
                yield from _tables(findings, base_name(each["url"]), settings)


def _tables(findings: Iterable[Links | Fault], archive: str, settings: Settings) -> Iterator[Output]:
    """Yield the tables of one archive's findings."""
    chunk: list[pa.RecordBatch] = []
    num_rows = num_bytes = 0
    for are_faults, group in groupby(findings, lambda finding: isinstance(finding, Fault)):
        if are_faults:
            for some in _some(cast(Iterator[Fault], group)):
                yield REJECTS, fault_rows(some, archive, settings)
            continue
        for links in cast(Iterator[Links], group):
            found, rejected = occurrences(links, archive, settings)
            yield REJECTS, rejected
            chunk.append(found)
            num_rows, num_bytes = num_rows + found.num_rows, num_bytes + found.nbytes
            if num_rows >= CHUNK_ROWS or num_bytes >= CHUNK_BYTES:
                yield KEPT, merge_equal(chunk)
                chunk, num_rows, num_bytes = [], 0, 0
    if chunk:
        yield KEPT, merge_equal(chunk)


def _some(faults: Iterator[Fault]) -> Iterator[list[Fault]]:
    while some := list(islice(faults, _MANY_FAULTS)):
        yield some


def merge_equal(chunk: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    """Return CANDIDATES of one archive sorted by key, equal keys as one row: the first by (offset, attribute)."""
    rows = pa.Table.from_batches(chunk, CANDIDATES).combine_chunks()
    words = key_words(rows.column("key").combine_chunks())
    offsets = rows.column("offset").to_numpy()
    order = np.lexsort((_ranks(rows.column("attribute")), offsets, words[:, 1], words[:, 0]))
    words = words[order]
    is_first = np.ones(len(words), np.bool_)
    is_first[1:] = (words[1:] != words[:-1]).any(axis=1)
    starts = np.flatnonzero(is_first)
    counts = rows.column("num_occurrences").to_numpy()[order]
    merged = rows.take(pa.array(order[starts])).combine_chunks()
    sums = pa.array(np.add.reduceat(counts, starts) if len(starts) else counts)
    columns = [column.combine_chunks() for column in merged.drop_columns("num_occurrences").columns]
    return pa.RecordBatch.from_arrays([*columns, sums], schema=CANDIDATES)


def _ranks(names: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """Return the place of each name in alphabetical order."""
    encoded = names.combine_chunks().dictionary_encode()
    places: npt.NDArray[np.int64] = np.argsort(np.argsort(encoded.dictionary.to_pylist()))
    ranks: npt.NDArray[np.int64] = places[encoded.indices.to_numpy()]
    return ranks


MERGE = SqlStage(
    name="extract",
    sql=sql.read("extract_pairs"),
    reads={"candidates": View(CANDIDATES, "bucket")},
    writes=PAIRS,
    bucket="bucket",
    sort_by=("key",),
)
"""Merges the occurrences of a pair into its first by archive, offset, attribute, and counts them."""


@dataclass(frozen=True)
class Extract:
    """Where candidates come from: files, URLs, brace and glob patterns."""

    wat: tuple[str, ...] = field(
        default=(),
        metadata={"help": "WAT files, links as Common Crawl extracted them; or lists of them (wat.paths.gz)"},
    )
    warc: tuple[str, ...] = field(
        default=(), metadata={"help": "WARC and ARC files, whose pages are parsed; or lists of them (warc.paths.gz)"}
    )
    tables: tuple[str, ...] = field(
        default=(),
        metadata={
            "help": "tables of URLs and captions: .parquet, .csv, .tsv, .txt, .jsonl, .json; also .gz, .zst, .bz2"
        },
    )
    shards: tuple[str, ...] = field(
        default=(), metadata={"help": "WebDataset tars with images and captions, those of img2dataset too"}
    )
    paths_prefix: str = field(
        default=COMMON_CRAWL, metadata={"help": "what comes before the relative paths of a list of archives"}
    )
    table_preset: str = field(
        default="auto", metadata={"choices": tuple(PRESETS), "help": "whose column names the tables have"}
    )
    url_column: str = field(
        default="", metadata={"help": "column of image URLs; empty: the preset's, or found by name"}
    )
    caption_column: str = field(
        default="", metadata={"help": "column of captions; empty: the preset's, or found by name"}
    )

    name: ClassVar[str] = "extract"
    reasons: ClassVar[dict[str, str]] = {
        "empty_caption": "the image has a text attribute, and it is blank",
        "bad_url": "the image's address is no http(s) URL with a host, or longer than 8,192 characters",
        "huge_caption": "a text of more than 65,536 bytes",
        MALFORMED_RECORD: "a record that cannot be parsed",
        UNREADABLE_ARCHIVE: "an archive that breaks off or is none: the rest of it is lost",
    }

    def steps(self, run: RunSettings) -> tuple[Step, ...]:
        """List the inputs, find the pairs in each, merge equal pairs."""
        columns = (self.table_preset, self.url_column, self.caption_column)
        listing = ListInputs(self._patterns(), self.paths_prefix, *columns)
        return (
            Step(listing, {}, "extract/inputs"),
            Step(FindPairs(run.num_buckets, run.salt, *columns), {"inputs": "extract/inputs"}, "extract/found"),
            Step(MERGE, {"candidates": "extract/found/kept"}, "extract/pairs"),
        )

    def inputs(self) -> tuple[str, ...]:
        """Return the files that the patterns name; raises InputError when one names nothing, or a folder."""
        return tuple(url for _, pattern in self._patterns() for url in known_by(pattern, self.paths_prefix))

    def _patterns(self) -> tuple[tuple[str, str], ...]:
        by_kind = {"wat": self.wat, "warc": self.warc, "table": self.tables, "shards": self.shards}
        return tuple((kind, pattern) for kind, patterns in by_kind.items() for pattern in patterns)
