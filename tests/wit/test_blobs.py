"""Ranges of blobs: from files that stay open, or by requests for exactly their bytes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import IO, Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from wit import blobs
from wit.blobs import BlobReader
from wit.errors import InputError
from wit.storage import open_input, publish_bytes


def content(name: str) -> bytes:
    return bytes(name, "ascii") * 10


def row(name: str, offset: int, length: int) -> dict[str, Any]:
    return {"blob": name, "offset": offset, "length": length}


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[IO[bytes]]:
    """All files that are opened."""
    files: list[IO[bytes]] = []

    def opening(url: str) -> IO[bytes]:
        files.append(open_input(url))
        return files[-1]

    monkeypatch.setattr(blobs, "open_input", opening)
    return files


def test_rows_that_jump_open_each_blob_once(tmp_path: Path, opened: list[IO[bytes]]) -> None:
    """Ranges come from the named blob, in any order, and no file is opened twice; all are closed in the end."""
    names = [f"{number:02d}" for number in range(20)]
    for name in names:
        (tmp_path / name).write_bytes(content(name))
    rows = [row(name, 2 * turn, 5) for turn in range(3) for name in names]
    with BlobReader(str(tmp_path)) as reader:
        for each, data in reader.read_rows(rows):
            assert data == content(each["blob"])[each["offset"] : each["offset"] + 5]
        with pytest.raises(InputError, match=r"/07: expected 9 bytes at 15, found 5"):
            reader.read("07", 15, 9)
    assert Counter(Path(file.name).name for file in opened) == Counter(names)
    assert all(file.closed for file in opened)


def test_few_files_are_open_at_a_time(tmp_path: Path, opened: list[IO[bytes]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Of more blobs than may be open, that which was not used for longest is closed."""
    monkeypatch.setattr(blobs, "MAX_OPEN", 2)
    for name in "abc":
        (tmp_path / name).write_bytes(content(name))
    with BlobReader(str(tmp_path)) as reader:
        for name in "abacab":
            assert reader.read(name, 0, 1) == name.encode()
            assert sum(not file.closed for file in opened) <= 2
    assert [Path(file.name).name for file in opened] == ["a", "b", "c", "b"]


def test_of_a_remote_blob_only_its_rows_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """One request a row, for its bytes and no other; rows come in order; what is short or not there is told."""
    asked: list[tuple[int, int]] = []
    cat_file = MemoryFileSystem.cat_file

    def counting(self: MemoryFileSystem, path: str, start: int, end: int) -> bytes:
        asked.append((start, end))
        return bytes(cat_file(self, path, start, end))

    publish_bytes("memory://test-blobs/run/a", content("a"))
    publish_bytes("memory://test-blobs/run/b", content("b"))
    monkeypatch.setattr(MemoryFileSystem, "cat_file", counting)
    monkeypatch.setattr(MemoryFileSystem, "open", None)
    rows = [row("ab"[number % 2], number % 7, 1 + number % 3) for number in range(40)]
    with BlobReader("memory://test-blobs/run") as reader:
        found = list(reader.read_rows(rows))
        assert [each for each, _ in found] == rows
        assert all(data == content(each["blob"])[: each["length"]] for each, data in found)
        assert sorted(asked) == sorted((each["offset"], each["offset"] + each["length"]) for each in rows)
        with pytest.raises(InputError, match="expected 9 bytes at 5, found 5"):
            list(reader.read_rows([rows[0], row("b", 5, 9), rows[1]]))
        with pytest.raises(InputError, match="run/none: expected a file here, found nothing"):
            reader.read("none", 0, 1)
    fsspec.filesystem("memory").rm("/test-blobs", recursive=True)
