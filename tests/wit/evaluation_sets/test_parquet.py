"""Parquet files as a set: columns found by metadata, type and name; names, classes, pieces, damage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.wit.evaluation_sets.files import (
    hugging_face,
    image,
    labels_of,
    read_or_message,
    read_set,
    write_files,
)
from wit.errors import InputError
from wit.evaluation_sets import list_set, parse, read_items

NAMES = ["red fox", "owl", "hen"]
IMAGES = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def write(path: Path, columns: dict[str, Any], metadata: dict[bytes, bytes] | None = None, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns).replace_schema_metadata(metadata), path, **options)
    return path


def structs(*paths: str | None) -> pa.Array:
    rows = [{"bytes": f"body {number}".encode(), "path": path} for number, path in enumerate(paths)]
    return pa.array(rows, IMAGES)


def test_the_layout_of_hugging_face(tmp_path: Path) -> None:
    """data/SPLIT-*.parquet: the test split is read, classes are named by the features, items by their own paths."""
    features = {"img": {"_type": "Image"}, "fine_label": {"names": NAMES, "_type": "ClassLabel"}}
    for split, first in (("train", 0), ("test", 1)):
        columns = {"img": structs(f"{first}.png", "b.png"), "fine_label": pa.array([first, 2])}
        write(tmp_path / "data" / f"{split}-00000-of-00001.parquet", columns, hugging_face(features))
    write_files(tmp_path, {"README.md": "---\n---", ".gitattributes": ""})
    listing = list_set(parse(f"x={tmp_path}"))
    assert (listing.format, listing.split, listing.left_out) == ("parquet", "test", ("train",))
    assert listing.classes == tuple(NAMES)
    assert [each[1:] for each in read_set(tmp_path)] == [("1.png", "owl", b"body 0"), ("b.png", "hen", b"body 1")]


def test_names_are_numbers_where_paths_are_not_unique(tmp_path: Path) -> None:
    """A path that two images have, in one file or in two, or that one lacks, names none: rows are counted."""
    write(tmp_path / "a.parquet", {"image": structs("1.png", "2.png")})
    assert list(labels_of(read_set(tmp_path))) == ["1.png", "2.png"]
    for others in (("2.png",), ("3.png", None), ("3.png", "3.png"), ("",)):
        write(tmp_path / "b.parquet", {"image": structs(*others)})
        expected = ["a.parquet/0", "a.parquet/1", *(f"b.parquet/{row}" for row in range(len(others)))]
        assert list(labels_of(read_set(tmp_path))) == expected
        assert list(labels_of(read_set(tmp_path / "b.parquet"))) == (
            ["2.png"] if others == ("2.png",) else expected[2:]
        )


@pytest.mark.parametrize(
    "images",
    [
        pa.array([b"1", b"2"], pa.binary()),
        pa.array([b"1", b"2"], pa.large_binary()),
        pa.array([{"bytes": b"1"}, {"bytes": b"2"}]),
        pa.array([{"path": "a", "bytes": b"1"}, {"path": "a", "bytes": b"2"}]),
        pa.array([{"bytes": b"1", "path": 5}, {"bytes": b"2", "path": 6}]),
    ],
)
def test_columns_by_type_and_name(tmp_path: Path, images: pa.Array) -> None:
    """Without metadata the image is binary or a struct of it, whatever else there is; the class has a usual name."""
    path = write(tmp_path / "0.parquet", {"id": ["x", "y"], "hash": [b"h", b"h"], "jpg": images, "label": ["a", "b"]})
    assert [each[1:] for each in read_set(path)] == [("0.parquet/0", "a", b"1"), ("0.parquet/1", "b", b"2")]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (pa.array([2, 0], pa.int8()), ["2", "0"]),
        (pa.array([2, 0], pa.uint64()), ["2", "0"]),
        (pa.array(["owl", None]), ["owl", None]),
        (pa.array([1.0, None]), ["1", None]),
        (pa.array(["owl", "owl"]).dictionary_encode(), ["owl", "owl"]),
        (pa.array([-1, 4]), [None, "4"]),
        (pa.array([[1, 0], [], None]), ["1\n0\n", "\n", None]),
        (pa.array([[[1]], [[2]]]), [None, None]),
        (pa.array([True, False]), [None, None]),
    ],
)
def test_classes_of_any_type(tmp_path: Path, labels: pa.Array, expected: list[str | None]) -> None:
    """Numbers, texts and lists of them are classes, -1 and nulls none, lists of lists and truth values no column."""
    path = write(tmp_path / "0.parquet", {"image": structs("1", "2", "3").slice(0, len(labels)), "label": labels})
    assert list(labels_of(read_set(path)).values()) == expected


def test_classes_are_named_by_a_file_beside(tmp_path: Path) -> None:
    """classes.txt in the folder, or in that above it, names numbers where the schema does not."""
    write(tmp_path / "data" / "0.parquet", {"image": structs("1", "2"), "label": pa.array([1, 0])})
    write_files(tmp_path, {"classes.txt": "\n".join(NAMES)})
    assert list(labels_of(read_set(tmp_path)).values()) == ["owl", "red fox"]


def test_a_class_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """A number beyond the names is told with its row."""
    metadata = hugging_face({"label": {"names": NAMES, "_type": "ClassLabel"}})
    path = write(tmp_path / "0.parquet", {"image": structs("1", "2"), "label": pa.array([0, 3])}, metadata)
    with pytest.raises(InputError, match="row 1: expected a class from 0 to 2, found 3"):
        read_set(path)


@pytest.mark.parametrize(
    "value", [b"", b"{", b"[]", b'{"info": 5}', b'{"info": {"features": {"image": 5, "label": {}}}}']
)
def test_odd_metadata_say_nothing(tmp_path: Path, value: bytes) -> None:
    """Metadata that are not as expected are passed over."""
    path = write(tmp_path / "0.parquet", {"image": structs("1"), "label": [7]}, {b"huggingface": value})
    assert labels_of(read_set(path)) == {"1": "7"}


def test_an_image_without_bytes_is_empty(tmp_path: Path) -> None:
    """A null, and a struct that only names a file, are items without bytes, to be counted: no path is ever opened."""
    (tmp_path / "secret.png").write_bytes(image(1))
    rows = [{"bytes": None, "path": str(tmp_path / "secret.png")}, None, {"bytes": b"body", "path": "b"}]
    path = write(tmp_path / "0.parquet", {"image": pa.array(rows, IMAGES)})
    assert [each.body for each in read_set(path)] == [b"", b"", b"body"]


def test_pieces_are_row_groups(tmp_path: Path) -> None:
    """Small row groups go together up to 1,000 rows, a large one is a piece; together they are the file."""
    images = pa.array([str(number).encode() for number in range(3500)])
    for rows_a_group, sizes in ((300, [900, 900, 900, 800]), (1500, [1500, 1500, 500]), (5000, [3500])):
        path = write(tmp_path / "0.parquet", {"image": images}, row_group_size=rows_a_group)
        pieces = list_set(parse(f"x={path}")).pieces
        assert [(piece.stop or 0) - (piece.start or 0) for piece in pieces] == sizes
        rows = [piece.row() for piece in pieces]
        assert [each.body for each in read_items(rows)] == images.to_pylist()
        assert next(read_items(rows[-1:])).item == f"0.parquet/{3500 - sizes[-1]}"


@pytest.mark.parametrize("paths", [True, False])
def test_row_groups_of_which_nothing_is_wanted_are_passed_over(tmp_path: Path, paths: bool) -> None:
    """Few images of a large file cost few reads: damage in another row group is not even seen."""
    images = structs(*(f"{number}.png" if paths else None for number in range(40)))
    options = {"row_group_size": 10, "use_dictionary": False, "compression": "none", "write_page_checksum": True}
    path = write(tmp_path / "0.parquet", {"image": images}, **options)
    data = path.read_bytes()
    path.write_bytes(data.replace(b"body 35", b"BODY 35"))
    name = "15.png" if paths else "0.parquet/15"
    assert [each.body for each in read_set(path, wanted={("x", name)})] == [b"body 15"]
    with pytest.raises(InputError, match="cannot be read from row 30 on"):
        read_set(path)


def test_files_must_agree(tmp_path: Path) -> None:
    """Files with other columns, or other classes, are not one set."""
    write(tmp_path / "a.parquet", {"image": structs("1"), "label": [1]})
    write(tmp_path / "b.parquet", {"image": structs("2"), "target": [1]})
    with pytest.raises(InputError, match=r"b\.parquet: expected the columns of .*a\.parquet"):
        list_set(parse(f"x={tmp_path}"))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"url": ["a"], "label": [1]}, r"expected a column of images .* found 'url' string, 'label' int64"),
        ({"image": ["a.png"]}, "expected a column of images"),
        ({"images": [[b"1"]]}, "expected a column of images"),
        ({"image": pa.array([], pa.binary())}, "expected rows"),
    ],
)
def test_files_without_images(tmp_path: Path, columns: dict[str, Any], message: str) -> None:
    """A table of URLs, of paths, of lists, and one without rows is refused with what it has."""
    with pytest.raises(InputError, match=message) as caught:
        read_set(write(tmp_path / "0.parquet", columns))
    assert "\n" not in str(caught.value)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_damage_is_an_item_or_one_line(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """A file cut off is one clear error; so is a byte changed in its pages, where it matters."""
    path = tmp_path_factory.mktemp("damage") / "0.parquet"
    images = [bytes([number]) * 200 for number in range(50)]
    write(
        path, {"image": images}, row_group_size=10, write_page_checksum=True, compression="none", use_dictionary=False
    )
    whole = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
        assert "not a readable Parquet file" in read_or_message(path)[1]
        return
    whole[data.draw(st.integers(4, 50 * 200))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(whole)
    items, message = read_or_message(path)
    assert [each.body for each in items] == images or "cannot be read from row" in message
    assert "\n" not in message
