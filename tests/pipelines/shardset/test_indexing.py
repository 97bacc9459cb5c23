"""Tars that somebody else made: found in them what is there, and usable by all that reads shards."""

from __future__ import annotations

import json
import os
import tarfile
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.shardset.cutting import Limit
from pipelines.shardset.indexing import index_tars
from pipelines.shardset.merging import merge
from pipelines.shardset.removing import remove_samples
from pipelines.shardset.rules import make_rules
from pipelines.shardset.splitting import draw, resplit
from pipelines.shardset.verification import verify
from tests.pipelines.shardset.foreign import picture, write_tar
from tests.pipelines.shardset.sets import contents_of, keys_of, rows_of, sample_set
from tests.support import real_data
from trainer.loader.index import read_captions
from trainer.loader.index import read_index as read_training_index
from trainer.loader.reading import read_sample
from wit.errors import InputError, OutputError, WitError
from wit.fingerprint import fingerprint
from wit.schema import PRINTS
from wit.shards import UNDER_WAY, foreign_index_name, read_any_index, read_index, read_samples

MIXED = [
    ("a/1.jpg", picture(1)), ("a/1.txt", b"one"), ("a/1.cls", b"7"),
    ("a/2.PNG", picture(2, "PNG")), ("a/2.json", orjson.dumps({"caption": 'a "dog"\n', "url": "http://x.org/2"})),
    ("._a", b"mac"), ("a/3.webp", picture(3, "WEBP")), ("a/3.caption", "drei ü".encode()),
    ("a/4.txt", b"no image"),
    ("a/5.jpg", b"no image either"), ("a/5.txt", b"five"),
    ("b/1.jpg", picture(6)),
    ("a/1.jpg", picture(7)), ("a/1.txt", b"again"),
]  # fmt: skip


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    return write_tar(tmp_path / "set" / "mixed.tar", MIXED).parent


def test_what_is_in_a_tar_is_in_its_index(mixed: Path) -> None:
    """Images of any suffix, captions from .txt, .caption and JSON, URLs from JSON; the rest blank, or left out."""
    found = index_tars(str(mixed), None, 1)
    (one,) = found.tars
    assert (one.num_samples, one.left_out, one.unreadable, one.problem) == (6, 1, 1, "")
    rows = rows_of(mixed)
    said = [(row["key"], row["caption"], row["url"], row["attribute"], row["width"], row["height"]) for row in rows]
    assert said == [
        ("a/1", "one", "", "txt", 36, 24),
        ("a/2", 'a "dog"\n', "http://x.org/2", "json@caption", 36, 24),
        ("a/3", "drei ü", "", "caption", 36, 24),
        ("a/5", "five", "", "txt", 0, 0),
        ("b/1", "", "", "", 36, 24),
        ("a/1#2", "again", "", "txt", 36, 24),
    ]
    images = [image for image, _ in contents_of(mixed).values()]
    assert images == [picture(1), picture(2, "PNG"), picture(3, "WEBP"), b"no image either", picture(6), picture(7)]
    assert verify(str(mixed), 1).problems == ()
    assert json.loads((mixed / "manifest.json").read_text())["shards"][0]["is_foreign"] is True


@pytest.mark.parametrize("tar_format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_extents_cover_whole_samples(tmp_path: Path, tar_format: int) -> None:
    """A sample's range of bytes, with long names and all, is by itself a tar of exactly its members."""
    names = ["x.jpg", "é" * 120 + ".jpg", "é" * 120 + ".txt", "y.jpg", "y.txt"]
    path = write_tar(tmp_path / "a.tar", [(name, picture(number)) for number, name in enumerate(names)], tar_format)
    index_tars(str(path), None, 1)
    data, found = path.read_bytes(), []
    for row in read_any_index(str(path)).to_pylist():
        cut = tmp_path / "cut.tar"
        cut.write_bytes(data[row["sample_offset"] :][: row["sample_length"]] + bytes(1024))
        with tarfile.open(cut) as archive:
            found.append(archive.getnames())
    assert found == [names[:1], names[1:3], names[3:]]


def img2dataset_like(folder: Path, number: int, rows: int = 4) -> Path:
    """Write a tar, a table and statistics as img2dataset does, without URLs in the JSON."""
    keys = [f"{number:05d}{row:04d}" for row in range(rows)]
    members = []
    for place, key in enumerate(keys):
        members += [(f"{key}.jpg", picture(number * 100 + place)), (f"{key}.json", b'{"status": "success"}')]
        members += [(f"{key}.txt", f"caption {key}".encode())]
    table = pa.table(
        {"url": [f"http://h{number}.org/{key}" for key in keys], "key": keys, "status": ["success"] * rows}
    )
    path = write_tar(folder / f"{number:05d}.tar", members)
    pq.write_table(table, folder / f"{number:05d}.parquet")
    (folder / f"{number:05d}_stats.json").write_text("{}")
    return path


def test_img2dataset_output_is_left_as_it_is(tmp_path: Path) -> None:
    """Its tables stay byte for byte, give the URLs, and do not disturb the verification; again changes nothing."""
    for number in range(3):
        img2dataset_like(tmp_path, number)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    found = index_tars(str(tmp_path), None, 2)
    assert not found.has_tar_names
    after = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert before.items() < after.items()
    assert [row["url"] for row in rows_of(tmp_path)][:2] == ["http://h0.org/000000000", "http://h0.org/000000001"]
    assert verify(str(tmp_path), 1).problems == ()
    assert index_tars(str(tmp_path), None, 1) == found
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == after


def test_an_index_elsewhere(tmp_path: Path) -> None:
    """With --out the tars' folder stays as it is, and the new folder is a set; removing there leaves the tars alone."""
    path = img2dataset_like(tmp_path / "theirs", 0)
    before = {each.name: each.read_bytes() for each in path.parent.iterdir()}
    index_tars(str(path.parent), str(tmp_path / "ours"), 1)
    ours = tmp_path / "ours"
    assert verify(str(ours), 1).problems == ()
    assert rows_of(ours)[1]["url"] == "http://h0.org/000000001"
    remove_samples(str(ours), make_rules([("key", keys_of(ours)[0])]), "asked", 1)
    assert len(keys_of(ours)) == 3
    assert verify(str(ours), 1).problems == ()
    assert {each.name: each.read_bytes() for each in path.parent.iterdir()} == before
    with pytest.raises(OutputError, match="expected nothing here"):
        index_tars(str(img2dataset_like(tmp_path / "others", 0).parent), str(ours), 1)


def test_stems_of_several_tars_may_be_equal(tmp_path: Path) -> None:
    """Then all keys begin with their tar's name; when the tar that repeats goes, they are the stems again."""
    for name in "pq":
        write_tar(tmp_path / "set" / f"{name}.tar", [("1.jpg", picture(ord(name))), ("1.txt", name.encode())])
    write_tar(tmp_path / "set" / "r.tar", [("2.jpg", picture(2))])
    folder = str(tmp_path / "set")
    assert index_tars(folder, None, 2).has_tar_names
    assert keys_of(tmp_path / "set") == ["p/1", "q/1", "r/2"]
    assert index_tars(folder, None, 1).has_tar_names
    assert verify(folder, 1).problems == ()
    merge([folder], str(tmp_path / "merged"), Limit(10), 1)
    assert contents_of(tmp_path / "merged") == contents_of(tmp_path / "set")
    samples = list(read_samples(str(tmp_path / "merged" / "00000.tar")))
    assert [sample["jpg"][0] for sample in samples] == ["p/1.jpg", "q/1.jpg", "r/2.jpg"]
    assert verify(str(tmp_path / "merged"), 1).problems == ()
    (tmp_path / "set" / "q.tar").unlink()
    (tmp_path / "set" / "q.index.parquet").unlink()
    assert not index_tars(folder, None, 1).has_tar_names
    assert keys_of(tmp_path / "set") == ["1", "2"]


def test_all_tools_work_on_foreign_tars(mixed: Path, tmp_path: Path) -> None:
    """Split, sample, merge with a set of ours, remove: other members go along, and the result verifies."""
    index_tars(str(mixed), None, 1)
    resplit(str(mixed), str(tmp_path / "split"), Limit(2), 1)
    assert contents_of(tmp_path / "split") == contents_of(mixed)
    assert next(read_samples(str(tmp_path / "split" / "00000.tar")))["cls"][1] == b"7"
    draw(str(mixed), str(tmp_path / "drawn"), 3, 0, Limit(2), 1)
    ours = sample_set(tmp_path / "ours", 5)
    merge([str(ours), str(mixed)], str(tmp_path / "merged"), Limit(4), 1)
    assert contents_of(tmp_path / "merged") == contents_of(ours) | contents_of(mixed)
    remove_samples(str(mixed), make_rules([("key", "a/1"), ("url", "http://x.org/2")]), "asked", 1)
    assert keys_of(mixed) == ["a/3", "a/5", "b/1", "a/1#2"]
    for name in ("split", "drawn", "merged", "set"):
        assert verify(str(tmp_path / name), 1).problems == (), name


def test_the_trainer_reads_them(mixed: Path) -> None:
    """The trainer's index has each image and caption, also one that is a field of a JSON member."""
    index_tars(str(mixed), None, 1)
    index = read_training_index(str(mixed))
    found = [read_sample(index, sample) for sample in range(len(index))]
    assert (
        [text for _, text in found] == list(read_captions(index)) == ["one", 'a "dog"\n', "drei ü", "five", "", "again"]
    )
    assert [image for image, _ in found][:2] == [picture(1), picture(2, "PNG")]
    assert index.key(5) == "a/1#2"


def test_damage_to_foreign_tars_is_told(mixed: Path) -> None:
    """A changed byte of an image, of a caption, a moved or a lost sample: each gives a problem."""
    index_tars(str(mixed), None, 1)
    path = mixed / "mixed.tar"
    sound, rows = path.read_bytes(), rows_of(mixed)

    def problems(data: bytes) -> str:
        path.write_bytes(data)
        return "\n".join(verify(str(mixed), 1).problems)

    def changed(offset: int, data: bytes) -> bytes:
        return sound[:offset] + data + sound[offset + len(data) :]

    assert "not those that the index has the hash of" in problems(changed(rows[0]["image_offset"] + 99, b"x"))
    assert "the caption is not" in problems(changed(rows[0]["text_offset"], b"x"))
    assert "is not in the index" in problems(
        sound[: rows[1]["image_offset"] - 512] + sound[rows[2]["image_offset"] - 512 :]
    )
    assert "breaks off" in problems(sound[:9000])
    assert "is not the file that" in problems(sound + bytes(512))
    assert problems(sound) == ""


def test_what_is_left_out_is_no_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sample whose image is empty, or too large, is left out of the index, and verification does not miss it."""
    monkeypatch.setattr("wit.foreign.MAX_IMAGE_BYTES", 10_000)
    write_tar(tmp_path / "x.tar", [("a.jpg", b""), ("b.jpg", bytes(10_001)), ("c.jpg", picture(1)), ("d.txt", b"d")])
    assert [(each.num_samples, each.left_out) for each in index_tars(str(tmp_path), None, 1).tars] == [(1, 3)]
    assert verify(str(tmp_path), 1).problems == ()


def test_a_broken_tar_costs_no_other(tmp_path: Path) -> None:
    """It is told, has no index, and is not in the manifest; the others are indexed."""
    img2dataset_like(tmp_path, 0)
    broken = img2dataset_like(tmp_path, 1)
    broken.write_bytes(broken.read_bytes()[:5000])
    found = index_tars(str(tmp_path), None, 1)
    assert [bool(each.problem) for each in found.tars] == [False, True]
    assert "breaks off" in found.tars[1].problem
    assert not Path(foreign_index_name(str(broken))).exists()
    assert len(read_index(str(tmp_path / "00000.tar"))) == 4


def test_what_is_ours_needs_no_index(tmp_path: Path) -> None:
    """A tar with an index of ours is told, and its manifest stays; one of something else is not written over."""
    ours = sample_set(tmp_path / "ours", 3)
    before = (ours / "manifest.json").read_bytes()
    (found,) = index_tars(str(ours), None, 1).tars
    assert "expected a tar without an index" in found.problem
    assert (ours / "manifest.json").read_bytes() == before
    img2dataset_like(tmp_path / "theirs", 0)
    (tmp_path / "theirs" / "manifest.json").write_text('{"mine": 1}')
    with pytest.raises(WitError, match="expected none, or one of shards"):
        index_tars(str(tmp_path / "theirs"), None, 1)


def test_a_tar_among_others(tmp_path: Path) -> None:
    """A tar that is put beside shards of ours is indexed alone, and the manifest has all of them."""
    folder = sample_set(tmp_path, 10)
    described = json.loads((folder / "manifest.json").read_text())
    img2dataset_like(folder, 7)
    index_tars(str(folder / "00007.tar"), None, 1)
    assert verify(str(folder), 1).problems == ()
    now = json.loads((folder / "manifest.json").read_text())
    assert now["shards"][:2] == described["shards"]
    assert [len(now["shards"]), now["num_samples"], now["metadata"]] == [3, 14, []]


def test_a_removal_is_finished_first(mixed: Path) -> None:
    """While one is under way a tar and its index need not belong together."""
    index_tars(str(mixed), None, 1)
    (mixed / UNDER_WAY).write_bytes(b"")
    with pytest.raises(InputError, match="a removal is under way"):
        index_tars(str(mixed), None, 1)


def test_a_lost_index_of_ours_is_found_again(tmp_path: Path) -> None:
    """Of a shard of ours whose index is gone everything that the index said is found in the tar."""
    ours = sample_set(tmp_path / "ours", 5)
    before = rows_of(ours)
    (ours / "00000.parquet").unlink()
    (ours / "manifest.json").unlink()
    index_tars(str(ours), None, 1)
    assert rows_of(ours) == before


def test_clip_retrieval_tars(tmp_path: Path) -> None:
    """clip-retrieval's test tars, indexed elsewhere: every image that Python's tarfile finds, byte for byte."""
    tars = sorted(real_data("peers", "clip-retrieval", "test_tars").glob("*.tar"))
    found = index_tars(str(tars[0].parent), str(tmp_path / "out"), 1)
    assert sum(each.num_samples for each in found.tars) > 0
    images = []
    for path in tars:
        with tarfile.open(path) as archive:
            images += [archive.extractfile(member).read() for member in archive if member.isfile()]  # type: ignore[union-attr]
    assert sorted(image for image, _ in contents_of(tmp_path / "out").values()) == sorted(images)
    assert verify(str(tmp_path / "out"), 1).problems == ()


def test_prints_when_they_are_asked_for(mixed: Path) -> None:
    """Every image that can be decoded has the print of its bytes; an index without is made anew, one with is kept."""
    index_tars(str(mixed), None, 1)
    shards = [str(path) for path in sorted(mixed.glob("*.tar"))]
    names = [field.name for field in PRINTS]
    assert all(read_index(shard)[name].null_count == len(read_index(shard)) for shard in shards for name in names)
    found = index_tars(str(mixed), None, 2, with_prints=True)
    num_prints = 0
    for shard in shards:
        for row in read_index(shard).to_pylist():
            with open(shard, "rb") as file:
                file.seek(row["image_offset"])
                body = file.read(row["image_length"])
            if row["width"] and row["phash"] is not None:
                expected = fingerprint(body).columns()
                assert {name: row[name] for name in names} == {name: expected[name][0].as_py() for name in names}
                num_prints += 1
            else:
                assert all(row[name] is None for name in names)
    assert num_prints >= 2
    times = {shard: os.stat(foreign_index_name(shard)).st_mtime_ns for shard in shards}
    assert index_tars(str(mixed), None, 1) == index_tars(str(mixed), None, 1, with_prints=True) == found
    assert {shard: os.stat(foreign_index_name(shard)).st_mtime_ns for shard in shards} == times
    assert not verify(str(mixed), 1).problems
