"""The sample key, and the randomness that is drawn from it.

Every choice in wit is a function of a key and a salt, so it is reproducible, independent of order, of
processes and of engines, and monotone: a smaller cap selects a subset of a larger one.
"""

from __future__ import annotations

import hashlib

KEY_HEX_DIGITS = 32  # 128 bits: 4e8 pairs collide with probability (4e8)^2 / 2^129 = 2.4e-22


def sample_key(url: str, caption: str) -> str:
    """Return the key of an (image URL, caption) pair: 32 hex digits, 128 bits.

    The first half of SHA-256 over the UTF-8 bytes of URL, NUL, caption. Lone surrogates, which no valid
    UTF-8 holds, are hashed as they are ("surrogatepass") so that a hostile caption cannot stop a run.
    """
    digest = hashlib.sha256(f"{url}\0{caption}".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:KEY_HEX_DIGITS]


def uniform_rank(salt: str, key: str) -> int:
    """Return a uniform integer in [0, 2^63) drawn from SHA-256 over salt, NUL, key.

    63 bits, so that it is a non-negative Arrow int64 and engines compare it exactly.
    """
    digest = hashlib.sha256(f"{salt}\0{key}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def key_bucket(key: str, num_buckets: int) -> int:
    """Return the bucket of a key, in [0, num_buckets).

    Buckets split the key space into equal ranges in key order, so buckets read one after the other, each
    sorted by key, are sorted as a whole.
    """
    return int(key[:8], 16) * num_buckets >> 32
