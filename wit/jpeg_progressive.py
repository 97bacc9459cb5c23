"""Plain progressive JPEGs: their scans to coefficients, and those to planes (ITU-T T.81, annex G).

Plain is a file whose scans bring every bit of every coefficient, each once and in order, and whose every bit is as it
should be. Where a scan is missing decoders guess at what is smooth: such files are Pillow's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wit import jpeg_kernels as kernels
from wit import jpeg_progressive_kernels as passes
from wit.jpeg_tables import NATURAL, symbols, tables_in

U8 = npt.NDArray[np.uint8]
U64 = npt.NDArray[np.uint64]
I16 = npt.NDArray[np.int16]
MAX_SCANS = 100  # an encoder writes about 10
_MAX_LOW = 5  # bits to the left: 10 bits of a coefficient moved by more would not go into 16
_EOI, _SOS, _DHT, _DRI = b"\xff\xd9", b"\xff\xda", b"\xff\xc4", b"\xff\xdd"


@dataclass(frozen=True)
class Grid:
    """The blocks of a component: their number each way, padded to whole MCUs and not, samples a MCU, the first one."""

    wide: int
    high: int
    used: tuple[int, int]
    samples: tuple[int, int]
    first: int

    @property
    def end(self) -> int:
        """The number behind the last block."""
        return self.first + self.wide * self.high


@dataclass(frozen=True)
class _Scan:
    """A scan's header: components and their tables, first and last place, whether it refines, bits to the left."""

    components: tuple[int, ...]
    tables: tuple[int, ...]
    begin: int
    end: int
    high: int
    low: int

    @property
    def kind(self) -> int:
        """How the kernel reads it."""
        if self.begin == 0:
            return passes.DC_REFINED if self.high else passes.DC_FIRST
        return passes.AC_REFINED if self.high else passes.AC_FIRST


def _scan(content: bytes, ids: list[int]) -> _Scan | None:
    """Return the header of a scan of one component, or of the DC of all in their order; None: not plain."""
    num = content[0] if content else 0
    if len(content) != 4 + 2 * num or num not in (1, len(ids)):
        return None
    names = list(content[1 : 1 + 2 * num : 2])
    if names != ids and (num != 1 or names[0] not in ids):
        return None
    begin, end, approximation = content[-3:]
    components = tuple(ids.index(name) for name in names)
    numbers = (byte >> 4 if begin == 0 else 0x10 | (byte & 15) for byte in content[2 : 2 + 2 * num : 2])
    is_band = end == 0 if begin == 0 else begin <= end <= 63 and num == 1
    if not is_band or approximation & 15 > _MAX_LOW:
        return None
    return _Scan(components, tuple(numbers), begin, end, approximation >> 4, approximation & 15)


def _is_next(scan: _Scan, lows: npt.NDArray[np.int64]) -> bool:
    """Return whether a scan brings what comes next, and note it: lows (components, 64), bits missing yet; -1: all."""
    for component in scan.components:
        if scan.begin and lows[component, 0] < 0:
            return False  # DC comes first
        band = lows[component, scan.begin : scan.end + 1]
        missing = scan.high if scan.high else -1
        if (band != missing).any() or (scan.high and scan.low != scan.high - 1):
            return False
        band[:] = scan.low
    return True


@dataclass
class _Reader:
    """What is known while the scans of a file are read."""

    body: bytes
    ids: list[int]
    grids: list[Grid]
    mcus: tuple[int, int]
    restart_interval: int
    huffman: dict[int, bytes]
    coefficients: I16
    seen: U64

    def read_scan(self, scan: _Scan, at: int, data: U8) -> int:
        """Add a scan whose data begin at body[at]; return where they end, or -1: not plain."""
        is_refined_dc = scan.kind == passes.DC_REFINED  # needs no table
        chosen = [b"\0" * 16 if is_refined_dc else self.huffman.get(number, b"\xff" * 16) for number in scan.tables]
        tables = [symbols(table) for table in chosen]
        blocks = self._blocks(scan)
        across, down = self.mcus if len(scan.components) > 1 else self.grids[scan.components[0]].used
        interval = self.restart_interval or across * down
        starts = np.empty(-(-across * down // interval) + 1, np.int64)
        end = kernels.unstuff(np.frombuffer(self.body, np.uint8), at, data, starts)
        if end < 0 or None in tables:
            return -1
        lookups = np.stack([table[0] for table in tables if table])
        codes = np.stack([table[1] for table in tables if table])
        is_whole = passes.decode_pass(
            scan.kind, data, starts, across, down, interval, scan.begin, scan.end, scan.low, blocks, lookups, codes,
            NATURAL, self.coefficients, self.seen, np.empty((len(scan.components), 1), np.int64),
        )  # fmt: skip
        return end if is_whole else -1

    def read_settings(self, at: int) -> int:
        """Take in the DHT or DRI segment at body[at], for the next scans; return where it ends, or -1: not plain."""
        end = at + 2 + int.from_bytes(self.body[at + 2 : at + 4], "big")
        content = self.body[at + 4 : end]
        if end > len(self.body):
            return -1
        if self.body[at : at + 2] == _DRI:
            self.restart_interval = int.from_bytes(content, "big")
            return end if len(content) == 2 else -1
        tables = tables_in(content)
        self.huffman.update(tables or ())
        return end if tables else -1

    def _blocks(self, scan: _Scan) -> npt.NDArray[np.int64]:
        """Return what the kernel asks of each block of a unit of a scan."""
        if len(scan.components) == 1:
            grid = self.grids[scan.components[0]]
            return np.array([(0, 0, grid.first, 1, grid.wide)], np.int64)
        rows = []
        for i, component in enumerate(scan.components):
            grid = self.grids[component]
            across, down = grid.samples
            for y in range(down):
                rows += [(i, i, grid.first + y * grid.wide + x, across, down * grid.wide) for x in range(across)]
        return np.array(rows, np.int64)


def read_coefficients(
    body: bytes, first_scan: bytes, at: int, ids: list[int], grids: list[Grid], mcus: tuple[int, int],
    restart_interval: int, huffman: dict[int, bytes],
) -> tuple[I16, U64, int] | None:  # fmt: skip
    """Return the coefficients (blocks, 64) in natural order, which are not 0 (blocks, 1), and where the last scan ends.

    `first_scan` is the content of the first SOS segment, whose data begin at body[at]. None: not plain.
    """
    coefficients = np.zeros((grids[-1].end, 64), np.int16)
    seen = np.zeros((len(coefficients), 1), np.uint64)
    reader = _Reader(body, ids, grids, mcus, restart_interval, dict(huffman), coefficients, seen)
    data = np.empty(len(body) - at + kernels.SLACK, np.uint8)
    lows = np.full((len(ids), 64), -1, np.int64)
    content = first_scan
    for _ in range(MAX_SCANS):
        scan = _scan(content, ids)
        if scan is None or not _is_next(scan, lows):
            return None
        at = reader.read_scan(scan, at, data)
        while at >= 0 and body[at : at + 2] in (_DHT, _DRI):
            at = reader.read_settings(at)
        if at >= 0 and body[at : at + 2] == _EOI:
            return (coefficients, seen, at) if (lows == 0).all() else None
        if at < 0 or body[at : at + 2] != _SOS:
            return None
        end = at + 2 + int.from_bytes(body[at + 2 : at + 4], "big")
        content, at = body[at + 4 : end], end
    return None
