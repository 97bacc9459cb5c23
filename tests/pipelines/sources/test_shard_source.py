"""Shards already on disk: whose caption, whose URL, and what is wrong with a sample or a tar."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.sources.shards import ATTRIBUTES, MAX_TEXT_BYTES, Shards
from pipelines.sources.source import MALFORMED_RECORD, UNREADABLE_ARCHIVE, Fault
from tests.pipelines.sources.listing import Found, listed
from tests.support import real_data
from tests.wit.test_shards import make_samples
from wit import tar
from wit.errors import InputError
from wit.shards import read_index, write_shard

JPEG = b"\xff\xd8"


def write(path: Path, members: list[tuple[str, bytes]]) -> str:
    """A tar with these members, in this order; a name may stand in it twice."""
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return str(path)


def pairs(found: list[Found | Fault]) -> list[tuple[str, str, str]]:
    return [(each.url, each.text, each.attribute) for each in found if isinstance(each, Found)]


def test_the_caption_is_the_first_text_that_is_there(tmp_path: Path) -> None:
    """.txt, then .caption, then a field of .json, under its name; references decoded; none at all is a blank one."""
    facts = {"url": "http://x.example/a.jpg", "caption": "of json", "text": "another"}
    samples: dict[str, dict[str, bytes]] = {
        "a": {"jpg": JPEG, "json": orjson.dumps(facts), "caption": b"of caption", "txt": b"of &amp; txt"},
        "b": {"caption": b"of caption", "jpg": JPEG, "json": orjson.dumps(facts)},
        "c": {"json": orjson.dumps(facts), "PNG": JPEG},
        "d": {"webp": JPEG, "json": orjson.dumps({**facts, "caption": 7})},
        "e": {"jpg": JPEG, "json": orjson.dumps({"url": "http://x.example/a.jpg"})},
        "f": {"json": orjson.dumps(facts)},
    }
    members = [(f"{stem}.{suffix}", data) for stem, each in samples.items() for suffix, data in each.items()]
    found = listed(Shards(), write(tmp_path / "t.tar", members))
    url = "http://x.example/a.jpg"
    assert pairs(found) == [
        (url, "of & txt", "txt"),
        (url, "of caption", "caption"),
        (url, "of json", "json@caption"),
        (url, "another", "json@text"),
        (url, "", "txt"),
        (url, "of json", "json@caption"),
    ]
    assert {attribute for _, _, attribute in pairs(found)} <= set(ATTRIBUTES)


def test_a_sample_without_a_url_is_named_by_its_place(tmp_path: Path) -> None:
    """Under .invalid, which never resolves (RFC 2606), with what is no host or path made one."""
    members = [("dir/a b.jpg", JPEG), ("dir/a b.txt", b"A dog"), ("../é#?.png", JPEG), ("../é#?.txt", b"A cat")]
    found = listed(Shards(), write(tmp_path / "Train_00 é.tar", members))
    assert pairs(found) == [
        ("https://train-00-.tar.invalid/dir/a%20b.jpg", "A dog", "txt"),
        ("https://train-00-.tar.invalid/../%C3%A9%23%3F.png", "A cat", "txt"),
    ]


def test_urls_stand_in_the_table_beside(tmp_path: Path) -> None:
    """As img2dataset writes it, where the JSON member has none; a table that cannot be read costs the tar."""
    members = [("000000001.jpg", JPEG), ("000000001.txt", b"A dog"), ("7.jpg", JPEG), ("7.txt", b"A cat")]
    url = write(tmp_path / "00000.tar", members)
    table = pa.table({"key": ["000000000", "000000001"], "url": ["http://x.example/0", "http://x.example/1"]})
    pq.write_table(table, tmp_path / "00000.parquet")
    assert [url for url, _, _ in pairs(listed(Shards(), url))] == [
        "http://x.example/1",
        "https://00000.tar.invalid/7.jpg",
    ]
    (tmp_path / "00000.parquet").write_bytes(b"PAR1 half")
    (fault,) = listed(Shards(), url)
    assert isinstance(fault, Fault)
    assert (fault.reason, fault.offset) == (UNREADABLE_ARCHIVE, None)
    assert "00000.parquet: not a readable Parquet file" in fault.detail


def test_what_is_no_sample_is_counted_or_passed_over(tmp_path: Path) -> None:
    """A failed download and attributes of files are no samples; one with neither image nor URL, with JSON that is
    none, or with a text beyond the limit is a fault at its place; a suffix that comes again begins another sample."""
    failed = orjson.dumps({"url": "u", "status": "failed_to_download"})
    members = [
        ("a.json", failed),
        ("._b.jpg", b"x"),
        ("b.cls", b"7"),
        ("c.jpg", JPEG),
        ("c.json", b"[1]"),
        ("d.txt", bytes(MAX_TEXT_BYTES + 1)),
        ("e.jpg", JPEG),
        ("e.txt", b"one"),
        ("e.jpg", JPEG),
        ("e.txt", b"two"),
    ]
    url = write(tmp_path / "t.tar", members)
    found = listed(Shards(), url)
    assert [text for _, text, _ in pairs(found)] == ["one", "two"]
    faults = [each for each in found if isinstance(each, Fault)]
    assert [fault.detail for fault in faults] == [
        "b: neither an image nor a URL",
        "c.json: expected an object, found list",
        f"a text of more than {MAX_TEXT_BYTES} bytes",
    ]
    with open(url, "rb") as file:
        for fault, name in zip(faults, ("b.cls", "c.jpg", "d.txt"), strict=True):
            assert fault.offset is not None
            file.seek(fault.offset)
            assert file.read(tar.BLOCK).startswith(name.encode())


def test_our_own_shards_give_their_pairs_back(tmp_path: Path) -> None:
    """URL and caption as written, entities in a caption left alone, and the offset of each image's header."""
    samples = make_samples(3)
    for row, _ in samples:
        row.update(caption="AT&amp;T", page_url="http://x.example/page")
    write_shard(str(tmp_path), 0, samples)
    url = str(tmp_path / "00000.tar")
    found = [each for each in listed(Shards(), url) if isinstance(each, Found)]
    assert [(each.url, each.text, each.page_url) for each in found] == [
        (row["url"], "AT&amp;T", "http://x.example/page") for row, _ in samples
    ]
    assert [each.offset + tar.BLOCK for each in found] == read_index(url).column("image_offset").to_pylist()


def test_a_table_of_img2dataset_gives_what_was_fetched(tmp_path: Path) -> None:
    """Failed rows are no pairs; another table, or another file, is refused."""
    table = {"url": ["u", "v"], "caption": ["c", "d"], "key": ["0", "1"], "status": ["success", "failed_to_resize"]}
    pq.write_table(pa.table(table), tmp_path / "00000.parquet")
    assert pairs(listed(Shards(), str(tmp_path / "00000.parquet"))) == [("u", "c", "caption")]
    pq.write_table(pa.table({**table, "status": [1, 2]}), tmp_path / "00000.parquet")
    with pytest.raises(InputError, match="expected text in column 'status'"):
        listed(Shards(), str(tmp_path / "00000.parquet"))
    pq.write_table(pa.table({"url": ["u"], "caption": ["c"]}), tmp_path / "00000.parquet")
    with pytest.raises(InputError, match=r"expected a table of img2dataset, .*extract\.tables"):
        listed(Shards(), str(tmp_path / "00000.parquet"))
    with pytest.raises(InputError, match=r"expected a WebDataset tar \(\.tar, \.tar\.gz\)"):
        list(Shards().slices("x.zip"))


def test_real_tars_are_read_to_their_end() -> None:
    """Tars of other makers: every image is a sample, every sample without one and without a URL a fault."""
    folder = real_data("peers")
    counts = {}
    for name in ("clip-retrieval/test_tars/image1.tar", "webdataset/sample.tgz", "webdataset/testgz.tar"):
        found = listed(Shards(), str(folder / name))
        counts[name] = (len(pairs(found)), len(found) - len(pairs(found)))
        assert all(each.reason == MALFORMED_RECORD for each in found if isinstance(each, Fault))
    assert counts == {
        "clip-retrieval/test_tars/image1.tar": (4, 0),
        "webdataset/sample.tgz": (90, 0),
        "webdataset/testgz.tar": (0, 1000),
    }
