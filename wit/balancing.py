"""The cap's arithmetic: a query keeps its `cap` pairs of lowest (rank, key); a pair stays while any query keeps it."""

from __future__ import annotations

from fractions import Fraction
from math import ceil


def effective_cap(cap: int, oversample: float) -> int:
    """Return the cap that applies before fetching: `cap * oversample`, rounded up.

    The product is exact in the decimal digits of `oversample`: 20,000 x 1.1 is 22,000, not the 22,001 that rounding
    up the floating-point product 22000.000000000004 gives.
    """
    return ceil(cap * Fraction(str(oversample)))
