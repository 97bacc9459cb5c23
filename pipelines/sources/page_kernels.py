"""How much work a page's markup would give a parser: tags, depth and attributes, counted without building a tree."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import numpy as np
import numpy.typing as npt
from numba import njit

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]

NAME_SLOTS = 1 << 12  # element names by hash: two that share a slot only make the estimate coarser
_FNV_OFFSET, _FNV_PRIME = np.uint32(2166136261), np.uint32(16777619)

_LETTER = np.zeros(256, np.bool_)
_LETTER[ord("A") : ord("Z") + 1] = True
_LETTER[ord("a") : ord("z") + 1] = True
_SPACE = np.zeros(256, np.bool_)
_SPACE[[9, 10, 12, 13, 32]] = True


Function = TypeVar("Function", bound=Callable[..., object])


def _compiled(function: Function) -> Function:
    return cast(Function, njit(cache=True, nogil=True)(function))


def name_hash(name: bytes) -> int:
    """Return the hash of an element's name in lower case, as the kernel has it."""
    found = int(_FNV_OFFSET)
    for byte in name:
        found = ((found ^ byte) * int(_FNV_PRIME)) & 0xFFFFFFFF
    return found


@_compiled
def _skip_raw(data: U8, at: int, start: int, stop: int) -> int:
    """Return where the end tag of the raw text element begins whose name is data[start:stop], from `at` on."""
    size = stop - start
    end = len(data) - size - 2
    while at <= end:
        if data[at] == 60 and data[at + 1] == 47:
            same = 0
            while same < size and (data[at + 2 + same] | 32) == (data[start + same] | 32):
                same += 1
            if same == size:
                return at
        at += 1
    return len(data)


@_compiled
def _skip_comment(data: U8, at: int) -> int:
    """Return where what begins with "<!" at `at` ends: a comment, or a declaration."""
    size = len(data)
    is_comment = at + 3 < size and data[at + 2] == 45 and data[at + 3] == 45
    at += 2
    while at < size:
        if data[at] == 62 and (not is_comment or (data[at - 1] == 45 and data[at - 2] == 45)):
            return at + 1
        at += 1
    return size


@_compiled
def _skip_value(data: U8, at: int) -> int:
    """Return where an attribute's value ends, whose "=" or the blanks before it are at `at`; `at` when it has none."""
    size, ahead = len(data), at
    while ahead < size and _SPACE[data[ahead]]:
        ahead += 1
    if ahead >= size or data[ahead] != 61:
        return at
    at = ahead + 1
    while at < size and _SPACE[data[at]]:
        at += 1
    if at < size and (data[at] == 34 or data[at] == 39):
        quote = data[at]
        at += 1
        while at < size and data[at] != quote:
            at += 1
        return at + 1
    while at < size and not _SPACE[data[at]] and data[at] != 62:
        at += 1
    return at


@_compiled
def _skip_attributes(data: U8, at: int) -> tuple[int, int]:
    """Return where the tag ends whose name ends at `at`, and the number of its attributes."""
    size, num_attributes = len(data), 0
    while at < size and data[at] != 62:
        if _SPACE[data[at]] or data[at] == 47:
            at += 1
            continue
        num_attributes += 1
        at += 1  # a name may begin with "="
        while at < size and not _SPACE[data[at]] and data[at] != 62 and data[at] != 47 and data[at] != 61:
            at += 1
        at = _skip_value(data, at)
    return at + 1, num_attributes


@_compiled
def _is_one_of(name: np.uint32, names: I64) -> bool:
    for other in names:  # noqa: SIM110  (numba compiles a loop, not any())
        if other == np.int64(name):
            return True
    return False


@_compiled
def parser_work(data: U8, flat: I64, merged: I64, raw: I64, limit: int) -> int:
    """Return the sum over all tags of the number of open elements and of the square of the number of attributes.

    Stops above `limit`. `flat` are hashes of names that do not nest: void elements, and those that a next one of their
    kind closes; `merged` of those whose attributes all go to one element; `raw` of those whose content is text.
    """
    size, work, depth, num_merged, at = len(data), 0, 0, 0, 0
    num_open = np.zeros(NAME_SLOTS, np.int64)
    while at < size - 1 and work <= limit:
        if data[at] == 60 and (data[at + 1] == 33 or data[at + 1] == 63):
            at = _skip_comment(data, at)
            continue
        is_end = data[at] == 60 and data[at + 1] == 47
        start = at + 2 if is_end else at + 1
        if data[at] != 60 or start >= size or not _LETTER[data[start]]:
            at += 1
            continue
        stop, name = start, _FNV_OFFSET
        while stop < size and not _SPACE[data[stop]] and data[stop] != 62 and data[stop] != 47:
            name = np.uint32((name ^ np.uint32(data[stop] | 32)) * _FNV_PRIME)
            stop += 1
        at, num_attributes = _skip_attributes(data, stop)
        work += depth + num_attributes * num_attributes
        slot = np.int64(name) % NAME_SLOTS
        if is_end:
            is_open = 1 if num_open[slot] > 0 else 0
            num_open[slot] -= is_open
            depth -= is_open
        elif _is_one_of(name, merged):
            num_merged += num_attributes
            work += num_merged * num_attributes
        elif _is_one_of(name, raw):
            at = _skip_raw(data, at, start, stop)
        elif not _is_one_of(name, flat):
            num_open[slot] += 1
            depth += 1
    return work
