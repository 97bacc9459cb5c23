"""The peers' hashes of images that come on standard input; runs in an environment of its own.

    PEERS_PYTHON benchmarks/near_duplicates/peers.py

In: the length of a body (4 bytes, little-endian) and the body, again and again. Out, for each: imagededup's PHash and
DHash (8 bytes each, most significant first) and pdqhash's PDQ (32 bytes). Each as its documentation calls it: the
pixels of the file as RGB, no orientation, no colour profile.
"""

from __future__ import annotations

import io
import struct
import sys

import numpy as np
import pdqhash
from imagededup.methods import DHash, PHash
from PIL import Image


def main() -> None:
    """Answer until the input ends."""
    methods = (PHash(verbose=False), DHash(verbose=False))
    while header := sys.stdin.buffer.read(4):
        body = sys.stdin.buffer.read(struct.unpack("<I", header)[0])
        with Image.open(io.BytesIO(body)) as image:
            pixels = np.asarray(image.convert("RGB"))
        hashes = [bytes.fromhex(method.encode_image(image_array=pixels)) for method in methods]
        bits, _ = pdqhash.compute(pixels)
        sys.stdout.buffer.write(b"".join(hashes) + np.packbits(bits).tobytes())
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
