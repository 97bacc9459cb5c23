"""Text files in windows: the lines of a file, or its rows of delimited values, streamed, compressed or not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import pyarrow as pa

from pipelines.sources.rows import I64
from pipelines.sources.source import MALFORMED_RECORD, Fault
from wit.errors import one_line
from wit.storage import open_input

MAX_ROW_BYTES = 16 << 20
"""A longer row is a Fault."""
MAX_SKIPPED_BYTES = 256 << 20
"""Of a line without end, after which the rest of the file is given up: it is a bomb."""
ROWS_AT_ONCE = 16_384
UTF8_MARK = b"\xef\xbb\xbf"

_VAIN_BYTES = 128 << 20  # of quotes that never close: then they hold within a line only
_BLOCK_BYTES = 8 << 20
_PIECE_BYTES = 16 << 10  # at most so much before the break of a broken stream is lost with it


@dataclass(frozen=True)
class Dialect:
    """How the values of delimited text are told apart."""

    delimiter: str
    has_quotes: bool = True
    """Whether a value in quotes may hold line breaks, delimiters, and quotes, doubled."""


@dataclass(frozen=True)
class Lines:
    """Rows found in a window of the file; see delimited_kernels.scan_rows."""

    window: Any
    spans: I64
    kinds: I64
    numbers: I64

    def is_good(self) -> Any:
        """Return which rows have their values."""
        from pipelines.sources.delimited_kernels import VERBATIM

        return self.kinds <= VERBATIM

    def texts(self) -> Iterator[bytes]:
        """Yield the first value of each row."""
        starts, stops = self.spans[:, 0, 0], self.spans[:, 0, 1]  # both 0 in rows without values
        begin = int(starts.min())
        data = self.window[begin : int(stops.max())].tobytes()
        return map(data.__getitem__, map(slice, (starts - begin).tolist(), (stops - begin).tolist()))


class BrokenStream(Exception):
    """The file cannot be read on."""


def faults_of(lines: Lines, first: int, num_columns: int) -> Iterator[Fault]:
    """Yield what is wrong with rows; `first` is the number of the first one in the file."""
    from pipelines.sources.delimited_kernels import TOO_LONG

    for row in np.flatnonzero(~lines.is_good()).tolist():
        found = f"expected {num_columns} values, found {lines.numbers[row]}"
        too_long = f"a row of more than {MAX_ROW_BYTES} bytes"
        yield Fault(MALFORMED_RECORD, too_long if lines.kinds[row] == TOO_LONG else found, first + row)


def scan(
    head: bytes, blocks: Iterator[bytes], dialect: Dialect, num_columns: int, wanted: Sequence[int]
) -> Iterator[Lines]:
    """Yield the rows of a file that begins with `head` and goes on with `blocks`; raises BrokenStream."""
    from pipelines.sources import delimited_kernels as kernels

    window = np.frombuffer(head, np.uint8)
    position, is_last = 0, False
    budget, places = np.array([_VAIN_BYTES]), np.array(wanted, np.int64)
    while True:
        spans = np.zeros((ROWS_AT_ONCE, len(wanted), 2), np.int64)
        kinds, numbers = np.zeros(ROWS_AT_ONCE, np.int64), np.zeros(ROWS_AT_ONCE, np.int64)
        num_rows, position = kernels.scan_rows(
            window, position, is_last, ord(dialect.delimiter), dialect.has_quotes, MAX_ROW_BYTES, budget, num_columns,
            places, spans, kinds, numbers,
        )  # fmt: skip
        if num_rows:
            yield Lines(window, spans[:num_rows], kinds[:num_rows], numbers[:num_rows])
            is_open = kinds[num_rows - 1] == kernels.TOO_LONG and position == len(window) and window[-1] != ord("\n")
            if is_open:
                window, position = np.frombuffer(_after_line(blocks), np.uint8), 0
                continue
        if num_rows == ROWS_AT_ONCE:
            continue
        if is_last:
            return
        block = next(blocks, b"")
        is_last = not block
        window, position = np.frombuffer(window[position:].tobytes() + block, np.uint8), 0


def _after_line(blocks: Iterator[bytes]) -> bytes:
    """Return what follows the end of a line that is too long, up to the end of a block."""
    skipped = 0
    for block in blocks:
        line, newline, rest = block.partition(b"\n")
        skipped += len(line)
        if newline:
            return rest
        if skipped > MAX_SKIPPED_BYTES:
            raise BrokenStream(f"a line of more than {MAX_SKIPPED_BYTES} bytes")
    return b""


@contextmanager
def open_blocks(url: str, compression: str | None) -> Iterator[Iterator[bytes]]:
    """Open a file as blocks of 8 MiB, unpacked (`compression` is Arrow's name); they raise BrokenStream."""
    with open_input(url) as file:
        yield _blocks(pa.CompressedInputStream(file, compression) if compression else file)


def _blocks(file: IO[bytes]) -> Iterator[bytes]:
    """Yield a file in blocks; raises BrokenStream where it cannot be read on, after all that came before."""
    while True:
        pieces: list[bytes] = []
        wrong = ""
        try:
            while len(pieces) * _PIECE_BYTES < _BLOCK_BYTES and (piece := file.read(_PIECE_BYTES)):
                pieces.append(piece)
        except (OSError, pa.ArrowException) as error:
            wrong = one_line(error)
        if pieces:
            yield b"".join(pieces)
        if wrong:
            raise BrokenStream(wrong)
        if not pieces:
            return
