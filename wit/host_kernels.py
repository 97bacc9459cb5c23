"""The kernels of wit.hosts: hosts of addresses, their hashes, and the listed domains that they lie in."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from wit.compiled import inlined, kernel

U8 = npt.NDArray[np.uint8]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]
Flags = npt.NDArray[np.bool_]

NONE = -1
"""A free place of a hash table, and the domain of a host that lies in none."""

_COLON, _SLASH, _QUESTION, _NUMBER, _BACKSLASH = ord(":"), ord("/"), ord("?"), ord("#"), ord("\\")
_AT, _DOT, _PERCENT, _OPEN, _CLOSE = ord("@"), ord("."), ord("%"), ord("["), ord("]")
_A, _Z, _LOWER = ord("A"), ord("Z"), 0x20
_BASIS, _PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)
"""FNV-1a, 64 bits: draft-eastlake-fnv, section 5."""


@inlined
def _authority(text: U8, i: int, end: int) -> int:
    """Return where the authority of the address text[i:end] begins, past its first "://"; `end` when there is none."""
    while i + 2 < end:
        if text[i] == _COLON and text[i + 1] == _SLASH and text[i + 2] == _SLASH:
            return i + 3
        i += 1
    return end


@inlined
def _host_span(text: U8, i: int, end: int) -> tuple[int, int]:
    """Return where the host of the authority that begins at `i` begins and ends: without user, port and last dots."""
    start, stop = i, i
    while stop < end:
        byte = text[stop]
        if byte in (_SLASH, _QUESTION, _NUMBER, _BACKSLASH):
            break
        stop += 1
        if byte == _AT:
            start = stop
    closing = _COLON
    if start < stop and text[start] == _OPEN:
        closing = _CLOSE
    port = start
    while port < stop and text[port] != closing:
        port += 1
    if closing == _CLOSE and port < stop:
        port += 1
    while port > start and text[port - 1] == _DOT:
        port -= 1
    return start, port


@kernel
def write_hosts(text: U8, offsets: I64, out: U8, ends: I64, is_odd: Flags) -> None:
    """Write the host of each address, ASCII letters made small, and where each ends.

    One with a byte above ASCII or a percent sign is odd, and written as nothing. `out` has as many bytes as the text.
    """
    o = 0
    ends[0] = 0
    for row in range(len(offsets) - 1):
        start, stop = _host_span(text, _authority(text, offsets[row], offsets[row + 1]), offsets[row + 1])
        begin = o
        is_odd[row] = False
        for i in range(start, stop):
            byte = text[i]
            if byte >= 0x80 or byte == _PERCENT:
                is_odd[row] = True
                o = begin
                break
            out[o] = byte | _LOWER if _A <= byte <= _Z else byte
            o += 1
        ends[row + 1] = o


@kernel
def hash_texts(text: U8, offsets: I64, hashes: U64) -> None:
    """Write the FNV-1a hash of each text."""
    for row in range(len(offsets) - 1):
        value = _BASIS
        for i in range(offsets[row], offsets[row + 1]):
            value = (value ^ np.uint64(text[i])) * _PRIME
        hashes[row] = value


@inlined
def _place(value: np.uint64, mask: np.int64) -> np.int64:
    """Return where in a table of mask + 1 places a hash belongs; the high bits of FNV are the better mixed."""
    return np.int64((value >> np.uint64(29)) & np.uint64(mask))


@inlined
def _is_same(text: U8, start: int, stop: int, domains: U8, begin: int, end: int) -> bool:
    i = 0
    while i < stop - start and begin + i < end and text[start + i] == domains[begin + i]:
        i += 1
    return stop - start == end - begin == i


@inlined
def _look_up(
    text: U8, start: int, stop: int, value: np.uint64, domains: U8, domain_offsets: I64, table: I32
) -> tuple[np.int64, np.int64]:
    """Return the number of the domain text[start:stop], of this hash, or NONE; and the place where the search ended."""
    mask = np.int64(len(table) - 1)
    place = _place(value, mask)
    while table[place] != NONE:
        number = np.int64(table[place])
        if _is_same(text, start, stop, domains, domain_offsets[number], domain_offsets[number + 1]):
            return number, place
        place = (place + 1) & mask
    return np.int64(NONE), place


@kernel
def fill_table(domains: U8, domain_offsets: I64, table: I32) -> None:
    """Put the number of each domain into a table of NONE: a power of two, at least twice as many places as domains."""
    for number in range(len(domain_offsets) - 1):
        start, stop = domain_offsets[number], domain_offsets[number + 1]
        value = _BASIS
        for i in range(stop - 1, start - 1, -1):
            value = (value ^ np.uint64(domains[i])) * _PRIME
        found, place = _look_up(domains, start, stop, value, domains, domain_offsets, table)
        if found == NONE:
            table[place] = number


@kernel
def find_domains(text: U8, offsets: I64, domains: U8, domain_offsets: I64, table: I32, found: I32) -> None:
    """Write the number of the widest listed domain that each host lies in, or NONE.

    Hosts are hashed from their end, and looked up where a label begins.
    """
    for row in range(len(offsets) - 1):
        start, stop = offsets[row], offsets[row + 1]
        value = _BASIS
        found[row] = NONE
        for i in range(stop - 1, start - 1, -1):
            value = (value ^ np.uint64(text[i])) * _PRIME
            if i == start or text[i - 1] == _DOT:
                number, _ = _look_up(text, i, stop, value, domains, domain_offsets, table)
                if number != NONE:
                    found[row] = number
                    break
