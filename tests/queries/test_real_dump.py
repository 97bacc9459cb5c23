"""Real dumps, whole, against a second counter written apart: see `slow_counter`.

What is compared: the count of every word and every bigram of the shortened English dump (106 articles, 462,064 words),
of the five articles chosen for their tables, and of gensim's test corpus (9 short articles). They differ in none.
"""

from __future__ import annotations

import bz2
import gzip
import os
import re
from collections import Counter
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from queries.build import Inputs, Means, Settings, build
from queries.dumps import open_dump
from queries.wikitext import Prose
from tests.queries import slow_counter
from tests.queries.dumps import zstd
from tests.queries.reading import read_dump
from tests.support import real_data
from wit.errors import InputError

SHORTENED = "enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2"
DUMPS = (SHORTENED, "enwiki-table-markup.xml.bz2", "testcorpus.xml.bz2")
MEANS = Means(processes=1, memory_bytes=2 << 30)
A_STREAM = 40  # pages in each bzip2 stream of a multistream dump made here; Wikipedia's have 100


@cache
def _pages(name: str) -> tuple[slow_counter.Page, ...]:
    return tuple(slow_counter.read_pages(real_data("wiki", name)))


@dataclass(frozen=True)
class Built:
    """A build of all the real dumps that leaves out no word and no bigram."""

    facts: dict[str, Any]
    words: dict[str, int]
    bigrams: dict[str, int]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """What the command writes for the three dumps together."""
    out = tmp_path_factory.mktemp("real") / "out"
    dumps = tuple(str(real_data("wiki", name)) for name in DUMPS)
    every = Settings(min_word_count=1, min_bigram_count=1, min_pmi=-99.0, limit=1_000_000)
    facts = build(Inputs(dumps=dumps), every, str(out), MEANS)
    assert facts is not None
    return Built(facts, *(_column(out, name) for name in ("word_count", "bigram_count")))


def _column(out: Path, name: str) -> dict[str, int]:
    table = pq.read_table(out / "queries.parquet", columns=["term", name]).drop_null()
    return dict(zip(table["term"].to_pylist(), table[name].to_pylist(), strict=True))


def test_every_word_and_bigram_has_the_second_counters_count(built: Built) -> None:
    """The list holds the words and the bigrams that the slow counter finds in the articles, each with its count."""
    slow = slow_counter.count(page for name in DUMPS for page in _pages(name))
    assert built.words == slow.words
    assert built.bigrams == {" ".join(pair): count for pair, count in slow.bigrams.items()}
    assert built.facts["num_words"] == slow.words.total() == 479_185
    assert built.facts["num_pairs"] == slow.bigrams.total() == 464_825


def test_pages_are_those_documented(built: Built) -> None:
    """206 pages, 205 of them articles or redirects; 100 redirects, of which one is no page of the article namespace."""
    pages = _pages(SHORTENED)
    assert len(pages) == 206
    assert Counter(page.namespace == 0 for page in pages) == {True: 205, False: 1}
    assert Counter(page.namespace == 0 for page in pages if page.is_redirect) == {True: 99, False: 1}
    assert [len(_pages(name)) for name in DUMPS[1:]] == [5, 9]
    assert built.facts["pages"] == {"article": 106 + 5 + 9, "redirect": 99, "other_namespace": 1}
    assert built.facts["damage"] == []


def _forms(folder: Path) -> dict[str, list[Path]]:
    """Write the shortened dump in each form it can have; return the files of each."""
    xml = bz2.decompress(real_data("wiki", SHORTENED).read_bytes())
    starts = [match.start() for match in re.finditer(b"  <page>", xml)]
    end = xml.rindex(b"</mediawiki>")
    cuts = [0, *starts[::A_STREAM], end, len(xml)]
    head, half = xml[: starts[0]], starts[len(starts) // 2]
    files = {
        "a.xml": xml,
        "a.xml.bz2": bz2.compress(xml),
        "multistream.xml.bz2": b"".join(bz2.compress(xml[start:stop]) for start, stop in pairwise(cuts)),
        "a.xml.gz": gzip.compress(xml, 1),
        "a.xml.zst": zstd(xml),
        "a1.xml": xml[:half] + b"</mediawiki>\n",
        "a2.xml.bz2": bz2.compress(head + xml[half:]),
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    *alone, first, second = files
    return {name: [folder / name] for name in alone} | {"two files": [folder / first, folder / second]}


def test_every_form_of_a_dump_gives_the_same_list(tmp_path: Path) -> None:
    """XML, one bzip2 stream or many, gzip, zstd and two files, read by one process or two, give the same bytes."""
    lists = {}
    for number, (form, files) in enumerate(_forms(tmp_path).items()):
        out = tmp_path / f"out{number}"
        means = Means(processes=1 + number % 2, memory_bytes=2 << 30)
        facts = build(Inputs(dumps=tuple(map(str, files))), Settings(min_bigram_count=10), str(out), means)
        assert facts is not None
        assert facts["pages"] == {"article": 106, "redirect": 99, "other_namespace": 1}, form
        lists[form] = [(out / name).read_bytes() for name in ("queries.parquet", "queries.txt")]
    assert all(each == lists["a.xml"] for each in lists.values())
    assert lists["a.xml"][1].count(b"\n") > 400


MARKUP = re.compile(r"\{\{|\}\}|\[\[|\]\]|\{\||\|\}|''|</?[a-z]+|&[a-z]+;|://|\||==|__")


def test_no_markup_is_left_in_the_prose() -> None:
    """In 2.9 million characters of prose of the shortened dump, three vertical bars are all that looks like markup.

    They are no markup: the text of "ASCII" and "Afghanistan" shows them to its readers.
    """
    dump = real_data("wiki", SHORTENED)
    articles = [text.encode() for text in read_dump(dump).texts]
    text, _ = Prose(open_dump(str(dump)).site.link_rules())(
        np.frombuffer(b"".join(articles), np.uint8), np.cumsum([0, *map(len, articles)])
    )
    prose = text.tobytes().decode()
    assert Counter(MARKUP.findall(prose)) == {"|": 3}
    assert 2_800_000 < len(prose) < 3_000_000


def test_a_dump_that_breaks_off_gives_no_list(tmp_path: Path) -> None:
    """Cut in the middle of its XML, or of its bzip2 stream, the dump is refused, the fault named, no list left."""
    data = real_data("wiki", SHORTENED).read_bytes()
    cut = tmp_path / "cut.xml.bz2"
    for number, content in enumerate((data[: len(data) // 2], bz2.compress(bz2.decompress(data)[:3_000_000], 1))):
        cut.write_bytes(content)
        out = tmp_path / f"out{number}"
        with pytest.raises(InputError, match=r"could not be read.*cut\.xml\.bz2 at byte .*cut_short"):
            build(Inputs(dumps=(str(cut),)), Settings(), str(out), MEANS)
        assert "queries.parquet" not in os.listdir(out)
