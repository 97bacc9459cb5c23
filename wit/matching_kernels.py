"""The kernels of wit.matching: texts cut at single spaces, their fields numbered, terms sought in a trie of numbers.

A *field* is what stands between two spaces of a text; it may be empty. The fields of the terms are words, numbered from
0, which is the empty one. A node of the trie is a run of words that begins a term; those of one word are numbered as
the words are. An *entry* says of a node: the first query that ends there << 32 | flags | the node's number.

The table of words has rows of four: the first 8 bytes of the word, little-endian; 0, its next 8 bytes, or its last 8
where it is longer than 16; its length + 1, 0 for a free row; its entry. The table of edges has rows of two: node << 32
| word, all ones for a free row; the entry of the node that the word leads to. Both are sought from the row that a hash
names on; rows are a power of two, at least half of them free. Equality is that of all bytes, never of hashes alone.
Most fields that are looked for in the table of edges are not there: small tables of hints, bits by the hash, say so.

Texts have PADDING bytes behind them. numba checks no bounds, so each kernel says why it stays within its arrays.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from wit.compiled import inlined, kernel

U8 = npt.NDArray[np.uint8]
U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]
I32 = npt.NDArray[np.int32]

PADDING = 8

FREE = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
IS_TERM, HAS_CHILDREN, IS_SHARED = np.uint64(1 << 31), np.uint64(1 << 30), np.uint64(1 << 29)
"""Flags: a query ends at the node, words go on from it, several queries end there (`next_queries`)."""
NUMBER = np.uint64((1 << 29) - 1)
"""Bits of a node's number."""
MAX_NODES = 1 << 28
_UNKNOWN = np.uint64(MAX_NODES)
"""The entry of a field that is no word: no flags, and a number that no node has (MAX_NODES)."""

_SPACE = np.uint8(ord(" "))
_SPACES, _ONES, _HIGHS = (np.uint64(0x0101_0101_0101_0101 * byte) for byte in (ord(" "), 0x01, 0x80))
_GOLDEN = np.uint64(0x9E37_79B9_7F4A_7C15)  # 2^64 / golden ratio: Knuth, TAOCP 3, 6.4
_MIX = np.uint64(0xFF51_AFD7_ED55_8CCD)  # of MurmurHash3's finaliser
_ZERO, _ONE, _EIGHT, _WORD_BITS = np.uint64(0), np.uint64(1), np.uint64(8), np.uint64(32)
_CHILDREN_BIT, _HINT_BITS = np.uint64(30), np.uint64(63)
_RUN = 16  # matches that insertion sorts as fast as merging does


class Trie(NamedTuple):
    """What terms are sought by; see the module."""

    words: U64
    edges: U64
    hints: U64
    """One bit of the 64 of a row is 1 for each edge, by its hash; where that bit is 0, there is no such edge."""
    word_shift: np.uint64
    """64 - the binary logarithm of the rows of `words`; likewise the next two."""
    edge_shift: np.uint64
    hint_shift: np.uint64
    starts: I64
    """Where the word of each number stands in `letters`."""
    letters: U8
    next_queries: I32
    """For a query that ends at a node with others, the next of them; -1 after the last."""


class Scratch(NamedTuple):
    """What a search writes to on the way."""

    fields: U64
    """Entries of a block of fields, then one of no field."""
    begins: I64
    """Fields of the block at which a term of several seems to begin: index << 32 | position."""
    found: I64
    """Matches of a text: query << 32 | position, all distinct; room for twice as many as there are queries, or more."""
    spare: I64
    """As much room again."""


@inlined
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


@inlined
def _before_space(eight: np.uint64, rest: np.uint64) -> np.uint64:
    """Return a mask of the bytes before the first space of eight, or before byte `rest`; all ones if there is none.

    The lowest bit of (x - 0x01..) & ~x & 0x80.. marks the first byte of x that is 0: Hacker's Delight, 6-1.
    """
    x = eight ^ _SPACES
    found = (x - _ONES) & ~x & _HIGHS
    if rest < _EIGHT:
        found |= np.uint64(0x80) << (rest * _EIGHT)
    return ((found & (~found + _ONE)) >> np.uint64(7)) - _ONE


@inlined
def _num_bytes(mask: np.uint64) -> np.uint64:
    """Return how many bytes of a mask of whole bytes are set, up to 7; 8 for all ones."""
    return ((mask & _ONES) * _ONES) >> np.uint64(56)


@inlined
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


@inlined
def _hash(low: np.uint64, high: np.uint64) -> np.uint64:
    """Return a hash of two numbers: its first bits name the row from which on a table is searched for them."""
    x = (low ^ high * _MIX) * _GOLDEN
    return (x ^ x >> _WORD_BITS) * _MIX


@inlined
def _same(left: U8, i: np.uint64, right: U8, j: np.uint64, length: np.uint64) -> bool:
    k = _ZERO
    while k < length and left[i + k] == right[j + k]:
        k += _ONE
    return bool(k == length)


@inlined
def _word_row(
    text: U8, i: np.uint64, low: np.uint64, high: np.uint64, length: np.uint64,
    words: U64, shift: np.uint64, starts: I64, letters: U8,
) -> np.uint64:  # fmt: skip
    """Return the row of `words` that has the field text[i:i + length], or the free row where it belongs.

    `starts` says where the word of an entry's number stands in `letters`: for words of more than 16 bytes.
    """
    row = _hash(low, high) >> shift
    last = np.uint64(len(words)) - _ONE
    while words[row, 2]:
        if words[row, 0] == low and words[row, 1] == high and words[row, 2] == length + _ONE:
            if length <= np.uint64(16):
                break
            if _same(text, i, letters, np.uint64(starts[words[row, 3] & NUMBER]), length):
                break
        row = (row + _ONE) & last
    return row


@inlined
def _edge_row(node: np.uint64, word: np.uint64, edges: U64, shift: np.uint64) -> np.uint64:
    """Return the row of `edges` that leads from a node on by a word, or the free row where it belongs."""
    key = node << _WORD_BITS | word
    row = _hash(key, _ZERO) >> shift
    last = np.uint64(len(edges)) - _ONE
    while edges[row, 0] != key and edges[row, 0] != FREE:
        row = (row + _ONE) & last
    return row


@kernel
def number_fields(
    text: U8, offsets: I64, term: int, num_words: int, words: U64, shift: np.uint64,
    starts: I64, numbers: I64, field_ends: I64,
) -> tuple[int, int]:  # fmt: skip
    """Number the fields of the terms from `term` on by first appearance, in `words` and `starts`.

    `numbers` has the numbers of all fields, `field_ends` where each term ends in it. Returns (the term to go on with,
    how many numbers there are): it ends early where half of `words` might not stay free. `numbers` and `starts` have
    room for all fields and the empty one.
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


@kernel
def move_words(words: U64, larger: U64, shift: np.uint64) -> None:
    """Copy the rows of a table of words to a larger one, all free."""
    last = np.uint64(len(larger)) - _ONE
    for row in range(len(words)):
        if words[row, 2]:
            free = _hash(words[row, 0], words[row, 1]) >> shift
            while larger[free, 2]:
                free = (free + _ONE) & last
            for column in range(4):
                larger[free, column] = words[row, column]


@kernel
def grow_trie(
    numbers: I64, field_ends: I64, query_ids: I64, num_words: int,
    edges: U64, shift: np.uint64, hints: U64, hint_shift: np.uint64, entries: U64, next_queries: I32,
) -> None:  # fmt: skip
    """Put the terms into `edges`, with bare numbers in place of entries, `hints`, and `entries`.

    There are as many nodes as words and edges, at most; `entries` has room for them, and holds their numbers.
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
                hashed = _hash(edges[row, 0], _ZERO)
                hints[hashed >> hint_shift] |= _ONE << (hashed & _HINT_BITS)
                num_nodes += 1
            entries[node] |= HAS_CHILDREN
            node = edges[row, 1]
        before = entries[node]
        next_queries[query_ids[term]] = np.int32(before >> _WORD_BITS) if before & IS_TERM else np.int32(-1)
        shared = IS_SHARED if before & IS_TERM else _ZERO
        entries[node] = np.uint64(query_ids[term]) << _WORD_BITS | before & (HAS_CHILDREN | NUMBER) | IS_TERM | shared


@inlined
def _insertion_sort(found: I64, start: int, end: int) -> None:
    for k in range(start + 1, end):
        value, j = found[k], k - 1
        while j >= start and found[j] > value:
            found[j + 1] = found[j]
            j -= 1
        found[j + 1] = value


@inlined
def _merge(found: I64, start: int, middle: int, end: int, spare: I64) -> None:
    """Merge two sorted runs that lie side by side into the same place of `spare`."""
    left, right = start, middle
    for k in range(start, end):
        if left < middle and (right == end or found[left] <= found[right]):
            spare[k] = found[left]
            left += 1
        else:
            spare[k] = found[right]
            right += 1


@kernel
def _sorted_firsts(found: I64, spare: I64, size: int) -> int:
    """Sort matches (query << 32 | position) and leave the first of each query; return how many there are."""
    for start in range(0, size, _RUN):
        _insertion_sort(found, start, min(start + _RUN, size))
    width = _RUN
    while width < size:
        for start in range(0, size, 2 * width):
            _merge(found, start, min(start + width, size), min(start + 2 * width, size), spare)
        for k in range(size):
            found[k] = spare[k]
        width *= 2
    kept = 0
    for k in range(size):
        if kept == 0 or found[k] >> 32 != found[kept - 1] >> 32:
            found[kept] = found[k]
            kept += 1
    return kept


@inlined
def _add(entry: np.uint64, position: int, trie: Trie, scratch: Scratch, size: int) -> int:
    """Add the queries that end at a node, if any, to the matches; return how many there are now.

    When there is no room, matches that repeat go, which leaves half of it free. The first query is written where none
    ends, too, and then written over: a branch would be mispredicted.
    """
    found = scratch.found
    query = np.int64(entry >> _WORD_BITS)
    while True:
        if size == len(found):
            size = _sorted_firsts(found, scratch.spare, size)
        found[size] = query << 32 | position
        size += entry & IS_TERM != _ZERO
        if not entry & IS_SHARED:
            return size
        query = np.int64(trie.next_queries[query])
        if query < 0:
            return size


@inlined
def _may_go_on(entry: np.uint64, field: np.uint64, trie: Trie) -> bool:
    """Return whether an edge may lead from a node on by a field; without a branch, for it would be mispredicted."""
    hashed = _hash((entry & NUMBER) << _WORD_BITS | field & NUMBER, _ZERO)
    hint = trie.hints[hashed >> trie.hint_shift] >> (hashed & _HINT_BITS)
    return bool(entry >> _CHILDREN_BIT & hint & _ONE != _ZERO)


@inlined
def _walk(k: int, position: int, trie: Trie, scratch: Scratch, size: int) -> int:
    """Add the terms of several fields that begin with field `k`; return how many matches there are now."""
    fields = scratch.fields
    entry = fields[k]
    while True:
        k += 1
        row = _edge_row(entry & NUMBER, fields[k] & NUMBER, trie.edges, trie.edge_shift)
        if trie.edges[row, 0] == FREE:
            return size
        entry = trie.edges[row, 1]
        size = _add(entry, position, trie, scratch, size)
        if not _may_go_on(entry, fields[k + 1], trie):
            return size


@inlined
def _look_up(text: U8, i: np.uint64, end: np.uint64, trie: Trie, fields: U64, num_fields: int) -> tuple[np.uint64, int]:
    """Write the entries of the fields from `i` on while there is room; return where the next begins, and how many.

    One entry of no field comes after them: `fields` keeps room for it.
    """
    while i <= end and num_fields < len(fields) - 1:
        low, high, length = _field(text, i, end)
        row = _word_row(text, i, low, high, length, trie.words, trie.word_shift, trie.starts, trie.letters)
        fields[num_fields] = trie.words[row, 3] if trie.words[row, 2] else _UNKNOWN
        num_fields += 1
        i += length + _ONE
    fields[num_fields] = _UNKNOWN
    return i, num_fields


@inlined
def _matches(text: U8, i: np.uint64, end: np.uint64, trie: Trie, reach: int, scratch: Scratch) -> int:
    """Find the matches of text[i:end], every occurrence, in any order; return how many there are.

    A term has at most `reach` fields after its first; `scratch.fields` has room for two more than that, or more.
    """
    fields, begins = scratch.fields, scratch.begins
    size = num_fields = position = 0
    while i <= end:
        i, num_fields = _look_up(text, i, end, trie, fields, num_fields)
        done = num_fields - reach if i <= end else num_fields
        num_begins = 0
        for k in range(done):
            size = _add(fields[k], position, trie, scratch, size)
            begins[num_begins] = k << 32 | position
            num_begins += _may_go_on(fields[k], fields[k + 1], trie)
            position += fields[k] & NUMBER != _ZERO
        for k in range(num_begins):
            size = _walk(begins[k] >> 32, begins[k] & 0xFFFF_FFFF, trie, scratch, size)
        for k in range(done, num_fields):
            fields[k - done] = fields[k]
        num_fields -= done
    return size


@kernel
def search(
    text: U8, offsets: I64, row: int, trie: Trie, reach: int, scratch: Scratch,
    rows: I32, query_ids: I32, positions: I32,
) -> tuple[int, int]:  # fmt: skip
    """Write the matches of the texts from `row` on, by row and query, the first position of each query.

    Returns (the row to go on with, matches written): it ends early where those of a row find no room. A row has one
    match a query at most; the three columns have room for that.
    """
    num_written = 0
    while row < len(offsets) - 1:
        size = _matches(text, np.uint64(offsets[row]), np.uint64(offsets[row + 1]), trie, reach, scratch)
        size = _sorted_firsts(scratch.found, scratch.spare, size)
        if num_written + size > len(rows):
            break
        for k in range(size):
            rows[num_written] = row
            query_ids[num_written] = scratch.found[k] >> 32
            positions[num_written] = scratch.found[k] & 0xFFFF_FFFF
            num_written += 1
        row += 1
    return row, num_written
