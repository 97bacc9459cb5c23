"""The kernels of delimited text: finding rows and values in a window of a file, and taking values out of it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from wit.compiled import kernel

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]

QUOTED, VERBATIM, WRONG_NUMBER, TOO_LONG = 0, 1, 2, 3
"""What a row is: its values stand in quotes where they need to; it is one line taken as it is; a line with another
number of values than the header; a line that does not end within the limit."""

_NEWLINE, _RETURN, _QUOTE = ord("\n"), ord("\r"), ord('"')
_FAILED, _CUT = -1, -2


@kernel
def _line_end(window: U8, start: int, stop: int) -> int:
    at = start
    while at < stop and window[at] != _NEWLINE:
        at += 1
    return at


@kernel
def _value_end(window: U8, start: int, at: int) -> int:
    """Return where a value ends that is followed by a line's end at `at`: before the carriage return, if any."""
    return at - 1 if at > start and window[at - 1] == _RETURN else at


@kernel
def _closing_quote(window: U8, start: int, stop: int, may_span: bool) -> int:
    """Return where the quote that closes a value is; `start` is after the one that opens it; or _FAILED, or `stop`."""
    at = start
    while at < stop:
        if window[at] == _QUOTE:
            if at + 1 == stop or window[at + 1] != _QUOTE:
                return at
            at += 1
        elif window[at] == _NEWLINE and not may_span:
            return _FAILED
        at += 1
    return stop


@kernel
def _quoted_row(
    window: U8, start: int, stop: int, delimiter: int, may_span: bool, wanted: I64, spans: I64, row: int
) -> tuple[int, int]:
    """Read a row in which values may stand in quotes; return (number of values, where it ends).

    A number of _FAILED: something follows a closing quote; _CUT: the window, or the limit, ends in quotes.
    """
    at, number = start, 0
    while True:
        begin = at
        end = begin
        if at < stop and window[at] == _QUOTE:
            at = _closing_quote(window, at + 1, stop, may_span)
            if at == _FAILED:
                return _FAILED, start
            if at == stop:
                return _CUT, stop
            at += 1
            end = at
            if at < stop and window[at] == _RETURN and (at + 1 == stop or window[at + 1] == _NEWLINE):
                at += 1
            if at < stop and window[at] != delimiter and window[at] != _NEWLINE:
                return _FAILED, at
        else:
            while at < stop and window[at] != delimiter and window[at] != _NEWLINE:
                at += 1
            end = at if at < stop and window[at] == delimiter else _value_end(window, begin, at)
        for k in range(len(wanted)):
            if wanted[k] == number:
                spans[row, k, 0], spans[row, k, 1] = begin, end
        number += 1
        if at >= stop or window[at] == _NEWLINE:
            return number, at
        at += 1


@kernel
def _verbatim_row(window: U8, start: int, end: int, delimiter: int, wanted: I64, spans: I64, row: int) -> int:
    """Read the line from `start` to `end` as values without quotes; return their number."""
    begin, number, last = start, 0, _value_end(window, start, end)
    for at in range(start, end + 1):
        if at == end or window[at] == delimiter:
            for k in range(len(wanted)):
                if wanted[k] == number:
                    spans[row, k, 0], spans[row, k, 1] = begin, max(begin, min(at, last))
            number += 1
            begin = at + 1
    return number


@kernel
def _read_row(
    window: U8, start: int, is_last: bool, delimiter: int, has_quotes: bool, limit: int, budget: I64, num_columns: int,
    wanted: I64, spans: I64, row: int,
) -> tuple[int, int, int]:  # fmt: skip
    """Read the row that begins at `start`; return (its kind, or _CUT; number of values; where it ends)."""
    size = len(window)
    stop = min(size, start + limit)
    number, end = _FAILED, start
    if has_quotes:
        number, end = _quoted_row(window, start, stop, delimiter, budget[0] > 0, wanted, spans, row)
        if end == size and not is_last and number != _FAILED:
            return _CUT, 0, start
    is_over = end == stop and stop < size and window[stop] != _NEWLINE
    if number == num_columns and not is_over:
        return QUOTED, number, end
    line_end = _line_end(window, start, stop)
    if line_end == size and not is_last:
        return _CUT, 0, start
    budget[0] -= max(end - line_end, 0)
    if line_end == stop and stop < size and window[stop] != _NEWLINE:
        return TOO_LONG, 0, _line_end(window, stop, size)
    number = _verbatim_row(window, start, line_end, delimiter, wanted, spans, row)
    return VERBATIM if number == num_columns else WRONG_NUMBER, number, line_end


@kernel
def scan_rows(
    window: U8,
    start: int,
    is_last: bool,
    delimiter: int,
    has_quotes: bool,
    limit: int,
    budget: I64,
    num_columns: int,
    wanted: I64,
    spans: I64,
    kinds: I64,
    numbers: I64,
) -> tuple[int, int]:
    """Find the rows in window[start:]; return (number of rows, where the next call begins).

    Row r is of `kinds[r]`, with `numbers[r]` values, and value `wanted[k]` at spans[r, k]. At most len(kinds) rows.
    Blank lines are passed over. A value in quotes may span lines where the dialect `has_quotes`. A row that the window
    cuts is left to a later call with more of the file, unless the file ends there (`is_last`). Of one that is TOO_LONG
    the window may hold no end: then the call ends at the window's.

    Quotes that do not work out cost nothing but themselves: the line is read again without them. `budget[0]` counts
    down the bytes that were read in vain beyond it; when it is used up, quotes hold within a line only. So time is
    linear in the size of the file.
    """
    position, row, size = start, 0, len(window)
    while row < len(kinds) and position < size:
        if window[position] == _NEWLINE:
            position += 1
            continue
        if window[position] == _RETURN and (window[position + 1] == _NEWLINE if position + 1 < size else is_last):
            position += 1
            continue
        kind, number, end = _read_row(
            window, position, is_last, delimiter, has_quotes, limit, budget, num_columns, wanted, spans, row
        )
        if kind == _CUT:
            break
        kinds[row], numbers[row] = kind, number
        row += 1
        position = min(end + 1, size)
    return row, position


@kernel
def take_values(window: U8, spans: I64, k: int, kinds: I64, text: U8, offsets: I64) -> int:
    """Copy value k of every row that is QUOTED or VERBATIM, quotes undone; return the number of values.

    `text` needs as many bytes as the spans hold together: what stands in quotes only becomes shorter. `offsets` needs
    one more than there are rows.
    """
    size, count = 0, 0
    offsets[0] = 0
    for row in range(len(kinds)):
        if kinds[row] != QUOTED and kinds[row] != VERBATIM:
            continue
        at, stop = spans[row, k, 0], spans[row, k, 1]
        is_quoted = kinds[row] == QUOTED and at < stop and window[at] == _QUOTE
        if is_quoted:
            at, stop = at + 1, stop - 1
        while at < stop:
            text[size] = window[at]
            size += 1
            at += 2 if is_quoted and window[at] == _QUOTE else 1
        count += 1
        offsets[count] = size
    return count
