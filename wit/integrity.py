"""Whether shards are what they should be: each tar against its index, all of them against the manifest.

The index fixes every byte of a tar but the contents of the members; their hashes and facts are in the index too.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from wit import manifest, tar
from wit.errors import ContractError, InputError
from wit.image import ImageRejected, inspect
from wit.keys import KEY_HEX_DIGITS
from wit.shards import (
    MANIFEST,
    METADATA,
    SCHEMA_VERSION,
    SUFFIXES,
    fingerprint,
    index_name,
    list_shards,
    read_index,
)
from wit.storage import base_name, exists, expand, is_remote, join, list_names, local_path, open_input, size

MAX_PROBLEMS = 20
"""Problems told of one shard; what is broken all through need not be told ten thousand times."""


_NAMES = re.compile(rf"([0-9a-f]{{{KEY_HEX_DIGITS}}}) \1\.({'|'.join(SUFFIXES.values())})")


class Checked(NamedTuple):
    """What the check of one shard found."""

    shard: str
    num_samples: int
    problems: list[str]
    files: dict[str, dict[str, Any]]
    """Size and hash of the tar and of its index, by file name, where they are there."""


def shards_of(pattern: str) -> tuple[list[str], bool]:
    """Return the shards that a folder or pattern names, and whether it is a whole folder.

    Raises InputError when it names none.
    """
    is_folder = not pattern.endswith(".tar") and (is_remote(pattern) or os.path.isdir(local_path(pattern)))
    shards = list_shards(pattern) if is_folder else expand(pattern)
    strangers = [shard for shard in shards if not shard.endswith(".tar")]
    if strangers or not shards:
        found = strangers[0] if strangers else "none"
        raise InputError(f"{pattern}: expected shards (.tar), found {found}")
    return shards, is_folder


def check_shard(shard: str) -> Checked:
    """Check one tar against its index: names, order, offsets, headers, hashes, captions, metadata, image headers."""
    files = {base_name(url): fingerprint(url) for url in (shard, index_name(shard)) if exists(url)}
    try:
        index = read_index(shard)
    except (InputError, ContractError) as error:
        return Checked(shard, 0, [f"its index: {error}"], files)
    problems: list[str] = []
    try:
        for problem in _check_rows(shard, index):
            problems.append(problem)
            if len(problems) == MAX_PROBLEMS:
                problems.append("and perhaps more: only the first are told")
                break
    except InputError as error:
        problems.append(str(error))
    return Checked(shard, index.num_rows, problems, files)


def _check_rows(shard: str, index: pa.Table) -> Iterator[str]:
    keys = index["key"]
    if not pc.all(pc.less(keys[:-1], keys[1:]), min_count=0).as_py():
        yield "the keys of its index are not in ascending order"
    position = 0
    with open_input(shard) as file:
        found = tar.members(file, shard)
        for batch in index.to_batches(max_chunksize=1_000):
            for row in batch.to_pylist():
                if not _NAMES.fullmatch(f"{row['key']} {row['image_member']}"):
                    yield f"{row['key']!r}: expected 32 hex digits and an image named after them"
                    return
                contents: dict[str, bytes] = {}
                for part, name in _members(row):
                    member = next(found, None)
                    problem = _misplaced(member, position, row, part, name)
                    if member is None or problem:
                        yield problem
                        return  # all that follows is shifted
                    contents[part] = tar.read_member(file, member, shard)
                    position = member.offset + member.length + len(tar.padding(member.length))
                yield from (f"{row['key']}: {problem}" for problem in _check_contents(shard, row, contents))
        extra = next(found, None)
        if extra is not None:
            yield f"member {extra.name!r} is not in the index"
        elif size(shard) != position + len(tar.END):
            yield f"expected {position + len(tar.END)} bytes, found {size(shard)}"


def _members(row: dict[str, Any]) -> list[tuple[str, str]]:
    """Return (part, name) of a sample's members, in the order of their names."""
    names = {"image": row["image_member"], "json": f"{row['key']}.json", "text": f"{row['key']}.txt"}
    return sorted(names.items(), key=lambda each: each[1])


def _misplaced(member: tar.Member | None, position: int, row: dict[str, Any], part: str, name: str) -> str:
    """Return what is wrong with where and how a member stands; empty when nothing is."""
    offset, length = row[f"{part}_offset"], row[f"{part}_length"]
    if member is None:
        return f"expected member {name!r}, found the end of the tar"
    if member.name != name:
        return f"expected member {name!r}, found {member.name!r}"
    if (member.offset, member.length) != (offset, length):
        return f"{name}: the index says {length} bytes at {offset}, the tar has {member.length} at {member.offset}"
    if member.offset != position + tar.BLOCK:
        return f"{name}: something stands before it that is no sample"
    if member.header != tar.header(name, length):
        return f"{name}: its header is not plain (mode 0644, mtime 0, no owner)"
    return ""


def _check_contents(shard: str, row: dict[str, Any], contents: dict[str, bytes]) -> Iterator[str]:
    image = contents["image"]
    if row["shard"] != base_name(shard):
        yield f"its index row names another shard, {row['shard']!r}"
    if hashlib.sha256(image).hexdigest() != row["sha256"]:
        yield "the image's bytes are not those that the index has the hash of"
    try:
        header = inspect(image)
        if (header.width, header.height) != (row["width"], row["height"]):
            yield f"the image is {header.width} x {header.height} px, the index says {row['width']} x {row['height']}"
        if row["image_member"] != f"{row['key']}.{SUFFIXES.get(header.format, header.format)}":
            yield f"the image is {header.format}, its member is named {row['image_member']!r}"
    except ImageRejected as error:
        yield f"the image cannot be read: {error}"
    if contents["text"] != row["caption"].encode():
        yield "the caption is not that of the index"
    yield from _check_metadata(row, contents["json"])


def _check_metadata(row: dict[str, Any], data: bytes) -> Iterator[str]:
    try:
        metadata = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        yield f"the metadata is not JSON: {error}"
        return
    if not isinstance(metadata, dict) or sorted(metadata) != sorted(METADATA):
        yield f"the metadata does not have the fields {', '.join(METADATA)}"
        return
    differing = [name for name in METADATA if name in row and metadata[name] != row[name]]
    if differing:
        yield f"the metadata differs from the index in {', '.join(differing)}"


def check_together(shards: list[str]) -> Iterator[str]:
    """Yield keys that stand in more than one shard; shards whose key ranges do not touch are not read twice.

    Memory: the keys of the shards whose ranges overlap, 16 bytes each; none in a run's own shards, which are in order.
    """
    ranges = sorted(filter(None, map(_key_range, shards)))
    group: list[str] = []
    last = ""
    for low, high, shard in ranges:
        if group and low > last:
            yield from _duplicates(group)
            group = []
        group.append(shard)
        last = max(last, high)
    yield from _duplicates(group)


def _key_range(shard: str) -> tuple[str, str, str] | None:
    keys = _keys(shard)
    bounds = pc.min_max(keys).as_py()
    return (bounds["min"], bounds["max"], shard) if len(keys) else None


def _keys(shard: str) -> pa.ChunkedArray:
    try:
        return read_index(shard)["key"]
    except (InputError, ContractError):  # told by check_shard
        return pa.chunked_array([], pa.string())


def _duplicates(shards: list[str]) -> Iterator[str]:
    if len(shards) < 2:
        return
    tables = [pa.table({"key": _keys(shard), "shard": [base_name(shard)] * len(_keys(shard))}) for shard in shards]
    places = (
        pa.concat_tables(tables).group_by("key").aggregate([("shard", "count"), ("shard", "min"), ("shard", "max")])
    )
    for row in places.filter(pc.greater(places["shard_count"], 1)).sort_by("key").to_pylist():
        if row["shard_min"] != row["shard_max"]:
            yield f"key {row['key']} stands in {row['shard_min']} and in {row['shard_max']}"


def check_manifest(folder: str, files: Mapping[str, Mapping[str, Any]], is_whole: bool) -> Iterator[str]:
    """Yield what differs between the manifest of a folder and its `files` (as in Checked).

    Of part of a folder (`is_whole` false) nothing is missed but what belongs to those shards.
    """
    try:
        described = manifest.read(join(folder, MANIFEST))
        stated = {each["name"]: each for kind in ("shards", "indexes") for each in described[kind]}
        expected = {name: {"bytes": each["bytes"], "sha256": each["sha256"]} for name, each in stated.items()}
        version = described["schema_version"]
    except InputError as error:
        yield str(error)
        return
    except (KeyError, TypeError):
        yield f"{MANIFEST} is not a manifest of shards"
        return
    if version != SCHEMA_VERSION:
        yield f"{MANIFEST} has schema version {version}, this wit reads {SCHEMA_VERSION}"
        return
    names = set(files)
    if is_whole:
        names |= {name for name in list_names(folder) if name.endswith(".parquet")} | set(expected)
    for name in sorted(names):
        if name not in expected:
            yield f"{name} is not in {MANIFEST}"
        elif name not in files:
            yield f"{name} is in {MANIFEST}, but not in the folder"
        elif files[name] != expected[name]:
            yield f"{name} is not the file that {MANIFEST} has the hash of"
