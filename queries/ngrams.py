"""Exact counts of the words and bigrams of one stretch of text, in bounded memory.

A word is a token of `wit.text.tokens` other than the possessive "'s". A bigram is two words next to each other in the
tokens of one line; a possessive stands between its neighbours and parts them, because a matcher that seeks whole runs
of tokens would find it there. What does not fit in memory goes to disk as sorted runs (`queries.runs`); nothing is
pruned.

Bigrams are counted by sorting, not by hashing: the text becomes a stream of word numbers, and the pairs of neighbours
are sorted as 64-bit integers, which numpy does at 100 to 200 million a second where the processor has AVX-512.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numba import njit

from queries.runs import I64, MAX_RUN_TOKENS, U8, U32, U64, write_run

BREAK = 0
"""The word number of what parts its neighbours: a possessive, the end of a line or of a document."""

MIN_TOKENS, MIN_WORDS, MIN_ARENA_BYTES = 16, 16, 64
FIRST_SLOTS = 1 << 12
BATCH_WORDS = 1 << 13  # 24 bytes each: they stay in the processor's cache

_SPACE, _NEWLINE = 0x20, 0x0A
_SHORT = 7
"""A word of up to this many bytes is its own key: the bytes, big-endian. The key of a longer one is a hash with the top
byte not zero, so that it is no short word's."""

_BREAK_KEY = np.uint64(0x2773)  # "'s"
_LONG_MARK = np.uint64(1 << 56)
_EIGHT = np.uint64(8)
_HALF, _OTHER_HALF = np.uint64(32), np.uint64(29)
_LOW_32 = np.uint64(0xFFFFFFFF)
_MIX = np.uint64(0xFF51AFD7ED558CCD)  # of MurmurHash3's 64-bit finaliser

_DONE, _FULL, _CROWDED = range(3)  # what stopped _number_words


@dataclass(frozen=True)
class RunFacts:
    """The totals of all runs of a counter."""

    num_words: int
    num_pairs: int
    num_runs: int


@dataclass(frozen=True)
class _Room:
    """How much a run may hold.

    Of `memory_bytes` M: a token takes 4 bytes in the stream and 8 more as a pair, sorted in place: M/16 tokens are
    3/4 M. Up to then a word takes 56 bytes at most (two slots of 16 bytes, half as much again while they double, its
    offset), and 36 while words are sorted, beside M/4 of the stream: M/128 words and M/8 bytes of them are 7/16 M and
    (held twice while they are written) 1/4 M.
    """

    tokens: int
    words: int
    arena_bytes: int

    @staticmethod
    def within(memory_bytes: int) -> _Room:
        tokens = min(max(memory_bytes // 16, MIN_TOKENS), MAX_RUN_TOKENS)
        words = max(memory_bytes // 128, MIN_WORDS)
        words = 1 << words.bit_length() - 1  # with as many slots as two each, which are a power of two
        return _Room(tokens, words, max(memory_bytes // 8, MIN_ARENA_BYTES))


class NgramCounter:
    """Counts words and bigrams and writes them as runs, run-00000 and on, to a local folder.

    It holds at most `memory_bytes` beside what it is given, whatever the text: also where every word is new. (One
    word that is longer than the memory is held all the same.) The runs depend on `memory_bytes`; their sums do not.
    """

    def __init__(self, folder: str, memory_bytes: int) -> None:
        self._folder = folder
        self._room = _Room.within(memory_bytes)
        # Against words crafted to collide. No result depends on it: numbers of words are replaced by their places.
        self._salt = np.uint64(int.from_bytes(os.urandom(8), "little"))
        self._num_words = self._num_pairs = self._num_runs = 0
        self._keys: U64 = np.empty(BATCH_WORDS, np.uint64)
        self._begins: I64 = np.empty(BATCH_WORDS, np.int64)
        self._ends: I64 = np.empty(BATCH_WORDS, np.int64)
        self._stream: U32 = np.empty(self._room.tokens, np.uint32)
        self._clear()

    def _clear(self) -> None:
        room = self._room
        self._slots: U64 = np.zeros((FIRST_SLOTS, 2), np.uint64)  # (key, word number); key 0 is an empty slot
        self._arena: U8 = np.empty(room.arena_bytes, np.uint8)
        self._starts: I64 = np.zeros(room.words + 2, np.int64)
        self._held: I64 = np.array([0, 1])  # tokens; words, and the break
        self._carried = 0
        """1 when the stream begins with a word that the run before has counted, so that its last bigram is whole."""

    def add(self, text: U8, offsets: I64) -> None:
        """Count documents, as `wit.tokens.normal_lines` gives them; raises OutputError when a run cannot be written."""
        place = np.array([0, offsets[0]], np.int64)
        while num_found := _find_words(text, offsets, place, self._salt, self._keys, self._begins, self._ends):
            self._number(text, self._keys[:num_found], self._begins[:num_found], self._ends[:num_found])

    def _number(self, text: U8, keys: U64, begins: I64, ends: I64) -> None:
        while True:
            num_done, outcome = self._number_some(text, keys, begins, ends)
            keys, begins, ends = keys[num_done:], begins[num_done:], ends[num_done:]
            if outcome == _DONE:
                return
            if outcome == _CROWDED:
                self._slots = _doubled(self._slots, self._salt)
            elif self._held[0] > self._carried:
                self._write_and_carry()
            else:  # nothing to write: one word is longer than all room for words
                self._arena = np.concatenate([self._arena, np.empty(ends[0] - begins[0], np.uint8)])

    def _number_some(self, text: U8, keys: U64, begins: I64, ends: I64) -> tuple[int, int]:
        held = (self._slots, self._arena, self._starts, self._stream, self._held)  # only here: _write frees them
        num_done, outcome = _number_words(text, keys, begins, ends, *held, self._salt)
        return int(num_done), int(outcome)

    def close(self) -> RunFacts:
        """Write what is not written yet; raises OutputError. The counter cannot be used after it."""
        if self._held[0] > self._carried:
            self._write()
        return RunFacts(self._num_words, self._num_pairs, self._num_runs)

    def _write_and_carry(self) -> None:
        """Write a run in the middle of a text; the next one begins with the last word of this."""
        last = self._stream[self._held[0] - 1]
        word = self._arena[self._starts[last] : self._starts[last + 1]].copy()
        self._write()
        self._clear()
        if last != BREAK:
            key, begin, end = np.empty(1, np.uint64), np.empty(1, np.int64), np.empty(1, np.int64)
            _find_words(word, np.array([0, len(word)]), np.zeros(2, np.int64), self._salt, key, begin, end)
            self._number(word, key, begin, end)
            self._carried = 1

    def _write(self) -> None:
        del self._slots
        stream, num_distinct = self._stream[: self._held[0]], int(self._held[1]) - 1
        counts = _word_counts(stream, num_distinct, self._carried)
        starts = self._starts[1 : num_distinct + 2]
        order, words = _sorted_words(self._arena, starts, counts)
        places = np.empty(num_distinct + 1, np.uint32)
        places[1 + order] = np.arange(num_distinct, dtype=np.uint32)
        del self._arena, self._starts, starts, order  # room for the pairs
        keys = np.empty(len(stream), np.uint64)
        keys = keys[: _pairs(stream, places, keys)]
        keys.sort()
        row_starts = np.empty(num_distinct + 1, np.int64)
        num_rows = _fold(keys, row_starts)
        num_words = int(counts.sum())
        path = os.path.join(self._folder, f"run-{self._num_runs:05d}")
        write_run(path, words, row_starts, keys[:num_rows], num_words, len(keys))
        self._num_words += num_words
        self._num_pairs += len(keys)
        self._num_runs += 1


def _sorted_words(arena: U8, starts: I64, counts: I64) -> tuple[I64, pa.Table]:
    """Return the words' order by their bytes, and the words in that order with their counts."""
    buffers = [None, pa.py_buffer(starts), pa.py_buffer(arena)]
    words = pa.Array.from_buffers(pa.large_binary(), len(counts), buffers)
    order = pc.sort_indices(words).to_numpy().view(np.int64)
    # Rebuilt by hand: `take` would hold the bytes a third time.
    data, offsets = np.empty(starts[-1] - starts[0], np.uint8), np.empty(len(starts), np.int64)
    _gather(arena, starts, order, data, offsets)
    ordered = [None, pa.py_buffer(offsets), pa.py_buffer(data)]
    column = pa.Array.from_buffers(pa.large_string(), len(counts), ordered)
    return order, pa.table({"word": column, "count": counts[order]})


@njit(cache=True, nogil=True)
def _doubled(slots, salt):  # type: ignore[no-untyped-def]
    """Return the same words in a table of twice as many slots."""
    larger = np.zeros((2 * len(slots), 2), np.uint64)
    mask = np.uint64(len(larger) - 1)
    for slot in range(len(slots)):
        key = slots[slot, 0]
        if key != 0:
            place = _mixed(key, salt) & mask
            while larger[place, 0] != 0:
                place = (place + np.uint64(1)) & mask
            larger[place, 0] = key
            larger[place, 1] = slots[slot, 1]
    return larger


@njit(cache=True, nogil=True)
def _mixed(key, salt):  # type: ignore[no-untyped-def]
    mixed = (key ^ salt) * _MIX
    mixed = (mixed ^ (mixed >> _HALF)) * _MIX
    return mixed ^ (mixed >> _OTHER_HALF)


@njit(cache=True, nogil=True)
def _find_words(text, offsets, place, salt, keys, begins, ends):  # type: ignore[no-untyped-def]
    """Write key, begin and end of the words from `place` (document, position) on; return how many.

    Stops at the documents' end or when the arrays are full; `place` then says where. Breaks have the possessive's key.
    """
    num_found = 0
    document, position = place[0], place[1]
    while document < len(offsets) - 1 and num_found < len(keys):
        end = offsets[document + 1]
        while position < end and num_found < len(keys):
            if text[position] <= _SPACE:
                if text[position] == _NEWLINE:
                    keys[num_found] = _BREAK_KEY
                    num_found += 1
                position += 1
                continue
            begin, limit, key = position, min(position + _SHORT, end), np.uint64(0)
            while position < limit and text[position] > _SPACE:
                key = (key << _EIGHT) | np.uint64(text[position])
                position += 1
            if position == limit and position < end and text[position] > _SPACE:
                position, key = _long_word(text, position, end, key, salt)
            keys[num_found], begins[num_found], ends[num_found] = key, begin, position
            num_found += 1
        if position == end and num_found < len(keys):
            keys[num_found] = _BREAK_KEY
            num_found += 1
            document += 1
    place[0], place[1] = document, position
    return num_found


@njit(cache=True, nogil=True)
def _long_word(text, position, end, key, salt):  # type: ignore[no-untyped-def]
    """Return the end and the key of a word whose first _SHORT bytes are in `key`."""
    mixed, num_bytes = salt, _SHORT
    while position < end and text[position] > _SPACE:
        if num_bytes == 8:
            mixed, key, num_bytes = _mixed(mixed ^ key, salt), np.uint64(0), 0
        key = (key << _EIGHT) | np.uint64(text[position])
        num_bytes += 1
        position += 1
    return position, _mixed(mixed ^ key, salt) | _LONG_MARK


@njit(cache=True, nogil=True)
def _number_words(text, keys, begins, ends, slots, arena, starts, stream, held, salt):  # type: ignore[no-untyped-def]
    """Append the words' numbers to the stream, new words to the arena; return how many, and what stopped it.

    That is _FULL when stream, list of words or arena has no room, _CROWDED when more than half of the slots are taken.
    `held` is (tokens in the stream, words and the break). One break is enough between two words.
    """
    num_tokens, num_words = held[0], held[1]
    last = stream[num_tokens - 1] if num_tokens > 0 else np.uint32(BREAK)
    mask = np.uint64(len(slots) - 1)
    index, outcome = 0, _DONE
    while index < len(keys):
        key, number = keys[index], np.uint32(BREAK)
        if num_tokens == len(stream):
            outcome = _FULL
            break
        if key != _BREAK_KEY:
            begin, end = begins[index], ends[index]
            slot = _mixed(key, salt) & mask
            while slots[slot, 0] != 0 and not (
                slots[slot, 0] == key
                and (key < _LONG_MARK or _same(text, begin, end, arena, starts, np.int64(slots[slot, 1])))
            ):
                slot = (slot + np.uint64(1)) & mask
            if slots[slot, 0] == 0:
                outcome = _keep(text, begin, end, slots, arena, starts, num_words)
                if outcome != _DONE:
                    break
                slots[slot, 0], slots[slot, 1] = key, np.uint64(num_words)
                num_words += 1
            number = np.uint32(slots[slot, 1])
        if number != BREAK or last != BREAK:
            stream[num_tokens] = last = number
            num_tokens += 1
        index += 1
    held[0], held[1] = num_tokens, num_words
    return index, outcome


@njit(cache=True, nogil=True)
def _keep(text, begin, end, slots, arena, starts, num_words):  # type: ignore[no-untyped-def]
    """Append a new word to the arena, or say why it cannot be."""
    start = starts[num_words]
    if num_words + 2 > len(starts) or start + end - begin > len(arena):
        return _FULL
    if 2 * num_words > len(slots):
        return _CROWDED
    for place in range(begin, end):
        arena[start + place - begin] = text[place]
    starts[num_words + 1] = start + end - begin
    return _DONE


@njit(cache=True, nogil=True)
def _same(text, begin, end, arena, starts, number):  # type: ignore[no-untyped-def]
    start, num_bytes = starts[number], end - begin
    place = 0
    if starts[number + 1] - start != num_bytes:
        return False
    while place < num_bytes and text[begin + place] == arena[start + place]:
        place += 1
    return place == num_bytes


@njit(cache=True, nogil=True)
def _word_counts(stream, num_distinct, carried):  # type: ignore[no-untyped-def]
    """Return how often each word occurs in the stream but for the first `carried` tokens; word n is at n - 1."""
    counts = np.zeros(num_distinct + 1, np.int64)
    for place in range(carried, len(stream)):
        counts[stream[place]] += 1
    return counts[1:]


@njit(cache=True, nogil=True)
def _gather(data, starts, order, gathered, offsets):  # type: ignore[no-untyped-def]
    """Copy the words, in the given order, one after another."""
    end = 0
    offsets[0] = 0
    for rank in range(len(order)):
        for place in range(starts[order[rank]], starts[order[rank] + 1]):
            gathered[end] = data[place]
            end += 1
        offsets[rank + 1] = end


@njit(cache=True, nogil=True)
def _pairs(stream, places, keys):  # type: ignore[no-untyped-def]
    """Write place of the first word << 32 | place of the second for neighbours in the stream; return how many."""
    num_pairs = 0
    for index in range(1, len(stream)):
        first, second = stream[index - 1], stream[index]
        if first != BREAK and second != BREAK:
            keys[num_pairs] = (np.uint64(places[first]) << _HALF) | np.uint64(places[second])
            num_pairs += 1
    return num_pairs


@njit(cache=True, nogil=True)
def _fold(keys, row_starts):  # type: ignore[no-untyped-def]
    """Replace sorted keys by rows of a run; return how many. There are never more rows than keys: it is done in place.

    A count fits 32 bits because a run has at most MAX_RUN_TOKENS tokens.
    """
    num_rows = begin = 0
    num_firsts = np.int64(0)  # whose row_starts are written
    while begin < len(keys):
        key = keys[begin]
        end = begin + 1
        while end < len(keys) and keys[end] == key:
            end += 1
        while num_firsts <= np.int64(key >> _HALF):
            row_starts[num_firsts] = num_rows
            num_firsts += 1
        keys[num_rows] = ((key & _LOW_32) << _HALF) | np.uint64(end - begin)
        num_rows += 1
        begin = end
    row_starts[num_firsts:] = num_rows
    return num_rows
