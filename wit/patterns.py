"""Which files a pattern or a folder names: braces, globs, folders and all below them, on disks and under URLs."""

from __future__ import annotations

import glob as globbing
import os
import re
from collections.abc import Iterable, Iterator
from itertools import islice

from wit.errors import InputError
from wit.storage import asking, input_error, is_remote, join, local_path, locate

_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"^(\d{1,18})\.\.(\d{1,18})$")
_MAX_EXPANDED = 1_000_000  # names of a pattern; LAION-2B's shards are 231,349


def expand_braces(pattern: str) -> list[str]:
    """Return what a shell would: `a{0..2}` gives a0, a1, a2; `{00..10}` keeps the width; `{x,y}` alternates.

    Raises InputError for more than a million names.
    """
    found = list(islice(_expanded(pattern), _MAX_EXPANDED + 1))
    if len(found) > _MAX_EXPANDED:
        raise InputError(f"{pattern}: expected at most {_MAX_EXPANDED:,} names in braces, found more; name fewer")
    return found


def _expanded(pattern: str) -> Iterator[str]:
    match = _BRACES.search(pattern)
    if not match:
        yield pattern
        return
    inside, head, tail = match.group(1), pattern[: match.start()], pattern[match.end() :]
    numbers = _RANGE.match(inside)
    if numbers:
        low, high = numbers.groups()
        width = len(low) if len(low) == len(high) or low.startswith("0") else 0
        choices: Iterable[str] = (str(number).zfill(width) for number in range(int(low), int(high) + 1))
    elif "," in inside:
        choices = inside.split(",")
    else:
        yield pattern
        return
    for choice in choices:
        yield from _expanded(head + choice + tail)


def expand(pattern: str) -> list[str]:
    """Return the files that a path, URL, brace or glob pattern names, sorted within each glob.

    What is there under the very name is meant, whatever signs are in it. Raises InputError when a path does not exist
    or a glob finds nothing.
    """
    if not is_remote(pattern) and os.path.exists(local_path(pattern)):
        return [utf8(local_path(pattern))]
    found: list[str] = []
    for one in expand_braces(pattern):
        if not is_remote(one):
            path = os.path.expanduser(local_path(one))
            names = sorted(globbing.glob(path, recursive=True)) if globbing.has_magic(path) else [path]
            if not names:
                raise InputError(f"{one}: expected a file here, found nothing")
            _require(names[0])
            found += map(utf8, names)
        elif any(sign in one for sign in "*["):  # '?' begins a query in a URL
            fs, path = locate(one)
            with asking(one):
                names = sorted(fs.glob(path))
            if not names:
                raise InputError(f"{one}: expected files to match, found none")
            found += [fs.unstrip_protocol(name) for name in names]
        else:
            found.append(one)
    return found


def expand_files(pattern: str) -> list[str]:
    """Return what `expand` does; raises InputError, too, when a folder, a pipe or a device is among them."""
    found = expand(pattern)
    for one in found:
        if not is_remote(one) and os.path.exists(one) and not os.path.isfile(one):
            inside = f"a folder; name the files in it, as {join(one, '*')}"
            found_there = inside if os.path.isdir(one) else "a pipe or a device; name a file with its content"
            raise InputError(f"{one}: expected a file, found {found_there}")
    return found


def _require(path: str) -> None:
    try:
        os.stat(path)
    except OSError as error:
        raise input_error(path, error) from error


def utf8(path: str) -> str:
    """Return a local path that tables can hold; raises InputError when its bytes are not UTF-8."""
    if path.encode(errors="ignore").decode() != path:
        raise InputError(f"{path!r}: expected a name in UTF-8; rename the file")
    return path


def walk_files(folder: str) -> list[str]:
    """Return the sorted paths (or URLs) of all files below a folder, behind links to folders too.

    Each begins with the folder as it is given. A link to a folder in which it lies is not followed. Raises InputError
    when a folder cannot be read.
    """
    if is_remote(folder):
        fs, path = locate(folder)
        with asking(folder):
            return sorted(join(folder, name.removeprefix(path)) for name in fs.find(path))
    return sorted(_walk(local_path(folder), ()))


def _walk(folder: str, above: tuple[str, ...]) -> Iterator[str]:
    """Yield the files below a folder; `above` are the real paths of the folders that it lies in."""
    real = os.path.realpath(folder)
    if real in above:
        return
    try:
        with os.scandir(folder) as found:
            entries = [(entry.path, entry.is_dir()) for entry in found]
    except OSError as error:
        raise input_error(folder, error) from error
    for path, is_dir in entries:
        if is_dir:
            yield from _walk(path, (*above, real))
        else:
            yield utf8(path)
