"""Digests of columns are hashlib's."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from wit.digests import sha256_rows
from wit.ragged import Ragged


def digests(texts: Sequence[bytes]) -> list[bytes]:
    """Return what `sha256_rows` gives for texts that do not begin with their array."""
    offsets = np.cumsum([3, *map(len, texts)], dtype=np.int64)
    rows = sha256_rows(Ragged(np.frombuffer(b"xyz" + b"".join(texts), np.uint8), offsets))
    return [row.tobytes() for row in rows]


@given(st.lists(st.binary(max_size=300), max_size=100))
def test_digests_are_those_of_hashlib(texts: list[bytes]) -> None:
    """Texts of any bytes and lengths, fewer and more than go side by side."""
    assert digests(texts) == [hashlib.sha256(text).digest() for text in texts]


def test_every_length_is_padded_as_defined() -> None:
    """Around the ends of blocks, and around the length from which hashlib itself is asked."""
    texts = [bytes(range(256)) * 40] * 5 + [b"\xff" * size for size in (*range(300), *range(4000, 4200), 100_000)]
    assert digests(texts) == [hashlib.sha256(text).digest() for text in texts]
