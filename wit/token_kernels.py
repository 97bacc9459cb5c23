"""The kernels of wit.tokens: folding and finding words, a code point at a time; and the entries that tell them how.

The entry format stands in this file because numba compiles its constants in, and heeds changes of one file alone.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from wit.compiled import inlined, kernel

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]
I32 = npt.NDArray[np.int32]
Flags = npt.NDArray[np.bool_]

NUM_CODE_POINTS = 0x40000
"""Planes 0 to 3. Beyond them lie ignorable code points, and private use, which is slow."""
FIRST_TAG, LAST_TAG = 0xE0000, 0xE0FFF
"""The ignorable ones: tags, variation selectors, and what is kept for more of them; EMPTY."""

SLOW = 0
"""Ask wit.text about the whole stretch up to the next SEPARATOR on both sides."""
SEPARATOR = 1
"""Folds to separators alone, and nothing after it can compose with it: no token and no fold reaches across."""
SOFT_SEPARATOR = 2
"""Folds to separators alone, but what follows may compose with it, as U+0338 does with "="."""
EMPTY = 3
"""Folds to nothing: what stands on both sides of it is together."""
APOSTROPHE = 4
COPY = 5
"""Letter, digit or mark, its own fold. So are the classes that follow, and no others."""
MAP = 6
"""Folds to other letters, digits and marks alone: `maps`."""
MARK = 7
"""Its own fold, and it may compose with what stands before or change places with it."""

CLASS_BITS, IS_S_BIT, BEGINS_BIT, GROUP_SHIFT, GROUP_MASK, PAYLOAD_SHIFT = 0x7, 0x8, 0x10, 5, 0x3FF, 15
"""Entry, 31 bits: class, whether its fold is "s", whether that begins with a letter or digit, group (row of
`composes`), payload.

Payload: the number of a MAP in `maps`; canonical combining class << 8 | column of `composes` of a MARK.
"""

MAX_GROWTH = 2
"""A MAP is at most so many times as long as its source, in bytes: it bounds the output of wit.tokens."""

HOLE = 0xFF
"""Stands in the output for a stretch that wit.text normalises; no byte of UTF-8."""

SPACE, NEWLINE = ord(" "), ord("\n")
_S, _QUOTE = ord("s"), ord("'")
SPECIAL, LINE_END = 0x80, 0x81
"""In a table of bytes: neither a word character of ASCII nor a SEPARATOR; and a line end that is kept."""


@inlined
def _entry(text: U8, i: int, end: int, entries: I32) -> tuple[int, int]:
    """Return the entry of the code point at `i` and its length in bytes; SLOW for what the table lacks."""
    lead = np.int64(text[i])
    if lead < 0x80:
        return entries[lead], 1
    size = 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
    if i + size > end:
        return SLOW, end - i  # no UTF-8: decoding the stretch will say so
    code = lead & (0xFF >> (size + 1))
    for j in range(i + 1, i + size):
        code = code << 6 | np.int64(text[j] & 0x3F)
    if code < NUM_CODE_POINTS:
        return entries[code], size
    return (EMPTY if FIRST_TAG <= code <= LAST_TAG else SLOW), size


@inlined
def _is_word(entry: int) -> bool:
    return entry & CLASS_BITS >= COPY


@inlined
def _copied(source: U8, start: int, end: int, target: U8, o: int) -> int:
    """Copy source[start:end] to target[o:]; return where it ends."""
    for i in range(start, end):
        target[o] = source[i]
        o += 1
    return o


@inlined
def _trimmed(out: U8, begin: int, o: int) -> int:
    """Return the end of the line out[begin:o] without the space at its end."""
    return o - 1 if o > begin and out[o - 1] == SPACE else o


@inlined
def _next(text: U8, i: int, end: int, entries: I32) -> tuple[int, int]:
    """Return the entry of the first code point from `i` on that is not EMPTY, and where it ends; SEPARATOR if none."""
    while i < end:
        entry, size = _entry(text, i, end, entries)
        i += size
        if entry & CLASS_BITS != EMPTY:
            return entry, i
    return SEPARATOR, end


@inlined
def _apostrophe(text: U8, i: int, end: int, entries: I32, out: U8, o: int, in_word: int) -> tuple[int, int, int]:
    """Write the apostrophe before `i` as the token rule wants it; return the new i, o, in_word.

    "'s" before anything but a letter, digit or mark is a token; before other letters and digits the apostrophe belongs
    to the word that it stands in, if any.
    """
    entry, beyond = _next(text, i, end, entries)
    if not entry & BEGINS_BIT:
        out[o] = SPACE
        return i, o + in_word, 0
    if entry & IS_S_BIT and not _is_word(_next(text, beyond, end, entries)[0]):
        if in_word:
            out[o] = SPACE
            o += 1
        out[o], out[o + 1], out[o + 2] = _QUOTE, _S, SPACE
        return beyond, o + 3, 0
    if in_word:
        out[o] = _QUOTE
        o += 1
    return i, o, in_word


@inlined
def _stretch_end(text: U8, i: int, end: int, entries: I32) -> int:
    """Return where the first SEPARATOR from `i` on begins, or `end`."""
    while i < end:
        entry, size = _entry(text, i, end, entries)
        if entry & CLASS_BITS == SEPARATOR:
            break
        i += size
    return i


@inlined
def _ascii(
    text: U8, i: int, end: int, signs: U8, out: U8, o: int, in_word: int, stretch: int, stretch_out: int
) -> tuple[int, int, int, int, int]:
    """Write what `signs` tells, up to the first special byte; return the new i, o, in_word, stretch, stretch_out."""
    while i < end:
        sign = signs[text[i]]
        if sign >= SPECIAL:
            break
        is_word = int(sign != SPACE)
        out[o] = sign  # a second space in a row is written over
        o += is_word | in_word
        in_word = is_word
        i += 1
        if not is_word:
            stretch, stretch_out = i, o
    return i, o, in_word, stretch, stretch_out


@inlined
def _after(
    text: U8, i: int, entry: int, entries: I32, composes: Flags, known: int, group: int, last_class: int
) -> tuple[int, int, int]:
    """Return the class of the code point at `i` where it stands, and the group and combining class it leaves behind.

    `group` and `last_class`, of the last starter and the last code point, hold when `known` is i; else the byte before
    is ASCII, or no MARK follows.
    """
    kind = entry & CLASS_BITS
    own_group = entry >> GROUP_SHIFT & GROUP_MASK
    if kind != MARK and kind != EMPTY:
        return kind, own_group, 0
    if known != i:
        group, last_class = entries[text[i - 1]] >> GROUP_SHIFT & GROUP_MASK, 0
    if kind == EMPTY:
        return kind, group, last_class
    payload = entry >> PAYLOAD_SHIFT
    mark_class = payload >> 8
    if composes[group, payload & 0xFF] or 0 < mark_class < last_class:
        return SLOW, 0, 0
    return kind, group if mark_class else own_group, mark_class


@inlined
def _word(text: U8, i: int, end: int, entry: int, maps: U8, map_offsets: I32, out: U8, o: int) -> int:
    """Write the code point text[i:end], which is part of a word; return the new o."""
    if entry & CLASS_BITS == MAP:
        number = entry >> PAYLOAD_SHIFT
        return _copied(maps, map_offsets[number], map_offsets[number + 1], out, o)
    return _copied(text, i, end, out, o)


@inlined
def _document(
    text: U8, i: int, end: int, signs: U8, entries: I32, maps: U8, map_offsets: I32, composes: Flags,
    out: U8, o: int, holes: I64, num_holes: int,
) -> tuple[int, int]:  # fmt: skip
    """Write the normal form of text[i:end]; return the new o and num_holes."""
    begin, in_word = o, 0  # of the line in `out`
    stretch, stretch_out = i, o  # where the last SEPARATOR ended
    known, group, last_class = i, 0, 0  # see _after
    while True:
        i, o, in_word, stretch, stretch_out = _ascii(text, i, end, signs, out, o, in_word, stretch, stretch_out)
        if i == end:
            return _trimmed(out, begin, o), num_holes
        if signs[text[i]] == LINE_END:
            o = _trimmed(out, begin, o)
            out[o] = NEWLINE
            i, o, in_word = i + 1, o + 1, 0
            begin, stretch, stretch_out = o, i, o
            continue
        entry, size = _entry(text, i, end, entries)
        kind, group, last_class = _after(text, i, entry, entries, composes, known, group, last_class)
        known = i + size
        if kind >= COPY and not (in_word or entry & BEGINS_BIT):
            kind = SLOW if kind == MAP else EMPTY  # a mark on no letter, or several code points that begin with one
        if kind >= COPY:
            o, in_word = _word(text, i, known, entry, maps, map_offsets, out, o), 1
            i = known
        elif kind == EMPTY:
            i = known
        elif kind == APOSTROPHE:
            i, o, in_word = _apostrophe(text, known, end, entries, out, o, in_word)
        elif kind == SLOW:
            i, o, in_word = _stretch_end(text, known, end, entries), stretch_out + 1, 1
            out[stretch_out] = HOLE
            holes[num_holes, 0], holes[num_holes, 1], holes[num_holes, 2] = stretch, i, stretch_out
            num_holes += 1
        else:
            out[o] = SPACE
            i, o, in_word = known, o + in_word, 0
            if kind == SEPARATOR:
                stretch, stretch_out = i, o


@kernel
def fold_documents(
    text: U8, offsets: I64, signs: U8, entries: I32, maps: U8, map_offsets: I32, composes: Flags,
    out: U8, ends: I64, holes: I64,
) -> int:  # fmt: skip
    """Write the normal forms to `out` and where each document ends to `ends`; return the number of rows of `holes`.

    A row: start and end of the stretch in `text`, position of its HOLE in `out`.
    """
    o = num_holes = 0
    ends[0] = 0
    for document in range(len(offsets) - 1):
        i, end = offsets[document], offsets[document + 1]
        o, num_holes = _document(text, i, end, signs, entries, maps, map_offsets, composes, out, o, holes, num_holes)
        ends[document + 1] = o
    return num_holes


@kernel
def fill_holes(
    out: U8, ends: I64, places: I64, which: I64, pieces: U8, piece_offsets: I64, filled: U8, filled_ends: I64
) -> None:
    """Copy `out` to `filled` with piece which[k] in place of the byte at places[k].

    For an empty piece the space after it goes too, or at the end of a line the one before it.
    """
    hole = o = 0
    filled_ends[0] = 0
    for document in range(len(ends) - 1):
        i, end = ends[document], ends[document + 1]
        while hole < len(places) and places[hole] < end:
            o = _copied(out, i, places[hole], filled, o)
            i = places[hole] + 1
            piece = which[hole]
            o = _copied(pieces, piece_offsets[piece], piece_offsets[piece + 1], filled, o)
            if piece_offsets[piece] == piece_offsets[piece + 1]:
                if i < end and out[i] == SPACE:
                    i += 1
                else:
                    o = _trimmed(filled, filled_ends[document], o)
            hole += 1
        o = _copied(out, i, end, filled, o)
        filled_ends[document + 1] = o
