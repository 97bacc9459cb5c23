"""Archives: what each kind holds, what is no archive, and how single bodies are read."""

from __future__ import annotations

import gzip
import random
import tarfile
from contextlib import suppress
from pathlib import Path
from typing import IO

import aiohttp
import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fastwarc.warc import ArchiveIterator, WarcRecordType
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.fetching.archive import ArchiveReader, read_located
from pipelines.fetching.archive_index import TAR, WARC, archive_files, index, kind_of
from pipelines.fetching.outcome import Body, Refused
from pipelines.sources.shards import Shards
from pipelines.sources.source import Links, Slice
from tests.pipelines.fetching.webs import Told, make_tar, random_web, record, write_archives
from tests.pipelines.sources.warcs import arc_record, gzipped
from tests.support import real_data
from tests.wit.test_shards import make_samples
from wit.errors import InputError
from wit.schema import LOCATED
from wit.shards import write_shard

PAGE = "http://a.example/dir/page"


def reader(max_bytes: int = 1 << 20) -> ArchiveReader:
    return ArchiveReader(max_bytes, "wit", ("noai", "tdm-reservation"))


def located(rows: list[dict[str, object]]) -> pa.Table:
    blank = {"key": "", "bucket": 0, "rank": 0, "url_bucket": 0, "place": 0, "num_redirects": 0}
    return pa.Table.from_pylist([blank | row for row in rows], schema=LOCATED)


def read(place: tuple[str, int], max_bytes: int = 1 << 20) -> bytes:
    with reader(max_bytes) as source:
        return source.read(*place)


def read_all(kind: str, path: str) -> dict[str, bytes]:
    """Every body of an archive by its URL, read through the index."""
    with reader(1 << 24) as source:
        return {held.url: source.read(path, held.offset) for held in index(kind, path) if not held.target}


@pytest.mark.parametrize("name", ["a.warc", "a.warc.gz"])
def test_a_planted_web_is_read_back(tmp_path: Path, name: str) -> None:
    """Each body is read at its offset; revisits have a digest and no body, redirects a target."""
    records = [told for each in random_web(1, 60).values() for told in each]
    planted = dict(write_archives(tmp_path, {name: records}))
    found = {(str(tmp_path / name), held.offset): held for held in index(WARC, str(tmp_path / name))}
    assert found.keys() == planted.keys()
    for place, told in planted.items():
        held = found[place]
        assert (held.url, held.is_revisit, bool(held.target)) == (told.url, told.is_revisit, bool(told.target))
        if not told.target:
            assert held.digest == told.digest
            assert told.is_revisit or read(place) == told.body


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("http://b.example/x", "http://b.example/x"),
        ("/x?y=1#top", "http://a.example/x?y=1"),
        ("../x", "http://a.example/x"),
        ("//b.example/x", "http://b.example/x"),
        ("x y", "http://a.example/dir/x%20y"),
        ("/caf\u00c3\u00a9", "http://a.example/caf%C3%A9"),
        ("?q", "http://a.example/dir/page?q"),
        ("#top", PAGE),
        ("http://[broken/", "http://[broken/"),
    ],
)
def test_redirects_lead_where_a_client_would_ask(tmp_path: Path, location: str, target: str) -> None:
    """A Location is resolved against its page, its fragment dropped, and written in ASCII."""
    path = tmp_path / "a.warc"
    head = f"HTTP/1.1 301 Moved\r\nLocation: {location}\r\n\r\n".encode("iso-8859-1")
    for status in (301, 302, 303, 307, 308):
        block = head.replace(b"301", str(status).encode())
        warc = f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: {PAGE}\r\nContent-Length: {len(block)}\r\n\r\n"
        path.write_bytes(warc.encode() + block + b"\r\n\r\n")
        assert [held.target for held in index(WARC, str(path))] == [target]


def test_what_is_no_answer_is_left_out(tmp_path: Path) -> None:
    """Other statuses, redirects without a place or longer than a URL may be, requests, and records that are damaged."""

    def answer(status: str, kind: str = "response") -> bytes:
        block = f"HTTP/1.1 {status}\r\n\r\nbody".encode()
        head = f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Target-URI: {PAGE}\r\nContent-Length: {len(block)}\r\n\r\n"
        return head.encode() + block + b"\r\n\r\n"

    path = tmp_path / "a.warc"
    wrong = [answer(status) for status in ("404 Not Found", "301 Moved", "304 Not Modified", "500 Oops")]
    far = answer(f"302 Found\r\nLocation: /{'x' * 9000}")
    path.write_bytes(b"".join([*wrong, far, answer("200 OK", "request"), b"rubbish\r\n\r\n", answer("204 No Content")]))
    assert [held.target for held in index(WARC, str(path))] == [""]


def test_a_revisit_is_resolved_by_digest_else_by_the_url_it_names(tmp_path: Path) -> None:
    """The case of a digest does not matter; one without a digest is followed to the URL it refers to, not to itself."""
    refers = "WARC-Refers-To-Target-URI: <{}>\r\n"
    web = [
        Told(PAGE, digest="SHA1:ABC", is_revisit=True, fields=refers.format("http://b.example/")),
        Told(PAGE, is_revisit=True, fields=refers.format("http://b.example/")),
        Told(PAGE, is_revisit=True, fields=refers.format(PAGE)),
        Told(PAGE, is_revisit=True),
    ]
    list(write_archives(tmp_path, {"a.warc": web}))
    found = list(index(WARC, str(tmp_path / "a.warc")))
    assert [(held.digest, held.is_revisit, held.target) for held in found] == [
        ("sha1:abc", True, ""),
        ("", False, "http://b.example/"),
    ]


def test_arc_records_and_resources_are_bodies(tmp_path: Path) -> None:
    """An ARC record is its answer; a WARC resource of a web address is the body itself."""
    arc = tmp_path / "a.arc"
    arc.write_bytes(
        arc_record("filedesc://a.arc", b"1 0 x\n", "text/plain")
        + arc_record("http://a.example/x", b"HTTP/1.1 200 OK\r\n\r\nbody", "image/png")
    )
    assert kind_of(str(arc)) == WARC
    assert read_all(WARC, str(arc)) == {"http://a.example/x": b"body"}
    head = "WARC/1.0\r\nWARC-Type: resource\r\nWARC-Target-URI: {}\r\nContent-Length: 4\r\n\r\nbody\r\n\r\n"
    (tmp_path / "a.warc").write_text(head.format(PAGE) + head.format("urn:x"), newline="")
    assert read_all(WARC, str(tmp_path / "a.warc")) == {PAGE: b"body"}


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_images_of_tars_have_the_urls_that_extract_gives_their_pairs(tmp_path: Path, mode: str) -> None:
    """Of JSON, of the table beside, or of their place in the tar; a sample without an image holds no body."""
    members = {
        "0.jpg": b"zero", "0.json": orjson.dumps({"url": "http://x.example/0#top"}), "0.txt": b"zero",
        "1.txt": b"one", "1.webp": b"one!",
        "dir/a b.png": b"place", "dir/a b.txt": b"place",
        "3.txt": b"three", "3.json": orjson.dumps({"url": "http://x.example/3"}),
        "4.json": orjson.dumps({"url": "http://x.example/4", "status": "failed_to_download"}), "4.jpg": b"failed",
        "5.json": b"[", "5.jpg": b"json that is none",
        f"{'long' * 40}.jpg": b"long",
    }  # fmt: skip
    path = make_tar(tmp_path / ("00000.tar.gz" if mode == "w:gz" else "00000.tar"), members, mode)
    pq.write_table(pa.table({"key": ["1"], "url": ["http://x.example/1"]}), tmp_path / "00000.parquet")
    assert kind_of(path) == TAR
    bodies = read_all(TAR, path)
    assert bodies == {
        "http://x.example/0": b"zero",
        "http://x.example/1": b"one!",
        "https://00000.tar.invalid/dir/a%20b.png": b"place",
        f"https://00000.tar.invalid/{'long' * 40}.jpg": b"long",
    }
    links = [each for each in Shards().findings(Slice(path)) if isinstance(each, Links)]
    urls = {url.partition("#")[0] for each in links for url in each.url.to_pylist()}
    assert bodies.keys() == urls - {"http://x.example/3"}


def test_tars_of_others_and_of_our_own_are_read(tmp_path: Path) -> None:
    """clip-retrieval's tars, by tarfile; a shard of ours, by the URLs of its samples."""
    for path in sorted(real_data("peers", "clip-retrieval", "test_tars").iterdir()):
        with tarfile.open(path) as archive:
            images = [
                archive.extractfile(each).read()  # type: ignore[union-attr]
                for each in archive
                if each.name.endswith((".jpg", ".png"))
            ]
        assert kind_of(str(path)) == TAR
        assert list(read_all(TAR, str(path)).values()) == images
    samples = make_samples(5)
    write_shard(str(tmp_path), 0, samples)
    assert read_all(TAR, str(tmp_path / "00000.tar")) == {row["url"]: body for row, body in samples}


def test_what_is_no_archive_is_told_before_anything_is_read(tmp_path: Path) -> None:
    """A folder, a page, a table, a WARC compressed whole, and what is missing; a damaged beginning is none of them."""
    for name, data in {
        "page.warc": b"<html>" * 50_000,
        "x.parquet": b"PAR1",
        "x.tar": b"\xff\xd8" * 400,
        "x.warc.gz": gzip.compress(b"no archive"),
        "whole.warc.gz": gzip.compress(record(Told(PAGE, b"x")) * 3),
    }.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InputError, match="record by record" if name.startswith("whole") else "name archives only"):
            kind_of(str(tmp_path / name))
    with pytest.raises(InputError, match="a folder; name the files in it"):
        archive_files([str(tmp_path)])
    with pytest.raises(InputError, match="found nothing"):
        archive_files([str(tmp_path / "none.warc")])
    (tmp_path / "damaged.warc").write_bytes(b"rubbish\r\n" + record(Told(PAGE, b"x")))
    (tmp_path / "empty.warc").touch()
    with tarfile.open(tmp_path / "folders.tar", "w") as archive:
        for number in range(200):
            folder = tarfile.TarInfo(f"{number}")
            folder.type = tarfile.DIRTYPE
            archive.addfile(folder)
    assert kind_of(str(tmp_path / "folders.tar")) == kind_of(make_tar(tmp_path / "none.tar", {})) == TAR
    names = [str(tmp_path / name) for name in ("damaged.warc", "empty.warc")]
    assert archive_files([*names, names[0]]) == [(WARC, name) for name in names]
    assert archive_files(["memory://crawl/a.WARC.gz", "memory://crawl/b.tgz"]) == [
        (WARC, "memory://crawl/a.WARC.gz"),
        (TAR, "memory://crawl/b.tgz"),
    ]


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_damaged_archives_never_raise(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Bytes changed or cut anywhere cost bodies, each a refusal; nothing but InputError, for what is no archive."""
    folder = tmp_path_factory.mktemp("damaged")
    chance = random.Random(7)
    records = b"".join(gzipped(record(Told(f"http://a.example/{n}", chance.randbytes(600)))) for n in range(6))
    make_tar(folder / "t.tar", {f"{n}.jpg": chance.randbytes(600) for n in range(6)})
    tar = (folder / "t.tar").read_bytes()
    whole = data.draw(st.sampled_from([records, gzip.decompress(records), tar, gzip.compress(tar, mtime=0)]))
    end = data.draw(st.integers(0, len(whole)))
    damaged = bytearray(whole[:end] if data.draw(st.booleans()) else whole)
    for place in data.draw(st.lists(st.integers(0, max(len(damaged) - 1, 0)), max_size=4)):
        damaged[place : place + 1] = data.draw(st.binary(min_size=1, max_size=3))
    path = folder / "damaged"
    path.write_bytes(damaged)
    for kind in (WARC, TAR):
        try:
            places = [held.offset for held in index(kind, str(path)) if not held.target]
            kind_of(str(path))
        except InputError:
            continue
        for offset in [*places, 0, len(damaged)]:
            with suppress(Refused):
                assert len(read((str(path), offset))) <= 1 << 20


def test_bodies_are_judged(tmp_path: Path) -> None:
    """Encodings undone; over the limit, opted out (each by its reason), and damaged: refused."""
    packed = gzip.compress(b"x" * 5000)

    def write(body: bytes, fields: str) -> tuple[str, int]:
        block = f"HTTP/1.1 200 OK\r\n{fields}\r\n".encode() + body
        head = f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: {PAGE}\r\nContent-Length: {len(block)}\r\n\r\n"
        path = tmp_path / "a.warc"
        path.write_bytes(head.encode() + block + b"\r\n\r\n")
        return str(path), 0

    assert read(write(packed, "Content-Encoding: gzip\r\n"), 5000) == b"x" * 5000
    assert read(write(b"3\r\nabc\r\n0\r\n\r\n", "Transfer-Encoding: chunked\r\n")) == b"abc"
    for limit, body, fields, reason in (
        (4999, packed, "Content-Encoding: gzip\r\n", "too_large"),
        (3, b"abcd", "", "too_large"),
        (9, b"abcd", "X-Robots-Tag: noindex, noai\r\n", "opted_out_noai"),
        (9, b"abcd", "TDM-Reservation: 1\r\n", "opted_out_tdm"),
    ):
        with pytest.raises(Refused) as refused:
            read(write(body, fields), limit)
        assert refused.value.reason == reason
    path = make_tar(tmp_path / "t.tar", {"a.jpg": b"abcd"})
    for limit, offset, reason in ((3, 0, "too_large"), (9, 512, "truncated_body"), (9, 99_999, "truncated_body")):
        with pytest.raises(Refused) as refused:
            read((path, offset), limit)
        assert refused.value.reason == reason


def test_an_archive_that_goes_away_is_an_error_not_a_reject(tmp_path: Path) -> None:
    """What happens to the disk or the network is no fault of a body."""
    with pytest.raises(InputError, match="expected a file here"):
        read((str(tmp_path / "gone.warc"), 0))


def test_a_network_that_fails_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A remote archive is opened anew a few times; a network that stays away ends the work, whatever it raises."""
    (tmp_path / "a.warc").write_bytes(record(Told(PAGE, b"body")))
    failures: list[Exception] = [ConnectionResetError("reset"), aiohttp.ClientPayloadError("cut"), TimeoutError()]
    waits: list[float] = []

    def open_after(_: str) -> IO[bytes]:
        if failures:
            raise failures.pop()
        return (tmp_path / "a.warc").open("rb")

    monkeypatch.setattr("pipelines.fetching.archive.open_input", open_after)
    monkeypatch.setattr("pipelines.fetching.archive.sleep", waits.append)
    assert read(("memory://x/a.warc", 0)) == b"body"
    assert len(waits) == 3
    failures += [aiohttp.ClientPayloadError("the answer is cut")] * 4
    with pytest.raises(InputError, match=r"memory://x/a\.warc: cannot be read: the answer is cut"):
        read(("memory://x/a.warc", 0))


def test_each_url_is_read_once_in_the_order_of_the_archive(tmp_path: Path) -> None:
    """Bodies that URLs share, too; what is done is passed over; a URL without a place has its reason."""
    members = {f"{n}.jpg": b"%d" % n for n in range(4)}
    path = make_tar(tmp_path / "t.tar.gz", members, "w:gz")  # a step back would unpack it from the start
    offsets = {held.url.rpartition("/")[2]: held.offset for held in index(TAR, path)}
    rows: list[dict[str, object]] = [
        {"url": f"u{n}", "archive": path, "record_offset": offsets[f"{n % 4}.jpg"]} for n in (7, 2, 3, 2, 1, 5, 0, 6)
    ]
    rows[4] |= {"final_url": "http://end.example/", "num_redirects": 2}
    rows += [
        {"url": "none"},
        {"url": "lost", "final_url": "http://b.example/x", "num_redirects": 1},
        {"url": "circle", "final_url": "circle", "num_redirects": 4},
    ]
    numbers = np.array([0, 1, 2, 1, 3, 4, 5, 6, 7, 8, 9], np.int32)
    done = np.zeros(10, np.bool_)
    done[4] = True
    asked: list[int] = []

    class Noting(ArchiveReader):
        def read(self, archive: str, offset: int) -> bytes:
            asked.append(offset)
            return super().read(archive, offset)

    with Noting(99, "wit", ()) as source:
        found = dict(read_located(located(rows), numbers, done, source, 3))
    assert asked == sorted(set(asked))
    assert found.keys() == {0, 1, 2, 3, 5, 6, 7, 8, 9}
    bodies = {number: outcome for number, outcome in found.items() if isinstance(outcome, Body)}
    assert {number: outcome.data for number, outcome in bodies.items()} == {
        0: b"3", 1: b"2", 2: b"3", 3: b"1", 5: b"0", 6: b"2",
    }  # fmt: skip
    assert [bodies[number].final_url for number in (0, 3)] == ["u7", "http://end.example/"]
    refused = {number: (outcome.reason, outcome.detail) for number, outcome in found.items() if number not in bodies}  # type: ignore[union-attr]
    assert refused == {
        7: ("not_in_archive", None),
        8: ("not_in_archive", "redirects to http://b.example/x"),
        9: ("too_many_redirects", "more than 3"),
    }


def test_a_real_crawl_is_indexed_as_an_independent_reader_sees_it() -> None:
    """Of a crawl of 2008, in WARC and ARC: the same URLs with an answer of success; bodies as FastWARC has them."""
    path = str(real_data("webarchive", "aut", "example.warc.gz"))
    expected = {}
    for each in ArchiveIterator(path, record_types=WarcRecordType.response, parse_http=True):
        if each.is_http and 200 <= (each.http_headers.status_code or 0) < 300:
            expected[each.headers["WARC-Target-URI"]] = each.reader.read()
    assert read_all(WARC, path) == expected
    arc = str(real_data("webarchive", "aut", "example.arc.gz"))
    assert read_all(WARC, arc).keys() == expected.keys()
