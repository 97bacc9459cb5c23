"""Plain JPEGs to planes of luma and chroma, decoded at the size that is needed, and back.

Plain is what nearly every file of the web is: 8-bit grey or YCbCr, Huffman-coded, every segment and every bit as ITU-T
T.81 has it, to the end; a progressive file brings all its scans. Such a file every decoder reads alike, so it is
decoded here, at a side of 1 to 8 pixels a block, chroma apart from luma; None stands for all others, whole or broken:
those are Pillow's to judge (wit.image).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import numpy.typing as npt
import simplejpeg

from wit import jpeg_kernels as kernels
from wit import jpeg_progressive_kernels as passes
from wit.jpeg_progressive import Grid, read_coefficients
from wit.jpeg_tables import NATURAL, lookups, tables_in

U8 = npt.NDArray[np.uint8]
MAX_SIDE_PX = 65_500
"""The most that libjpeg reads and writes, though there is room for 65,535 in a frame."""
_EOI, _SOS, _DQT, _DHT, _DRI = 0xD9, 0xDA, 0xDB, 0xC4, 0xDD
_APP0, _APP2, _APP14, _APP15 = 0xE0, 0xE2, 0xEE, 0xEF
_OTHERS = {_SOS, _DQT, _DHT, _DRI, 0xFE}  # 0xFE: a comment
_ICC_MARK = b"ICC_PROFILE\0"
_MAX_SEGMENTS = 1000  # a large profile takes 50, extended XMP of a depth map some hundreds
_SAMPLINGS = ([(1, 1)] * 3, [(2, 1), (1, 1), (1, 1)], [(1, 2), (1, 1), (1, 1)], [(2, 2), (1, 1), (1, 1)])


@dataclass(frozen=True)
class Component:
    """A component of a frame: its id, samples a MCU each way in blocks, and the numbers of its tables."""

    id: int
    across: int
    down: int
    quantiser: int
    dc: int = 0
    ac: int = 0


@dataclass(frozen=True)
class PlainJpeg:
    """The header of a plain JPEG: width and height in pixels as the file lies, and what decodes it."""

    width: int
    height: int
    components: tuple[Component, ...]
    quantisers: dict[int, bytes]
    """By number: 64 bytes in zigzag order."""
    huffman: dict[int, bytes]
    """By class << 4 | number: counts and symbols as DHT has them, those before the first scan."""
    restart_interval: int
    """In MCUs; 0: none."""
    scan_at: int
    """Where the first scan's data begin."""
    profile: bytes
    """ICC; empty: none."""
    segments: tuple[tuple[int, int, int], ...]
    """(marker, start, end) of every segment before the first scan's data."""
    is_progressive: bool

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, in pixels."""
        return self.width, self.height

    @property
    def samples(self) -> tuple[int, int]:
        """Blocks of luma in an MCU, across and down."""
        return max(c.across for c in self.components), max(c.down for c in self.components)

    def samples_of(self, component: Component) -> tuple[float, float]:
        """Return the samples of a component that the image is wide and high; not whole where the last one is cut."""
        across, down = self.samples
        return self.width * component.across / across, self.height * component.down / down


@dataclass(frozen=True)
class Decoded:
    """The planes that were asked for, by component (empty: not wanted), and where the scan's data ends in the body.

    A plane reaches beyond the image: to whole MCUs, a few bytes a line more, and one line more.
    """

    planes: tuple[U8, ...]
    scan_end: int


def _segments(body: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield (marker, start, end) of the segments up to SOS, one right behind the other; stops where that is not so."""
    at = 2
    for _ in range(_MAX_SEGMENTS):
        marker, end = body[at + 1 : at + 2], at + 2 + int.from_bytes(body[at + 2 : at + 4], "big")
        if body[at : at + 1] != b"\xff" or not b"\xc0" <= marker <= b"\xfe" or not at + 4 <= end <= len(body):
            return
        yield marker[0], at, end
        if marker[0] == _SOS:
            return
        at = end


def read_header(body: bytes) -> PlainJpeg | None:
    """Return the header of a JPEG that is plain as far as its header goes, else None."""
    segments = tuple(_segments(body)) if body[:2] == b"\xff\xd8" else ()
    if not segments or segments[-1][0] != _SOS:
        return None
    contents: dict[int, list[bytes]] = {}
    for marker, start, end in segments:
        contents.setdefault(marker, []).append(body[start + 4 : end])
    progressive = contents.pop(0xC2, [])
    frames = contents.pop(0xC0, []) + contents.pop(0xC1, []) + progressive  # 0xC1: extended, the same as baseline
    profiles = [content for content in contents.get(_APP2, ()) if content.startswith(_ICC_MARK)]
    restarts = contents.get(_DRI, [b"\0\0"])
    is_odd = any(not (_APP0 <= marker <= _APP15 or marker in _OTHERS) for marker in contents)
    if is_odd or len(frames) != 1 or len(profiles) > 1 or len(restarts) > 1 or len(restarts[0]) != 2:
        return None
    if profiles and profiles[0][12:14] != b"\1\1":  # the first of one
        return None
    quantisers, huffman = _tables(contents.get(_DQT, []), 64), _tables(contents.get(_DHT, []), None)
    components = _components(frames[0], None if progressive else contents[_SOS][0], contents)
    if quantisers is None or huffman is None or components is None:
        return None
    if any(one.quantiser not in quantisers for one in components):
        return None
    if not progressive and any(one.dc not in huffman or 0x10 | one.ac not in huffman for one in components):
        return None
    return PlainJpeg(
        width=int.from_bytes(frames[0][3:5], "big"), height=int.from_bytes(frames[0][1:3], "big"),
        components=components, quantisers=quantisers, huffman=huffman,
        restart_interval=int.from_bytes(restarts[0], "big"), scan_at=segments[-1][2],
        profile=profiles[0][14:] if profiles else b"", segments=segments, is_progressive=bool(progressive),
    )  # fmt: skip


def _is_ycbcr(ids: list[int], contents: dict[int, list[bytes]]) -> bool:
    """Return whether every sign says that three components are YCbCr: the markers of applications, and the names."""
    adobe = contents.get(_APP14, [])
    if any(len(found) < 12 or found[:5] != b"Adobe" or found[11] != 1 for found in adobe):
        return False
    is_jfif = any(found[:5] == b"JFIF\0" and len(found) >= 14 for found in contents.get(_APP0, ()))
    return is_jfif or bool(adobe) or ids == [1, 2, 3]


def _tables(contents: list[bytes], length: int | None) -> dict[int, bytes] | None:
    """Return the tables of DQT (`length` bytes each) or DHT segments by number; None: not plain, or one comes again."""
    found = [tables_in(content, length) for content in contents]
    if None in found:
        return None
    pairs = [pair for tables in found if tables for pair in tables]
    return dict(pairs) if len(dict(pairs)) == len(pairs) else None


def _components(frame: bytes, scan: bytes | None, contents: dict[int, list[bytes]]) -> tuple[Component, ...] | None:
    """Return the components of a frame with the tables that the scan, if it is the one, names; None: not plain."""
    num = frame[5] if len(frame) > 5 else 0
    sides = [int.from_bytes(frame[at : at + 2], "big") for at in (1, 3)]
    if num not in (1, 3) or len(frame) != 6 + 3 * num or frame[0] != 8:
        return None
    if not 1 <= min(sides) <= max(sides) <= MAX_SIDE_PX:
        return None
    if scan is not None and (len(scan) != 4 + 2 * num or scan[0] != num or scan[-3:] != b"\0\x3f\0"):
        return None
    found = []
    for i in range(num):
        name, sampling, quantiser = frame[6 + 3 * i : 9 + 3 * i]
        if scan is not None and scan[1 + 2 * i] != name:
            return None
        tables = scan[2 + 2 * i] if scan is not None else 0
        across, down = sampling >> 4, sampling & 15
        if not 1 <= across <= 4 or not 1 <= down <= 4:
            return None
        across, down = (across, down) if num > 1 else (1, 1)  # alone, it is in single blocks
        found.append(Component(name, across, down, quantiser, tables >> 4, tables & 15))
    if num == 3 and [(one.across, one.down) for one in found] not in _SAMPLINGS:
        return None
    ids = [one.id for one in found]
    if num == 3 and (len(set(ids)) < 3 or not _is_ycbcr(ids, contents)):
        return None
    return tuple(found)


def _matrices() -> npt.NDArray[np.float32]:
    """Return for each side n, 1 to 8, the inverse DCT of n frequencies to n samples, [frequency, sample] by rows of 8.

    That of T.81 A.3.3 for n = 8; for others the n lowest frequencies at the same levels, which is the block at a
    smaller size without what that size cannot show.
    """
    matrices = np.zeros((9, 8, 8), np.float32)
    for n in range(1, 9):
        for k in range(n):
            for i in range(n):
                matrices[n, k, i] = math.cos((2 * i + 1) * k * math.pi / (2 * n)) / (2 if k else math.sqrt(8))
    return matrices.reshape(9, 64)


_MATRICES = _matrices()


@dataclass(frozen=True)
class _Planes:
    """The planes that are to be filled."""

    sides: tuple[int, ...]
    """Pixels a block, by component."""
    mcus: tuple[int, int]
    """MCUs of the image, across and down."""
    shapes: list[tuple[int, int]]
    """(rows, stride) of each plane."""
    pixels: U8
    """Of all planes, one behind the other."""


def decode(body: bytes, header: PlainJpeg, sides: tuple[int, ...]) -> Decoded | None:
    """Return the planes of a plain JPEG at `sides` pixels a block (0 to 8; 0: not wanted), by component.

    None where the body is not plain to its end: a code that there is not, bits left over, a marker elsewhere.
    """
    across, down = header.samples
    mcus = -(-header.width // (8 * across)), -(-header.height // (8 * down))
    shapes = _shapes(header, sides, *mcus)
    sizes = [rows * stride for rows, stride in shapes]
    pixels = np.empty(sum(sizes), np.uint8)
    fill = _fill_progressive if header.is_progressive else _fill_baseline
    scan_end = fill(body, header, _Planes(sides, mcus, shapes, pixels))
    if scan_end is None:
        return None
    places = zip(accumulate(sizes), sizes, shapes, strict=True)
    return Decoded(tuple(pixels[end - size : end].reshape(shape) for end, size, shape in places), scan_end)


def _fill_baseline(body: bytes, header: PlainJpeg, planes: _Planes) -> int | None:
    """Decode a file of one scan into `planes`; return where the scan ends, None: not plain."""
    numbers = sorted({number for c in header.components for number in (c.dc, 0x10 | c.ac)})
    tables = lookups(tuple((number < 0x10, header.huffman[number]) for number in numbers))
    if tables is None:
        return None
    across, down = planes.mcus
    interval = header.restart_interval or across * down
    starts = np.empty(-(-across * down // interval) + 1, np.int64)
    data = np.empty(len(body) - header.scan_at + kernels.SLACK, np.uint8)
    scan_end = kernels.unstuff(np.frombuffer(body, np.uint8), header.scan_at, data, starts)
    if scan_end < 0 or body[scan_end + 1] != _EOI:
        return None
    factors = np.zeros((len(header.components), kernels.NUM_PLACES), np.float32)
    for i, component in enumerate(header.components):
        factors[i, :64] = np.frombuffer(header.quantisers[component.quantiser], np.uint8)
    blocks = _blocks(header, planes.sides, numbers, planes.shapes)
    is_whole = kernels.decode_scan(
        data, starts, across * down, across, interval, blocks, *tables, factors, NATURAL, _MATRICES,
        np.empty(65, np.float32), np.empty(len(planes.sides), np.int64), planes.pixels,
    )  # fmt: skip
    return scan_end if is_whole else None


def _fill_progressive(body: bytes, header: PlainJpeg, planes: _Planes) -> int | None:
    """Decode a progressive file into `planes`; return where its last scan ends, None: not plain."""
    grids = _grids(header, planes.mcus)
    _, start, end = header.segments[-1]
    ids = [one.id for one in header.components]
    found = read_coefficients(
        body, body[start + 4 : end], end, ids, grids, planes.mcus, header.restart_interval, header.huffman
    )
    if found is None:
        return None
    coefficients, seen, scan_end = found
    begin = 0
    for one, grid, side, (rows, stride) in zip(header.components, grids, planes.sides, planes.shapes, strict=True):
        factors = np.zeros(64, np.float32)
        factors[NATURAL[:64]] = np.frombuffer(header.quantisers[one.quantiser], np.uint8)
        if side:
            passes.write_plane(
                coefficients, seen, grid.first, grid.wide, grid.high, factors, side, _MATRICES,
                np.empty(65, np.float32), planes.pixels, begin, stride,
            )  # fmt: skip
        begin += rows * stride
    return scan_end


def _grids(header: PlainJpeg, mcus: tuple[int, int]) -> list[Grid]:
    """Return the blocks of each component, one component behind the other."""
    grids: list[Grid] = []
    for one in header.components:
        width, height = (-(-math.ceil(samples) // 8) for samples in header.samples_of(one))
        first = grids[-1].end if grids else 0
        grids.append(Grid(mcus[0] * one.across, mcus[1] * one.down, (width, height), (one.across, one.down), first))
    return grids


def _shapes(header: PlainJpeg, sides: tuple[int, ...], mcus_wide: int, mcus_high: int) -> list[tuple[int, int]]:
    """Return the planes' (rows, stride), one behind the other; a block's lines are written 8 bytes long."""
    return [
        (mcus_high * one.down * side + 1 if side else 0, mcus_wide * one.across * side + 8)
        for one, side in zip(header.components, sides, strict=True)
    ]


def _blocks(
    header: PlainJpeg, sides: tuple[int, ...], tables: list[int], shapes: list[tuple[int, int]]
) -> npt.NDArray[np.int64]:
    """Return what the kernel asks of each block of an MCU."""
    blocks, begin = [], 0
    for i, (one, side, (rows, stride)) in enumerate(zip(header.components, sides, shapes, strict=True)):
        for y in range(one.down):
            for x in range(one.across):
                place = begin + (y * stride + x) * side
                steps = (one.across * side, one.down * side * stride)
                blocks.append((i, tables.index(one.dc), tables.index(0x10 | one.ac), side, stride, place, *steps))
        begin += rows * stride
    return np.array(blocks, np.int64)


def encode(planes: tuple[U8, ...], quality: int) -> bytes:
    """Return luma, or luma and both chroma planes of half its sides (rounded up), as a baseline JPEG (JFIF)."""
    luma, blue, red = (_evened(planes[0]), *planes[1:]) if len(planes) == 3 else (planes[0], None, None)
    encoded: bytes = simplejpeg.encode_jpeg_yuv_planes(luma, blue, red, quality=quality)
    return encoded


def _evened(plane: U8) -> U8:
    """Return a view of a plane whose last column and row stand once more behind it where their number is odd.

    libjpeg-turbo reads luma to even sides (tj3YUVPlaneWidth): without them, whatever lies behind it in memory.
    """
    height, width = plane.shape
    if not (height % 2 or width % 2):
        return plane
    even = np.empty((height + height % 2, width + width % 2), np.uint8)
    even[:height, :width] = plane
    even[:height, width:] = plane[:, -1:]
    even[height:] = even[height - 1]
    return even[:height, :width]
