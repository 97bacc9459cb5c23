"""How kernels are compiled. Importing this imports numba: only kernel modules do.

numba's cache heeds changes of a function's own file alone. So a kernel calls kernels of its own file, and after a
change of the options here the caches (`__pycache__/*.nbi`) have to be deleted.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

from numba import njit

Function = TypeVar("Function", bound=Callable[..., Any])


def kernel(function: Function) -> Function:
    """Compile a function that allocates nothing, so that references to its arrays need not be counted.

    Counting them took 50 ns a code point in wit.token_kernels.
    """
    return cast(Function, njit(cache=True, nogil=True, _nrt=False)(function))


def inlined(function: Function) -> Function:
    """Compile such a function into each kernel that calls it."""
    return cast(Function, njit(cache=True, nogil=True, _nrt=False, forceinline=True)(function))


def kernel_upon(*paths: str) -> Callable[[Function], Function]:
    """Return `kernel` for functions that call those of other files: they are compiled anew when one changes too."""

    def stamped(function: Function) -> Function:
        compiled = kernel(function)
        cache = getattr(compiled, "_cache", None)
        if cache is not None:  # a plain function, where NUMBA_DISABLE_JIT is set, has none
            index = cache._cache_file
            index._source_stamp = (index._source_stamp, *(zlib.crc32(Path(path).read_bytes()) for path in paths))
        return compiled

    return stamped
