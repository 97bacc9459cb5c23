"""One small truth in every format that a source reads. A new format is one more instance of `Format`."""

from __future__ import annotations

import bz2
import csv
import gzip
import html
import io
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.sources.shards import Shards
from pipelines.sources.source import Source
from pipelines.sources.tables import Tables
from pipelines.sources.warc import Warc
from pipelines.sources.wat import Wat
from tests.pipelines.sources.warcs import page, record


class Pair(NamedTuple):
    """A true (URL, caption), and the page that shows it."""

    url: str
    caption: str
    page_url: str


class Written(NamedTuple):
    """A file, and the offset that each pair has in it."""

    data: bytes
    offsets: list[int]


Write = Callable[[Sequence[Pair], int | None], Written]
"""Writes pairs; the one of this number, if any, so that it cannot be read and all others can."""


@dataclass(frozen=True)
class Format:
    """A kind of file."""

    file_name: str
    source: Source
    attribute: str
    write: Write
    has_pages: bool = True
    """Whether it says on which page an image is."""
    tells_truncation: bool = True
    """Whether a file that was cut can be told from a whole one: not where it is but lines."""
    holds_nul: bool = True
    refuses_empty: bool = False
    """Whether a file of no bytes is an InputError or a fault: none of its kind is."""


def _together(head: bytes, records: list[bytes], tail: bytes = b"") -> Written:
    offsets = [len(head)]
    for each in records:
        offsets.append(offsets[-1] + len(each))
    return Written(head + b"".join(records) + tail, offsets[:-1])


def _archive(
    record_of: Callable[[str, list[Pair], bool], bytes], head: bytes, wrap: Callable[[bytes], bytes] = bytes
) -> Write:
    """Write a record a page: neighbouring pairs of the same page are together."""

    def write(pairs: Sequence[Pair], broken: int | None) -> Written:
        records, sizes = [], []
        pages = [list(group) for _, group in groupby(enumerate(pairs), lambda each: each[1].page_url)]
        for group in pages:
            is_broken = broken in [number for number, _ in group]
            records.append(wrap(record_of(group[0][1].page_url, [pair for _, pair in group], is_broken)))
            sizes.append(len(group))
        written = _together(wrap(head) if head else b"", records)
        offsets = [offset for offset, size in zip(written.offsets, sizes, strict=True) for _ in range(size)]
        return Written(written.data, offsets)

    return write


def _markup(pairs: list[Pair]) -> bytes:
    images = (f'<img src="{html.escape(pair.url)}" alt="{html.escape(pair.caption)}">' for pair in pairs)
    return "<!doctype html><meta charset=utf-8>{}".format("\n".join(images)).encode()


def _warc_record(page_url: str, pairs: list[Pair], is_broken: bool) -> bytes:
    return record("response", page_url, b"\0") if is_broken else page(page_url, _markup(pairs))


def _arc_record(page_url: str, pairs: list[Pair], is_broken: bool) -> bytes:
    body = b"\0" if is_broken else b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + _markup(pairs)
    return f"{page_url} 192.0.2.1 20080430204825 text/html {len(body)}\n".encode() + body + b"\n"


_ARC_VERSION = b"1 0 InternetArchive\nURL IP-address Archive-date Content-type Archive-length\n"
_ARC_HEAD = b"filedesc://t.arc 0.0.0.0 20080430204825 text/plain %d\n%s\n" % (len(_ARC_VERSION), _ARC_VERSION)


def _wat_record(page_url: str, pairs: list[Pair], is_broken: bool) -> bytes:
    links = [{"path": "IMG@/src", "url": pair.url, "alt": pair.caption} for pair in pairs]
    payload = {"HTTP-Response-Metadata": {"HTML-Metadata": {"Head": {}, "Links": links}}}
    body = orjson.dumps(
        {"Envelope": {"WARC-Header-Metadata": {"WARC-Target-URI": page_url}, "Payload-Metadata": payload}}
    )
    return record("metadata", page_url, body[:-9] if is_broken else body, "application/json")


_WAT_HEAD = record(
    "warcinfo", "x", b"Software-Info: ia-web-commons.1.1.10-SNAPSHOT-20240513074037\r\n", "application/warc-fields"
)


def _gzipped(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


def _zstd(data: bytes) -> bytes:
    return bytes(pa.compress(data, "zstd", asbytes=True))


def _rows(pairs: Sequence[Pair]) -> list[tuple[str, str, str]]:
    """The values of tables, whose captions have their character references."""
    return [(pair.url, html.escape(pair.caption), pair.page_url) for pair in pairs]


def _delimited(delimiter: str, wrap: Callable[[bytes], bytes] = bytes) -> Write:
    def write(pairs: Sequence[Pair], broken: int | None) -> Written:
        text = io.StringIO()
        writer = csv.writer(text, delimiter=delimiter)
        writer.writerow(["url", "caption", "page_url"])
        for number, row in enumerate(_rows(pairs)):
            writer.writerow(row[:1] if number == broken else row)
        return Written(wrap(text.getvalue().encode()), list(range(len(pairs))))

    return write


def _plain_text(pairs: Sequence[Pair], broken: int | None) -> Written:
    lines = []
    for number, (url, caption, _) in enumerate(_rows(pairs)):
        folded = caption.translate(dict.fromkeys(map(ord, "\t\n\r"), " "))  # nothing else ends a value or a line
        lines.append(f"{url}\t{folded}\tmore\n" if number == broken else f"{url}\t{folded}\n")
    return Written("".join(lines).encode(), list(range(len(pairs))))


def _json_lines(wrap: Callable[[bytes], bytes] = bytes) -> Write:
    def write(pairs: Sequence[Pair], broken: int | None) -> Written:
        names = ("url", "caption", "page_url")
        lines = [orjson.dumps(dict(zip(names, row, strict=True))) for row in _rows(pairs)]
        cut = [line[:-3] if number == broken else line for number, line in enumerate(lines)]
        return Written(wrap(b"".join(line + b"\n" for line in cut)), list(range(len(pairs))))

    return write


def _annotations(pairs: Sequence[Pair], broken: int | None) -> Written:
    """A document as RedCaps publishes them."""
    names = ("url", "caption", "permalink")
    rows: list[object] = [dict(zip(names, row, strict=True)) for row in _rows(pairs)]
    if broken is not None:
        rows[broken] = {"url": 1, "caption": "A dog", "permalink": "/r/dogs"}
    data = orjson.dumps({"info": {"version": "1.0"}, "annotations": rows})
    return Written(data, list(range(len(pairs))))


def _parquet(pairs: Sequence[Pair], broken: int | None) -> Written:
    rows = [
        (url, "x" * ((16 << 20) + 1) if n == broken else text, page) for n, (url, text, page) in enumerate(_rows(pairs))
    ]
    columns = list(zip(*rows, strict=True)) or [(), (), ()]
    table = pa.table(
        {
            name: pa.array(column, pa.string())
            for name, column in zip(("url", "caption", "page_url"), columns, strict=True)
        }
    )
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=max(len(pairs) // 3, 1))
    return Written(sink.getvalue(), list(range(len(pairs))))


def _img2dataset_table(pairs: Sequence[Pair], broken: int | None) -> Written:
    """The table of a shard: every third download failed, and is no pair."""
    rows: list[dict[str, str | None]] = []
    offsets = []
    for number, (url, caption, _) in enumerate(_rows(pairs)):
        if number % 2:
            failed = {"url": f"{url}?failed", "caption": "never fetched", "key": f"f{number}"}
            rows.append({**failed, "status": "failed_to_download", "error_message": "HTTP Error 404: Not Found"})
        offsets.append(len(rows))
        text = "x" * ((16 << 20) + 1) if number == broken else caption
        rows.append({"url": url, "caption": text, "key": f"{number:09d}", "status": "success", "error_message": None})
    schema = pa.schema([(name, pa.string()) for name in ("url", "caption", "key", "status", "error_message")])
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), sink)
    return Written(sink.getvalue(), offsets)


def _tar(wrap: Callable[[bytes], bytes] = bytes) -> Write:
    def write(pairs: Sequence[Pair], broken: int | None) -> Written:
        sink, offsets = io.BytesIO(), []
        with tarfile.open(fileobj=sink, mode="w", format=tarfile.USTAR_FORMAT) as archive:
            for number, pair in enumerate(pairs):
                facts = orjson.dumps({"url": pair.url, "page_url": pair.page_url, "status": "success"})
                members = {
                    "jpg": b"\xff\xd8",
                    "json": facts[:-4] if number == broken else facts,
                    "txt": html.escape(pair.caption).encode(),
                }
                offsets.append(archive.offset)
                for suffix, data in members.items():
                    member = tarfile.TarInfo(f"{number:09d}.{suffix}")
                    member.size = len(data)
                    archive.addfile(member, io.BytesIO(data))
        return Written(wrap(sink.getvalue()), offsets)

    return write


WARC = Format("t.warc", Warc(), "img@alt", _archive(_warc_record, b""), holds_nul=False)
WARC_GZ = Format("t.warc.gz", Warc(), "img@alt", _archive(_warc_record, b"", _gzipped), holds_nul=False)
ARC = Format("t.arc", Warc(), "img@alt", _archive(_arc_record, _ARC_HEAD), holds_nul=False)
ARC_GZ = Format("t.arc.gz", Warc(), "img@alt", _archive(_arc_record, _ARC_HEAD, _gzipped), holds_nul=False)
WAT = Format("t.warc.wat", Wat(), "img@alt", _archive(_wat_record, _WAT_HEAD))
WAT_GZ = Format("t.warc.wat.gz", Wat(), "img@alt", _archive(_wat_record, _WAT_HEAD, _gzipped))
PARQUET = Format("t.parquet", Tables(), "caption", _parquet, refuses_empty=True)
CSV = Format("t.csv", Tables(), "caption", _delimited(","), tells_truncation=False)
CSV_GZ = Format("t.csv.gz", Tables(), "caption", _delimited(",", _gzipped))
TSV = Format("t.tsv", Tables(), "caption", _delimited("\t"), tells_truncation=False)
TSV_ZST = Format("t.tsv.zst", Tables(), "caption", _delimited("\t", _zstd))
TXT = Format("t.txt", Tables(), "caption", _plain_text, has_pages=False, tells_truncation=False)
JSON_LINES = Format("t.jsonl", Tables(), "caption", _json_lines(), tells_truncation=False)
JSON_LINES_BZ2 = Format("t.ndjson.bz2", Tables(), "caption", _json_lines(bz2.compress))
REDCAPS = Format("t.json", Tables("redcaps"), "caption", _annotations, refuses_empty=True)
TAR = Format("t.tar", Shards(), "txt", _tar())
TAR_GZ = Format("t.tar.gz", Shards(), "txt", _tar(_gzipped))
IMG2DATASET = Format("t.parquet", Shards(), "caption", _img2dataset_table, has_pages=False, refuses_empty=True)

COMPRESSED_NOTHING = {
    "gz": gzip.compress(b"", mtime=0),
    "zst": _zstd(b""),
    "bz2": bz2.compress(b""),
}
"""No bytes, compressed."""
