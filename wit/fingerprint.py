"""Prints of images: two perceptual hashes, how much detail there is, and a digest that only equal images share.

- phash: `imagehash.phash`: grey, 32 x 32 (Lanczos), 2-D DCT-II, the 8 x 8 lowest frequencies, one bit each for
  "above their median". Two pictures that differ by an encoding differ in a few of the 64 bits.
- pdq: 256 bits from a picture of 64 x 64 in the same way, by PDQ's published algorithm (wit.pdq), with its quality.
- content: equal for equal images, and for no others but by a chance of 2^-64.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable
from itertools import islice
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from PIL import Image

from wit.errors import ContractError
from wit.fingerprint_pictures import Pictures, exact_pictures, fast_pictures, hashes
from wit.image import Limits, decode
from wit.schema import PRINTS

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]
I32 = npt.NDArray[np.int32]

_LIMITS = Limits()
_IMAGES_AT_ONCE = 256
"""Images whose small pictures are held at a time, 34 KB each."""

TURNS = ("none", "rotate_90", "rotate_180", "rotate_270", "mirror", "flip", "transpose", "transverse")
"""The symmetries of the square, by number; rotations are counter-clockwise, `mirror` swaps left and right."""
MIRROR = TURNS.index("mirror")
TURN_OPTIONS = {"none": (0,), "mirror": (0, MIRROR), "all": tuple(range(len(TURNS)))}
"""What an option `turns` may say, and the turns that it stands for."""

_Turn = Image.Transpose
_TRANSPOSES = {
    1: _Turn.ROTATE_90, 2: _Turn.ROTATE_180, 3: _Turn.ROTATE_270, 4: _Turn.FLIP_LEFT_RIGHT,
    5: _Turn.FLIP_TOP_BOTTOM, 6: _Turn.TRANSPOSE, 7: _Turn.TRANSVERSE,
}  # fmt: skip


class Prints(NamedTuple):
    """Prints of N images, one a row of each array."""

    phash: U64
    """[N]"""
    pdq: U64
    """[N, 4]: the 256 bits in the order of PDQ's hex text, most significant first."""
    quality: I32
    """[N]: PDQ's, 0 to 100."""
    content: I64
    """[N]: equal for equal images."""

    @classmethod
    def of(cls, table: pa.Table | pa.RecordBatch) -> Prints:
        """Return the prints in a table that has the columns of PRINTS."""
        words = np.empty((table.num_rows, 4), np.uint64)
        for i in range(4):
            words[:, i] = table.column(f"pdq_{i}").to_numpy().view(np.uint64)
        phash, quality, content = (table.column(name).to_numpy() for name in ("phash", "quality", "content"))
        return cls(phash.view(np.uint64), words, quality, content)

    @classmethod
    def concat(cls, parts: Iterable[Prints]) -> Prints:
        """Return prints one behind the other; of none: no rows."""
        phash, words, quality, content = zip(NO_PRINTS, *parts, strict=True)
        return cls(np.concatenate(phash), np.concatenate(words), np.concatenate(quality), np.concatenate(content))

    @property
    def num_rows(self) -> int:
        """The number of images."""
        return len(self.phash)

    def take(self, indices: npt.NDArray[np.int64] | slice) -> Prints:
        """Return the prints of some rows, in their order."""
        return Prints(self.phash[indices], self.pdq[indices], self.quality[indices], self.content[indices])

    def columns(self) -> dict[str, pa.Array]:
        """Return the columns of PRINTS."""
        arrays = (self.phash, *self.pdq.T, self.quality, self.content)
        return {
            field.name: pa.array(np.ascontiguousarray(array).view(field.type.to_pandas_dtype()), field.type)
            for field, array in zip(PRINTS, arrays, strict=True)
        }


NO_PRINTS = Prints(np.empty(0, np.uint64), np.empty((0, 4), np.uint64), np.empty(0, np.int32), np.empty(0, np.int64))


def fingerprint(
    body: bytes, limits: Limits = _LIMITS, *, exact: bool = False, turns: tuple[int, ...] = (0,), pixels: bool = False
) -> Prints:
    """Return the prints of an image, one row for each of its turns (numbers in TURNS).

    The image is any that wit.image decodes, of at most `limits.max_pixels`; hashed is what is to be seen: upright, in
    sRGB, on white. `exact`: hashes as imagehash and PDQ define them, from all pixels, of the turned image; else faster,
    and some bits off (wit.fingerprint_pictures). `pixels`: the content is that of size and pixels (equal for a PNG and
    a lossless WebP of the same), not that of the bytes. Raises ImageRejected, as wit.image.prepare does.
    """
    return fingerprint_all([body], limits, exact=exact, turns=turns, pixels=pixels)


def fingerprint_all(
    bodies: Iterable[bytes],
    limits: Limits = _LIMITS,
    *,
    exact: bool = False,
    turns: tuple[int, ...] = (0,),
    pixels: bool = False,
) -> Prints:
    """Return the prints of images as `fingerprint` does: all turns of the first one, then those of the next one.

    Memory: one image, the small pictures of 256, the prints of all.
    """
    parts = [NO_PRINTS]
    waiting = iter(bodies)
    while seen := [_look(body, limits, exact, turns, pixels) for body in islice(waiting, _IMAGES_AT_ONCE)]:
        pictures = [picture for each, _ in seen for picture in each]
        contents = [content for _, each in seen for content in each]
        found = hashes(pictures, exact=exact)
        parts.append(Prints(*found, np.array(contents, np.int64)))
    return Prints.concat(parts)


def _look(
    body: bytes, limits: Limits, exact: bool, turns: tuple[int, ...], pixels: bool
) -> tuple[list[Pictures], list[int]]:
    """Return the small pictures and the content of each turn of an image."""
    pictures = [] if exact else fast_pictures(body, limits.max_pixels, turns)
    contents = [] if pixels else [_content_of_bytes(body, turn) for turn in turns]
    if exact or pixels:
        image = decode(body, max_pixels=limits.max_pixels)
        for turn in turns:
            turned = image.transpose(_TRANSPOSES[turn]) if turn else image
            pictures += [exact_pictures(turned)] if exact else []
            contents += [_content_of_pixels(turned)] if pixels else []
    return pictures, contents


def _content_of_bytes(body: bytes, turn: int) -> int:
    """Return the digest of an image's bytes; that of a turn is another's, since those bytes are not known."""
    return _first_64_bits(body + b"\0" + TURNS[turn].encode() if turn else body)


def contents_of_sha256(digests: pa.ChunkedArray) -> I64:
    """Return the contents [N] of images by their bytes, of which `digests` are the SHA-256s in hex.

    Raises ContractError for what is no such digest.
    """
    try:
        return np.array([int(each[:16], 16) for each in digests.to_pylist()], np.uint64).view(np.int64)
    except (TypeError, ValueError) as error:
        raise ContractError(f"expected SHA-256s in hex, found another value ({error})") from error


def _content_of_pixels(image: Image.Image) -> int:
    """Return the digest of the size and the pixels of an RGB image."""
    return _first_64_bits(struct.pack("<2I", *image.size) + image.tobytes())


def _first_64_bits(data: bytes) -> int:
    return int.from_bytes(hashlib.sha256(data).digest()[:8], "big", signed=True)
