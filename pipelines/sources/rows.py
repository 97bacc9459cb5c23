"""Rows of a table, in columns of valid text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipelines.sources.source import Fault

I64 = npt.NDArray[np.int64]


class Columns(NamedTuple):
    """Which columns of a table are read."""

    url: str
    caption: str
    extra: str | None = None
    """Another that the reader asks for."""


@dataclass(frozen=True)
class Rows:
    """Some rows of a table, and what was wrong among them."""

    numbers: I64
    """Of the rows in their file, from 0; ascending."""
    texts: tuple[pa.LargeStringArray, ...]
    """A column each of `Columns` that the table has; nulls are blank, and what is no UTF-8 is U+FFFD."""
    columns: Columns
    faults: tuple[Fault, ...] = ()


Choose = Callable[[Sequence[str]], Columns]
"""Returns which of a file's columns are read."""

NO_TEXTS = pa.array([], pa.large_string())


def valid_texts(column: pa.Array) -> pa.LargeStringArray:
    """Return a column of text or bytes as valid UTF-8 without nulls; what is none becomes U+FFFD."""
    if pa.types.is_null(column.type):
        return pa.array([""] * len(column), pa.large_string())
    raw = column.cast(pa.large_binary())
    try:
        texts = raw.cast(pa.large_string())
    except pa.ArrowInvalid:
        texts = pa.array([(each or b"").decode("utf-8", "replace") for each in raw.to_pylist()], pa.large_string())
    return texts.fill_null("")
