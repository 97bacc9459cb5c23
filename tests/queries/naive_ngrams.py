"""Words and bigrams counted the obvious way, and what the tests of the fast way share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from queries.ngrams import NgramCounter, RunFacts
from queries.runs import I64, U8, find_runs

LETTERS = ["a", "b", "'s", "dog", "dogs", "o'clock", "exactly", "8letters", "8letterz", "ninechars", "é", "漢字", "ﬀ𝔘x"]
WORDS = st.one_of(
    st.sampled_from(LETTERS),
    st.text("ab", min_size=1, max_size=20),
    st.integers(0, 3).map(lambda number: "x" * 250 + "y" * number + "z" * 20),
)
DOCUMENTS = st.lists(st.lists(st.lists(WORDS, max_size=9), max_size=4), max_size=5)
"""Documents of lines of tokens."""


def ragged(documents: Sequence[Sequence[Sequence[str]]]) -> tuple[U8, I64]:
    """Return documents as normal_lines gives them."""
    texts = ["\n".join(map(" ".join, lines)).encode() for lines in documents]
    offsets = np.cumsum([0, *map(len, texts)]).astype(np.int64)
    return np.frombuffer(b"".join(texts), np.uint8), offsets


def naive_counts(documents: Sequence[Sequence[Sequence[str]]]) -> tuple[Counter[str], Counter[tuple[str, str]]]:
    """Return words and bigrams; a possessive is no word and parts its neighbours."""
    words: Counter[str] = Counter()
    bigrams: Counter[tuple[str, str]] = Counter()
    for line in (line for lines in documents for line in lines):
        words.update(token for token in line if token != "'s")
        bigrams.update(pair for pair in pairwise(line) if "'s" not in pair)
    return words, bigrams


def write_runs(folder: Path, documents: Sequence[Sequence[Sequence[str]]], memory_bytes: int) -> RunFacts:
    """Count documents, half of them a call, into runs in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    counter = NgramCounter(str(folder), memory_bytes)
    half = len(documents) // 2
    counter.add(*ragged(documents[:half]))
    counter.add(*ragged(documents[half:]))
    return counter.close()


def runs_counts(folder: Path) -> tuple[Counter[str], Counter[tuple[str, str]]]:
    """Return the sums of all runs of a folder, read the plain way; each run is checked to be in its order."""
    import pyarrow.parquet as pq

    all_words: Counter[str] = Counter()
    bigrams: Counter[tuple[str, str]] = Counter()
    for run in find_runs([str(folder)]):
        table = pq.read_table(run.words_path)
        words = table.column("word").to_pylist()
        assert words == sorted(set(words))
        all_words.update(dict(zip(words, table.column("count").to_pylist(), strict=True)))
        starts, rows = run.starts(), run.rows(0, run.num_rows)
        assert (starts[0], starts[-1], len(starts)) == (0, run.num_rows, run.num_distinct_words + 1)
        for place, (begin, end) in enumerate(pairwise(starts.tolist())):
            seconds = rows[begin:end] >> np.uint64(32)
            assert np.all(seconds[1:] > seconds[:-1])
            for row in rows[begin:end].tolist():
                bigrams[words[place], words[row >> 32]] += row & 0xFFFFFFFF
    return +all_words, bigrams
