"""Rows that fit into what is open."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from wit.fitting import bytes_between, last_fitting

SIZES = st.lists(st.integers(0, 20), min_size=1, max_size=30)
FREE = st.none() | st.integers(0, 60)


@given(SIZES, st.data(), FREE, FREE, st.booleans())
def test_as_many_rows_as_fit_one_by_one(
    sizes: list[int], data: st.DataObject, free_rows: int | None, free_bytes: int | None, is_begun: bool
) -> None:
    """The end is where adding row after row would stop; what is not begun takes its first row whatever that is."""
    first = data.draw(st.integers(0, len(sizes) - 1))
    expected = first
    while expected < len(sizes):
        too_many = free_rows is not None and expected + 1 - first > free_rows
        too_large = free_bytes is not None and sum(sizes[first : expected + 1]) > free_bytes
        if (too_many or too_large) and (is_begun or expected > first):
            break
        expected += 1
    assert last_fitting(np.cumsum(sizes), first, free_rows, free_bytes, is_begun=is_begun) == expected


@given(SIZES, st.data())
def test_bytes_between_are_a_sum(sizes: list[int], data: st.DataObject) -> None:
    """Differences of the running total are the sums of the rows' sizes."""
    first, last = sorted(data.draw(st.tuples(*[st.integers(0, len(sizes))] * 2)))
    assert bytes_between(np.cumsum(sizes), first, last) == sum(sizes[first:last])
