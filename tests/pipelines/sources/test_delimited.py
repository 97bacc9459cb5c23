"""Delimited text: the kernel reads what a plain reader reads, through any window; no quote makes it slow or blind."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.sources import windows
from pipelines.sources.delimited import _taken
from pipelines.sources.windows import Dialect, faults_of, scan

Row = list[str] | str
"""The values of a row; or what is wrong with it."""

ALPHABET = '"",\n\nab\r'
COMMA, BARE = Dialect(","), Dialect(",", has_quotes=False)


def read(data: str, dialect: Dialect, num_columns: int, block: int) -> list[Row]:
    """The rows of a text that comes in blocks of some size."""
    raw = data.encode()
    blocks = iter([raw[at : at + block] for at in range(0, len(raw), block)])
    found: list[Row] = []
    for lines in scan(b"", blocks, dialect, num_columns, list(range(num_columns))):
        good = lines.is_good()
        values = zip(*(_taken(lines, good, k).to_pylist() for k in range(num_columns)), strict=True)
        details = iter([fault.detail for fault in faults_of(lines, 0, num_columns)])
        found += [list(next(values)) if each else next(details) for each in good]
    return found


def plainly(data: str, dialect: Dialect, num_columns: int, limit: int) -> Iterator[Row]:
    """The definition, a character at a time."""
    at = 0
    while at < len(data):
        line_end = end_of_line(data, at)
        if data[at:line_end] in ("", "\r"):
            at = line_end + 1
            continue
        values, end = quoted(data, at, dialect.delimiter) if dialect.has_quotes else (None, at)
        if values is not None and len(values) == num_columns and end - at <= limit:
            yield list(values)
            at = end + 1
            continue
        values = data[at:line_end].removesuffix("\r").split(dialect.delimiter)
        if line_end - at > limit:
            yield f"a row of more than {limit} bytes"
        else:
            yield values if len(values) == num_columns else f"expected {num_columns} values, found {len(values)}"
        at = line_end + 1


def quoted(data: str, at: int, delimiter: str) -> tuple[list[str] | None, int]:
    """The values of a row and where it ends; None when a quote does not work out."""
    values = []
    while True:
        if data[at : at + 1] == '"':
            value, at = "", at + 1
            while True:
                close = data.find('"', at)
                if close < 0:
                    return None, at
                value, at = value + data[at:close], close + 1
                if data[at : at + 1] != '"':
                    break
                value, at = value + '"', at + 1
            if data[at : at + 2] in ("\r", "\r\n"):
                at += 1
            if at < len(data) and data[at] not in (delimiter, "\n"):
                return None, at
        else:
            end = min(end_of_line(data, at), found if (found := data.find(delimiter, at)) >= 0 else len(data))
            value = data[at:end].removesuffix("\r") if data[end : end + 1] != delimiter else data[at:end]
            at = end
        values.append(value)
        if at >= len(data) or data[at] == "\n":
            return values, at
        at += 1


def end_of_line(data: str, at: int) -> int:
    return found if (found := data.find("\n", at)) >= 0 else len(data)


@pytest.mark.parametrize("dialect", [COMMA, BARE])
@settings(max_examples=400)
@given(st.text(ALPHABET, max_size=60), st.integers(1, 3), st.integers(1, 70), st.integers(2, 60))
def test_rows_are_those_of_a_plain_reader(
    dialect: Dialect, data: str, num_columns: int, block: int, limit: int
) -> None:
    """Whatever stands where, however the file is cut into blocks, and however long a row may be."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(windows, "MAX_ROW_BYTES", limit)
        patch.setattr(windows, "ROWS_AT_ONCE", 1 + limit % 3)
        assert read(data, dialect, num_columns, block) == list(plainly(data, dialect, num_columns, limit))


@given(st.lists(st.lists(st.text(max_size=12), min_size=2, max_size=2), max_size=8), st.integers(1, 50))
def test_rows_that_csv_writes_come_back(rows: list[list[str]], block: int) -> None:
    """Python's writer, every value in quotes: commas, line breaks, quotes and NUL in them."""
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows(rows)
    assert read(text.getvalue(), COMMA, 2, block) == rows


def test_broken_quotes_cost_nothing_but_themselves() -> None:
    """A quote that never closes, or closes in the middle of a value, is a character like any other."""
    data = 'a,"never closed\nb,"in "the" middle"\nc,5" nails\nd,"fine, ""really""\nso"\ne,"x" y\n'
    assert read(data, COMMA, 2, 1000) == [
        ["a", '"never closed'],
        ["b", '"in "the" middle"'],
        ["c", '5" nails'],
        ["d", 'fine, "really"\nso'],
        ["e", '"x" y'],
    ]


def test_quotes_that_never_close_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each line opens a quote that no line closes: after so much reading in vain, quotes hold within a line only."""
    line = 'a"b,"c\n'
    monkeypatch.setattr(windows, "MAX_ROW_BYTES", 200)
    monkeypatch.setattr(windows, "_VAIN_BYTES", 1000)
    rows = read(line * 500 + '"x, y","z"\n' + '"x\ny",z\n', COMMA, 2, 64)
    assert rows[:500] == [['a"b', '"c']] * 500
    assert rows[500:] == [["x, y", "z"], "expected 2 values, found 1", ['y"', "z"]]
