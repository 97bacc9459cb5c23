"""WordNet's database files (WNDB, see wndb(5WN)): the lemmas of each synset.

https://wordnet.princeton.edu/documentation/wndb5wn; read are Princeton's 3.0 and 3.1, and files in that format of the
Open English WordNet, whose lemmas are UTF-8 and may have a lex_id of more than one digit.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Literal

import pyarrow as pa

from queries.database import write_rows
from wit.errors import InputError
from wit.storage import ROW_GROUP_ROWS, exists, join, read_bytes
from wit.text import normalise

FILES = {"n": "data.noun", "v": "data.verb", "a": "data.adj", "r": "data.adv"}
"""The letter of an id: its file; in the order in which synsets enter the list."""

SYNSETS = pa.schema(
    [
        pa.field("position", pa.int64(), nullable=False),
        pa.field("id", pa.string(), nullable=False),
        pa.field("lemma", pa.string(), nullable=False),
        pa.field("term", pa.string(), nullable=False),
    ]
)
"""What `write_synsets` writes; position: from 0, in the order in which lemmas enter the list."""

Lemmas = Literal["heads", "all"]
"""Which lemmas of a synset are read: the first, or each."""

# synset_offset lex_filenum ss_type w_cnt (word lex_id)... p_cnt
_SYNSET = re.compile(r"(\d{8}) \d{2} [nvasr] ([0-9a-f]{2,3}) ((?:\S+ [0-9a-f]{1,3} )+)\d{3} ")
_POSITION = re.compile(r"\((?:a|p|ip)\)$")  # an adjective's syntactic marker


@dataclass(frozen=True)
class Synset:
    """A synset by one of its lemmas."""

    id: str
    """Letter of the part of speech and the offset in its file: n02084071. Satellite adjectives have the letter a."""
    lemma: str
    """As WordNet writes it, with spaces and without an adjective's marker."""
    order: int = 0
    """Of the lemma in the synset; 0: its head."""

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


def read_synsets(folder: str, lemmas: Lemmas = "heads") -> Iterator[Synset]:
    """Yield the synsets of a folder: nouns, verbs, adjectives, adverbs, each by offset, then by order of lemmas.

    Raises InputError for a folder that is none of WordNet's, a file without synsets, and a line that is none, naming
    it.
    """
    for letter, file in zip(FILES, data_files(folder), strict=True):
        for synset in _read_file(file, letter):
            if lemmas == "all" or synset.order == 0:
                yield synset


def write_synsets(folders: Iterable[str], lemmas: Lemmas, out: str) -> int:
    """Write the lemmas of all synsets of some folders, in this order, to `out` (SYNSETS); return the number of rows."""
    return write_rows(out, SYNSETS, _batches(synset for folder in folders for synset in read_synsets(folder, lemmas)))


def _batches(synsets: Iterator[Synset]) -> Iterator[pa.RecordBatch]:
    position = 0
    while rows := list(islice(synsets, ROW_GROUP_ROWS)):
        positions = pa.array(range(position, position + len(rows)), pa.int64())
        columns = [[row.id for row in rows], [row.lemma for row in rows], [row.term for row in rows]]
        yield pa.record_batch([positions, *columns], schema=SYNSETS)
        position += len(rows)


def _read_file(file: str, letter: str) -> Iterator[Synset]:
    num_synsets = 0
    for number, line in enumerate(read_bytes(file).decode("utf-8", "replace").split("\n"), 1):
        if not line.strip() or line.startswith("  "):  # the licence
            continue
        match = _SYNSET.match(line)
        words = match.group(3).split(" ")[:-1:2] if match else []
        if match is None or len(words) != int(match.group(2), 16) or "\ufffd" in match.group(3):
            raise InputError(f"{file}:{number}: expected a synset as in wndb(5WN), in UTF-8, found {line[:60]!r}")
        num_synsets += 1
        for order, word in enumerate(words):
            yield Synset(letter + match.group(1), _POSITION.sub("", word).replace("_", " "), order)
    if not num_synsets:
        raise InputError(f"{file}: expected synsets, found none; fetch WordNet again")
