"""How much work a page's markup would give a parser: tags, depth and attributes, counted without building a tree."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import numpy as np
import numpy.typing as npt
from numba import njit

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]

Function = TypeVar("Function", bound=Callable[..., object])

NAME_SLOTS = 1 << 12  # element names by hash: two that share a slot only make the estimate coarser
_FNV_OFFSET, _FNV_PRIME = np.uint32(0x811C9DC5), np.uint32(0x01000193)  # FNV-1a, 32 bits: draft-eastlake-fnv, 5

_OPENING, _CLOSING, _SLASH, _EXCLAMATION, _QUESTION = ord("<"), ord(">"), ord("/"), ord("!"), ord("?")
_DASH, _EQUALS, _QUOTE, _APOSTROPHE = ord("-"), ord("="), ord('"'), ord("'")
_LOWER = 0x20  # the bit that tells "a" from "A"
_LETTER = np.zeros(256, np.bool_)
_LETTER[ord("A") : ord("Z") + 1] = True
_LETTER[ord("a") : ord("z") + 1] = True
_SPACE = np.zeros(256, np.bool_)
_SPACE[list(b"\t\n\f\r ")] = True


def _compiled(function: Function) -> Function:
    """Compile a function; `parser_work` allocates, so references to arrays are counted here."""
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
        if data[at] == _OPENING and data[at + 1] == _SLASH:
            same = 0
            while same < size and (data[at + 2 + same] | _LOWER) == (data[start + same] | _LOWER):
                same += 1
            if same == size:
                return at
        at += 1
    return len(data)


@_compiled
def _skip_comment(data: U8, at: int) -> int:
    """Return where what begins with "<!" at `at` ends: a comment, or a declaration."""
    size = len(data)
    is_comment = at + 3 < size and data[at + 2] == _DASH and data[at + 3] == _DASH
    at += 2
    while at < size:
        if data[at] == _CLOSING and (not is_comment or (data[at - 1] == _DASH and data[at - 2] == _DASH)):
            return at + 1
        at += 1
    return size


@_compiled
def _skip_value(data: U8, at: int) -> int:
    """Return where an attribute's value ends, whose "=" or the blanks before it are at `at`; `at` when it has none."""
    size, ahead = len(data), at
    while ahead < size and _SPACE[data[ahead]]:
        ahead += 1
    if ahead >= size or data[ahead] != _EQUALS:
        return at
    at = ahead + 1
    while at < size and _SPACE[data[at]]:
        at += 1
    if at < size and (data[at] == _QUOTE or data[at] == _APOSTROPHE):
        quote = data[at]
        at += 1
        while at < size and data[at] != quote:
            at += 1
        return at + 1
    while at < size and not _SPACE[data[at]] and data[at] != _CLOSING:
        at += 1
    return at


@_compiled
def _skip_attributes(data: U8, at: int) -> tuple[int, int]:
    """Return where the tag ends whose name ends at `at`, and the number of its attributes."""
    size, num_attributes = len(data), 0
    while at < size and data[at] != _CLOSING:
        if _SPACE[data[at]] or data[at] == _SLASH:
            at += 1
            continue
        num_attributes += 1
        at += 1  # a name may begin with "="
        while (
            at < size and not _SPACE[data[at]] and data[at] != _CLOSING and data[at] != _SLASH and data[at] != _EQUALS
        ):
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
        if data[at] == _OPENING and (data[at + 1] == _EXCLAMATION or data[at + 1] == _QUESTION):
            at = _skip_comment(data, at)
            continue
        is_end = data[at] == _OPENING and data[at + 1] == _SLASH
        start = at + 2 if is_end else at + 1
        if data[at] != _OPENING or start >= size or not _LETTER[data[start]]:
            at += 1
            continue
        stop, name = start, _FNV_OFFSET
        while stop < size and not _SPACE[data[stop]] and data[stop] != _CLOSING and data[stop] != _SLASH:
            name = np.uint32((name ^ np.uint32(data[stop] | _LOWER)) * _FNV_PRIME)
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
