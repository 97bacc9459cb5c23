"""How the passes are compiled, and the types that they share."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt
from numba import njit

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

Function = TypeVar("Function", bound=Callable[..., Any])


_SHARED = Path(__file__).with_name("shared.py")


def kernel(function: Function) -> Function:
    """Compile a function to machine code at its first call, which is cached beside its file.

    numba's cache heeds changes of that one file; here it heeds those of `shared.py` as well, whose kernels all passes
    call. A kernel calls kernels of no other file.
    """
    compiled = njit(cache=True, nogil=True)(function)
    if compiled is not function:  # it is where NUMBA_DISABLE_JIT is set
        index = compiled._cache._cache_file
        index._source_stamp = (index._source_stamp, zlib.crc32(_SHARED.read_bytes()))
    return cast(Function, compiled)
