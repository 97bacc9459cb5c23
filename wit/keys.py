"""The sample key, and the randomness that is drawn from it.

Every choice in wit is a function of a key and a salt, so it is reproducible, independent of order, of
processes and of engines, and monotone: a smaller cap selects a subset of a larger one.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

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


def sample_keys(urls: Any, captions: Any) -> Any:
    """Return `sample_key` of each row of two Arrow arrays of texts, without nulls, as a string array."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    from wit.digests import sha256_rows
    from wit.ragged import ragged

    assert len(urls) == len(captions)
    wide = pa.large_string()
    joined = pc.binary_join_element_wise(urls.cast(wide), captions.cast(wide), pa.scalar("\0", wide))
    digests = sha256_rows(ragged(joined))[:, : KEY_HEX_DIGITS // 2]
    digits = np.frombuffer(digests.tobytes().hex().encode(), np.uint8)
    offsets = np.arange(len(joined) + 1, dtype=np.int32) * KEY_HEX_DIGITS
    return pa.StringArray.from_buffers(len(joined), pa.py_buffer(offsets), pa.py_buffer(digits))


def uniform_ranks(salt: str, keys: Any) -> npt.NDArray[np.int64]:
    """Return `uniform_rank` of each of an Arrow array of keys."""
    import numpy as np

    from wit.digests import sha256_rows
    from wit.ragged import Ragged

    digits = _digits(keys)
    prefix = np.frombuffer(f"{salt}\0".encode(), np.uint8)
    salted = np.empty((len(digits), len(prefix) + KEY_HEX_DIGITS), np.uint8)
    salted[:, : len(prefix)] = prefix
    salted[:, len(prefix) :] = digits
    ends = np.arange(len(digits) + 1, dtype=np.int64) * salted.shape[1]
    digests = sha256_rows(Ragged(salted.reshape(-1), ends))
    return (_big_endian(digests[:, :8])[:, 0] >> np.uint64(1)).astype(np.int64)


def key_buckets(keys: Any, num_buckets: int) -> npt.NDArray[np.int32]:
    """Return `key_bucket` of each of an Arrow array of keys."""
    import numpy as np

    top = key_words(keys)[:, 0] >> np.uint64(32)
    return (top * np.uint64(num_buckets) >> np.uint64(32)).astype(np.int32)


def key_words(keys: Any) -> npt.NDArray[np.uint64]:
    """Return the two halves of each of an Arrow array of keys as numbers, in order of their significance: (n, 2)."""
    import numpy as np

    digits = _digits(keys)
    values = (digits & 15) + 9 * (digits >> 6)  # "0" is 0x30 and "a" is 0x61, which has bit 6
    halves = np.ascontiguousarray((values[:, ::2] << 4 | values[:, 1::2]).astype(np.uint8))
    return _big_endian(halves)


def _digits(keys: Any) -> npt.NDArray[np.uint8]:
    """Return the characters of keys, (n, KEY_HEX_DIGITS); `keys` is an Arrow string or large_string array."""
    import numpy as np

    from wit.ragged import ragged

    text, ends = ragged(keys)
    assert bool(np.all(np.diff(ends) == KEY_HEX_DIGITS))
    return text[ends[0] : ends[-1]].reshape(-1, KEY_HEX_DIGITS)


def _big_endian(octets: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint64]:
    """Return each 8 bytes of rows as a number."""
    import numpy as np

    return np.ascontiguousarray(octets).view(">u8").astype(np.uint64)
