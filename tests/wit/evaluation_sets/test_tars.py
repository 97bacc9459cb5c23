"""WebDataset tars as a set: names, where classes come from, packed and broken ones."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.wit.evaluation_sets.files import image, labels_of, read_or_message, read_set, write_files, write_tar
from wit.errors import InputError
from wit.evaluation_sets import list_set, parse


def test_a_folder_of_tars_and_a_pattern(tmp_path: Path) -> None:
    """A piece is a tar; the item says which tar and which member; a pattern of several is the same set."""
    for name in ("0.tar", "1.tar"):
        write_tar(tmp_path / name, [("x/7.png", b"image"), ("x/7.cls", b"3")])
    for path in (tmp_path, tmp_path / "{0..1}.tar", tmp_path / "*.tar"):
        assert labels_of(read_set(path)) == {"0.tar/x/7.png": "3", "1.tar/x/7.png": "3"}
        assert len(list_set(parse(f"x={path}")).pieces) == 2


def test_tars_of_one_name_in_two_folders(tmp_path: Path) -> None:
    """Names stay unique: they begin where the paths of the tars part."""
    for folder in ("a", "b"):
        write_tar(tmp_path / folder / "0.tar", [("7.png", b"")])
    for path in (tmp_path, tmp_path / "{a,b}" / "0.tar", tmp_path / "*" / "0.tar"):
        assert [each.item for each in read_set(path)] == ["a/0.tar/7.png", "b/0.tar/7.png"]


@pytest.mark.parametrize(
    ("members", "label"),
    [
        ({"cls": b" 7\n"}, "7"),
        ({"cls": b"red fox"}, "red fox"),
        ({"json": b'{"label": 7}', "cls": b"3"}, "3"),
        ({"json": b'{"label": "fox", "txt": 1}', "txt": b"a caption"}, "fox"),
        ({"json": b'{"cls": 4.0}'}, "4"),
        ({"json": b'{"class": "owl"}'}, "owl"),
        ({"json": b'{"label": null, "category": "owl"}'}, "owl"),
        ({"json": b"[1, 2", "txt": b"owl\n"}, "owl"),
        ({"json": b'{"label": [1, "owl", 1]}'}, "1\nowl\n"),
        ({"json": b'{"label": [[1]]}', "txt": b"two\nlines"}, "folder"),
        ({"cls": b"", "txt": b"x" * 201}, "folder"),
        ({"CLS": b"5"}, "5"),
        ({"cls": b"\xff"}, "\ufffd"),
        ({}, "folder"),
    ],
)
@pytest.mark.parametrize("image_first", [True, False])
def test_where_the_class_comes_from(tmp_path: Path, members: dict[str, bytes], label: str, image_first: bool) -> None:
    """.cls before .json (its label, cls, class) before .txt of one line before the folder, in any order of members."""
    sample = [(f"up/folder/7.{suffix}", data) for suffix, data in members.items()]
    picture = [("up/folder/7.jpg", b"image")]
    write_tar(tmp_path / "0.tar", [*picture, *sample] if image_first else [*sample, *picture])
    (item,) = read_set(tmp_path)
    assert (item.item, item.label, item.body) == ("0.tar/up/folder/7.jpg", label, b"image")


def test_numbers_are_named_by_a_file_of_classes(tmp_path: Path) -> None:
    """As CLIP_benchmark publishes its sets: classnames.txt above the split, .cls with the line's number."""
    write_files(tmp_path, {"classnames.txt": "red fox\nowl\n", "test/nshards.txt": "2"})
    for split, name, cls in (("test", "0.tar", b"1"), ("test", "1.tar", b"0"), ("train", "0.tar", b"0")):
        write_tar(tmp_path / split / name, [("s0.cls", cls), ("s0.webp", b"")])
    listing = list_set(parse(f"x={tmp_path / 'test'}"))
    assert listing.classes == ("red fox", "owl")
    assert labels_of(read_set(tmp_path / "test")) == {"0.tar/s0.webp": "owl", "1.tar/s0.webp": "red fox"}
    both = list_set(parse(f"x={tmp_path}"))
    assert (both.split, both.left_out) == ("test", ("train",))
    assert list(labels_of(read_set(tmp_path))) == ["test/0.tar/s0.webp", "test/1.tar/s0.webp"]
    (tmp_path / "classnames.txt").write_text("red fox")
    with pytest.raises(InputError, match="expected a class from 0 to 0, found 1"):
        read_set(tmp_path / "test")


def test_splits_by_file_names(tmp_path: Path) -> None:
    """imagenet-val-00.tar beside imagenet-train-00.tar: validation is read; named one by one, all are."""
    for name in ("imagenet-train-00.tar", "imagenet-val-00.tar"):
        write_tar(tmp_path / name, [("7.png", b"")])
    assert [each.item for each in read_set(tmp_path)] == ["imagenet-val-00.tar/7.png"]
    assert len(read_set(tmp_path / "*.tar")) == 2


def test_a_member_that_is_called_meta_is_no_pickle(tmp_path: Path) -> None:
    """What is named as a file of CIFAR's Python version and is none does not hide the images after it."""
    write_tar(tmp_path / "0.tar", [("meta", b"text"), ("train", b""), ("7.png", b"image")])
    assert [each.item for each in read_set(tmp_path)] == ["0.tar/7.png"]


def test_tables_beside_tars_are_no_set(tmp_path: Path) -> None:
    """wit and img2dataset write a Parquet file beside each tar, which says nothing of the format."""
    write_tar(tmp_path / "00000.tar", [("7.png", b"")])
    write_files(tmp_path, {"00000.parquet": b"", "00000_stats.json": b"{}"})
    assert [each.item for each in read_set(tmp_path)] == ["00000.tar/7.png"]


@pytest.mark.parametrize("name", ["set.tgz", "set.tar.gz", "set.tar"])
def test_packed_tars(tmp_path: Path, name: str) -> None:
    """A tar in gzip is read, whatever it is called, and one cut off or damaged is one line."""
    members = [(f"{number}.{suffix}", image(number)) for number in range(300) for suffix in ("png", "cls")]
    path = write_tar(tmp_path / name, members, "w:gz")
    assert len(read_set(path)) == 300
    data = path.read_bytes()
    for broken in (data[: len(data) // 2], data[:5000] + b"\0\0\0\0" + data[5004:]):
        path.write_bytes(broken)
        with pytest.raises(InputError, match=r"set\.t") as caught:
            read_set(path)
        assert "\n" not in str(caught.value)


def test_names_that_come_again(tmp_path: Path) -> None:
    """Items are unique in a set though members are not; each has the class of its own sample."""
    members = [("a.png", b"1"), ("a.cls", b"1"), ("a.png", b"2"), ("a.cls", b"2"), ("b.png", b""), ("a.png", b"3")]
    write_tar(tmp_path / "0.tar", members)
    items = read_set(tmp_path)
    assert [(each.item, each.label, each.body) for each in items] == [
        ("0.tar/a.png", "1", b"1"),
        ("0.tar/a.png#2", "2", b"2"),
        ("0.tar/b.png", None, b""),
        ("0.tar/a.png#3", None, b"3"),
    ]


def test_a_sample_of_two_images(tmp_path: Path) -> None:
    """All images of a sample are items of its class; other members, and what systems leave, are none."""
    write_tar(
        tmp_path / "0.tar", [("a.jpg", b"1"), ("a.seg.png", b"2"), ("a.cls", b"4"), ("._a.jpg", b""), ("a.npy", b"")]
    )
    assert labels_of(read_set(tmp_path)) == {"0.tar/a.jpg": "4", "0.tar/a.seg.png": "4"}


@pytest.mark.parametrize("tar_format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_tar_of_a_folder_is_the_folder(tmp_path: Path, tar_format: int) -> None:
    """In any dialect, long names and links included, a tar of a folder has its images and their classes."""
    folder = write_files(
        tmp_path / "set", {f"{name}/{'long' * 30}/{number}.png": image(number) for name in "ab" for number in range(3)}
    )
    with tarfile.open(tmp_path / "set.tar", "w", format=tar_format) as archive:
        archive.add(folder, arcname=".")
    in_tar = {each.item.removeprefix("set.tar/./"): each.body for each in read_set(tmp_path / "set.tar")}
    assert in_tar == {each.item: each.body for each in read_set(folder)}


def test_a_broken_tar_is_one_line(tmp_path: Path) -> None:
    """Text for a tar, a tar cut inside a member, and tars without an image are each told with their name."""
    whole = write_tar(tmp_path / "a" / "0.tar", [("1.png", bytes(2000)), ("2.png", bytes(2000))]).read_bytes()
    write_files(tmp_path, {"b/0.tar": b"text" * 200, "a/0.tar": whole[:4000]})
    write_tar(tmp_path / "c" / "0.tar", [("readme.txt", b"")])
    for folder, message in (
        ("a", r"0\.tar: the tar breaks off"),
        ("b", r"0\.tar: expected a tar"),
        ("c", "found none"),
    ):
        with pytest.raises(InputError, match=message) as caught:
            read_set(tmp_path / folder)
        assert "\n" not in str(caught.value)


def test_a_huge_image_is_read_in_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is larger than any image costs bounded memory, and is left to the decoder to refuse."""
    monkeypatch.setattr("wit.evaluation_sets.tars.MAX_IMAGE_BYTES", 10)
    monkeypatch.setattr("wit.evaluation_sets.folders.MAX_IMAGE_BYTES", 10)
    write_tar(tmp_path / "a" / "0.tar", [("1.png", bytes(2000)), ("2.png", bytes(5))])
    write_files(tmp_path / "b", {"1.png": bytes(2000)})
    assert [len(each.body) for each in (*read_set(tmp_path / "a"), *read_set(tmp_path / "b"))] == [10, 5, 10]


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_damage_is_an_item_or_one_line(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """A few bytes of a tar changed, or its end cut off: items are yielded, or one clear error raised, nothing else."""
    folder = tmp_path_factory.mktemp("damage")
    members = [(f"{n}.{suffix}", body) for n in range(3) for suffix, body in (("png", image(n)), ("cls", b"1"))]
    whole = bytearray(
        write_tar(folder / "0.tar", [*members, ("x.json", json.dumps({"label": 1}).encode())]).read_bytes()
    )
    for _ in range(data.draw(st.integers(0, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    (folder / "0.tar").write_bytes(whole[: data.draw(st.integers(0, len(whole)))])
    items, message = read_or_message(folder)
    assert "\n" not in message
    assert len({each.item for each in items}) == len(items)
