"""The kernels of wit.blocklists: many substrings sought at once, in time linear in the text (Aho and Corasick, 1975).

The trie's state 0 is its root. A transition (state, byte) -> state is a place of a hash table: `keys` holds
state << 8 | byte, FREE where there is none, `targets` the state that follows. The root's transitions are `roots` too.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from wit.compiled import inlined, kernel

U8 = npt.NDArray[np.uint8]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

FREE = NONE = -1
_MIX = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio: Knuth, TAOCP vol. 3, section 6.4


@inlined
def _place(keys: I64, state: np.int64, byte: int) -> np.int64:
    """Return the place of a transition, or the free one where it belongs."""
    key = state << 8 | np.int64(byte)
    mask = np.int64(len(keys) - 1)
    place = np.int64((np.uint64(key) * _MIX) >> np.uint64(32)) & mask
    while keys[place] != FREE and keys[place] != key:
        place = (place + 1) & mask
    return place


@kernel
def grow_trie(
    text: U8, offsets: I64, keys: I64, targets: I32, parents: I32, letters: U8, depths: I32, ends: I32
) -> int:
    """Put each piece into the trie; return the number of states.

    `keys` is a power of two, over twice as many as the text has bytes; `parents`, `letters` and `depths` are of each
    state, one more than bytes; `ends` gets the state of each piece.
    """
    num_states = 1
    for piece in range(len(offsets) - 1):
        state = np.int64(0)
        for i in range(offsets[piece], offsets[piece + 1]):
            place = _place(keys, state, text[i])
            if keys[place] == FREE:
                keys[place] = state << 8 | np.int64(text[i])
                targets[place] = num_states
                parents[num_states], letters[num_states] = state, text[i]
                depths[num_states] = depths[state] + 1
                num_states += 1
            state = np.int64(targets[place])
        ends[piece] = state
    return num_states


@inlined
def _next(state: np.int64, byte: int, keys: I64, targets: I32, roots: I32, fails: I32) -> np.int64:
    """Return the state after a byte: that of the longest beginning of a piece which ends here."""
    while state != 0:
        place = _place(keys, state, byte)
        if keys[place] != FREE:
            return np.int64(targets[place])
        state = np.int64(fails[state])
    return np.int64(roots[byte])


@kernel
def link_fails(
    order: I64, parents: I32, letters: U8, keys: I64, targets: I32, roots: I32, fails: I32, plain: I32, is_wild: Flags
) -> None:
    """Fill `fails`, and hand on what ends in a state to those whose texts end like it; `order` is by depth, root first.

    `plain` is the number of a plain piece that ends in a state, or NONE; `is_wild` whether one of a wild pattern does.
    """
    for byte in range(256):
        place = _place(keys, np.int64(0), byte)
        roots[byte] = targets[place] if keys[place] != FREE else 0
    for i in range(1, len(order)):
        state = np.int64(order[i])
        parent = np.int64(parents[state])
        fail = np.int64(0)
        if parent != 0:
            fail = _next(np.int64(fails[parent]), letters[state], keys, targets, roots, fails)
        fails[state] = fail
        if plain[state] == NONE:
            plain[state] = plain[fail]
        is_wild[state] |= is_wild[fail]


@kernel
def find_pieces(
    text: U8, offsets: I64, keys: I64, targets: I32, roots: I32, fails: I32, plain: I32, is_wild: Flags,
    found: I32, may_match: Flags,
) -> None:  # fmt: skip
    """Write of each text the plain piece that ends first in it, or NONE, and whether a wild one stands before that."""
    for row in range(len(offsets) - 1):
        state = np.int64(0)
        found[row] = NONE
        may_match[row] = False
        for i in range(offsets[row], offsets[row + 1]):
            state = _next(state, text[i], keys, targets, roots, fails)
            may_match[row] |= is_wild[state]
            if plain[state] != NONE:
                found[row] = plain[state]
                break
