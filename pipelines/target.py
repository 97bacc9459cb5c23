"""Where a run's shards go when they do not stay in it: a folder or URL that is this run's alone (`pack.out`).

`made_from.json`, there before the first shard, says whose it is: the hash of what decides the run's samples. Shards of
anyone else are never touched; the run's own are removed where the same command is to write them anew.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from wit import manifest
from wit.errors import OutputError
from wit.locking import LOCK
from wit.shards import MADE_FROM, MANIFEST, REMOVALS_NAME, UNDER_WAY
from wit.storage import exists, is_remote, join, list_names, local_path, remove, remove_temporaries

_OURS = re.compile(r"\d{5,}\.(tar|parquet)")
_WHOSE = "run"


Identities = Sequence[Mapping[str, Any]]
"""What runs are made from, as their run.json says it."""


def require_ours(folder: str, root: str, owners: Identities) -> None:
    """Raise OutputError unless a folder is new, empty, or that of a run with one of these identities.

    It cannot lie in the run, whose folder is `root`: there its files would be taken for a stage's.
    """
    if join(_place(folder), "").startswith(join(_place(root), "")):
        raise OutputError(
            f"{folder}: expected a place outside the run for the shards; leave pack.out empty to have them in "
            f"{join(root, 'shards')}"
        )
    names = [name for name in list_names(folder) if name != LOCK]
    if names and _owner(folder) not in map(_name, owners):
        whose = "the shards of another run" if MADE_FROM in names else names[0]
        raise OutputError(
            f"{folder}: expected a new or empty folder for the shards, found {whose}; choose another pack.out, or "
            "remove the folder"
        )


def claim(folder: str, made_from: Mapping[str, Any]) -> None:
    """Mark a folder as that of a run's shards, before the run begins; raises OutputError when it cannot be written."""
    if _owner(folder) == _name(made_from):
        remove_temporaries(folder)
    else:
        manifest.write(join(folder, MADE_FROM), {_WHOSE: _name(made_from)})


def release(folder: str, owners: Identities) -> None:
    """Remove what a run with one of these identities has written to a folder; what is not its own stays.

    The manifest goes first, so that nobody takes what is left for a set; the mark of whose it is goes last.
    """
    if _owner(folder) not in map(_name, owners):
        return
    remove_temporaries(folder)
    remove(join(folder, MANIFEST))
    for name in list_names(folder):
        if _OURS.fullmatch(name):
            remove(join(folder, name))
    remove(join(folder, MADE_FROM))


def is_finished(folder: str) -> bool:
    """Return whether a folder holds a whole set of shards."""
    return exists(join(folder, MANIFEST))


def refuse_removals(folder: str) -> None:
    """Raise OutputError when samples were removed from the shards in a folder: made anew, they would be back."""
    for name in (UNDER_WAY, REMOVALS_NAME):
        if exists(join(folder, name)):
            raise OutputError(
                f"{folder}: samples were removed from these shards ({name}), and would be back in new ones; move that "
                "file elsewhere, and when the run has ended remove them again: wit shards remove --list FILE"
            )


def _place(folder: str) -> str:
    return folder.rstrip("/") if is_remote(folder) else os.path.realpath(local_path(folder))


def _owner(folder: str) -> Any:
    """Return the name of the run whose shards are in a folder; None when they are of no run."""
    url = join(folder, MADE_FROM)
    return manifest.read(url).get(_WHOSE) if exists(url) else None


def _name(made_from: Mapping[str, Any]) -> str:
    """Return a hash of the recipe and the inputs; which code went on with a run does not make it another."""
    return hashlib.sha256(manifest.dumps({part: made_from[part] for part in ("recipe", "inputs")})).hexdigest()
