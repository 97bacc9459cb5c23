from __future__ import annotations

from pathlib import Path

import pytest

from trainer.evaluation.tables import read_rows
from wit.errors import InputError

FORMS = {
    "rows.csv": 'image,words\n"a, b.jpg",x | y\n',
    "rows.tsv": "image\twords\na, b.jpg\tx|y\n",
    "rows.jsonl": '{"image": "a, b.jpg", "words": ["x", "y"]}\n\n',
}


@pytest.mark.parametrize("name", FORMS)
def test_forms_hold_the_same(tmp_path: Path, name: str) -> None:
    """A row is the same from CSV, TSV and JSON Lines, with a byte order mark too."""
    (tmp_path / name).write_bytes(b"\xef\xbb\xbf" * name.endswith("csv") + FORMS[name].encode())
    (row,) = read_rows(str(tmp_path / name), ("image", "words"))
    assert (row.text("image"), row.texts("words"), row.optional("none")) == ("a, b.jpg", ("x", "y"), "")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "image,n\n", "expected rows with image, n, found none"),
        ("a.csv", "image\nx\n", "line 2: expected 'image', 'n', found no 'n'"),
        ("a.csv", "image,n\nx\n", "line 2: expected 2 cells as in the first line, found fewer"),
        ("a.csv", "image,n\nx,1,2\n", "line 2: expected 2 cells as in the first line, found more"),
        ("a.jsonl", "[1]\n", r"line 1: expected a JSON object, found '\[1\]'"),
        ("a.jsonl", '{"image": \n', "line 1: expected a JSON object, found what is no JSON"),
        ("a.xls", "", "expected a file named .csv, .tsv, .jsonl, .ndjson, found .xls"),
        ("csv", "", "csv: expected a file named .csv, .tsv, .jsonl, .ndjson, found no suffix"),
        ("a.csv", "image,n\n\udcff,1\n", "expected text in UTF-8, found other bytes at 8"),
    ],
)
def test_faults_are_one_line(tmp_path: Path, name: str, text: str, message: str) -> None:
    """A file of another form is one line that names the file, the line, what was expected and what was found."""
    (tmp_path / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError, match=message) as error:
        read_rows(str(tmp_path / name), ("image", "n"))
    assert "\n" not in str(error.value)


def test_what_counts_once_is_there_once(tmp_path: Path) -> None:
    """A row again is an error by its line; rows without the text, and others that are alike, are none."""
    path = tmp_path / "a.csv"
    path.write_text("image,n\nx,1\n,2\n,2\ny,2\n")
    assert len(read_rows(str(path), ("image", "n"), once="image")) == 4
    path.write_text("image,n\nx,1\ny,1\n x ,2\n")
    with pytest.raises(InputError, match=r"line 4: expected each image once, found 'x' again after .*line 2;"):
        read_rows(str(path), ("image", "n"), once="image")


def test_lists_are_of_texts(tmp_path: Path) -> None:
    """A list in JSON Lines may hold texts and numbers, and nothing else is made a text of."""
    path = tmp_path / "a.jsonl"
    path.write_text('{"words": ["a", 5]}\n{"words": ["a", {"b": 1}]}\n{"words": ["a", null]}\n')
    first, *others = read_rows(str(path), ("words",))
    assert first.texts("words") == ("a", "5")
    for row in others:
        with pytest.raises(InputError, match="expected texts under 'words', found"):
            row.texts("words")


@pytest.mark.parametrize("number", ["", "x", "nan", "90.1", "-91"])
def test_numbers_are_in_range(tmp_path: Path, number: str) -> None:
    """A number that is missing, none, not finite or out of range is an error."""
    (tmp_path / "a.csv").write_text(f'image,n\nx,"{number}"\n')
    (row,) = read_rows(str(tmp_path / "a.csv"), ("n",))
    with pytest.raises(InputError, match="line 2: expected a"):
        row.number("n", -90, 90)
