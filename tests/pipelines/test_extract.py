"""extract: candidates with provenance, rejects with reasons, equal pairs merged into their first occurrence."""

from __future__ import annotations

import io
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fastwarc.warc import ArchiveIterator, response
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.stages.extract import MERGE, Extract, FindPairs, ListInputs, merge_equal
from pipelines.stages.verb import RunSettings
from tests.pipelines.sources.warcs import page, record
from tests.served_file import served
from tests.support import MemoryPart, real_data, run_map, run_sql
from wit.copying import copy_if_there
from wit.errors import InputError
from wit.keys import key_bucket, sample_key, uniform_rank
from wit.schema import CANDIDATES

FIND = FindPairs(num_buckets=4, salt="wit")


def extract(kind: str, *patterns: str) -> dict[str, pa.Table]:
    """Every table of the stage, over all inputs."""
    inputs = pa.concat_tables(ListInputs(tuple((kind, pattern) for pattern in patterns))("."))
    found = run_map(FIND, inputs)
    return {**found, "pairs": run_sql(MERGE, candidates=found["kept"])}


def write(folder: Path, name: str, *records: bytes) -> str:
    (folder / name).write_bytes(b"".join(records))
    return str(folder / name)


def test_candidates_say_where_they_come_from(tmp_path: Path) -> None:
    """Key, bucket and rank follow from URL and caption; the rest is provenance."""
    first = page("http://x.example/p/1", b"<p>")
    markup = b'<base href="/b/"><img src=" a.jpg#top " alt="A&nbsp; big\n dog">'
    found = extract("warc", write(tmp_path, "x.warc", first, page("http://x.example/p/2", markup)))
    key = sample_key("http://x.example/b/a.jpg", "A big dog")
    assert found["kept"].to_pylist() == [
        {
            "key": key,
            "bucket": key_bucket(key, 4),
            "rank": uniform_rank("wit", key),
            "url": "http://x.example/b/a.jpg",
            "caption": "A big dog",
            "page_url": "http://x.example/p/2",
            "archive": "x.warc",
            "offset": len(first),
            "attribute": "img@alt",
            "num_occurrences": 1,
        }
    ]
    assert found["rejects"].num_rows == 0


def test_rejects_say_what_was_wrong(tmp_path: Path) -> None:
    """A blank text, a bad URL, a whole page's text, a record that is no HTTP message, and a file that breaks off."""
    markup = (
        b'<img src="a.jpg" alt=" \n"><img src="data:image/gif;base64,R0" alt="A"><img src="data:image/gif;base64,R0">'
        b'<img src="b.jpg" alt="' + b"A" * 65_537 + b'">'
    )
    records = (
        page("http://x.example/", markup),
        record("response", "http://x.example/2", b"\0"),
        page("http://x/", b"12345678"),
    )
    url = write(tmp_path, "x.warc", b"".join(records)[:-8])
    rejects = extract("warc", url)["rejects"].to_pylist()
    assert [(row["reason"], row["url"], row["caption"]) for row in rejects] == [
        ("empty_caption", "http://x.example/a.jpg", ""),
        ("bad_url", "data:image/gif;base64,R0", "A"),
        ("huge_caption", "http://x.example/b.jpg", "A" * 2000),
        ("malformed_record", f"x.warc#{len(records[0])}", ""),
        ("unreadable_archive", "x.warc", ""),
    ]
    whole = {**{row["url"]: row["caption"] for row in rejects}, "http://x.example/b.jpg": "A" * 65_537}
    assert all(row["key"] == sample_key(row["url"], whole[row["url"]]) for row in rejects)
    assert {row["stage"] for row in rejects} == {"extract"}
    assert {row["reason"] for row in rejects} == set(Extract.reasons)


def test_long_rejected_urls_are_shown_cut(tmp_path: Path) -> None:
    """A data: URL of megabytes is not carried into the rejects, but its key is that of the whole."""
    url = "data:image/png;base64," + "A" * 100_000
    (row,) = extract(
        "warc", write(tmp_path, "x.warc", page("http://x.example/", f'<img src="{url}" alt="A">'.encode()))
    )["rejects"].to_pylist()
    assert row["key"] == sample_key(url, "A")
    assert row["url"] == url[:100]


occurrences = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        st.sampled_from(["x.warc", "y.warc"]),
        st.integers(0, 2),
        st.sampled_from(["img@alt", "figcaption"]),
    ),
    max_size=20,
)


@settings(max_examples=25)
@given(occurrences, st.randoms(use_true_random=False), st.integers(1, 7))
def test_merging_keeps_the_first_occurrence_whatever_the_chunks(
    rows: list[tuple[Any, ...]], random: Any, chunk: int
) -> None:
    """One row a key, its count, and the provenance that is least by archive, offset, attribute; chunks are sorted."""
    table: list[dict[str, object]] = []
    for caption, archive, offset, attribute in rows:
        key = sample_key("http://u/", caption)
        row = {"key": key, "bucket": key_bucket(key, 4), "rank": 1, "url": "http://u/", "caption": caption}
        row |= {"page_url": None, "archive": archive, "offset": offset, "attribute": attribute, "num_occurrences": 1}
        table.append(row)
    random.shuffle(table)
    chunks = []
    for archive in ("x.warc", "y.warc"):  # a chunk is of one archive
        found = pa.Table.from_pylist([row for row in table if row["archive"] == archive], schema=CANDIDATES)
        chunks += [merge_equal(found.slice(start, chunk).to_batches()) for start in range(0, len(found), chunk)]
    for each in chunks:
        keys = each.column("key").to_pylist()
        assert keys == sorted(set(keys))
    merged = run_sql(MERGE, candidates=pa.Table.from_batches(chunks, CANDIDATES)).to_pylist()
    assert {row["caption"]: row["num_occurrences"] for row in merged} == Counter(row[0] for row in rows)
    for row in merged:
        places = [each[1:4] for each in rows if each[0] == row["caption"]]
        assert (row["archive"], row["offset"], row["attribute"]) == min(places)


def test_pages_break_ties() -> None:
    """Two archives of one name that hold a pair at the same place: the lower page address stays, none before any."""
    row = {"key": "0" * 32, "bucket": 0, "rank": 1, "url": "http://u/", "caption": "a", "archive": "x", "offset": 0}
    row |= {"attribute": "img@alt", "num_occurrences": 2}
    pages = ["http://q/", None, "http://p/"]
    found = pa.Table.from_pylist([row | {"page_url": page} for page in pages], schema=CANDIDATES)
    (merged,) = run_sql(MERGE, candidates=found).to_pylist()
    assert (merged["page_url"], merged["num_occurrences"]) == (None, 6)


def test_inputs_are_the_files_of_all_patterns(tmp_path: Path) -> None:
    """One part an archive, in the order of the patterns; a pattern that finds nothing is an error at once."""
    for name in ("b.warc", "a.warc"):
        write(tmp_path, name)
    section = Extract(warc=(f"{tmp_path}/*.warc",), wat=(f"{tmp_path}/b.warc",))
    assert [Path(url).name for url in section.inputs()] == ["b.warc", "a.warc", "b.warc"]
    plan = section.steps(RunSettings())[0].stage
    assert isinstance(plan, ListInputs)
    assert [table.column("kind").to_pylist() for table in plan(".")] == [["wat"], ["warc"], ["warc"]]
    with pytest.raises(InputError, match="expected a file here"):
        Extract(warc=(f"{tmp_path}/none.warc",)).inputs()
    with pytest.raises(InputError, match="no input"):
        list(ListInputs(())("."))


MARKUP = "".join(f'<img src="{number}.jpg" alt="A dog, number {number}">' for number in range(200)).encode()


@pytest.mark.parametrize("ranges", [True, False])
def test_a_remote_archive_is_what_the_file_is(tmp_path: Path, ranges: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over HTTP, with ranges or without, through a connection that breaks, the tables are those of the file."""
    monkeypatch.setattr("wit.copying.sleep", lambda _: None)
    path = write(tmp_path, "a.xml", *(page(f"http://x.example/{number}", MARKUP) for number in range(50)))
    run = tmp_path / "run"
    run.mkdir()
    with served(Path(path).read_bytes(), ranges, failures=[1] * 99 + [0, 1, 0]) as url:
        inputs = pa.concat_tables(ListInputs((("warc", url),))("."))
        found = run_map(FIND, inputs, MemoryPart(root=str(run)))
    assert found["kept"].column("num_occurrences").to_pylist() == [50] * 200
    assert found == {name: table for name, table in extract("warc", path).items() if name != "pairs"}
    assert not list(run.iterdir())


def test_a_remote_tar_comes_with_its_table(tmp_path: Path) -> None:
    """The URLs of samples that stand only in the table beside a tar are found; what is said of both names no copy."""
    files = fsspec.filesystem("memory")
    with files.open("/shards/00000.tar", "wb") as sink, tarfile.open(fileobj=sink, mode="w") as archive:
        for name, data in (("000.jpg", b"\xff\xd8"), ("000.txt", b"a red dog")):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    with files.open("/shards/00000.parquet", "wb") as sink:
        pq.write_table(pa.table({"key": ["000"], "url": ["http://x.example/dog.jpg"]}), sink)
    inputs = pa.concat_tables(ListInputs((("shards", "memory://shards/00000.tar"),))("."))
    found = run_map(FIND, inputs, MemoryPart(root=str(tmp_path)))
    assert found["kept"].column("url").to_pylist() == ["http://x.example/dog.jpg"]
    with files.open("/shards/00000.tar", "ab") as sink:
        sink.seek(3 * 512)
        sink.write(b"no header" * 512)
    found = run_map(FIND, inputs, MemoryPart(root=str(tmp_path)))
    assert found["rejects"].column("detail").to_pylist()[0].startswith("00000.tar: ")
    with files.open("/shards/t.csv", "wb") as sink:
        sink.write(b"a,b\n1,2\n")
    tables = pa.concat_tables(ListInputs((("table", "memory://shards/t.csv"),))("."))
    with pytest.raises(InputError, match=r"^memory://shards/t\.csv: expected one of the columns url"):
        run_map(FIND, tables, MemoryPart(root=str(tmp_path)))


def test_a_dead_network_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that does not come is an error that names it, after waits that grow to a minute, and never a reject."""
    waits: list[float] = []
    monkeypatch.setattr("wit.copying.sleep", waits.append)
    with served(b"x" * 100, True, failures=[0] * 999) as url:
        inputs = pa.concat_tables(ListInputs((("wat", url),))("."))
        with pytest.raises(InputError, match=r"a\.xml: cannot be copied whole.*run the same command again"):
            run_map(FIND, inputs, MemoryPart(root=str(tmp_path)))
    assert waits == [1, 2, 4, 8, 16, 32, 60]
    waits.clear()
    nobody = pa.concat_tables(ListInputs((("wat", "http://127.0.0.1:9/a.wat.gz"),))("."))
    with pytest.raises(InputError, match=r"a\.wat\.gz: cannot be reached: .*run the same command again"):
        run_map(FIND, nobody, MemoryPart(root=str(tmp_path)))
    assert waits == [1, 2, 4, 8, 16, 32, 60]
    with (
        served(b"x", True, status=404) as url,
        pytest.raises(InputError, match=r"a\.xml: expected a file here, found nothing"),
    ):
        run_map(FIND, pa.concat_tables(ListInputs((("wat", url),))(".")), MemoryPart(root=str(tmp_path)))
    with served(b"x", True, status=403) as url, pytest.raises(InputError, match=r"a\.xml: cannot be read: HTTP 403"):
        run_map(FIND, pa.concat_tables(ListInputs((("wat", url),))(".")), MemoryPart(root=str(tmp_path)))
    assert len(waits) == 7
    assert not list(tmp_path.iterdir())


def test_what_may_be_missing_is_told_from_what_does_not_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table beside a tar that is not there is done without; one that a failing network withholds stops the run."""
    monkeypatch.setattr("wit.copying.sleep", lambda _: None)
    for status in (404, 403):
        with served(b"x", True, status=status) as url:
            copy_if_there(url, str(tmp_path / "copy"), lambda _: None)
    assert not list(tmp_path.iterdir())
    with (
        served(b"x", True, status=503) as url,
        pytest.raises(InputError, match=r"a\.xml: cannot be reached: .*HTTP 503"),
    ):
        copy_if_there(url, str(tmp_path / "copy"), lambda _: None)
    with served(b"x", True) as url:
        copy_if_there(url, str(tmp_path / "copy"), lambda _: None)
    assert (tmp_path / "copy").read_bytes() == b"x"


def bodies(path: Path) -> set[str]:
    """URLs whose 2xx response in an archive is an image."""
    found = set()
    for each in ArchiveIterator(str(path), record_types=response):
        if each.http_headers and each.http_headers.status_code == 200 and "image/" in (each.http_content_type or ""):
            found.add(each.headers["WARC-Target-URI"])
    return found


def test_real_crawl_has_69_pairs_whose_images_lie_in_the_same_file() -> None:
    """example.warc.gz: 596 occurrences of images with alt; of 562 the body is in the file, 69 distinct pairs."""
    path = real_data("webarchive", "aut", "example.warc.gz")
    found = extract("warc", str(path))
    held = bodies(path)
    alts = [row for row in found["pairs"].to_pylist() if row["attribute"] == "img@alt"]
    assert sum(row["num_occurrences"] for row in alts) == 596
    pairs = [row for row in alts if row["url"] in held]
    assert len(pairs) == 69
    assert sum(row["num_occurrences"] for row in pairs) == 562


def test_real_wat_has_88_occurrences_in_33_pairs() -> None:
    """wat-18.warc: 88 images with alt, 33 distinct pairs, and 18 with a blank alt."""
    found = extract("wat", str(real_data("webarchive", "commoncrawl-wat-webindex", "wat-18.warc")))
    alts = [row for row in found["pairs"].to_pylist() if row["attribute"] == "img@alt"]
    assert (sum(row["num_occurrences"] for row in alts), len(alts)) == (88, 33)
    assert found["rejects"].column("reason").to_pylist() == ["empty_caption"] * 18
    assert not [text for text in found["kept"].column("caption").to_pylist() if "&#" in text]


def test_real_table_is_read_whole() -> None:
    """LAION's 10,000 rows: each is a candidate or a reject."""
    path = real_data("peers", "img2dataset", "test_files", "test_10000.parquet")
    found = extract("table", str(path))
    assert found["kept"].num_rows + found["rejects"].num_rows == 10_000
    assert set(found["kept"].column("attribute").to_pylist()) == {"TEXT"}
    assert found["pairs"].column("num_occurrences").to_pylist().count(1) > 9_900
