"""Slices: the rows of a table in order, in tasks of the size that was asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.stages.slices import SliceTable
from tests.pipelines.dedup_runs import Image, rows_of, write_run


@pytest.mark.parametrize("num_rows", [1, 3, 4, 7, 100])
def test_slices_cover_the_table_in_order(tmp_path: Path, num_rows: int) -> None:
    """Tasks of any size hold every row once, in order, all but the last of exactly that size."""
    write_run(tmp_path, rows_of([Image(number) for number in range(23)]))
    tasks = [task.to_pylist() for task in SliceTable("fingerprint/kept", num_rows)(str(tmp_path))]
    sizes = [sum(each["stop"] - each["start"] for each in task) for task in tasks]
    assert sum(sizes) == 23
    assert all(size == num_rows for size in sizes[:-1])
    assert 0 < sizes[-1] <= num_rows
    offsets: dict[str, int] = {}
    for each in (each for task in tasks for each in task):
        assert each["start"] == offsets.get(each["part"], 0)
        offsets[each["part"]] = each["stop"]
    assert list(offsets) == sorted(offsets)
