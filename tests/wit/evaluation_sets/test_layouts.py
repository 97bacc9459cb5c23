"""Sets as their authors publish them: VOC's lists, GTSRB's tables, STL-10's binaries, UCF101's splits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wit.evaluation_sets.files import (
    CIFAR10_CLASSES,
    hugging_face,
    image,
    labels_of,
    pixels,
    read_or_message,
    read_set,
    write_files,
)
from wit.errors import InputError
from wit.evaluation_sets import EvaluationSet, Fold, has_several, list_set, parse, split_labels
from wit.evaluation_sets.folders import ppm_to_png
from wit.evaluation_sets.labels import join_labels

VOC_MARKS = {"cat": {"1": "1", "2": "-1", "3": "0"}, "dog": {"1": "1", "2": "1", "3": "-1"}, "train": {}}
NAMES = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\n"), min_size=1), unique=True, max_size=4)


@given(NAMES, NAMES)
def test_labels_of_several_classes_return(own: list[str], unsure: list[str]) -> None:
    """What is joined comes apart again, even of no class at all, and is told from a label of one class."""
    label = join_labels(own, unsure)
    assert split_labels(label) == (tuple(own), tuple(unsure))
    assert has_several(label)
    assert all(split_labels(name) == ((name,), ()) and not has_several(name) for name in own)


def voc_list(marks: dict[str, str]) -> str:
    """Lines as the development kit has them: a mark of one sign has two blanks before it."""
    return "".join(f"{number:>06} {mark:>2}\n" for number, mark in marks.items())


def voc_files(root: str = "VOCdevkit/VOC2007") -> dict[str, bytes | str]:
    """A test split of three images and two classes, a train and a val split of one; other pictures."""
    lists = f"{root}/ImageSets/Main"
    files: dict[str, bytes | str] = {f"{root}/JPEGImages/{number:06}.jpg": image(number) for number in range(1, 6)}
    files |= {f"{root}/SegmentationClass/000001.png": image(9), f"{root}/Annotations/000001.xml": "<annotation/>"}
    for name in ("cat", "dog"):
        files[f"{lists}/{name}_test.txt"] = voc_list(VOC_MARKS[name])
        files[f"{lists}/{name}_train.txt"] = voc_list({"4": "1"})
        files[f"{lists}/{name}_val.txt"] = voc_list({"5": "1" if name == "cat" else "-1"})
        files[f"{lists}/{name}_trainval.txt"] = voc_list({"4": "1", "5": "-1"})
    return files | {f"{lists}/test.txt": "000001\n000002\n000003\n"}


def test_voc(tmp_path: Path) -> None:
    """Images of a split with the classes that the lists mark by 1; a 0 is neither; other pictures are not read."""
    root = write_files(tmp_path, voc_files())
    listing = list_set(parse(f"x={root}"))
    assert (listing.format, listing.classes) == ("voc", ("cat", "dog"))
    assert (listing.split, listing.left_out) == ("test", ("validation", "train"))
    found = labels_of(read_set(root))
    photos = "VOCdevkit/VOC2007/JPEGImages"
    assert [split_labels(label or "") for label in found.values()] == [
        (("cat", "dog"), ()), (("dog",), ()), ((), ("cat",)),
    ]  # fmt: skip
    assert list(found) == [f"{photos}/00000{number}.jpg" for number in (1, 2, 3)]
    assert read_set(root)[1].body == image(2)
    train = list_set(EvaluationSet("x", str(root), split="train"))
    assert (train.split, train.pieces[0].members) == ("train", (f"{photos}/000004.jpg",))


def test_voc_whose_train_and_val_are_listed_together(tmp_path: Path) -> None:
    """Where only trainval is listed it is the training split."""
    files = {name: data for name, data in voc_files("VOC").items() if not name.endswith(("_train.txt", "_val.txt"))}
    listing = list_set(EvaluationSet("x", str(write_files(tmp_path, files)), split="train"))
    assert (listing.split, listing.left_out) == ("train", ("test",))
    assert listing.pieces[0].members == ("VOC/JPEGImages/000004.jpg", "VOC/JPEGImages/000005.jpg")


MAIN = "VOCdevkit/VOC2007/ImageSets/Main"


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({f"{MAIN}/cat_test.txt": "000001  2\n"}, "cat_test.txt, line 1: expected an image once, and 1, 0 or -1"),
        ({f"{MAIN}/cat_test.txt": ""}, "cat_test.txt: expected lines of an image and 1, 0 or -1, found none"),
        ({f"{MAIN}/dog_test.txt": "000001 1\n"}, "found 000002 in one of them only"),
        ({f"{MAIN}/cow_test.txt": "000001 1\n000002 1\n000009 1\n"}, "in one of them only"),
        ({"VOCdevkit/VOC2012/ImageSets/Main/cat_test.txt": "1 1\n"}, "expected one year of VOC"),
        ({f"{MAIN}/{name}_test.txt": "000009  1\n" for name in ("cat", "dog")}, "1 missing (VOCdevkit/VOC2007/JPEGI"),
    ],
)
def test_voc_that_is_not_right(tmp_path: Path, changes: dict[str, str], part: str) -> None:
    """A mark that is none, lists that do not agree, two years, images that are not there: each in one line."""
    _, message = read_or_message(write_files(tmp_path, voc_files() | changes))
    assert part in message
    assert "\n" not in message


GT = "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId\r\n"


def ppm(seed: int) -> tuple[bytes, np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]:
    values = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    return b"P6\n4 3\n255\n" + values.tobytes(), values


def gtsrb_files() -> dict[str, bytes | str]:
    """As the archives unpack: training folders by class, test images in one, their classes in a table above."""
    train, test = "GTSRB/Final_Training/Images", "GTSRB/Final_Test/Images"
    return {
        "GTSRB/Readme-Images.txt": "read me",
        f"{train}/00000/GT-00000.csv": f"{GT}00000_00000.ppm;4;3;1;1;2;2;0\r\n",
        f"{train}/00000/00000_00000.ppm": ppm(0)[0],
        f"{train}/00012/GT-00012.csv": f"{GT}00000_00000.ppm;4;3;1;1;2;2;12\r\n",
        f"{train}/00012/00000_00000.ppm": ppm(1)[0],
        f"{test}/00000.ppm": ppm(2)[0],
        f"{test}/00001.ppm": ppm(3)[0],
        f"{test}/GT-final_test.test.csv": GT.replace(";ClassId", ""),
        "GT-final_test.csv": f"{GT}00000.ppm;4;3;1;1;2;2;12\r\n00001.ppm;4;3;1;1;2;2;7\r\n",
    }


def test_gtsrb(tmp_path: Path) -> None:
    """Classes are the tables', names of files need not be unique in training; pixels are whole images, as PNGs."""
    root = write_files(tmp_path, gtsrb_files())
    listing = list_set(parse(f"x={root}"))
    assert (listing.format, listing.split, listing.left_out) == ("gtsrb", "test", ("train",))
    assert listing.classes == ("7", "12")
    items = read_set(root)
    assert labels_of(items) == {"GTSRB/Final_Test/Images/00000.ppm": "12", "GTSRB/Final_Test/Images/00001.ppm": "7"}
    assert all(np.array_equal(pixels(item.body), ppm(seed)[1]) for seed, item in enumerate(items, 2))
    train = list_set(EvaluationSet("x", str(root), split="train"))
    assert [piece.labels for piece in train.pieces] == [("0", "12")]


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"GT-final_test.csv": f"{GT}00000.ppm;4;3;1;1;2;2;43\r\n"}, "line 2: expected an image and a class from 0 to"),
        ({"GT-final_test.csv": f"{GT}00007.ppm;4;3;1;1;2;2;4\r\n"}, "expected an image '00007.ppm', found none"),
        ({"GT-final_test.csv": f"{GT}00000.ppm;4;3;1;1;2;2;4\r\n"}, "found no row of 1 (GTSRB/Final_Test/Images/00001"),
        ({"GT-final_test.csv": "Filename,ClassId\n00000.ppm,1\n"}, "expected columns Filename;...;ClassId"),
        ({"GT-final_test.csv": "Filename;ClassId\r\n"}, "expected rows of Filename;...;ClassId, found none"),
        ({"GT-final_test.csv": ""}, "expected rows of Filename;...;ClassId, found none"),
        ({"GT-final_test.csv": f"{GT}00000.ppm;4;3\r\n"}, "line 2: expected 8 cells"),
    ],
)
def test_gtsrb_that_is_not_right(tmp_path: Path, changes: dict[str, str], part: str) -> None:
    """A class out of range, an image that is not there, one without a class, another table, none: each in one line."""
    _, message = read_or_message(write_files(tmp_path, gtsrb_files() | changes))
    assert part in message
    assert "\n" not in message


@pytest.mark.parametrize("body", [b"", b"P6\n4 3\n255\n" + b"x" * 35, b"P5\n4 3\n255\n" + b"x" * 36, b"P6\n0 3\n255\n"])
def test_what_is_no_ppm_stays(body: bytes) -> None:
    """A cut or other file is left to the decoder, which rejects it and says why."""
    assert ppm_to_png(body) == body


def stl_files(num_test: int = 3, num_train: int = 6) -> tuple[dict[str, bytes | str], list[np.ndarray]]:
    """STL-10's files of fewer images, and the test images [96, 96, 3]: on disk each plane is written by columns."""
    rng = np.random.default_rng(0)
    parts = {part: rng.integers(0, 256, (number, 96, 96, 3), dtype=np.uint8)
             for part, number in (("test", num_test), ("train", num_train))}  # fmt: skip
    data = {part: b"".join(each.tobytes(order="F") for each in images) for part, images in parts.items()}
    files: dict[str, bytes | str] = {
        "test_X.bin": data["test"],
        "test_y.bin": bytes([10, 1, 5][:num_test]),
        "train_X.bin": data["train"],
        "train_y.bin": bytes([1, 2] * (num_train // 2)),
        "class_names.txt": "\n".join(CIFAR10_CLASSES) + "\n",
        "fold_indices.txt": "0 1 2 3 \n2 3 4 5 \n",
        "unlabeled_X.bin": b"no image",
    }
    return files, list(parts["test"])


def test_stl10(tmp_path: Path) -> None:
    """Pixels, written by columns, are upright; classes count from 1; folds name training images by their places."""
    files, expected = stl_files()
    root = write_files(tmp_path / "stl10_binary", files)
    listing = list_set(parse(f"x={root}"))
    assert (listing.format, listing.split, listing.left_out) == ("stl10", "test", ("train",))
    items = read_set(root)
    assert labels_of(items) == {"test_X.bin/0": "truck", "test_X.bin/1": "airplane", "test_X.bin/2": "deer"}
    assert all(np.array_equal(pixels(item.body), each) for item, each in zip(items, expected, strict=True))
    assert [fold.name for fold in listing.folds] == ["fold 1", "fold 2"]
    assert listing.folds[1].train == {f"train_X.bin/{number}" for number in (2, 3, 4, 5)}
    assert list_set(EvaluationSet("x", str(root), split="train")).folds == listing.folds


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"test_y.bin": bytes([10, 0, 5])}, "test_y.bin, image 1: expected a class from 1 to 10, found 0"),
        ({"test_y.bin": bytes([10, 11, 5])}, "expected a class from 1 to 10, found 11"),
        ({"test_y.bin": b"\1"}, "test_y.bin: expected a label for each of 3 images, found 1"),
        ({"test_X.bin": b"\1" * 100}, "expected images of 27648 bytes, as STL-10 has them, found 100 bytes"),
        ({"fold_indices.txt": "0 1\n2 6\n"}, "fold_indices.txt, line 2: expected places from 0 to 5, found '6'"),
        ({"fold_indices.txt": "0 1 1\n"}, "fold_indices.txt, line 1: expected each place once, found one twice"),
        ({"class_names.txt": "one\ntwo\n"}, "class_names.txt: expected 10 names of classes, found 2"),
    ],
)
def test_stl10_that_is_not_right(tmp_path: Path, changes: dict[str, bytes | str], part: str) -> None:
    """A class out of range, labels, images or folds that do not agree: each in one line."""
    _, message = read_or_message(write_files(tmp_path, stl_files()[0] | changes))
    assert part in message
    assert "\n" not in message


def ucf_files() -> dict[str, bytes | str]:
    """Four videos of two classes: two as an image each, one of 11 frames, one of a frame; two splits."""
    files: dict[str, bytes | str] = {
        "lists/classInd.txt": "1 Archery\n2 Biking\n",
        "lists/trainlist01.txt": "Archery/v_A_g01.avi 1\nBiking/v_B_g01.avi 2\n",
        "lists/testlist01.txt": "Archery/v_A_g02.avi\nBiking/v_B_g02.avi\n",
        "lists/trainlist02.txt": "Archery/v_A_g02.avi 1\r\nBiking/v_B_g02.avi 2\r\n",
        "lists/testlist02.txt": "Archery/v_A_g01.avi\r\nBiking/v_B_g01.avi\r\n",
        "frames/Archery/v_A_g01.png": image(1),
        "frames/Archery/v_A_g02.png": image(2),
        "frames/Biking/v_B_g01/1.png": image(3),
        "frames/Biking/unlisted.png": image(4),
    }
    return files | {f"frames/Biking/v_B_g02/{number}.png": image(10 + number) for number in range(1, 12)}


def test_ucf101(tmp_path: Path) -> None:
    """Every listed video is an image, of several frames the middle one by number; each split is a fold."""
    root = write_files(tmp_path, ucf_files())
    listing = list_set(parse(f"x={root}"))
    assert (listing.format, listing.split, listing.classes) == ("ucf101", "", ("Archery", "Biking"))
    items = read_set(root)
    names = {
        "frames/Archery/v_A_g01.png": "Archery",
        "frames/Archery/v_A_g02.png": "Archery",
        "frames/Biking/v_B_g01/1.png": "Biking",
        "frames/Biking/v_B_g02/6.png": "Biking",
    }
    assert labels_of(items) == names
    assert items[3].body == image(16)
    first, second = listing.folds
    assert first.name == "split 1"
    assert first.train == second.test == {"frames/Archery/v_A_g01.png", "frames/Biking/v_B_g01/1.png"}
    assert first.test == second.train == set(names) - first.train


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"lists/testlist03.txt": "Archery/v_A_g01.avi\n"}, "expected trainlist03.txt, found none"),
        ({"lists/testlist02.txt": "Archery/v_A_g09.avi\n"}, "expected a frame of each of 5 videos, found none of 1 (v"),
        ({"lists/testlist01.txt": "Archery/v_A_g01.avi\n"}, "found v_A_g01 in both; fetch them again"),
        ({"lists/testlist02.txt": "Bowling/v_A_g01.avi\n"}, "testlist02.txt, line 1: expected CLASS/VIDEO"),
        ({"lists/trainlist01.txt": "Archery/v_A_g01.avi 2\n"}, "trainlist01.txt, line 1: expected CLASS/VIDEO"),
        ({"lists/classInd.txt": "0 Archery\n1 Biking\n"}, "classInd.txt: expected lines of a number, counting from 1"),
    ],
)
def test_ucf101_that_is_not_right(tmp_path: Path, changes: dict[str, str], part: str) -> None:
    """Half a split, a video without a frame, a class that is none, or of another number: each in one line."""
    _, message = read_or_message(write_files(tmp_path, ucf_files() | changes))
    assert part in message
    assert "\n" not in message


FOLDS = "fold,split,item\n1,train,a/0.png\n1,train,b/0.png\n1,test,a/1.png\n2,train,a/1.png\n2,test,b/0.png\n"


def fold_files() -> dict[str, bytes | str]:
    return {f"{name}/{number}.png": image(number) for name in "ab" for number in range(2)}


def test_folds_beside_image_files(tmp_path: Path) -> None:
    """folds.csv says what is fitted on and what is judged, in the order of its folds."""
    write_files(tmp_path, fold_files() | {"folds.csv": FOLDS})
    assert list_set(parse(f"x={tmp_path}")).folds == (
        Fold("1", frozenset({"a/0.png", "b/0.png"}), frozenset({"a/1.png"})),
        Fold("2", frozenset({"a/1.png"}), frozenset({"b/0.png"})),
    )


def test_folds_of_training_images(tmp_path: Path) -> None:
    """Where no items to test are named, folds are of the training split, and the test split is judged whole."""
    files = {f"{split}/{name}": data for split in ("train", "test") for name, data in fold_files().items()}
    write_files(tmp_path, files | {"folds.csv": "fold,split,item\n1,train,train/a/0.png\n"})
    listing = list_set(parse(f"x={tmp_path}"))
    assert (listing.split, listing.folds) == ("test", (Fold("1", frozenset({"train/a/0.png"})),))


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("fold,item\n1,a/0.png\n", "folds.csv: expected columns fold, split, item, found ['fold', 'item']"),
        ("fold,split,item\n", "folds.csv: expected columns fold, split, item, found no rows"),
        ("fold,split,item\n1,train\n", "folds.csv, line 2: expected 3 cells as in the first line, found fewer"),
        ("fold,split,item\n1,val,a/0.png\n", "folds.csv, line 2: expected a fold, train or test, and an item"),
        ("fold,split,item\n1,train,c/0.png\n", "1: expected images that are there, found 1 that are not (c/0.png)"),
        ("fold,split,item\n1,test,a/0.png\n", "expected images to train on and others to test, found none to train on"),
        ("fold,split,item\n1,train,a/0.png\n1,test,a/0.png\n", "found a/0.png in both"),
    ],
)
def test_folds_that_are_not_right(tmp_path: Path, text: str, part: str) -> None:
    """Other columns or parts, an image that is not there, none to fit on, one in both parts: each in one line."""
    _, message = read_or_message(write_files(tmp_path, fold_files() | {"folds.csv": text}))
    assert part in message
    assert "\n" not in message


SEVERAL = {"0.png": (("cat", "dog"), ()), "1.png": (("dog",), ()), "2.png": ((), ())}


def csv_table(folder: Path) -> None:
    (folder / "metadata.csv").write_text("file_name,labels\n0.png,cat|dog\n1.png,dog\n2.png,\n")


def json_table(folder: Path) -> None:
    rows = ('"0.png", "labels": ["cat", "dog"]', '"1.png", "labels": ["dog"]', '"2.png", "labels": []')
    (folder / "metadata.jsonl").write_text("".join(f'{{"file_name": {row}}}\n' for row in rows))


@pytest.mark.parametrize("write", [csv_table, json_table])
def test_tables_with_several_labels(tmp_path: Path, write: Callable[[Path], None]) -> None:
    """A list, or a cell of CSV with | between: every row is then one of several labels, or of none."""
    write_files(tmp_path, {name: image(0) for name in SEVERAL})
    write(tmp_path)
    assert {name: split_labels(label or "") for name, label in labels_of(read_set(tmp_path)).items()} == SEVERAL
    assert list_set(parse(f"x={tmp_path}")).classes == ("cat", "dog")


CLASS_LABEL = {"_type": "ClassLabel", "names": ["cat", "dog"]}


@pytest.mark.parametrize(
    "feature",
    [{"feature": CLASS_LABEL, "_type": "Sequence"}, [CLASS_LABEL], {"feature": CLASS_LABEL, "_type": "List"}],
)
def test_a_column_of_lists(tmp_path: Path, feature: object) -> None:
    """Lists of numbers are classes by the names in Hugging Face's metadata, in each way that these are written."""
    rows = [{"bytes": image(0), "path": name} for name in SEVERAL]
    table = pa.table({"image": rows, "objects": [[0, 1], [1], []]})
    table = table.replace_schema_metadata(hugging_face({"image": {"_type": "Image"}, "objects": feature}))
    pq.write_table(table, tmp_path / "test.parquet")
    assert {name: split_labels(label or "") for name, label in labels_of(read_set(tmp_path)).items()} == SEVERAL


def test_a_class_of_several_that_is_not_there(tmp_path: Path) -> None:
    """A number beyond the names is an error, not a class of its own."""
    table = pa.table({"image": [{"bytes": image(0), "path": "0"}], "labels": [[0, 2]]})
    features = {"image": {"_type": "Image"}, "labels": [CLASS_LABEL]}
    pq.write_table(table.replace_schema_metadata(hugging_face(features)), tmp_path / "test.parquet")
    with pytest.raises(InputError, match="row 0: expected a class from 0 to 1, found 2"):
        read_set(tmp_path)
