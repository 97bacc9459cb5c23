"""From archives to pairs that match queries."""

from __future__ import annotations

import pyarrow as pa

from wit.schema.columns import BUCKET, KEY, QUERY_BUCKET, QUERY_ID, RANK, column

INPUTS = pa.schema(
    [
        column("kind", pa.string(), "which source reads it: wat, warc, table, shards"),
        column("url", pa.string(), "where it lies"),
        column("start", pa.int64(), "first row of a table's slice; 0 for archives", unit="rows"),
        column("stop", pa.int64(), "end of a table's slice; null: to the end", nullable=True, unit="rows"),
    ]
)

_CANDIDATE = [
    KEY,
    BUCKET,
    RANK,
    column("url", pa.string(), "absolute http(s) URL of the image"),
    column("caption", pa.string(), "text beside the image, entities decoded, white space folded"),
    column("page_url", pa.string(), "page that shows the image; null when the source does not say", nullable=True),
    column("archive", pa.string(), "file name of the archive or table it came from"),
    column("offset", pa.int64(), "where in it: byte offset of the record, or row number of a table"),
    column("attribute", pa.string(), "which text it was: img@alt, figcaption, a table's column, ..."),
    column("num_occurrences", pa.int64(), "occurrences merged into this row"),
]

CANDIDATES = pa.schema(_CANDIDATE)
"""(Image URL, caption) as `extract` finds them; equal ones that a task finds together are one row already."""

PAIRS = pa.schema(_CANDIDATE)
"""Distinct (image URL, caption); the provenance is that of the first occurrence by archive, offset, attribute."""

_PHRASE = column("phrase", pa.string(), "the whole of a short caption, in normal form")

_PHRASE_BUCKET = column("phrase_bucket", pa.int32(), "hash of the phrase modulo the number of buckets")

_NUM_PAIRS = column("num_pairs", pa.int64(), "pairs of which it is the caption")

PHRASES = pa.schema(
    [_PHRASE, _PHRASE_BUCKET, column("host", pa.int64(), "hash of the host of the page, else the image"), _NUM_PAIRS]
)
"""Short captions by host, as a part of the pairs has them; a large part may have several rows for both."""

_FREQUENT = [_NUM_PAIRS, column("num_hosts", pa.int64(), "distinct hosts that show it")]

FREQUENT_PHRASES = pa.schema([_PHRASE, _PHRASE_BUCKET, *_FREQUENT])
"""Short captions of enough pairs and hosts."""

LEARNED_PHRASES = pa.schema([_PHRASE, *_FREQUENT])
"""Those that are boilerplate, by their share of all pairs; the commonest first."""

MATCHED = pa.schema(
    [
        *PAIRS,
        column("query_ids", pa.list_(pa.field("element", pa.int32(), nullable=False)), "queries it matches, ascending"),
    ]
)
"""Pairs that match at least one query."""

MATCHES = pa.schema(
    [
        KEY,
        BUCKET,
        column("query_id", pa.int32(), "the query that matches"),
        column("position", pa.int32(), "index of the match's first token in the normalised caption", unit="tokens"),
    ]
)
"""One row for each (pair, query) that match; the first position where they match several times."""

MATCH_COUNTS = pa.schema([QUERY_ID, QUERY_BUCKET, column("num_pairs", pa.int64(), "pairs of the part that match it")])
"""One row for each query that a part of the pairs matches; a query has a row in many parts."""

TERMS = pa.schema([QUERY_ID, QUERY_BUCKET, column("term", pa.string(), "the term as the list has it")])
"""The query list as a run uses it: every query, those without a match too."""
