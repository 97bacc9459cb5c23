from __future__ import annotations

import io
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from trainer.loader.decode import decode_center
from trainer.loader.inference import Decoding, decode_batches
from wit.errors import InputError

SIDE_PX = 8


def picture(number: int) -> bytes:
    """Return a PNG that no other number has; each fifth is none."""
    if number % 5 == 4:
        return b"no picture"
    pixels = np.random.default_rng(number).integers(0, 256, (9 + number % 3, 11, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 23), st.integers(1, 9), st.integers(1, 4), st.integers(0, 7))
def test_every_place_comes_once_and_in_order(count: int, batch_size: int, num_threads: int, first: int) -> None:
    """Whatever the threads, places come in order, `batch_size` at a time; pictures are theirs; the rest is rejected."""
    places = range(first, first + 3 * count, 3)
    seen, batches = list[int](), list[list[int]]()
    for batch in decode_batches(picture, places, Decoding(SIDE_PX, batch_size, num_threads)):
        assert len(batch.images) == len(batch.places)
        for place, image in zip(batch.places, batch.images, strict=True):
            expected = decode_center(picture(place), SIDE_PX)
            assert np.array_equal(image.numpy(), expected)
        assert all(one.reason == "not_image" and one.place % 5 == 4 for one in batch.rejected)
        both = sorted([*batch.places, *(one.place for one in batch.rejected)])
        batches.append(both)
        seen += both
    assert seen == list(places)
    assert [len(batch) for batch in batches[:-1]] == [batch_size] * (len(batches) - 1)


def test_no_more_than_two_batches_are_read_ahead() -> None:
    """While the first batch is looked at, the second is read, and no third: memory is bounded."""
    begun: list[int] = []
    lock = threading.Lock()

    def read(place: int) -> bytes:
        with lock:
            begun.append(place)
        return picture(0)

    batches = decode_batches(read, range(1_000), Decoding(SIDE_PX, 10, 4))
    next(batches)
    assert max(begun) < 20
    batches.close()
    assert max(begun) < 20


def test_what_reading_raises_is_raised_here() -> None:
    """A file that is gone ends the work with its error; no thread is left behind."""
    before = threading.active_count()

    def read(place: int) -> bytes:
        if place == 13:
            raise InputError("13: expected a file here, found nothing")
        return picture(0)

    with pytest.raises(InputError, match="13: expected a file here"):
        for _ in decode_batches(read, range(100), Decoding(SIDE_PX, 4, 3)):
            pass
    assert threading.active_count() == before
