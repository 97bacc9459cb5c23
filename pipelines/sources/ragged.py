"""Texts in columns as kernels read them: all bytes in one array, and where each text begins."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]


class Ragged(NamedTuple):
    """Texts in UTF-8: row i is text[offsets[i]:offsets[i+1]]."""

    text: U8
    offsets: I64

    @classmethod
    def of(cls, strings: pa.LargeStringArray) -> Ragged:
        """Return the texts of an Arrow array without nulls; nothing is copied, and nothing may be written to."""
        assert pa.types.is_large_string(strings.type)
        assert strings.null_count == 0
        _, offsets, text = strings.buffers()
        if not len(strings):
            return cls(frozen(np.empty(0, np.uint8)), frozen(np.zeros(1, np.int64)))
        ends = np.frombuffer(offsets, np.int64)[strings.offset : strings.offset + len(strings) + 1]
        return cls(frozen(np.frombuffer(text or b"", np.uint8)), frozen(ends))

    @classmethod
    def written(cls, out: U8, ends: I64) -> Ragged:
        """Return what a kernel wrote to the beginning of `out`; ends[0] is 0."""
        return cls(frozen(out[: ends[-1]]), frozen(ends))

    @property
    def num_bytes(self) -> int:
        """Size of all texts."""
        return int(self.offsets[-1] - self.offsets[0])

    def strings(self) -> pa.LargeStringArray:
        """Return the texts as an Arrow array; nothing is copied."""
        buffers = pa.py_buffer(self.offsets), pa.py_buffer(self.text)
        return pa.LargeStringArray.from_buffers(len(self.offsets) - 1, *buffers)


def frozen(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a read-only view: a kernel is compiled once for such arrays and once for others."""
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view
