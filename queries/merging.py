"""Runs of counts from any number of processes, merged to the words and bigrams of all, in bounded memory.

Four steps, each linear in the rows of its input but for sorting in memory:

1. words: DuckDB sums the words of all runs; those seen often enough for a bigram are listed by their bytes.
2. batches: as many runs as fit in memory make one file of ascending numbers, packed (`queries.pairs`) and summed.
3. ranges: every so many numbers of each batch are known, so that the numbers can be cut in ranges that fit in memory;
   the rows of one range, from all batches, are sorted and summed, and what is seen often enough gets its PMI.
4. order: DuckDB sorts what is kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from queries.association import associations
from queries.database import database, scan, write_rows
from queries.runs import I64, ROW_BYTES, U8, U64, Run, find_runs, numbers_of, read_rows, write_numbers
from wit.errors import InputError
from wit.processes import Pool
from wit.progress import progress
from wit.storage import ROW_GROUP_ROWS, TEMPORARY_PREFIX, join, make_folder, remove

MIB = 1 << 20
MIN_DATABASE_BYTES = 128 * MIB
READ_ROWS = 1 << 20  # 8 MiB at a time
MIN_BATCH_ROWS = 64

WORDS = pa.schema([pa.field("word", pa.string(), nullable=False), pa.field("count", pa.int64(), nullable=False)])
BIGRAMS = pa.schema(
    [
        pa.field("term", pa.string(), nullable=False),
        pa.field("count", pa.int64(), nullable=False),
        pa.field("pmi", pa.float64(), nullable=False, metadata={"unit": "bit"}),
        pa.field("npmi", pa.float64(), nullable=False),
    ]
)
_KEYED = pa.schema([pa.field("key", pa.uint64(), nullable=False), *list(BIGRAMS)[1:]])
"""Bigrams with the numbers of their words, as `queries.pairs` joins them, in place of the term."""


@dataclass(frozen=True)
class MergeSettings:
    """What is kept, and what the merge may use."""

    min_bigram_count: int
    min_pmi: float | None
    """In bits; None keeps all."""
    memory_bytes: int
    """Of all processes together, beside about 180 MB that each has for its interpreter and libraries."""

    def batch_rows(self, processes: int) -> int:
        """Return the rows that a process has in memory: half of its share; words, and what is read and written, have
        the rest."""
        return max(self.memory_bytes // processes // 2 // ROW_BYTES, MIN_BATCH_ROWS)


@dataclass(frozen=True)
class MergeFacts:
    """What was counted."""

    num_words: int
    num_pairs: int
    """Occurrences of bigrams."""
    num_distinct_words: int
    num_distinct_bigrams: int
    """Of two words that are each seen at least `min_bigram_count` times; of all words when that is 1."""
    num_bigrams: int
    """Kept."""
    bigrams_by_count: tuple[int, ...]
    """The distinct bigrams above by count: place k has those seen from 2^k to 2^(k+1) - 1 times."""


def merge_runs(run_folders: Sequence[str], folder: str, settings: MergeSettings, pool: Pool) -> MergeFacts:
    """Write words.parquet and bigrams.parquet to a local folder.

    Words (WORDS) are all, ordered by (-count, word); bigrams (BIGRAMS) those with at least `min_bigram_count` and
    `min_pmi`, ordered by (-pmi, term); strings compare by code point. The bytes depend neither on how the text was cut
    into runs nor on memory and processes. Raises InputError for a damaged run, OutputError when there is no room on the
    disk (scratch takes about as much as the runs), UserError when the memory does not suffice.

    A bigram occurs at most as often as either of its words: each of its occurrences is one of theirs, and no other
    occurrence of the bigram has the same one in its place. So only words seen at least `min_bigram_count` times are
    listed, and the rows of other words are left out before anything is sorted.
    """
    assert settings.min_bigram_count >= 1
    runs = find_runs(run_folders)
    scratch = join(folder, f"{TEMPORARY_PREFIX}merge")
    remove(scratch)
    make_folder(scratch)
    try:
        words = join(folder, "words.parquet")
        num_distinct_words = _sum_words(runs, words, scratch, settings, pool.processes)
        sums = Sums(
            runs_totals=(sum(run.num_words for run in runs), sum(run.num_pairs for run in runs)),
            words=_list_words(words, scratch, settings, pool.processes),
            scratch=scratch,
            settings=settings,
        )
        batches = list(_fold_batches(sums, runs, pool)) if sums.words.num_words else []
        by_power, parts = _sum_ranges(sums, batches, pool)
        num_bigrams = _order_bigrams(sums, parts, join(folder, "bigrams.parquet"), pool.processes)
    finally:
        remove(scratch)
    by_count = np.trim_zeros(by_power, "b")
    return MergeFacts(*sums.runs_totals, num_distinct_words, int(by_count.sum()), num_bigrams, tuple(by_count.tolist()))


@dataclass(frozen=True)
class WordList:
    """Words by ascending bytes, in files that all processes map."""

    path: str
    num_words: int

    def words(self) -> tuple[U8, I64]:
        """Return the words' bytes one after another, and the offsets of each."""
        return np.memmap(self.path + ".bytes", np.uint8, "r"), np.memmap(self.path + ".offsets", np.int64, "r")

    def counts(self) -> I64:
        """Return how often each word was seen."""
        return np.memmap(self.path + ".counts", np.int64, "r")


@dataclass(frozen=True)
class Sums:
    """What every task of the merge knows."""

    runs_totals: tuple[int, int]
    """Words and pairs."""
    words: WordList
    scratch: str
    settings: MergeSettings


def _database(scratch: str, settings: MergeSettings, threads: int) -> Any:
    # The limit is of its buffers; what it allocates beside them, and the rows on their way out, has the last quarter.
    return database(scratch, max(settings.memory_bytes * 3 // 4, MIN_DATABASE_BYTES), threads)


def _sum_words(runs: Sequence[Run], url: str, scratch: str, settings: MergeSettings, threads: int) -> int:
    """Write the words of all runs and return how many there are."""
    if not runs:
        return write_rows(url, WORDS, [])
    query = "select word, sum(count)::bigint as count from run_words group by word order by count desc, word"
    with _database(scratch, settings, threads) as connection:
        scan(connection, *(run.words_path for run in runs)).create_view("run_words")
        found = connection.sql(query)
        return write_rows(url, WORDS, found.to_arrow_reader(ROW_GROUP_ROWS))


def _list_words(words: str, scratch: str, settings: MergeSettings, threads: int) -> WordList:
    """List the words that can be part of a bigram to keep."""
    path, query = join(scratch, "words"), "select word, count from words where count >= ? order by word"
    num_words = num_bytes = 0
    with (
        _database(scratch, settings, threads) as connection,
        numbers_of(path, (".bytes", ".offsets", ".counts")) as files,
    ):
        write_numbers(files[1], np.zeros(1, np.int64))
        scan(connection, words).create_view("words")
        found = connection.sql(query, params=[settings.min_bigram_count])
        for batch in found.to_arrow_reader(ROW_GROUP_ROWS):
            data, offsets = _bytes_of(batch.column("word"))
            write_numbers(files[0], data)
            write_numbers(files[1], offsets[1:] + num_bytes)
            write_numbers(files[2], batch.column("count").to_numpy())
            num_words += batch.num_rows
            num_bytes += len(data)
    from queries.pairs import MAX_LISTED

    if num_words > MAX_LISTED:
        raise InputError(
            f"{words}: expected at most {MAX_LISTED:,} words seen {settings.min_bigram_count:,} times or more, found "
            f"{num_words:,}; raise the least count of a bigram"
        )
    return WordList(path, num_words)


def _bytes_of(strings: pa.Array) -> tuple[U8, I64]:
    _, offsets, data = strings.cast(pa.large_string()).buffers()
    ends = np.frombuffer(offsets, np.int64)[strings.offset : strings.offset + len(strings) + 1]
    return np.frombuffer(data or b"", np.uint8)[ends[0] : ends[-1]], ends - ends[0]


@dataclass(frozen=True)
class Slice:
    """Rows of a run."""

    run: Run
    begin: int
    end: int


@dataclass(frozen=True)
class Batch:
    """A file of ascending numbers, each bigram as few times as its count allows."""

    path: str
    num_rows: int
    every: int
    """Rows from one sample to the next."""
    samples: U64
    """Row 0 and each `every` rows on."""

    def rows_for(self, low: np.uint64, high: np.uint64 | None) -> tuple[int, int]:
        """Return begin and end of rows among which all numbers from `low` to before `high` (None: all others) are.

        What is before row (n - 1) * every, for n samples below `low`, is below it too.
        """
        begin = max(int(np.searchsorted(self.samples, low)) - 1, 0) * self.every
        if high is None:
            return begin, self.num_rows
        return begin, min(int(np.searchsorted(self.samples, high)) * self.every, self.num_rows)


def _slices(runs: Sequence[Run], batch_rows: int) -> list[list[Slice]]:
    """Cut the runs' rows, in their order, into batches of at most so many rows."""
    batches: list[list[Slice]] = [[]]
    room = batch_rows
    for run in runs:
        begin = 0
        while begin < run.num_rows:
            if room == 0:
                batches.append([])
                room = batch_rows
            end = min(begin + room, run.num_rows)
            batches[-1].append(Slice(run, begin, end))
            room -= end - begin
            begin = end
    return [batch for batch in batches if batch]


def _fold_batches(sums: Sums, runs: Sequence[Run], pool: Pool) -> Iterator[Batch]:
    batch_rows = sums.settings.batch_rows(pool.processes)
    batches = _slices(runs, batch_rows)
    # A range reads one stretch of unknown rows at each end of each batch: all together an eighth of a range's memory.
    every = max(batch_rows // (16 * max(len(batches), 1)), 1)
    with progress("summing bigrams", len(batches), "batches") as advance:
        tasks = enumerate(batches)
        for batch in pool.map_in_order(partial(_fold_batch, sums, every), tasks):
            advance(1)
            yield batch


def _fold_batch(sums: Sums, every: int, task: tuple[int, list[Slice]]) -> Batch:
    from queries.pairs import Layout, fold, listed, pack

    index, slices = task
    layout, everyone = Layout.of(sums.words.num_words), sums.words.words()
    room = sum(piece.end - piece.begin + piece.run.num_pairs // layout.max_count for piece in slices)
    packed, num_packed = np.empty(room, np.uint64), 0
    for piece in slices:
        numbers, starts = listed(piece.run.words(), everyone), piece.run.starts()
        for begin in range(piece.begin, piece.end, READ_ROWS):
            rows = piece.run.rows(begin, min(begin + READ_ROWS, piece.end))
            num_packed = pack(rows, begin, starts, numbers, layout, packed, num_packed)
    packed = packed[:num_packed]
    packed.sort()
    packed = packed[: fold(packed, layout)]
    path = join(sums.scratch, f"batch-{index:05d}")
    with numbers_of(path, ("",)) as (file,):
        write_numbers(file, packed)
    return Batch(path, len(packed), every, packed[::every].copy())


@dataclass(frozen=True)
class Range:
    """All numbers from `low` to before `high` (None: to the last), and the rows of each batch's file they are among."""

    index: int
    low: np.uint64
    high: np.uint64 | None
    rows: tuple[tuple[str, int, int], ...]


def _ranges(batches: Sequence[Batch], batch_rows: int, count_bits: int) -> Iterator[Range]:
    """Cut the numbers so that each range has at most about 3/4 of `batch_rows` rows and no bigram is in two."""
    if not batches:
        return
    samples = np.sort(np.concatenate([batch.samples for batch in batches]))
    stride = max(batch_rows // (2 * batches[0].every), 1)
    bits = np.uint64(count_bits)
    cuts = np.unique(samples[stride::stride] >> bits << bits)
    bounds = [np.uint64(0), *cuts[cuts > 0], None]
    for index, (low, high) in enumerate(pairwise(bounds)):
        assert low is not None
        rows = [(batch.path, *batch.rows_for(low, high)) for batch in batches]
        yield Range(index, low, high, tuple(row for row in rows if row[1] < row[2]))


def _sum_ranges(sums: Sums, batches: Sequence[Batch], pool: Pool) -> tuple[I64, list[str]]:
    """Return distinct bigrams by the power of two of their count, and the files of those that are kept."""
    from queries.pairs import Layout

    by_power, parts = np.zeros(64, np.int64), []
    layout = Layout.of(sums.words.num_words)
    ranges = list(_ranges(batches, sums.settings.batch_rows(pool.processes), layout.count_bits))
    with progress("merging bigrams", len(ranges), "ranges") as advance:
        for part, num_by_power in pool.map_in_order(partial(_sum_range, sums), ranges):
            parts.append(part)
            by_power += num_by_power
            advance(1)
    return by_power, parts


def _sum_range(sums: Sums, numbers: Range) -> tuple[str, I64]:
    by_power = np.zeros(64, np.int64)
    part = join(sums.scratch, f"bigrams-{numbers.index:05d}.parquet")
    write_rows(part, _KEYED, _bigrams(sums, _read_range(numbers), by_power))
    return part, by_power


def _read_range(numbers: Range) -> U64:
    """Return all numbers of a range, sorted."""
    packed = np.empty(sum(end - begin for _, begin, end in numbers.rows), np.uint64)
    num_packed = 0
    for path, first, last in numbers.rows:
        for begin in range(first, last, READ_ROWS):
            rows = read_rows(path, begin, min(begin + READ_ROWS, last))
            end = len(rows) if numbers.high is None else np.searchsorted(rows, numbers.high)
            rows = rows[np.searchsorted(rows, numbers.low) : end]
            packed[num_packed : num_packed + len(rows)] = rows
            num_packed += len(rows)
    packed = packed[:num_packed]
    packed.sort()
    return packed


def _bigrams(sums: Sums, packed: U64, by_power: I64) -> Iterator[pa.RecordBatch]:
    """Yield the bigrams to keep; `by_power` grows by all."""
    from queries.pairs import Layout, split, totals

    settings, layout = sums.settings, Layout.of(sums.words.num_words)
    word_counts = sums.words.counts()
    begin = 0
    while begin < len(packed):
        begin, keys, counts = totals(packed, begin, layout, settings.min_bigram_count, by_power, ROW_GROUP_ROWS)
        firsts, seconds = split(keys, layout)
        margins = (word_counts[firsts], word_counts[seconds])
        kept, pmi, npmi = associations(counts, *margins, *sums.runs_totals, settings.min_pmi)
        yield pa.record_batch([keys[kept], counts[kept], pmi, npmi], schema=_KEYED)


def _order_bigrams(sums: Sums, parts: Sequence[str], url: str, threads: int) -> int:
    """Write the rows of all parts in their final order and return how many there are.

    Keys are in the order of the terms: the words' numbers are in the order of their bytes, and the space that ends the
    first word in a term is below any byte of a word.
    """
    if not parts:
        return write_rows(url, BIGRAMS, [])
    with _database(sums.scratch, sums.settings, threads) as connection:
        scan(connection, *parts).create_view("bigrams")
        found = connection.sql("select * from bigrams order by pmi desc, key")
        return write_rows(url, BIGRAMS, map(partial(_spelled_out, sums.words), found.to_arrow_reader(ROW_GROUP_ROWS)))


def _spelled_out(listed: WordList, batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return a batch with terms in place of keys."""
    from queries.pairs import Layout, join_words, split

    firsts, seconds = split(batch.column("key").to_numpy(), Layout.of(listed.num_words))
    data, offsets = join_words(firsts, seconds, listed.words())
    terms = pa.Array.from_buffers(pa.large_string(), len(firsts), [None, pa.py_buffer(offsets), pa.py_buffer(data)])
    return pa.record_batch([terms, *batch.columns[1:]], names=BIGRAMS.names)
