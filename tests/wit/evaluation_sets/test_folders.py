"""Image files as a set: their names, their classes by folders and by metadata, and their splits."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wit.evaluation_sets.files import image, labels_of, read_set, write_files
from wit.errors import InputError
from wit.evaluation_sets import list_set, parse, read_items
from wit.evaluation_sets.folders import folder_classes
from wit.storage import write_parquet


def image_files(folder: Path, *names: str) -> Path:
    return write_files(folder, {name: name for name in names})


def test_images_at_any_depth_in_order_of_path(tmp_path: Path) -> None:
    """Items are paths below the folder, in order, whatever the case of their suffix; bodies are the files' bytes."""
    image_files(tmp_path, "b/2.JPG", "b/1.png", "a.webp", "b/c/3.jpeg", "labels.txt", "b/.tmp", "c/4.JPEG")
    items = read_set(tmp_path)
    assert [each.item for each in items] == ["a.webp", "b/1.png", "b/2.JPG", "b/c/3.jpeg", "c/4.JPEG"]
    assert [each.body.decode() for each in items] == [each.item for each in items]
    assert {each.set for each in items} == {"x"}


@pytest.mark.parametrize(
    ("names", "classes"),
    [
        (["cat/1.png", "dog/1.png"], ["cat", "dog"]),
        (["data/set/cat/1.png", "data/set/dog/1.png"], ["cat", "dog"]),
        (["n01/images/1.png", "n02/images/1.png"], ["n01", "n02"]),
        (["a/abbey/1.png", "b/bow_window/indoor/1.png"], ["a/abbey", "b/bow_window/indoor"]),
        (["1.png", "cat/1.png", "dog/1.png"], [None, "cat", "dog"]),
        (["cat/1.png", "cat/2.png"], [None, None]),
        (["1.png", "more/1.png"], [None, None]),
        (["1.png"], [None]),
    ],
)
def test_the_class_is_the_folder(names: list[str], classes: list[str | None]) -> None:
    """What all folders begin or end with is no class; without two classes there is none."""
    assert list(folder_classes(names).values()) == classes


_paths = st.lists(st.text("ab", min_size=1, max_size=2), min_size=1, max_size=4).map("/".join)


@given(st.lists(_paths, min_size=1, max_size=8, unique=True), st.sampled_from(["", "up/", "up/up/"]))
def test_classes_tell_folders_apart(paths: list[str], above: str) -> None:
    """Where there are classes, two images have the same one exactly when they lie in the same folder.

    Folders above all of them change nothing.
    """
    found = folder_classes(paths)
    assert list(folder_classes([above + path for path in paths]).values()) == list(found.values())
    if any(found.values()):
        folders = {path: path.rpartition("/")[0] for path in paths}
        for a in paths:
            for b in paths:
                assert (found[a] == found[b]) == (folders[a] == folders[b])


def test_classes_are_in_order_of_name_and_numbers_in_theirs(tmp_path: Path) -> None:
    """The order of classes is that of ImageFolder; folders that are all numbers go by number."""
    image_files(tmp_path / "named", "zebra/1.png", "Ant/1.png", "bee/1.png")
    assert list_set(parse(f"x={tmp_path / 'named'}")).classes == ("Ant", "bee", "zebra")
    image_files(tmp_path / "numbered", "10/1.png", "9/1.png", "100/1.png")
    assert list_set(parse(f"x={tmp_path / 'numbered'}")).classes == ("9", "10", "100")


@pytest.mark.parametrize(
    ("names", "split", "left_out"),
    [
        (["test/cat/1.png", "test/dog/1.png", "train/cat/2.png", "val/dog/3.png"], "test", ("validation", "train")),
        (["valid/cat/1.png", "valid/dog/1.png", "Training/cat/2.png"], "validation", ("train",)),
        (["val2017/cat/1.png", "val2017/dog/1.png", "train2017/cat/2.png"], "validation", ("train",)),
        (["val_256/cat/1.png", "val_256/dog/1.png", "train_256/cat/2.png"], "validation", ("train",)),
        (["up/test/cat/1.png", "up/test/dog/1.png", "up/train/cat/2.png"], "test", ("train",)),
    ],
)
def test_one_split_is_read(tmp_path: Path, names: list[str], split: str, left_out: tuple[str, ...]) -> None:
    """Of folders that are splits the one by which models are judged is read; names keep the split, classes do not."""
    listing = list_set(parse(f"x={image_files(tmp_path, *names)}"))
    assert (listing.split, listing.left_out, listing.classes) == (split, left_out, ("cat", "dog"))
    assert labels_of(read_set(tmp_path)) == {names[0]: "cat", names[1]: "dog"}


def test_the_path_of_a_split_reads_that_split(tmp_path: Path) -> None:
    """PATH/train is the training split, with names below it."""
    image_files(tmp_path, "test/cat/1.png", "test/dog/1.png", "train/cat/2.png", "train/dog/3.png")
    listing = list_set(parse(f"x={tmp_path / 'train'}"))
    assert (listing.split, listing.left_out) == ("", ())
    assert labels_of(read_set(tmp_path / "train")) == {"cat/2.png": "cat", "dog/3.png": "dog"}


def test_a_class_that_is_called_train_is_no_split(tmp_path: Path) -> None:
    """COCO, VOC and CIFAR-100 have trains: where another folder is no split, none is."""
    image_files(tmp_path, "train/1.png", "bus/1.png", "car/1.png")
    assert labels_of(read_set(tmp_path)) == {"bus/1.png": "bus", "car/1.png": "car", "train/1.png": "train"}
    image_files(
        tmp_path / "cifar", *(f"{split}/{name}/1.png" for split in ("test", "train") for name in ("bus", "train"))
    )
    assert labels_of(read_set(tmp_path / "cifar")) == {"test/bus/1.png": "bus", "test/train/1.png": "train"}


def test_one_file_is_a_set(tmp_path: Path) -> None:
    """A path may be one image, or a pattern of them: names are then those of the files."""
    image_files(tmp_path, "a/1.png", "b/2.png", "b/3.png")
    assert labels_of(read_set(tmp_path / "a" / "1.png")) == {"1.png": None}
    assert labels_of(read_set(tmp_path / "b" / "*.png")) == {"2.png": None, "3.png": None}
    assert labels_of(read_set(tmp_path / "{a,b}" / "*.png")) == {"a/1.png": "a", "b/2.png": "b", "b/3.png": "b"}


def test_metadata_say_the_class(tmp_path: Path) -> None:
    """metadata.csv and .jsonl give the class of the files they name, before the folder; nearer tables come last."""
    write_files(
        tmp_path,
        {
            "metadata.csv": 'file_name,text,label\na/1.png,"one, two",fox\r\n./a/2.png,x,owl\nb/3.png,x,\n',
            "b/metadata.jsonl": '{"file_name": "4.png", "label": 7}\n\n{"file_name": "../c/5.png", "label": "hen"}\n',
        }
        | {name: image(1) for name in ("a/1.png", "a/2.png", "b/3.png", "b/4.png", "c/5.png", "c/6.png")},
    )
    assert labels_of(read_set(tmp_path)) == {
        "a/1.png": "fox",
        "a/2.png": "owl",
        "b/3.png": None,
        "b/4.png": "7",
        "c/5.png": "hen",
        "c/6.png": "c",
    }
    assert list_set(parse(f"x={tmp_path}")).classes == ("7", "c", "fox", "hen", "owl")


def test_metadata_in_parquet_and_of_splits(tmp_path: Path) -> None:
    """metadata.parquet is a table beside images, not a set; one above the splits may speak of all of them."""
    write_files(tmp_path, {name: image(1) for name in ("test/1.png", "test/2.png", "train/1.png")})
    names = ["train/1.png", "test/2.png", "test/1.png"]
    write_parquet(str(tmp_path / "metadata.parquet"), pa.table({"file_name": names, "fine_label": [3, 2, 1]}))
    assert labels_of(read_set(tmp_path)) == {"test/1.png": "1", "test/2.png": "2"}


def test_metadata_without_classes_leave_the_folders(tmp_path: Path) -> None:
    """A table of captions takes no class away."""
    rows = [{"file_name": "cat/1.png", "text": "a cat"}, {"file_name": "dog/1.png", "text": "a dog"}]
    write_files(tmp_path, {"metadata.jsonl": "\n".join(map(json.dumps, rows)), "cat/1.png": b"", "dog/1.png": b""})
    assert labels_of(read_set(tmp_path)) == {"cat/1.png": "cat", "dog/1.png": "dog"}


@pytest.mark.parametrize(
    ("name", "table", "message"),
    [
        (
            "metadata.csv",
            "file_name,label\n1.png,a\n2.png,b\n3.png,c\n",
            r"names images that are not there, 2 of 3 \('2.png', '3",
        ),
        ("metadata.csv", "file_name,label\n../../etc/passwd,a\n", "not there"),
        ("metadata.csv", "name,label\n1.png,a\n", "'file_name' with a path, found none in row 1"),
        (
            "metadata.csv",
            "file_name,label\n1.png,a\n./1.png,b\n",
            "row 2: expected one class of '1.png', found 'a' and 'b'",
        ),
        ("metadata.csv", "file_name\n" + "x" * 200_000, "after line 1: expected cells"),
        ("metadata.csv", b"file_name\n\xff\xfe", "UTF-8"),
        ("metadata.jsonl", '{"file_name": "1.png"}\n[1]', "line 2: expected a JSON object, found"),
        ("metadata.jsonl", '{"file_name": "1.png"}\n{', "line 2: expected a JSON object"),
        ("metadata.jsonl", '{"file_name": 5}', "found none in row 1"),
        ("metadata.parquet", "PAR1", "not a readable Parquet file"),
    ],
)
def test_broken_metadata_are_one_line(tmp_path: Path, name: str, table: str | bytes, message: str) -> None:
    """A table that is damaged, has no names, or names what is not there is told with its place."""
    write_files(tmp_path, {name: table, "1.png": image(1)})
    with pytest.raises(InputError, match=message) as caught:
        list_set(parse(f"x={tmp_path}"))
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)


def test_an_image_that_is_gone_or_empty(tmp_path: Path) -> None:
    """A file that vanishes after it was listed is an error; an empty one is read, for the hasher to count."""
    image_files(tmp_path, "1.png", "2.png")
    (tmp_path / "1.png").write_bytes(b"")
    assert [each.body for each in read_set(tmp_path)] == [b"", b"2.png"]
    rows = [piece.row() for piece in list_set(parse(f"x={tmp_path}")).pieces]
    (tmp_path / "2.png").unlink()
    with pytest.raises(InputError, match="found nothing"):
        list(read_items(rows))
