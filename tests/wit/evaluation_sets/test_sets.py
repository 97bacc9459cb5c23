"""Evaluation sets: what names them, how their format is told, and what is refused, in one line."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.wit.evaluation_sets.files import (
    CIFAR10_CLASSES,
    cifar_records,
    idx,
    image,
    labels_of,
    packed,
    read_or_message,
    read_set,
    write_files,
    write_tar,
)
from wit.errors import InputError, UserError
from wit.evaluation_sets import FORMATS, EvaluationSet, list_set, parse, parse_all, read_items
from wit.evaluation_sets.pieces import PIECE_ITEMS


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" pets = eval/pets ", EvaluationSet("pets", "eval/pets")),
        ("a=mnist:eval/digits", EvaluationSet("a", "eval/digits", "mnist")),
        ("a=folder: b=c", EvaluationSet("a", "b=c", "folder")),
        ("a=s3://bucket/x", EvaluationSet("a", "s3://bucket/x")),
        ("a=parquet:s3://bucket/x", EvaluationSet("a", "s3://bucket/x", "parquet")),
        ("a=folder://x", EvaluationSet("a", "folder://x")),
        ("a=c:/x", EvaluationSet("a", "c:/x")),
    ],
)
def test_sets_are_named(text: str, expected: EvaluationSet) -> None:
    """NAME=PATH or NAME=FORMAT:PATH; what stands before "://" is a scheme."""
    assert parse(text) == expected


@pytest.mark.parametrize("text", ["cifar10", "=path", "name=", "name=mnist:", ""])
def test_malformed_sets_are_user_errors(text: str) -> None:
    """Anything else is refused with what was expected, and the formats."""
    with pytest.raises(UserError, match=r"NAME=PATH .* NAME=FORMAT:PATH .*webdataset"):
        parse(text)


@pytest.mark.parametrize("name", ["a\nb", "\x1b[31m", "a\0b", "a\udcff"])
def test_names_that_cannot_be_shown_are_refused(name: str) -> None:
    """A set's name stands in lines on the terminal, in tables and pages: no line break, escape or broken character."""
    with pytest.raises(UserError, match="printable characters"):
        parse(f"{name}=path")


def test_names_are_distinct() -> None:
    """Sets are ordered by name; two of one name are refused."""
    assert [each.name for each in parse_all(["b=1", "a=2"])] == ["a", "b"]
    with pytest.raises(UserError, match="rename one"):
        parse_all(["a=1", "b=2", "a=3"])


def examples(folder: Path) -> dict[str, Path]:
    """A set of one image in each format but Parquet."""
    cifar10, _ = cifar_records([(3,)])
    cifar100, _ = cifar_records([(3, 4)])
    digits = idx(np.zeros((1, 2, 2), np.uint8))
    return {
        "folder": write_files(folder / "a", {"1.png": image(1)}),
        "webdataset": write_tar(folder / "b" / "0.tar", [("1.png", image(1))]).parent,
        "cifar10": write_files(folder / "c", {"test_batch.bin": cifar10}),
        "cifar100": write_files(folder / "d", {"test.bin": cifar100}),
        "mnist": write_files(folder / "e", {"t10k-images-idx3-ubyte": digits}),
    }


def test_the_format_is_told_by_what_is_there(tmp_path: Path) -> None:
    """Files in a folder say the format by their names, and so does a file alone."""
    for kind, path in examples(tmp_path).items():
        assert list_set(parse(f"x={path}")).format == kind
        (file,) = path.iterdir()
        assert list_set(parse(f"x={file}")).format == kind
        assert len(read_set(path)) == len(read_set(file)) == 1


def test_a_file_of_any_name_is_told_by_its_first_bytes(tmp_path: Path) -> None:
    """An image, a tar and idx are known without their names; CIFAR has no mark and must be said."""
    for kind, path in examples(tmp_path).items():
        (file,) = path.iterdir()
        bare = file.rename(tmp_path / kind)
        if kind.startswith("cifar"):
            with pytest.raises(InputError, match="NAME=FORMAT:"):
                list_set(parse(f"x={bare}"))
        else:
            assert list_set(parse(f"x={bare}")).format == kind
        (item,) = read_set(f"{kind}:{bare}")
        assert item.item.partition("/")[0] == kind


def test_hidden_files_are_no_part_of_a_set(tmp_path: Path) -> None:
    """What systems leave in folders (._1.png, .cache, __MACOSX) is not read."""
    names = ("1.png", "._1.png", ".cache/2.png", "__MACOSX/3.png", "a/.4.png")
    write_files(tmp_path, {name: image(1) for name in names})
    assert [each.item for each in read_set(tmp_path)] == ["1.png"]


def test_several_formats_in_a_folder_are_refused_and_one_can_be_chosen(tmp_path: Path) -> None:
    """Images beside tars are two sets: the message counts both and says how to choose."""
    write_files(tmp_path, {"logo.png": image(1)})
    write_tar(tmp_path / "0.tar", [("7.png", image(7))])
    with pytest.raises(
        InputError, match=r"found folder \(1 files\), webdataset \(1 files\); choose one as NAME=folder:"
    ):
        list_set(parse(f"x={tmp_path}"))
    assert [each.item for each in read_set(f"webdataset:{tmp_path}")] == ["0.tar/7.png"]
    assert [each.item for each in read_set(f"folder:{tmp_path}")] == ["logo.png"]


def test_mistakes_are_one_line(tmp_path: Path) -> None:
    """Nothing there, an empty folder, a folder of texts, a text, a format that is not there: each says what to do."""
    write_files(tmp_path, {"texts/a.txt": "a", "file.txt": "a", "images.zip": "PK"})
    (tmp_path / "empty").mkdir()
    for path, message in (
        ("none", "found nothing"),
        ("empty", "found no file"),
        ("texts", "expected an evaluation set"),
        ("file.txt", "found 'file.txt'; .* NAME=FORMAT:"),
        ("images.zip", "found 'images.zip'; unpack it"),
        ("*.none", "found nothing"),
    ):
        with pytest.raises(InputError, match=message) as caught:
            list_set(parse(f"x={tmp_path / path}"))
        assert "\n" not in str(caught.value)
    for kind in FORMATS:
        with pytest.raises(InputError, match="found none"):
            list_set(parse(f"x={kind}:{tmp_path / 'texts'}"))


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    """A pipe named as an image would be waited for, a broken link not be found in the middle: both are told before."""
    os.mkfifo(tmp_path / "1.png")
    with pytest.raises(InputError, match="pipe"):
        list_set(parse(f"x={tmp_path}"))
    (tmp_path / "1.png").unlink()
    (tmp_path / "1.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(InputError, match="broken link"):
        list_set(parse(f"x={tmp_path}"))


def test_links_to_folders_are_followed(tmp_path: Path) -> None:
    """Classes that are links to folders elsewhere are read; a link to a folder above ends there."""
    write_files(tmp_path, {"store/c/1.png": image(1), "store/d/1.png": image(2)})
    (tmp_path / "set").mkdir()
    for name in "cd":
        (tmp_path / "set" / name).symlink_to(tmp_path / "store" / name)
        (tmp_path / "store" / name / "up").symlink_to(tmp_path / "set")
    found = labels_of(read_set(tmp_path / "set"))
    assert {name: found[name] for name in ("c/1.png", "d/1.png")} == {"c/1.png": "c", "d/1.png": "d"}
    assert all(name.count("up") < 3 for name in found)


@pytest.fixture
def remote() -> Iterator[str]:
    """A folder in memory, behind a URL."""
    store = fsspec.filesystem("memory")
    store.pipe({"/eval/pets/cat/1.png": image(1), "/eval/pets/dog/2.png": image(2)})
    store.pipe("/eval/digits/t10k-images-idx3-ubyte.gz", packed(idx(np.ones((2, 2, 2), np.uint8))))
    store.pipe("/eval/c/test_batch.bin", cifar_records([(3,), (4,)])[0])
    store.pipe("/eval/c/batches.meta.txt", "\n".join(CIFAR10_CLASSES).encode())
    yield "memory://eval"
    store.rm("/eval", recursive=True)


def test_remote_sets(remote: str) -> None:
    """A folder or a file behind a URL is read as one on a disk; names do not say where it lies."""
    assert labels_of(read_set(f"{remote}/pets")) == {"cat/1.png": "cat", "dog/2.png": "dog"}
    assert labels_of(read_set(f"{remote}/c/")) == {"test_batch.bin/0": "cat", "test_batch.bin/1": "deer"}
    assert [each.item for each in read_set(f"{remote}/c/test_batch.bin")] == ["test_batch.bin/0", "test_batch.bin/1"]
    assert len(read_set(f"{remote}/digits")) == 2
    with pytest.raises(InputError, match="found nothing"):
        list_set(parse(f"x={remote}/none.tar"))


def test_many_files_are_many_pieces(tmp_path: Path) -> None:
    """A piece has 1,000 images at most; pieces in order give the set in order."""
    total = 2 * PIECE_ITEMS + 1
    write_files(tmp_path, {f"{number:05d}.png": b"" for number in range(total)})
    listing = list_set(parse(f"x={tmp_path}"))
    assert [len(piece.members) for piece in listing.pieces] == [PIECE_ITEMS, PIECE_ITEMS, 1]
    rows = [piece.row() for piece in listing.pieces]
    assert [each.item for each in read_items(rows)] == [f"{number:05d}.png" for number in range(total)]


def test_what_is_wanted_is_read(tmp_path: Path) -> None:
    """Of every format the items of the given names are yielded, and only those of the set."""
    for kind, path in examples(tmp_path).items():
        (item,) = read_set(path, kind)
        assert read_set(path, kind, {(kind, item.item), (kind, "other")}) == [item]
        assert read_set(path, kind, {("other", item.item)}) == []


def test_a_listing_says_what_is_read(tmp_path: Path) -> None:
    """One line: name, format, the split and those that are not read, how many classes, where."""
    names = ("train/cat/1.png", "train/dog/2.png", "val/cat/3.png", "val/dog/4.png")
    write_files(tmp_path, {name: image(1) for name in names})
    line = list_set(parse(f"pets={tmp_path}")).line()
    assert line == f"pets: folder, split validation (not train), 2 classes, {tmp_path}"


CONTENTS = {
    "image": image(5),
    "cifar": cifar_records([(3,), (200,)])[0],
    "idx": idx(np.ones((2, 3, 3), np.uint8)),
    "labels": idx(np.ones(2, np.uint8)),
    "packed": packed(idx(np.ones((2, 3, 3), np.uint8))),
    "pickle": b"\x80\x02}q\x00.",
    "text": b"file_name,label\n1.png,5\n",
    "nothing": b"",
    "PAR1": b"PAR1" * 5,
}
FILE_NAMES = (
    "1.png", "a/2.jpg", "test/b/3.webp", "0.tar", "x/1.tar.gz", "test.tgz", "0.parquet", "data/test-0.parquet",
    "test_batch.bin", "c/data_batch_1.bin", "test.bin", "train.bin", "batches.meta.txt", "fine_label_names.txt",
    "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte", "train-images-idx3-ubyte.gz", "test_batch", "meta",
    "metadata.csv", "metadata.jsonl", "metadata.parquet", "classnames.txt", "emnist-x-mapping.txt",
    "emnist-x-test-images-idx3-ubyte", "notes.txt",
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(
    files=st.dictionaries(st.sampled_from(FILE_NAMES), st.sampled_from(sorted(CONTENTS)), max_size=5),
    kind=st.sampled_from(["", "", *(f"{kind}:" for kind in FORMATS)]),
    junk=st.binary(max_size=40),
)
def test_any_folder_is_a_set_or_one_line(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, str], kind: str, junk: bytes
) -> None:
    """Files of any name with the content of any format: items with names of their own, or one clear error."""
    folder = tmp_path_factory.mktemp("any")
    write_files(folder, {name: CONTENTS[content] + junk for name, content in files.items()})
    items, message = read_or_message(f"{kind}{folder}")
    assert bool(items) != bool(message)
    assert "\n" not in message
    assert len({each.item for each in items}) == len(items)
