"""Shards already on disk: WebDataset tars, whoever made them, and what img2dataset wrote.

A sample is the members of a tar, next to each other, that share a stem: their path up to the first dot of the file
name. Its caption is the text of the first that is there: the member .txt, the member .caption, a field of the member
.json; its image's URL is a field of the member .json, or stands in the table beside the tar, under the sample's key,
as img2dataset writes it. A sample without a URL is given `https://TAR.invalid/MEMBER`, a name that never resolves
(RFC 2606): its image is in the tar alone. Tars of one run therefore need different names.

A .parquet file of img2dataset, beside a tar, a folder of files, or with the images in it, is read as a table of the
samples that were fetched.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO, Any, ClassVar, NamedTuple
from urllib.parse import quote

import numpy as np
import pyarrow.compute as pc

from pipelines.sources.json_rows import parse_object
from pipelines.sources.links import unescape_attribute, valid_text
from pipelines.sources.parquet import parquet_columns, parquet_rows
from pipelines.sources.rows import NO_TEXTS, Choose, Columns
from pipelines.sources.source import MALFORMED_RECORD, UNREADABLE_ARCHIVE, Fault, Links, LinksBuilder, Slice
from wit import tar
from wit.errors import MAX_DETAIL_CHARACTERS, InputError, one_line
from wit.foreign import (
    CAPTION_FIELDS,
    IMAGE_SUFFIXES,
    MAX_TEXT_BYTES,
    TEXT_SUFFIXES,
    URL_FIELDS,
    first_text,
    last_suffix,
    split_name,
)
from wit.parquet import open_parquet
from wit.storage import base_name, exists, open_input
from wit.tar import unpacked

ATTRIBUTES = (*TEXT_SUFFIXES, *(f"json@{name}" for name in CAPTION_FIELDS))
MAX_TABLE_ROWS = 1_000_000
"""Of the table beside a tar, which is held in memory; img2dataset writes 10,000."""

_TARS = (".tar", ".tar.gz", ".tgz")
_NOT_IN_HOSTS = re.compile(r"[^a-z0-9.-]+")
_SUCCESS = "success"


@dataclass(frozen=True)
class Shards:
    """WebDataset tars, plain or .gz, and tables of img2dataset."""

    kind: ClassVar[str] = "shards"

    def slices(self, url: str) -> Iterator[Slice]:
        """One slice a file; raises InputError for another file, or a table that img2dataset did not write."""
        name = base_name(url).lower()
        if name.endswith(".parquet"):
            with open_parquet(url) as file:
                if parquet_columns(url, file.schema_arrow, _fetched(url)).extra is None:
                    raise InputError(f"{url}: expected text in column 'status'")
        elif not name.endswith(_TARS):
            raise InputError(f"{url}: expected a WebDataset tar (.tar, .tar.gz) or a .parquet of img2dataset")
        yield Slice(url)

    def findings(self, piece: Slice) -> Iterator[Links | Fault]:
        """Yield the pair of each sample. Its `offset` is where the header of its image is in the tar, as unpacked;
        or the number of its row in the table.

        A sample without a caption has a blank one. A tar that is broken costs what follows.
        """
        if base_name(piece.url).lower().endswith(".parquet"):
            yield from _table_links(piece.url)
            return
        with open_input(piece.url) as file:
            yield from _tar_links(file, piece.url)


def image_places(file: IO[bytes], url: str) -> Iterator[tuple[str, int]]:
    """Yield the URL of each sample of a tar that has an image, and where the header of that is in it, as unpacked.

    They are those of the pairs that `Shards` finds: what is a Fault there is left out here, and what follows where the
    tar is broken. Raises OSError when the file cannot be read.
    """
    finder = _Finder(url)
    try:
        for sample in _samples(file, url):
            found = finder.read(sample) if sample.image else None
            if isinstance(found, _Facts):
                yield found.url, sample.offset
    except (InputError, gzip.BadGzipFile, EOFError, zlib.error):
        return


def _tar_links(file: IO[bytes], url: str) -> Iterator[Links | Fault]:
    builder, finder = LinksBuilder(ATTRIBUTES), _Finder(url)
    broken: Fault | None = None
    try:
        for sample in _samples(file, url):
            fault = finder.add(sample, builder)
            if len(builder) and (fault or builder.is_full):
                yield builder.flush()
            if fault:
                yield fault
    except (InputError, OSError, EOFError, zlib.error) as error:
        broken = Fault(UNREADABLE_ARCHIVE, one_line(error, url.removesuffix(base_name(url))), None)
    if len(builder):
        yield builder.flush()
    if broken:
        yield broken


@dataclass
class _Sample:
    """The members of a sample that say anything about it."""

    stem: str
    offset: int
    image: str = ""
    texts: dict[str, bytes | None] = field(default_factory=dict)
    """Content by suffix: of TEXT_SUFFIXES, json; None: too long to be read."""
    suffixes: set[str] = field(default_factory=set)

    def fault(self, detail: str) -> Fault:
        """Return that something is wrong with the sample."""
        return Fault(MALFORMED_RECORD, valid_text(detail)[:MAX_DETAIL_CHARACTERS], self.offset)


def _samples(file: IO[bytes], url: str) -> Iterator[_Sample]:
    """Yield the samples of a tar; raises InputError, OSError, EOFError or zlib.error where it is broken."""
    sample: _Sample | None = None
    file = unpacked(file)
    if not file.read(1):
        return
    for member in tar.members(file, url):
        stem, suffix = split_name(member.name)[0], last_suffix(member.name)
        if not stem or stem.endswith("/"):  # "._a.jpg": attributes of a file that some systems keep beside it
            continue
        if sample is None or sample.stem != stem or suffix in sample.suffixes:
            if sample is not None:
                yield sample
            sample = _Sample(stem, member.offset - tar.BLOCK)
        _look(sample, suffix, member, file, url)
    if sample is not None:
        yield sample


def _look(sample: _Sample, suffix: str, member: tar.Member, file: IO[bytes], url: str) -> None:
    """Note what a member says about its sample."""
    if suffix in IMAGE_SUFFIXES:
        sample.suffixes.add(suffix)
        if not sample.image:
            sample.image, sample.offset = member.name, member.offset - tar.BLOCK
    elif suffix in TEXT_SUFFIXES or suffix == "json":
        sample.suffixes.add(suffix)
        sample.texts[suffix] = tar.read_member(file, member, url) if member.length <= MAX_TEXT_BYTES else None


class _Facts(NamedTuple):
    """What is known of a sample's image."""

    url: str
    fields: Mapping[str, Any]
    """Of its JSON member; none without one."""


class _Finder:
    """Makes links of the samples of a tar."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._table: Mapping[str, str] | None = None
        stem = base_name(url).lower().removesuffix(".gz").removesuffix(".tgz").removesuffix(".tar")
        self._host = _NOT_IN_HOSTS.sub("-", f"{stem}.tar").strip(".-")

    def add(self, sample: _Sample, builder: LinksBuilder) -> Fault | None:
        """Add the link of a sample, or return what is wrong with it."""
        found = self.read(sample)
        if not isinstance(found, _Facts):
            return found
        attribute, caption = _caption(sample, found.fields)
        page = first_text(found.fields, ("page_url",))[1]
        builder.page(page, page)
        builder.add(found.url, caption, sample.offset, attribute)
        return None

    def read(self, sample: _Sample) -> _Facts | Fault | None:
        """Return the URL of a sample and what its JSON says; a Fault when it is none, None when its image failed."""
        if None in sample.texts.values():
            return sample.fault(f"a text of more than {MAX_TEXT_BYTES} bytes")
        try:
            fields = parse_object(sample.texts["json"] or b"") if "json" in sample.texts else {}
        except (ValueError, TypeError) as error:
            return sample.fault(f"{sample.stem}.json: {error}")
        if fields.get("status", _SUCCESS) != _SUCCESS:
            return None
        url = first_text(fields, URL_FIELDS)[1] or self._lookup(sample)
        if not url and not sample.image:
            return sample.fault(f"{sample.stem}: neither an image nor a URL")
        return _Facts(url or f"https://{self._host}.invalid/{quote(sample.image)}", fields)

    def _lookup(self, sample: _Sample) -> str:
        """Return the URL that the table beside the tar has for a sample; nothing when there is none."""
        if self._table is None:
            self._table = urls_beside(self._url)
        return self._table.get(sample.stem.rpartition("/")[2], "")


def _caption(sample: _Sample, facts: Mapping[str, Any]) -> tuple[str, str]:
    """Return the attribute and the caption of a sample, its references decoded; a blank one where it has none."""
    for suffix in TEXT_SUFFIXES:
        if suffix in sample.texts:
            attribute, text = suffix, (sample.texts[suffix] or b"").decode("utf-8", "replace")
            break
    else:
        name, text = first_text(facts, CAPTION_FIELDS)
        attribute = f"json@{name}" if name else TEXT_SUFFIXES[0]
    is_decoded = "record_offset" in facts  # a shard that this project wrote
    return attribute, text if is_decoded else unescape_attribute(text)


def table_beside(url: str) -> str:
    """Return where img2dataset writes the table of a tar."""
    return re.sub(r"\.(tar|tar\.gz|tgz)$", ".parquet", url, flags=re.IGNORECASE)


def urls_beside(url: str) -> dict[str, str]:
    """Return the URLs by key that the table beside a tar has; raises InputError when it cannot be read."""
    table = table_beside(url)
    found: dict[str, str] = {}
    if not exists(table):
        return found
    with open_parquet(table) as file:
        names, num_rows = file.schema_arrow.names, file.metadata.num_rows
    if "key" not in names or "url" not in names:
        return found
    if num_rows > MAX_TABLE_ROWS:
        raise InputError(f"{table}: expected the table of one shard, found {num_rows} rows")
    for rows in parquet_rows(table, lambda _: Columns("key", "url")):
        if isinstance(rows, Fault):
            raise InputError(f"{table}: {rows.detail}")
        found.update(zip(rows.texts[0].to_pylist(), rows.texts[1].to_pylist(), strict=True))
    return found


def _fetched(url: str) -> Choose:
    def choose(names: Any) -> Columns:
        if not {"url", "caption", "status"} <= set(names):
            raise InputError(
                f"{url}: expected a table of img2dataset, with url, caption and status; name other tables under "
                "extract.tables"
            )
        return Columns("url", "caption", "status")

    return choose


def _table_links(url: str) -> Iterator[Links | Fault]:
    """Yield the pairs of a table of img2dataset whose image was fetched."""
    for rows in parquet_rows(url, _fetched(url)):
        if isinstance(rows, Fault):
            yield rows
            continue
        kept = pc.equal(rows.texts[2], _SUCCESS)
        numbers = rows.numbers[kept.to_numpy(zero_copy_only=False)]
        none = np.full(len(numbers), -1, np.int32)
        yield Links(
            url=rows.texts[0].filter(kept),
            text=rows.texts[1].filter(kept),
            page=none,
            offset=numbers,
            attribute=np.zeros(len(numbers), np.int32),
            page_url=NO_TEXTS,
            base=NO_TEXTS,
            attributes=(rows.columns.caption,),
            text_has_references=True,
        )
        yield from rows.faults
