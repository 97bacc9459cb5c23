"""Columns of texts as two arrays, as kernels read them: row i is text[offsets[i]:offsets[i+1]], in UTF-8."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from wit.errors import ContractError

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]


class Ragged(NamedTuple):
    """The texts of a column; both arrays are read-only views where they come from Arrow."""

    text: U8
    offsets: I64

    @property
    def num_bytes(self) -> int:
        """Bytes of all texts together."""
        return int(self.offsets[-1] - self.offsets[0])

    def strings(self) -> Any:
        """Return the texts as an Arrow large_string array, without a copy."""
        import pyarrow as pa

        return pa.LargeStringArray.from_buffers(
            len(self.offsets) - 1, pa.py_buffer(self.offsets), pa.py_buffer(self.text)
        )


def ragged(strings: Any) -> Ragged:
    """Return the texts of an Arrow string or large_string array, sliced and chunked ones too.

    The bytes are not copied unless the array has chunks. Raises ContractError for nulls and for other types.
    """
    import pyarrow as pa

    if not (pa.types.is_string(strings.type) or pa.types.is_large_string(strings.type)):
        raise ContractError(f"expected an array of strings, found {strings.type}")
    if strings.null_count:
        raise ContractError(f"expected strings, found {strings.null_count} nulls among {len(strings)}")
    if isinstance(strings, pa.ChunkedArray):
        strings = strings.cast(pa.large_string()).combine_chunks()
    if not len(strings):
        return Ragged(frozen(np.empty(0, np.uint8)), frozen(np.zeros(1, np.int64)))
    _, offsets, text = strings.buffers()
    kind = np.int64 if pa.types.is_large_string(strings.type) else np.int32
    starts = np.frombuffer(offsets, kind)[strings.offset : strings.offset + len(strings) + 1].astype(np.int64)
    return Ragged(frozen(np.frombuffer(text or b"", np.uint8)), frozen(starts))


def joined(pieces: Sequence[bytes]) -> Ragged:
    """Return pieces of UTF-8 one after the other."""
    offsets = np.zeros(len(pieces) + 1, np.int64)
    np.cumsum([len(piece) for piece in pieces], out=offsets[1:])
    return Ragged(frozen(np.frombuffer(b"".join(pieces), np.uint8)), frozen(offsets))


def frozen(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a read-only view: numba compiles a kernel once for such arrays and once for the others."""
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view
