"""Inputs that lie elsewhere, brought here for as long as they are worked on."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from pipelines.sources.shards import Shards, table_beside
from wit.copying import copy_if_there, copy_whole
from wit.errors import InputError
from wit.storage import TEMPORARY_PREFIX, base_name, is_remote, local_path

_ATTEMPTS = 8  # at a remote file, the last after two minutes: a month of crawling sees servers restart


@contextmanager
def brought_here(kind: str, url: str, root: str) -> Iterator[str]:
    """Yield a local path of a file, copied for as long as it is worked on when it lies elsewhere.

    With a tar comes the table beside it, which may have its URLs. So what a network does to a file is told apart from
    its damage: the first stops the run, the second is a reject.
    """
    if not is_remote(url):
        yield url
        return
    parent = None if is_remote(root) else local_path(root)  # where the next run removes what a killed one leaves
    folder = tempfile.mkdtemp(prefix=f"{TEMPORARY_PREFIX}input-{os.getpid()}-", dir=parent)
    try:
        path = os.path.join(folder, base_name(url))
        copy_whole(url, path, lambda _: None, _ATTEMPTS)
        table = table_beside(url)
        if kind == Shards.kind and table != url:
            copy_if_there(table, os.path.join(folder, base_name(table)), lambda _: None, _ATTEMPTS)
        yield path
    except InputError as error:
        raise InputError(str(error).replace(os.path.join(folder, ""), url.removesuffix(base_name(url)))) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
