from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, cast

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.trainer.conftest import Sample, write_shards
from trainer.loader.index import (
    Index,
    ShardFacts,
    find_shards,
    open_index_file,
    read_captions,
    read_index,
    split_weight,
)
from trainer.loader.pages import IndexFile, _octets
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


# --- sets and their weights ---


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a/*.tar", (1.0, "a/*.tar")),
        ("2=a/*.tar", (2.0, "a/*.tar")),
        ("0.5=s3://b/c=d/{0..9}.tar", (0.5, "s3://b/c=d/{0..9}.tar")),
        ("s3://b/c=d.tar", (1.0, "s3://b/c=d.tar")),
        ("1=2=odd.tar", (1.0, "2=odd.tar")),
    ],
)
def test_a_weight_stands_before_a_pattern(text: str, wanted: tuple[float, str]) -> None:
    """Only a number before the first sign is a weight; a name may hold the sign."""
    assert split_weight(text) == wanted


@pytest.mark.parametrize("text", ["0=a.tar", "-1=a.tar", "nan=a.tar", "inf=a.tar"])
def test_a_weight_is_above_zero(text: str) -> None:
    """Anything else is told."""
    with pytest.raises(InputError, match="expected a weight above 0"):
        split_weight(text)


def test_a_weight_that_takes_no_sample_is_an_error(shards: Path) -> None:
    """A set that is named and never seen is a mistake: 0.008 of 60 samples is none, 0.009 is one."""
    with pytest.raises(InputError, match=r"0\.008=.*expected a weight that takes a sample of 60 an epoch"):
        read_index(f"0.008={shards}")
    assert read_index(f"0.009={shards}").order(10, 0, 1).num_places == 1


def test_one_shard_by_two_names_is_there_twice(shards: Path) -> None:
    """Dots in a path do not make another file of it."""
    with pytest.raises(InputError, match="expected each shard once"):
        read_index(str(shards / "00000.tar"), f"{shards}/../{shards.name}/00000.tar")


def test_a_pipe_is_no_shard(tmp_path: Path) -> None:
    """It would be waited for for ever."""
    os.mkfifo(tmp_path / "0.tar")
    with pytest.raises(InputError, match=r"0\.tar: expected a tar, found a folder, a pipe or a device"):
        find_shards(str(tmp_path / "*.tar"))


def test_a_folder_at_a_url_has_to_be_spelt_out() -> None:
    """What is in it is not asked for; the message says how its tars are named."""
    with pytest.raises(InputError, match=r"found none; name them all, as URL/\{00000\.\.00099\}\.tar"):
        find_shards("http://127.0.0.1:9/shards")


def test_keys_that_are_no_text_are_an_error(shards: Path, tmp_path: Path) -> None:
    """An index whose keys are not in UTF-8 is a file that cannot be read, not a defect."""
    shutil.copytree(shards, tmp_path / "shards")
    index = tmp_path / "shards" / "00001.parquet"
    table = pq.read_table(index)
    keys = pa.array([b"\xff"] * len(table)).cast(pa.string(), safe=False)
    place = table.column_names.index("key")
    pq.write_table(table.set_column(place, table.schema.field(place), keys), index)
    with pytest.raises(InputError, match=r"00001\.parquet: not a readable Parquet file"):
        read_index(str(tmp_path / "shards"))


def test_sets_are_numbered_one_after_the_other(shards: Path, samples: list[Sample], tmp_path: Path) -> None:
    """Samples of a second set follow those of the first; weights and the division into sets are part of the hash."""
    more = write_shards(tmp_path / "more", samples[:30], 20)
    both = read_index(f"2={shards}", str(more), block_samples=10)
    assert len(both) == 90
    assert [each.key for each in map(both.locate, range(60, 90))] == [str(row["key"]) for row, _ in samples[:30]]
    assert [int(each[0]) for each in both.edges] == [0, 60]
    assert both.order(100, 0, 10).num_places == 150
    others = [read_index(*names).hash for names in ([str(shards), str(more)], [str(shards)], [str(more), str(shards)])]
    assert len({both.hash, *others}) == 4
    with pytest.raises(InputError, match="expected each shard once"):
        read_index(str(shards), f"{shards}/00001.tar")


# --- places, block by block ---


def forget(index: Index, kept_samples: int) -> None:
    """Let an index know no places, and have room for so many."""
    index._pages.clear()
    index._kept, index.kept_samples = 0, kept_samples


def test_only_blocks_in_use_are_in_memory(shards: Path, samples: list[Sample]) -> None:
    """With room for ten samples no more are kept, and each is still found; keys take 16 bytes."""
    index = read_index(str(shards), block_samples=5)
    forget(index, 10)
    for sample in [*range(60), *range(59, -1, -1)]:
        assert index.key(sample) == samples[sample][0]["key"]
        assert index._kept == sum(map(len, index._pages.values())) <= 10
    assert index.page(0).keys.dtype == "V16"


def test_blocks_are_read_from_several_row_groups(samples: list[Sample], tmp_path: Path) -> None:
    """A page is the same however the rows of an index are grouped."""
    shards = write_shards(tmp_path, samples, 60)
    wanted = [read_index(str(shards), block_samples=7).locate(sample) for sample in range(60)]
    table = pq.read_table(shards / "00000.parquet")
    pq.write_table(table, shards / "00000.parquet", row_group_size=11)
    index = read_index(str(shards), block_samples=7)
    forget(index, 1)
    assert [index.locate(sample) for sample in range(60)] == wanted


def test_keys_that_are_no_hashes_are_kept_as_they_are(tmp_path: Path) -> None:
    """Capitals, other lengths and other scripts come back as they were."""
    for keys in (["A" * 32, "B" * 32], ["0" * 32, "1"], ["ü", "日本"], ["g" * 32]):
        assert [found.decode() for found in _octets(pa.chunked_array([keys])).tolist()] == keys
    packed = _octets(pa.chunked_array([["0" * 30 + "af", "f" * 32]]))
    assert [found.hex() for found in packed.tolist()] == ["0" * 30 + "af", "f" * 32]


def test_threads_read_an_index_once(samples: list[Sample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight threads that want blocks of one shard make it be read once, as it has room."""
    import trainer.loader.index

    index = read_index(str(write_shards(tmp_path, samples, 60)), block_samples=5)
    forget(index, 60)
    opened: list[ShardFacts] = []

    def counting(facts: ShardFacts) -> IndexFile:
        opened.append(facts)
        return open_index_file(facts)

    monkeypatch.setattr(trainer.loader.index, "open_index_file", counting)
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(index.key, range(60)))) == 60
    assert len(opened) == 1
