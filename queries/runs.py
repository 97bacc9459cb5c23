"""Runs: the counts of one stretch of text on local disk, as `ngrams` writes them and `merging` reads them.

A run named N is four files in one folder, numbers in this machine's byte order:

    N.words.parquet   its distinct words in ascending order of their bytes, and how often each occurs
    N.starts          int64, num_distinct_words + 1: where the rows of each first word begin
    N.rows            uint64, its distinct bigrams: place of the second word in that order << 32 | count, ascending in
                      each first word
    N.json            its totals

Places ascend as the words do, so a map of places to the places of a longer list of words keeps the rows sorted. A count
may be 0 in `words`: the word was counted by the run before, and begins a bigram here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from wit.errors import InputError
from wit.storage import ROW_GROUP_ROWS, input_error, join, list_names, output_error

U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

ROW_BYTES = 8
MAX_RUN_TOKENS = 1 << 31
"""More tokens than this are never in one run, so that a count, and a place too, has 32 bits."""

TOTALS, WORDS, STARTS, ROWS = ".json", ".words.parquet", ".starts", ".rows"


@dataclass(frozen=True)
class Run:
    """A finished run."""

    path: str
    """Of its files, without their endings."""
    num_words: int
    num_pairs: int
    """Occurrences of bigrams."""
    num_distinct_words: int
    num_rows: int
    """Distinct bigrams."""

    @property
    def words_path(self) -> str:
        """The Parquet file of (word, count)."""
        return self.path + WORDS

    def words(self) -> tuple[U8, I64]:
        """Return the words in their order as bytes one after another, and the offsets of each."""
        import pyarrow.parquet as pq

        with _reading(self.words_path):
            column = pq.read_table(self.words_path, columns=["word"]).column("word").combine_chunks()
        words = column.cast(pa.large_string()) if isinstance(column, pa.Array) else column.chunk(0)
        if len(words) == 0:
            return np.zeros(0, np.uint8), np.zeros(1, np.int64)
        _, offsets, data = words.buffers()
        offsets_from = np.frombuffer(offsets, np.int64)[words.offset : words.offset + len(words) + 1]
        return np.frombuffer(data, np.uint8), offsets_from

    def starts(self) -> I64:
        """Return where the rows of each first word begin, and after the last one where they end."""
        with _reading(self.path + STARTS):
            return np.fromfile(self.path + STARTS, np.int64)

    def rows(self, begin: int, end: int) -> U64:
        """Return the rows from `begin` to before `end`."""
        return read_rows(self.path + ROWS, begin, end)


def write_run(path: str, words: pa.Table, starts: I64, rows: U64, num_words: int, num_pairs: int) -> Run:
    """Write a run's files and return it; raises OutputError. `words` has columns word and count."""
    import pyarrow.parquet as pq

    run = Run(path, num_words, num_pairs, words.num_rows, len(rows))
    with writing(path):
        # Words are distinct and sorted: a dictionary would cost time and save nothing.
        pq.write_table(words, path + WORDS, compression="zstd", use_dictionary=False, row_group_size=ROW_GROUP_ROWS)
    with numbers_of(path, (STARTS, ROWS)) as files:
        write_numbers(files[0], starts)
        write_numbers(files[1], rows)
    with writing(path), open(path + TOTALS, "w", encoding="utf-8") as totals:
        json.dump({name: value for name, value in asdict(run).items() if name != "path"}, totals)
    return run


def find_runs(folders: Sequence[str]) -> list[Run]:
    """Return the runs of each folder in the order of their names."""
    return [run for folder in folders for run in _runs_of(folder)]


def _runs_of(folder: str) -> Iterator[Run]:
    for name in list_names(folder):
        if name.startswith("run-") and name.endswith(TOTALS):
            path = join(folder, name)
            with _reading(path), open(path, encoding="utf-8") as file:
                totals = json.load(file)
            yield Run(path.removesuffix(TOTALS), **totals)


def read_rows(path: str, begin: int, end: int) -> U64:
    """Return uint64 numbers `begin` to before `end` of a file; raises InputError when it is shorter."""
    with _reading(path):
        found = np.fromfile(path, np.uint64, end - begin, offset=begin * ROW_BYTES)
    if len(found) != end - begin:
        raise InputError(f"{path}: expected {end:,} rows, found {begin + len(found):,}; it was cut short, count anew")
    return found


@contextmanager
def numbers_of(path: str, endings: Sequence[str]) -> Iterator[list[IO[bytes]]]:
    """Give files to write numbers to, of one name with different endings; raises OutputError, also when closing."""
    with writing(path), ExitStack() as stack:
        yield [stack.enter_context(open(path + ending, "wb")) for ending in endings]


def write_numbers(file: IO[bytes], numbers: npt.NDArray[Any]) -> None:
    """Append an array's numbers as they lie in memory."""
    file.write(numbers.data)


@contextmanager
def writing(path: str) -> Iterator[None]:
    """Turn an OSError into the OutputError that names `path`."""
    try:
        yield
    except OSError as error:
        raise output_error(path, error) from error


@contextmanager
def _reading(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise input_error(path, error) from error
