"""Whether a shard is what it should be: its tar against its index. (All of them together: wit.set_integrity.)

The index fixes every byte of a tar but the contents of the members; their hashes and facts are in the index too.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping
from typing import IO, Any, NamedTuple

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from wit import tar
from wit.errors import ContractError, InputError
from wit.foreign_integrity import check_foreign
from wit.image import sniff
from wit.image_checks import check_image
from wit.keys import KEY_HEX_DIGITS
from wit.patterns import expand
from wit.shards import METADATA, PARTS, SUFFIXES, find_index, fingerprint, is_foreign, list_shards, read_any_index
from wit.storage import base_name, exists, is_remote, local_path, open_input, size

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


def check_shard(shard: str, metadata: Collection[str] = METADATA) -> Checked:
    """Check one tar against its index: names, order, offsets, headers, hashes, captions, metadata, image headers.

    `metadata` are the fields that the JSON member of every sample must have, of those that it may have (METADATA).
    Of a tar that somebody else made, what its index says of it: where members lie, hashes, captions, image headers.
    """
    index_url = find_index(shard)
    files = {base_name(url): fingerprint(url) for url in (shard, index_url) if exists(url)}
    try:
        index = read_any_index(shard)
    except (InputError, ContractError) as error:
        return Checked(shard, 0, [f"its index: {error}"], files)
    problems: list[str] = []
    try:
        for problem in check_foreign(shard, index) if is_foreign(index) else _check_rows(shard, index, metadata):
            problems.append(problem)
            if len(problems) == MAX_PROBLEMS:
                problems.append("and perhaps more: only the first are told")
                break
    except InputError as error:
        problems.append(str(error))
    return Checked(shard, index.num_rows, problems, files)


def _check_rows(shard: str, index: pa.Table, metadata: Collection[str]) -> Iterator[str]:
    keys = index["key"]
    if not pc.all(pc.less(keys[:-1], keys[1:]), min_count=0).as_py():
        yield "the keys of its index are not in ascending order"
    position, num_bytes = 0, size(shard)
    with open_input(shard) as file:
        for batch in index.to_batches(max_chunksize=1_000):
            for row in batch.to_pylist():
                if not _NAMES.fullmatch(f"{row['key']} {row['image_member']}"):
                    yield f"{row['key']!r}: expected 32 hex digits and an image named after them"
                    return
                contents = _read_plain(file, position, row, num_bytes)
                if contents is None:
                    yield _misplaced(file, shard, position, row)
                    return  # all that follows is shifted
                position = max(_end(row, part) for part in PARTS)
                yield from (f"{row['key']}: {problem}" for problem in _check_contents(shard, row, contents, metadata))
        extra = next(tar.members(file, shard, position), None)
        if extra is not None:
            yield f"member {extra.name!r} is not in the index"
        elif num_bytes != position + len(tar.END):
            yield f"expected {position + len(tar.END)} bytes, found {num_bytes}"


def _end(row: Mapping[str, Any], part: str) -> int:
    offset, length = row[f"{part}_offset"], row[f"{part}_length"]
    return int(offset + length + -length % tar.BLOCK)


def _read_plain(file: IO[bytes], position: int, row: Mapping[str, Any], num_bytes: int) -> dict[str, bytes] | None:
    """Return the contents of a sample's members, by part; None unless every other byte from `position` is as it should.

    `num_bytes` is the size of the tar: no more is read, whatever the index says.
    """
    lengths = {part: row[f"{part}_length"] for part in PARTS}
    if min(lengths.values()) < 0 or max(lengths.values()) > num_bytes:
        return None
    contents: dict[str, bytes] = {}
    file.seek(position)
    data = file.read(sum(tar.BLOCK + length + -length % tar.BLOCK for length in lengths.values()))
    at = 0
    for part, name in _members(row):
        length = lengths[part]
        begin, end = at + tar.BLOCK, at + tar.BLOCK + length
        at = end + -length % tar.BLOCK
        is_plain = data[begin - tar.BLOCK : begin] == tar.header(name, length) and len(data) >= at
        if not is_plain or position + begin != row[f"{part}_offset"] or data[end:at].strip(b"\0"):
            return None
        contents[part] = data[begin:end]
    return contents


def _members(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return (part, name) of a sample's members, in the order of their names."""
    names = {"image": row["image_member"], "json": f"{row['key']}.json", "text": f"{row['key']}.txt"}
    return sorted(names.items(), key=lambda each: each[1])


def _misplaced(file: IO[bytes], shard: str, position: int, row: Mapping[str, Any]) -> str:
    """Return what is wrong with where and how the members of a sample stand from `position` on."""
    found = tar.members(file, shard, position)
    for part, name in _members(row):
        member, offset, length = next(found, None), row[f"{part}_offset"], row[f"{part}_length"]
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
        tar.read_member(file, member, shard)  # raises where the tar breaks off
        position = member.stop
    return f"{row['key']}: what fills its members up to whole blocks is not zeros"


def _check_contents(
    shard: str, row: Mapping[str, Any], contents: Mapping[str, bytes], metadata: Collection[str]
) -> Iterator[str]:
    image = contents["image"]
    if row["shard"] != base_name(shard):
        yield f"its index row names another shard, {row['shard']!r}"
    yield from check_image(row, image)
    suffix = row["image_member"].rpartition(".")[2]
    found = sniff(image) or ""
    if suffix != SUFFIXES.get(found, found):
        yield f"the image is {found or 'of no known format'}, its member is named {row['image_member']!r}"
    if contents["text"] != row["caption"].encode():
        yield "the caption is not that of the index"
    yield from _check_metadata(row, contents["json"], metadata)


def _check_metadata(row: Mapping[str, Any], data: bytes, fields: Collection[str]) -> Iterator[str]:
    try:
        found = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        yield f"the metadata is not JSON: {error}"
        return
    if not isinstance(found, dict):
        yield "the metadata does not have the fields of a JSON object"
        return
    missing, unknown = [name for name in fields if name not in found], sorted(set(found) - set(METADATA))
    if missing:
        yield f"the metadata does not have the fields {', '.join(missing)}"
    if unknown:
        yield f"the metadata has fields that no sample has: {', '.join(unknown)[:200]}"
    differing = [name for name in METADATA if name in found and name in row and found[name] != row[name]]
    if differing:
        yield f"the metadata differs from the index in {', '.join(differing)}"
