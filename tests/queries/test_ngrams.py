"""Counts of words and bigrams: exact, whatever is spilled, and the formula of mutual information."""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from queries.ngrams import Block, NgramCounts, count_block, pointwise_mutual_information
from queries.wikipedia import Site
from tests.queries.dumps import page

WORDS = st.sampled_from(["a", "b", "c", "dog", "dog's", "it's", "é"])
LINES = st.lists(st.lists(WORDS, max_size=6).map(" ".join), max_size=4)


def _block(*texts: str) -> Block:
    return Block("".join(page(f"T{number}", text) for number, text in enumerate(texts)).encode(), "test", Site())


def _naive(texts: list[list[str]]) -> tuple[Counter[str], Counter[str]]:
    words: Counter[str] = Counter()
    bigrams: Counter[str] = Counter()
    for lines in texts:
        for line in lines:
            found = line.replace("'s", " 's").split()
            words.update(word for word in found if word != "'s")
            bigrams.update(f"{a} {b}" for a, b in pairwise(found) if "'s" not in (a, b))
    return words, bigrams


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(st.lists(st.lists(LINES, max_size=3), max_size=4), st.integers(1, 8))
def test_counts_equal_a_naive_count_however_much_is_spilled(
    tmp_path: Path, blocks: list[list[list[str]]], spill_rows: int
) -> None:
    """Words and bigrams of all blocks equal a plain count; a possessive and a line's end part their neighbours."""
    counts = NgramCounts(str(tmp_path), spill_rows)
    for texts in blocks:
        counts.add(count_block(_block(*("\n\n".join(lines) for lines in texts))))
    words, bigrams = _naive([lines for texts in blocks for lines in texts])
    assert dict(counts.words(1)) == dict(words)
    assert (counts.num_words, counts.num_pairs) == (words.total(), bigrams.total())
    found = counts.bigrams(1, -math.inf) if words else []
    assert {bigram.term: bigram.count for bigram in found} == dict(bigrams)


def test_spilled_runs_are_really_written_and_give_the_same(tmp_path: Path) -> None:
    """A count that spills many runs equals one that holds all in memory, to the last digit."""
    texts = [f"w{number % 7} w{number % 11} w{number % 13}" for number in range(300)]
    spilled, held = NgramCounts(str(tmp_path), spill_rows=20), NgramCounts(str(tmp_path))
    for text in texts:
        block = count_block(_block(text))
        spilled.add(block)
        held.add(block)
    assert len(list(tmp_path.iterdir())) > 3
    assert spilled.bigrams(1, -99) == held.bigrams(1, -99)


def test_thresholds_are_inclusive_and_ties_are_in_the_order_of_terms(tmp_path: Path) -> None:
    """A word seen exactly as often as asked stays; equal counts and equal PMI go by term."""
    counts = NgramCounts(str(tmp_path))
    counts.add(count_block(_block("b a\n\nb a\n\nd c\n\nd c\n\ne")))
    assert counts.words(2) == [("a", 2), ("b", 2), ("c", 2), ("d", 2)]
    assert counts.words(3) == []
    best = counts.bigrams(2, -99)
    assert [bigram.term for bigram in best] == ["b a", "d c"]
    assert best[0].pmi == best[1].pmi == math.log2(2 * 81 / (2 * 2 * 4))
    assert counts.bigrams(2, best[0].pmi) == best
    assert counts.bigrams(2, math.nextafter(best[0].pmi, 99)) == []


def test_only_articles_are_counted() -> None:
    """Other namespaces, redirects and other content models give no words, and are counted by kind."""
    pages = [
        page("A", "dog"),
        page("Old", "cat", redirect="A"),
        page("Talk:A", "cat", namespace=1),
        page("A.json", "cat", model="json"),
        page("B", ""),
    ]
    block = count_block(Block("".join(pages).encode(), "test", Site()))
    assert block.words[1:] == ["dog"]
    assert block.pages == {"article": 2, "redirect": 1, "other_namespace": 1, "other_model": 1}
    assert block.titles == ["A", "A.json", "B"]
    assert block.redirects == [("Old", "A")]


@pytest.mark.parametrize(
    ("pair", "first", "second", "num_words", "num_pairs", "expected"),
    [
        (8, 8, 8, 1024, 1024, 7.0),  # always together: log2(N / c)
        (1, 32, 32, 1024, 1024, 0.0),  # as often as chance
        (20, 28, 28, 64_000, 60_000, math.log2(20 / 60_000 / (28 / 64_000) ** 2)),
        (10**9, 10**10, 10**10, 10**12, 10**12, math.log2(10)),
    ],
)
def test_pointwise_mutual_information(
    pair: int, first: int, second: int, num_words: int, num_pairs: int, expected: float
) -> None:
    """The formula gives what its definition gives by hand."""
    found = pointwise_mutual_information(pair, first, second, num_words, num_pairs)
    assert found == pytest.approx(expected, abs=1e-12)
