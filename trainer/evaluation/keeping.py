"""Results that are there already: those of the same weights, words, options, images and code are not made again."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from wit import manifest
from wit.errors import InputError
from wit.storage import exists, join

MADE_FROM = "made_from"
"""Key of a result: a hash over what it follows from."""


def key_of(facts: Mapping[str, Any]) -> str:
    """Return SHA-256, in hex, over what a result follows from, and the code that makes it."""
    code = manifest.fingerprint_code("trainer", "wit")
    return hashlib.sha256(manifest.dumps({"code": code, **facts})).hexdigest()


def result_url(out: str, task: str, protocol: str) -> str:
    """Return the file of a result."""
    return join(out, "results", f"{task}.{protocol}.json")


def write_result(out: str, result: Mapping[str, Any], key: str) -> None:
    """Publish a result; raises OutputError."""
    manifest.write(result_url(out, result["task"], result["protocol"]), {**result, MADE_FROM: key})


def kept_result(out: str, task: str, protocol: str, key: str) -> dict[str, Any] | None:
    """Return the result of a file if it follows from the same; one that is broken is made again."""
    url = result_url(out, task, protocol)
    if not exists(url):
        return None
    try:
        found = manifest.read(url, MADE_FROM)
    except InputError:
        return None
    return found if found[MADE_FROM] == key else None
