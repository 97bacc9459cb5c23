"""Bigrams as 64-bit numbers: the words' numbers in a list of words, and a count, in one.

A number is `(first << id_bits | second) << count_bits | count`, id_bits being what the longest list of words needs and
count_bits the rest of the 64: sorting the numbers sorts the bigrams, with their counts on board. A larger count than
fits is several numbers of one bigram, which is what the sums of many runs are made of anyway.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from queries.runs import I64, U8, U32, U64

UNLISTED = 0xFFFFFFFF
"""The number of a word that is not in the list."""

MIN_COUNT_BITS = 8
MAX_LISTED = 1 << (64 - MIN_COUNT_BITS) // 2
"""Words in a list, at most: 268 million."""

_HALF = np.uint64(32)
_LOW_32 = np.uint64(0xFFFFFFFF)
_ONE = np.uint64(1)


@dataclass(frozen=True)
class Layout:
    """How the 64 bits are shared."""

    id_bits: int

    @staticmethod
    def of(num_listed: int) -> Layout:
        """Return the layout for a list of so many words."""
        assert num_listed <= MAX_LISTED
        return Layout(max((num_listed - 1).bit_length(), 1))

    @property
    def count_bits(self) -> int:
        """Bits that are left for the count."""
        return 64 - 2 * self.id_bits

    @property
    def max_count(self) -> int:
        """The largest count of one number."""
        return (1 << self.count_bits) - 1


def listed(words: tuple[U8, I64], everyone: tuple[U8, I64]) -> U32:
    """Return the number of each word in the list `everyone`, UNLISTED where it is not there.

    Both are (bytes one after another, offsets), ascending and distinct. Takes time in the order of the shorter list
    times the logarithm of how many times longer the other is.
    """
    numbers = np.empty(len(words[1]) - 1, np.uint32)
    _list(*words, *everyone, numbers)
    return numbers


def pack(rows: U64, first_row: int, starts: I64, numbers: U32, layout: Layout, packed: U64, num_packed: int) -> int:
    """Append the rows of a run, from `first_row` on, whose words are both listed; return how many are there then.

    `packed` must have room for one number a row and one more for each `layout.max_count` occurrences.
    """
    return int(_pack(rows, first_row, starts, numbers, layout.id_bits, layout.count_bits, packed, num_packed))


def fold(packed: U64, layout: Layout) -> int:
    """Sum the numbers of each bigram, sorted as they are, in place; return how many remain."""
    return int(_fold(packed, layout.count_bits))


def totals(packed: U64, begin: int, layout: Layout, min_count: int, by_power: I64, limit: int) -> tuple[int, U64, I64]:
    """Return where it ended, and keys and counts of the next bigrams (at most `limit`) seen at least `min_count` times.

    `packed` is sorted; `by_power[k]` grows by the bigrams seen from 2^k to 2^(k+1) - 1 times, kept or not.
    """
    keys, counts = np.empty(limit, np.uint64), np.empty(limit, np.int64)
    end, num_kept = _totals(packed, begin, layout.count_bits, min_count, by_power, keys, counts)
    return int(end), keys[:num_kept], counts[:num_kept]


def split(keys: U64, layout: Layout) -> tuple[I64, I64]:
    """Return the first and the second word of each key."""
    id_bits = np.uint64(layout.id_bits)
    return (keys >> id_bits).astype(np.int64), (keys & np.uint64((1 << layout.id_bits) - 1)).astype(np.int64)


def join_words(firsts: I64, seconds: I64, words: tuple[U8, I64]) -> tuple[U8, I64]:
    """Return "first second" of each as (bytes one after another, offsets)."""
    data, offsets = words
    ends = np.cumsum(offsets[firsts + 1] - offsets[firsts] + offsets[seconds + 1] - offsets[seconds] + 1)
    term_offsets = np.concatenate([np.zeros(1, np.int64), ends])
    terms = np.empty(term_offsets[-1], np.uint8)
    _join(firsts, seconds, data, offsets, terms)
    return terms, term_offsets


@njit(cache=True, nogil=True)
def _compared(data, begin, end, other, other_begin, other_end):  # type: ignore[no-untyped-def]
    """Return below 0, 0 or above 0 as a word stands before, at or after another."""
    while begin < end and other_begin < other_end:
        if data[begin] != other[other_begin]:
            return np.int64(data[begin]) - np.int64(other[other_begin])
        begin += 1
        other_begin += 1
    return (end - begin) - (other_end - other_begin)


@njit(cache=True, nogil=True)
def _list(data, offsets, list_data, list_offsets, numbers):  # type: ignore[no-untyped-def]
    num_listed = len(list_offsets) - 1
    low = 0  # every listed word before it stands before this word
    for word in range(len(numbers)):
        begin, end = offsets[word], offsets[word + 1]
        step, high, order = 1, low, np.int64(-1)
        while high < num_listed:  # strides that double, until a listed word stands at or after this one
            order = _compared(list_data, list_offsets[high], list_offsets[high + 1], data, begin, end)
            if order >= 0:
                break
            low = high + 1
            high += step
            step *= 2
        high = min(high, num_listed)
        while low < high:
            middle = (low + high) // 2
            if _compared(list_data, list_offsets[middle], list_offsets[middle + 1], data, begin, end) < 0:
                low = middle + 1
            else:
                high = middle
        numbers[word] = UNLISTED
        if low < num_listed and _compared(list_data, list_offsets[low], list_offsets[low + 1], data, begin, end) == 0:
            numbers[word] = low


@njit(cache=True, nogil=True)
def _pack(rows, first_row, starts, numbers, id_bits, count_bits, packed, num_packed):  # type: ignore[no-untyped-def]
    max_count = (_ONE << np.uint64(count_bits)) - _ONE
    place = np.searchsorted(starts, first_row, side="right") - 1  # of the first word
    row = 0
    while row < len(rows):
        while starts[place + 1] <= first_row + row:
            place += 1
        end = min(starts[place + 1] - first_row, len(rows))
        if numbers[place] == UNLISTED:
            row = end
            continue
        first = np.uint64(numbers[place]) << np.uint64(id_bits)
        while row < end:
            second, count = numbers[rows[row] >> _HALF], rows[row] & _LOW_32
            row += 1
            if second == UNLISTED:
                continue
            key = (first | np.uint64(second)) << np.uint64(count_bits)
            while count > 0:
                part = min(count, max_count)
                packed[num_packed] = key | part
                num_packed += 1
                count -= part
    return num_packed


@njit(cache=True, nogil=True)
def _fold(packed, count_bits):  # type: ignore[no-untyped-def]
    # In place: n numbers of one bigram sum to at most n times the largest count, so never need more than n.
    shift, max_count = np.uint64(count_bits), (_ONE << np.uint64(count_bits)) - _ONE
    num_folded = index = 0
    while index < len(packed):
        key, held = packed[index] >> shift, np.uint64(0)
        while index < len(packed) and packed[index] >> shift == key:
            count = packed[index] & max_count
            index += 1
            if held > max_count - count:
                packed[num_folded] = (key << shift) | max_count
                num_folded += 1
                held -= max_count - count
            else:
                held += count
        packed[num_folded] = (key << shift) | held
        num_folded += 1
    return num_folded


@njit(cache=True, nogil=True)
def _totals(packed, begin, count_bits, min_count, by_power, keys, counts):  # type: ignore[no-untyped-def]
    shift, mask = np.uint64(count_bits), (_ONE << np.uint64(count_bits)) - _ONE
    num_kept = 0
    while begin < len(packed) and num_kept < len(keys):
        key, total = packed[begin] >> shift, np.int64(0)
        while begin < len(packed) and packed[begin] >> shift == key:
            total += np.int64(packed[begin] & mask)
            begin += 1
        power, rest = 0, total >> 1
        while rest > 0:
            power += 1
            rest >>= 1
        by_power[power] += 1
        if total >= min_count:
            keys[num_kept], counts[num_kept] = key, total
            num_kept += 1
    return begin, num_kept


@njit(cache=True, nogil=True)
def _join(firsts, seconds, data, offsets, terms):  # type: ignore[no-untyped-def]
    end = 0
    for row in range(len(firsts)):
        for source in range(offsets[firsts[row]], offsets[firsts[row] + 1]):
            terms[end] = data[source]
            end += 1
        terms[end] = 0x20
        end += 1
        for source in range(offsets[seconds[row]], offsets[seconds[row] + 1]):
            terms[end] = data[source]
            end += 1
