"""What was read, written and rejected, and the fingerprints that say whether two runs are the same run."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from importlib import resources
from typing import Any

from wit.errors import InputError, MismatchError
from wit.patterns import expand, walk_files
from wit.storage import base_name, is_remote, join, publish_bytes, read_bytes, reading, size

WHOLE_HASH_BYTES = 64 << 20  # above 64 MiB an input is known by its size and its ends: hashing a crawl takes days
END_BYTES = 1 << 20


def dumps(value: Any) -> bytes:
    """Return canonical JSON: sorted keys, two spaces, a final newline."""
    return (json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False) + "\n").encode()


def write(url: str, value: Any) -> None:
    """Publish a manifest."""
    publish_bytes(url, dumps(value))


def read(url: str, *keys: str) -> dict[str, Any]:
    """Return a manifest; raises InputError when it is missing, no JSON object, or lacks one of `keys`."""
    try:
        value = json.loads(read_bytes(url))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{url}: expected a manifest in JSON: {error}") from error
    if not isinstance(value, dict) or not all(key in value for key in keys):
        raise InputError(
            f"{url}: expected a manifest{' with ' + ', '.join(keys) if keys else ''}, found something else"
        )
    return value


def fingerprint_file(url: str) -> str:
    """Return `size:sha256` of a file; above 64 MiB the hash covers its first and last MiB only.

    A remote file is known by its size: reading it twice would double the traffic.
    """
    num_bytes = size(url)
    if is_remote(url):
        return f"{num_bytes}:"
    digest = hashlib.sha256()
    with reading(url) as file:
        if num_bytes > WHOLE_HASH_BYTES:
            digest.update(file.read(END_BYTES))
            file.seek(-END_BYTES, os.SEEK_END)
        while block := file.read(END_BYTES):
            digest.update(block)
    return f"{num_bytes}:{digest.hexdigest()}"


def fingerprint_inputs(patterns: Iterable[str]) -> dict[str, str]:
    """Return the fingerprint of each file that the patterns name, folders walked, keyed by path or URL.

    Raises InputError when a pattern names nothing, or a file cannot be read.
    """
    return {file: fingerprint_file(file) for pattern in patterns for file in _files(pattern)}


def _files(pattern: str) -> Iterator[str]:
    for found in expand(pattern):
        yield from [found] if is_remote(found) or not os.path.isdir(found) else walk_files(found)


def fingerprint_code(*packages: str) -> str:
    """Return one hash over the Python and SQL source of packages: the code that a run was made with."""
    digest = hashlib.sha256()
    for package in packages:
        _hash_folder(resources.files(package), package, digest)
    return digest.hexdigest()


def _hash_folder(folder: Any, name: str, digest: Any) -> None:
    for entry in sorted(folder.iterdir(), key=lambda entry: str(entry.name)):
        path = f"{name}/{entry.name}"
        if entry.is_dir() and entry.name != "__pycache__":
            _hash_folder(entry, path, digest)
        elif entry.name.endswith((".py", ".sql")):
            digest.update(path.encode() + b"\0" + hashlib.sha256(entry.read_bytes()).digest())


def differences(before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return a line for each value that differs between two nested mappings: `a.b: 1 -> 2`."""
    lines: list[str] = []
    for name in sorted({*before, *now}):
        old, new = before.get(name), now.get(name)
        if old == new:
            continue
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            lines += differences(old, new, f"{prefix}{name}.")
        else:
            lines.append(f"{prefix}{name}: {_short(old)} -> {_short(new)}")
    return lines


def _short(value: Any) -> str:
    text = "nothing" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."


def require_same(folder: str, before: Mapping[str, Any], now: Mapping[str, Any], remedy: str) -> None:
    """Raise MismatchError when what a folder was made from differs from what is asked now.

    The message names the first three differences and `remedy`, how to go on.
    """
    lines = differences(before, now)
    if lines:
        more = f" (and {len(lines) - 3} more)" if len(lines) > 3 else ""
        raise MismatchError(f"{folder} was made from something else: {'; '.join(lines[:3])}{more}; {remedy}")


def file_facts(folder: str, names: Iterable[str]) -> list[dict[str, Any]]:
    """Return name and size in bytes of files in a folder."""
    return [{"name": base_name(name), "bytes": size(join(folder, name))} for name in names]
