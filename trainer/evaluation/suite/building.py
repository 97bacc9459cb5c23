"""Folders of sets that are built by recipe: one that was begun, and killed, goes on by the same command.

OUT/manifest.json says from the first moment what the folder is made from, and at the end what is in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from wit import manifest
from wit.errors import MismatchError
from wit.storage import exists, join, list_names

MADE_FROM = "made_from"
DRAWN = "drawn.json"
"""A choice that takes long, kept beside the manifest."""
_NAME = "manifest.json"


def begin(out: str, name: str, made_from: Mapping[str, Any]) -> None:
    """Begin the folder of a set, or go on with it; `made_from` is all that what is built follows from.

    A folder with nothing built in it yet is begun anew. Raises MismatchError when one was built from something else,
    or holds something else.
    """
    url = join(out, _NAME)
    now = {"set": name, MADE_FROM: dict(made_from)}
    is_begun, built = exists(url), set(list_names(out)) - {_NAME, DRAWN}
    if is_begun and built:
        before = manifest.read(url)
        manifest.require_same(out, {key: before.get(key) for key in now}, now, "choose another --out")
    elif built:
        raise MismatchError(f"--out {out}: expected a new or empty folder, found files in it; choose another")
    else:
        manifest.write(url, now)


def draw_once(out: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return what `make` draws for a folder that was begun: what it drew the first time, from the same."""
    url, made_from = join(out, DRAWN), manifest.read(join(out, _NAME), MADE_FROM)[MADE_FROM]
    if exists(url):
        kept = manifest.read(url, MADE_FROM, "drawn")
        if kept[MADE_FROM] == made_from:
            found: dict[str, Any] = kept["drawn"]
            return found
    drawn = make()
    manifest.write(url, {MADE_FROM: made_from, "drawn": drawn})
    return drawn


def finish(out: str, facts: Mapping[str, Any]) -> None:
    """Say what is in a folder that was begun."""
    manifest.write(join(out, _NAME), {**manifest.read(join(out, _NAME)), **facts})
