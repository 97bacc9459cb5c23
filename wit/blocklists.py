"""Lists of what a user does not want: domains, substrings of addresses, files by their hashes; sought in columns."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np

from wit.errors import InputError
from wit.hosts import MAX_HOST_CHARACTERS, Domains, host_of
from wit.patterns import expand_files
from wit.ragged import ragged
from wit.storage import read_bytes

T = TypeVar("T")

WILDCARD = "*"
NOT_IN_DOMAINS = re.compile(r"[\s/:?#@\\*\x00-\x1f\x7f]")
"""A sign that stands in no domain, but in addresses and patterns."""
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MAX_PATTERN_CHARACTERS = 1000  # looking up matches takes memory for one of average length a row


class Patterns:
    """Substrings of addresses, in which `*` stands for any characters or none; case counts."""

    def __init__(self, patterns: Sequence[str]) -> None:
        """Each pattern has a character besides `*`. Takes a microsecond a character, 60 bytes of memory."""
        from wit.substring_kernels import FREE, NONE, grow_trie, link_fails

        self._pieces = [[piece for piece in pattern.split(WILDCARD) if piece] for pattern in patterns]
        longest = ragged(_strings([max(pieces, key=len) for pieces in self._pieces]))
        num_bytes = len(longest.text)
        self._keys = np.full(1 << (2 * num_bytes).bit_length(), FREE, np.int64)
        self._targets = np.zeros(len(self._keys), np.int32)
        parents, depths = np.zeros((2, num_bytes + 1), np.int32)
        letters = np.zeros(num_bytes + 1, np.uint8)
        ends = np.empty(len(patterns), np.int32)
        num_states = grow_trie(*longest, self._keys, self._targets, parents, letters, depths, ends)
        self._plain, self._is_wild = np.full(num_states, NONE, np.int32), np.zeros(num_states, np.bool_)
        is_plain = np.array([len(pieces) == 1 for pieces in self._pieces], np.bool_)
        numbers = np.flatnonzero(is_plain)[::-1].astype(np.int32)  # of equal pieces the first pattern names both
        self._plain[ends[numbers]] = numbers
        self._is_wild[ends[~is_plain]] = True
        self._roots, self._fails = np.zeros(256, np.int32), np.zeros(num_states, np.int32)
        order = np.argsort(depths[:num_states], kind="stable")
        link_fails(
            order, parents, letters, self._keys, self._targets, self._roots, self._fails, self._plain, self._is_wild
        )
        self.patterns = _strings(patterns)
        self._wild = np.flatnonzero(~is_plain).tolist()

    def find(self, urls: Any) -> Any:
        """Return for each of an Arrow array of addresses a pattern that stands in it; null: none does.

        That of a plain pattern which ends first; if there is none, the first with a `*` between characters.
        """
        import pyarrow as pa

        from wit.substring_kernels import NONE, find_pieces

        found, may_match = np.empty(len(urls), np.int32), np.empty(len(urls), np.bool_)
        find_pieces(
            *ragged(urls), self._keys, self._targets, self._roots, self._fails, self._plain, self._is_wild,
            found, may_match,
        )  # fmt: skip
        for row in np.flatnonzero(may_match & (found == NONE)).tolist():
            found[row] = self._first_wild(urls[row].as_py())
        return self.patterns.take(pa.array(found, mask=found == NONE))

    def _first_wild(self, url: str) -> int:
        from wit.substring_kernels import NONE

        return next((number for number in self._wild if _follow(self._pieces[number], url)), NONE)


def _strings(texts: Sequence[str]) -> Any:
    import pyarrow as pa

    return pa.array(texts, pa.large_string())


def _follow(pieces: Sequence[str], text: str) -> bool:
    """Return whether pieces stand in a text one after the other; each as early as it can, so in linear time."""
    end = 0
    for piece in pieces:
        start = text.find(piece, end)
        if start < 0:
            return False
        end = start + len(piece)
    return True


def read_domains(urls: Sequence[str]) -> Domains | None:
    """Return the domains of some files, one a line, `#` before remarks; None when there are none.

    "example.com", ".example.com" and "*.example.com" are the same: the domain and its subdomains. Raises InputError,
    with the line, for what is no domain.
    """
    return _domains(_contents(urls)) if urls else None


def read_patterns(urls: Sequence[str]) -> Patterns | None:
    """Return the patterns of some files, one a line, lines that begin with `#` left out; None when there are none.

    Raises InputError, with the line, for a pattern without a character besides `*`, with white space in it, or of more
    than 1,000 characters.
    """
    return _patterns(_contents(urls)) if urls else None


def read_digests(urls: Sequence[str]) -> Any:
    """Return the SHA-256 digests of some files, 64 hex digits in any case, one a line, as an Arrow string array.

    What follows a digest after white space is a remark, as in the output of sha256sum. Raises InputError, with the
    line, for what is no digest.
    """
    return _digests(_contents(urls))


def _contents(urls: Sequence[str]) -> tuple[tuple[str, bytes], ...]:
    return tuple((file, read_bytes(file)) for url in urls for file in expand_files(url))


@lru_cache(maxsize=1)  # by what the files hold: every part of a run asks for the same
def _domains(files: tuple[tuple[str, bytes], ...]) -> Domains | None:
    names = [name for file in files for name in _parsed(*file, _domain, "a domain (example.com)")]
    return Domains(list(dict.fromkeys(names))) if names else None


@lru_cache(maxsize=1)
def _patterns(files: tuple[tuple[str, bytes], ...]) -> Patterns | None:
    found = [pattern for file in files for pattern in _parsed(*file, _pattern, "a part of an address (/ads/*.gif)")]
    return Patterns(list(dict.fromkeys(found))) if found else None


@lru_cache(maxsize=1)
def _digests(files: tuple[tuple[str, bytes], ...]) -> Any:
    import pyarrow as pa

    found = [digest for file in files for digest in _parsed(*file, _digest, "a SHA-256 (64 hex digits)")]
    return pa.array(list(dict.fromkeys(found)), pa.string())


def _parsed(url: str, data: bytes, parse: Callable[[str], str], expected: str) -> Iterator[str]:
    """Yield what each line of a file says; `parse` gives the empty string for what it does not take."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{url}: expected UTF-8 text: {error.reason} at byte {error.start}") from error
    for number, line in enumerate(text.split("\n"), 1):
        entry = line.strip()
        if not entry or entry.startswith("#"):
            continue
        parsed = parse(entry)
        if not parsed:
            raise InputError(f"{url}:{number}: expected {expected}, found {entry[:100]!r}; correct or remove the line")
        yield parsed


def _domain(entry: str) -> str:
    name = entry.partition("#")[0].strip().removeprefix("*").removeprefix(".")
    return "" if NOT_IN_DOMAINS.search(name) or len(name) > MAX_HOST_CHARACTERS else host_of(f"http://{name}")


def _pattern(entry: str) -> str:
    is_none = not entry.strip(WILDCARD) or re.search(r"\s", entry) or len(entry) > _MAX_PATTERN_CHARACTERS
    return "" if is_none else entry


def _digest(entry: str) -> str:
    digits = entry.split(maxsplit=1)[0].lower()
    return digits if _SHA256.fullmatch(digits) else ""
