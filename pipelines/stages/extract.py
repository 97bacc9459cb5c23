"""extract: every image link with a text beside it, from web archives and tables; equal pairs are merged and counted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pyarrow as pa

from pipelines import sql
from pipelines.sources.links import fold_space, resolve, valid_text, why_not_fetchable
from pipelines.sources.source import MALFORMED_RECORD, UNREADABLE_ARCHIVE, Fault, Link, Slice, Source
from pipelines.sources.tables import PRESETS, Tables
from pipelines.sources.warc import Warc
from pipelines.sources.wat import Wat
from pipelines.stages.verb import RunSettings
from wit.errors import InputError
from wit.keys import key_bucket, sample_key, uniform_rank
from wit.schema import CANDIDATES, INPUTS, PAIRS
from wit.schema import REJECTS as REJECTED
from wit.stage import KEPT, REJECTS, Output, Part, SqlStage, Step, View
from wit.storage import base_name, expand_files

BATCH_ROWS = 10_000
_SHOWN_CHARACTERS = 2_000  # of a rejected URL or caption: a data: URL may be megabytes


def _sources(preset: str, url_column: str, caption_column: str) -> dict[str, Source]:
    found: tuple[Source, ...] = (Wat(), Warc(), Tables(preset, url_column, caption_column))
    return {source.kind: source for source in found}


@dataclass(frozen=True)
class ListInputs:
    """Lists the input files, tables cut into slices: one part for each."""

    name: ClassVar[str] = "extract"
    writes: ClassVar[pa.Schema] = INPUTS

    patterns: tuple[tuple[str, str], ...]
    """(kind of source, pattern)."""
    table_preset: str = "auto"
    url_column: str = ""
    caption_column: str = ""

    def __call__(self, root: str) -> Iterator[pa.Table]:
        """Yield one row a slice, in the order of the patterns; raises InputError when there is nothing to read."""
        sources = _sources(self.table_preset, self.url_column, self.caption_column)
        if not self.patterns:
            raise InputError("no input: set extract.wat, extract.warc or extract.tables")
        for kind, pattern in self.patterns:
            for url in expand_files(pattern):
                for piece in sources[kind].slices(url):
                    yield pa.Table.from_pylist([{"kind": kind, **piece._asdict()}], schema=INPUTS)


@dataclass(frozen=True)
class FindPairs:
    """Finds the occurrences of (image URL, caption) in each input."""

    name: ClassVar[str] = "extract"
    reads: ClassVar[pa.Schema] = INPUTS
    writes: ClassVar[Mapping[str, pa.Schema]] = {KEPT: CANDIDATES, REJECTS: REJECTED}

    num_buckets: int
    salt: str
    table_preset: str = "auto"
    url_column: str = ""
    caption_column: str = ""

    def __call__(self, batches: Iterator[pa.RecordBatch], part: Part) -> Iterator[Output]:
        """Yield candidates and rejects as they are found, in file order."""
        sources = _sources(self.table_preset, self.url_column, self.caption_column)
        rows: dict[str, list[dict[str, Any]]] = {KEPT: [], REJECTS: []}
        for each in (row for batch in batches for row in batch.to_pylist()):
            archive = base_name(each["url"])
            for finding in sources[each["kind"]].findings(Slice(each["url"], each["start"], each["stop"])):
                table, row = (
                    self._fault(finding, archive) if isinstance(finding, Fault) else self._link(finding, archive)
                )
                rows[table].append(row)
                if len(rows[table]) == BATCH_ROWS:
                    yield self._batch(table, rows)
        for table in (REJECTS, KEPT):
            if rows[table]:
                yield self._batch(table, rows)

    def _batch(self, table: str, rows: dict[str, list[dict[str, Any]]]) -> Output:
        batch = pa.RecordBatch.from_pylist(rows[table], schema=self.writes[table])
        rows[table].clear()
        return table, batch

    def _link(self, link: Link, archive: str) -> tuple[str, dict[str, Any]]:
        caption = valid_text(fold_space(link.text))
        url = valid_text(resolve(link.url, link.base))
        wrong = why_not_fetchable(url)
        if not caption or wrong:
            detail = wrong if caption else link.attribute
            return REJECTS, self._reject(url, caption, "bad_url" if caption else "empty_caption", detail)
        key = sample_key(url, caption)
        return KEPT, {
            "key": key,
            "bucket": key_bucket(key, self.num_buckets),
            "rank": uniform_rank(self.salt, key),
            "url": url,
            "caption": caption,
            "page_url": valid_text(link.page_url) if link.page_url else None,
            "archive": archive,
            "offset": link.offset,
            "attribute": link.attribute,
        }

    def _fault(self, fault: Fault, archive: str) -> tuple[str, dict[str, Any]]:
        """Return the reject of a record, named ARCHIVE#OFFSET, or of the rest of an archive, named ARCHIVE."""
        where = archive if fault.offset is None else f"{archive}#{fault.offset}"
        return REJECTS, self._reject(where, "", fault.reason, valid_text(fault.detail))

    def _reject(self, url: str, caption: str, reason: str, detail: str | None) -> dict[str, Any]:
        key = sample_key(url, caption)
        return {
            "key": key,
            "bucket": key_bucket(key, self.num_buckets),
            "stage": self.name,
            "reason": reason,
            "detail": detail,
            "url": url[:_SHOWN_CHARACTERS],
            "caption": caption[:_SHOWN_CHARACTERS],
        }


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

    wat: tuple[str, ...] = field(default=(), metadata={"help": "WAT files: links as Common Crawl extracted them"})
    warc: tuple[str, ...] = field(default=(), metadata={"help": "WARC files, whose pages are parsed"})
    tables: tuple[str, ...] = field(
        default=(), metadata={"help": "tables of URLs and captions: Parquet, CSV, TSV, JSON lines"}
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
        "bad_url": "the image's address is no http(s) URL with a host",
        MALFORMED_RECORD: "a record that cannot be parsed",
        UNREADABLE_ARCHIVE: "an archive that breaks off or is none: the rest of it is lost",
    }

    def steps(self, run: RunSettings) -> tuple[Step, ...]:
        """List the inputs, find the pairs in each, merge equal pairs."""
        columns = (self.table_preset, self.url_column, self.caption_column)
        return (
            Step(ListInputs(self._patterns(), *columns), {}, "extract/inputs"),
            Step(FindPairs(run.num_buckets, run.salt, *columns), {"inputs": "extract/inputs"}, "extract/found"),
            Step(MERGE, {"candidates": "extract/found/kept"}, "extract/pairs"),
        )

    def inputs(self) -> tuple[str, ...]:
        """Return the files that the patterns name; raises InputError when one names nothing, or a folder."""
        return tuple(url for _, pattern in self._patterns() for url in expand_files(pattern))

    def _patterns(self) -> tuple[tuple[str, str], ...]:
        by_kind = {"wat": self.wat, "warc": self.warc, "table": self.tables}
        return tuple((kind, pattern) for kind, patterns in by_kind.items() for pattern in patterns)
