from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.evaluation import rows
from trainer.evaluation.rows import Rows


@given(st.lists(st.integers(0, 9), max_size=12), st.lists(st.integers(0, 6), max_size=12), st.data())
def test_rows_are_what_an_array_gives(first: list[int], second: list[int], data: st.DataObject) -> None:
    """Picked, joined, picked again: NumPy's own rows of the concatenated tables, as an array and in blocks."""
    tables = np.arange(30.0).reshape(10, 3), np.arange(100.0, 121.0).reshape(7, 3)
    found = Rows.of(tables[0]).take(np.array(first, int)).join(Rows.of(tables[1]).take(np.array(second, int)))
    plain = np.concatenate([tables[0][np.array(first, int)], tables[1][np.array(second, int)]])
    assert found.shape == plain.shape
    np.testing.assert_array_equal(np.asarray(found), plain)
    np.testing.assert_array_equal(np.concatenate([*found.blocks(), np.empty((0, 3))]), plain)
    again = np.array(sorted(data.draw(st.sets(st.integers(0, max(len(plain) - 1, 0))))), int)[: len(plain)]
    if len(plain):
        np.testing.assert_array_equal(np.asarray(found.take(again)), plain[again])


def test_blocks_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """No block has more numbers than it may, and at least a row."""
    monkeypatch.setattr(rows, "BLOCK_VALUES", 10)
    assert [len(block) for block in Rows.of(np.zeros((7, 4))).blocks()] == [2, 2, 2, 1]
    assert [len(block) for block in Rows.of(np.zeros((2, 40))).blocks()] == [1, 1]


def test_a_mapped_file_is_not_read_to_be_split(tmp_path: Path) -> None:
    """Half of a file of 64 MB, and both halves joined again, take less than 4 MB: numbers of rows alone."""
    table = np.memmap(tmp_path / "features", np.float16, "w+", shape=(1 << 15, 1 << 10))
    tracemalloc.start()
    even, odd = (Rows.of(table).take(np.arange(start, len(table), 2)) for start in (0, 1))
    whole = even.join(odd)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert whole.shape == table.shape
    assert peak < 4 << 20
