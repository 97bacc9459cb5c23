"""A part is whole or not there."""

from __future__ import annotations

import errno
import gc
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from pipelines.executors.parts import PartWriter
from wit import storage

SCHEMA = pa.schema([pa.field("n", pa.int64(), nullable=False)])


@pytest.fixture
def fill_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Return a function after which every write to a draft fails."""
    full: list[bool] = []

    class Draft(storage.Draft):
        def __init__(self, url: str) -> None:
            super().__init__(url)
            write = self.file.write

            def write_or_fail(data: bytes) -> int:
                if full:
                    raise OSError(errno.ENOSPC, "No space left on device")
                return write(data)

            self.file = Wrapped(self.file, write_or_fail)

    monkeypatch.setattr("pipelines.executors.parts.Draft", Draft)
    return lambda: full.append(True)


class Wrapped:
    """A file with another `write`."""

    def __init__(self, file: object, write: Callable[[bytes], int]) -> None:
        self._file, self.write = file, write

    def __getattr__(self, name: str) -> object:
        return getattr(self._file, name)


@pytest.mark.parametrize("is_full", [False, True])
def test_a_discarded_part_leaves_nothing(tmp_path: Path, fill_disk: Callable[[], None], is_full: bool) -> None:
    """No file stays, and no finaliser complains later (which pytest would make an error), full disk or not."""
    writer = PartWriter(str(tmp_path / "part-00000.parquet"), SCHEMA)
    writer.write(pa.RecordBatch.from_pylist([{"n": 1}], schema=SCHEMA))
    if is_full:
        fill_disk()
    writer.discard()
    del writer
    gc.collect()
    assert list(tmp_path.iterdir()) == []
