"""bzip2 block by block: any stretch of a file can be read apart from the rest, and a damaged block costs itself only.

A bzip2 stream is a header of 32 bits ("BZh" and the level), blocks one after the other at any bit, and a footer. Block
and footer begin with a magic of 48 bits; a block goes on with its checksum, the footer with the checksum of the blocks'
checksums, and after it the next stream may begin at the next byte. The magics are searched for, so one stream and many
are read alike, without an index. A magic also occurs by chance, once in 2^48 bits (35 TB) of compressed data: blocks
that are cut there fail, and are read again, a block at a time from its start to wherever it ends.

A stretch is bytes [start, end) of the file; a block belongs to the stretch in which its magic begins.
"""

from __future__ import annotations

import bz2
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import indexed_bzip2
import numpy as np
import numpy.typing as npt
from numba import njit

from queries.seams import Event, Gap, Piece

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]

BLOCK_MAGIC = 0x314159265359  # pi
FOOTER_MAGIC = 0x177245385090  # its square root
MAX_BLOCK_BYTES = 5 << 19  # 900,000 symbols of at most 20 bits are 2.25 MB; then tables and selectors
OVERLAP_BYTES = 4 << 20  # read past a stretch when the end of its last block is not found nearer
NEAR_BYTES = 1 << 20  # read past a stretch for the end of its last block and the next magic
GROUP_BLOCKS = 4  # decompressed at a time: 3.6 MB of XML, where setting up (0.1 ms) is nothing beside 60 ms
MAX_GROUP_BYTES = 8 << 20  # a block of 900,000 bytes holds up to 46 MB when bytes repeat; those are read one by one
MAX_WASTE = 8  # bytes of failing blocks that are tried, as a multiple of those there are: 1 in an honest file

_HEADER = b"BZh9"  # the level is the largest block there may be; the stream's own matters to no block
_FED_BYTES = 1 << 12  # shifted at a time where a block is read from its magic to its end
_HEADER_BITS = 8 * len(_HEADER)
_FOOTER_BITS = 80
# What indexed_bzip2 raises on damaged data: C++ exceptions as Cython maps them.
_DECODER_ERRORS = (RuntimeError, ValueError, OSError, IndexError, ArithmeticError, MemoryError, EOFError)

Reader = Callable[[int, int], bytes]
"""Returns bytes [from, to) of a file, fewer only where it ends."""


def read_blocks(read: Reader, start: int, end: int, size: int) -> Iterator[Event]:
    """Yield what the blocks of a stretch hold, in order, and a gap in place of what cannot be read.

    `size` is the file's, 0 when it is not known. Memory: the stretch and OVERLAP_BYTES, and GROUP_BLOCKS decompressed.
    """
    data = read(start, end + NEAR_BYTES)
    stretch = _Stretch(data, start, end, size)
    if not stretch.closed and len(data) == end - start + NEAR_BYTES:
        data += read(end + NEAR_BYTES, end + OVERLAP_BYTES)
        stretch = _Stretch(data, start, end, size)
    yield from stretch.events()


@dataclass(frozen=True)
class _Step:
    """What was read, the next magic's index, and between which bits it should stand; None when that is not known."""

    event: Event
    index: int
    expected: tuple[int, int] | None


class _Stretch:
    """A stretch of a file and what follows it. Places are bits from its start."""

    def __init__(self, data: bytes, start: int, end: int, size: int) -> None:
        self.data, self.start = data, start
        self.own = 8 * (end - start)
        self.bits = 8 * len(data)
        self.places, self.is_block = find_magics(data)
        self.at_eof = 0 < size <= start + len(data)
        self.waste_left = MAX_WASTE * self.bits
        self.careful_until = 0
        """Blocks before this one are read alone: a group that they were in has failed."""

    @property
    def closed(self) -> bool:
        """Whether a block begins after the stretch."""
        return bool(np.any(self.is_block & (self.places >= self.own)))

    def events(self) -> Iterator[Event]:
        index, expected = self._first()
        while index < len(self.places):
            place = int(self.places[index])
            if expected and not _follows(place, *expected):
                yield self._hole(index, expected[0])
            if not self.is_block[index]:
                begin = _after_footer(place)
                index, expected = index + 1, (begin, begin)
                continue
            if place >= self.own:
                return
            step = self._group(index) or self._block(index)
            yield step.event
            index, expected = step.index, step.expected
        if expected and self.bits - expected[0] >= _FOOTER_BITS:  # less is a footer that is cut
            yield self._hole(index, expected[0])

    def _first(self) -> tuple[int, tuple[int, int] | None]:
        """Return the first magic to look at, and where it should stand.

        What comes before the first block of a stretch is looked at with the last block of the one before.
        """
        if self.start == 0:
            return 0, (_HEADER_BITS, _HEADER_BITS)
        blocks = np.flatnonzero(self.is_block)
        return (int(blocks[0]) if len(blocks) else len(self.places)), None

    def _hole(self, index: int, place: int) -> Gap:
        """Return the gap of a magic that does not stand where it should."""
        padding = index > 0 and not self.is_block[index - 1]
        at = self.start + (place - _HEADER_BITS * padding) // 8
        return Gap(at, "corrupt_block", f"no bzip2 block at byte {at:,}, where one should begin", padding)

    def _group(self, first: int) -> _Step | None:
        """Read some blocks at once; None when one of them fails, or where the last of them ends is not known."""
        if first < self.careful_until:
            return None
        last = first + 1
        while (
            last < min(first + GROUP_BLOCKS, len(self.places)) and self.is_block[last] and self.places[last] < self.own
        ):
            last += 1
        xml = decompress(self._stream(first, last)) if last < len(self.places) else None
        if xml is None:
            self.careful_until = last
            return None
        place = int(self.places[last])
        return _Step(Piece(self._offset(first), xml), last, (place, place))

    def _stream(self, first: int, last: int) -> bytes:
        """Return blocks as a stream of their own."""
        place, end = int(self.places[first]), int(self.places[last])
        checksum = 0
        for block in self.places[first:last].tolist():  # the format's rule: rotate by one bit, add the block's
            own = int.from_bytes(shifted(self.data, block + 48, block + 80).tobytes())
            checksum = ((checksum << 1) | (checksum >> 31)) & 0xFFFFFFFF ^ own
        whole = (end - place) // 8 * 8
        rest = (end - place) - whole
        odd = int(shifted(self.data, place + whole, end)[0]) >> (8 - rest) if rest else 0
        footer = ((odd << 48 | FOOTER_MAGIC) << 32 | checksum) << (-rest % 8)
        return _HEADER + shifted(self.data, place, place + whole).tobytes() + footer.to_bytes((rest + 87) // 8)

    def _block(self, index: int) -> _Step:
        """Read one block from its magic to wherever it ends."""
        place = int(self.places[index])
        xml, fed = self._decoded(place)
        if xml is not None:
            end = (place + 8 * fed - 7, place + 8 * fed)
            return _Step(Piece(self._offset(index), xml), int(np.searchsorted(self.places, end[0])), end)
        self.waste_left -= 8 * fed
        at = self._offset(index)
        if self.at_eof and index + 1 == len(self.places):
            return _Step(Gap(at, "cut_short", f"the file ends inside the bzip2 block at byte {at:,}"), index + 1, None)
        gap = Gap(at, "corrupt_block", f"bzip2 block at byte {at:,}")
        return _Step(gap, index + 1 if self.waste_left > 0 else self._beyond(), None)

    def _beyond(self) -> int:
        """Return the first magic after this stretch."""
        return int(np.searchsorted(self.places, self.own))

    def _decoded(self, place: int) -> tuple[bytes | None, int]:
        """Return a block's content, None when it is damaged, and of how many bytes from its magic on.

        Fed byte by byte, the decompressor gives the block as soon as it is whole, whatever comes after it; the call
        that gives its last bytes checks its sum.
        """
        decompressor = bz2.BZ2Decompressor()
        decompressor.decompress(_HEADER)
        limit = min(place + 8 * MAX_BLOCK_BYTES, self.bits)
        fed = 0
        try:
            for begin in range(place, limit, 8 * _FED_BYTES):
                stream = memoryview(shifted(self.data, begin, min(begin + 8 * _FED_BYTES, limit)).tobytes())
                for at in range(len(stream)):
                    fed += 1
                    if xml := decompressor.decompress(stream[at : at + 1]):
                        return xml + b"".join(iter(lambda: decompressor.decompress(b""), b"")), fed
        except OSError:
            pass
        return None, fed

    def _offset(self, index: int) -> int:
        return self.start + int(self.places[index]) // 8


def _after_footer(place: int) -> int:
    """Return where the first magic of the next stream stands, after a footer at `place`."""
    return (place + _FOOTER_BITS + 7) // 8 * 8 + _HEADER_BITS


def _follows(place: int, first: int, last: int) -> bool:
    """Return whether nothing is missing before a magic that should stand between two bits.

    A footer that is damaged, and so not found, may come before it: a footer holds nothing.
    """
    return first <= place <= last or _after_footer(first) <= place <= _after_footer(last)


def decompress(stream: bytes) -> bytes | None:
    """Return what a small bzip2 stream holds; None when it is damaged, or holds more than MAX_GROUP_BYTES."""
    source = io.BytesIO(stream)
    try:
        with indexed_bzip2.open(source, parallelization=1) as file:
            xml: bytes = file.read(MAX_GROUP_BYTES + 1)
    except _DECODER_ERRORS:
        return None
    finally:
        source.close()  # indexed_bzip2 1.7 never lets go of it: unclosed, the stream would stay in memory
    return xml if len(xml) <= MAX_GROUP_BYTES else None


def shifted(data: bytes, begin: int, end: int) -> U8:
    """Return bits [begin, end) as bytes, zeros after the last."""
    shift = begin % 8
    source = np.frombuffer(data, np.uint8)[begin // 8 : (end + 7) // 8]
    num_bytes = (end - begin + 7) // 8
    if shift:
        result = source[:num_bytes] << np.uint8(shift)
        result[: len(source) - 1] |= source[1:] >> np.uint8(8 - shift)
    else:
        result = source[:num_bytes].copy()
    if (end - begin) % 8:
        result[-1] &= 0xFF << (-(end - begin) % 8) & 0xFF
    return result


def find_magics(data: bytes) -> tuple[I64, npt.NDArray[np.bool_]]:
    """Return the places (bits, ascending) of all magics, and for each whether it is a block's, not a footer's."""
    source = np.frombuffer(data, np.uint8)
    places = np.empty(len(source) // 5 + 1, np.int64)  # magics that overlap by more than a byte differ in it
    is_block = np.empty(len(places), np.bool_)
    num_found = _find(source, _pairs(), places, is_block)
    return places[:num_found].copy(), is_block[:num_found].copy()


@cache
def _pairs() -> npt.NDArray[np.bool_]:
    """Return which pairs of bytes may stand among the whole bytes of a magic, by its value."""
    pairs = np.zeros(1 << 16, np.bool_)
    for magic in (BLOCK_MAGIC, FOOTER_MAGIC):
        for skipped in range(8):  # bits of the magic before its first whole byte
            for byte in range(4):
                pairs[magic >> (48 - 16 - skipped - 8 * byte) & 0xFFFF] = True
    return pairs


@njit(cache=True, nogil=True)
def _find(source, pairs, places, is_block):  # type: ignore[no-untyped-def]
    """Write the places of magics; return how many there are.

    A magic at any bit has at least five whole bytes, and so holds two that begin at a multiple of four.
    """
    num_found = 0
    num_bytes = len(source)
    earliest = 0
    for at in range(0, num_bytes - 1, 4):
        if not pairs[(np.int64(source[at]) << 8) | source[at + 1]]:
            continue
        for place in range(max(earliest, 8 * at - 31), 8 * at + 1):
            first = place >> 3
            if first + 6 + ((place & 7) > 0) > num_bytes or num_found == len(places):
                break
            bits = np.int64(0)
            for step in range(6):
                bits = (bits << 8) | source[first + step]
            if place & 7:
                bits = (bits << (place & 7)) | (source[first + 6] >> (8 - (place & 7)))
            bits &= 0xFFFFFFFFFFFF
            if bits in (BLOCK_MAGIC, FOOTER_MAGIC):
                places[num_found] = place
                is_block[num_found] = bits == BLOCK_MAGIC
                num_found += 1
                earliest = place + 1
    return num_found
