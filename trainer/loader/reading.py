"""A sample's bytes: read by offset from a tar on a disk, or from the parts of a remote tar that a folder keeps."""

from __future__ import annotations

import hashlib
import os
from functools import lru_cache, partial
from itertools import accumulate
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainer.loader.buffers import Room
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

_OPEN_FILES = 32  # of a rank; its threads are in few shards at a time, as its rows come block by block
_LARGE_BYTES = 1 << 23  # of a sample that is read by itself: 32 of 256 MB at once are 8 GB a thread
_NEAR_BYTES = 4096  # between an image and its text: headers and padding, which are sooner read than passed over

Bytes = NDArray[np.uint8]
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


class _File:
    """A local file, open until nobody holds this; reads of it do not meet, so threads may share it."""

    def __init__(self, path: str) -> None:
        """Raises InputError."""
        self.path, self._descriptor = path, -1
        try:
            self._descriptor = os.open(path, os.O_RDONLY)
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror}") from error

    def __del__(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def read_into(self, room: Bytes, offset: int) -> None:
        """Fill `room` from a byte on; raises InputError when the file ends before."""
        try:
            found = os.preadv(self._descriptor, (room.data,), offset)
        except OSError as error:
            raise InputError(f"{self.path}: cannot be read: {error.strerror}") from error
        if found != len(room):
            raise InputError(f"{self.path}: expected {len(room)} bytes at {offset}, found {found}")


class _Layout(NamedTuple):
    """How a sample lies in memory: its bytes, and those before its image and its text."""

    place: Located
    num_bytes: int
    image_at: int
    text_at: int
    reads: tuple[tuple[int, int, int], ...]
    """(first byte, the byte behind, where it is in the tar) of each read of a local tar."""
    is_remote: bool

    @property
    def is_large(self) -> bool:
        """Whether it is read by itself."""
        return self.num_bytes > _LARGE_BYTES


class Samples(NamedTuple):
    """What was read of some samples."""

    keys: list[str]
    data: Bytes
    """In it lie their images;"""
    images: NDArray[np.int64]
    """each between (first byte, the byte behind)."""
    captions: list[str | ImageRejected | None]
    """Or why a sample cannot be used; None: it is large, and left to be read by itself."""

    def pair(self, number: int) -> tuple[bytes, str]:
        """Return the image and the caption of a sample that was read; raises ImageRejected."""
        caption = self.captions[number]
        assert caption is not None
        if isinstance(caption, ImageRejected):
            raise caption
        first, stop = self.images[number].tolist()
        return self.data[first:stop].tobytes(), caption


class Reader:
    """Reads samples. Safe in threads."""

    def __init__(self, index: Index) -> None:
        self.index, self.fetcher = index, Fetcher()
        self._file = lru_cache(_OPEN_FILES)(_File)
        self._room = Room()

    def close(self) -> None:
        """Give up what is being fetched."""
        self.fetcher.close()

    def read(self, sample: int) -> tuple[bytes, str]:
        """Return the image's bytes and the caption of a sample.

        Raises InputError when the tar is missing, shorter than its index says or not to be had; ImageRejected
        (wrong_checksum) for a remote image of which other bytes came.
        """
        layout = _layout(self.index.locate(sample))
        room = np.empty(layout.num_bytes, np.uint8)
        (first, stop), caption = self._read_into(layout, room, 0)
        return room[first:stop].tobytes(), caption

    def read_pair(self, sample: int) -> tuple[bytes, str]:
        """Return what `read` does; raises ImageRejected (no_caption), too, for a sample that nothing is said of."""
        image, caption = self.read(sample)
        return image, _required(caption)

    def read_all(self, samples: NDArray[np.int64]) -> Samples:
        """Return what is in samples; `data` is this thread's, and used again by its next call.

        Raises InputError as `read`; what that and `read_pair` raise as ImageRejected stands in place of a caption.
        """
        layouts = [_layout(place) for place in self.index.locate_all(samples)]
        ends = list(accumulate((0 if layout.is_large else layout.num_bytes for layout in layouts), initial=0))
        data = self._room.take("data", np.uint8, ends[-1])
        found = [self._pair_into(layout, data, at) for layout, at in zip(layouts, ends, strict=False)]
        images = np.array([image for image, _ in found], np.int64).reshape(-1, 2)
        return Samples([layout.place.key for layout in layouts], data, images, [caption for _, caption in found])

    def _pair_into(self, layout: _Layout, data: Bytes, at: int) -> tuple[tuple[int, int], str | ImageRejected | None]:
        if layout.is_large:
            return (at, at), None
        try:
            image, caption = self._read_into(layout, data, at)
            return image, _required(caption)
        except ImageRejected as rejected:
            return (at, at), rejected

    def _read_into(self, layout: _Layout, data: Bytes, at: int) -> tuple[tuple[int, int], str]:
        """Read a sample to data[at] on; return between which bytes of it the image lies, and the caption."""
        place = layout.place
        image = at + layout.image_at, at + layout.image_at + place.image[1]
        text = at + layout.text_at, at + layout.text_at + place.text[1]
        if layout.is_remote:
            data[slice(*image)], data[slice(*text)] = self._read_remote(place, (place.image, place.text))
            if place.sha256 and hashlib.sha256(data[slice(*image)].data).hexdigest() != place.sha256:
                raise ImageRejected(WRONG_CHECKSUM, f"SHA-256 differs from that in the index of {place.shard}")
        else:
            file = self._file(local_path(place.shard))
            for first, stop, offset in layout.reads:
                file.read_into(data[at + first : at + stop], offset)
        words = data[slice(*text)].tobytes()
        return image, caption_in(words) if place.text_in_json else words.decode("utf-8", "replace")

    def _read_remote(self, place: Located, ranges: Ranges) -> list[Bytes]:
        held = self.fetch(place.block)
        if not held:
            found = [self.fetcher.read(place.shard, offset, length) for offset, length in ranges]
            return [np.frombuffer(each, np.uint8) for each in found]
        try:
            return [np.frombuffer(_read_held(held, offset, length), np.uint8) for offset, length in ranges]
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


def _layout(place: Located) -> _Layout:
    (image, image_bytes), (text, text_bytes) = place.image, place.text
    begin, stop = min(image, text), max(image + image_bytes, text + text_bytes)
    is_far = is_remote(place.shard)
    if not is_far and stop - begin <= image_bytes + text_bytes + _NEAR_BYTES:
        return _Layout(place, stop - begin, image - begin, text - begin, ((0, stop - begin, begin),), is_far)
    num_bytes = image_bytes + text_bytes
    reads = ((0, image_bytes, image), (image_bytes, num_bytes, text))
    return _Layout(place, num_bytes, 0, image_bytes, reads, is_far)


def _required(caption: str) -> str:
    if not caption.strip():
        raise ImageRejected(NO_CAPTION, "no text beside the image, or blanks alone")
    return caption
