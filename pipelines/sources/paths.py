"""Lists of archives as Common Crawl publishes them: `wat.paths.gz`, `warc.paths.gz`, one path a line."""

from __future__ import annotations

import gzip
import io
import zlib

from wit.errors import InputError
from wit.patterns import expand_files
from wit.storage import base_name, exists, is_remote, local_path, reading

COMMON_CRAWL = "https://data.commoncrawl.org/"
"""What comes before the lines of Common Crawl's lists. Source: commoncrawl.org/get-started."""

_LIST_ENDINGS = (".paths", ".paths.gz")
_CRAWLS = "crawl-data/"
_MAX_LIST_BYTES = 64 << 20  # the 100,000 lines of a crawl have 14 MB
_SHOWN_CHARACTERS = 100


def expand_paths(pattern: str, prefix: str = COMMON_CRAWL) -> list[str]:
    """Return the files that a path, URL, brace or glob pattern names; of a list of paths, those that its lines name.

    A list is a file whose name ends with `.paths` or `.paths.gz`. Its lines are absolute (a URL, or a path from the
    root), or begin with `crawl-data/` and are relative to the folder above the list's own `crawl-data/`, or to `prefix`
    when it lies in no such folder; all others are relative to the list's folder. Blank lines say nothing.

    Raises InputError when nothing is there, and when a list is damaged, empty, or names a local file that is not there.
    """
    return [url for name in expand_files(pattern) for url in (_listed(name, prefix) if _is_list(name) else [name])]


def known_by(pattern: str, prefix: str = COMMON_CRAWL) -> list[str]:
    """Return the files whose fingerprints say what is read: those of `expand_paths`, but a list in place of URLs in it.

    Asking a server for the sizes of a crawl's ninety thousand archives takes an hour, and they never change. Raises
    what `expand_paths` raises.
    """
    found: list[str] = []
    for name in expand_files(pattern):
        if not _is_list(name):
            found.append(name)
            continue
        files = _listed(name, prefix)
        here = [url for url in files if not is_remote(url)]
        found += here if len(here) == len(files) else [name, *here]
    return found


def _is_list(name: str) -> bool:
    return base_name(name).endswith(_LIST_ENDINGS)


def _listed(name: str, prefix: str) -> list[str]:
    lines = enumerate(_text(name).split("\n"), 1)
    found = [_located(line.strip(), name, prefix, number) for number, line in lines if line.strip()]
    if not found:
        raise InputError(f"{name}: expected paths of archives, one a line, found none")
    return found


def _text(name: str) -> str:
    """Return the content of a list, compressed or not."""
    with reading(name) as file:
        data = file.read(_MAX_LIST_BYTES + 1)
    if data.startswith(b"\x1f\x8b"):
        data = _inflated(name, data)
    if len(data) > _MAX_LIST_BYTES:
        raise InputError(f"{name}: expected a list of at most {_MAX_LIST_BYTES >> 20} MiB, found more; cut it in parts")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{name}: expected text in UTF-8, found other bytes at {error.start}") from error


def _inflated(name: str, data: bytes) -> bytes:
    """Return what a gzip file holds, up to a byte more than a list may have."""
    try:
        with gzip.open(io.BytesIO(data)) as file:
            return file.read(_MAX_LIST_BYTES + 1)
    except (EOFError, OSError, zlib.error) as error:
        raise InputError(
            f"{name}: expected a whole gzip file, found a damaged one ({error}); fetch it again"
        ) from error


def _located(line: str, name: str, prefix: str, number: int) -> str:
    """Return where the file that a line of a list names is."""
    where = f"{name}, line {number}"
    if not line.isprintable():
        raise InputError(f"{where}: expected the path of an archive, found {line[:_SHOWN_CHARACTERS]!r}")
    if is_remote(line):
        return line
    is_absolute = line.startswith(("/", "file://"))
    if is_absolute and is_remote(name):
        raise InputError(f"{where}: expected a URL or a relative path in a remote list, found {line!r}")
    found = local_path(line) if is_absolute else _root(line, name, prefix) + line
    if not is_remote(found) and not exists(found):
        raise InputError(f"{where}: expected a file at {found}, found nothing; leave such lines out of the list")
    return found


def _root(line: str, name: str, prefix: str) -> str:
    """Return what a relative line is relative to: "" or something that ends with a slash."""
    folder = name[: name.rfind("/") + 1]
    if not line.startswith(_CRAWLS):
        return folder
    above, crawls, _ = f"/{folder}".rpartition(f"/{_CRAWLS}")
    if crawls:
        return f"{above}/"[1:]
    return f"{prefix.rstrip('/')}/" if prefix else ""
