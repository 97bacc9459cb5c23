"""Whether shards are a set: no key in two of them, and their files those that the manifest says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from wit import manifest
from wit.errors import ContractError, InputError
from wit.key_ranges import touching
from wit.shards import FOREIGN_SUFFIX, MANIFEST, REMOVALS_NAME, SCHEMA_VERSION, UNDER_WAY, fingerprint, read_index
from wit.storage import base_name, exists, join, list_names


def check_together(shards: list[str]) -> Iterator[str]:
    """Yield keys that stand in more than one shard; shards whose key ranges do not touch are not read twice.

    Memory: the keys of the shards whose ranges overlap, some 100 bytes each; of one shard in a run's own, which are in
    order.
    """
    for group in touching(shards, _keys):
        yield from _duplicates(group)


def _keys(shard: str) -> pa.ChunkedArray:
    try:
        return read_index(shard)["key"]
    except (InputError, ContractError):  # told by check_shard
        return pa.chunked_array([], pa.string())


def _duplicates(shards: list[str]) -> Iterator[str]:
    if len(shards) < 2:
        return
    are_names_enough = len(set(map(base_name, shards))) == len(shards)  # a pattern may name several folders
    tables = []
    for shard in shards:
        keys = _keys(shard)
        tables.append(pa.table({"key": keys, "shard": [base_name(shard) if are_names_enough else shard] * len(keys)}))
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
    if exists(join(folder, UNDER_WAY)):
        yield f"a removal is under way ({UNDER_WAY}); finish it with the same wit shards remove command"
    try:
        described = manifest.read(join(folder, MANIFEST))
        each_stated = [each for kind in ("shards", "indexes") for each in described[kind]]
        stated = {each["name"]: each for each in (*each_stated, *filter(None, [described.get("removals")]))}
        expected = {name: {"bytes": each["bytes"], "sha256": each["sha256"]} for name, each in stated.items()}
        version = described["schema_version"]
    except InputError as error:
        yield str(error)
        return
    except (KeyError, TypeError, AttributeError):
        yield f"{MANIFEST} is not a manifest of shards"
        return
    if not all(isinstance(name, str) for name in expected):
        yield f"{MANIFEST} is not a manifest of shards"
        return
    if version != SCHEMA_VERSION:
        yield f"{MANIFEST} has schema version {version}, this wit reads {SCHEMA_VERSION}"
        return
    if REMOVALS_NAME in expected and exists(join(folder, REMOVALS_NAME)):
        files = {**files, REMOVALS_NAME: fingerprint(join(folder, REMOVALS_NAME))}
    names = set(files)
    if is_whole:
        names |= set(_tables(folder)) | set(expected)
    for name in sorted(names):
        if name not in expected:
            yield f"{name} is not in {MANIFEST}"
        elif name not in files:
            yield f"{name} is in {MANIFEST}, but not in the folder"
        elif files[name] != expected[name]:
            yield f"{name} is not the file that {MANIFEST} has the hash of"


def _tables(folder: str) -> Iterator[str]:
    """Yield the names of the tables that a manifest names, and of those that it should."""
    names = set(list_names(folder))
    for name in names:
        is_other = name == UNDER_WAY or name.removesuffix(".parquet") + FOREIGN_SUFFIX in names  # of who made the tar
        if name.endswith(".parquet") and not is_other:
            yield name
