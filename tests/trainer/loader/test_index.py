from __future__ import annotations

import hashlib
import shutil
import tarfile
from pathlib import Path
from typing import IO, cast

import pytest

from tests.trainer.conftest import Sample, write_shards
from trainer.loader.index import find_shards, read_captions, read_index
from trainer.loader.reading import read_sample
from wit.errors import InputError


def test_samples_are_read_as_tar_reads_them(shards: Path) -> None:
    """For every sample, the bytes at the index's offsets are those of the tar's members."""
    index = read_index(str(shards))
    assert len(index) == 60
    for sample in range(len(index)):
        with tarfile.open(index.shard_of(sample)) as tar:
            members = {
                member.name: cast("IO[bytes]", tar.extractfile(member)).read()
                for member in tar
                if member.name.startswith(index.key(sample))
            }
        text = next(body for name, body in members.items() if name.endswith(".txt"))
        image = next(body for name, body in members.items() if not name.endswith((".txt", ".json")))
        assert read_sample(index, sample) == (image, text.decode())


def test_captions_come_in_the_order_of_the_samples(shards: Path) -> None:
    """The captions of the index are those of the tars, in order."""
    index = read_index(str(shards))
    assert list(read_captions(index)) == [read_sample(index, sample)[1] for sample in range(len(index))]


def test_every_way_to_name_shards_gives_the_same_index(shards: Path) -> None:
    """Folder, glob and braces name the same shards."""
    patterns = (str(shards), f"{shards}/*.tar", f"{shards}/{{00000..00002}}.tar", f"{shards}/0000{{0,1,2}}.tar")
    assert len({read_index(pattern).hash for pattern in patterns}) == 1
    assert len({tuple(find_shards(pattern)) for pattern in patterns}) == 1


def test_the_hash_follows_the_samples_and_not_the_folder(shards: Path, samples: list[Sample], tmp_path: Path) -> None:
    """Moved shards have the same hash; one sample less, other shards, or another order of shards have others."""
    moved = shutil.copytree(shards, tmp_path / "moved")
    fewer = write_shards(tmp_path / "fewer", samples[:-1], 25)
    split = write_shards(tmp_path / "split", samples, 30)
    hashes = [read_index(str(one)).hash for one in (shards, moved, fewer, split)]
    assert hashes[0] == hashes[1]
    assert len({*hashes[1:], read_index(f"{shards}/0000{{1,0,2}}.tar").hash}) == 4


def test_a_changed_image_changes_the_hash(samples: list[Sample], tmp_path: Path) -> None:
    """Another picture of the same length under the same key is other training data."""
    row, body = samples[0]
    other = bytes([body[0] ^ 1]) + body[1:]
    changed = ({**row, "sha256": hashlib.sha256(other).hexdigest()}, other)
    hashes = [
        read_index(str(write_shards(tmp_path / name, [first, *samples[1:5]], 5))).hash
        for name, first in (("a", samples[0]), ("b", changed))
    ]
    assert hashes[0] != hashes[1]


def test_mistakes_with_shards_are_one_clear_line(shards: Path, tmp_path: Path) -> None:
    """Nothing there, no index, a shard named twice, a tar cut short: each says what was expected and where."""
    with pytest.raises(InputError, match="found nothing"):
        read_index(str(tmp_path / "none-*.tar"))
    with pytest.raises(InputError, match="expected shards"):
        read_index(str(tmp_path))
    with pytest.raises(InputError, match=r"found .*00000\.tar 2 times"):
        read_index(f"{shards}/0000{{0,0}}.tar")
    shutil.copy(shards / "00000.tar", tmp_path)
    with pytest.raises(InputError, match=r"00000\.parquet: expected a file"):
        read_index(str(tmp_path))
    shutil.copy(shards / "00000.parquet", tmp_path)
    index = read_index(str(tmp_path))
    (tmp_path / "00000.tar").write_bytes((shards / "00000.tar").read_bytes()[:600])
    with pytest.raises(InputError, match=r"00000\.tar: expected \d+ bytes at"):
        read_sample(index, len(index) - 1)
