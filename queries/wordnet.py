"""WordNet's database files (WNDB, see wndb(5WN)): the first lemma of each synset."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from wit.errors import InputError
from wit.storage import exists, join, read_bytes
from wit.text import normalise

FILES = {"n": "data.noun", "v": "data.verb", "a": "data.adj", "r": "data.adv"}
"""The letter of an id: its file; in the order in which synsets enter the list."""

_SYNSET = re.compile(r"(\d{8}) \d{2} [nvasr] [0-9a-f]{2} (\S+) [0-9a-f] ")
_POSITION = re.compile(r"\((?:a|p|ip)\)$")  # an adjective's syntactic marker


@dataclass(frozen=True)
class Synset:
    """A synset by its head."""

    id: str
    """Letter of the part of speech and the offset in its file: n02084071. Satellite adjectives have the letter a."""
    lemma: str
    """First lemma as WordNet writes it, with spaces."""

    @property
    def term(self) -> str:
        """The lemma's normal form."""
        return normalise(self.lemma)


def data_files(folder: str) -> list[str]:
    """Return the four data files of a WordNet folder, or of the `dict/` in it; raises InputError for others."""
    expected = ", ".join(FILES.values())
    for place in (folder, join(folder, "dict")):
        found = [join(place, name) for name in FILES.values()]
        missing = [name for name, file in zip(FILES.values(), found, strict=True) if not exists(file)]
        if not missing:
            return found
        if len(missing) < len(FILES):
            raise InputError(f"{place}: expected WordNet's {expected}, found no {', '.join(missing)}")
    raise InputError(f"{folder}: expected a WordNet folder with {expected} in it or in its dict/, found none of them")


def read_synsets(folder: str) -> Iterator[Synset]:
    """Yield the synsets of a folder: nouns, verbs, adjectives, adverbs, each by offset; raises InputError."""
    for letter, file in zip(FILES, data_files(folder), strict=True):
        yield from _read_file(file, letter)


def _read_file(file: str, letter: str) -> Iterator[Synset]:
    for number, line in enumerate(read_bytes(file).decode("utf-8", "replace").split("\n"), 1):
        if not line or line.startswith("  "):  # the licence
            continue
        match = _SYNSET.match(line)
        if match is None:
            raise InputError(f"{file}:{number}: expected a synset as in wndb(5WN), found {line[:60]!r}")
        yield Synset(letter + match.group(1), _POSITION.sub("", match.group(2)).replace("_", " "))
