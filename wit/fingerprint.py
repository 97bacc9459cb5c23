"""Perceptual hashes: 64 bits that hardly change when a picture is re-encoded or resized.

The hash is `imagehash.phash`: grey, 32 x 32 (Lanczos), 2-D DCT-II, the 8 x 8 lowest frequencies, one bit each for
"above their median". Two pictures that differ by an encoding differ in a few of the 64 bits.
"""

from __future__ import annotations

import io

import imagehash
import numpy as np
from PIL import Image

NUM_BITS = 64


def phash(image: Image.Image) -> int:
    """Return the perceptual hash of an image as an unsigned 64-bit integer.

    Bit for bit `imagehash.phash(image)` with its defaults (hash_size 8, highfreq_factor 4); its first bit, that of
    the lowest frequency, is the most significant, so the integer in hex is what imagehash prints.
    """
    bits = imagehash.phash(image).hash
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def phash_stored(body: bytes) -> int:
    """Return the perceptual hash of a stored image, `wit.image.prepare`'s body: trusted bytes, upright, RGB or grey."""
    with Image.open(io.BytesIO(body)) as image:
        return phash(image)


def to_signed(fingerprint: int) -> int:
    """Return the signed 64-bit integer with the bits of an unsigned one (Arrow, DuckDB and Spark share int64)."""
    return fingerprint - (1 << NUM_BITS) if fingerprint >> (NUM_BITS - 1) else fingerprint
