"""Exact counts of words and bigrams, and the pointwise mutual information of bigrams.

A word is a token of `wit.text.tokens` other than the possessive "'s". A bigram is two words next to each other in the
token stream of one line of prose; a possessive stands between its neighbours and parts them, because a matcher that
seeks whole runs of tokens would find it there. Counting is exact: what does not fit in memory is spilled to disk as
sorted runs and merged, nothing is pruned before all is summed.
"""

from __future__ import annotations

import math
import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from queries.wikipedia import Site, parse_block
from queries.wikitext import prose
from wit.text import POSSESSIVE, tokens

Ints = npt.NDArray[np.int64]

SPILL_ROWS = 1 << 24  # 2^24 rows x 16 bytes = 256 MiB, and about twice that while they are sorted


@dataclass(frozen=True)
class Block:
    """Raw XML of whole pages, as one process counts it."""

    xml: bytes
    url: str
    site: Site


@dataclass(frozen=True)
class BlockCounts:
    """The counts of one block; words are numbered by first occurrence, number 0 is the break between lines."""

    words: list[str]
    word_counts: Ints
    pairs: Ints
    """`first * len(words) + second` of each distinct bigram, ascending."""
    pair_counts: Ints
    pages: Counter[str]
    """Pages by kind: article, redirect, other_namespace, other_model."""
    titles: list[str]
    """Titles of the article namespace that are no redirects."""
    redirects: list[tuple[str, str]]
    """(title, title it redirects to) in the article namespace."""


def count_block(block: Block) -> BlockCounts:
    """Return the counts of a block's articles; raises InputError for malformed XML."""
    kinds: Counter[str] = Counter()
    titles: list[str] = []
    redirects: list[tuple[str, str]] = []
    stream: list[str] = []  # tokens, with a possessive as the break after each line too
    rules = block.site.link_rules()
    for page in parse_block(block.xml, block.url):
        if page.namespace != 0:
            kinds["other_namespace"] += 1
            continue
        if page.redirect is not None:
            kinds["redirect"] += 1
            redirects.append((page.title, page.redirect))
            continue
        titles.append(page.title)
        if page.model not in ("", "wikitext"):
            kinds["other_model"] += 1
            continue
        kinds["article"] += 1
        for line in prose(page.text, rules):
            stream += tokens(line)
            stream.append(POSSESSIVE)
    return BlockCounts(*_count_stream(stream), kinds, titles, redirects)


def _count_stream(stream: list[str]) -> tuple[list[str], Ints, Ints, Ints]:
    numbers: defaultdict[str, int] = defaultdict()
    numbers.default_factory = numbers.__len__
    assert numbers[POSSESSIVE] == 0
    ids = np.fromiter(map(numbers.__getitem__, stream), np.int64, len(stream))
    counts = np.bincount(ids, minlength=len(numbers)).astype(np.int64)
    counts[0] = 0
    first, second = ids[:-1], ids[1:]
    together = (first != 0) & (second != 0)
    pairs, pair_counts = np.unique(first[together] * len(numbers) + second[together], return_counts=True)
    return list(numbers), counts, pairs, pair_counts.astype(np.int64)


@dataclass(frozen=True)
class Bigram:
    """Two words that stand together."""

    term: str
    count: int
    pmi: float
    """Pointwise mutual information, in bits."""


def pointwise_mutual_information(pair: int, first: int, second: int, num_words: int, num_pairs: int) -> float:
    """Return log2(P(xy) / (P(x) P(y))) in bits, from counts and no smoothing.

    P(xy) = pair / num_pairs and P(x) = first / num_words, maximum likelihood; Church and Hanks, "Word association
    norms, mutual information, and lexicography", 1990. The quotient is of exact integers, rounded once.
    """
    return math.log2((pair * num_words * num_words) / (first * second * num_pairs))


class NgramCounts:
    """Sums the counts of blocks.

    Words are held in memory. Bigrams are held as sorted arrays of (key, count), key = number of the first word << 32 |
    number of the second, and spilled to `folder` whenever more than `spill_rows` of them are held.
    """

    def __init__(self, folder: str, spill_rows: int = SPILL_ROWS) -> None:
        self.pages: Counter[str] = Counter()
        self._numbers: dict[str, int] = {}
        self._word_counts: Ints = np.zeros(1 << 16, np.int64)
        self._pairs = _PairRuns(folder, spill_rows)

    def add(self, block: BlockCounts) -> None:
        """Add one block."""
        numbers = self._numbers
        ids = np.fromiter((numbers.setdefault(word, len(numbers)) for word in block.words), np.int64, len(block.words))
        if len(numbers) > len(self._word_counts):
            self._word_counts = np.concatenate([self._word_counts, np.zeros(len(numbers), np.int64)])
        self._word_counts[ids] += block.word_counts
        first, second = np.divmod(block.pairs, max(len(block.words), 1))
        self._pairs.add(ids[first] << 32 | ids[second], block.pair_counts)
        self.pages += block.pages

    @property
    def num_words(self) -> int:
        """Occurrences of words."""
        return int(self._word_counts.sum())

    @property
    def num_pairs(self) -> int:
        """Occurrences of bigrams."""
        return self._pairs.total

    def words(self, min_count: int) -> list[tuple[str, int]]:
        """Return (word, count) of words seen at least `min_count` times, the most frequent first, then by word."""
        counted = zip(self._numbers, self._word_counts.tolist(), strict=False)
        kept = [(word, count) for word, count in counted if count >= max(min_count, 1)]
        return sorted(kept, key=lambda item: (-item[1], item[0]))

    def bigrams(self, min_count: int, min_pmi: float) -> list[Bigram]:
        """Return bigrams at or above both thresholds, the highest PMI first, then by term."""
        names = list(self._numbers)
        counts = self._word_counts
        num_words, num_pairs = self.num_words, self.num_pairs
        found: list[Bigram] = []
        for keys, pair_counts in self._pairs.merged():
            frequent = pair_counts >= min_count
            for key, count in zip(keys[frequent].tolist(), pair_counts[frequent].tolist(), strict=True):
                first, second = key >> 32, key & 0xFFFFFFFF
                pmi = pointwise_mutual_information(count, int(counts[first]), int(counts[second]), num_words, num_pairs)
                if pmi >= min_pmi:
                    found.append(Bigram(f"{names[first]} {names[second]}", count, pmi))
        return sorted(found, key=lambda bigram: (-bigram.pmi, bigram.term))


class _PairRuns:
    """Keys and their summed counts, in memory up to a limit and beyond it in sorted runs on disk."""

    def __init__(self, folder: str, spill_rows: int) -> None:
        self.total = 0
        self._folder = folder
        self._spill_rows = spill_rows
        self._held: list[tuple[Ints, Ints]] = []
        self._num_held = 0
        self._runs: list[str] = []

    def add(self, keys: Ints, counts: Ints) -> None:
        self.total += int(counts.sum())
        self._held.append((keys, counts))
        self._num_held += len(keys)
        if self._num_held > self._spill_rows:
            self._sum_held()
            if self._num_held > self._spill_rows // 2:
                self._spill()

    def _sum_held(self) -> None:
        summed = _summed([keys for keys, _ in self._held], [counts for _, counts in self._held])
        self._held = [summed]
        self._num_held = len(summed[0])

    def _spill(self) -> None:
        path = os.path.join(self._folder, f"run-{len(self._runs):05d}.npy")
        np.save(path, np.stack(self._held[0]))
        self._runs.append(path)
        self._held, self._num_held = [], 0

    def merged(self) -> Iterator[tuple[Ints, Ints]]:
        """Yield (keys, counts) in chunks, keys ascending over all of them, each key once."""
        if self._held:
            self._sum_held()
        spilled = [np.load(path, mmap_mode="r") for path in self._runs]
        runs = [(run[0], run[1]) for run in spilled] + self._held
        yield from _merge_runs(runs, self._spill_rows)


def _summed(keys: list[Ints], counts: list[Ints]) -> tuple[Ints, Ints]:
    """Return the distinct keys, ascending, and the sum of the counts of each."""
    every = np.concatenate(keys)
    if not len(every):
        return every, every
    order = np.argsort(every, kind="stable")
    every = every[order]
    starts = np.flatnonzero(np.r_[True, every[1:] != every[:-1]])
    return every[starts], np.add.reduceat(np.concatenate(counts)[order], starts)


def _merge_runs(runs: list[tuple[Ints, Ints]], max_rows: int) -> Iterator[tuple[Ints, Ints]]:
    """Merge sorted runs in chunks of at most about `max_rows`.

    Each step looks at an equal share of every run; what lies at or below the lowest of the shares' last keys is
    complete and leaves.
    """
    positions = [0] * len(runs)
    share = max(max_rows // max(len(runs), 1), 1)
    while any(position < len(keys) for position, (keys, _) in zip(positions, runs, strict=True)):
        windows = [keys[position : position + share] for position, (keys, _) in zip(positions, runs, strict=True)]
        cutoff = min(window[-1] for window in windows if len(window))
        taken = [int(np.searchsorted(window, cutoff, side="right")) for window in windows]
        cuts = [slice(position, position + rows) for position, rows in zip(positions, taken, strict=True)]
        pieces = [(keys[cut], counts[cut]) for cut, (keys, counts) in zip(cuts, runs, strict=True)]
        yield _summed([keys for keys, _ in pieces], [counts for _, counts in pieces])
        positions = [cut.stop for cut in cuts]
