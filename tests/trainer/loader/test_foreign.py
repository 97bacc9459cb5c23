"""Tars of others that `wit shards index` has indexed: the same stems in several, captions where none looks."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines.shardset.indexing import index_tars
from tests.trainer.conftest import Sample, make_samples
from trainer.loader.index import read_index
from trainer.loader.loader import Loader, LoaderOptions
from trainer.loader.order import LoaderState
from wit.errors import InputError


def _write_tar(path: Path, samples: Sequence[Sample], suffix: str) -> None:
    with tarfile.open(path, "w") as tar:
        for number, (row, body) in enumerate(samples):
            for name, data in ((f"{number}.jpg", body), (f"{number}.{suffix}", str(row["caption"]).encode())):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))


def _open_loader(folder: Path, told: list[str]) -> Loader:
    """Return a loader whose tokenizer notes the captions that it is given."""

    def tokenize(captions: Sequence[str]) -> NDArray[np.int64]:
        told.extend(captions)
        return np.zeros((len(captions), 1), np.int64)

    index = read_index(str(folder))
    state = LoaderState(0, 0, seed=0, batch_size=4, index_hash=index.hash)
    return Loader(index, tokenize, state, LoaderOptions(16, 16, num_threads=1, prefetch_batches=1))


def test_equal_stems_in_two_tars_are_two_samples(tmp_path: Path) -> None:
    """An epoch over two tars of four samples with the stems 0 to 3 each has eight keys, and every caption once."""
    samples = make_samples(8)
    _write_tar(tmp_path / "a.tar", samples[:4], "txt")
    _write_tar(tmp_path / "b.tar", samples[4:], "txt")
    index_tars(str(tmp_path), None, 1)
    told: list[str] = []
    with closing(iter(_open_loader(tmp_path, told))) as batches:
        keys = [key for batch in islice(batches, 2) for key in batch.keys]
    assert len(set(keys)) == 8
    assert sorted(told[:8]) == sorted(str(row["caption"]) for row, _ in samples)


def test_captions_under_another_name_are_an_error(tmp_path: Path) -> None:
    """Pairs whose captions are where none looks end in one line that says so; they are not trained on blank."""
    _write_tar(tmp_path / "a.tar", make_samples(20), "words")
    index_tars(str(tmp_path), None, 1)
    with closing(iter(_open_loader(tmp_path, []))) as batches, pytest.raises(InputError, match="no_caption"):
        next(batches)
