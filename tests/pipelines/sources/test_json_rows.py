"""JSON: lines at once or one by one are the same rows; documents; what is odd or broken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.sources import json_rows
from pipelines.sources.rows import Columns
from pipelines.sources.source import MALFORMED_RECORD, UNREADABLE_ARCHIVE, Fault
from pipelines.sources.tables import Tables
from pipelines.sources.windows import Lines, scan
from tests.pipelines.sources.listing import Found, listed
from wit.errors import InputError

values = st.one_of(
    st.text(max_size=8), st.none(), st.integers(), st.booleans(), st.lists(st.text(max_size=3), max_size=3)
)
objects = st.dictionaries(st.sampled_from(["url", "caption", "page_url", "similarity"]), values)


def found_in(path: Path, data: bytes, preset: str = "auto") -> list[Found | Fault]:
    path.write_bytes(data)
    return listed(Tables(preset), str(path))


def lines_of(data: bytes) -> list[Lines]:
    return list(scan(data, iter(()), json_rows._JSON_LINES, 1, [0]))


@given(st.lists(objects, min_size=1, max_size=6), st.booleans())
def test_lines_at_once_are_the_lines_one_by_one(rows: list[dict[str, Any]], has_pages: bool) -> None:
    """Where the fast way takes a window of lines, it gives what the careful one gives."""
    (lines,) = lines_of(b"".join(json.dumps(row).encode() + b"\n" for row in rows))
    columns = Columns("url", "caption", "page_url" if has_pages else None)
    fast = json_rows._plain_objects(lines, columns, 5)
    slow = json_rows._any_objects(lines, columns, 5, lambda names: columns)
    if fast is None:  # only for a reason
        needed = [row.get(name, 0) for row in rows for name in columns if name]
        assert not all(value is None or isinstance(value, str) for value in needed)
        return
    assert not slow.faults
    assert fast.numbers.tolist() == slow.numbers.tolist()
    assert [each.to_pylist() for each in fast.texts] == [each.to_pylist() for each in slow.texts]


def test_odd_lines_are_read_and_wrong_ones_are_counted(tmp_path: Path) -> None:
    """Lone surrogates, control characters and bytes that are no UTF-8 are mended; depth and types are faults."""
    lines = [
        b'{"url": "a", "caption": "first"}',
        b'{"url": "b", "caption": "lone \\ud83d surrogate"}',
        b'{"url": "c", "caption": "raw \x01 control"}',
        b'{"url": "d", "caption": "\xff"}',
        b'{"url": "e", "caption": ' + b"[" * 100_000,
        b'{"url": "f", "caption": 1' + b"0" * 10_000 + b"}",
        b'{"url": "g", "caption": ["one", "two"]}',
        b'{"url": "h", "caption": {"text": "x"}}',
        b'{"url": "i", "caption": ["one", 2]}',
        b'"url"',
        b'{"url": "j", "caption": "twice", "caption": "last"}',
        b'{"caption": "no URL"}',
        b'{"url": "k", "caption": []}',
    ]
    found = found_in(tmp_path / "t.jsonl", b"\r\n".join(lines))
    assert [(each.offset, each.url, each.text) for each in found if isinstance(each, Found)] == [
        (0, "a", "first"),
        (1, "b", "lone ? surrogate"),
        (2, "c", "raw \x01 control"),
        (3, "d", "\ufffd"),
        (6, "g", "one"),
        (6, "g", "two"),
        (10, "j", "last"),
        (11, "", "no URL"),
        (12, "k", ""),
    ]
    faults = [each for each in found if isinstance(each, Fault)]
    assert [(fault.reason, fault.offset) for fault in faults] == [(MALFORMED_RECORD, n) for n in (4, 5, 7, 8, 9)]
    assert all(len(fault.detail) < 250 for fault in faults)


def test_redcaps_as_published(tmp_path: Path) -> None:
    """A document of annotations, whose pages are addresses on Reddit."""
    annotation = {"image_id": "x", "url": "https://i.example/x.jpg", "raw_caption": "A Dog!!", "caption": "a dog"}
    document = {"info": {}, "annotations": [{**annotation, "permalink": "/r/dogs/comments/x/"}]}
    page = "https://www.reddit.com/r/dogs/comments/x/"
    expected = [Found("https://i.example/x.jpg", "a dog", 0, "caption", page, page)]
    assert found_in(tmp_path / "dogs_2020.json", orjson.dumps(document), "redcaps") == expected


def test_documents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list; JSON lines under a document's name; anything else is refused or counted, one of any size too."""
    pair = {"url": "u", "caption": "c"}
    assert len(found_in(tmp_path / "t.json", json.dumps([pair] * 3, indent=1).encode())) == 3
    assert len(found_in(tmp_path / "t.json", b"\n".join([orjson.dumps(pair)] * 3))) == 3
    with pytest.raises(InputError, match='expected a list of objects, or one named "annotations"'):
        found_in(tmp_path / "t.json", b'{"images": []}')
    (fault,) = found_in(tmp_path / "t.json", json.dumps([pair] * 3).encode()[:-5])
    assert isinstance(fault, Fault)
    assert fault.reason == UNREADABLE_ARCHIVE
    monkeypatch.setattr(json_rows, "MAX_DOCUMENT_BYTES", 10)
    with pytest.raises(InputError, match="at most 10 bytes; convert it to JSON lines"):
        found_in(tmp_path / "t.json", json.dumps([pair]).encode())
