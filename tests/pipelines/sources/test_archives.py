"""WARC and WAT files: what is found, and what becomes of broken ones."""

from __future__ import annotations

import gzip
import hashlib
import re
import zlib
from pathlib import Path

import fsspec
import orjson
import pytest

from pipelines.sources.source import Fault, Link, Slice, Source
from pipelines.sources.warc import Warc
from pipelines.sources.wat import Wat
from tests.pipelines.sources.warcs import gzipped, page, record
from tests.support import real_data

IMG = b'<img src="a.jpg" alt="A dog">'


def findings(source: Source, data: bytes, folder: Path) -> tuple[list[Link], list[Fault]]:
    file = folder / "x.warc.gz"
    file.write_bytes(data)
    found = list(source.findings(Slice(str(file))))
    return [each for each in found if isinstance(each, Link)], [each for each in found if isinstance(each, Fault)]


def wat_record(uri: str, links: list[dict[str, str]], head: dict[str, str] | None = None) -> bytes:
    html = {"Head": head or {}, "Links": links}
    envelope = {
        "WARC-Header-Metadata": {"WARC-Target-URI": uri},
        "Payload-Metadata": {"HTTP-Response-Metadata": {"HTML-Metadata": html}},
    }
    return record("metadata", uri, orjson.dumps({"Envelope": envelope}), "application/json")


def test_a_page_gives_links_with_their_provenance(tmp_path: Path) -> None:
    """URL as written, base, page and the offset of the record's gzip member."""
    first = page("http://x.example/1", b"nothing")
    links, faults = findings(Warc(), gzipped(first, page("http://x.example/b/2", IMG)), tmp_path)
    offset = len(gzip.compress(first, mtime=0))
    assert links == [Link("a.jpg", "http://x.example/b/2", "A dog", "http://x.example/b/2", offset, "img@alt")]
    assert not faults


@pytest.mark.parametrize("headers", ["Content-Type: image/png\r\n", "", "Content-Type: text/plain\r\n"])
def test_only_html_is_parsed(headers: str, tmp_path: Path) -> None:
    """Other types, and responses without a type, hold no pages."""
    assert findings(Warc(), page("http://x.example/", IMG, headers), tmp_path) == ([], [])


def test_only_2xx_is_a_page(tmp_path: Path) -> None:
    """Error pages and redirects hold no candidates."""
    data = b"".join(
        page("http://x.example/", IMG, status=status) for status in ("404 Not Found", "301 Moved", "203 OK")
    )
    assert len(findings(Warc(), data, tmp_path)[0]) == 1


HTML = "Content-Type: text/html\r\n"
CODINGS = {
    "gzip": (f"{HTML}Content-Encoding: gzip\r\n", gzip.compress(IMG)),
    "deflate": (f"{HTML}Content-Encoding: deflate\r\n", zlib.compress(IMG)),
    "raw deflate": (f"{HTML}Content-Encoding: deflate\r\n", zlib.compress(IMG)[2:-4]),
    "chunked": (
        f"{HTML}Transfer-Encoding: chunked\r\n",
        b"5\r\n" + IMG[:5] + b"\r\n18;x=y\r\n" + IMG[5:] + b"\r\n0\r\n\r\n",
    ),
    "decoded already": (f"{HTML}Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", IMG),
    "brotli, decoded already": (f"{HTML}Content-Encoding: br\r\n", IMG),
    "gzip cut": (f"{HTML}Content-Encoding: gzip\r\n", gzip.compress(IMG + bytes(range(256)) * 40)[:-20]),
}


@pytest.mark.parametrize("coding", CODINGS)
def test_http_encodings_are_undone(coding: str, tmp_path: Path) -> None:
    """Transfer and content encodings, those that the crawler undid but left in the header, and bodies cut short."""
    headers, body = CODINGS[coding]
    links, faults = findings(Warc(), page("http://x.example/", body, headers), tmp_path)
    assert [link.text for link in links] == ["A dog"]
    assert not faults


def test_a_gzip_bomb_is_read_up_to_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What inflates beyond the limit is not looked at."""
    monkeypatch.setattr("pipelines.sources.warc.MAX_PAGE_BYTES", 100_000)
    body = gzip.compress(IMG + b" " * 50_000_000 + IMG)
    links, _ = findings(Warc(), page("http://x.example/", body, CODINGS["gzip"][0]), tmp_path)
    assert len(links) == 1


def test_a_record_that_is_no_http_message_costs_itself_only(tmp_path: Path) -> None:
    """A malformed record is one fault at its offset, and the pages around it are read."""
    bad = record("response", "http://x.example/2", b"\x00\x01 no HTTP")
    links, faults = findings(Warc(), page("http://x.example/1", IMG) + bad + page("http://x.example/3", IMG), tmp_path)
    assert [link.page_url for link in links] == ["http://x.example/1", "http://x.example/3"]
    assert [fault.reason for fault in faults] == ["malformed_record"]


NOISE = "".join(hashlib.sha256(bytes([number])).hexdigest() for number in range(40))
CUT_RECORDS = {
    "warc": page("http://x.example/", IMG + f"<p>{NOISE}".encode()),
    "wat": wat_record("http://x.example/", [{"path": "IMG@/src", "url": f"{NOISE}.jpg", "alt": "A dog"}]),
}


@pytest.mark.parametrize("is_gzipped", [False, True])
@pytest.mark.parametrize("source", [Warc(), Wat()])
def test_a_cut_archive_keeps_what_came_before(source: Source, is_gzipped: bool, tmp_path: Path) -> None:
    """Wherever a file is cut, there are the links of the whole records, and a fault unless it lies between records."""
    one = CUT_RECORDS[source.kind]
    size = len(gzipped(one)) if is_gzipped else len(one)
    whole = gzipped(one, one, one) if is_gzipped else one * 3
    for cut in range(10, len(whole), 17):
        links, faults = findings(source, whole[:cut], tmp_path)
        since, before_end = cut % size, size - cut % size
        assert [fault.reason for fault in faults] == ["unreadable_archive"] or since < size // 10 or before_end < 20
        assert len(links) == cut // size + (before_end < 20 and not faults)


def test_a_record_without_length_costs_itself_only(tmp_path: Path) -> None:
    """A header whose Content-Length is no number is one fault; the records after it are found."""
    good = page("http://x.example/", IMG)
    bad = re.sub(rb"Content-Length: \d+", b"Content-Length: many", good)
    links, faults = findings(Warc(), good + bad + good, tmp_path)
    assert len(links) == 2
    assert faults == [Fault("malformed_record", "no Content-Length", len(good))]


def test_wat_values_have_entities_and_a_base(tmp_path: Path) -> None:
    """Entities in url, alt and base are decoded; links without alt, and other links, are no candidates."""
    links = [
        {"path": "IMG@/src", "url": "a.php?x=1&amp;y=2", "alt": "Tom &amp; Jerry&#8217;s"},
        {"path": "IMG@/src", "url": "b.jpg", "title": "no alt"},
        {"path": "A@/href", "url": "c.html", "alt": "no image"},
        {"path": "IMG@/src", "url": "d.jpg", "alt": ""},
    ]
    found, faults = findings(Wat(), wat_record("http://x.example/p", links, {"Base": "/b/?q=1&amp;r"}), tmp_path)
    assert [(link.url, link.text) for link in found] == [("a.php?x=1&y=2", "Tom & Jerry’s"), ("d.jpg", "")]
    assert {link.base for link in found} == {"http://x.example/b/?q=1&r"}
    assert not faults


@pytest.mark.parametrize(
    "body",
    [
        b'{"Envelope": {"Payl',
        b'{"Envelope": ["IMG@"]}',
        b'["IMG@"]',
        b'{"Envelope": {"Payload-Metadata": {"x": "IMG@"}}}',
        b"IMG@",
    ],
)
def test_a_malformed_wat_record_costs_itself_only(body: bytes, tmp_path: Path) -> None:
    """Cut or foreign JSON is one fault, and the record after it is read."""
    good = wat_record("http://x.example/", [{"path": "IMG@/src", "url": "a.jpg", "alt": "A dog"}])
    links, faults = findings(Wat(), record("metadata", "http://x.example/", body, "application/json") + good, tmp_path)
    assert len(links) == 1
    assert [fault.reason for fault in faults] == ["malformed_record"]


def test_wat_with_lone_surrogates_is_read(tmp_path: Path) -> None:
    """JSON that escapes half a surrogate pair, which Java writes, does not lose the record."""
    good = wat_record("http://x.example/", [{"path": "IMG@/src", "url": "a.jpg", "alt": "A dog XX"}])
    data = good.replace(b"XX", b"\\ud83d").replace(b"Content-Length: ", b"Content-Length: ", 1)
    length = int(good.split(b"Content-Length: ")[1].split(b"\r\n")[0])
    data = data.replace(b"Content-Length: %d" % length, b"Content-Length: %d" % (length + 4))
    links, faults = findings(Wat(), data, tmp_path)
    assert [link.text for link in links] == ["A dog \ud83d"]
    assert not faults


def test_real_wat_holds_88_images_with_alt() -> None:
    """Common Crawl's file of 2015: 108 IMG@/src links, 88 with an alt that says something, 18 with a blank one."""
    url = str(real_data("webarchive", "commoncrawl-wat-webindex", "wat-18.warc"))
    texts = [each.text for each in Wat().findings(Slice(url)) if isinstance(each, Link)]
    assert len(texts) == 106
    assert sum(bool(text.strip()) for text in texts) == 88


def test_broken_real_archives_end_in_faults() -> None:
    """Every archive of the collection, ARC and gzip oddities included, gives findings or one fault, no exception."""
    files = sorted(path for path in real_data("webarchive").rglob("*") if path.is_file())
    assert len(files) > 30
    for path in files:
        for source in (Warc(), Wat()):
            faults = [each for each in source.findings(Slice(str(path))) if isinstance(each, Fault)]
            assert sum(fault.reason == "unreadable_archive" for fault in faults) <= 1
            if path.suffix == ".arc" or path.name.endswith((".arc.gz", "inflate-error.gz")):
                assert [fault.reason for fault in faults] == ["unreadable_archive"]


def test_remote_archives_are_read_through_fsspec(tmp_path: Path) -> None:
    """A URL of any file system gives the findings that the local file gives."""
    data = gzipped(page("http://x.example/1", IMG), page("http://x.example/2", IMG))
    with fsspec.open("memory://archives/x.warc.gz", "wb") as file:
        file.write(data)
    links, _ = findings(Warc(), data, tmp_path)
    assert list(Warc().findings(Slice("memory://archives/x.warc.gz"))) == links
    assert len(links) == 2
