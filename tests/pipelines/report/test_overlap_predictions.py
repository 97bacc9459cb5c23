"""Predictions: every format says the same, names join in spite of folders, and each mistake is one clear line."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.report.overlap.predictions import Predictions, join_predictions, plain_class, read_predictions
from pipelines.report.overlap.results import Accuracies
from wit.errors import InputError
from wit.schema import PREDICTIONS

ROWS: list[dict[str, Any]] = [
    {"item": "./cat/1.png", "correct": True},
    {"item": "cat/2, a.png", "correct": False},
    {"item": 'dog/"3".png', "correct": True},
]


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    """Write rows by an independent writer of the format that the name says."""
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix in (".csv", ".tsv"):
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), delimiter="," if path.suffix == ".csv" else "\t")
            writer.writeheader()
            writer.writerows(rows)
    else:
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return str(path)


def items(names: list[str], splits: str, labels: list[str | None] | None = None) -> pa.Table:
    """Images of a set; `splits` has a letter an image: o(verlap), c(lean), u(nreadable)."""
    words = {"o": "overlap", "c": "clean", "u": "unreadable"}
    columns = {
        "item": pa.array(names, pa.string()),
        "label": pa.array(labels or [None] * len(names), pa.string()),
        "split": pa.array([words[letter] for letter in splits], pa.string()),
    }
    return pa.table(columns)


@pytest.mark.parametrize("suffix", ["parquet", "csv", "tsv", "jsonl", "ndjson", "CSV"])
def test_every_format_says_the_same(tmp_path: Path, suffix: str) -> None:
    """Names with commas and quotes, a leading ./ taken off, true and false in each format's own way."""
    expected = {"cat/1.png": True, "cat/2, a.png": False, 'dog/"3".png': True}
    url = write(tmp_path / f"p.{suffix.lower()}", ROWS)
    Path(url).rename(tmp_path / f"p.{suffix}")
    assert read_predictions(str(tmp_path / f"p.{suffix}")).verdicts == expected


@pytest.mark.parametrize(
    ("value", "truth"), [("True", True), ("0", False), (1, True), (0.0, False), (" false ", False)]
)
def test_what_counts_as_true_and_false(tmp_path: Path, value: object, truth: bool) -> None:
    """Words in any case, and the numbers 1 and 0."""
    assert read_predictions(write(tmp_path / "p.jsonl", [{"path": "a", "correct": value}])).verdicts == {"a": truth}


@pytest.mark.parametrize(
    ("label", "prediction", "truth"),
    [
        ("cat", "cat", True),
        ("cat", "dog", False),
        (3, 3.0, True),
        ("3", 3, True),
        (" cat", "cat ", True),
        ("a.0", "a", False),
    ],
)
def test_classes_are_compared_as_text(tmp_path: Path, label: object, prediction: object, truth: bool) -> None:
    """Whole numbers are equal whatever a table made of them; blanks around a name do not matter."""
    url = write(tmp_path / "p.jsonl", [{"item": "a", "label": label, "prediction": prediction}])
    assert read_predictions(url).verdicts == {"a": truth}


def test_a_class_called_nan_is_a_class_and_no_number(tmp_path: Path) -> None:
    """The bread is a label; the float that says nothing is none."""
    url = write(tmp_path / "p.csv", [{"item": "a", "label": "nan", "prediction": "nan"}])
    assert read_predictions(url).verdicts == {"a": True}
    with pytest.raises(InputError, match=r"row 1: expected a class in column 'label', found 'nan'"):
        read_predictions(write(tmp_path / "p.parquet", [{"item": "a", "label": float("nan"), "prediction": 1.0}]))


@given(st.integers(-(10**12), 10**12))
def test_a_whole_number_is_the_same_class_as_text_and_float(value: int) -> None:
    """3, "3", 3.0 and "3.00" are one class; 3.5 is another."""
    assert plain_class(value) == plain_class(float(value)) == plain_class(f"{value}.00") == str(value)
    assert plain_class(f"{value}.5") != str(value)


def test_what_wit_evaluate_writes_is_read(tmp_path: Path) -> None:
    """PREDICTIONS has path, label and prediction, and more that is not needed."""
    rows = [
        {"path": f"cat/{n}.png", "label": "cat", "prediction": "cat" if n < 2 else "dog", "probability": 0.5,
         "label_probability": 0.5, "label_rank": 1}
        for n in range(4)
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows, schema=PREDICTIONS), tmp_path / "p.parquet")
    found = read_predictions(str(tmp_path / "p.parquet"))
    joined = join_predictions(found, "pets", items([f"cat/{n}.png" for n in range(4)], "occo"))
    assert joined.accuracies == Accuracies(num_clean=2, correct_clean=1, num_overlap=2, correct_overlap=1)


def test_the_labels_of_the_set_serve_a_file_without(tmp_path: Path) -> None:
    """A prediction is compared with the set's own label; a set without labels is one clear error."""
    url = write(tmp_path / "p.csv", [{"item": "a", "prediction": "3"}, {"item": "b", "prediction": "4"}])
    joined = join_predictions(read_predictions(url), "s", items(["a", "b"], "co", ["3", "3"]))
    assert joined.accuracies == Accuracies(1, 1, 1, 0)
    with pytest.raises(InputError, match=r"expected a column label or correct.*'s' states no label of 'a'"):
        join_predictions(read_predictions(url), "s", items(["a", "b"], "co"))


def test_missing_unknown_and_unreadable_are_counted() -> None:
    """An item without a prediction, a prediction without an item; an unreadable item is neither, and in no split."""
    found = Predictions("p", {"a": True, "b": False, "c": True, "broken": True, "other": True})
    joined = join_predictions(found, "s", items(["a", "b", "c", "d", "broken"], "occcu"))
    assert joined.accuracies == Accuracies(2, 1, 1, 1)
    assert (joined.num_missing, joined.num_unknown) == (1, 1)


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["a/1.png", "b/2.png"], ["a/1.png", "b/2.png"]),
        (["cifar/test/a/1.png", "cifar/test/b/2.png"], ["a/1.png", "b/2.png"]),
        (["/data/sets/cifar/a/1.png", "/data/sets/cifar/b/2.png"], ["a/1.png", "b/2.png"]),
        (["a/1.png", "b/2.png"], ["test/a/1.png", "test/b/2.png"]),
        (["17", "18"], ["test_batch.bin/17", "test_batch.bin/18"]),
    ],
)
def test_folders_that_all_names_share_do_not_matter(paths: list[str], names: list[str]) -> None:
    """Leading folders of all names of the file, or of all names of the set, are forgiven."""
    joined = join_predictions(Predictions("p", dict.fromkeys(paths, True)), "s", items(names, "oc"))
    assert (joined.accuracies, joined.num_missing, joined.num_unknown) == (Accuracies(1, 1, 1, 1), 0, 0)


def test_two_different_folders_do_not_join() -> None:
    """val/1.png is not test/1.png: predictions for another split are an error, not an accuracy."""
    found = Predictions("p.csv", {"val/1.png": True, "val/2.png": True})
    with pytest.raises(InputError, match=r"p\.csv: expected a prediction for most of the 2 images of 's', found 0"):
        join_predictions(found, "s", items(["test/1.png", "test/2.png"], "oc"))


@given(
    st.lists(st.text("ab/", min_size=1, max_size=6), min_size=1, max_size=12, unique=True),
    st.lists(st.text("ab/", min_size=1, max_size=6), min_size=1, max_size=12, unique=True),
)
def test_whatever_joins_each_item_has_one_prediction(paths: list[str], names: list[str]) -> None:
    """The counts add up for any names: items = with a prediction + missing, predictions = used + unknown."""
    found = Predictions("p", dict.fromkeys(paths, True))
    try:
        joined = join_predictions(found, "s", items(names, "c" * len(names)))
    except InputError:
        return
    assert joined.accuracies.num_all + joined.num_missing == len(names)
    assert joined.accuracies.num_all + joined.num_unknown == len(paths)
    assert joined.accuracies.num_all >= len(set(paths) & set(names))


def test_too_many_missing_is_an_error_with_examples() -> None:
    """Half may be missing, more may not; three names of each side tell why, long ones cut."""
    names = [f"{n}.png" for n in range(10)]
    assert (
        join_predictions(Predictions("p", dict.fromkeys(names[:5], True)), "s", items(names, "c" * 10)).num_missing == 5
    )
    few = Predictions("p.csv", {**dict.fromkeys(names[:4], True), "x" * 999: True})
    with pytest.raises(InputError) as raised:
        join_predictions(few, "s", items(names, "c" * 10))
    assert str(raised.value) == (
        "p.csv: expected a prediction for most of the 10 images of 's', found 4; the file names '0.png', '1.png', "
        "'2.png', the set '0.png', '1.png', '2.png'; name items as items.parquet does"
    )


def test_repeated_rows(tmp_path: Path) -> None:
    """The same row twice is one prediction; rows that contradict each other are told with their numbers."""
    rows = [{"item": "a", "correct": 1}, {"item": "b", "correct": 0}, {"item": "./a", "correct": True}]
    assert read_predictions(write(tmp_path / "p.jsonl", rows)).verdicts == {"a": True, "b": False}
    rows.append({"item": "b", "correct": 1})
    with pytest.raises(InputError, match=r"one prediction for 'b', found row 2 and row 4, which contradict each other"):
        read_predictions(write(tmp_path / "p.jsonl", rows))


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("p.csv", b"", "expected rows of item"),
        ("p.csv", b"item,correct\n", "expected rows of item"),
        ("p.csv", b"image,right\na,1\n", "found 'image', 'right'; rename"),
        ("p.csv", b"item,label\na,1\n", "found 'item', 'label'; rename"),
        ("p.csv", b"item,correct\na,maybe\n", "row 1: expected true, false, 1 or 0 in column 'correct', found 'maybe'"),
        ("p.csv", b"item,correct\na\n", "line 2: expected 2 cells as in the first line, found fewer"),
        ("p.csv", b"item,correct\n,1\n", "row 1: expected the name of an item"),
        ("p.csv", b"item,correct\na,1,2\n", "line 2: expected 2 cells as in the first line, found more"),
        ("p.csv", b"item,correct\n\xff,1\n", "expected text in UTF-8"),
        ("p.csv", b"item,correct\n" + b"x" * 200_000 + b",1\n", "after line 1: expected cells"),
        ("p.csv", b"item,prediction,label\na,,1\n", "expected a class in column 'prediction', found ''"),
        ("p.jsonl", b'{"item": "a", "correct": 1}\n[1]\n', "line 2: expected a JSON object"),
        ("p.jsonl", b'{"item": "a", "correct": 1}\n{"item"\n', "line 2: expected a JSON object"),
        ("p.jsonl", b'{"item": "a", "correct": 1}\n{"item": "b"}\n', "row 2: expected true"),
        ("p.jsonl", b'{"item": ["a"], "correct": 1}\n', "row 1: expected the name of an item"),
        ("p.jsonl", b'{"item": "a", "label": {}, "prediction": 1}\n', "row 1: expected a class in column 'label'"),
        ("p.parquet", b"PAR1 no", "not a readable Parquet file"),
        ("p.pickle", b"\x80\x04.", "expected a file of predictions (.parquet, .csv, .tsv, .jsonl, .ndjson)"),
        ("p", b"", "expected a file of predictions"),
    ],
)
def test_mistakes_are_one_line(tmp_path: Path, name: str, data: bytes, said: str) -> None:
    """Each wrong file is an InputError of one line that names the file."""
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(InputError) as raised:
        read_predictions(str(path))
    message = str(raised.value)
    assert message.startswith(str(path))
    assert said in message
    assert len(message.splitlines()) == 1
    assert len(message) < 400 + len(str(path))


def test_a_missing_file_and_a_broken_page_are_one_line(tmp_path: Path) -> None:
    """What is not there, and Parquet whose pages were overwritten."""
    with pytest.raises(InputError, match="found nothing"):
        read_predictions(str(tmp_path / "none.csv"))
    rows = [{"item": f"{n}-{n * 7919 % 1000}", "correct": True} for n in range(5000)]
    path = Path(write(tmp_path / "p.parquet", rows))
    data = bytearray(path.read_bytes())
    data[100:3000] = bytes(2900)
    path.write_bytes(data)
    with pytest.raises(InputError, match="not a readable Parquet file"):
        read_predictions(str(path))


def test_other_columns_are_not_read(tmp_path: Path) -> None:
    """Images or logits beside the predictions cost nothing, whatever their type."""
    table = pa.table({"item": ["a"], "correct": [True], "logits": [[0.1, 0.2]], "image": [b"\xff\xd8"]})
    pq.write_table(table, tmp_path / "p.parquet")
    assert read_predictions(str(tmp_path / "p.parquet")).verdicts == {"a": True}
