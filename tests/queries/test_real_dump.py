"""The real dump against a second counter written apart: see `slow_counter`.

What is compared: the count of every word in every article, and of every bigram, of the shortened English dump (106
articles, 462,050 words), of the five articles chosen for their tables, and of gensim's test corpus. The second counter
shares no code with `queries` or `wit.text`. It agrees in all but three words: it drops every run of apostrophes, where
MediaWiki, and `queries` with it, reads "''Iliad'''s" as italics and a possessive.
"""

from __future__ import annotations

import bz2
import re
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from queries.build import Inputs, Settings, build
from queries.ngrams import Block, NgramCounts, count_block
from queries.wikipedia import Dump, read_pages
from queries.wikitext import prose
from tests.queries import slow_counter
from tests.support import real_data

SHORTENED = "enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2"
APOSTROPHES = {"Achilles": "iliad", "Animal Farm": "farm", "A Modest Proposal": "proposal"}
"""Article: the word whose possessive follows italics there."""


@cache
def _slow_count(dump: Path) -> tuple[dict[str, Counter[str]], Counter[tuple[str, str]]]:
    return slow_counter.count(dump)


def _by_article(dump: Path) -> dict[str, Counter[str]]:
    with Dump(str(dump)) as opened:
        site = opened.site
        blocks = list(opened.blocks(1))
    counted = [count_block(Block(page + b"</page>", str(dump), site)) for block in blocks for page in _pages(block)]
    return {
        block.titles[0]: Counter(dict(zip(block.words[1:], block.word_counts[1:].tolist(), strict=True)))
        for block in counted
        if block.titles
    }


def _pages(block: bytes) -> list[bytes]:
    return block.split(b"</page>")[:-1]


@pytest.mark.parametrize(
    ("name", "num_articles", "num_words", "apart"),
    [
        (SHORTENED, 106, 462_050, APOSTROPHES),
        ("enwiki-table-markup.xml.bz2", 5, None, {}),
        ("testcorpus.xml.bz2", 9, None, {}),
    ],
)
def test_word_counts_of_every_article_equal_a_second_counter(
    name: str, num_articles: int, num_words: int | None, apart: dict[str, str]
) -> None:
    """Each article's word counts are those of the slow counter, but for one possessive in each of three articles."""
    dump = real_data("wiki", name)
    slow, _ = _slow_count(dump)
    fast = _by_article(dump)
    assert list(fast) == list(slow)
    assert len(fast) == num_articles
    assert num_words in (None, sum(counts.total() for counts in fast.values()))
    for title, counts in fast.items():
        word = apart.get(title)
        assert counts - slow[title] == (Counter({word: 1}) if word else Counter()), title
        assert slow[title] - counts == (Counter({f"{word}s": 1}) if word else Counter()), title


def test_the_built_list_holds_the_second_counters_words_and_bigrams(tmp_path: Path) -> None:
    """What the command writes, over all three dumps, is what the slow counter finds above the thresholds."""
    import pyarrow.parquet as pq

    dumps = [real_data("wiki", name) for name in (SHORTENED, "enwiki-table-markup.xml.bz2", "testcorpus.xml.bz2")]
    counted = [_slow_count(dump) for dump in dumps]
    words = sum((counts for by_article, _ in counted for counts in by_article.values()), Counter[str]())
    bigrams = sum((counts for _, counts in counted), Counter[tuple[str, str]]())
    for word in APOSTROPHES.values():
        words[word] += 1
    settings = Settings(min_word_count=100, min_bigram_count=6, min_pmi=-99)
    build(Inputs(dumps=tuple(map(str, dumps))), settings, str(tmp_path / "out"), 2)
    rows = pq.read_table(tmp_path / "out" / "queries.parquet").to_pylist()
    assert {row["term"]: row["word_count"] for row in rows if row["word_count"] is not None} == {
        word: count for word, count in words.items() if count >= 100
    }
    ours = {row["term"]: row["bigram_count"] for row in rows if row["bigram_count"] is not None}
    theirs = {" ".join(pair): count for pair, count in bigrams.items() if count >= 6}
    differing = {term for term in ours.keys() | theirs.keys() if ours.get(term) != theirs.get(term)}
    assert differing <= {"the iliad", "animal farm", "modest proposal"}
    assert len(ours) > 5_000


def test_no_markup_is_left_in_the_prose() -> None:
    """In 2.9 million characters of prose of the shortened dump, three vertical bars are all that looks like markup.

    They are no markup: the text of "ASCII" and "Afghanistan" shows them to its readers.
    """
    dump = real_data("wiki", SHORTENED)
    with Dump(str(dump)) as opened:
        rules = opened.site.link_rules()
    lines = [
        line
        for page in read_pages(str(dump))
        if page.namespace == 0 and page.redirect is None
        for line in prose(page.text, rules)
    ]
    marks = Counter(re.findall(r"\{\{|\}\}|\[\[|\]\]|\{\||\|\}|''|</?[a-z]+|&[a-z]+;|://|\||==|__", "\n".join(lines)))
    assert marks == {"|": 3}
    assert 2_800_000 < sum(map(len, lines)) < 3_000_000


def test_a_dump_that_breaks_off_gives_no_list(tmp_path: Path) -> None:
    """The real dump cut in the middle of its XML, or of its bz2 stream, is refused and leaves no list behind."""
    from wit.errors import InputError

    data = real_data("wiki", SHORTENED).read_bytes()
    cut = tmp_path / "cut.xml.bz2"
    for number, content in enumerate((data[: len(data) // 2], bz2.compress(bz2.decompress(data)[:3_000_000], 1))):
        cut.write_bytes(content)
        out = tmp_path / f"out{number}"
        with pytest.raises(InputError, match=r"cut\.xml\.bz2: (damaged or cut short|breaks off) after \d+ whole pages"):
            build(Inputs(dumps=(str(cut),)), Settings(), str(out), 1)
        assert not (out / "queries.parquet").exists()


def test_counting_the_real_dump_spilled_or_not_is_the_same(tmp_path: Path) -> None:
    """Bigrams of the real dump spilled to disk in many runs equal those counted in memory."""
    dump = real_data("wiki", SHORTENED)
    spilled, held = NgramCounts(str(tmp_path), spill_rows=20_000), NgramCounts(str(tmp_path))
    with Dump(str(dump)) as opened:
        for block in opened.blocks(500_000):
            counts = count_block(Block(block, str(dump), opened.site))
            spilled.add(counts)
            held.add(counts)
    assert len(list(tmp_path.iterdir())) >= 5
    assert spilled.bigrams(3, 2.0) == held.bigrams(3, 2.0)
