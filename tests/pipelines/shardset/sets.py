"""Small sets of shards, and what is in a set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.wit.test_shards import make_samples
from wit.shards import METADATA, list_shards, read_index, write_manifest, write_shard

Sample = tuple[dict[str, Any], bytes]


def write_set(folder: Path, samples: list[Sample], sizes: list[int]) -> Path:
    """Write samples as shards of these sizes, with their manifest; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    first = 0
    for number, size in enumerate(sizes):
        write_shard(str(folder), number, samples[first : first + size])
        first += size
    assert first == len(samples)
    write_manifest(str(folder), {"metadata": list(METADATA)})
    return folder


def sample_set(folder: Path, count: int, start: int = 0, shard_size: int = 7) -> Path:
    """Write a set of `count` samples."""
    sizes = [shard_size] * (count // shard_size) + [count % shard_size] * bool(count % shard_size)
    return write_set(folder, make_samples(count, start), sizes)


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """Return the rows of all indexes of a folder, in order."""
    return [row for shard in list_shards(str(folder)) for row in read_index(shard).to_pylist()]


def keys_of(folder: Path) -> list[str]:
    """Return the keys of a folder, in order."""
    return [row["key"] for row in rows_of(folder)]


def contents_of(folder: Path) -> dict[str, tuple[bytes, str]]:
    """Return the image and the caption of each key, read from the tars where the indexes say."""
    found = {}
    for shard in list_shards(str(folder)):
        data = Path(shard).read_bytes()
        for row in read_index(shard).to_pylist():
            image, text = (data[row[f"{part}_offset"] :][: row[f"{part}_length"]] for part in ("image", "text"))
            found[row["key"]] = image, text.decode()
    return found
