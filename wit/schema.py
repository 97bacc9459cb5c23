"""Every table that crosses a stage: one Arrow schema each, non-null unless it says why, units in metadata."""

from __future__ import annotations

import pyarrow as pa

from wit.errors import ContractError


def _column(name: str, kind: pa.DataType, about: str, *, nullable: bool = False, unit: str = "") -> pa.Field:
    metadata = {"about": about} | ({"unit": unit} if unit else {})
    return pa.field(name, kind, nullable=nullable, metadata=metadata)


_KEY = _column("key", pa.string(), "sample key: 128 bits of SHA-256 over URL, NUL, caption, as 32 hex digits")
_BUCKET = _column("bucket", pa.int32(), "range of the key space; the part that holds the row")
_RANK = _column("rank", pa.int64(), "salted uniform rank of the key, in [0, 2^63)")

INPUTS = pa.schema(
    [
        _column("kind", pa.string(), "which source reads it: wat, warc, table, shards"),
        _column("url", pa.string(), "where it lies"),
        _column("start", pa.int64(), "first row of a table's slice; 0 for archives", unit="rows"),
        _column("stop", pa.int64(), "end of a table's slice; null: to the end", nullable=True, unit="rows"),
    ]
)

_CANDIDATE = [
    _KEY,
    _BUCKET,
    _RANK,
    _column("url", pa.string(), "absolute http(s) URL of the image"),
    _column("caption", pa.string(), "text beside the image, entities decoded, white space folded"),
    _column("page_url", pa.string(), "page that shows the image; null when the source does not say", nullable=True),
    _column("archive", pa.string(), "file name of the archive or table it came from"),
    _column("offset", pa.int64(), "where in it: byte offset of the record, or row number of a table"),
    _column("attribute", pa.string(), "which text it was: img@alt, figcaption, a table's column, ..."),
    _column("num_occurrences", pa.int64(), "occurrences merged into this row"),
]

CANDIDATES = pa.schema(_CANDIDATE)
"""(Image URL, caption) as `extract` finds them; equal ones that a task finds together are one row already."""

PAIRS = pa.schema(_CANDIDATE)
"""Distinct (image URL, caption); the provenance is that of the first occurrence by archive, offset, attribute."""

_PHRASE = _column("phrase", pa.string(), "the whole of a short caption, in normal form")
_PHRASE_BUCKET = _column("phrase_bucket", pa.int32(), "hash of the phrase modulo the number of buckets")
_NUM_PAIRS = _column("num_pairs", pa.int64(), "pairs of which it is the caption")

PHRASES = pa.schema(
    [_PHRASE, _PHRASE_BUCKET, _column("host", pa.int64(), "hash of the host of the page, else the image"), _NUM_PAIRS]
)
"""Short captions by host, as a part of the pairs has them; a large part may have several rows for both."""

_FREQUENT = [_NUM_PAIRS, _column("num_hosts", pa.int64(), "distinct hosts that show it")]
FREQUENT_PHRASES = pa.schema([_PHRASE, _PHRASE_BUCKET, *_FREQUENT])
"""Short captions of enough pairs and hosts."""

LEARNED_PHRASES = pa.schema([_PHRASE, *_FREQUENT])
"""Those that are boilerplate, by their share of all pairs; the commonest first."""

MATCHED = pa.schema(
    [
        *PAIRS,
        _column(
            "query_ids", pa.list_(pa.field("element", pa.int32(), nullable=False)), "queries it matches, ascending"
        ),
    ]
)
"""Pairs that match at least one query."""

MATCHES = pa.schema(
    [
        _KEY,
        _BUCKET,
        _column("query_id", pa.int32(), "the query that matches"),
        _column("position", pa.int32(), "index of the match's first token in the normalised caption", unit="tokens"),
    ]
)
"""One row for each (pair, query) that match; the first position where they match several times."""

_QUERY = [
    _column("query_id", pa.int32(), "the query"),
    _column("query_bucket", pa.int32(), "query_id modulo the number of buckets"),
]

MATCH_COUNTS = pa.schema([*_QUERY, _column("num_pairs", pa.int64(), "pairs of the part that match it")])
"""One row for each query that a part of the pairs matches; a query has a row in many parts."""

TERMS = pa.schema([*_QUERY, _column("term", pa.string(), "the term as the list has it")])
"""The query list as a run uses it: every query, those without a match too."""

BODIES = pa.schema(
    [
        _column("url", pa.string(), "URL of the body, without fragment"),
        _column("archive", pa.string(), "the archive that holds it: path or URL"),
        _column("record_offset", pa.int64(), "where its record begins in the archive", unit="bytes"),
        _column("digest", pa.string(), "payload digest as the archive states it; empty when it states none"),
        _column(
            "is_revisit", pa.int32(), "1: the record says only that the body is that of an earlier one with its digest"
        ),
    ]
)
"""What archives hold: one row a response or revisit record."""

LOCATED = pa.schema(
    [
        _KEY,
        _BUCKET,
        _RANK,
        _column("url", pa.string(), "image URL"),
        _column("archive", pa.string(), "the archive that holds its body; null: none does", nullable=True),
        _column("record_offset", pa.int64(), "where the record begins in it", unit="bytes", nullable=True),
    ]
)
"""Pairs with the place of their bodies."""

_QUERY_ID, _QUERY_BUCKET = _QUERY

TERM_COUNTS = pa.schema(
    [
        _QUERY_ID,
        _QUERY_BUCKET,
        _column("term", pa.string(), "the term"),
        _column("num_before", pa.int64(), "pairs here that match it, before the cap"),
        _column("num_taken", pa.int64(), "pairs that match it which an earlier cap left, of num_pool; else num_before"),
        _column("num_pool", pa.int64(), "pairs that matched it before that earlier cap; else num_before"),
    ]
)
"""One row for each query of the list: what the cap finds."""

HEADS = pa.schema([_QUERY_ID, _column("num_before", pa.int64(), "pairs here that match it: more than the cap")])
"""The queries that match more pairs than the cap, by query_id."""

RANK_CELLS = pa.schema(
    [
        _QUERY_ID,
        _QUERY_BUCKET,
        _column("cell", pa.int32(), "interval of ranks, of the width of the query (wit.balancing.cell_widths)"),
        _column("num_pairs", pa.int64(), "pairs with a rank in it"),
    ]
)
"""How the ranks of a head query's pairs are spread, up to about twice the cap."""

BORDERS = pa.schema(
    [
        _QUERY_ID,
        _column("low", pa.int64(), "lowest rank of the cell that holds the last pair under the cap"),
        _column("high", pa.int64(), "highest rank of that cell"),
        _column("place", pa.int64(), "place of that pair among those of the cell, by (rank, key), from 1"),
    ]
)
"""Where each head query's last pair is to be found."""

BORDER_PAIRS = pa.schema(
    [
        _QUERY_ID,
        _QUERY_BUCKET,
        _RANK,
        _KEY,
        _column("place", pa.int64(), "place, among these, of the last pair under the cap"),
    ]
)
"""The pairs of the cells that hold the head queries' last pairs."""

CUTOFFS = pa.schema(
    [
        _QUERY_ID,
        _QUERY_BUCKET,
        _column("rank", pa.int64(), "rank of its last pair under the cap"),
        _column("key", pa.string(), "key of that pair"),
    ]
)
"""For each head query: it keeps a pair when the pair's (rank, key) is no higher."""

CHANCES = pa.schema(
    [_QUERY_ID, _column("probability", pa.float64(), "with which its draw takes a pair: the cap over its count; < 1")]
)
"""The head queries of `probability`, by query_id."""

MATCH_HISTOGRAM = pa.schema(
    [
        _column("num_queries", pa.int32(), "queries that a pair matches"),
        _column("num_before", pa.int64(), "pairs that match so many, before the cap"),
        _column("num_after", pa.int64(), "pairs of these that stay"),
    ]
)
"""Pairs by the number of queries that they match; each part counts its own."""

QUERY_COUNTS = pa.schema(
    [
        _QUERY_ID,
        _QUERY_BUCKET,
        _column("term", pa.string(), "the term"),
        _column("num_before", pa.int64(), "pairs that match it before balancing"),
        _column("num_after", pa.int64(), "pairs that match it after; those that another query keeps count too"),
    ]
)
"""One row for each query of the list, those that match nothing too."""

QUERIED = pa.schema([_KEY, _BUCKET, _RANK, MATCHED.field("query_ids")])
"""What the cap must know of a pair."""

IMAGES = pa.schema(
    [
        _KEY,
        _BUCKET,
        _RANK,
        _column("blob", pa.string(), "tar that holds the stored image, relative to the run"),
        _column("offset", pa.int64(), "where its bytes begin in the blob", unit="bytes"),
        _column("length", pa.int64(), "size of the stored image", unit="bytes"),
        _column("format", pa.string(), "format of the stored image: jpeg, png, webp, gif"),
        _column("sha256", pa.string(), "SHA-256 of the stored image, hex"),
        _column("width", pa.int32(), "width as stored, orientation applied", unit="px"),
        _column("height", pa.int32(), "height as stored, orientation applied", unit="px"),
        _column("original_format", pa.string(), "format of the body, judged by its content"),
        _column("original_sha256", pa.string(), "SHA-256 of the body, hex"),
        _column("original_length", pa.int64(), "size of the body", unit="bytes"),
        _column("original_width", pa.int32(), "width before resizing, orientation applied", unit="px"),
        _column("original_height", pa.int32(), "height before resizing, orientation applied", unit="px"),
        _column("num_frames", pa.int32(), "frames of the body; more than 1: animated", unit="frames"),
        _column("entropy", pa.float64(), "Shannon entropy of the stored image's 256-level grey histogram", unit="bits"),
        _column("final_url", pa.string(), "URL that answered, after redirects"),
    ]
)
"""Fetched images: facts here, bytes in the blob."""

FINGERPRINTS = pa.schema(
    [
        _KEY,
        _BUCKET,
        _RANK,
        _column("num_pixels", pa.int64(), "width x height of the original", unit="px"),
        _column("phash", pa.int64(), "64-bit perceptual hash, as a signed integer"),
    ]
)

EDGES = pa.schema(
    [
        _column("key_a", pa.string(), "the lower key of two near-duplicates"),
        _column("key_b", pa.string(), "the higher key"),
        _column("distance", pa.int32(), "Hamming distance of their hashes", unit="bits"),
    ]
)

CLUSTERS = pa.schema(
    [
        _KEY,
        _BUCKET,
        _column("cluster", pa.string(), "lowest key of the cluster"),
        _column("cluster_bucket", pa.int32(), "bucket of that key"),
        _RANK,
        _column("num_pixels", pa.int64(), "width x height of the original", unit="px"),
    ]
)
"""Members of the clusters of near-duplicates; an image without near-duplicates has no row."""

DUPLICATES = pa.schema(
    [
        _KEY,
        _BUCKET,
        _column("cluster_bucket", pa.int32(), "bucket of the cluster's lowest key"),
        _column("survivor", pa.string(), "key of the image that stays for the cluster"),
    ]
)
"""Members of clusters that do not survive."""

SLICES = pa.schema(
    [
        _column("part", pa.string(), "a Parquet part, relative to the run"),
        _column("start", pa.int64(), "first row of the slice", unit="rows"),
        _column("stop", pa.int64(), "end of the slice", unit="rows"),
    ]
)
"""Rows of other tables that one task works through, in order."""

EVALUATION_INPUTS = pa.schema(
    [
        _column("set", pa.string(), "name of the evaluation set"),
        _column("kind", pa.string(), "image: one file; tar: a WebDataset tar"),
        _column("item", pa.string(), "name of the image in its set; for a tar, what stands before its members' names"),
        _column("url", pa.string(), "where it lies"),
    ]
)

REFERENCES = pa.schema(
    [
        _column("set", pa.string(), "name of the evaluation set"),
        _column("item", pa.string(), "name of the image in its set"),
        _column("phash", pa.int64(), "64-bit perceptual hash, as a signed integer"),
    ]
)
"""Fingerprints of evaluation images."""

UNREADABLE = pa.schema(
    [
        _column("set", pa.string(), "name of the evaluation set"),
        _column("item", pa.string(), "name of the image in its set"),
        _column("detail", pa.string(), "why it could not be decoded"),
    ]
)
"""Evaluation images that could not be compared."""

OVERLAPS = pa.schema(
    [
        _column("set", pa.string(), "name of the evaluation set"),
        _column("item", pa.string(), "name of the image in its set"),
        _KEY,
        _column("shard", pa.string(), "file name of the tar that holds the sample"),
        _column("distance", pa.int32(), "Hamming distance of their hashes", unit="bits"),
    ]
)
"""Pairs of an evaluation image and a training sample that show the same picture."""

REJECTS = pa.schema(
    [
        _KEY,
        _BUCKET,
        _column("stage", pa.string(), "stage that rejected it"),
        _column("reason", pa.string(), "one of the stage's documented reasons"),
        _column("detail", pa.string(), "what was found: 'HTTP 404', the surviving key, ...", nullable=True),
        _column("url", pa.string(), "image URL, where no earlier table holds it (extract only)", nullable=True),
        _column("caption", pa.string(), "caption, likewise", nullable=True),
    ]
)
"""One row for each candidate that is not a sample, with one reason."""

SAMPLES = pa.schema(
    [
        *IMAGES,
        _column("url", pa.string(), "image URL"),
        _column("caption", pa.string(), "the caption"),
        _column("page_url", pa.string(), "page that shows it; null when the source does not say", nullable=True),
        _column("archive", pa.string(), "archive or table it came from"),
        _column("record_offset", pa.int64(), "where in it"),
        _column("attribute", pa.string(), "which text it was"),
        _column(
            "query_ids", pa.list_(pa.field("element", pa.int32(), nullable=False)), "queries it matches, ascending"
        ),
    ]
)
"""All that a shard says of a sample, and where the bytes of its image lie."""

PACKED = pa.schema([_KEY, _column("shard", pa.string(), "file name of the tar that holds the sample")])

QUERIES = pa.schema(
    [
        _column("query_id", pa.int32(), "position in the list, from 0"),
        _column("term", pa.string(), "the term in normal form (wit.text.normalise), unique"),
        _column(
            "sources",
            pa.list_(pa.field("element", pa.string(), nullable=False)),
            "every source that holds it: word, bigram, title, synset",
        ),
        _column("word_count", pa.int64(), "occurrences as a word; null if not a word source", nullable=True),
        _column("bigram_count", pa.int64(), "occurrences as a bigram", nullable=True),
        _column("pmi", pa.float64(), "pointwise mutual information of the bigram", nullable=True, unit="bits"),
        _column("npmi", pa.float64(), "PMI over its highest value at this count: 1 if never apart", nullable=True),
        _column("title", pa.string(), "the most viewed article's title as Wikipedia writes it", nullable=True),
        _column("disambiguator", pa.string(), "what stands in brackets at its end; null: nothing", nullable=True),
        _column("views", pa.int64(), "page views of that article summed over the files given", nullable=True),
        _column(
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
        _column("source", pa.string(), "word, bigram, title, synset; list: a term of the finished list"),
        _column("text", pa.string(), "the title or lemma as its source writes it, or the term"),
        _column("term", pa.string(), "what is sought in captions in its place; empty: nothing is left to seek"),
        _column("mode", pa.string(), "the way of matching (wit.matching): default, metaclip"),
        _column("reason", pa.string(), "one of queries.unmatchable.REASONS"),
        _column("amount", pa.int64(), "its count or page views; null: it has none", nullable=True),
    ]
)
"""What no caption can match, and names that a caption matches without the symbols in them."""

DIFFERENCES = pa.schema(
    [
        _column("term", pa.string(), "the term"),
        _column("change", pa.string(), "added, removed, moved (another query_id), changed (sources or a value)"),
        _column("id_a", pa.int32(), "query_id in the first list; null: not in it", nullable=True),
        _column("id_b", pa.int32(), "query_id in the second list", nullable=True),
        _column(
            "sources_a",
            pa.list_(pa.field("element", pa.string(), nullable=False)),
            "sources in the first list",
            nullable=True,
        ),
        _column(
            "sources_b",
            pa.list_(pa.field("element", pa.string(), nullable=False)),
            "sources in the second list",
            nullable=True,
        ),
    ]
)
"""How two query lists differ; a term that both moved and changed has two rows."""

SHARD_INDEX = pa.schema(
    [
        _KEY,
        _column("shard", pa.string(), "file name of the tar"),
        _column("image_member", pa.string(), "name of the image member"),
        _column("image_offset", pa.int64(), "where the image's bytes begin in the tar", unit="bytes"),
        _column("image_length", pa.int64(), "size of the image", unit="bytes"),
        _column("text_offset", pa.int64(), "where the caption's bytes begin", unit="bytes"),
        _column("text_length", pa.int64(), "size of the caption", unit="bytes"),
        _column("json_offset", pa.int64(), "where the metadata's bytes begin", unit="bytes"),
        _column("json_length", pa.int64(), "size of the metadata", unit="bytes"),
        _column("sha256", pa.string(), "SHA-256 of the image, hex"),
        _column("width", pa.int32(), "width of the image", unit="px"),
        _column("height", pa.int32(), "height of the image", unit="px"),
        _column("caption", pa.string(), "the caption"),
        _column(
            "query_ids", pa.list_(pa.field("element", pa.int32(), nullable=False)), "queries it matches, ascending"
        ),
        _column("url", pa.string(), "image URL"),
        _column("page_url", pa.string(), "page that shows it; null when the source does not say", nullable=True),
        _column("archive", pa.string(), "archive or table it came from"),
        _column("record_offset", pa.int64(), "where in it"),
        _column("attribute", pa.string(), "which text it was"),
    ]
)
"""One row a sample, beside each shard, in the shard's order."""

PREDICTIONS = pa.schema(
    [
        _column("path", pa.string(), "image file, relative to the evaluation set"),
        _column("label", pa.string(), "its class"),
        _column("prediction", pa.string(), "the class that the model finds likeliest"),
        _column("probability", pa.float64(), "the model's probability of that class"),
        _column("label_probability", pa.float64(), "the model's probability of the image's own class"),
        _column("label_rank", pa.int32(), "place of the image's own class, the likeliest first; from 1"),
    ]
)
"""What a checkpoint says of each image of an evaluation set, in the set's order."""

TABLES: dict[str, pa.Schema] = {
    "inputs": INPUTS,
    "candidates": CANDIDATES,
    "pairs": PAIRS,
    "phrases": PHRASES,
    "frequent_phrases": FREQUENT_PHRASES,
    "learned_phrases": LEARNED_PHRASES,
    "matched": MATCHED,
    "matches": MATCHES,
    "match_counts": MATCH_COUNTS,
    "terms": TERMS,
    "bodies": BODIES,
    "located": LOCATED,
    "term_counts": TERM_COUNTS,
    "heads": HEADS,
    "rank_cells": RANK_CELLS,
    "borders": BORDERS,
    "border_pairs": BORDER_PAIRS,
    "cutoffs": CUTOFFS,
    "chances": CHANCES,
    "match_histogram": MATCH_HISTOGRAM,
    "query_counts": QUERY_COUNTS,
    "queried": QUERIED,
    "images": IMAGES,
    "fingerprints": FINGERPRINTS,
    "edges": EDGES,
    "clusters": CLUSTERS,
    "duplicates": DUPLICATES,
    "slices": SLICES,
    "evaluation_inputs": EVALUATION_INPUTS,
    "references": REFERENCES,
    "unreadable": UNREADABLE,
    "overlaps": OVERLAPS,
    "samples": SAMPLES,
    "packed": PACKED,
    "rejects": REJECTS,
    "queries": QUERIES,
    "unmatchable": UNMATCHABLE,
    "differences": DIFFERENCES,
    "shard_index": SHARD_INDEX,
    "predictions": PREDICTIONS,
}


def conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return `table` with exactly the columns, order, types and metadata of `schema`.

    Integers are cast safely (an overflow is an error). Raises ContractError for a missing or extra column, a
    value that does not fit, or a null where the schema has none.
    """
    missing = set(schema.names) - set(table.column_names)
    extra = set(table.column_names) - set(schema.names)
    if missing or extra:
        raise ContractError(f"expected columns {schema.names}; missing {sorted(missing)}, unexpected {sorted(extra)}")
    for field in schema:
        nulls = table.column(field.name).null_count
        if nulls and not field.nullable:
            raise ContractError(f"column {field.name!r} has {nulls} nulls, and its schema allows none")
    try:
        return table.select(schema.names).cast(schema)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as error:
        raise ContractError(f"table does not fit its schema: {error}") from error
