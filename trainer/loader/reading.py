"""A sample's bytes: read by offset from a tar on a disk, or from the blocks of a remote tar that a folder keeps."""

from __future__ import annotations

import hashlib
import os

from trainer.loader.cache import Part, RangeCache
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


class Reader:
    """Reads samples. Safe in threads."""

    def __init__(self, index: Index, cache: RangeCache | None = None) -> None:
        """`cache` keeps blocks of remote shards; without one each sample is a request of its own."""
        self.index, self.cache, self.fetcher = index, cache, Fetcher()

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
        descriptor = self.fetch(place.block) if self.cache else None
        if descriptor is None:
            return [self.fetcher.read(place.shard, offset, length) for offset, length in ranges]
        start = self.part(place.block).start
        try:
            return [os.pread(descriptor, length, offset - start) for offset, length in ranges]
        finally:
            os.close(descriptor)

    def part(self, block: int) -> Part:
        """Return the bytes of a shard in which a block of samples lies."""
        facts = self.index.facts_of(block)
        return Part(facts.url, *self.index.page(block).span, facts.index_sha256)

    def fetch(self, block: int) -> int | None:
        """Return a descriptor of a block in the cache, which stays there until it is closed; None: no room for it.

        A block is fetched again when an image in it is not what the index says. Raises InputError.
        """
        assert self.cache is not None
        part = self.part(block)
        found = self.cache.open(part)
        return (
            self.cache.store(part, lambda descriptor: self._fill(descriptor, part, block)) if found is None else found
        )

    def _fill(self, descriptor: int, part: Part, block: int) -> None:
        for _ in range(_FETCHES):
            self.fetcher.copy(part.url, part.start, part.stop, descriptor)
            if self._is_sound(descriptor, part.start, block):
                return

    def _is_sound(self, descriptor: int, start: int, block: int) -> bool:
        page = self.index.page(block)
        if page.sha256 is None:
            return True
        places = zip(page.image_offset.tolist(), page.image_length.tolist(), page.sha256, strict=True)
        return all(
            hashlib.sha256(os.pread(descriptor, length, offset - start)).digest() == bytes(digest)
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
