"""wit.text.normalise for many texts at once: the same bytes, tens of times as fast.

One kernel reads UTF-8 and writes tokens, each code point by its entry of wit.folding. Where the fold of a code point
may depend on its neighbours, the stretch between two separators is skipped, leaving HOLE in the output, and its span
noted; Python normalises each distinct stretch by wit.text, and a second kernel puts them in. Cutting there is exact:
neither a composition nor a token reaches across a SEPARATOR, and the token rule looks at one code point beyond "'s",
for which a separator and the end of a text are the same.

Texts are ragged: `text` is uint8, valid UTF-8, and document i is text[offsets[i]:offsets[i+1]].
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from wit.folding import fold_table
from wit.ragged import Ragged, frozen, joined, ragged
from wit.text import normalise
from wit.token_kernels import (
    CLASS_BITS,
    COPY,
    I64,
    LINE_END,
    MAP,
    MAX_GROWTH,
    NEWLINE,
    SEPARATOR,
    SPACE,
    SPECIAL,
    U8,
    fill_holes,
    fold_documents,
)


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
    return Ragged(*normal_forms(*ragged(strings))).strings()


def _normal(text: U8, offsets: I64, byte_table: U8) -> tuple[U8, I64]:
    assert text.dtype == np.uint8
    assert offsets.dtype == np.int64
    first, last = int(offsets[0]), int(offsets[-1])
    assert 0 <= first <= last <= len(text)
    assert bool(np.all(offsets[1:] >= offsets[:-1]))
    # What is written is at most twice as long as what is read: COPY and MARK as long, EMPTY nothing, MAP twice,
    # a separator 1 byte, the possessive " 's " 4 bytes for 2 or more, a HOLE 1 for 1 or more; 1 byte is written ahead.
    out = np.empty(MAX_GROWTH * (last - first) + 1, np.uint8)
    ends = np.empty(len(offsets), np.int64)
    num_high = int(np.count_nonzero(text[first:last] > 0x7F))
    holes = np.empty((num_high, 3), np.int64)  # in each there is a byte above ASCII
    table = fold_table()
    num_holes = fold_documents(
        frozen(text), frozen(offsets), byte_table, table.entries, table.maps, table.map_offsets, table.composes,
        out, ends, holes,
    )  # fmt: skip
    if num_holes:
        return _filled(text, out, ends, holes[:num_holes])
    return out[: ends[-1]], ends


@lru_cache(maxsize=2)
def _byte_table(keep_lines: bool) -> U8:
    """Return what each byte writes, or SPECIAL, or LINE_END."""
    table = fold_table()
    signs = np.full(256, SPECIAL, np.uint8)
    for byte in range(0x80):
        kind = int(table.entries[byte]) & CLASS_BITS
        if kind in (COPY, MAP):
            signs[byte] = ord(chr(byte).lower())
        elif kind == SEPARATOR:
            signs[byte] = SPACE
    if keep_lines:
        signs[NEWLINE] = LINE_END
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
    pieces = joined([normalise(stretch.decode()).encode() for stretch in numbers])
    filled = np.empty(int(ends[-1] + np.diff(pieces.offsets)[which].sum()), np.uint8)
    filled_ends = np.empty(len(ends), np.int64)
    fill_holes(out, ends, np.ascontiguousarray(holes[:, 2]), which, *pieces, filled, filled_ends)
    return filled[: filled_ends[-1]], filled_ends
