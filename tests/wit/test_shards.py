"""Shards: the same bytes for the same samples, open to any reader, and every kind of damage told."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from wit.errors import ContractError
from wit.image import Limits, prepare
from wit.keys import sample_key
from wit.schema import PRINTS, SAMPLES
from wit.shards import METADATA, read_index, read_samples, write_manifest, write_shard
from wit.storage import write_parquet


def make_samples(count: int, start: int = 0) -> list[tuple[dict[str, Any], bytes]]:
    """Samples in key order with small pictures of flat tiles, in JPEG and PNG by turns."""
    samples = []
    for number in range(start, start + count):
        caption, url = f"a café, picture {number}\u00a0😀", f"http://example.org/{number}.jpg"
        tiles = np.random.default_rng(number).integers(0, 256, (4, 5, 3), dtype=np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(tiles).save(buffer, "PNG")
        stored = prepare(buffer.getvalue(), Limits())
        key = sample_key(url, caption)
        row = dict.fromkeys(SAMPLES.names) | {
            "key": key, "bucket": 0, "rank": number, "format": stored.format, "sha256": stored.sha256,
            "width": stored.width, "height": stored.height, "original_format": "png", "num_frames": 1, "entropy": 1.0,
            "original_sha256": stored.sha256, "original_length": 99, "original_width": 10, "original_height": 8,
            "final_url": url + "?final", "url": url, "caption": caption, "page_url": None, "archive": "a.warc.gz",
            "record_offset": 7, "attribute": "img@alt", "query_ids": [1, 5 + number],
        }  # fmt: skip
        samples.append((row, stored.body))
    return sorted(samples, key=lambda sample: str(sample[0]["key"]))


def write_two_shards(folder: Path) -> Path:
    """Write two shards of 5 samples with their manifest; return their folder."""
    samples = make_samples(10)
    write_shard(str(folder), 0, samples[:5])
    write_shard(str(folder), 1, samples[5:])
    write_manifest(str(folder))
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_two_shards(tmp_path)


def test_golden_bytes(tmp_path: Path) -> None:
    """The tar of a fixed sample has a pinned SHA-256: the format may not drift unseen."""
    (row, _), image = make_samples(1)[0], b"\xff\xd8\xff fixed bytes"
    digest = hashlib.sha256(image).hexdigest()
    write_shard(str(tmp_path), 0, [(row | {"sha256": digest, "original_sha256": digest, "format": "jpeg"}, image)])
    found = hashlib.sha256((tmp_path / "00000.tar").read_bytes()).hexdigest()
    assert found == "ebdf1ee7ab07fc007b969bd53bc35d581f23073bd92a3f5e34bdcc67e81ba5ad"


def test_the_same_samples_give_the_same_files(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Tars, indexes and manifest are equal byte for byte when they are written again."""
    again = tmp_path_factory.mktemp("again")
    samples = make_samples(10)
    write_shard(str(again), 1, iter(samples[5:]))
    write_shard(str(again), 0, iter(samples[:5]))
    write_manifest(str(again))
    for path in folder.iterdir():
        assert path.read_bytes() == (again / path.name).read_bytes(), path.name


def test_the_index_says_where_the_bytes_are(folder: Path) -> None:
    """Reading each range of the index from the tar gives image, caption and metadata."""
    expected = make_samples(10)[:5]
    data = (folder / "00000.tar").read_bytes()
    for row, (sample, image) in zip(read_index(str(folder / "00000.tar")).to_pylist(), expected, strict=True):
        parts = {
            part: data[row[f"{part}_offset"] : row[f"{part}_offset"] + row[f"{part}_length"]]
            for part in ("image", "text", "json")
        }
        assert parts["image"] == image
        assert parts["text"].decode() == sample["caption"]
        assert json.loads(parts["json"]) == {name: sample[name] for name in METADATA}


def test_plain_tar_lists_it(folder: Path) -> None:
    """The tar command reads it without a complaint, members sorted by name."""
    listed = subprocess.run(["tar", "tf", str(folder / "00000.tar")], capture_output=True, text=True, check=True)
    names = listed.stdout.split()
    assert listed.stderr == ""
    assert len(names) == 15
    assert names == sorted(names)


WEBDATASET = """
import json, sys, webdataset
for sample in webdataset.WebDataset(sys.argv[1], shardshuffle=False).decode():
    print(json.dumps([sample["__key__"], sample["txt"], sample["json"]["url"]]))
"""


def test_plain_webdataset_reads_it(folder: Path) -> None:
    """webdataset, with no help of ours, gives the same samples in the same order."""
    command = [sys.executable, "-c", WEBDATASET, str(folder / "{00000..00001}.tar")]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = [json.loads(line) for line in printed.splitlines()]
    assert found == [[row["key"], row["caption"], row["url"]] for row, _ in make_samples(10)]


def test_read_samples_groups_any_webdataset_tar(tmp_path: Path) -> None:
    """Adjacent members with one stem are a sample: the stem ends at the first dot of the file's name."""
    names = ["a/1.x.jpg", "a/1.txt", "a.b/1.jpg", "2.JPG"]
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for name in names:
            archive.addfile(tarfile.TarInfo(name))
    assert [sorted(sample) for sample in read_samples(str(tmp_path / "x.tar"))] == [["txt", "x.jpg"], ["jpg"], ["jpg"]]


def test_an_index_that_was_written_without_prints_is_read(folder: Path) -> None:
    """Its other columns are as they are, and the prints are null; a table without another column is no index."""
    shard = str(folder / "00000.tar")
    whole = read_index(shard)
    names = [field.name for field in PRINTS]
    write_parquet(shard.replace(".tar", ".parquet"), whole.drop_columns(names))
    found = read_index(shard)
    assert found.drop_columns(names) == whole.drop_columns(names)
    assert all(found[name].null_count == len(found) for name in names)
    write_parquet(shard.replace(".tar", ".parquet"), whole.drop_columns("caption"))
    with pytest.raises(ContractError, match="caption"):
        read_index(shard)
