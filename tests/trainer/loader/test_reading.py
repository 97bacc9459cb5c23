from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainer.conftest import Sample, make_samples, write_shards
from trainer.loader.index import read_index
from trainer.loader.reading import _OPEN_FILES, NO_CAPTION, Reader
from wit.errors import InputError
from wit.image import ImageRejected


def test_many_samples_are_what_each_is(shards: Path, samples: list[Sample]) -> None:
    """Keys, images and captions of many, in any order and twice, are those of each by itself."""
    index = read_index(str(shards), block_samples=7)
    reader = Reader(index)

    @settings(deadline=None, max_examples=40)
    @given(st.lists(st.integers(0, len(samples) - 1), max_size=40))
    def check(chosen: list[int]) -> None:
        found = reader.read_all(np.array(chosen, np.int64))
        assert found.keys == [index.key(sample) for sample in chosen]
        assert [found.pair(number) for number in range(len(chosen))] == [reader.read(sample) for sample in chosen]

    check()


def test_a_sample_without_caption_stands_among_the_others(samples: list[Sample], tmp_path: Path) -> None:
    """Its reason stands in place of its caption; the others are as they are."""
    rows = [(dict(row), body) for row, body in samples[:5]]
    rows[2][0]["caption"] = " \n"
    reader = Reader(read_index(str(write_shards(tmp_path, rows, 25))))
    found = reader.read_all(np.arange(5))
    assert [isinstance(caption, ImageRejected) for caption in found.captions] == [number == 2 for number in range(5)]
    with pytest.raises(ImageRejected, match=NO_CAPTION):
        found.pair(2)
    assert [found.pair(number)[1] for number in (0, 1, 3, 4)] == [rows[number][0]["caption"] for number in (0, 1, 3, 4)]


def test_few_files_stay_open_and_none_for_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over more shards than are kept open, as many are; when the reader is gone, so are they."""
    index = read_index(str(write_shards(tmp_path, make_samples(_OPEN_FILES + 8), 1)))
    is_open: set[int] = set()
    open_file, close = os.open, os.close

    def opening(path: str, flags: int) -> int:
        descriptor = open_file(path, flags)
        is_open.add(descriptor)
        return descriptor

    def closing(descriptor: int) -> None:
        is_open.discard(descriptor)
        close(descriptor)

    monkeypatch.setattr(os, "open", opening)
    monkeypatch.setattr(os, "close", closing)
    reader = Reader(index)
    for _ in range(2):
        for sample in range(len(index)):
            reader.read(sample)
            assert 0 < len(is_open) <= _OPEN_FILES
    del reader
    assert not is_open


def test_a_tar_that_is_cut_short_is_an_error(samples: list[Sample], tmp_path: Path) -> None:
    """A tar that ends before a sample does ends in a line that names it, whether it is open already or not."""
    shards = write_shards(tmp_path, samples, 25)
    index = read_index(str(shards))
    reader = Reader(index)
    reader.read_all(np.arange(3))
    os.truncate(shards / "00000.tar", index.locate(3).image[0] + 5)
    for one in (reader, Reader(index)):
        with pytest.raises(InputError, match=r"00000\.tar: expected \d+ bytes at \d+, found"):
            one.read_all(np.arange(5))
        assert one.read(0)[0]
