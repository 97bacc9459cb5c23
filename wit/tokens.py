"""wit.text.normalise for many texts at once: the same bytes, a hundred times as fast.

One kernel reads UTF-8 and writes tokens, each code point by its entry of wit.folding. Where the fold of a code point
may depend on its neighbours, the stretch between two separators is skipped, leaving HOLE in the output, and its span
noted; Python normalises each distinct stretch by wit.text, and a second kernel puts them in. Cutting there is exact:
neither a composition nor a token reaches across a SEPARATOR, and the token rule looks at one code point beyond "'s",
for which a separator and the end of a text are the same.

Texts are ragged: `text` is uint8, valid UTF-8, and document i is text[offsets[i]:offsets[i+1]].
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from functools import lru_cache
from itertools import groupby
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt
from numba import njit

from wit.errors import ContractError
from wit.folding import (
    APOSTROPHE,
    CLASS_BITS,
    COPY,
    GROUP_MASK,
    GROUP_SHIFT,
    IS_S_BIT,
    MAP,
    MARK,
    MAX_GROWTH,
    NUM_CODE_POINTS,
    PAYLOAD_SHIFT,
    SEPARATOR,
    SLOW,
    fold_table,
)
from wit.text import normalise

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]
I32 = npt.NDArray[np.int32]
Flags = npt.NDArray[np.bool_]
Function = TypeVar("Function", bound=Callable[..., Any])

HOLE = 0xFF
"""Stands in the output for a stretch that wit.text normalises; no byte of UTF-8."""

_SPACE, _NEWLINE, _S, _QUOTE = ord(" "), ord("\n"), ord("s"), ord("'")
_SPECIAL, _LINE_END = 0x80, 0x81
"""In a table of bytes: neither a word character of ASCII nor a SEPARATOR; and a line end that is kept."""

_LONG_RUN = 32  # marks; sorting them in CPython's normaliser takes time quadratic in their number


def normal_lines(text: U8, offsets: I64) -> tuple[U8, I64]:
    """Return each document with each of its lines normalised (wit.text.normalise).

    Lines are parted by b"\\n" alone, and there are as many of them in the result: one without tokens is empty.
    Raises UnicodeDecodeError for text that is not UTF-8, where it is noticed.
    """
    return _normal(text, offsets, _byte_table(True))


def normal_forms(text: U8, offsets: I64) -> tuple[U8, I64]:
    """Return the normal form of each document (wit.text.normalise); the end of a line separates words like any other.

    Raises UnicodeDecodeError for text that is not UTF-8, where it is noticed.
    """
    return _normal(text, offsets, _byte_table(False))


def normal_form_array(strings: Any) -> Any:
    """Return the normal forms of an Arrow string or large_string array, sliced and chunked ones too, as large_string.

    Raises ContractError for nulls and for arrays of another type.
    """
    import pyarrow as pa

    if not (pa.types.is_string(strings.type) or pa.types.is_large_string(strings.type)):
        raise ContractError(f"expected an array of strings to normalise, found {strings.type}")
    if strings.null_count:
        raise ContractError(f"expected strings to normalise, found {strings.null_count} nulls among {len(strings)}")
    if isinstance(strings, pa.ChunkedArray):
        strings = strings.cast(pa.large_string()).combine_chunks()
    wide = pa.types.is_large_string(strings.type)
    _, offsets, values = strings.buffers()
    starts = np.frombuffer(offsets, np.int64 if wide else np.int32) if offsets else np.zeros(1, np.int64)
    starts = starts[strings.offset : strings.offset + len(strings) + 1].astype(np.int64)
    text, ends = normal_forms(np.frombuffer(values or b"", np.uint8), starts)
    return pa.LargeStringArray.from_buffers(len(strings), pa.py_buffer(ends), pa.py_buffer(text))


def _normal(text: U8, offsets: I64, byte_table: U8) -> tuple[U8, I64]:
    assert text.dtype == np.uint8
    assert offsets.dtype == np.int64
    first, last = int(offsets[0]), int(offsets[-1])
    assert 0 <= first <= last <= len(text)
    assert bool(np.all(offsets[1:] >= offsets[:-1]))
    # What is written is at most twice as long as what is read: COPY and MARK as long, MAP twice, a separator 1 byte,
    # the possessive " 's " 4 bytes for 2 or more, a HOLE 1 for 1 or more; and 1 byte is written ahead.
    out = np.empty(MAX_GROWTH * (last - first) + 1, np.uint8)
    ends = np.empty(len(offsets), np.int64)
    num_high = int(np.count_nonzero(text[first:last] > 0x7F))
    holes = np.empty((num_high, 3), np.int64)  # in each there is a byte above ASCII
    table = fold_table()
    num_holes = _fold(
        text, offsets, byte_table, table.entries, table.maps, table.map_offsets, table.composes, out, ends, holes
    )
    if num_holes:
        return _filled(text, out, ends, holes[:num_holes])
    return out[: ends[-1]], ends


@lru_cache(maxsize=2)
def _byte_table(keep_lines: bool) -> U8:
    """Return what each byte writes, or _SPECIAL, or _LINE_END."""
    table = fold_table()
    signs = np.full(256, _SPECIAL, np.uint8)
    for byte in range(0x80):
        kind = int(table.entries[byte]) & CLASS_BITS
        if kind in (COPY, MAP):
            signs[byte] = ord(chr(byte).lower())
        elif kind == SEPARATOR:
            signs[byte] = _SPACE
    if keep_lines:
        signs[_NEWLINE] = _LINE_END
    return signs


def _filled(text: U8, out: U8, ends: I64, holes: I64) -> tuple[U8, I64]:
    """Return the output with each HOLE replaced by the normal form of its stretch."""
    source = memoryview(text.data)
    numbers: dict[bytes, int] = {}
    which = np.fromiter(
        (numbers.setdefault(bytes(source[start:end]), len(numbers)) for start, end, _ in holes.tolist()),
        np.int64,
        len(holes),
    )
    pieces = [normalise(_with_marks_in_order(stretch.decode())).encode() for stretch in numbers]
    lengths = np.array([len(piece) for piece in pieces], np.int64)
    piece_offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    filled = np.empty(int(ends[-1] + lengths[which].sum()), np.uint8)
    filled_ends = np.empty(len(ends), np.int64)
    joined = np.frombuffer(b"".join(pieces), np.uint8)
    _fill(out, ends, np.ascontiguousarray(holes[:, 2]), which, joined, piece_offsets, filled, filled_ends)
    return filled[: filled_ends[-1]], filled_ends


def _with_marks_in_order(text: str) -> str:
    """Return a text of the same NFKC, whose long runs of marks are decomposed and sorted by combining class."""
    if len(text) < _LONG_RUN:
        return text
    reordered: str = _long_runs().sub(lambda match: _sorted_marks(match.group()), text)
    return reordered


@lru_cache(maxsize=1)
def _long_runs() -> Any:
    import regex

    # Halfwidth voiced sound marks are letters that decompose to marks; no other letter does.
    return regex.compile(rf"[\p{{M}}\uFF9E\uFF9F]{{{_LONG_RUN},}}+")


def _sorted_marks(run: str) -> str:
    marks = "".join(unicodedata.normalize("NFKD", mark) for mark in run)
    parts = groupby(marks, key=lambda mark: unicodedata.combining(mark) > 0)
    return "".join("".join(sorted(part, key=unicodedata.combining) if moves else part) for moves, part in parts)


# Kernels. They allocate nothing, so numba need not count references to the arrays, which costs 50 ns a code point here.


def _kernel(function: Function) -> Function:
    return cast(Function, njit(cache=True, nogil=True, _nrt=False)(function))


def _inlined(function: Function) -> Function:
    return cast(Function, njit(cache=True, nogil=True, _nrt=False, forceinline=True)(function))


@_inlined
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
    return (entries[code] if code < NUM_CODE_POINTS else SLOW), size


@_inlined
def _is_word(entry: int) -> bool:
    return entry & CLASS_BITS >= COPY


@_inlined
def _copied(source: U8, start: int, end: int, target: U8, o: int) -> int:
    """Copy source[start:end] to target[o:]; return where it ends."""
    for i in range(start, end):
        target[o] = source[i]
        o += 1
    return o


@_inlined
def _trimmed(out: U8, begin: int, o: int) -> int:
    """Return the end of the line out[begin:o] without the space at its end."""
    return o - 1 if o > begin and out[o - 1] == _SPACE else o


@_inlined
def _apostrophe(text: U8, i: int, end: int, entries: I32, out: U8, o: int, in_word: int) -> tuple[int, int, int]:
    """Write the apostrophe before `i` as the token rule wants it; return the new i, o, in_word.

    "'s" before anything but a word character is a token; before other word characters the apostrophe belongs to the
    word that it stands in, if any.
    """
    if i < end:
        entry, size = _entry(text, i, end, entries)
        if _is_word(entry):
            beyond = i + size
            if entry & IS_S_BIT and not (beyond < end and _is_word(_entry(text, beyond, end, entries)[0])):
                if in_word:
                    out[o] = _SPACE
                    o += 1
                out[o], out[o + 1], out[o + 2] = _QUOTE, _S, _SPACE
                return beyond, o + 3, 0
            if in_word:
                out[o] = _QUOTE
                o += 1
            return i, o, in_word
    out[o] = _SPACE
    return i, o + in_word, 0


@_inlined
def _stretch_end(text: U8, i: int, end: int, entries: I32) -> int:
    """Return where the first SEPARATOR from `i` on begins, or `end`."""
    while i < end:
        entry, size = _entry(text, i, end, entries)
        if entry & CLASS_BITS == SEPARATOR:
            break
        i += size
    return i


@_inlined
def _ascii(
    text: U8, i: int, end: int, signs: U8, out: U8, o: int, in_word: int, stretch: int, stretch_out: int
) -> tuple[int, int, int, int, int]:
    """Write what `signs` tells, up to the first special byte; return the new i, o, in_word, stretch, stretch_out."""
    while i < end:
        sign = signs[text[i]]
        if sign >= _SPECIAL:
            break
        is_word = int(sign != _SPACE)
        out[o] = sign  # a second space in a row is written over
        o += is_word | in_word
        in_word = is_word
        i += 1
        if not is_word:
            stretch, stretch_out = i, o
    return i, o, in_word, stretch, stretch_out


@_inlined
def _after(
    text: U8, i: int, entry: int, entries: I32, composes: Flags, known: int, group: int, last_class: int
) -> tuple[int, int, int]:
    """Return the class of the code point at `i` where it stands, and the group and combining class it leaves behind.

    `group` and `last_class`, of the last starter and the last code point, hold when `known` is i; else the byte before
    is ASCII.
    """
    kind = entry & CLASS_BITS
    own_group = entry >> GROUP_SHIFT & GROUP_MASK
    if kind != MARK:
        return kind, own_group, 0
    if known != i:
        group, last_class = entries[text[i - 1]] >> GROUP_SHIFT & GROUP_MASK, 0
    payload = entry >> PAYLOAD_SHIFT
    mark_class = payload >> 8
    if composes[group, payload & 0xFF] or 0 < mark_class < last_class:
        return SLOW, 0, 0
    return kind, group if mark_class else own_group, mark_class


@_inlined
def _word(text: U8, i: int, end: int, entry: int, maps: U8, map_offsets: I32, out: U8, o: int) -> int:
    """Write the code point text[i:end], which is part of a word; return the new o."""
    if entry & CLASS_BITS == MAP:
        number = entry >> PAYLOAD_SHIFT
        return _copied(maps, map_offsets[number], map_offsets[number + 1], out, o)
    return _copied(text, i, end, out, o)


@_inlined
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
        if signs[text[i]] == _LINE_END:
            o = _trimmed(out, begin, o)
            out[o] = _NEWLINE
            i, o, in_word = i + 1, o + 1, 0
            begin, stretch, stretch_out = o, i, o
            continue
        entry, size = _entry(text, i, end, entries)
        kind, group, last_class = _after(text, i, entry, entries, composes, known, group, last_class)
        known = i + size
        if kind >= COPY:
            o, in_word = _word(text, i, known, entry, maps, map_offsets, out, o), 1
            i = known
        elif kind == APOSTROPHE:
            i, o, in_word = _apostrophe(text, known, end, entries, out, o, in_word)
        elif kind == SLOW:
            i, o, in_word = _stretch_end(text, known, end, entries), stretch_out + 1, 1
            out[stretch_out] = HOLE
            holes[num_holes, 0], holes[num_holes, 1], holes[num_holes, 2] = stretch, i, stretch_out
            num_holes += 1
        else:
            out[o] = _SPACE
            i, o, in_word = known, o + in_word, 0
            if kind == SEPARATOR:
                stretch, stretch_out = i, o


@_kernel
def _fold(
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


@_kernel
def _fill(
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
                if i < end and out[i] == _SPACE:
                    i += 1
                else:
                    o = _trimmed(filled, filled_ends[document], o)
            hole += 1
        o = _copied(out, i, end, filled, o)
        filled_ends[document + 1] = o
