"""Plain JPEGs to planes of luma and chroma, decoded at the size that is needed, and back.

Plain is what nearly every file of the web is: 8-bit grey or YCbCr, Huffman-coded, every segment and every bit as ITU-T
T.81 has it, to the end; a progressive file brings all its scans. Such a file every decoder reads alike, so it is
decoded here, at a side of 1 to 8 pixels a block, chroma apart from luma; None stands for all others, whole or broken:
those are Pillow's to judge (wit.image).
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate

import numpy as np
import numpy.typing as npt
import simplejpeg

from wit import jpeg_baseline_kernels as baseline
from wit import jpeg_header_kernels as headers
from wit import jpeg_kernels as kernels
from wit import jpeg_progressive_kernels as passes
from wit.jpeg_progressive import Grid, read_coefficients
from wit.jpeg_tables import NATURAL

U8 = npt.NDArray[np.uint8]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
MAX_SIDE_PX = headers.MAX_SIDE_PX


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
    facts: I64 = field(compare=False, repr=False)
    """The same as wit.jpeg_header_kernels has it."""

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
    pixels: U8
    """Of all planes, one behind the other."""


def _segments(body: bytes, stop: int) -> Iterator[tuple[int, int, int]]:
    """Yield (marker, start, end) of the segments before body[stop], which follow one another."""
    at = 2
    while at < stop:
        end = at + 2 + int.from_bytes(body[at + 2 : at + 4], "big")
        yield body[at + 1], at, end
        at = end


def read_header(body: bytes) -> PlainJpeg | None:
    """Return the header of a JPEG that is plain as far as its header goes, else None."""
    facts = np.empty(headers.NUM_FACTS, np.int64)
    if not headers.read_facts(np.frombuffer(body, np.uint8), facts):
        return None
    known: list[int] = facts.tolist()
    quantisers = enumerate(known[headers.QUANTISERS : headers.HUFFMAN])
    huffman = enumerate(known[headers.HUFFMAN : headers.HUFFMAN + 8])
    components = range(headers.COMPONENTS, headers.QUANTISERS, headers.COMPONENT_FACTS)[: known[headers.NUM_COMPONENTS]]
    return PlainJpeg(
        width=known[headers.WIDTH], height=known[headers.HEIGHT],
        components=tuple(Component(*known[at : at + headers.COMPONENT_FACTS]) for at in components),
        quantisers={number: body[at : at + 64] for number, at in quantisers if at},
        huffman={(i >> 2) << 4 | i & 3: body[at : at + 16 + sum(body[at : at + 16])] for i, at in huffman if at},
        restart_interval=known[headers.RESTART_INTERVAL], scan_at=known[headers.SCAN_AT],
        profile=body[known[headers.PROFILE_AT] : known[headers.PROFILE_END]],
        segments=tuple(_segments(body, known[headers.SCAN_AT])), is_progressive=bool(known[headers.IS_PROGRESSIVE]),
        facts=facts,
    )  # fmt: skip


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


MATRICES = _matrices()


class Tables(threading.local):
    """The Huffman tables of the files that a thread decoded last: most of the web's files have one of a few sets."""

    def __init__(self) -> None:
        self.bytes: U8 = np.full((8, baseline.TABLE_BYTES), 0xFF, np.uint8)
        self.lookups: I64 = np.empty((8, 1 << kernels.LOOKUP_BITS), np.int64)
        self.codes: I32 = np.empty((8, kernels.CODES_LENGTH), np.int32)

    @property
    def arrays(self) -> tuple[U8, I64, I32]:
        """As wit.jpeg_baseline_kernels has them."""
        return self.bytes, self.lookups, self.codes


TABLES = Tables()


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
    shapes = [baseline.plane_shape(header.facts, i, side) for i, side in enumerate(sides)]
    sizes = [rows * stride for rows, stride in shapes]
    pixels = np.empty(sum(sizes), np.uint8)
    fill = _fill_progressive if header.is_progressive else _fill_baseline
    scan_end = fill(body, header, _Planes(sides, mcus, shapes, pixels))
    if scan_end is None:
        return None
    places = zip(accumulate(sizes), sizes, shapes, strict=True)
    planes = tuple(pixels[end - size : end].reshape(shape) for end, size, shape in places)
    return Decoded(planes, scan_end, pixels)


def _fill_baseline(body: bytes, header: PlainJpeg, planes: _Planes) -> int | None:
    """Decode a file of one scan into `planes`; return where the scan ends, None: not plain."""
    scan_end = baseline.decode_baseline(
        np.frombuffer(body, np.uint8), header.facts, np.array(planes.sides, np.int64), TABLES.arrays,
        (NATURAL, MATRICES), np.empty(len(body) - header.scan_at + kernels.SLACK, np.uint8),
        np.empty(baseline.count_intervals(header.facts) + 1, np.int64), np.empty(baseline.NUM_INTS, np.int64),
        np.empty(baseline.NUM_FLOATS, np.float32), planes.pixels,
    )  # fmt: skip
    return scan_end if scan_end >= 0 else None


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
                coefficients, seen, grid.first, grid.wide, grid.high, factors, side, MATRICES,
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
