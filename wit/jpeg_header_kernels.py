"""Compiled reading of a JPEG's header: the one place that says which headers are plain (ITU-T T.81, annex B).

Every place is compared with the end of its segment, and that with the end of the file, before it is read.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from wit.compiled import inlined, kernel

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]

MAX_SIDE_PX = 65_500
"""The most that libjpeg reads and writes, though there is room for 65,535 in a frame."""
_MAX_SEGMENTS = 1000  # a large profile takes 50, extended XMP of a depth map some hundreds
_MAX_SYMBOLS = 256  # of a Huffman table: as many as a byte has values

# What a row of facts holds, and where: places are bytes of the file, 0 where there is none.
WIDTH, HEIGHT, NUM_COMPONENTS, IS_PROGRESSIVE = 0, 1, 2, 3
RESTART_INTERVAL = 4
"""In MCUs; 0: none."""
SCAN_AT = 5
"""Where the first scan's data begin."""
PROFILE_AT, PROFILE_END = 6, 7
"""Of an ICC profile."""
COMPONENTS, COMPONENT_FACTS = 8, 6
"""Of each of three components: id, samples a MCU across and down, the numbers of its quantiser, DC and AC table."""
ACROSS, DOWN, QUANTISER, DC, AC = 1, 2, 3, 4, 5
QUANTISERS = COMPONENTS + 3 * COMPONENT_FACTS
"""Of each of four, the place of 64 bytes in zigzag order."""
HUFFMAN = QUANTISERS + 4
"""Of each of four DC and then four AC tables, the place of its counts and symbols, as DHT has them."""
_FRAME_AT, _FRAME_END, _HAS_RESTARTS, _IS_JFIF, _IS_ADOBE, _IS_OTHER = (HUFFMAN + 8 + i for i in range(6))
NUM_FACTS = _IS_OTHER + 1

_SOF0, _SOF1, _SOF2 = 0xC0, 0xC1, 0xC2
_SOS, _DQT, _DHT, _DRI, _COMMENT = 0xDA, 0xDB, 0xC4, 0xDD, 0xFE
_APP0, _APP2, _APP14, _APP15 = 0xE0, 0xE2, 0xEE, 0xEF
_JFIF, _ICC, _ADOBE = ((*name,) for name in (b"JFIF\0", b"ICC_PROFILE\0\1\1", b"Adobe"))


@inlined
def _begins(body: U8, start: int, end: int, mark: Any) -> bool:
    is_there = end - start >= len(mark)
    for i in range(len(mark)):
        is_there = is_there and body[start + i] == mark[i]
    return is_there


@inlined
def _pair(body: U8, at: int) -> Any:
    return np.int64(body[at]) << 8 | np.int64(body[at + 1])


@kernel
def _take_quantisers(body: U8, start: int, end: int, facts: I64) -> bool:
    """Note the tables of a DQT segment; False: not plain, cut off, or one comes again."""
    while start < end:
        number = np.int64(body[start])
        if number > 3 or start + 65 > end or facts[QUANTISERS + number]:
            return False
        facts[QUANTISERS + number] = start + 1
        start += 65
    return True


@kernel
def _take_huffman(body: U8, start: int, end: int, facts: I64) -> bool:
    """Note the tables of a DHT segment; False: not plain, cut off, or one comes again."""
    while start < end:
        number = np.int64(body[start])
        if number & 0xEC or start + 17 > end:
            return False
        slot = HUFFMAN + ((number >> 4) << 2) + (number & 3)
        num_symbols: Any = 0
        for i in range(16):
            num_symbols += np.int64(body[start + 1 + i])
        if facts[slot] or num_symbols > _MAX_SYMBOLS or start + 17 + num_symbols > end:
            return False
        facts[slot] = start + 1
        start += 17 + num_symbols
    return True


@kernel
def _take_application(body: U8, marker: int, start: int, end: int, facts: I64) -> bool:
    """Note what an application's segment says of colours; False: a profile that is not the one and whole."""
    if marker == _APP0 and end - start >= 14 and _begins(body, start, end, _JFIF):
        facts[_IS_JFIF] = 1
    if marker == _APP2 and _begins(body, start, end, _ICC[:12]):
        if facts[PROFILE_AT] or not _begins(body, start, end, _ICC):
            return False
        facts[PROFILE_AT], facts[PROFILE_END] = start + 14, end
    if marker == _APP14:
        is_ycbcr = end - start >= 12 and _begins(body, start, end, _ADOBE) and body[start + 11] == 1
        facts[_IS_ADOBE if is_ycbcr else _IS_OTHER] = 1
    return True


@kernel
def _take(body: U8, marker: int, start: int, end: int, facts: I64) -> bool:
    """Note what a segment before the scan says; False: not plain."""
    if marker == _DQT:
        return _take_quantisers(body, start, end, facts)
    if marker == _DHT:
        return _take_huffman(body, start, end, facts)
    if marker == _DRI:
        if facts[_HAS_RESTARTS] or end - start != 2:
            return False
        facts[_HAS_RESTARTS], facts[RESTART_INTERVAL] = 1, _pair(body, start)
        return True
    if marker <= _SOF2:  # SOF1: extended, the same as baseline
        is_first = bool(facts[_FRAME_AT] == 0)
        facts[_FRAME_AT], facts[_FRAME_END], facts[IS_PROGRESSIVE] = start, end, marker == _SOF2
        return is_first
    if _APP0 <= marker <= _APP15:
        return _take_application(body, marker, start, end, facts)
    return bool(marker == _COMMENT)


@kernel
def _take_frame(body: U8, facts: I64) -> bool:
    """Note the frame's size and components; False: not plain."""
    at, end = facts[_FRAME_AT], facts[_FRAME_END]
    if at == 0 or end - at < 6 or body[at] != 8:
        return False
    width, height, num = _pair(body, at + 3), _pair(body, at + 1), np.int64(body[at + 5])
    if (num != 1 and num != 3) or end - at != 6 + 3 * num:
        return False
    if min(width, height) < 1 or max(width, height) > MAX_SIDE_PX:
        return False
    facts[WIDTH], facts[HEIGHT], facts[NUM_COMPONENTS] = width, height, num
    for i in range(num):
        one = facts[COMPONENTS + COMPONENT_FACTS * i :]
        from_ = at + 6 + 3 * i
        sampling = np.int64(body[from_ + 1])
        one[0], one[QUANTISER] = body[from_], body[from_ + 2]
        one[ACROSS], one[DOWN] = sampling >> 4, sampling & 15
        if not (1 <= one[ACROSS] <= 4 and 1 <= one[DOWN] <= 4) or one[QUANTISER] > 3:
            return False
        if facts[QUANTISERS + one[QUANTISER]] == 0:
            return False
        if num == 1:  # alone, it is in single blocks
            one[ACROSS], one[DOWN] = 1, 1
    return _is_ycbcr(facts) if num == 3 else True


@kernel
def _is_ycbcr(facts: I64) -> bool:
    """Return whether every sign says that three components are YCbCr, chroma of half or whole sides.

    The signs are the markers of applications, and the names.
    """
    first = facts[COMPONENTS : COMPONENTS + COMPONENT_FACTS]
    second = facts[COMPONENTS + COMPONENT_FACTS : COMPONENTS + 2 * COMPONENT_FACTS]
    third = facts[COMPONENTS + 2 * COMPONENT_FACTS : COMPONENTS + 3 * COMPONENT_FACTS]
    if max(first[ACROSS], first[DOWN]) > 2 or max(second[ACROSS], second[DOWN], third[ACROSS], third[DOWN]) > 1:
        return False
    if first[0] == second[0] or first[0] == third[0] or second[0] == third[0] or facts[_IS_OTHER]:
        return False
    are_named = first[0] == 1 and second[0] == 2 and third[0] == 3
    return bool(are_named or facts[_IS_JFIF] or facts[_IS_ADOBE])


@kernel
def _take_scan(body: U8, start: int, end: int, facts: I64) -> bool:
    """Note which tables the one scan of a baseline file uses; False: not plain."""
    num = facts[NUM_COMPONENTS]
    if end - start != 4 + 2 * num or body[start] != num:
        return False
    if body[end - 3] != 0 or body[end - 2] != 63 or body[end - 1] != 0:
        return False
    for i in range(num):
        one = facts[COMPONENTS + COMPONENT_FACTS * i :]
        tables = np.int64(body[start + 2 + 2 * i])
        one[DC], one[AC] = tables >> 4, tables & 15
        if np.int64(body[start + 1 + 2 * i]) != one[0] or max(one[DC], one[AC]) > 3:
            return False
        if facts[HUFFMAN + one[DC]] == 0 or facts[HUFFMAN + 4 + one[AC]] == 0:
            return False
    return True


@kernel
def read_facts(body: U8, facts: I64) -> bool:
    """Fill in the facts (NUM_FACTS,) of a JPEG's header; return whether it is plain as far as its header goes."""
    facts[:] = 0
    if len(body) < 2 or body[0] != 0xFF or body[1] != 0xD8:
        return False
    at = 2
    for _ in range(_MAX_SEGMENTS):
        if at + 4 > len(body) or body[at] != 0xFF:
            return False
        marker: Any = np.int64(body[at + 1])
        end = at + 2 + _pair(body, at + 2)
        if marker < _SOF0 or marker > _COMMENT or end < at + 4 or end > len(body):
            return False
        if marker == _SOS:
            facts[SCAN_AT] = end
            return _take_frame(body, facts) and (facts[IS_PROGRESSIVE] != 0 or _take_scan(body, at + 4, end, facts))
        if not _take(body, marker, at + 4, end, facts):
            return False
        at = end
    return False


@kernel
def read_all_facts(bodies: U8, spans_B2: I64, facts_BF: I64, is_plain_B: npt.NDArray[np.bool_]) -> None:
    """Do what `read_facts` does for bodies that lie from the first to before the second of their `spans_B2`."""
    for i in range(len(spans_B2)):
        is_plain_B[i] = read_facts(bodies[spans_B2[i, 0] : spans_B2[i, 1]], facts_BF[i])
