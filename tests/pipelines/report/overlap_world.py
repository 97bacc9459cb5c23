"""What the tests of an audit's pages share: matches, thumbnails and hostile words."""

from __future__ import annotations

import io
from collections.abc import Sequence
from zlib import crc32

import pyarrow as pa
from PIL import Image

from pipelines.report.overlap.results import Accuracies, AuditResult, Contamination, SetResult

HOSTILE = "<script>alert(1)</script> & \"quotes\" 'and' <img src=x onerror=y> </bdi></td></table>"

MATCHES = pa.schema(
    [
        pa.field("set", pa.string()),
        pa.field("item", pa.string()),
        pa.field("label", pa.string()),
        pa.field("key", pa.string()),
        pa.field("shard", pa.string()),
        pa.field("turn", pa.string()),
        pa.field("distance", pa.int32()),
        pa.field("caption", pa.string()),
        pa.field("url", pa.string()),
    ]
)

Row = tuple[str, str, str, int]


def matches(rows: Sequence[Row], words: str | None = None) -> pa.Table:
    """A row a (set, item, key, distance), with the same words as label, caption and address."""
    table = [
        {"set": name, "item": item, "label": words, "key": key, "shard": "00000.tar", "turn": "none",
         "distance": distance, "caption": words, "url": words}
        for name, item, key, distance in rows
    ]  # fmt: skip
    return pa.Table.from_pylist(table, schema=MATCHES)


def thumbs(side: str, name: str) -> bytes:
    """A JPEG of one colour that only this image has."""
    picture = io.BytesIO()
    code = crc32(f"{side} {name}".encode())
    Image.new("RGB", (24, 16), (code & 255, code >> 8 & 255, code >> 16 & 255)).save(picture, "JPEG")
    return picture.getvalue()


def no_thumbs(side: str, name: str) -> None:
    """No picture of anything."""


def result(*sets: SetResult, words: str = "shards") -> AuditResult:
    """An audit with these sets."""
    return AuditResult(words, "an image within 31 bits", sets, num_samples=10, versions={"made by": words})


def set_result(name: str, num_items: int, num_overlap: int, accuracies: Accuracies | None = None) -> SetResult:
    """A set of which all can be read."""
    return SetResult(Contamination(name, num_items, num_overlap, 0, 0, 31), accuracies)
