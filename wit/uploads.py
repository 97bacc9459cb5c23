"""Local files given to a store that fsspec knows, so that no reader ever finds half of one under its name."""

from __future__ import annotations

import posixpath
from contextlib import suppress
from typing import Any

ATOMIC = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss"})
"""Protocols of the stores in which an object is there when all of it is: S3, Google Cloud Storage, Azure Blob.

Elsewhere (sftp, smb, hdfs, memory, ...) a reader sees a file grow, so it is uploaded under another name and renamed.
"""


def is_atomic(fs: Any) -> bool:
    """Return whether what is put into a file system appears as a whole."""
    protocols = {fs.protocol} if isinstance(fs.protocol, str) else set(fs.protocol)
    return not protocols.isdisjoint(ATOMIC)


def upload(fs: Any, local: str, path: str, temporary_name: str) -> None:
    """Put a local file in the place of `path`; where the store is not atomic, by way of a name beside it.

    A store that cannot rename a file onto another has neither for a moment. Raises OSError, and what else the file
    system does; the temporary file is gone then, if the store still listens.
    """
    if is_atomic(fs):
        fs.put_file(local, path)
        return
    folder = posixpath.dirname(path)
    temporary = posixpath.join(folder, temporary_name)
    fs.makedirs(folder, exist_ok=True)
    try:
        fs.put_file(local, temporary)
        if fs.exists(path):
            fs.rm_file(path)
        fs.mv(temporary, path)
    except BaseException:
        with suppress(OSError, NotImplementedError):  # nothing is ever removed by HTTP
            fs.rm_file(temporary)
        raise


def remove_left(fs: Any, folder: str, prefix: str) -> None:
    """Remove the files that begin with `prefix` anywhere under a folder: uploads that were killed."""
    if is_atomic(fs):
        return
    for path in fs.find(folder):
        if posixpath.basename(path).startswith(prefix):
            fs.rm_file(path)
