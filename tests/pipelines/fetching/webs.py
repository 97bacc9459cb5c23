"""Small webs with known answers, written as WARC files: bodies, revisits, redirects, across archives and hosts."""

from __future__ import annotations

import io
import random
import tarfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from tests.pipelines.sources.warcs import gzipped
from tests.support import write_part
from wit.keys import key_bucket, sample_key, uniform_rank
from wit.schema import SOUGHT

Place = tuple[str, int]
"""(archive, offset)"""


class Told(NamedTuple):
    """What a record says of a URL, as a test plants it."""

    url: str
    body: bytes = b""
    digest: str = ""
    target: str = ""
    is_revisit: bool = False
    fields: str = ""
    """More WARC fields, each with its line end."""


def record(told: Told) -> bytes:
    """A WARC record that says it."""
    status = f"302 Found\r\nLocation: {told.target}" if told.target else "200 OK"
    block = f"HTTP/1.1 {status}\r\n\r\n".encode() + told.body
    digest = f"WARC-Payload-Digest: {told.digest}\r\n" if told.digest else ""
    kind = "revisit" if told.is_revisit else "response"
    head = f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Target-URI: {told.url}\r\n{digest}{told.fields}"
    return f"{head}Content-Length: {len(block)}\r\n\r\n".encode() + block + b"\r\n\r\n"


def write_archives(folder: Path, archives: dict[str, list[Told]]) -> Iterator[tuple[Place, Told]]:
    """Write each archive, compressed by records when its name says so; yield the place of each record."""
    for name, records in archives.items():
        path = folder / name
        pieces = [record(told) for told in records]
        pieces = [gzipped(piece) for piece in pieces] if name.endswith(".gz") else pieces
        path.write_bytes(b"".join(pieces))
        offset = 0
        for piece, told in zip(pieces, records, strict=True):
            yield (str(path), offset), told
            offset += len(piece)


def random_web(seed: int, num_urls: int) -> dict[str, list[Told]]:
    """Archives in which a URL has up to three records; chains of redirects, some in circles, some to nowhere."""
    chance = random.Random(seed)
    urls = [f"http://h{number % 7}.example/{number}" for number in range(num_urls)]
    archives: dict[str, list[Told]] = {"b.warc": [], "a.warc.gz": [], "c.warc": []}
    for number, url in enumerate(urls):
        for _ in range(chance.choice((0, 1, 1, 1, 2, 3))):
            kind, digest = chance.random(), f"sha1:{chance.randrange(num_urls // 4)}"
            if kind < 0.3:
                told = Told(url, f"body of {number}".encode(), digest if chance.random() < 0.7 else "")
            elif kind < 0.5:
                told = Told(url, digest=digest, is_revisit=True)
            else:
                told = Told(url, target=chance.choice((urls[(number + 1) % num_urls], chance.choice(urls), "/gone")))
            chance.choice(list(archives.values())).append(told)
    return archives


def write_pairs(root: Path, urls: list[str], num_buckets: int, captions: tuple[str, ...] = ("x",)) -> None:
    """Write a table `pairs` of key, bucket, rank and URL: each URL with each caption."""
    rows: dict[int, list[dict[str, object]]] = defaultdict(list)
    for url in urls:
        for caption in captions:
            key = sample_key(url, caption)
            bucket = key_bucket(key, num_buckets)
            rows[bucket].append({"key": key, "bucket": bucket, "rank": uniform_rank("", key), "url": url})
    schema = pa.schema([SOUGHT.field(name) for name in ("key", "bucket", "rank", "url")])
    for bucket in range(num_buckets):
        table = pa.Table.from_pylist(sorted(rows[bucket], key=lambda row: str(row["key"])), schema=schema)
        write_part(root, "pairs", bucket, table)


def make_tar(path: Path, members: dict[str, bytes], mode: str = "w") -> str:
    """Write a tar with these members, in this order; return its path."""
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return str(path)
