"""WARC and ARC files: what is found, and what becomes of broken ones."""

from __future__ import annotations

import gzip
import io
import re
import tracemalloc
import zlib
from pathlib import Path

import brotli
import fsspec
import pyarrow as pa
import pytest
from fastwarc.warc import ArchiveIterator
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.sources.archive import Record, read_records, record_at, records
from pipelines.sources.source import MALFORMED_RECORD, Fault, Slice
from pipelines.sources.warc import Warc
from tests.pipelines.sources.listing import Found, listed, rows
from tests.pipelines.sources.warcs import arc_record, gzipped, page, record
from tests.support import real_data

IMG = b'<img src="a.jpg" alt="A dog">'
HTML = "Content-Type: text/html\r\n"


def findings(data: bytes, folder: Path) -> tuple[list[Found], list[Fault]]:
    file = folder / "x.warc.gz"
    file.write_bytes(data)
    found = listed(Warc(), str(file))
    return [each for each in found if isinstance(each, Found)], [each for each in found if isinstance(each, Fault)]


def read(data: bytes) -> tuple[list[Record], list[Fault]]:
    found = list(read_records(io.BytesIO(data), (), 1 << 24))
    return [each for each in found if isinstance(each, Record)], [each for each in found if isinstance(each, Fault)]


def test_a_page_gives_links_with_their_provenance(tmp_path: Path) -> None:
    """URL as written, base, page and the offset of the record's gzip member."""
    first = page("http://x.example/1", b"nothing")
    links, faults = findings(gzipped(first, page("http://x.example/b/2", IMG)), tmp_path)
    offset = len(gzip.compress(first, mtime=0))
    assert links == [Found("a.jpg", "A dog", offset, "img@alt", "http://x.example/b/2", "http://x.example/b/2")]
    assert not faults


@pytest.mark.parametrize("headers", ["Content-Type: image/png\r\n", "", "Content-Type: text/plain\r\n"])
def test_only_html_is_parsed(headers: str, tmp_path: Path) -> None:
    """Other types, and responses without a type, hold no pages."""
    assert findings(page("http://x.example/", IMG, headers), tmp_path) == ([], [])


def test_only_2xx_is_a_page(tmp_path: Path) -> None:
    """Error pages and redirects hold no candidates."""
    answers = ("404 Not Found", "301 Moved", "203 OK")
    data = b"".join(page("http://x.example/", IMG, status=status) for status in answers)
    assert len(findings(data, tmp_path)[0]) == 1


CODINGS = {
    "gzip": (f"{HTML}Content-Encoding: gzip\r\n", gzip.compress(IMG)),
    "deflate": (f"{HTML}Content-Encoding: deflate\r\n", zlib.compress(IMG)),
    "raw deflate": (f"{HTML}Content-Encoding: deflate\r\n", zlib.compress(IMG)[2:-4]),
    "brotli": (f"{HTML}Content-Encoding: br\r\n", brotli.compress(IMG + b" " * 300_000)),
    "chunked": (
        f"{HTML}Transfer-Encoding: chunked\r\n",
        b"5\r\n" + IMG[:5] + b"\r\n18;x=y\r\n" + IMG[5:] + b"\r\n0\r\n\r\n",
    ),
    "decoded already": (f"{HTML}Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", IMG),
    "brotli, decoded already": (f"{HTML}Content-Encoding: br\r\n", IMG),
    "gzip cut": (f"{HTML}Content-Encoding: gzip\r\n", gzip.compress(IMG + bytes(range(256)) * 40)[:-20]),
    "folded header": ("Content-Type:\r\n text/html;\r\n charset=utf-8\r\n", IMG),
    "bare line feeds": ("X: y\nContent-Type: text/html\n", IMG),
}


@pytest.mark.parametrize("coding", CODINGS)
def test_http_encodings_are_undone(coding: str, tmp_path: Path) -> None:
    """Transfer and content encodings, those that the crawler undid but left in the header, and bodies cut short."""
    headers, body = CODINGS[coding]
    links, faults = findings(page("http://x.example/", body, headers), tmp_path)
    assert [link.text for link in links] == ["A dog"]
    assert not faults


@pytest.mark.parametrize("encode", [gzip.compress, brotli.compress])
def test_a_compressed_bomb_is_read_up_to_the_limit(encode: object, tmp_path: Path, monkeypatch: object) -> None:
    """What inflates beyond the limit is not looked at, and told to be lost."""
    body = encode(IMG + b" " * 50_000_000 + IMG)  # type: ignore[operator]
    name = "gzip" if encode is gzip.compress else "br"
    monkeypatch.setattr("pipelines.sources.warc.MAX_PAGE_BYTES", 100_000)  # type: ignore[attr-defined]
    links, faults = findings(page("http://x.example/", body, f"{HTML}Content-Encoding: {name}\r\n"), tmp_path)
    assert len(links) == 1
    assert [(fault.reason, "more than 100000 bytes" in fault.detail) for fault in faults] == [(MALFORMED_RECORD, True)]


@pytest.mark.parametrize("more", [0, 1])
def test_a_page_over_the_limit_says_that_it_is_cut(more: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page as large as the limit is whole; one byte more, and a reject says that images may be lost."""
    monkeypatch.setattr("pipelines.sources.warc.MAX_PAGE_BYTES", 100_000)
    body = IMG + b" " * (100_000 - len(IMG) + more)
    links, faults = findings(page("http://x.example/", body), tmp_path)
    assert len(links) == 1
    assert len(faults) == more


@pytest.mark.parametrize("encoding", ["gzip, gzip", "zstd", ""])
def test_a_page_that_stays_compressed_is_told(encoding: str, tmp_path: Path) -> None:
    """An encoding that is not undone costs the page, with a reason, not in silence."""
    body = pa.compress(IMG, "zstd", asbytes=True) if encoding == "zstd" else gzip.compress(gzip.compress(IMG))
    headers = f"{HTML}Content-Encoding: {encoding}\r\n" if encoding else HTML
    links, faults = findings(page("http://x.example/", body, headers), tmp_path)
    assert not links
    assert [(fault.reason, repr(encoding) in fault.detail) for fault in faults] == [(MALFORMED_RECORD, True)]


def test_an_http_head_without_end_is_told(tmp_path: Path) -> None:
    """A page whose HTTP head runs over 64 KiB is a malformed record."""
    links, faults = findings(page("http://x.example/", IMG, f"{HTML}X: {'y' * (1 << 16)}\r\n"), tmp_path)
    assert not links
    assert [fault.reason for fault in faults] == [MALFORMED_RECORD]


PAGES = [page(f"http://x.example/{number}", IMG + bytes(range(256)) * number) for number in range(5)]
ARC_PAGES = [
    arc_record(f"http://x.example/{number}", b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + IMG * number)
    for number in range(5)
]


@pytest.mark.parametrize("written", [PAGES, ARC_PAGES])
@pytest.mark.parametrize("layout", ["plain", "members", "whole", "blocks"])
def test_every_layout_gives_the_same_records(written: list[bytes], layout: str) -> None:
    """As it is, a gzip member a record, one member for all, members that end anywhere."""
    plain = b"".join(written)
    blocks = [plain[start : start + 700] for start in range(0, len(plain), 700)]
    layouts = {"plain": plain, "members": gzipped(*written), "whole": gzip.compress(plain), "blocks": gzipped(*blocks)}
    found, faults = read(layouts[layout])
    assert [each.url for each in found] == [f"http://x.example/{number}" for number in range(5)]
    assert [each.body for each in found] == [each.body for each in read(plain)[0]]
    assert not faults


@pytest.mark.parametrize("written", [PAGES, ARC_PAGES])
@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_a_damaged_member_costs_itself_only(written: list[bytes], data: st.DataObject) -> None:
    """Whatever bytes of one member are overwritten or missing, the other records are there, and the damage is told."""
    members = [gzipped(each) for each in written]
    victim = data.draw(st.integers(0, 3))
    good = members[victim]
    at = data.draw(st.integers(10, len(good) - 1))  # its first ten bytes hold the time and such, which nobody checks
    rubbish = data.draw(st.binary(max_size=20))
    bad = good[:at] + rubbish + good[at + data.draw(st.integers(0, 20)) :]
    found, faults = read(b"".join([*members[:victim], bad, *members[victim + 1 :]]))
    expected = read(b"".join(members))[0]
    others = [each.body for number, each in enumerate(expected) if number != victim]
    kept = [each.body for each in found]
    assert [body for body in kept if body in others] == others
    assert faults or expected[victim].body in kept
    assert all(fault.offset is not None for fault in faults)


LENGTHS = ["-5", "many", "", "99999999999999", "9999999999999999999999", "700", "1000", "70000000"]


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("is_gzipped", [False, True])
def test_a_wrong_length_costs_its_record_only(length: str, is_gzipped: bool) -> None:
    """Negative, huge, no number, or reaching into the records that follow."""
    bad = re.sub(rb"Content-Length: \d+", f"Content-Length: {length}".encode(), PAGES[0])
    written = [PAGES[1], bad, *PAGES[2:]]
    found, faults = read(gzipped(*written) if is_gzipped else b"".join(written))
    assert [each.url[-1] for each in found] == ["1", "2", "3", "4"]
    assert len(faults) == 1
    assert faults[0][::2] == ("malformed_record", len(gzipped(PAGES[1]) if is_gzipped else PAGES[1]))


def test_a_short_length_keeps_the_record_and_tells_of_the_rest() -> None:
    """What is left of a record before the next one is a fault of its own, where it lies."""
    bad = re.sub(rb"Content-Length: \d+", b"Content-Length: 60", PAGES[0])
    found, faults = read(PAGES[1] + bad + PAGES[2])
    assert [each.url[-1] for each in found] == ["1", "0", "2"]
    assert [(fault.reason, fault.detail) for fault in faults] == [("malformed_record", "no record begins here")]


@pytest.mark.parametrize("is_gzipped", [False, True])
def test_headers_without_end_cost_themselves_only(is_gzipped: bool) -> None:
    """A header of a megabyte, one that runs into the next record, and rubbish are one fault each."""
    endless = b"WARC/1.0\r\n" + b"X-Field: y\r\n" * 100_000
    written = [
        PAGES[0],
        endless,
        PAGES[1],
        b"WARC/1.0\r\nWARC-Type: response\r\n",
        PAGES[2],
        b"rubbish\n" * 9,
        PAGES[3],
    ]
    found, faults = read(gzipped(*written) if is_gzipped else b"".join(written))
    assert [each.url[-1] for each in found] == ["0", "1", "2", "3"]
    assert [fault.reason for fault in faults] == ["malformed_record"] * 3


@pytest.mark.parametrize("is_gzipped", [False, True])
def test_a_cut_archive_keeps_what_came_before(is_gzipped: bool) -> None:
    """Wherever a file is cut, there are the whole records before, and a fault for what is missing."""
    parts = [gzipped(each) if is_gzipped else each for each in PAGES]
    whole = b"".join(parts)
    ends = [sum(map(len, parts[:number])) for number in range(6)]
    for cut in range(10, len(whole), 23):
        found, faults = read(whole[:cut])
        num_before = sum(end <= cut for end in ends[1:])
        is_all_there = len(found) > num_before and ends[num_before + 1] - cut < 12  # but for line ends, or a checksum
        assert len(found) == num_before + is_all_there
        assert [fault.reason for fault in faults] in ([], ["unreadable_archive"], ["malformed_record"])
        assert faults or is_all_there or cut == ends[num_before]


def test_a_member_that_inflates_without_end_takes_bounded_memory() -> None:
    """A record of 300 MB of blanks is skipped in pieces, and the next one is read."""
    bomb = record("response", "http://x.example/", b" " * 300_000_000)
    data = gzipped(PAGES[0], bomb, PAGES[1])
    del bomb
    tracemalloc.start()
    found = [each for each in read_records(io.BytesIO(data), (), 1 << 20) if isinstance(each, Record)]
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [each.num_bytes for each in found][1] == 300_000_000
    assert len(found) == 3
    assert peak_bytes < 40 << 20


@pytest.mark.parametrize(
    "seed", [b"\x1f\x8b\x08", b"WARC/1.0\r\n", b"WARC/1.0\r\n\r\n", b"\n", b"a:b 1.1.1.1 20010101000000 x 1\n"]
)
def test_repeated_beginnings_take_linear_time(seed: bytes) -> None:
    """Half a megabyte of magic numbers, first lines or blank lines gives faults, and ends."""
    found, _ = read(PAGES[0] + seed * (500_000 // len(seed)))
    assert found[0].url == "http://x.example/0"


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=5), st.booleans())
@settings(max_examples=100, deadline=None)
def test_records_are_those_of_fastwarc(bodies: list[bytes], is_gzipped: bool) -> None:
    """Kind, address, body and place of each record of a healthy file are what an independent reader finds."""
    written = [
        record(kind, f"http://x.example/{n}", body) for n, (kind, body) in enumerate(zip(KINDS, bodies, strict=False))
    ]
    data = gzipped(*written) if is_gzipped else b"".join(written)
    found, faults = read(data)
    peer = [
        (str(each.record_type), each.headers["WARC-Target-URI"], each.reader.read(), each.stream_pos)
        for each in ArchiveIterator(io.BytesIO(data), parse_http=False)
    ]
    assert [(each.kind, each.url, each.body, each.offset) for each in found] == peer
    assert not faults
    assert all(record_at(io.BytesIO(data), each.offset, 1 << 20) == each for each in found)


KINDS = ("response", "request", "metadata", "warcinfo", "revisit")


def test_arc_lines_are_read_as_they_are_written() -> None:
    """Version 2 has more fields; addresses hold blanks; a record of DNS is no page; one without a date is none."""
    lines = [
        b"filedesc://x.arc 0.0.0.0 20080430204825 text/plain 4\nabcd\n",
        b"http://x.example/a b 1.2.3.4 20080430204825 text/html 200 - - 12 x.arc 2\nab\n",
        b"dns:x.example 1.2.3.4 20080430204825 text/dns 3\nabc\n",
        b"http://x.example/c ::1 20080430204825 text/html; charset=x 0\n\n",
        b"http://x.example/d 1.2.3.4 null text/html 0\n\n",
    ]
    found, faults = read(b"".join(lines))
    assert [(each.kind, each.url, each.body) for each in found] == [
        ("filedesc", "filedesc://x.arc", b"abcd"),
        ("response", "http://x.example/a b", b"ab"),
        ("resource", "dns:x.example", b"abc"),
        ("response", "http://x.example/c", b""),
    ]
    assert len(faults) == 1


def test_a_record_that_is_no_http_message_costs_itself_only(tmp_path: Path) -> None:
    """A malformed record is one fault at its offset, and the pages around it are read."""
    bad = record("response", "http://x.example/2", b"\x00\x01 no HTTP")
    links, faults = findings(page("http://x.example/1", IMG) + bad + page("http://x.example/3", IMG), tmp_path)
    assert [link.page_url for link in links] == ["http://x.example/1", "http://x.example/3"]
    assert [fault.reason for fault in faults] == ["malformed_record"]


def test_a_crawl_written_twice_gives_the_same_pages() -> None:
    """The ARC and the WARC file of one real crawl: 756 images with an alt, the same on the same pages."""
    both = []
    for name in ("example.arc.gz", "example.warc.gz"):
        found = [
            rows(each)
            for each in Warc().findings(Slice(str(real_data("webarchive", "aut", name))))
            if not isinstance(each, Fault)
        ]
        both.append([each._replace(offset=0) for some in found for each in some])
    assert len(both[0]) == 756
    assert both[0] == both[1]


NUM_PAGES = {
    "badexample.arc.gz": (3, 3), "IAH-20080430204825-00000-blackbook-truncated.arc": (9, 0), "bad.arc": (1, 3),
    "example-bad.warc.gz.bad": (6, 0), "link-extraction-test.warc": (8, 0), "example.warc": (6, 1),
    "missing-status-text.warc": (1, 0), "iana.warc.gz": (343, 0), "double-single-inflate-error.gz": (0, 1),
    "empty.gz": (0, 1), "IAH-urls-wget.warc": (36, 0), "issue-493.warc": (32, 0), "example-extra.warc": (6, 0),
}  # fmt: skip


def test_broken_real_archives_give_what_they_hold() -> None:
    """Records and faults of each archive of the collection that has something odd about it."""
    for path in sorted(path for path in real_data("webarchive").rglob("*") if path.is_file()):
        found = list(records(str(path), (), 1 << 20))
        num_faults = sum(isinstance(each, Fault) for each in found)
        if path.name in NUM_PAGES:
            assert (len(found) - num_faults, num_faults) == NUM_PAGES[path.name], path.name


def test_remote_archives_are_read_through_fsspec(tmp_path: Path) -> None:
    """A URL of any file system gives the findings that the local file gives."""
    data = gzipped(page("http://x.example/1", IMG), page("http://x.example/2", IMG))
    with fsspec.open("memory://archives/x.warc.gz", "wb") as file:
        file.write(data)
    links, _ = findings(data, tmp_path)
    assert listed(Warc(), "memory://archives/x.warc.gz") == links
    assert len(links) == 2
