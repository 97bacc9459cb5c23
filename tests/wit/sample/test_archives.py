"""The WARC and WAT files of the miniature web."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path

from fastwarc.warc import ArchiveIterator
from warcio.archiveiterator import ArchiveIterator as WarcioIterator

from wit.sample.archives import gzip_member


def test_a_gzip_member_holds_its_data_and_no_time() -> None:
    """The data comes back, the time stamp is 0, and the same data gives the same bytes."""
    member = gzip_member(b"wit" * 1000)
    assert gzip.decompress(member) == b"wit" * 1000
    assert member[4:8] == bytes(4)
    assert member == gzip_member(b"wit" * 1000)


def test_two_libraries_read_the_same_records(miniature_web: Path) -> None:
    """warcio and FastWARC find the same records; block digests are right."""
    path = miniature_web / "archives" / "sample-00000.warc.gz"
    with path.open("rb") as file:
        slow = [(record.rec_type, record.rec_headers.get_header("WARC-Target-URI")) for record in WarcioIterator(file)]
    fast = []
    for record in ArchiveIterator(str(path), parse_http=False):
        assert record.verify_block_digest()
        fast.append((record.headers["WARC-Type"], record.headers.get("WARC-Target-URI")))
    assert fast == slow
    kinds = Counter(kind for kind, _ in fast)
    assert kinds["warcinfo"] == 1
    assert kinds["request"] >= 60
    assert kinds["response"] > 400


def test_a_wat_describes_its_warc(miniature_web: Path) -> None:
    """One metadata record a WARC record, which lies at the offset that the metadata names; links have alt and url."""
    warc = (miniature_web / "archives" / "sample-00001.warc.gz").read_bytes()
    num_images = num_records = 0
    for record in ArchiveIterator(str(miniature_web / "archives" / "sample-00001.warc.wat.gz"), parse_http=False):
        body = record.reader.read()
        if record.headers["WARC-Type"] != "metadata":
            continue
        num_records += 1
        described = json.loads(body)
        container, envelope = described["Container"], described["Envelope"]
        offset, length = int(container["Offset"]), int(container["Gzip-Metadata"]["Deflate-Length"])
        text = gzip.decompress(warc[offset : offset + length])
        assert len(text) == int(container["Gzip-Metadata"]["Inflated-Length"])
        header = envelope["WARC-Header-Metadata"]
        assert f"WARC-Record-ID: {header['WARC-Record-ID']}\r\n".encode() in text
        assert record.headers["WARC-Target-URI"] == header["WARC-Target-URI"]
        page = envelope["Payload-Metadata"].get("HTTP-Response-Metadata", {}).get("HTML-Metadata", {})
        num_images += sum(link["path"] == "IMG@/src" and "alt" in link for link in page.get("Links", ()))
    assert num_records == sum(1 for _ in ArchiveIterator(str(miniature_web / "archives" / "sample-00001.warc.gz"))) - 1
    assert num_images > 350


def test_the_last_archive_breaks_off(miniature_web: Path) -> None:
    """Its compressed stream ends too early, as that of an interrupted download."""
    for suffix in ("warc.gz", "warc.wat.gz"):
        body = (miniature_web / "archives" / f"sample-00002.{suffix}").read_bytes()
        try:
            gzip.decompress(body)
        except EOFError:
            continue
        raise AssertionError(suffix)
