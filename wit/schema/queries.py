"""The query list."""

from __future__ import annotations

import pyarrow as pa

from wit.schema.columns import column

QUERIES = pa.schema(
    [
        column("query_id", pa.int32(), "position in the list, from 0"),
        column("term", pa.string(), "the term in normal form (wit.text.normalise), unique"),
        column(
            "sources",
            pa.list_(pa.field("element", pa.string(), nullable=False)),
            "every source that holds it: word, bigram, title, synset",
        ),
        column("word_count", pa.int64(), "occurrences as a word; null if not a word source", nullable=True),
        column("bigram_count", pa.int64(), "occurrences as a bigram", nullable=True),
        column("pmi", pa.float64(), "pointwise mutual information of the bigram", nullable=True, unit="bits"),
        column("npmi", pa.float64(), "PMI over its highest value at this count: 1 if never apart", nullable=True),
        column("title", pa.string(), "the most viewed article's title as Wikipedia writes it", nullable=True),
        column("disambiguator", pa.string(), "what stands in brackets at its end; null: nothing", nullable=True),
        column("views", pa.int64(), "page views of that article summed over the files given", nullable=True),
        column(
            "synsets",
            pa.list_(pa.field("element", pa.string(), nullable=False)),
            "WordNet synsets: n02084071, ...",
            nullable=True,
        ),
    ]
)
"""The query list."""

UNMATCHABLE = pa.schema(
    [
        column("source", pa.string(), "word, bigram, title, synset; list: a term of the finished list"),
        column("text", pa.string(), "the title or lemma as its source writes it, or the term"),
        column("term", pa.string(), "what is sought in captions in its place; empty: nothing is left to seek"),
        column("mode", pa.string(), "the way of matching (wit.matching): default, metaclip"),
        column("reason", pa.string(), "one of queries.unmatchable.REASONS"),
        column("amount", pa.int64(), "its count or page views; null: it has none", nullable=True),
    ]
)
"""What no caption can match, and names that a caption matches without the symbols in them."""

DIFFERENCES = pa.schema(
    [
        column("term", pa.string(), "the term"),
        column("change", pa.string(), "added, removed, moved (another query_id), changed (sources or a value)"),
        column("id_a", pa.int32(), "query_id in the first list; null: not in it", nullable=True),
        column("id_b", pa.int32(), "query_id in the second list", nullable=True),
        column(
            "sources_a",
            pa.list_(pa.field("element", pa.string(), nullable=False)),
            "sources in the first list",
            nullable=True,
        ),
        column(
            "sources_b",
            pa.list_(pa.field("element", pa.string(), nullable=False)),
            "sources in the second list",
            nullable=True,
        ),
    ]
)
"""How two query lists differ; a term that both moved and changed has two rows."""
