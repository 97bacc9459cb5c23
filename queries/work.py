"""The work folder: what of a build is finished, so that it is never done twice.

Each finished thing is a folder of its own, filled under a temporary name and put in place whole.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from wit import manifest
from wit.errors import InputError, MismatchError, WitError
from wit.locking import LOCK, locked
from wit.storage import TEMPORARY_PREFIX, is_remote, list_names, local_path, make_folder, remove, remove_temporaries

KIND = "queries-work"
MANIFEST, FACTS, SUMS = "manifest.json", "facts.json", "sums.json"

WORK = ".work"
"""The folder's name in the output folder."""


_READ_BYTES = 1 << 20


@contextmanager
def work_folder(out: str, kept: str | None, code: str) -> Iterator[str]:
    """Give the local folder of what is finished: `kept`, or one in `out` that goes when the block ends well.

    `code`: fingerprint of the code that made it. Raises MismatchError when `kept` holds something else or was made by
    other code, InputError when it is a URL or `out` itself.
    """
    if kept is not None:
        if is_remote(kept):
            raise InputError(f"{kept}: expected a local folder for --work, found a URL")
        if os.path.realpath(local_path(kept)) == os.path.realpath(local_path(out)):
            raise InputError(f"{kept}: expected a folder of its own for --work, found that of --out; choose another")
        with locked(kept, "wit queries build"):
            _claim(kept, code)
            yield local_path(kept)
    elif is_remote(out):
        with tempfile.TemporaryDirectory() as folder:
            yield folder
    else:
        folder = os.path.join(local_path(out), WORK)
        try:
            _claim(folder, code)
        except MismatchError:  # ours, and of no use to this build
            remove(folder)
            _claim(folder, code)
        try:
            yield folder
        except WitError:
            if list_names(folder) == [MANIFEST]:  # nothing in it is finished
                remove(folder)
            raise
        remove(folder)


def remove_leftovers(out: str, finished: bool) -> None:
    """Remove what a killed build left in its output folder: drafts, and its work folder when the list is finished."""
    if is_remote(out):
        return
    names = [name for name in os.listdir(local_path(out)) if name.startswith(TEMPORARY_PREFIX)]
    for name in [*names, WORK] if finished else names:
        remove(os.path.join(local_path(out), name))


def _claim(folder: str, code: str) -> None:
    make_folder(folder)
    path = os.path.join(folder, MANIFEST)
    names = [name for name in list_names(folder) if name != LOCK]
    remedy = "choose another --work, or remove this folder"
    if not names:
        manifest.write(path, {"kind": KIND, "code": code})
    before = manifest.read(path) if MANIFEST in list_names(folder) else {}
    if before.get("kind") != KIND:
        raise MismatchError(f"{folder}: expected a work folder of query lists, found other files in it; {remedy}")
    if before.get("code") != code:
        raise MismatchError(f"{folder}: expected counts made by this version of wit, found those of another; {remedy}")
    remove_temporaries(folder)


def folder_for(work: str, what: str, url: str, fingerprint: str) -> str:
    """Return the folder for what is made from one input file."""
    return os.path.join(work, f"{what}-{hashlib.sha256(f'{fingerprint} {url}'.encode()).hexdigest()[:16]}")


@contextmanager
def whole_folder(folder: str) -> Iterator[str]:
    """Give a temporary folder that becomes `folder` when the block ends, and goes when the block raises.

    Its files are not synced, which would cost a seek each for thousands of files: `is_whole` tells by their checksums
    whether they outlived a crash of the machine.
    """
    parent, name = os.path.split(folder)
    draft = os.path.join(parent, f"{TEMPORARY_PREFIX}{name}-{os.getpid()}")
    remove(draft)
    make_folder(draft)
    try:
        yield draft
        with open(os.path.join(draft, SUMS), "wb") as file:
            file.write(manifest.dumps(_sums(draft)))
    except BaseException:
        remove(draft)
        raise
    os.rename(draft, folder)


def is_whole(folder: str) -> bool:
    """Return whether a folder that `whole_folder` made is there with all it held; removes one that is not."""
    if not os.path.isdir(folder):
        return False
    try:
        with open(os.path.join(folder, SUMS), "rb") as file:
            whole = bool(json.load(file) == _sums(folder))
    except (OSError, ValueError):
        whole = False
    if not whole:
        remove(folder)
    return whole


def _sums(folder: str) -> dict[str, int]:
    """Return the CRC-32 of each file: against accidents, not against people."""
    sums = {}
    for entry in os.scandir(folder):
        if entry.name != SUMS:
            with open(entry.path, "rb") as file:
                sums[entry.name] = 0
                while block := file.read(_READ_BYTES):
                    sums[entry.name] = zlib.crc32(block, sums[entry.name])
    return sums


def write_facts(folder: str, facts: dict[str, Any]) -> None:
    """Write what is to know of a folder's content."""
    with open(os.path.join(folder, FACTS), "wb") as file:
        file.write(manifest.dumps(facts))


def read_facts(folder: str) -> dict[str, Any]:
    """Return what `write_facts` wrote."""
    with open(os.path.join(folder, FACTS), "rb") as file:
        facts: dict[str, Any] = json.load(file)
    return facts
