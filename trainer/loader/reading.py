"""A sample's bytes: read by offset from a tar on a disk, or from the parts of a remote tar that a folder keeps."""

from __future__ import annotations

import hashlib
import os
from functools import partial
from typing import NamedTuple

from trainer.loader.cache import Part
from trainer.loader.index import Index, Located
from trainer.loader.remote import Fetcher
from wit.errors import InputError
from wit.foreign import caption_in
from wit.image import ImageRejected
from wit.storage import is_remote, local_path

NO_CAPTION = "no_caption"
"""Reason: the sample has no text, or blanks alone, or a JSON member without a field for captions."""
WRONG_CHECKSUM = "wrong_checksum"
"""Reason: of a remote image other bytes came, each time, than those that the index was made of."""

_FETCHES = 3  # of a block in which an image is not what the index says: a cable or a proxy does it once, not thrice

Ranges = tuple[tuple[int, int], ...]


class Held(NamedTuple):
    """A part of a remote shard that stays in the cache while this is open."""

    part: Part
    descriptor: int


def release(held: list[Held]) -> None:
    """Let go of parts."""
    for each in held:
        os.close(each.descriptor)


def _read_held(held: list[Held], offset: int, length: int) -> bytes:
    pieces = []
    for part, descriptor in held:
        first, stop = max(offset, part.start), min(offset + length, part.stop)
        if first < stop:
            pieces.append(os.pread(descriptor, stop - first, first - part.start))
    return b"".join(pieces)


class Reader:
    """Reads samples. Safe in threads."""

    def __init__(self, index: Index) -> None:
        self.index, self.fetcher = index, Fetcher()

    def close(self) -> None:
        """Give up what is being fetched."""
        self.fetcher.close()

    def read(self, sample: int) -> tuple[bytes, str]:
        """Return the image's bytes and the caption of a sample.

        Raises InputError when the tar is missing, shorter than its index says or not to be had; ImageRejected
        (wrong_checksum) for a remote image of which other bytes came.
        """
        place = self.index.locate(sample)
        ranges = place.image, place.text
        if not is_remote(place.shard):
            image, text = _pread(local_path(place.shard), ranges)
        else:
            image, text = self._read_remote(place, ranges)
            if place.sha256 and hashlib.sha256(image).hexdigest() != place.sha256:
                raise ImageRejected(WRONG_CHECKSUM, f"SHA-256 differs from that in the index of {place.shard}")
        return image, caption_in(text) if place.text_in_json else text.decode("utf-8", "replace")

    def read_pair(self, sample: int) -> tuple[bytes, str]:
        """Return what `read` does; raises ImageRejected (no_caption), too, for a sample that nothing is said of."""
        image, caption = self.read(sample)
        if not caption.strip():
            raise ImageRejected(NO_CAPTION, "no text beside the image, or blanks alone")
        return image, caption

    def _read_remote(self, place: Located, ranges: Ranges) -> list[bytes]:
        held = self.fetch(place.block)
        if not held:
            return [self.fetcher.read(place.shard, offset, length) for offset, length in ranges]
        try:
            return [_read_held(held, offset, length) for offset, length in ranges]
        finally:
            release(held)

    def fetch(self, block: int) -> list[Held]:
        """Return the parts of a block, which stay in the cache until they are released; none: there is no room.

        A part is fetched again when an image in it is not what the index says. Raises InputError.
        """
        held = list[Held]()
        cache = self.index.cache
        for part in self.index.parts(block) if cache else ():
            assert cache is not None
            try:
                descriptor = cache.get(part, partial(self._fill, part, block))
            except BaseException:
                release(held)
                raise
            if descriptor is None:
                release(held)
                return []
            held.append(Held(part, descriptor))
        return held

    def _fill(self, part: Part, block: int, descriptor: int) -> None:
        for _ in range(_FETCHES):
            self.fetcher.copy(part.url, part.start, part.stop, descriptor)
            if self._is_sound(descriptor, part.start, block):
                return

    def _is_sound(self, descriptor: int, start: int, block: int) -> bool:
        page = self.index.page(block)
        if page.sha256 is None:
            return True
        places = zip(page.image_offset.tolist(), page.image_length.tolist(), map(bytes, page.sha256), strict=True)
        return all(
            not digest or hashlib.sha256(os.pread(descriptor, length, offset - start)).digest() == digest
            for offset, length, digest in places
        )


def read_sample(index: Index, sample: int) -> tuple[bytes, str]:
    """Return the image's bytes and the caption of a sample; raises as `Reader.read`."""
    return Reader(index).read(sample)


def _pread(path: str, ranges: Ranges) -> list[bytes]:
    """Return byte ranges of a local file; a descriptor of its own, so threads and thousands of shards do not meet."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        found = [os.pread(descriptor, length, offset) for offset, length in ranges]
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    finally:
        os.close(descriptor)
    for data, (offset, length) in zip(found, ranges, strict=True):
        if len(data) != length:
            raise InputError(f"{path}: expected {length} bytes at {offset}, found {len(data)}")
    return found
