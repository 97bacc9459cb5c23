"""Where every training sample lies: the Parquet indexes beside the shards, as columns of numbers in memory.

Bytes and captions stay in the tars; a sample is read by offset when its turn comes.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from wit.errors import ContractError, InputError
from wit.foreign import caption_in
from wit.patterns import expand
from wit.shards import MAKE_INDEX, find_index, index_name, list_shards
from wit.shards import read_index as read_shard_index
from wit.storage import base_name, is_remote, local_path, read_range, size

_HASHED_COLUMNS = ("key", "image_offset", "image_length", "text_offset", "text_length", "sha256")


@dataclass(frozen=True)
class Index:
    """Element i of each array is sample i, in the order of the shards and of the samples within them."""

    shards: tuple[str, ...]
    """Paths or URLs of the tars."""
    keys: NDArray[np.bytes_]
    shard: NDArray[np.int32]
    image_offset: NDArray[np.int64]
    image_length: NDArray[np.int64]
    text_offset: NDArray[np.int64]
    text_length: NDArray[np.int64]
    text_in_json: NDArray[np.bool_]
    """The text is a JSON member that holds the caption: tars made elsewhere have such."""
    hash: str
    """SHA-256 over what the samples are and where they lie; the folder that holds the shards does not count."""

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def samples_per_shard(self) -> list[int]:
        """How many samples each shard holds."""
        counts: list[int] = np.bincount(self.shard, minlength=len(self.shards)).tolist()
        return counts

    def key(self, sample: int) -> str:
        """Return the key of a sample."""
        return str(self.keys[sample].decode())


def find_shards(pattern: str) -> list[str]:
    """Return the tars that a path, URL, brace or glob pattern names, or that lie in a folder it names.

    Raises InputError when there are none, or when one is named twice.
    """
    found = [
        shard
        for path in expand(pattern)
        for shard in (list_shards(path) if os.path.isdir(local_path(path)) else [path])
        if shard.endswith(".tar")
    ]
    if not found:
        raise InputError(f"{pattern}: expected shards (*.tar), found none")
    shard, times = Counter(found).most_common(1)[0]
    if times > 1:
        raise InputError(f"{pattern}: expected each shard once, found {shard} {times} times")
    return found


def read_index(pattern: str) -> Index:
    """Return the index of every shard that `pattern` names; raises InputError when there is none, or no sample."""
    shards = find_shards(pattern)
    digest = hashlib.sha256()
    columns: dict[str, list[NDArray[np.int64]]] = {name: [] for name in _HASHED_COLUMNS[1:5]}
    keys, shard_numbers, in_json = list[NDArray[np.bytes_]](), list[NDArray[np.int32]](), list[NDArray[np.bool_]]()
    for number, table in enumerate(map(_read_table, shards)):
        digest.update(f"{base_name(shards[number])}\0{len(table)}\0".encode())
        keys.append(_octets(table["key"]))
        for name in _HASHED_COLUMNS:
            if name in columns:
                columns[name].append(table[name].to_numpy())
                digest.update(np.ascontiguousarray(columns[name][-1]).tobytes())
            else:
                digest.update((keys[-1] if name == "key" else _octets(table[name])).tobytes())
        has_json = table["json_length"].to_numpy() > 0
        in_json.append(has_json & (table["text_offset"].to_numpy() == table["json_offset"].to_numpy()))
        shard_numbers.append(np.full(len(table), number, np.int32))
    if not sum(map(len, keys)):
        raise InputError(f"{pattern}: expected samples, found {len(shards)} shards that hold none")
    return Index(
        shards=tuple(shards),
        keys=np.concatenate(keys),
        shard=np.concatenate(shard_numbers),
        **{name: np.concatenate(parts).astype(np.int64) for name, parts in columns.items()},
        text_in_json=np.concatenate(in_json),
        hash=digest.hexdigest(),
    )


def _octets(texts: pa.ChunkedArray) -> NDArray[np.bytes_]:
    return np.array([text.encode() for text in texts.to_pylist()], dtype="S")


def _read_table(shard: str) -> pa.Table:
    """Return the index of a shard; InputError when it is that of another, or of another table than an index."""
    url = find_index(shard) if not is_remote(shard) else index_name(shard)
    try:
        table = read_shard_index(shard)
    except ContractError as error:
        raise InputError(
            f"{url}: expected the index of a shard, found another table ({error}); {MAKE_INDEX}"
        ) from error
    names = table["shard"].unique().to_pylist()
    if names not in ([], [base_name(shard)]):
        raise InputError(f"{url}: expected the index of {base_name(shard)}, found that of {names[0]}")
    num_bytes = sys.maxsize if is_remote(shard) else size(shard)  # one more request for each remote shard is too many
    for part in ("image", "text"):
        offset, length = (table[f"{part}_{name}"].to_numpy() for name in ("offset", "length"))
        if not ((offset >= 0) & (length >= 0) & (length <= num_bytes) & (offset <= num_bytes - length)).all():
            raise InputError(
                f"{shard}: expected the bytes that {url} names, found {num_bytes} in all; check the shards"
            )
    return table


def read_captions(index: Index) -> Iterator[str]:
    """Yield the caption of every sample, from the indexes, in order."""
    for shard in index.shards:
        yield from _read_table(shard)["caption"].to_pylist()


def read_sample(index: Index, sample: int) -> tuple[bytes, str]:
    """Return the image's bytes and the caption of a sample, read by offset from its tar.

    Raises InputError when the tar is missing, or shorter than its index says.
    """
    shard = index.shards[index.shard[sample]]
    ranges = [
        (int(index.image_offset[sample]), int(index.image_length[sample])),
        (int(index.text_offset[sample]), int(index.text_length[sample])),
    ]
    if is_remote(shard):
        image, text = (read_range(shard, offset, length) for offset, length in ranges)
    else:
        image, text = _pread(local_path(shard), ranges)
    return image, caption_in(text) if index.text_in_json[sample] else text.decode("utf-8", "replace")


def _pread(path: str, ranges: list[tuple[int, int]]) -> list[bytes]:
    """Return byte ranges of a local file; a descriptor of its own, so threads and thousands of shards do not meet."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        found = [os.pread(descriptor, length, offset) for offset, length in ranges]
    finally:
        os.close(descriptor)
    for data, (offset, length) in zip(found, ranges, strict=True):
        if len(data) != length:
            raise InputError(f"{path}: expected {length} bytes at {offset}, found {len(data)}")
    return found
