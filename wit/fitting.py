"""How many rows still fit into a file or task that is open, by their number and by their bytes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

I64 = npt.NDArray[np.int64]


def last_fitting(ends: I64, first: int, free_rows: int | None, free_bytes: int | None, *, is_begun: bool) -> int:
    """Return the end of the rows from `first` on that fit into what is free (None: any number); `first`: none does.

    ends (n,): the bytes of the rows up to and with each, `first` < n. Into what is not begun yet one row always fits.
    """
    last = len(ends) if free_rows is None else min(len(ends), first + free_rows)
    if free_bytes is not None:
        limit = bytes_between(ends, 0, first) + free_bytes
        last = min(last, int(np.searchsorted(ends, limit, side="right")))
    return max(last, first if is_begun else first + 1)


def bytes_between(ends: I64, first: int, last: int) -> int:
    """Return the bytes of rows `first` to `last` - 1, given the bytes of the rows up to and with each, `ends` (n,)."""
    return int(ends[last - 1] if last else 0) - int(ends[first - 1] if first else 0)
