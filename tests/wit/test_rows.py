from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wit.errors import InputError
from wit.rows import parse_rows

CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), max_size=20)


@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=9))
def test_what_is_written_is_read(rows: list[tuple[str, str]]) -> None:
    """Python's CSV, TSV and JSON are read as they were written, whatever signs a cell holds, with their lines."""
    expected = [(number, {"a": one, "b": other}) for number, (one, other) in enumerate(rows, 2)]
    for form, delimiter in (("csv", ","), ("tsv", "\t")):
        text = io.StringIO()
        csv.writer(text, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows([("a", "b"), *rows])
        assert list(parse_rows("f", text.getvalue(), form)) == expected
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for _, row in expected)
    for form in ("jsonl", "ndjson"):
        assert list(parse_rows("f", f"\n{lines}", form)) == expected


@pytest.mark.parametrize(
    ("form", "text", "message"),
    [
        ("csv", "a,b\n1,2\n3\n", "f, line 3: expected 2 cells as in the first line, found fewer; quote a cell"),
        ("csv", "a,b,a\n1,2,3\n", "f, line 1: expected each column once, found 'a' twice"),
        ("tsv", "a\tb\n1\t2\t3\n", "f, line 2: expected 2 cells as in the first line, found more"),
        ("csv", 'a\n"' + "x" * 200_000 + '"\n', "f, after line 1: expected cells, found what is none: field larger"),
        ("jsonl", "{}\n\n7\n", "f, line 3: expected a JSON object, found '7'"),
        ("jsonl", '{"a": NaN}\n', "f, line 1: expected a JSON object, found what is no JSON"),
    ],
)
def test_faults_are_one_line(form: str, text: str, message: str) -> None:
    """With the file, the line, what was expected and what was found."""
    with pytest.raises(InputError, match=message) as error:
        list(parse_rows("f", text, form))
    assert "\n" not in str(error.value)
