"""SHA-256 of many texts at once, the same as hashlib's."""

from __future__ import annotations

import hashlib

import numpy as np

from wit.digest_kernels import BLOCK_BYTES, DIGEST_BYTES, LANES, NUM_ROUNDS, NUM_WORDS, U8, hash_rows
from wit.ragged import Ragged, frozen

_MAX_BYTES = 64 * BLOCK_BYTES
"""Of texts that go side by side: beyond, hashlib is as fast, and such a text would be alone among its neighbours."""


def sha256_rows(texts: Ragged) -> U8:
    """Return the digest of each text: (n, 32)."""
    sizes = np.diff(texts.offsets)
    digests = np.empty((len(sizes), DIGEST_BYTES), np.uint8)
    is_short = sizes <= _MAX_BYTES
    lengths = sizes.clip(max=_MAX_BYTES + 1).astype(np.uint16)  # numpy sorts 16 bits in linear time
    order = np.argsort(lengths, kind="stable")
    order = order[is_short[order]]
    words, state, sums = (np.zeros((rows, LANES), np.uint32) for rows in (NUM_ROUNDS, NUM_WORDS, NUM_WORDS))
    blocks = np.zeros(LANES, np.int64)
    hash_rows(frozen(texts.text), frozen(texts.offsets), frozen(order), words, state, sums, blocks, digests)
    for row in np.flatnonzero(~is_short).tolist():
        text = texts.text[texts.offsets[row] : texts.offsets[row + 1]]
        digests[row] = np.frombuffer(hashlib.sha256(text.data).digest(), np.uint8)
    return digests
