"""Where bodies lie: the steps find what a plain walk through all records finds, whatever the number of buckets."""

from __future__ import annotations

import tarfile
from pathlib import Path
from urllib.parse import urljoin

import fsspec
import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.executors.parts import parts_of
from pipelines.fetching.archive import ArchiveReader, read_located
from pipelines.stages.extract import Extract
from pipelines.stages.locate import locate_steps
from pipelines.stages.verb import RunSettings
from tests.pipelines.fetching.webs import Place, Told, make_tar, random_web, write_archives, write_pairs
from tests.support import read_parts, real_data, run_steps
from wit.storage import read_parquet


def locate(root: Path, archives: tuple[str, ...], num_buckets: int, max_redirects: int) -> pa.Table:
    run_steps(locate_steps(archives, "pairs", num_buckets, max_redirects), root, num_buckets)
    return read_parts(root, "fetch/located")


class Oracle:
    """Says of a URL what the records say, one record after the other."""

    def __init__(self, records: list[tuple[Place, Told]]) -> None:
        self.records = sorted(records, key=lambda record: record[0])

    def _first(self, url: str, kind: str) -> list[tuple[Place, Told]]:
        return [
            (place, told)
            for place, told in self.records
            if told.url == url and kind == ("redirect" if told.target else "revisit" if told.is_revisit else "body")
        ]

    def _body(self, url: str) -> Place | None:
        bodies = self._first(url, "body")
        if bodies:
            return bodies[0][0]
        digests = {told.digest for _, told in self._first(url, "revisit")}
        originals = [
            place for place, told in self.records if told.digest in digests and not told.is_revisit and told.digest
        ]
        return originals[0] if originals else None

    def find(self, url: str, max_redirects: int) -> tuple[Place | None, str | None, int]:
        """Return (place of the body, URL at the end of redirects if any, their number, one more than the most)."""
        reached, hops = url, 0
        while hops <= max_redirects:
            place = self._body(reached)
            redirects = [] if place else self._first(reached, "redirect")
            if not redirects:
                return place, reached if hops else None, hops
            reached, hops = urljoin(reached, redirects[0][1].target), hops + 1
        return None, reached, hops


@pytest.mark.parametrize(("seed", "num_buckets", "max_redirects"), [(1, 1, 5), (2, 3, 3), (3, 2, 0), (4, 2, 12)])
def test_bodies_are_found_where_a_plain_walk_finds_them(
    tmp_path: Path, seed: int, num_buckets: int, max_redirects: int
) -> None:
    """Of 200 URLs with up to three records each: bodies before revisits before redirects, the first by archive and
    offset; at most 8 redirects; a circle ends as one redirect too many."""
    web = random_web(seed, 200)
    oracle = Oracle(list(write_archives(tmp_path, web)))
    urls = [f"http://h{number % 7}.example/{number}" for number in range(200)]
    write_pairs(tmp_path, urls, num_buckets)
    located = locate(tmp_path, tuple(str(tmp_path / name) for name in web), num_buckets, max_redirects)
    assert sorted(located["url"].to_pylist()) == sorted(urls)
    seen = set()
    for row in located.to_pylist():
        place, reached, hops = oracle.find(row["url"], min(max_redirects, 8))
        found = None if row["archive"] is None else (row["archive"], row["record_offset"])
        assert (found, row["final_url"], row["num_redirects"]) == (place, reached, hops), row["url"]
        seen.add((place is None, hops))
    assert len(seen) > 2


def test_an_archive_is_read_by_one_part(tmp_path: Path) -> None:
    """All bodies of an archive below 256 MiB go to the part of its number; parts are in key order; a URL's pairs share
    its place."""
    web = {f"{number}.warc": [Told(f"http://a.example/{number}/{n}", b"x") for n in range(20)] for number in range(4)}
    list(write_archives(tmp_path, web))
    urls = [told.url for records in web.values() for told in records] + ["http://a.example/none"]
    write_pairs(tmp_path, urls, 3, ("a", "b"))
    located = locate(tmp_path, (str(tmp_path / "*.warc"),), 3, 5).to_pylist()
    assert len(located) == 2 * len(urls)
    numbers = {Path(row["archive"]).stem: row["place"] for row in located if row["archive"]}
    assert numbers == {"0": 0, "1": 1, "2": 2, "3": 0}
    assert [(row["place"], row["key"]) for row in located] == sorted((row["place"], row["key"]) for row in located)
    assert {row["url"] for row in located if row["archive"] is None} == {"http://a.example/none"}


def test_remote_archives_are_brought_here_to_be_indexed(tmp_path: Path) -> None:
    """They are found at their own addresses, a tar with the table beside it; nothing of the copies stays."""
    here = tmp_path / "here"
    here.mkdir()
    list(write_archives(here, {"a.warc": [Told("http://a.example/0", b"x")]}))
    make_tar(here / "b.tar", {"1.jpg": b"one"})
    pq.write_table(pa.table({"key": ["1"], "url": ["http://a.example/1"]}), here / "b.parquet")
    fs = fsspec.filesystem("memory")
    for path in here.iterdir():
        fs.pipe(f"/located/{path.name}", path.read_bytes())
    urls = ["http://a.example/0", "http://a.example/1"]
    write_pairs(tmp_path / "run", urls, 2)
    located = locate(tmp_path / "run", ("memory://located/a.warc", "memory://located/b.tar"), 2, 1).to_pylist()
    assert {row["url"]: row["archive"] for row in located} == {
        urls[0]: "memory://located/a.warc",
        urls[1]: "memory://located/b.tar",
    }
    with ArchiveReader(99, "wit", ()) as source:
        bodies = {row["url"]: source.read(row["archive"], row["record_offset"]) for row in located}
    assert bodies == {urls[0]: b"x", urls[1]: b"one"}
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["fetch", "pairs"]


def img2dataset_tar(folder: Path, photos: dict[str, bytes]) -> str:
    """What img2dataset writes: KEY.jpg, KEY.txt and KEY.json, with the table of all URLs, failed ones too, beside."""
    members: dict[str, bytes] = {}
    rows = []
    for number, (name, photo) in enumerate(photos.items()):
        key, url, is_there = f"{number:09}", f"HTTP://photos.example/{name}?a b#top", number % 3 < 2
        row = {
            "key": key,
            "url": url,
            "caption": f"a photo &amp; {name}",
            "status": "success" if is_there else "failed",
        }
        rows.append(row)
        if is_there:
            members |= {f"{key}.jpg": photo, f"{key}.txt": row["caption"].encode(), f"{key}.json": orjson.dumps(row)}
    pq.write_table(pa.Table.from_pylist(rows), folder / "00000.parquet")
    return make_tar(folder / "00000.tar", members)


def test_pairs_of_tars_find_their_own_images(tmp_path: Path) -> None:
    """Pairs that extract takes out of tars, of img2dataset and of anyone, are located there, each at its own bytes."""
    photos: dict[str, bytes] = {}
    for path in sorted(real_data("peers", "clip-retrieval", "test_tars").iterdir()):
        with tarfile.open(path) as archive:
            photos |= {each.name: archive.extractfile(each).read() for each in archive}  # type: ignore[union-attr]
    plain = {name.replace(".jpg", suffix): body for name, photo in photos.items() for suffix, body in
             ((".jpg", photo), (".txt", f"the photo {name}".encode()))}  # fmt: skip
    tars = (img2dataset_tar(tmp_path, photos), make_tar(tmp_path / "Plain é.tar.gz", plain, "w:gz"))
    run_steps(Extract(shards=tars).steps(RunSettings(2)), tmp_path, 2)
    pairs = {row["key"]: row for row in read_parts(tmp_path, "extract/pairs").to_pylist()}
    run_steps(locate_steps(tars, "extract/pairs", 2, 5), tmp_path, 2)
    located = read_parts(tmp_path, "fetch/located")
    assert len(pairs) == len(located) == 5 + 7
    names = [pairs[key]["caption"].split()[-1] for key in located["key"].to_pylist()]
    with ArchiveReader(1 << 24, "wit", ()) as source:
        numbers = np.arange(len(names), dtype=np.int32)
        found = dict(read_located(located, numbers, np.zeros(len(names), np.bool_), source, 5))
    assert {number: getattr(body, "data", None) for number, body in found.items()} == {
        number: photos[name] for number, name in enumerate(names)
    }


def test_each_table_is_sorted_by_what_its_reader_cuts_by(tmp_path: Path) -> None:
    """So that a bucket reads the row groups that hold its rows, and not every body."""
    web = random_web(6, 300)
    list(write_archives(tmp_path, web))
    write_pairs(tmp_path, [f"http://h{number % 7}.example/{number}" for number in range(300)], 8)
    locate(tmp_path, tuple(str(tmp_path / name) for name in web), 8, 2)
    for table, column in {
        "bodies/kept": "url_bucket",
        "bodies/originals": "digest_bucket",
        "bodies/revisits": "digest_bucket",
        "revisited": "url_bucket",
        "sought/kept": "url_bucket",
        "trails-0": "reached_bucket",
        "trails-1": "reached_bucket",
        "trails-2": "url_bucket",
        "found": "place",
    }.items():
        parts = [read_parquet(part)[column].to_pylist() for part in parts_of(str(tmp_path), f"fetch/{table}")]
        assert max(map(len, parts)) > 3
        assert all(part == sorted(part) for part in parts)
