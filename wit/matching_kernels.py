"""The kernels of wit.matching: texts cut at single spaces, their fields numbered, terms sought in a trie of numbers.

A *field* is what stands between two spaces of a text; it may be empty. The fields of the terms are words, numbered from
0, which is the empty one. A node of the trie is a run of words that begins a term; those of one word are numbered as
the words are. An *entry* says of a node: the first query that ends there << 32 | flags | the node's number.

The table of words has rows of four: the first 8 bytes of the word, little-endian; 0, its next 8 bytes, or its last 8
where it is longer than 16; its length + 1, 0 for a free row; its entry. The table of edges has rows of two: node << 32
| word, all ones for a free row; the entry of the node that the word leads to. Both are sought from the row that a hash
names on; rows are a power of two, at least half of them free. Equality is that of all bytes, never of hashes alone.

Texts have PADDING bytes behind them. numba checks no bounds, so each kernel says why it stays within its arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
import numpy.typing as npt
from numba import njit

U8 = npt.NDArray[np.uint8]
U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]
I32 = npt.NDArray[np.int32]
Function = TypeVar("Function", bound=Callable[..., Any])

PADDING = 8
MAX_SPACED = 3
"""A mark of `space_marks` is written as three bytes."""

FREE = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
IS_TERM, HAS_CHILDREN, IS_SHARED = np.uint64(1 << 31), np.uint64(1 << 30), np.uint64(1 << 29)
"""Flags: a query ends at the node, words go on from it, several queries end there (`next_queries`)."""
NUMBER = np.uint64((1 << 29) - 1)
"""Bits of a node's number."""
MAX_NODES = 1 << 28
_UNKNOWN = np.uint64(MAX_NODES)
"""The entry of a field that is no word: no flags, and a number that no node has (MAX_NODES)."""
_INFO = np.uint64(0xFFFF_FFFF)

_SPACE = np.uint8(ord(" "))
_SPACES, _ONES, _HIGHS = (np.uint64(0x0101_0101_0101_0101 * byte) for byte in (ord(" "), 0x01, 0x80))
_GOLDEN = np.uint64(0x9E37_79B9_7F4A_7C15)  # 2^64 / golden ratio: Knuth, TAOCP 3, 6.4
_MIX = np.uint64(0xFF51_AFD7_ED55_8CCD)  # of MurmurHash3's finaliser
_ZERO, _ONE, _EIGHT, _WORD_BITS = np.uint64(0), np.uint64(1), np.uint64(8), np.uint64(32)
_FEW = 32  # numbers that insertion sorts faster than a heap


class Trie(NamedTuple):
    """What terms are sought by; see the module."""

    words: U64
    word_shift: np.uint64
    """64 - the binary logarithm of the table's rows; likewise `edge_shift`."""
    starts: I64
    """Where the word of each number stands in `letters`."""
    letters: U8
    edges: U64
    edge_shift: np.uint64
    next_queries: I32
    """For a query that ends at a node with others, the next of them; -1 after the last."""


def _kernel(function: Function) -> Function:
    """Compile a function that allocates nothing, so that references to arrays need not be counted."""
    return cast(Function, njit(cache=True, nogil=True, _nrt=False)(function))


def _inlined(function: Function) -> Function:
    return cast(Function, njit(cache=True, nogil=True, _nrt=False, forceinline=True)(function))


@_kernel
def space_marks(text: U8, offsets: I64, kinds: U8, out: U8, ends: I64) -> None:
    """Write each text with its bytes as `kinds` wants them: 0 as it is, 1 a space, 2 between two spaces.

    `out` has room for MAX_SPACED times the bytes of the texts.
    """
    o = 0
    ends[0] = 0
    for row in range(len(offsets) - 1):
        for i in range(offsets[row], offsets[row + 1]):
            kind = kinds[text[i]]
            if kind == 0:
                out[o] = text[i]
                o += 1
            elif kind == 1:
                out[o] = _SPACE
                o += 1
            else:
                out[o], out[o + 1], out[o + 2] = _SPACE, text[i], _SPACE
                o += 3
        ends[row + 1] = o


@_inlined
def _eight(text: U8, i: np.uint64) -> np.uint64:
    """Return text[i:i + 8] as a number, little-endian: one load."""
    return (
        np.uint64(text[i])
        | np.uint64(text[i + np.uint64(1)]) << np.uint64(8)
        | np.uint64(text[i + np.uint64(2)]) << np.uint64(16)
        | np.uint64(text[i + np.uint64(3)]) << np.uint64(24)
        | np.uint64(text[i + np.uint64(4)]) << np.uint64(32)
        | np.uint64(text[i + np.uint64(5)]) << np.uint64(40)
        | np.uint64(text[i + np.uint64(6)]) << np.uint64(48)
        | np.uint64(text[i + np.uint64(7)]) << np.uint64(56)
    )


@_inlined
def _before_space(eight: np.uint64, rest: np.uint64) -> np.uint64:
    """Return a mask of the bytes before the first space of eight, or before byte `rest`; all ones if there is none.

    The lowest bit of (x - 0x01..) & ~x & 0x80.. marks the first byte of x that is 0: Hacker's Delight, 6-1.
    """
    x = eight ^ _SPACES
    found = (x - _ONES) & ~x & _HIGHS
    if rest < _EIGHT:
        found |= np.uint64(0x80) << (rest * _EIGHT)
    return ((found & (~found + _ONE)) >> np.uint64(7)) - _ONE


@_inlined
def _num_bytes(mask: np.uint64) -> np.uint64:
    """Return how many bytes of a mask of whole bytes are set, up to 7; 8 for all ones."""
    return ((mask & _ONES) * _ONES) >> np.uint64(56)


@_inlined
def _field(text: U8, i: np.uint64, end: np.uint64) -> tuple[np.uint64, np.uint64, np.uint64]:
    """Return the field that begins at `i` as the table of words has it: two numbers, and its length.

    No byte from end + PADDING on is read: each load begins at `end` or before.
    """
    low = _eight(text, i)
    mask = _before_space(low, end - i)
    length = _num_bytes(mask)
    if length < _EIGHT:
        return low & mask, _ZERO, length
    high = _eight(text, i + length)
    mask = _before_space(high, end - i - length)
    if mask != FREE:
        return low, high & mask, length + _num_bytes(mask)
    while mask == FREE:
        length += _EIGHT
        mask = _before_space(_eight(text, i + length), end - i - length)
    length += _num_bytes(mask)
    return low, _eight(text, i + length - _EIGHT) if length > np.uint64(16) else high, length


@_inlined
def _home(low: np.uint64, high: np.uint64, shift: np.uint64) -> np.uint64:
    """Return the row of a table with 2^(64 - shift) rows from which on two numbers are sought."""
    x = (low ^ high * _MIX) * _GOLDEN
    return ((x ^ x >> _WORD_BITS) * _MIX) >> shift


@_inlined
def _same(left: U8, i: np.uint64, right: U8, j: np.uint64, length: np.uint64) -> bool:
    k = _ZERO
    while k < length and left[i + k] == right[j + k]:
        k += _ONE
    return bool(k == length)


@_inlined
def _word_row(
    text: U8, i: np.uint64, low: np.uint64, high: np.uint64, length: np.uint64,
    words: U64, shift: np.uint64, starts: I64, letters: U8,
) -> np.uint64:  # fmt: skip
    """Return the row of `words` that has the field text[i:i + length], or the free row where it belongs.

    `starts` says where the word of an entry's number stands in `letters`: for words of more than 16 bytes.
    """
    row = _home(low, high, shift)
    last = np.uint64(len(words)) - _ONE
    while words[row, 2]:
        if words[row, 0] == low and words[row, 1] == high and words[row, 2] == length + _ONE:
            if length <= np.uint64(16):
                break
            if _same(text, i, letters, np.uint64(starts[words[row, 3] & NUMBER]), length):
                break
        row = (row + _ONE) & last
    return row


@_inlined
def _edge_row(node: np.uint64, word: np.uint64, edges: U64, shift: np.uint64) -> np.uint64:
    """Return the row of `edges` that leads from a node on by a word, or the free row where it belongs."""
    key = node << _WORD_BITS | word
    row = _home(key, _ZERO, shift)
    last = np.uint64(len(edges)) - _ONE
    while edges[row, 0] != key and edges[row, 0] != FREE:
        row = (row + _ONE) & last
    return row


@_kernel
def number_fields(
    text: U8, offsets: I64, term: int, num_words: int, words: U64, shift: np.uint64,
    starts: I64, numbers: I64, field_ends: I64,
) -> tuple[int, int]:  # fmt: skip
    """Number the fields of the terms from `term` on by first appearance, in `words` and `starts`.

    `numbers` has the numbers of all fields, `field_ends` where each term ends in it. Returns (the term to go on with,
    how many numbers there are): it ends early where half of `words` might not stay free. `numbers` and `starts` have room for all fields and the empty one.
    """
    while term < len(offsets) - 1:
        i, end = np.uint64(offsets[term]), np.uint64(offsets[term + 1])
        most_words = num_words + 1
        for k in range(offsets[term], offsets[term + 1]):
            most_words += text[k] == _SPACE
        if 2 * most_words > len(words):
            break
        num_fields = field_ends[term]
        while i <= end:
            low, high, length = _field(text, i, end)
            row = _word_row(text, i, low, high, length, words, shift, starts, text)
            if not words[row, 2]:
                words[row, 0], words[row, 1] = low, high
                words[row, 2], words[row, 3] = length + _ONE, np.uint64(num_words)
                starts[num_words] = i
                num_words += 1
            numbers[num_fields] = words[row, 3]
            num_fields += 1
            i += length + _ONE
        term += 1
        field_ends[term] = num_fields
    return term, num_words


@_kernel
def move_words(words: U64, larger: U64, shift: np.uint64) -> None:
    """Copy the rows of a table of words to a larger one, all free."""
    last = np.uint64(len(larger)) - _ONE
    for row in range(len(words)):
        if words[row, 2]:
            free = _home(words[row, 0], words[row, 1], shift)
            while larger[free, 2]:
                free = (free + _ONE) & last
            for column in range(4):
                larger[free, column] = words[row, column]


@_kernel
def grow_trie(
    numbers: I64, field_ends: I64, query_ids: I64, num_words: int,
    edges: U64, shift: np.uint64, entries: U64, next_queries: I32,
) -> int:  # fmt: skip
    """Put the terms into `edges`, with bare numbers in place of entries, and `entries`; return the number of nodes.

    There are as many nodes as words and edges, at most; `entries` has room for them.
    """
    num_nodes = num_words
    for term in range(len(query_ids)):
        begin, end = field_ends[term], field_ends[term + 1]
        node = np.uint64(numbers[begin])
        for k in range(begin + 1, end):
            row = _edge_row(node, np.uint64(numbers[k]), edges, shift)
            if edges[row, 0] == FREE:
                edges[row, 0] = node << _WORD_BITS | np.uint64(numbers[k])
                edges[row, 1] = np.uint64(num_nodes)
                num_nodes += 1
            entries[node] |= HAS_CHILDREN
            node = edges[row, 1]
        before = entries[node]
        next_queries[query_ids[term]] = np.int32(before >> _WORD_BITS) if before & IS_TERM else np.int32(-1)
        shared = IS_SHARED if before & IS_TERM else _ZERO
        entries[node] = np.uint64(query_ids[term]) << _WORD_BITS | before & HAS_CHILDREN | IS_TERM | shared
    return num_nodes


@_kernel
def put_entries(words: U64, edges: U64, entries: U64) -> None:
    """Replace the numbers in the last column of both tables by entries with those numbers."""
    for row in range(len(words)):
        if words[row, 2]:
            words[row, 3] |= entries[words[row, 3]]
    for row in range(len(edges)):
        if edges[row, 0] != FREE:
            edges[row, 1] |= entries[edges[row, 1]]


@_inlined
def _sift(found: I64, root: int, size: int) -> None:
    """Let found[root] sink to its place in a heap of `size` numbers, the greatest on top."""
    value = found[root]
    child = 2 * root + 1
    while child < size:
        if child + 1 < size and found[child + 1] > found[child]:
            child += 1
        if found[child] <= value:
            break
        found[root] = found[child]
        root, child = child, 2 * child + 1
    found[root] = value


@_inlined
def _sort(found: I64, size: int) -> None:
    """Sort the first `size` numbers, in place; time in proportion to size * log(size) at most."""
    if size > _FEW:
        for root in range(size // 2 - 1, -1, -1):
            _sift(found, root, size)
        for last in range(size - 1, 0, -1):
            found[0], found[last] = found[last], found[0]
            _sift(found, 0, last)
        return
    for k in range(1, size):
        value, j = found[k], k - 1
        while j >= 0 and found[j] > value:
            found[j + 1] = found[j]
            j -= 1
        found[j + 1] = value


@_kernel
def _sorted_firsts(found: I64, size: int) -> int:
    """Sort matches (query << 32 | position) and leave the first of each query; return how many there are."""
    _sort(found, size)
    kept = 0
    for k in range(size):
        if kept == 0 or found[k] >> 32 != found[kept - 1] >> 32:
            found[kept] = found[k]
            kept += 1
    return kept


@_inlined
def _add(found: I64, size: int, entry: np.uint64, position: int, next_queries: I32) -> int:
    """Add the queries that end at a node to the matches; return the new size.

    When `found`, twice as long as there are queries, is full, what repeats goes, which leaves half of it free.
    """
    query = np.int64(entry >> _WORD_BITS)
    while query >= 0:
        if size == len(found):
            size = _sorted_firsts(found, size)
        found[size] = query << 32 | position
        size += 1
        query = np.int64(next_queries[query]) if entry & IS_SHARED else np.int64(-1)
    return size


@_inlined
def _walk(fields: U64, k: int, num_fields: int, position: int, trie: Trie, found: I64, size: int) -> int:
    """Add the terms that begin with field `k`; return the new number of matches."""
    entry = fields[k]
    while True:
        if entry & IS_TERM:
            size = _add(found, size, entry, position, trie.next_queries)
        k += 1
        if not entry & HAS_CHILDREN or k == num_fields:
            return size
        row = _edge_row(entry & NUMBER, fields[k] & NUMBER, trie.edges, trie.edge_shift)
        if trie.edges[row, 0] == FREE:
            return size
        entry = trie.edges[row, 1]


@_inlined
def _matches(text: U8, i: np.uint64, end: np.uint64, trie: Trie, reach: int, fields: U64, found: I64) -> int:
    """Find the matches of a text, every occurrence, in any order; return how many there are.

    A term has at most `reach` fields after its first; `fields` has room for more than that.
    """
    size = num_fields = position = 0
    is_open = True
    while is_open:
        while is_open and num_fields < len(fields):
            low, high, length = _field(text, i, end)
            row = _word_row(text, i, low, high, length, trie.words, trie.word_shift, trie.starts, trie.letters)
            fields[num_fields] = trie.words[row, 3] if trie.words[row, 2] else _UNKNOWN
            num_fields += 1
            i += length + _ONE
            is_open = bool(i <= end)
        num_begins = num_fields - reach if is_open else num_fields
        for k in range(num_begins):
            size = _walk(fields, k, num_fields, position, trie, found, size)
            position += fields[k] & NUMBER != _ZERO
        for k in range(num_begins, num_fields):
            fields[k - num_begins] = fields[k]
        num_fields -= num_begins
    return size


@_kernel
def search(
    text: U8, offsets: I64, row: int, trie: Trie, reach: int, fields: U64, found: I64,
    rows: I32, query_ids: I32, positions: I32,
) -> tuple[int, int]:  # fmt: skip
    """Write the matches of the texts from `row` on, by row and query, the first position of each query.

    Returns (the row to go on with, matches written): it ends early where those of a row find no room. A row has one
    match a query at most; the three columns have room for that.
    """
    num_written = 0
    while row < len(offsets) - 1:
        size = _matches(text, np.uint64(offsets[row]), np.uint64(offsets[row + 1]), trie, reach, fields, found)
        size = _sorted_firsts(found, size)
        if num_written + size > len(rows):
            break
        for k in range(size):
            rows[num_written] = row
            query_ids[num_written] = found[k] >> 32
            positions[num_written] = found[k] & 0xFFFF_FFFF
            num_written += 1
        row += 1
    return row, num_written
