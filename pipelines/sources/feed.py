"""A buffer over the pieces of an archive: look ahead, take, skip, and stop where a stream ends or breaks."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pipelines.sources.members import Edge, Piece

_STEP_BYTES = 1 << 16
_END = Piece(Edge.END, b"", 0)


class Feed:
    """`data[at:]` is what was read and not yet taken of one stream; `edge` is what ends it, once it is all read."""

    def __init__(self, pieces: Iterator[Piece]) -> None:
        self._pieces = pieces
        self._next = next(pieces, _END)
        self._start, self.is_plain = 0, False
        self.data, self.at = b"", 0

    @property
    def edge(self) -> Edge:
        """What comes after all that was read; NONE: there is more of the stream."""
        return self._next.edge

    @property
    def offset(self) -> int:
        """Where the next byte lies in the file; of a compressed one, where its stream begins."""
        return self._start + self.at if self.is_plain else self._start

    def cross(self) -> Piece:
        """Drop what is left of the stream and begin the next one; returns the piece at the edge."""
        piece = self._next
        self.data, self.at, self._start, self.is_plain = piece.data, 0, piece.offset, piece.is_plain
        if piece.edge is not Edge.END:
            self._next = next(self._pieces, _END)
        return piece

    def fill(self, num_bytes: int) -> bool:
        """Have so many bytes from `at` on, if the stream has them; return whether it has."""
        have = len(self.data) - self.at
        if have >= num_bytes or self.edge is not Edge.NONE:
            return have >= num_bytes
        parts = [self.data[self.at :]]
        while have < num_bytes and self.edge is Edge.NONE:
            parts.append(self._next.data)
            have += len(self._next.data)
            self._next = next(self._pieces, _END)
        self._start, self.data, self.at = self.offset, b"".join(parts), 0
        return have >= num_bytes

    def skip(self, num_bytes: int) -> bool:
        """Skip so many bytes without keeping them; return whether the stream has them."""
        while num_bytes and self.fill(1):
            step = min(num_bytes, len(self.data) - self.at)
            self.at += step
            num_bytes -= step
        return not num_bytes

    def skip_blank(self) -> bool:
        """Skip line ends, blanks and nulls; return whether something else follows."""
        if self.at < len(self.data) and self.data[self.at] > 32:
            return True
        while self.fill(1):
            found = _NOT_BLANK.search(self.data, self.at)
            self.at = found.start() if found else len(self.data)
            if found:
                return True
        return False

    def skip_to(self, pattern: re.Pattern[bytes], longest: int) -> bool:
        """Skip to the next match of a pattern, of `longest` bytes at most; return whether there is one."""
        while True:
            found = pattern.search(self.data, self.at)
            if found:
                self.at = found.start()
                return True
            self.at = max(self.at, len(self.data) - longest)
            if not self.fill(len(self.data) - self.at + _STEP_BYTES) and pattern.search(self.data, self.at) is None:
                self.at = len(self.data)
                return False


_NOT_BLANK = re.compile(rb"[^\s\x00]")
