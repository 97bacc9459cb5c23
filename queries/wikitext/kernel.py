"""How the passes are compiled, and the types that they share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt
from numba import njit

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

Function = TypeVar("Function", bound=Callable[..., Any])


def kernel(function: Function) -> Function:
    """Compile a function to machine code at its first call, which is cached beside its file.

    The cache heeds changes of that one file, so a kernel calls kernels of its own file only: the few lines that two
    files need (copying, Unicode's white space) stand in both.
    """
    return cast(Function, njit(cache=True, nogil=True)(function))
