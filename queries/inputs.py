"""The files that a list is made from: found, copied here when they lie elsewhere, and hashed.

What lies under a URL is copied once, over one connection, and a copy that was cut off goes on where it stopped: a dump
is then read in parallel from the disk, and not from a server that allows two or three connections.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

from wit.copying import READ_BYTES, copy_whole
from wit.errors import InputError
from wit.patterns import expand, expand_files
from wit.processes import Pool
from wit.progress import progress
from wit.storage import base_name, is_remote, local_path, make_folder, reading, size


@dataclass(frozen=True)
class Inputs:
    """The files the list is made from."""

    dumps: tuple[str, ...] = ()
    pageviews: tuple[str, ...] = ()
    wordnets: tuple[str, ...] = ()
    """Folders."""


def resolve_inputs(dumps: Iterable[str], pageviews: Iterable[str], wordnets: Iterable[str]) -> Inputs:
    """Return the files that paths, URLs, brace and glob patterns name; raises InputError when one names nothing."""
    return Inputs(_once(dumps, expand_files), _once(pageviews, expand_files), _once(wordnets, expand))


def _once(patterns: Iterable[str], expanded: Callable[[str], list[str]]) -> tuple[str, ...]:
    files = [file for pattern in patterns for file in expanded(pattern)]
    twice = [place for place, count in Counter(map(_place, files)).items() if count > 1]
    if twice:
        raise InputError(f"{min(twice)}: expected each input once, found it named twice")
    return tuple(files)


def _place(file: str) -> str:
    return file if is_remote(file) else os.path.realpath(local_path(file))


def local_copies(urls: Iterable[str], folder: str) -> dict[str, str]:
    """Return, for each URL or path, a local path with its content: the file itself, or a copy of it in `folder`.

    Raises InputError when a file cannot be read whole, OutputError when it cannot be copied.
    """
    remote = [url for url in urls if is_remote(url)]
    with progress("copying", sum(map(size, remote)), "bytes") as advance:
        copies = {url: _copy(url, folder, advance) for url in remote}
    return {url: copies.get(url) or local_path(url) for url in urls}


def _copy(url: str, folder: str, advance: Callable[[int], None]) -> str:
    make_folder(folder)
    copy = os.path.join(folder, f"{hashlib.sha256(url.encode()).hexdigest()[:16]}-{base_name(url)}")
    if os.path.exists(copy):
        advance(size(url))
    else:
        copy_whole(url, copy, advance)
    return copy


def hash_files(paths: Mapping[str, str], pool: Pool) -> dict[str, str]:
    """Return `size:sha256` of whole local files, keyed as they are."""
    found: dict[str, str] = {}
    with progress("hashing the input", len(paths), "files") as advance:

        def keep(hashed: tuple[str, str]) -> None:
            found.update([hashed])
            advance(1)

        pool.run((partial(_hash_file, name, path) for name, path in paths.items()), keep)
    return {name: found[name] for name in paths}


def _hash_file(name: str, path: str) -> tuple[str, str]:
    digest = hashlib.sha256()
    with reading(path) as file:
        while block := file.read(READ_BYTES):
            digest.update(block)
    return name, f"{size(path)}:{digest.hexdigest()}"
