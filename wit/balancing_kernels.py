"""The loops of wit.balancing over the matches of a batch of pairs.

The queries of row i are query_ids[starts[i]:starts[i + 1]]. `head_of` gives a query's row in the tables of head
queries, -1 for a query that keeps all it matches; queries beyond its end do so, too.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from wit.compiled import inlined, kernel

U64 = npt.NDArray[np.uint64]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@inlined
def _head(query_id: int, head_of: I32) -> int:
    """Return the row of a query among the heads, -1 if it is none."""
    return head_of[query_id] if 0 <= query_id < len(head_of) else -1


@kernel
def count_cells(ranks: I64, starts: I32, query_ids: I32, head_of: I32, widths: I64, counts: I32) -> None:
    """Add each match of a head query to counts[head, cell of its rank]; the open cell is not counted.

    An int32 holds the pairs of a part: a Parquet part with more rows would be hundreds of gigabytes.
    """
    num_cells = counts.shape[1]
    for i in range(len(ranks)):
        for j in range(starts[i], starts[i + 1]):
            head = _head(query_ids[j], head_of)
            if head >= 0:
                cell = ranks[i] // widths[head]
                if 0 <= cell < num_cells:
                    counts[head, cell] += 1


@kernel
def find_within(
    ranks: I64, starts: I32, query_ids: I32, head_of: I32, lows: I64, highs: I64, rows: I32, heads: I32
) -> int:
    """Write row and head of every match whose rank is in [lows[head], highs[head]]; return how many there are.

    `rows` and `heads` must hold as many as there are matches.
    """
    count = 0
    for i in range(len(ranks)):
        for j in range(starts[i], starts[i + 1]):
            head = _head(query_ids[j], head_of)
            if head >= 0 and lows[head] <= ranks[i] <= highs[head]:
                rows[count] = i
                heads[count] = head
                count += 1
    return count


@inlined
def _at_most(keys: U64, i: int, last_keys: U64, head: int) -> bool:
    """Return whether keys[i] <= last_keys[head], both as `wit.keys.key_words`."""
    if keys[i, 0] == last_keys[head, 0]:
        return bool(keys[i, 1] <= last_keys[head, 1])
    return bool(keys[i, 0] < last_keys[head, 0])


@kernel
def keep_to_cutoffs(
    ranks: I64, keys: U64, starts: I32, query_ids: I32, head_of: I32, last_ranks: I64, last_keys: U64, stays: Bools
) -> None:
    """Set stays[i] where any query keeps the pair: (rank, key) at most (last_ranks[head], last_keys[head])."""
    for i in range(len(ranks)):
        stays[i] = False
        for j in range(starts[i], starts[i + 1]):
            head = _head(query_ids[j], head_of)
            if head < 0 or ranks[i] < last_ranks[head]:
                stays[i] = True
                break
            if ranks[i] == last_ranks[head] and _at_most(keys, i, last_keys, head):
                stays[i] = True
                break


@kernel
def keep_by_chance(ranks: I64, starts: I32, query_ids: I32, head_of: I32, misses: F64, stays: Bools) -> None:
    """Set stays[i] where rank < (1 - product of the queries' misses) x 2^63.

    In float64, the product from the first query to the last; a query that takes all has a miss of 0. The probability
    times 2^63 is exact, and an integer compares with it as with the next integer above.
    """
    for i in range(len(ranks)):
        miss = 1.0
        for j in range(starts[i], starts[i + 1]):
            head = _head(query_ids[j], head_of)
            miss *= misses[head] if head >= 0 else 0.0
        bound = (1.0 - miss) * 9223372036854775808.0
        stays[i] = bound >= 9223372036854775808.0 or ranks[i] < np.int64(np.ceil(bound))


@kernel
def count_queries(starts: I32, query_ids: I32, stays: Bools, num_pairs: I64) -> None:
    """Add each match of a pair that stays to num_pairs[query]; it must hold every query_id."""
    for i in range(len(stays)):
        if stays[i]:
            for j in range(starts[i], starts[i + 1]):
                num_pairs[query_ids[j]] += 1
