"""One process at a time in a folder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from wit.errors import OutputError
from wit.storage import is_remote, join, local_path, make_folder, output_error

LOCK = ".lock"
"""Name of the file, in a locked folder, that is locked; it stays there."""


@contextmanager
def locked(folder: str, command: str) -> Iterator[None]:
    """Hold a folder, made where there is none, for this process; a killed process lets go of it by dying.

    A URL is not locked: object stores have no locks. Raises OutputError when another process holds it, which is said
    to be a `command`.
    """
    if is_remote(folder):
        yield
        return
    make_folder(folder)
    try:
        descriptor = os.open(join(local_path(folder), LOCK), os.O_CREAT | os.O_RDWR, 0o666)
    except OSError as error:
        raise output_error(folder, error) from error
    try:
        _take(descriptor, folder, command)
        yield
    finally:
        os.close(descriptor)


def _take(descriptor: int, folder: str, command: str) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise OutputError(f"{folder}: another {command} is at work in this folder; wait for it or stop it") from error
