"""What queries are built from, in miniature: an encyclopedia's dump, its page views, a WordNet; and the right answer.

The answer is counted from the prose and the plan, never from the files, by the plainest code there is. Its rules:

- words: tokens of `wit.text.tokens`, the possessive "'s" left out, seen at least `MIN_WORD_COUNT` times in the articles
  (pages of namespace 0 that are no redirects); by count, then term;
- bigrams: two words that are adjacent tokens of one line, at least `MIN_BIGRAM_COUNT` times, with a pointwise mutual
  information of at least `MIN_PMI` bits; by PMI, then term; normalised PMI is PMI / -log2 p(xy) (Bouma 2009);
- titles: articles of the dump with at least `MIN_VIEWS` views on `en` and `en.m`, redirects followed to their end;
  without " (disambiguator)"; by views, then term; of two articles with one term the more viewed;
- synsets: the first lemma of each synset, without its adjective marker; noun, verb, adj, adv, by offset.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from math import log2
from typing import Any

import pyarrow as pa

from wit import schema
from wit.sample.pageviews import write_pageviews
from wit.sample.prose import Article, write_prose
from wit.sample.titles import plan_views
from wit.sample.wiki import write_wiki
from wit.sample.wordnet import Synset, lemma, make_synsets, write_wordnet
from wit.storage import join, write_parquet
from wit.text import POSSESSIVE, normalise, tokens

MIN_WORD_COUNT = 100
MIN_BIGRAM_COUNT = 20
MIN_PMI = 6.0
MIN_VIEWS = 70

TRUTH = "queries_truth.parquet"

_Facts = tuple[str, str, dict[str, Any]]
"""Term, source, and what the columns of that source hold."""


def count_words(articles: Iterable[Article]) -> tuple[Counter[str], Counter[tuple[str, str]]]:
    """Return how often each word and each pair of adjacent words occurs in the articles."""
    words: Counter[str] = Counter()
    bigrams: Counter[tuple[str, str]] = Counter()
    for article in articles:
        for line in article.lines:
            found = tokens(line.text)
            words.update(token for token in found if token != POSSESSIVE)
            bigrams.update(pair for pair in pairwise(found) if POSSESSIVE not in pair)
    return words, bigrams


def _words(words: Counter[str]) -> Iterator[_Facts]:
    for word, count in sorted(words.items(), key=lambda item: (-item[1], item[0])):
        if count >= MIN_WORD_COUNT:
            yield word, "word", {"word_count": count}


def _bigrams(words: Counter[str], bigrams: Counter[tuple[str, str]]) -> Iterator[_Facts]:
    """Yield the bigrams by PMI = log2(p(xy) / (p(x) p(y))), compared as exact fractions so that ties are ties."""
    num_words, num_bigrams = words.total(), bigrams.total()
    ratios = {
        pair: Fraction(count * num_words**2, words[pair[0]] * words[pair[1]] * num_bigrams)
        for pair, count in bigrams.items()
        if count >= MIN_BIGRAM_COUNT
    }
    for pair in sorted(ratios, key=lambda pair: (-ratios[pair], " ".join(pair))):
        pmi = log2(ratios[pair])
        if pmi >= MIN_PMI:
            npmi = min(pmi / log2(Fraction(num_bigrams, bigrams[pair])), 1.0)  # pairs are fewer than words
            yield " ".join(pair), "bigram", {"bigram_count": bigrams[pair], "pmi": pmi, "npmi": npmi}


def _titles(views: dict[str, int]) -> Iterator[_Facts]:
    brackets = {title: re.search(r"(?<=.) \(([^()]*)\)$", title) for title in views}
    terms = {title: normalise(title[: found.start()] if found else title) for title, found in brackets.items()}
    for title in sorted(views, key=lambda title: (-views[title], terms[title])):
        if views[title] >= MIN_VIEWS:
            found = brackets[title]
            disambiguator = found.group(1) if found else None
            yield terms[title], "title", {"title": title, "disambiguator": disambiguator, "views": views[title]}


def _synsets(files: dict[str, list[Synset]], offsets: dict[str, list[int]]) -> Iterator[_Facts]:
    named: dict[str, list[str]] = {}
    for pos, synsets in files.items():
        for synset, offset in zip(synsets, offsets[pos], strict=True):
            named.setdefault(normalise(lemma(synset.words[0])), []).append(f"{pos}{offset:08d}")
    for term, identifiers in named.items():
        yield term, "synset", {"synsets": identifiers}


def _merge(facts: Iterable[_Facts]) -> pa.Table:
    """Return QUERIES rows: one a term, at its first place, with what every source says of it."""
    rows: dict[str, dict[str, Any]] = {}
    for term, source, columns in facts:
        if not term:
            continue
        row = rows.setdefault(term, {"term": term, "sources": []} | dict.fromkeys(_OPTIONAL))
        if source not in row["sources"]:
            row["sources"].append(source)
            row.update(columns)
    numbered = [{"query_id": number} | row for number, row in enumerate(rows.values())]
    return schema.conform(pa.Table.from_pylist(numbered, schema=schema.QUERIES), schema.QUERIES)


_OPTIONAL = [field.name for field in schema.QUERIES if field.nullable]


def expected_queries(
    articles: Sequence[Article], views: dict[str, int], files: dict[str, list[Synset]], offsets: dict[str, list[int]]
) -> pa.Table:
    """Return the list that `wit queries build` must give for the sample (QUERIES), counted naively."""
    words, bigrams = count_words(articles)
    return _merge([*_words(words), *_bigrams(words, bigrams), *_titles(views), *_synsets(files, offsets)])


def write_encyclopedia(folder: str, seed: int) -> list[str]:
    """Write wiki/, pageviews/, wordnet/dict/ and queries_truth.parquet under `folder`, the same bytes for a seed.

    Returns the expected terms (normal forms) in the order of the list.
    """
    articles = write_prose(seed)
    views = plan_views([article.title for article in articles], random.Random(f"views {seed}"))
    files = make_synsets(seed)
    write_wiki(folder, articles, seed)
    write_pageviews(folder, views, seed)
    offsets = write_wordnet(folder, files)
    truth = expected_queries(articles, views, files, offsets)
    write_parquet(join(folder, TRUTH), truth)
    terms: list[str] = truth["term"].to_pylist()
    return terms
