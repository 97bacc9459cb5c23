"""Character references of many texts: pipelines.sources.links.unescape_attribute for columns."""

from __future__ import annotations

from functools import lru_cache
from html.entities import html5

import numpy as np

from pipelines.sources.links import unescape_attribute
from pipelines.sources.reference_kernels import (
    FNV_OFFSET,
    FNV_PRIME,
    I32,
    MAX_NAME_BYTES,
    NOTHING,
    NUM_CODES,
    Names,
    decode_references,
)
from wit.ragged import Ragged, frozen, joined

_MAX_GROWTH = 2
"""Of a text: "&nGt;" has 5 bytes, and what it stands for has 6; of a number, the reference is never the shorter."""
_NUM_SLOTS = 1 << 13  # 2,231 names: most are found at their first place


def unescape_attributes(texts: Ragged) -> Ragged:
    """Return each text with its character references decoded as a browser does inside an attribute."""
    out = np.empty(_MAX_GROWTH * texts.num_bytes, np.uint8)
    ends = np.empty(len(texts.offsets), np.int64)
    decode_references(texts.text, texts.offsets, *_names(), _codes(), out, ends)
    return Ragged(frozen(out[: ends[-1]]), frozen(ends))


@lru_cache(maxsize=1)
def _names() -> Names:
    names, values = [name.encode() for name in html5], [value.encode() for value in html5.values()]
    assert max(map(len, names)) <= MAX_NAME_BYTES
    assert all(len(value) <= _MAX_GROWTH * (len(name) + 1) for name, value in zip(names, values, strict=True))
    slots = np.zeros(_NUM_SLOTS, np.int32)
    for number, name in enumerate(names):
        slot = _fnv(name) % _NUM_SLOTS
        while slots[slot]:
            slot = (slot + 1) % _NUM_SLOTS
        slots[slot] = number + 1
    return Names(frozen(slots), *joined(names), *joined(values))


def _fnv(name: bytes) -> int:
    state = FNV_OFFSET
    for byte in name:
        state = (state ^ byte) * FNV_PRIME % (1 << 64)
    return state


@lru_cache(maxsize=1)
def _codes() -> I32:
    """Return which character each small number stands for: those of Windows-1252, and none for control characters."""
    texts = [unescape_attribute(f"&#{code};") for code in range(NUM_CODES)]
    return frozen(np.array([ord(text) if text else NOTHING for text in texts], np.int32))
